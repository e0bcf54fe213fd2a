"""What is told late: reversals and new postings."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from prometheus.ledger.corrections import effective_postings, events_after, first_day_touched, refold, reversal_of
from prometheus.ledger.events import Cancellation, Correction, Sell
from prometheus.ledger.fold import fold
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.state import EMPTY
from prometheus.ledger.terms import Terms
from tests.unit.ledger.told import Told, events_of

HISTORY = """
    2018-01-02,A,X,BUY,10,100,old,,,b1
    2019-06-03,A,X,SELL,10,80,old,,,s1
    2019-07-10,A,X,BUY,10,90,new,,,b2
"""
LATE = "2019-06-20,A,X,BUY,4,30,late,,,b3"


def stored(told):
    """Number postings as they are stored."""
    return dict(enumerate(told.postings, 1))


def test_a_late_purchase_disallows_a_loss_that_was_allowed():
    """Four bought within the window come late: 4/10 of the loss of 20 is disallowed, and nothing is reversed."""
    told = Told(HISTORY)
    found = refold(EMPTY, [*told.events, *events_of(LATE)], stored(told), told.terms, correction_id="c", reason="late")
    assert found.reversals == ()
    assert [(row.kind, row.realized_gain) for row in found.postings if row.realized_gain] == [
        (PostingKind.WASH_SALE, 8)
    ]
    assert {row.correction_id for row in found.postings} == {"c"}
    assert found.state.lots["A", "late"].adjusted_basis == 38


def test_a_cancelled_purchase_reverses_what_followed_from_it():
    """Without the late purchase the loss is allowed again; each reversal names the posting it undoes."""
    told = Told(f"{HISTORY}\n{LATE}")
    cancelled = Cancellation(account="A", event_id="c1", trade_date=date(2019, 8, 1), target_id="b3")
    rows = stored(told)
    found = refold(EMPTY, [*told.events, cancelled], rows, told.terms, correction_id="c", reason="bust")
    assert sorted(row.kind for row in found.reversals) == ["BUY", "CARRIED_LOSS", "WASH_SALE"]
    assert all(rows[row.reverses].cash == -row.cash for row in found.reversals)
    assert all(rows[row.reverses].realized_gain == -row.realized_gain for row in found.reversals)
    assert (found.postings, found.state) == ((), Told(HISTORY).state)


def test_a_correction_from_a_checkpoint_is_one_from_the_beginning():
    """Folding from the last state before the day gives the state that folding everything gives."""
    told = Told(HISTORY)
    checkpoint = Told(HISTORY.strip().splitlines()[0]).state
    events = [*told.events, *events_of(LATE)]
    rows = {number: row for number, row in stored(told).items() if row.day > date(2018, 1, 2)}
    after = events_after(events, checkpoint.through)
    assert len(after) == 3
    assert refold(checkpoint, after, rows, told.terms).state == refold(EMPTY, events, stored(told), told.terms).state


def test_what_is_stored_already_changes_nothing():
    """Refolding what is booked, and refolding a correction that was written, gives no difference."""
    told = Told(HISTORY)
    rows = stored(told)
    assert refold(EMPTY, told.events, rows, told.terms).is_empty
    events = [*told.events, *events_of(LATE)]
    found = refold(EMPTY, events, rows, told.terms, correction_id="c", reason="late")
    for row in (*found.reversals, *found.postings):
        rows[len(rows) + 1] = row
    assert refold(EMPTY, events, rows, told.terms).is_empty
    assert len(effective_postings(rows)) == len(rows) - 2 * len(found.reversals)


@pytest.mark.parametrize(
    ("moved_to", "first"), [(date(2019, 7, 12), date(2019, 7, 10)), (date(2019, 7, 1), date(2019, 7, 1))]
)
def test_a_correction_touches_both_days(moved_to, first):
    """The first day that can come out otherwise is the earlier of the event's day and that of its replacement."""
    events = {each.key: each for each in events_of(HISTORY)}
    target = events["A", "b2"]
    right = Correction(
        account="A",
        event_id="c",
        trade_date=date(2019, 8, 1),
        replacement=replace(target, trade_date=moved_to, amount=Decimal(95)),
    )
    assert first_day_touched(right, events) == first
    assert first_day_touched(target, {}) == date(2019, 7, 10)


def test_a_reversal_has_every_amount_with_the_opposite_sign():
    """A sale with a commission of 1.99, reversed: shares, cash, bases, gain and commission add up to nothing."""
    sale = next(
        row
        for row in fold(
            [
                *events_of("2019-01-02,A,X,BUY,10,100,L"),
                Sell(
                    account="A",
                    event_id="s",
                    trade_date=date(2019, 6, 3),
                    ticker="X",
                    quantity=Decimal(4),
                    amount=Decimal(50),
                    fee=Decimal("1.99"),
                ),
            ],
            Terms(),
        ).postings
        if row.fee
    )
    back = reversal_of(7, sale, "c")
    for name in ("quantity", "cash", "cost_basis", "adjusted_basis", "realized_gain", "fee"):
        assert getattr(sale, name) != 0
        assert getattr(back, name) == -getattr(sale, name), name
    assert (back.reverses, back.correction_id, back.kind, back.lot) == (7, "c", sale.kind, sale.lot)
