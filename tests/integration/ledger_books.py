"""Small books in a database: loaded from files, moved by fills, and proved by their events after each."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

from prometheus.bookkeeping.ledger import book_executed, open_books
from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.db.repositories.ledger_postings import postings_after
from prometheus.domain.books import Books, Fill
from prometheus.foundation.errors import AccountingError
from prometheus.ingestion.ingest import IngestOptions, ingest_directory
from prometheus.ledger.postings import Posting

MONDAY, TUESDAY, FRIDAY = date(2018, 6, 4), date(2018, 6, 5), date(2018, 6, 8)


def load_files(database: Database, folder: Path, files: Mapping[str, str]) -> None:
    """Write files by name into a folder and ingest them all."""
    for name, content in files.items():
        (folder / name).write_text(content)
    reports = ingest_directory(database, folder, options=IngestOptions(today=date(2018, 6, 10)))
    assert all(report.loaded for report in reports), [report.findings for report in reports]


def open_all(database: Database, day: date) -> None:
    """Open the books of every account."""
    with database.transaction() as connection:
        open_books(connection, [account.account_id for account in accounts_of(connection)], day)


def booking(database: Database) -> Callable[..., int]:
    """Return a function that books fills of an account, proves its household, and returns how many were new.

    An execution that is refused is raised, with the code of its finding.
    """

    def book(account, *fills: Fill, as_of=None, cancelled=()):
        day = as_of or max((fill.trade_date for fill in fills), default=FRIDAY)
        with database.transaction() as connection:
            booked = book_executed(connection, account, fills, through=day, cancelled=cancelled)
            for finding in booked.findings:
                if finding.refused:
                    raise AccountingError(str(finding), code=finding.code)
        assert differences(database) == []
        return sum(event.account == account for event in booked.events)

    return book


def differences(database: Database) -> list[str]:
    """Return where postings and states say otherwise than the events of their household."""
    with database.transaction() as connection:
        accounts = [account.account_id for account in accounts_of(connection)]
        names = sorted(set(households_of(connection, accounts).values()))
        return [str(one) for name in names for one in rebuild_check(connection, name).differences]


def books_held(database: Database, account: str) -> Books:
    """Return lots and cash of an account."""
    with database.transaction() as connection:
        household = households_of(connection, [account])[account]
        return books_of(read_books(connection, household).state, account)


def lots_held(database: Database, account: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Return shares and adjusted basis of the lots held, by lot."""
    return {lot.lot_id: (lot.quantity, lot.adjusted_basis) for lot in books_held(database, account).lots}


def posted(database: Database, account: str, *kinds: str) -> list[Posting]:
    """Return the stored postings of an account, of some kinds where any are named, in the order of writing."""
    with database.transaction() as connection:
        stored = [one.posting for one in postings_after(connection, [account], None)]
    return [posting for posting in stored if not kinds or posting.kind in kinds]
