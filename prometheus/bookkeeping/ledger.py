"""Books of a household: opened, told events and executions, taken through the market's actions of a day.

Everything happens in the caller's transaction: the books are read, what the events change is worked out by the fold,
and that is appended. A new event of a later day is folded upon the last state. One of a day that the books have passed
leads to a fold from the last checkpoint before it, and stored postings that come out otherwise are reversed under one
correction.

Source: docs/specs/bookkeeping.md.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date

from prometheus.bookkeeping.account_columns import write_account_columns
from prometheus.bookkeeping.ledger_load import load_books
from prometheus.bookkeeping.ledger_sources import cancellation_id, execution_events, opening_events
from prometheus.bookkeeping.ledger_work import Booking, work_out
from prometheus.bookkeeping.ledger_write import write_works
from prometheus.db.database import Connection
from prometheus.db.repositories.account_books import books_to_open
from prometheus.db.repositories.ledger_events import EventSource, events_named
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.domain.books import Fill
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import Event
from prometheus.ledger.keys import EventKey


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


# ---------------------------------------------------------------- books that open


def unbooked_opening_events(connection: Connection, account_ids: Collection[str], day: date) -> dict[str, list[Event]]:
    """Return the opening events of those of the accounts whose books have not opened, by account.

    Args:
        connection: A transaction.
        account_ids: Accounts that exist.
        day: The first day of their books: its corporate actions have happened to the lots already.
    """
    opening = books_to_open(connection, account_ids)
    return {account_id: opening_events(account_id, books, day) for account_id, books in opening.items()}


def open_books(connection: Connection, account_ids: Collection[str], day: date) -> None:
    """Open the books of those of the accounts that have none in the ledger yet; the others are left alone.

    Args:
        connection: The transaction; the accounts of the households are locked in it, in the order of their names.
        account_ids: Accounts that exist.
        day: The first day of their books; see ``unbooked_opening_events``.

    Raises:
        AccountingError: A lot cannot be booked as it was handed over, or an event of the household that was booked
            before could not be booked any more.
    """
    opening = unbooked_opening_events(connection, account_ids, day)
    by_household: dict[str, list[Event]] = defaultdict(list)
    for account_id, household in households_of(connection, opening).items():
        by_household[household] += opening[account_id]
    for household, events in sorted(by_household.items()):
        booked = book_events(connection, household, events, day, source=EventSource.OPENING)
        for finding in booked.findings:
            if finding.refused:
                raise AccountingError(
                    f"the books of {finding.event.account} cannot be opened with {finding.event.event_id}: "
                    f"{finding.message}",
                    code=finding.code,
                    details={"account_id": finding.event.account, "event_id": finding.event.event_id},
                )


# ---------------------------------------------------------------- executions


def book_executed(
    connection: Connection,
    account_id: str,
    fills: Sequence[Fill],
    *,
    through: date,
    cancelled: Collection[str] = (),
) -> Booking:
    """Book executions and cancellations of an account, and the market's actions through a day.

    An execution that is booked already and says the same does nothing, nor does one that is cancelled already, so a
    report may come twice. Books that have not opened yet open on the day of the first execution.

    Args:
        connection: The transaction; the accounts of the household are locked in it, in the order of their names.
        account_id: The account.
        fills: Executions as the broker reports them.
        through: Day through which the account's books are afterwards at least; they go to the last execution's.
        cancelled: Executions that the broker has cancelled.

    Returns:
        The booking; its findings name the executions that were refused.

    Raises:
        AccountingError: An event that was booked before could not be booked any more (LOTS_GONE), or the books cannot
            be opened; an account would have less than no cash (OVERDRAWN).
    """
    stored = events_named(
        connection, [EventKey(account_id, name) for one in cancelled for name in (one, cancellation_id(one))]
    )
    to_cancel = [one for one in cancelled if EventKey(account_id, cancellation_id(one)) not in stored]
    days = [fill.trade_date for fill in fills] + [event.trade_date for event in stored.values()]
    through = max((through, *days))
    open_books(connection, [account_id], min((fill.trade_date for fill in fills), default=through))
    household = households_of(connection, [account_id])[account_id]
    events = execution_events(account_id, fills, to_cancel, told_on=through)
    booking = book_events(connection, household, events, through, source=EventSource.EXECUTION)
    write_account_columns(connection, booking.state, {account_id: through})
    return booking
