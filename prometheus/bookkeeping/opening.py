"""Books opened in the ledger: an account's lots and cash become events of its first day, once."""

from collections import defaultdict
from collections.abc import Collection
from datetime import date

from prometheus.bookkeeping.ledger import book_events
from prometheus.bookkeeping.ledger_sources import opening_events
from prometheus.db.database import Connection
from prometheus.db.repositories.account_books import books_to_open
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import Event


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
