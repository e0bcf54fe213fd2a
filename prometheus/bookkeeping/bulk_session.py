"""One load of one file: the transaction around its checks and its rows."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from prometheus.bookkeeping.late_actions import action_words
from prometheus.db import bulk_load
from prometheus.db.bulk_load import Chunks, FileIdentity, LoadCounts, MergeTarget
from prometheus.db.database import Connection, Database
from prometheus.db.repositories import ingest_lots, ingest_reference, ledger_inputs
from prometheus.db.repositories.ingest_reference import KnownAccount
from prometheus.db.repositories.ledger_inputs import households_of

OnRows = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BulkSession:
    """What a load may ask and do, all of it in one transaction; events are booked upon its connection."""

    connection: Connection

    def purpose(self) -> str:
        """Return what this database is for: '' or 'demo'."""
        return ingest_reference.purpose(self.connection)

    def security_ids(self) -> list[tuple[str, int]]:
        """Return ticker and id of every security."""
        return ingest_reference.security_ids(self.connection)

    def lock_accounts(self, account_ids: Sequence[str]) -> list[KnownAccount]:
        """Return those of the accounts that exist, locked until the load ends."""
        return ingest_reference.lock_accounts(self.connection, account_ids)

    def other_members(self, households: Sequence[str], account_ids: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return household, regime and currency of stored accounts of households that the file leaves out."""
        return ingest_reference.other_members(self.connection, households, account_ids)

    def strategy_ids(self) -> list[str]:
        """Return the strategies there are."""
        return ingest_reference.strategy_ids(self.connection)

    def benchmark_ids(self) -> list[str]:
        """Return the benchmarks there are."""
        return ingest_reference.benchmark_ids(self.connection)

    def stored_actions(self, first: date, last: date) -> list[tuple[str, date, str, float]]:
        """Return ticker, ex-date, type and value of the corporate actions of a period."""
        return ingest_reference.stored_actions(self.connection, first, last)

    def late_actions(self) -> dict[str, str]:
        """Return by account the first action, in words, that came or changed after its books had passed the day."""
        late = ledger_inputs.late_actions(self.connection)
        return {account_id: action_words(actions[0]) for account_id, actions in late.items()}

    def merge(
        self, target: MergeTarget, columns: tuple[str, ...], chunks: Chunks, file: FileIdentity, on_rows: OnRows
    ) -> LoadCounts:
        """Load rows into a table: insert what is new, revise what differs.

        Args:
            target: Where.
            columns: Columns in the order of the data, those of the key among them.
            chunks: The rows as CSV text.
            file: Where they come from.
            on_rows: Called with the number of rows sent so far.
        """
        counts = bulk_load.load_rows(self.connection, target, columns, chunks, file, on_rows)
        if target is ingest_reference.ACCOUNTS:
            ingest_reference.settle_opening_cash(self.connection)
        return counts

    def stage_lots(self, chunks: Chunks, on_rows: OnRows) -> int:
        """Copy opening lots (``ingest_lots.STAGED_COLUMNS`` and the line number) aside and return how many."""
        return bulk_load.stage_rows(
            self.connection, ingest_lots.TABLE, ingest_lots.STAGED_COLUMNS, chunks, on_rows, extra="line_number bigint"
        )

    def differing_opening_lots(self) -> list[tuple[int, str]]:
        """Return line and former values of the staged lots that were handed over otherwise."""
        return ingest_lots.differing_opening_lots(self.connection)

    def lots_after_opening(self) -> list[tuple[int, str]]:
        """Return line and date of the books of the staged lots that come too late."""
        return ingest_lots.lots_after_opening(self.connection)

    def discard_staged_lots(self, lines: list[int]) -> None:
        """Take staged lots out again."""
        ingest_lots.discard_staged(self.connection, lines)

    def load_staged_lots(self, file: FileIdentity, staged: int) -> LoadCounts:
        """Store the staged lots."""
        return ingest_lots.load_staged_lots(self.connection, file, staged)

    def households_of(self, account_ids: Collection[str]) -> dict[str, str]:
        """Return the household of accounts by account; an account by itself is one of its own name."""
        return households_of(self.connection, account_ids)

    def account_regions(self, account_ids: Sequence[str]) -> dict[str, str]:
        """Return the region of those of the accounts that exist, locked until the load ends."""
        self.lock_accounts(account_ids)
        return ingest_reference.account_regions(self.connection, account_ids)

    def record_file(self, kind: str, file: FileIdentity, counts: LoadCounts) -> None:
        """Remember the file, unless it is known and changes nothing."""
        bulk_load.record_file(self.connection, kind, file, counts)


@contextmanager
def bulk_session(database: Database) -> Iterator[BulkSession]:
    """Open the transaction of one load; it commits at the end of the block, or nothing of it stays.

    Raises:
        DatabaseUnavailableError: The server cannot be reached or went away.
    """
    with database.transaction() as connection:
        bulk_load.take_load_lock(connection)
        yield BulkSession(connection)
