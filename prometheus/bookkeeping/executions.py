"""Executions of an account booked as events of its household: each once, late ones in the place of their day."""

from collections.abc import Collection, Sequence
from datetime import date

from prometheus.bookkeeping.ledger import book_events
from prometheus.bookkeeping.ledger_sources import execution_events
from prometheus.bookkeeping.ledger_work import Booking
from prometheus.bookkeeping.opening import open_books
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.domain.books import Fill


def book_executed(
    connection: Connection,
    account_id: str,
    fills: Sequence[Fill],
    *,
    through: date,
    cancelled: Collection[str] = (),
) -> Booking:
    """Book executions and cancellations of an account, and the market's actions through a day.

    An execution that is booked already and says the same does nothing, so a report may come twice. Books that have not
    opened yet open on the day of the first execution.

    Args:
        connection: The transaction; the accounts of the household are locked in it, in the order of their names.
        account_id: The account.
        fills: Executions as the broker reports them.
        through: Day through which the household's books are afterwards at least; they go to the last execution's.
        cancelled: Executions that the broker has taken back.

    Returns:
        The booking; its findings name the executions that were refused.

    Raises:
        AccountingError: An event that was booked before could not be booked any more (LOTS_GONE), or the books cannot
            be opened.
    """
    days = [fill.trade_date for fill in fills]
    through = max((through, *days))
    open_books(connection, [account_id], min(days, default=through))
    household = households_of(connection, [account_id])[account_id]
    events = execution_events(account_id, fills, cancelled, told_on=through)
    return book_events(connection, household, events, through, source=EventSource.EXECUTION)
