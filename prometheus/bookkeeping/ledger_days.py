"""The books of many households read for one day: a few statements for all of them, whatever their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from prometheus.bookkeeping.ledger_load import load_books
from prometheus.bookkeeping.ledger_news import ToldEvents
from prometheus.bookkeeping.ledger_terms import LedgerHousehold
from prometheus.bookkeeping.ledger_work import LoadedBooks
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import EventSource, NewEvent, households_with_later_events
from prometheus.db.repositories.ledger_states import MarkedState, StateMark, StoredState, newest_states
from prometheus.ledger.events import Event


@dataclass(frozen=True, slots=True)
class LoadedDay:
    """A household's books as they were read for a day.

    Attributes:
        books: The books. They go through the day at least; ``view_day`` is the day.
        mark: What tells whether the books have moved since; None for books that begin.
        needs_market: Whether the market's actions after ``books.start`` are still to be put in. All households of a
            day ask for nearly the same.
    """

    books: LoadedBooks
    mark: StateMark | None
    needs_market: bool


def load_day(
    connection: Connection,
    households: Sequence[LedgerHousehold],
    day: date,
    *,
    opening: Mapping[str, Sequence[Event]],
    late: frozenset[str],
    position: int,
) -> dict[str, LoadedDay]:
    """Read the books of households for a day, by household.

    Nearly every household has a last state and nothing after it. Others (late events, corrections, a state of other
    accounts, books that are past the day, an account that opens when they are there already) are read one by one.

    Args:
        connection: A transaction that sees one state of the database.
        households: The households.
        day: The day.
        opening: Opening events of the day by household.
        late: Households with actions that came or changed after their books had passed them; these wait.
        position: Number of the latest change of a corporate action.

    Raises:
        AccountingError: A stored state cannot be read.
    """
    marked = newest_states(connection, [household.name for household in households], day)
    usable = {household.name: _usable(household, marked.get(household.name)) for household in households}
    later = households_with_later_events(
        connection,
        [
            (household.name, household.account_ids, state.day if state is not None else date.min)
            for household in households
            for state in [usable[household.name]]
        ],
    )
    loaded: dict[str, LoadedDay] = {}
    for household in households:
        name = household.name
        one, state, events = marked.get(name), usable[name], opening.get(name, ())
        is_there = one is not None and one.mark.day >= day
        if name in later or (one is not None and state is None) or (events and is_there):
            books = load_books(connection, name, events, day, source=EventSource.OPENING, lock=False, view_day=day)
            books = books if name in late else replace(books, looked_at=max(position, books.seen))
            loaded[name] = LoadedDay(books, None if one is None else one.mark, needs_market=False)
            continue
        seen = position if one is None else one.mark.actions_seen
        new = tuple(events)
        loaded[name] = LoadedDay(
            LoadedBooks(
                household=household,
                through=day,
                passed=None if one is None else one.mark.day,
                seen=seen,
                looked_at=seen if name in late else max(position, seen),
                told=ToldEvents(new, 0, ()),
                own=tuple(NewEvent(event, EventSource.OPENING) for event in new),
                known=(),
                newest=state,
                start=state,
                view_day=day,
            ),
            None if one is None else one.mark,
            needs_market=True,
        )
    return loaded


def _usable(household: LedgerHousehold, one: MarkedState | None) -> StoredState | None:
    """Return the state that a plain day is folded upon: the last one, of the same accounts."""
    if one is None or one.state is None or one.state.day != one.mark.day:
        return None
    return one.state if sorted(one.state.accounts) == sorted(household.account_ids) else None
