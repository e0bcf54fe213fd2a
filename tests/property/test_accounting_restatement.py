"""Late and cancelled fills: the journal grows, and the books are those of fills that came in time."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.accounting.derivation import derive
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import effective_rows, opening_transactions
from prometheus.accounting.rebooking import MarketHistory
from prometheus.accounting.replay import replay
from prometheus.accounting.restatement import fills_of, restate
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, TransactionType
from prometheus.foundation.errors import AccountingError
from tests.property.test_accounting_conservation import GROUPS, RATES, START, histories

TERMS = {"rates": RATES, "group_of": GROUPS, "history": MarketHistory()}
any_history = st.sampled_from(TaxRegime).flatmap(lambda regime: st.tuples(st.just(regime), histories(regime)))


def in_time(opening, fills, regime):
    """Book fills that all come in time; None where they cannot be booked without those left out."""
    try:
        return apply_fills(opening, fills, rates=RATES, regime=regime, group_of=GROUPS)
    except AccountingError:
        return None


def by_group(rows):
    """Return standing rows by group, without the number of their booking."""
    found = defaultdict(list)
    for row in effective_rows(rows):
        details = {name: value for name, value in row.details.items() if name != "booking"}
        found[GROUPS.get(row.ticker, row.ticker)].append(replace(row, details=details))
    return found


@given(any_history, st.data())
def test_late_fills_are_booked_in_their_place(story, data):
    """Fills that come after later ones leave the books and standing rows of fills that came in time."""
    regime, (opening, days, _, _) = story
    fills = [fill for day in days for fill in day]
    late = data.draw(st.lists(st.sampled_from(fills), unique=True, max_size=3))
    first = in_time(opening, [fill for fill in fills if fill not in late], regime)
    whole = in_time(opening, fills, regime)
    if first is None or whole is None:
        event("not bookable without the late fill")
        return
    journal = (*opening_transactions(opening, START), *first[1])
    restated = restate(journal, fills=late, regime=regime, **TERMS)
    assert restated.books == whole[0]
    everything = (*journal, *restated.transactions)
    assert replay(everything) == restated.books
    assert derive(everything, regime=regime, group_of=GROUPS) == ()
    assert by_group(everything) == by_group((*opening_transactions(opening, START), *whole[1]))
    event(f"rows taken back: {min(sum(row.txn_type == 'REVERSAL' for row in restated.transactions), 5)}")


@given(any_history, st.data())
def test_a_cancelled_fill_leaves_nothing_behind(story, data):
    """Cancelled, a fill has never been: what it washed counts again, and its loss is no loss."""
    regime, (opening, days, books, journal) = story
    fills = [fill for day in days for fill in day]
    gone = data.draw(st.sampled_from(fills))
    without = in_time(opening, [fill for fill in fills if fill != gone], regime)
    try:
        restated = restate(journal, cancelled=[gone.execution_id], regime=regime, **TERMS)
    except AccountingError as error:
        event(f"a later sale needs the cancelled purchase: {error.code}")
        assert without is None, error.message  # noqa: PT017 -- most histories raise nothing
        return
    assert replay((*journal, *restated.transactions)) == restated.books
    if without is not None:
        assert restated.books == without[0]
    brought_back = restate((*journal, *restated.transactions), fills=[gone], regime=regime, **TERMS)
    assert isinstance(brought_back.books, Books)
    # Later sales may take other lots now, and each line of a sale is rounded to cents by itself.
    lines = sum(row.txn_type is TransactionType.SELL for row in (*journal, *brought_back.transactions))
    assert abs(brought_back.books.cash - books.cash) <= lines * Decimal("0.01")


@given(any_history)
def test_fills_are_read_back_from_their_rows(story):
    """The executions of a journal are those that were booked, a sale's lines put together."""
    _, (_, days, _, journal) = story
    booked = {fill.execution_id: fill for fill in fills_of(journal)}
    for fill in (fill for day in days for fill in day):
        found = booked.pop(fill.execution_id)
        assert (found.ticker, found.side, found.trade_date, found.quantity, found.price, found.fee) == (
            fill.ticker, fill.side, fill.trade_date, fill.quantity, fill.price, fill.fee,
        )  # fmt: skip
    assert not booked
