"""Random histories of a household on PostgreSQL: told in time, at once, or late, the books are the same."""

from dataclasses import replace
from itertools import count, groupby

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.bookkeeping.ledger_view import read_books
from prometheus.foundation.errors import AccountingError
from prometheus.ledger import events as ev
from prometheus.ledger.fold import fold
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.terms import Terms
from tests.integration.ledger_households import add_household, add_securities, book, sums_of_postings
from tests.property.ledger_histories import ACCOUNTS, histories

_NUMBERS = count()


@pytest.fixture(scope="module")
def market(cloned):
    """A database with the securities of the histories, for as many households as there are examples."""
    from prometheus.db.database import Database

    with cloned() as url:
        found = Database(url)
        add_securities(found, ["ZZ", "NEW", "CHILD"], {"XX": "TWINS", "XY": "TWINS"})
        yield found
        found.close()


def new_household(database):
    """Add a household of three accounts and return its name."""
    name = f"H{next(_NUMBERS)}"
    add_household(database, name, [f"{name}-{account}" for account in ACCOUNTS])
    return name


def of_household(event, name):
    """Return an event of a history as one of a household's accounts."""
    changed = {"account": f"{name}-{event.account}"}
    if getattr(event, "other_account", None) is not None:
        changed["other_account"] = f"{name}-{event.other_account}"
    if isinstance(event, ev.Correction):
        changed["replacement"] = of_household(event.replacement, name)
    return replace(event, **changed)


def bookable(history):
    """Return the events of accounts that can be booked together, and that make no other one impossible."""
    events = [event for event in history if event.account != EVERY_ACCOUNT]
    terms = Terms(groups={"XX": "TWINS", "XY": "TWINS"})
    while True:
        refused = {found.event for found in fold(events, terms).findings if found.refused}
        if not refused:
            return events
        events = [
            event
            for event in events
            if event.key not in refused
            and not (isinstance(event, ev.Correction) and event.replacement.key in refused)
            and not (isinstance(event, ev.Cancellation) and replace(event, event_id=event.target_id).key in refused)
        ]


def tell(database, name, events, through):
    """Book events and return those that have to be told again."""
    try:
        booked = book(database, *(of_household(event, name) for event in events), through=through, household=name)
    except AccountingError:
        return list(events)
    return [event for event in events if of_household(event, name).key in booked.refused]


def tell_again(database, name, waiting, through):
    """Book events one by one, those that are refused again and again, until all of them are booked."""
    while waiting:
        before, again = len(waiting), []
        for event in waiting:
            again += tell(database, name, [event], through)
        waiting = again
        if len(waiting) == before:
            # Two that need each other: a correction and what it makes possible.
            waiting = tell(database, name, waiting, through)
            assert waiting == []


def found_in(database, name):
    """Return books and sums of postings without the name of the household, after everything was checked."""
    with database.transaction() as connection:
        assert rebuild_check(connection, name).differences == ()
        terms = open_household(connection, name).terms
        state = read_books(connection, name).state
    assert terms.groups == {"XX": "TWINS", "XY": "TWINS"}
    lots = {
        (key.account.split("-")[1], key.lot_id): (lot.ticker, lot.quantity, lot.cost_basis, lot.adjusted_basis,
                                                  lot.acquired_on, lot.holding_period_start, lot.exact)
        for key, lot in state.lots.items()
    }  # fmt: skip
    _, money = sums_of_postings(database, name)
    open_trades = (
        [(one.lot.lot_id, one.ticker, one.quantity, one.unreplaced) for one in state.purchases],
        [(one.lot.lot_id, one.ticker, one.open_quantity, one.disallowed) for one in state.losses],
    )
    return lots, {account.split("-")[1]: found for account, found in money.items() if any(found)}, open_trades


@settings(
    max_examples=12,
    phases=(Phase.reuse, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=histories(), order=st.randoms(use_true_random=False))
def test_late_events_give_the_books_of_those_in_time(market, history, order):
    """Day by day, all at once, and in random order with what is refused told again: one result, and it is checked."""
    events = bookable(history)
    if not events:
        return
    through = max(event.trade_date for event in events)
    at_once = new_household(market)
    assert tell(market, at_once, events, through) == []
    expected = found_in(market, at_once)

    in_time = new_household(market)
    waiting = []
    for day, of_day in groupby(sorted(events, key=lambda event: event.trade_date), key=lambda event: event.trade_date):
        waiting += tell(market, in_time, list(of_day), day)
    # What could not be booked on its day, and was cancelled or corrected later.
    tell_again(market, in_time, waiting, through)
    assert found_in(market, in_time) == expected

    late = new_household(market)
    waiting = list(events)
    order.shuffle(waiting)
    tell_again(market, late, waiting, through)
    assert found_in(market, late) == expected
