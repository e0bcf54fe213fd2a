"""Books of a household: events are stored, folded, and what the fold changes is appended.

Everything happens in the caller's transaction. A new event of a later day is folded upon the last state. One of a day
that the books have passed leads to a fold from the last checkpoint before it, and stored postings that come out
otherwise are reversed under one correction.

Source: docs/specs/bookkeeping.md.
"""

from collections.abc import Sequence
from datetime import date

from prometheus.bookkeeping.ledger_load import load_books
from prometheus.bookkeeping.ledger_work import Booking, work_out
from prometheus.bookkeeping.ledger_write import write_works
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.ledger.events import Event


def book_events(
    connection: Connection,
    household: str,
    events: Sequence[Event],
    through: date,
    *,
    source: EventSource,
    source_name: str = "",
    reason: str = "",
) -> Booking:
    """Book new events of a household's accounts, and the market's actions through a day.

    An event that is stored already with the same content does nothing; with other content it is refused. An event that
    cannot be booked is refused, and the rest is booked as if it had never been told.

    Args:
        connection: The transaction; the accounts of the household are locked in it, in the order of their names.
        household: The household; the account's name where one stands by itself.
        events: In any order, corrections and cancellations among them.
        through: Day through which the books are afterwards, unless they are further already.
        source: Who tells the events.
        source_name: Name of the file or the like.
        reason: Why books that were passed change, in one sentence; worded from the events where empty.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: An event that was booked before could not be booked any more (LOTS_GONE), or an action of the
            market cannot be told.
    """
    loaded = load_books(connection, household, events, through, source=source, source_name=source_name, lock=True)
    return write_works(connection, [work_out(loaded)], reason)[0]


def ex_date_processing(connection: Connection, household: str, through: date, *, reason: str = "") -> Booking:
    """Book the market's actions through a day, and what has changed in actions of days that the books have passed.

    Args:
        connection: The transaction; see ``book_events``.
        household: The household.
        through: The day.
        reason: As for ``book_events``.

    Raises:
        AccountingError: As for ``book_events``.
    """
    loaded = load_books(connection, household, (), through, source=EventSource.MARKET, lock=True, with_changes=True)
    return write_works(connection, [work_out(loaded)], reason)[0]


def preview(
    connection: Connection, household: str, events: Sequence[Event], through: date, *, with_changes: bool = False
) -> Booking:
    """Return what booking events would change; nothing is written and nothing locked.

    Args:
        connection: A transaction.
        household: The household.
        events: As for ``book_events``.
        through: As for ``book_events``.
        with_changes: Whether changes of the market's actions are looked at, as ``ex_date_processing`` does.

    Raises:
        AccountingError: As for ``book_events``.
    """
    loaded = load_books(
        connection, household, events, through, source=EventSource.FILE, lock=False, with_changes=with_changes
    )
    return work_out(loaded).booking
