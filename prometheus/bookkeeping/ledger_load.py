"""The books of one household read from the database, with what is to be booked."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from prometheus.bookkeeping.ledger_market import MarketSpan, changed_events, market_span
from prometheus.bookkeeping.ledger_news import first_day_of, told_events
from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.bookkeeping.ledger_work import LoadedBooks, first_action_after, tickers_needed
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import EventSource, NewEvent, events_after, tickers_told
from prometheus.db.repositories.ledger_inputs import actions_position
from prometheus.db.repositories.ledger_postings import postings_after, tickers_posted
from prometheus.db.repositories.ledger_states import newest_state, stored_mark
from prometheus.ledger.events import Event

_ONE_DAY: Final = timedelta(days=1)


def load_books(
    connection: Connection,
    name: str,
    events: Sequence[Event],
    through: date,
    *,
    source: EventSource,
    lock: bool,
    source_name: str = "",
    with_changes: bool = False,
    view_day: date | None = None,
) -> LoadedBooks:
    """Read the books of a household with all that booking events needs.

    Args:
        connection: A transaction; it sees one state of the database, or locks the accounts.
        name: The household.
        events: The events to book.
        through: Day through which the books are to be; they may be further already.
        source: Who tells the events.
        lock: Whether the accounts are locked, in the order of their names.
        source_name: Name of the file or the like.
        with_changes: Whether changes of the market's actions on days that the books have passed are booked.
        view_day: Day whose end is asked for besides.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: As for ``open_household``, or a change of an action cannot be told.
    """
    household = open_household(connection, name, lock=lock)
    accounts = household.account_ids
    mark = stored_mark(connection, name)
    passed, seen = mark or (None, actions_position(connection))
    through = through if passed is None else max(through, passed)
    told = told_events(connection, household, events, through)
    looked_at = actions_position(connection) if with_changes else seen
    changed: list[NewEvent] = []
    if with_changes and passed is not None and looked_at > seen:
        ever = tickers_told(connection, accounts) | tickers_posted(connection, accounts)
        changed = changed_events(connection, name, ever, seen=seen, passed=passed)
    newest = newest_state(connection, name, accounts)
    if newest is not None and newest.day != passed:
        newest = None  # the last state is of another version, or of other accounts
    first = first_day_of(connection, (*told.new, *(new.event for new in changed)))
    before = [] if first is None else [first]
    if view_day is not None:
        before.append(view_day + _ONE_DAY)
    start = newest
    if newest is not None and before and min(before) <= newest.day:
        start = newest_state(connection, name, accounts, before=min(before))
    own = (*(NewEvent(event, source, source_name) for event in told.new), *changed)
    known = events_after(connection, name, accounts, None if start is None else start.day)
    all_events = (*known, *(new.event for new in own))
    after = first_action_after(all_events, start)
    market = MarketSpan()
    if after is not None:
        market = market_span(connection, tickers_needed(all_events, start), after=after, through=through)
    is_last = start is newest and newest is not None
    return LoadedBooks(
        household=household,
        through=through,
        passed=passed,
        seen=seen,
        looked_at=looked_at,
        told=told,
        own=own,
        known=tuple(known),
        newest=newest,
        start=start,
        stored=() if is_last else tuple(postings_after(connection, accounts, None if start is None else start.day)),
        market=market,
        view_day=view_day,
    )
