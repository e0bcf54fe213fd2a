"""Small books in a database: loaded from files, moved by fills, and proved equal to their journal after each."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

from prometheus.bookkeeping.fills import book_fills
from prometheus.bookkeeping.journal import prove_tables
from prometheus.db.database import Database
from prometheus.db.repositories.accounts import load_books
from prometheus.domain.books import Fill
from prometheus.ingestion.ingest import IngestOptions, ingest_directory

MONDAY, TUESDAY, FRIDAY = date(2018, 6, 4), date(2018, 6, 5), date(2018, 6, 8)


def load_files(database: Database, folder: Path, files: Mapping[str, str]) -> None:
    """Write files by name into a folder and ingest them all."""
    for name, content in files.items():
        (folder / name).write_text(content)
    reports = ingest_directory(database, folder, options=IngestOptions(today=date(2018, 6, 10)))
    assert all(report.loaded for report in reports), [report.findings for report in reports]


def booking(database: Database, group_of: Mapping[str, str]) -> Callable[..., int]:
    """Return a function that books fills of an account, proves all tables, and returns how many fills were new."""

    def book(account, *fills: Fill, as_of=None, cancelled=()):
        day = as_of or max((fill.trade_date for fill in fills), default=FRIDAY)
        with database.transaction() as connection:
            count = book_fills(connection, account, fills, as_of=day, group_of=group_of, cancelled=cancelled)
        with database.transaction() as connection:
            assert not any(proof.differences for proof in prove_tables(connection))
        return count

    return book


def lots_held(database: Database, account: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Return shares and adjusted basis of the lots held, by lot."""
    with database.transaction() as connection:
        return {lot.lot_id: (lot.quantity, lot.adjusted_basis) for lot in load_books(connection, account).lots}
