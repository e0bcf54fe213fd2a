"""Executions of an account booked as events of its household: each once, late ones in the place of their day."""

from collections.abc import Collection, Sequence
from datetime import date

from prometheus.bookkeeping.account_columns import write_account_columns
from prometheus.bookkeeping.ledger import book_events
from prometheus.bookkeeping.ledger_sources import cancellation_id, execution_events
from prometheus.bookkeeping.ledger_work import Booking
from prometheus.bookkeeping.opening import open_books
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import EventSource, events_named
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.domain.books import Fill
from prometheus.ledger.keys import EventKey


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
