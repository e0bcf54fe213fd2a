"""TXF files."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.lots import Term
from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.keys import LotKey
from prometheus.ledger.reports.broker_view import BrokerFigures
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_8949 import BrokerReporting, Reporting, form_8949, merged
from prometheus.ledger.reports.txf import txf_file
from prometheus.ledger.terms import AssetClass, Terms
from tests.unit.ledger.reports.rows import US, disallowance, sale

EXPORTED = date(2011, 10, 27)
LAW = BrokerReporting()


def written(postings, *, terms=US, reporting=LAW, told=None, merge=False):
    """Return the TXF file of postings."""
    lines = disposition_lines(postings, terms)
    rows = form_8949(lines, {line.key: told for line in lines} if told else {}, reporting)
    return txf_file(merged(rows) if merge else rows, program="My Software", exported_on=EXPORTED)


def test_the_examples_of_the_published_format():
    """TXF v042, examples 1 and 2A: 200 Reebok for 1,000 sold at 2,000, 400 WalMart for 4,000 sold at 1,200.

    WalMart was bought before 2011, and its basis is reported here by a setting, as in the example (copy A).
    """
    file = written(
        [
            sale("2011-10-01", "2000", "1000", acquired="2011-01-05", ticker="Reebok", shares="200"),
            sale(
                "2011-09-05",
                "1200",
                "4000",
                acquired="2010-08-05",
                ticker="WalMart",
                shares="400",
                term=Term.LONG,
                lot="L2",
            ),
        ],
        reporting=BrokerReporting(lots={LotKey("A", "L2"): Reporting.BASIS}),
    )
    assert file.by_hand == ()
    assert file.text.split("\r\n") == [
        *("V042", "AMy Software", "D10/27/2011", "^"),
        *("TD", "N321", "C1", "L1", "P200 sh. Reebok", "D01/05/2011", "D10/01/2011", "$1000.00", "$2000.00", "$", "^"),
        *("TD", "N323", "C1", "L1", "P400 sh. WalMart", "D08/05/2010", "D09/05/2011", "$4000.00", "$1200.00", "$", "^"),
        "",
    ]


@pytest.mark.parametrize(
    ("term", "reporting", "number"),
    [
        (Term.SHORT, Reporting.BASIS, "N321"),
        (Term.SHORT, Reporting.PROCEEDS, "N711"),
        (Term.SHORT, Reporting.NOTHING, "N712"),
        (Term.LONG, Reporting.BASIS, "N323"),
        (Term.LONG, Reporting.PROCEEDS, "N713"),
        (Term.LONG, Reporting.NOTHING, "N714"),
    ],
)
def test_each_box_has_its_reference_number(term, reporting, number):
    """TXF v042, section IV: 321, 711, 712 short-term, 323, 713, 714 long-term, copies A, B and C."""
    file = written([sale("2024-06-21", "5", "4", term=term)], reporting=BrokerReporting(accounts={"A": reporting}))
    assert number in file.text.split("\r\n")


def test_a_wash_sale_is_the_third_amount():
    """Record format 5: cost 1,000, net sales 750, disallowed 250 (Pub. 550)."""
    row = sale("2024-06-21", "750", "1000")
    file = written([row, disallowance(row, "250")])
    assert "\r\n$1000.00\r\n$750.00\r\n$250.00\r\n^\r\n" in file.text


def test_codes_without_a_field_are_named():
    """Code B has no field: the row has the broker's basis and the wash sale, and a sentence names the adjustment."""
    row = sale("2024-06-21", "4000", "4200", cost="4100", acquired="2024-01-02")
    file = written([row, disallowance(row, "200")], told=BrokerFigures(Decimal(4100), Decimal(0), Term.SHORT))
    assert "\r\n$4100.00\r\n$4000.00\r\n$200.00\r\n" in file.text
    assert file.by_hand == (
        "100 sh. XYZ, sold 06/21/2024, account A: enter code BW with the adjustment 100.00; TXF has no field for it.",
    )
    file = written(
        [sale("2024-06-21", "5", "4", term=Term.LONG)], told=BrokerFigures(Decimal(4), Decimal(0), Term.SHORT)
    )
    assert file.by_hand == ("100 sh. XYZ, sold 06/21/2024, account A: enter code T; TXF has no field for it.",)


def test_a_term_that_the_dates_do_not_show_is_named():
    """Tax programs take the term from the dates: a row that is long-term by a tacked holding period is named."""
    file = written([sale("2025-06-01", "9", "8", acquired="2024-12-20", start="2024-03-11", term=Term.LONG)])
    (sentence,) = file.by_hand
    assert sentence.startswith("100 sh. XYZ, sold 06/01/2025, account A: check that the program keeps it in part II;")


def test_digital_assets_are_left_out_and_named():
    """TXF has no reference numbers for boxes G to L; such a row is for the preparer to enter."""
    file = written(
        [sale("2025-06-21", "5", "4", ticker="BTC", shares="0.5")],
        terms=Terms(asset_classes={"BTC": AssetClass.DIGITAL_ASSET}),
    )
    assert "TD" not in file.text
    assert file.by_hand[0].startswith("0.5 BTC, sold 06/21/2025, account A: enter the row in box H")


def test_merged_rows_say_various():
    """A row of several purchases has VARIOUS for the date acquired."""
    rows = [
        sale("2024-06-21", "5", "4", acquired="2024-01-02", lot="L1", event="s"),
        sale("2024-06-21", "5", "4", acquired="2024-01-03", lot="L2", event="s"),
    ]
    assert "\r\nDVARIOUS\r\nD06/21/2024\r\n" in written(rows, merge=True).text


@pytest.mark.parametrize("program", ["", "two\nlines"])
def test_a_program_without_a_name_is_refused(program):
    """The header needs the name of the program, on one line."""
    with pytest.raises(ConfigurationError, match="name of the program"):
        txf_file((), program=program, exported_on=EXPORTED)


def test_rows_of_two_years_are_refused():
    """A TXF file goes into the return of one year."""
    with pytest.raises(ConfigurationError, match="2023 and 2024"):
        written([sale("2023-06-21", "5", "4"), sale("2024-06-21", "5", "4", event="t")])


def test_a_name_cannot_break_the_records():
    """Line ends inside a ticker become spaces."""
    file = written([sale("2024-06-21", "5", "4", ticker="X\nTD")])
    assert "P100 sh. X TD" in file.text.split("\r\n")
