"""Rows of Form 8949: boxes, codes, columns and totals."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.lots import Term
from prometheus.ledger.keys import LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.reports.broker_view import BrokerFigures, broker_figures
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_8949 import BrokerReporting, Reporting, box_totals, form_8949, merged
from prometheus.ledger.terms import AssetClass, Terms
from tests.unit.ledger.reports.rows import US, disallowance, sale
from tests.unit.ledger.told import Told

LAW = BrokerReporting()
CRYPTO = Terms(asset_classes={"BTC": AssetClass.DIGITAL_ASSET})


def rows_of(postings, terms=US, reporting=LAW, told=None):
    """Return the rows of postings; ``told`` is what the broker says of every line."""
    lines = disposition_lines(postings, terms)
    figures = {line.key: told for line in lines} if told else {}
    return form_8949(lines, figures, reporting)


def rows_told(text, **settings: object):
    """Return the rows of a history, with the broker's view derived."""
    told = Told(text, **settings)
    lines = disposition_lines(told.postings, told.terms)
    return form_8949(lines, broker_figures(lines, told.postings, told.terms), LAW)


# ---------------------------------------------------------------- boxes


@pytest.mark.parametrize(
    ("acquired", "term", "box"),
    [
        ("2010-12-31", Term.LONG, "E"),
        ("2011-01-01", Term.LONG, "D"),
        ("2024-05-01", Term.SHORT, "A"),
    ],
)
def test_stock_bought_from_2011_is_covered(acquired, term, box):
    """Instructions, column (e): stock acquired after 2010 is a covered security, whose basis is reported."""
    (row,) = rows_of([sale("2024-06-21", "5", "4", acquired=acquired, term=term)])
    assert row.box == box


@pytest.mark.parametrize(("acquired", "box"), [("2011-12-31", "E"), ("2012-01-01", "D")])
def test_funds_are_covered_a_year_later(acquired, box):
    """Instructions, column (e): shares of a mutual fund are covered where acquired after 2011."""
    reporting = BrokerReporting(funds=frozenset({"XYZ"}))
    (row,) = rows_of([sale("2024-06-21", "5", "4", acquired=acquired, term=Term.LONG)], reporting=reporting)
    assert row.box == box


@pytest.mark.parametrize(
    ("sold", "acquired", "term", "box"),
    [
        ("2024-06-21", "2024-01-02", Term.SHORT, "C"),
        ("2024-06-21", "2020-01-02", Term.LONG, "F"),
        ("2025-06-21", "2025-01-02", Term.SHORT, "H"),
        ("2025-06-21", "2020-01-02", Term.LONG, "K"),
        ("2026-06-21", "2026-01-01", Term.SHORT, "G"),
        ("2027-06-21", "2026-01-01", Term.LONG, "J"),
        ("2027-06-21", "2025-12-31", Term.LONG, "K"),
    ],
)
def test_digital_assets_have_boxes_of_their_own_from_2025(sold, acquired, term, box):
    """Boxes G to L are for digital assets from 2025; basis is reported of those acquired after 2025."""
    (row,) = rows_of([sale(sold, "5", "4", acquired=acquired, term=term, ticker="BTC")], CRYPTO)
    assert row.box == box


def test_a_setting_says_whether_a_form_was_received():
    """Without Form 1099-B the boxes are C and F, I and L; a lot's setting comes before that of its account."""
    reporting = BrokerReporting(accounts={"A": Reporting.NOTHING}, lots={LotKey("A", "L2"): Reporting.PROCEEDS})
    rows = [
        sale("2025-06-21", "5", "4", event="e1"),
        sale("2025-06-21", "5", "4", event="e2", lot="L2"),
        sale("2025-06-21", "5", "4", event="e3", term=Term.LONG),
        sale("2025-06-21", "5", "4", event="e4", ticker="BTC"),
        sale("2025-06-21", "5", "4", event="e5", ticker="BTC", term=Term.LONG),
    ]
    boxes = {row.keys[0].event.event_id: row.box for row in rows_of(rows, CRYPTO, reporting)}
    assert boxes == {"e1": "C", "e2": "B", "e3": "F", "e4": "I", "e5": "L"}


def test_a_gain_of_a_return_of_capital_is_on_no_form_1099b():
    """Instructions, "Nondividend distributions": the taxable part is in (d) and (h), with box C or F checked."""
    row = replace(sale("2024-06-21", "50", "0", kind=PostingKind.RETURN_OF_CAPITAL, shares="0"), term=Term.LONG)
    (line,) = rows_of([row])
    assert (line.box, line.proceeds, line.basis, line.gain) == ("F", 50, 0, 50)


# ---------------------------------------------------------------- codes


def test_a_basis_that_the_broker_reports_is_in_column_e():
    """Case 07: (e) is the broker's 4,100, code B, (g) is 4,100 - 4,200 = -100, (h) is 4,500 - 4,100 - 100 = 300."""
    _, row = rows_told("""
        2024-03-01,A,XYZ,BUY,10,4000
        2024-06-21,A,XYZ,SELL,10,3900
        2024-06-25,B,XYZ,BUY,10,4100
        2024-09-03,B,XYZ,SELL,10,4500
    """)
    assert (row.box, row.proceeds, row.basis, row.codes, row.adjustment, row.gain) == ("A", 4500, 4100, "B", -100, 300)


def test_the_example_of_an_incorrect_basis():
    """Instructions, column (h), example 4: (d) 1,000, (e) 900, code B, (g) 800, (h) 900."""
    row = sale("2024-06-21", "1000", "100", acquired="2024-03-21")
    (line,) = rows_of([row], told=BrokerFigures(Decimal(900), Decimal(0), Term.SHORT, is_statement=True))
    assert (line.proceeds, line.basis, line.codes, line.adjustment, line.gain) == (1000, 900, "B", 800, 900)


def test_a_basis_that_is_not_reported_is_corrected_in_column_e():
    """Instructions, code B: with box B or E the correct basis is in (e), and zero in (g)."""
    told = BrokerFigures(Decimal(900), Decimal(0), Term.NONE, is_statement=True)
    row = sale("2024-06-21", "1000", "100", acquired="2010-03-21", term=Term.LONG)
    (line,) = rows_of([row], told=told)
    assert (line.box, line.basis, line.codes, line.adjustment, line.gain) == ("E", 100, "B", 0, 900)


def test_a_wash_sale_has_code_w():
    """Instructions, code W: the disallowed loss is positive in (g); 750 - 1,000 + 250 = 0 (Pub. 550)."""
    row = sale("2024-06-21", "750", "1000")
    (line,) = rows_of([row, disallowance(row, "250")])
    assert (line.basis, line.codes, line.adjustment, line.gain) == (1000, "W", 250, 0)


def test_several_codes_are_in_one_cell_in_alphabetical_order():
    """Instructions, column (f): BTW without separator; (g) is the net of -100 and 200; (h) is 4,000 - 4,100 + 100."""
    row = sale("2024-06-21", "4000", "4200", cost="4100", term=Term.LONG)
    told = BrokerFigures(Decimal(4100), Decimal(0), Term.SHORT)
    (line,) = rows_of([row, disallowance(row, "200")], told=told)
    assert (line.part, line.codes, line.adjustment, line.gain) == ("II", "BTW", 100, 0)
    assert line.disallowed_loss == 200


def test_another_term_of_the_broker_has_code_t():
    """Instructions, code T: the row is on the correct part, with zero in (g)."""
    _, row = rows_told("""
        2024-03-01,A,XYZ,BUY,100,8200
        2024-12-10,A,XYZ,SELL,100,8000
        2024-12-20,B,XYZ,BUY,100,8100
        2025-06-01,B,XYZ,SELL,100,9000
    """)
    assert (row.part, row.box, row.codes) == ("II", "D", "BT")
    told = BrokerFigures(Decimal(4), Decimal(0), Term.SHORT)
    (line,) = rows_of([sale("2024-06-21", "5", "4", term=Term.LONG)], told=told)
    assert (line.part, line.codes, line.adjustment, line.gain) == ("II", "T", 0, 1)


def test_a_form_that_disallows_more_needs_a_statement():
    """Instructions, code W: a loss smaller than on the form asks for a statement; (g) is zero where none is washed."""
    told = BrokerFigures(Decimal(1000), Decimal(250), Term.SHORT, is_statement=True)
    (line,) = rows_of([sale("2024-06-21", "750", "1000")], told=told)
    assert (line.codes, line.adjustment, line.gain) == ("W", 0, -250)
    assert line.notes == ("attach a statement: the form shows 250.00 of wash sale loss disallowed",)


def test_a_tacked_holding_period_is_shown():
    """Case 08: held 284 days before, the shares of 20 December 2024 count from 11 March 2024."""
    _, row = rows_told("""
        2024-03-01,A,XYZ,BUY,100,10000
        2024-12-10,A,XYZ,SELL,100,8000
        2024-12-20,A,XYZ,BUY,100,8100
        2025-06-01,A,XYZ,SELL,100,9000
    """)
    assert (row.part, row.acquired_text, row.sold_text, row.codes) == ("II", "12/20/2024", "06/01/2025", "")
    assert row.notes[0] == "held from 03/11/2024 (26 U.S.C. 1223)"


def test_a_holding_period_that_begins_anew_is_shown():
    """26 U.S.C. 1233(b)(2): shares of January count from July, when a short sale beside them was covered."""
    row = rows_told("""
        2024-01-02,A,X,BUY,10,1200,L
        2024-06-03,A,X,SHORT,10,1000
        2024-07-01,A,X,COVER,10,900
        2025-02-03,A,X,SELL,10,1500
    """)[-1]
    assert (row.part, row.codes, row.notes) == ("I", "", ("held from 07/01/2024 (26 U.S.C. 1233(b))",))


def test_a_loss_gone_for_good_is_noted():
    """A loss of 400 that an IRA's purchase washed says so."""
    row = sale("2007-12-20", "600", "1000")
    (line,) = rows_of([row, disallowance(row, "400", to=LotKey("IRA", "L9"), permanent=True)])
    assert line.notes == ("400.00 is disallowed for good (Rev. Rul. 2008-5)",)


# ---------------------------------------------------------------- order, merging, totals


def test_rows_come_by_part_box_and_sale():
    """Part I comes before part II although G is after D, then the boxes by letter."""
    rows = [
        sale("2026-03-01", "5", "4", term=Term.LONG, event="d"),
        sale("2026-03-01", "5", "4", acquired="2026-01-02", ticker="BTC", event="g"),
        sale("2026-02-01", "5", "4", acquired="2009-01-02", event="b"),
        sale("2026-03-01", "5", "4", event="a2"),
        sale("2026-02-01", "5", "4", event="a1"),
    ]
    assert [row.keys[0].event.event_id for row in rows_of(rows, CRYPTO)] == ["a1", "a2", "b", "g", "d"]


def test_merged_rows_say_various():
    """Two lots of one sale are one row: 150 shares, VARIOUS, 50 + 30 proceeds; another sale stays alone."""
    rows = rows_of(
        [
            sale("2024-06-21", "50", "40", acquired="2024-01-02", lot="L1", event="s"),
            sale("2024-06-21", "30", "35", acquired="2024-02-02", lot="L2", event="s", shares="50"),
            sale("2024-06-22", "30", "35", acquired="2024-02-02", lot="L3", event="t", shares="50"),
        ]
    )
    first, second = merged(rows)
    assert (first.description, first.acquired_text, first.proceeds, first.basis, first.gain) == (
        "150 sh. XYZ",
        "VARIOUS",
        80,
        75,
        5,
    )
    assert len(first.keys) == 2
    assert second.acquired_on == date(2024, 2, 2)
    assert all(row.acquired_text != "VARIOUS" for row in rows)


def test_merging_keeps_terms_apart_and_joins_codes():
    """A sale of short-term and long-term lots stays two rows; codes and adjustments of one row add up."""
    washed = sale("2024-06-21", "50", "60", acquired="2024-01-02", lot="L1", event="s")
    rows = rows_of(
        [
            washed,
            disallowance(washed, "10"),
            sale("2024-06-21", "30", "35", acquired="2024-01-02", lot="L2", event="s"),
            sale("2024-06-21", "30", "35", acquired="2020-01-02", lot="L3", event="s", term=Term.LONG),
        ]
    )
    short, long = merged(rows)
    assert (short.part, short.codes, short.adjustment, short.gain, short.acquired_text) == (
        "I",
        "W",
        10,
        -5,
        "01/02/2024",
    )
    assert (long.part, long.gain) == ("II", -5)


def test_totals_by_box_go_to_the_lines_of_schedule_d():
    """Schedule D (2025): A and G to 1b, B and H to 2, C and I to 3, D and J to 8b, E and K to 9, F and L to 10."""
    cases = [
        (Term.SHORT, Reporting.BASIS),
        (Term.SHORT, Reporting.PROCEEDS),
        (Term.SHORT, Reporting.NOTHING),
        (Term.LONG, Reporting.BASIS),
        (Term.LONG, Reporting.PROCEEDS),
        (Term.LONG, Reporting.NOTHING),
    ]
    postings, settings = [], {}
    for ticker in ("XYZ", "BTC"):
        for number, (term, reporting) in enumerate(cases):
            lot = f"{ticker}{number}"
            postings.append(sale("2025-06-21", "7", "4", term=term, ticker=ticker, lot=lot, event=lot))
            settings[LotKey("A", lot)] = reporting
    totals = box_totals(rows_of(postings, CRYPTO, BrokerReporting(lots=settings)))
    assert {each.box: each.schedule_d_line for each in totals} == {
        box: line
        for boxes in ("ABCDEF", "GHIJKL")
        for box, line in zip(boxes, ("1b", "2", "3", "8b", "9", "10"), strict=True)
    }
    assert all((each.proceeds, each.basis, each.gain, each.rows) == (7, 4, 3, 1) for each in totals)


def test_column_h_of_a_box_is_its_other_columns_combined():
    """Instructions, line 2: (d) less (e) plus (g) of a box is its (h)."""
    washed = sale("2024-06-21", "50", "60", event="s")
    (each,) = box_totals(rows_of([washed, disallowance(washed, "10"), sale("2024-06-22", "9", "5", event="t")]))
    assert each.proceeds - each.basis + each.adjustment == each.gain == 4
