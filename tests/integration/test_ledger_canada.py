"""A Canadian household on PostgreSQL: pools, superficial losses, and day 30 across checkpoints."""

from datetime import date, timedelta

import pytest

from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.ledger import events as ev
from prometheus.ledger.postings import PostingKind
from tests.integration.ledger_households import (
    add_household,
    add_securities,
    book,
    buy,
    cash,
    lot,
    sell,
    sums_of_postings,
)

MAPLE = ("C1", "C2", "RRSP")
SOLD = date(2024, 3, 25)
OPENING = (
    lot("L1", "AAA", 100, 2000, account="C1"),
    lot("L2", "AAA", 100, 4000, account="C2"),
    *(cash(10_000, account=account) for account in MAPLE),
)


@pytest.fixture
def maple(database):
    """A household of two taxed accounts, whose shares are one pool, and a registered plan."""
    add_household(database, "MAPLE", MAPLE, regime="CA")
    add_securities(database, ["AAA", "BBB"])
    assert not told(database, *OPENING).findings
    return database


def told(database, *events: ev.Event, through=None):
    """Book events of the household."""
    return book(database, *events, through=through, household="MAPLE")


def agrees(database):
    """Return whether everything stored is what the events give."""
    with database.transaction() as connection:
        return rebuild_check(connection, "MAPLE").differences == ()


def trades():
    """Return a loss, purchases around it, one of them registered, and what is sold after the window."""
    return [
        sell("s1", SOLD, "AAA", 40, 800, account="C1"),
        buy("b1", SOLD + timedelta(days=5), "AAA", 30, 600, account="C2"),
        buy("b2", SOLD + timedelta(days=20), "AAA", 20, 400, account="RRSP"),
        sell("s2", SOLD + timedelta(days=29), "AAA", 10, 190, account="C2"),
        buy("b3", SOLD + timedelta(days=45), "BBB", 1, 10, account="C1"),
        sell("s3", SOLD + timedelta(days=80), "AAA", 50, 2500, account="C2"),
    ]


def test_two_accounts_have_one_pool(maple):
    """A sale in one account takes the average cost of both."""
    booked = told(maple, sell("s1", SOLD, "AAA", 40, 1600, account="C1"))
    assert sum(one.adjusted_basis for one in booked.state.lots.values()) == 6000 - 40 * 30
    (sale,) = [one for one in booked.postings if one.kind is PostingKind.SELL]
    assert sale.realized_gain == 400
    assert agrees(maple)


def test_day_30_is_settled_across_a_checkpoint(maple):
    """The window of a loss of March closes in April, and the first event of May finds it so; the check agrees."""
    for event in trades():
        told(maple, event)
        assert agrees(maple)


@pytest.mark.parametrize("late", range(6))
def test_late_events_settle_as_if_they_had_come_in_time(maple, late):
    """Whichever event is told last, the check agrees; cancelled and told again it gives the same books."""
    events = trades()
    through = events[-1].trade_date
    told(maple, *events[:late], *events[late + 1 :], through=through)
    booked = told(maple, events[late], through=through)
    assert not [found for found in booked.findings if found.refused]
    assert agrees(maple)
    found = (booked.state, sums_of_postings(maple, "MAPLE"))
    back = ev.Cancellation(
        account=events[late].account, event_id="x", trade_date=through, target_id=events[late].event_id
    )
    told(maple, back)
    assert agrees(maple)
    again = ev.Correction(
        account=events[late].account, event_id="y", trade_date=through + timedelta(days=1), replacement=events[late]
    )
    last = told(maple, again, through=through + timedelta(days=1))
    assert (last.state, sums_of_postings(maple, "MAPLE")) == found
    assert agrees(maple)
