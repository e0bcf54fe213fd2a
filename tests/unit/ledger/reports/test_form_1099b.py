"""A broker's form compared with our lines."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from prometheus.domain.lots import Term
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.reports.broker_view import broker_figures
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_1099b import (
    Outcome,
    Reason,
    Row1099B,
    compare_1099b,
    statement_figures,
    statement_reporting,
)
from prometheus.ledger.reports.form_8949 import BrokerReporting, Reporting, form_8949
from tests.unit.ledger.reports.rows import US, sale
from tests.unit.ledger.told import Told

CASE_07 = """
    2024-03-01,A,XYZ,BUY,10,4000
    2024-06-21,A,XYZ,SELL,10,3900
    2024-06-25,B,XYZ,BUY,10,4100
    2024-09-03,B,XYZ,SELL,10,4500
"""


def row(account, sold, proceeds, basis, *, security="XYZ", shares="10", acquired=None, **more: object):
    """Return a row of a form."""
    return Row1099B(
        account=account,
        security=security,
        quantity=Decimal(shares),
        acquired_on=date.fromisoformat(acquired) if acquired else None,
        sold_on=date.fromisoformat(sold),
        proceeds=Decimal(proceeds),
        basis=None if basis is None else Decimal(basis),
        **more,
    )


def compared(told, rows, **settings: object):
    """Return a comparison with the lines of a history or of postings."""
    if isinstance(told, str):
        history = Told(told)
        postings, terms = history.postings, history.terms
    else:
        postings, terms = told, US
    lines = disposition_lines(postings, terms)
    return compare_1099b(rows, lines, broker_figures(lines, postings, terms), **settings), lines


def test_a_sale_that_agrees_is_a_match():
    """Same shares, dates, proceeds, basis, wash sale and term: nothing differs."""
    rows = [row("A", "2024-06-21", "5", "4", shares="100", acquired="2024-01-02", term=Term.SHORT)]
    comparison, _ = compared([sale("2024-06-21", "5", "4", acquired="2024-01-02")], rows)
    assert [each.outcome for each in comparison.compared] == [Outcome.MATCH]
    assert (comparison.our_gain, comparison.their_gain, comparison.effects) == (1, 1, {})


def test_a_household_wash_explains_basis_and_disallowed_loss():
    """Case 07: A's form disallows nothing (-100 of gain), B's has 4,100 of basis (+100); both reasons are named."""
    rows = [
        row("A", "2024-06-21", "3900", "4000", acquired="2024-03-01", term=Term.SHORT),
        row("B", "2024-09-03", "4500", "4100", acquired="2024-06-25", term=Term.SHORT),
    ]
    comparison, _ = compared(CASE_07, rows)
    first, second = (each.differences[0] for each in comparison.compared)
    assert (first.what, first.ours, first.theirs, first.effect) == ("disallowed", "100.00", "0.00", -100)
    assert "purchases in B, which the broker of A does not look at" in first.explanation
    assert (second.what, second.ours, second.theirs, second.effect) == ("basis", "4200.00", "4100.00", 100)
    assert "XYZ sold in account A on 2024-06-21" in second.explanation
    assert first.reason is second.reason is Reason.HOUSEHOLD_WASH
    assert (comparison.our_gain, comparison.their_gain, comparison.effects) == (300, 300, {Reason.HOUSEHOLD_WASH: 0})


def test_a_figure_without_a_cause_is_named():
    """Proceeds of 6 for our 5 and a basis of 3 for our 4 are not ours: the form's gain is 2 larger."""
    rows = [row("A", "2024-06-21", "6", "3", shares="100", acquired="2024-01-02")]
    comparison, _ = compared([sale("2024-06-21", "5", "4", acquired="2024-01-02")], rows)
    (pair,) = comparison.compared
    assert [(each.what, each.effect, each.reason) for each in pair.differences] == [
        ("proceeds", 1, Reason.NOT_OURS),
        ("basis", 1, Reason.NOT_OURS),
    ]
    assert (comparison.our_gain, comparison.their_gain) == (1, 3)


def test_missing_and_extra_sales_are_named():
    """A sale that the form lacks counts -1, one that our books lack counts 7 - 5 = 2: together 1 + (-1 + 2) = 2."""
    rows = [row("A", "2024-07-01", "7", "5", shares="3")]
    comparison, _ = compared([sale("2024-06-21", "5", "4")], rows)
    assert {each.outcome for each in comparison.compared} == {Outcome.MISSING, Outcome.EXTRA}
    assert comparison.effects == {Reason.MISSING: -1, Reason.EXTRA: 2}
    assert comparison.their_gain == 2
    assert comparison.count(Outcome.MATCH) == 0


def test_a_cusip_number_is_read_as_its_ticker():
    """CUSIP numbers are translated; one that nobody translates is an extra sale."""
    rows = [row("A", "2024-06-21", "5", "4", shares="100", security="98980G102")]
    postings = [sale("2024-06-21", "5", "4")]
    assert compared(postings, rows, tickers={"98980G102": "XYZ"})[0].count(Outcome.MATCH) == 1
    assert compared(postings, rows)[0].count(Outcome.EXTRA) == 1


def test_a_row_of_various_dates_meets_all_lots_of_the_sale():
    """One row VARIOUS of 150 shares is our two lots of 100 and 50."""
    postings = [
        sale("2024-06-21", "50", "40", lot="L1", event="s", acquired="2024-01-02"),
        sale("2024-06-21", "30", "35", lot="L2", event="s", acquired="2024-02-02", shares="50"),
    ]
    comparison, _ = compared(postings, [row("A", "2024-06-21", "80", "75", shares="150")])
    (pair,) = comparison.compared
    assert (pair.outcome, len(pair.lines)) == (Outcome.MATCH, 2)


def test_rows_that_a_broker_splits_meet_one_lot():
    """Brokers show the washed part of a lot by itself: rows of 4 and 6 shares are our lot of 10."""
    rows = [
        row("A", "2024-06-21", "1560", "1600", shares="4", acquired="2024-03-01"),
        row("A", "2024-06-21", "2340", "2400", shares="6", acquired="2024-03-01"),
        row("A", "2024-06-21", "5", "4", shares="100", acquired="2020-01-02"),
    ]
    postings = [
        sale("2024-06-21", "3900", "4000", shares="10", acquired="2024-03-01", lot="L1", event="s"),
        sale("2024-06-21", "5", "4", acquired="2020-01-02", lot="L2", event="s"),
    ]
    comparison, _ = compared(postings, rows)
    assert [(each.outcome, len(each.rows)) for each in comparison.compared] == [(Outcome.MATCH, 1), (Outcome.MATCH, 2)]


def test_another_term_is_explained_by_the_other_account():
    """Held 284 days in A and 163 in B: B's broker says short-term, and its basis lacks the loss of 2,000."""
    rows = [row("B", "2025-06-01", "9000", "8100", shares="100", acquired="2024-12-20", term=Term.SHORT)]
    history = Told("""
        2024-03-01,A,XYZ,BUY,100,10000
        2024-12-10,A,XYZ,SELL,100,8000
        2024-12-20,B,XYZ,BUY,100,8100
        2025-06-01,B,XYZ,SELL,100,9000
    """)
    lines = [line for line in disposition_lines(history.postings, history.terms) if line.account == "B"]
    comparison = compare_1099b(rows, lines, broker_figures(lines, history.postings, history.terms))
    differences = {each.what: each for each in comparison.compared[0].differences}
    assert set(differences) == {"basis", "term"}
    assert differences["term"].reason is Reason.HOUSEHOLD_WASH
    assert (differences["term"].ours, differences["term"].theirs) == ("LONG", "SHORT")


def test_another_date_of_acquisition_is_named():
    """The same shares with another date acquired, and a term that nothing explains."""
    rows = [row("A", "2024-06-21", "5", "4", shares="100", acquired="2024-01-03", term=Term.LONG)]
    comparison, _ = compared([sale("2024-06-21", "5", "4", acquired="2024-01-02")], rows)
    assert [(each.what, each.reason) for each in comparison.compared[0].differences] == [
        ("term", Reason.NOT_OURS),
        ("acquired", Reason.NOT_OURS),
    ]


def test_a_short_sale_meets_the_form_by_purchase_or_delivery():
    """Covered on 8 March and delivered on the 12th: a form that shows either day is compared with the same line."""
    cover = replace(
        sale("2024-03-08", "0", "0", kind=PostingKind.COVER_SHORT, settle="2024-03-12", lot="S1"),
        cash=Decimal(-4600),
        realized_gain=Decimal(400),
        quantity=Decimal(100),
    )
    for sold in ("2024-03-08", "2024-03-12"):
        comparison, _ = compared([cover], [row("A", sold, "5000", "4600", shares="100")])
        assert comparison.count(Outcome.MATCH) == 1


def test_returns_of_capital_are_on_another_form():
    """A gain of a return of capital is on Form 1099-DIV and no sale that Form 1099-B lacks."""
    paid = sale("2024-06-21", "50", "0", kind=PostingKind.RETURN_OF_CAPITAL, shares="0")
    comparison, _ = compared([paid], [])
    assert (comparison.compared, comparison.our_gain) == ((), 0)


def test_an_empty_basis_contradicts_nothing():
    """A row without a basis agrees, and its gain is taken with our basis."""
    comparison, _ = compared([sale("2024-06-21", "5", "4")], [row("A", "2024-06-21", "5", None, shares="100")])
    assert comparison.compared[0].outcome is Outcome.MATCH
    assert comparison.their_gain == 1


def test_form_8949_takes_its_columns_from_the_form():
    """With a form at hand (e) is its basis and the box what it reports; a sale that it lacks is in box C or F."""
    rows = [
        row("A", "2024-06-21", "1000", "900", shares="100", term=Term.SHORT),
        row("A", "2024-06-22", "1000", None, shares="100", is_covered=False),
    ]
    postings = [
        sale("2024-06-21", "1000", "100", acquired="2024-03-21", event="e1"),
        sale("2024-06-22", "1000", "100", acquired="2024-03-21", event="e2"),
        sale("2024-06-23", "1000", "100", acquired="2024-03-21", event="e3"),
    ]
    comparison, lines = compared(postings, rows)
    reporting = statement_reporting(comparison)
    assert sorted(each.value for each in reporting.values()) == ["BASIS", "NOTHING", "PROCEEDS"]
    form = form_8949(lines, statement_figures(comparison), BrokerReporting(lines=reporting))
    assert [(each.box, each.basis, each.codes, each.gain) for each in form] == [
        ("A", 900, "B", 900),
        ("B", 100, "", 900),
        ("C", 100, "", 900),
    ]


def test_amounts_of_one_row_are_shared_out_to_the_cent():
    """A basis of 100.00 for three lots of one share each is 33.33, 33.34 and 33.33, by the rule for sharing out."""
    postings = [
        sale("2024-06-21", "40", "30", lot=f"L{i}", event="s", acquired=f"2024-01-0{i}", shares="1")
        for i in range(1, 4)
    ]
    comparison, lines = compared(postings, [row("A", "2024-06-21", "120", "100.00", shares="3", disallowed=Decimal(1))])
    figures = statement_figures(comparison)
    assert sum(figures[line.key].basis for line in lines) == 100
    assert sum(figures[line.key].disallowed for line in lines) == 1
    assert all(figures[line.key].term is Term.NONE for line in lines)


MONEY = st.integers(0, 10**6).map(lambda cents: Decimal(cents) / 100)
SALES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), MONEY, MONEY)


@given(st.lists(SALES, max_size=8), st.lists(st.tuples(SALES, MONEY, st.booleans()), max_size=8))
def test_a_comparison_adds_up_to_the_cent(ours, theirs):
    """Every row and every line is compared once, and the effects lead from our gain to the form's."""
    postings = [
        sale(
            f"2024-06-0{day}",
            proceeds,
            basis,
            shares=str(shares),
            acquired=f"2024-01-0{bought}",
            lot=f"L{i}",
            event=f"e{i}",
        )
        for i, (day, shares, bought, proceeds, basis) in enumerate(ours)
    ]
    rows = [
        row(
            "A",
            f"2024-06-0{day}",
            proceeds,
            basis,
            shares=str(shares),
            acquired=None if is_various else f"2024-01-0{bought}",
            disallowed=washed,
        )
        for (day, shares, bought, proceeds, basis), washed, is_various in theirs
    ]
    comparison, lines = compared(postings, rows)
    assert sorted(id(each) for pair in comparison.compared for each in pair.rows) == sorted(map(id, rows))
    assert sorted(each.key for pair in comparison.compared for each in pair.lines) == sorted(each.key for each in lines)
    assert comparison.our_gain == sum((line.gain for line in lines), Decimal(0))
    assert comparison.their_gain == sum((each.proceeds - each.basis + each.disallowed for each in rows), Decimal(0))
    assert comparison.their_gain - comparison.our_gain == sum(comparison.effects.values(), Decimal(0))


def test_reporting_of_the_enum_is_complete():
    """Every line of a comparison has a kind of reporting."""
    comparison, lines = compared([sale("2024-06-21", "5", "4")], [])
    assert statement_reporting(comparison) == {lines[0].key: Reporting.NOTHING}
