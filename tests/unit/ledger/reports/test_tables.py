"""Reports as tables, CSV and JSON."""

import csv
import io
import json
from datetime import date
from decimal import Decimal

import pytest

from prometheus.ledger.reports.amounts import NOT_ADVICE
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_1099b import Row1099B, compare_1099b
from prometheus.ledger.reports.form_8949 import merged
from prometheus.ledger.reports.report import tax_report
from prometheus.ledger.reports.returns import Carryover, Return
from prometheus.ledger.reports.schedule_3 import LossUse, NetCapitalLosses
from prometheus.ledger.reports.tables import (
    Table,
    comparison_table,
    disposition_table,
    form_8949_table,
    net_capital_loss_table,
    report_json,
    report_tables,
    schedule_d_table,
    table_csv,
    table_text,
)
from tests.unit.ledger.reports.rows import CANADA, US, Term, disallowance, sale
from tests.unit.ledger.told import Told

CASE_07 = Told("""
    2024-03-01,A,XYZ,BUY,10,4000
    2024-06-21,A,XYZ,SELL,10,3900
    2024-06-25,B,XYZ,BUY,10,4100
    2024-09-03,B,XYZ,SELL,10,4500
""")


def of_csv(table):
    """Return the rows of a table as CSV has them."""
    return list(csv.DictReader(io.StringIO(table_csv(table))))


def test_form_8949_is_printed_as_the_form_has_it():
    """Case 07 as a table: dates as MM/DD/YYYY, money with cents, codes, and the note of the tacked start."""
    rows = tax_report(CASE_07.postings, CASE_07.terms).returns[0].form_8949
    lines = table_text(form_8949_table(rows)).splitlines()
    assert lines[0] == "Form 8949"
    assert lines[2].split()[:13] == [
        *("I", "A", "10", "sh.", "XYZ", "03/01/2024", "06/21/2024"),
        *("3900.00", "4000.00", "W", "100.00", "0.00", "A"),
    ]
    assert lines[3].split()[7:13] == ["4500.00", "4100.00", "B", "-100.00", "300.00", "B"]
    assert "held from 03/05/2024" in lines[3]
    assert lines[-1] == NOT_ADVICE


def test_csv_has_iso_dates_plain_numbers_and_the_notice():
    """The CSV of case 07 has ISO dates, numbers without separators, and the notice as a column."""
    rows = tax_report(CASE_07.postings, CASE_07.terms).returns[0].form_8949
    _, second = of_csv(form_8949_table(rows))
    assert (second["(b) acquired"], second["(c) sold"]) == ("2024-06-25", "2024-09-03")
    assert (second["(e) basis"], second["(f) code"], second["(g) adjustment"]) == ("4100.00", "B", "-100.00")
    assert second["notice"] == NOT_ADVICE


def test_various_is_printed_in_merged_rows():
    """A merged row has VARIOUS in column (b), and no adjustment where it has no code."""
    postings = [
        sale("2024-06-21", "5", "4", acquired="2024-01-02", lot="L1", event="s"),
        sale("2024-06-21", "5", "4", acquired="2024-01-03", lot="L2", event="s"),
    ]
    (row,) = of_csv(form_8949_table(merged(tax_report(postings, US).returns[0].form_8949)))
    assert (row["(b) acquired"], row["(g) adjustment"]) == ("VARIOUS", "")


def test_schedule_d_has_a_column_for_each_year_and_the_worksheet():
    """A loss of 5,000 in 2022: line 21 is 3,000, line 8 of the worksheet 2,000; 2023 needs no worksheet."""
    postings = [sale("2022-06-21", "1000", "6000"), sale("2023-06-21", "7", "7", event="t")]
    report = tax_report(postings, US)
    rows = {row["line"]: (row["2022"], row["2023"]) for row in of_csv(schedule_d_table(report.returns[0].schedules_d))}
    assert rows["21 against other income"] == ("3000.00", "2000.00")
    assert rows["worksheet 8"] == ("2000.00", "")
    assert rows["6 short-term carryover"] == ("0.00", "-2000.00")
    assert "worksheet 9" not in rows


def test_an_empty_table_says_so():
    """A table without rows says that there are none, and is still no advice."""
    assert table_text(schedule_d_table(())) == f"Schedule D: none\n{NOT_ADVICE}\n"
    assert table_csv(Table("T", ("a",), ())) == "a,notice\n"


def test_json_has_decimals_as_text():
    """The JSON of a whole report: money with cents, shares as they are, ISO dates, no number a float."""
    report = json.loads(
        report_json(tax_report(CASE_07.postings, CASE_07.terms, [Return("Ann", ("",), opening=Carryover(Decimal(5)))])),
        parse_float=lambda text: pytest.fail(f"{text} is a float"),
    )
    assert report["notice"] == NOT_ADVICE
    (filed,) = report["returns"]
    assert filed["filing"]["opening"] == {"short_term": "5.00", "long_term": "0.00"}
    line = filed["lines"][1]
    assert (line["quantity"], line["basis"], line["sold_on"], line["key"]["lot"]["account"]) == (
        "10",
        "4200.00",
        "2024-09-03",
        "B",
    )


def test_json_of_a_list_has_the_notice_too():
    """Values that are no report are wrapped, so that the notice has a place."""
    assert json.loads(report_json([Carryover()])) == {
        "notice": NOT_ADVICE,
        "values": [{"short_term": "0.00", "long_term": "0.00"}],
    }


def test_all_tables_of_a_return_are_named():
    """A US return has Form 8949, its totals by year and Schedule D; a Canadian one has Schedule 3 and its losses."""
    us = tax_report(CASE_07.postings, CASE_07.terms, [Return("Ann", ("",))])
    assert [table.title for table in report_tables(us)] == [
        "Form 8949, Ann, 2024",
        "Form 8949, Ann, 2024, totals by box",
        "Schedule D, Ann",
    ]
    row = sale("2024-06-21", "60", "100", term=Term.NONE)
    canada = tax_report([row, disallowance(row, "30", kind="SUPERFICIAL_LOSS")], CANADA)
    tables = report_tables(canada)
    assert [table.title for table in tables] == [
        "Schedule 3, the taxpayer",
        "Schedule 3, totals",
        "Net capital losses",
    ]
    (line,) = of_csv(tables[0])
    assert (line["denied loss"], line["denied"]) == ("30.00", "30.00 added to the pool of the taxpayer")
    assert {row["line"]: row["2024"] for row in of_csv(tables[1])}["13200 gains of shares"] == "-10.00"
    assert all(NOT_ADVICE in table_text(table) for table in tables)


def test_short_sales_on_income_account_have_a_table_with_totals():
    """60 and -80 of 2024 are -20, and 50 covered on 31 December are of 2025; no line of Schedule 3 has them."""
    told = Told(
        """
        2024-05-21,S,RY,SHORT,10,1300
        2024-06-10,S,RY,COVER,10,1240
        2024-06-11,S,TD,SHORT,5,1200
        2024-06-12,S,TD,COVER,5,1280
        2024-12-20,S,BCE,SHORT,5,500
        2024-12-31,S,BCE,COVER,5,450
        """,
        regime=CANADA.regime,
    )
    tables = {table.title: of_csv(table) for table in report_tables(tax_report(told.postings, told.terms))}
    assert tables["Schedule 3, the taxpayer"] == []
    assert [
        (row["year"], row["name"], row["proceeds"], row["cost"], row["gain"])
        for row in tables["Short sales on income account, the taxpayer"]
    ] == [
        ("2024", "10 sh. RY (short sale)", "1300.00", "1240.00", "60.00"),
        ("2024", "5 sh. TD (short sale)", "1200.00", "1280.00", "-80.00"),
        ("2024", "total", "", "", "-20.00"),
        ("2025", "5 sh. BCE (short sale)", "500.00", "450.00", "50.00"),
        ("2025", "total", "", "", "50.00"),
    ]
    totals = {row["line"]: (row["2024"], row["2025"]) for row in tables["Schedule 3, totals"]}
    assert totals["short sales that are income"] == ("-20.00", "50.00")
    assert totals["gains less losses"] == ("0.00", "0.00")


def test_each_tax_year_has_a_form_8949_of_its_own():
    """Rows of 2022 and 2024 are in two tables; 2023 has an empty one and no totals."""
    report = tax_report([sale("2022-06-21", "5", "4"), sale("2024-06-21", "5", "4", event="t")], US)
    tables = report_tables(report)
    assert [(table.title, len(table.rows)) for table in tables[:-1]] == [
        ("Form 8949, the taxpayer, 2022", 1),
        ("Form 8949, the taxpayer, 2022, totals by box", 1),
        ("Form 8949, the taxpayer, 2023", 0),
        ("Form 8949, the taxpayer, 2024", 1),
        ("Form 8949, the taxpayer, 2024, totals by box", 1),
    ]


def test_dispositions_and_comparisons_have_tables():
    """Lines, sales that agree, and differences with their reasons are printed."""
    lines = disposition_lines(CASE_07.postings, CASE_07.terms)
    assert [row["disallowed"] for row in of_csv(disposition_table(lines))] == ["100.00", "0.00"]
    form = Row1099B("B", "XYZ", Decimal(10), None, date(2024, 9, 3), Decimal(4500), Decimal(4200))
    extra = Row1099B("B", "ABC", Decimal(1), None, date(2024, 9, 3), Decimal(5), Decimal(4))
    rows = of_csv(comparison_table(compare_1099b([form, extra], lines, {})))
    assert [(row["outcome"], row["sale"], row["effect on gain"], row["reason"]) for row in rows] == [
        ("MISSING", "10 sh. XYZ", "0.00", "MISSING"),
        ("EXTRA", "1 ABC", "1.00", "EXTRA"),
        ("MATCH", "10 sh. XYZ", "", ""),
    ]


def test_net_capital_losses_are_printed():
    """What is claimed, what could go back and what is left are rows of one table."""
    losses = NetCapitalLosses((LossUse(2020, 2021, Decimal(5)),), {2020: {2019: Decimal(3)}}, {2020: Decimal(7)})
    assert [list(row.values())[:4] for row in of_csv(net_capital_loss_table(losses))] == [
        ["2020", "claimed", "2021", "5.00"],
        ["2020", "can go back to", "2019", "3.00"],
        ["2020", "left", "", "7.00"],
    ]
