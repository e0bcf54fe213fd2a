"""Data for an audit: chains row by row, matrices, archives and anchors, all as stored and unchecked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from prometheus.db.models import AccountRow, ArchiveRow, AuditAnchorRow, BlobRow, RunRow, RunTradeRow
from prometheus.db.repositories.runs import stored_run
from prometheus.db.trade_lines import trade_of
from prometheus.domain.run_record import StoredRun, TradeRow
from prometheus.foundation.canonical import JsonObject

#: Runs read at a time: a record is some tens of kilobytes.
_BATCH: Final = 64

_HEADS: Final = text("""
    SELECT DISTINCT ON (account_id) account_id, run_seq, run_hash FROM runs
    WHERE as_of_date <= :as_of ORDER BY account_id, run_seq DESC
""")
_UNRECORDED: Final = text("""
    SELECT as_of_date FROM engine_runs
    WHERE account_id = :account AND phase = 'PERSISTED'
      AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.run_id = engine_runs.run_id)
    ORDER BY as_of_date LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One run's rows as stored, with its trades in order."""

    record: StoredRun
    trades: tuple[TradeRow, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """One act of archiving."""

    archive_id: int
    before_date: date
    reason: str
    file_name: str
    file_sha256: bytes
    runs: int
    runs_sha256: bytes
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Anchor:
    """A stored anchor: ``heads`` has number and hash (hexadecimal) of each account's last run through the day."""

    as_of: date
    digest: bytes
    heads: Mapping[str, Sequence[Any]]
    recorded_at: datetime


def chain_of(connection: Connection, account_id: str) -> Iterator[ChainLink]:
    """Yield an account's runs by number, archived ones too."""
    last = -1
    while True:
        rows = (
            connection.execute(
                select(RunRow.__table__)
                .where(RunRow.account_id == account_id, RunRow.run_seq > last)
                .order_by(RunRow.run_seq)
                .limit(_BATCH)
            )
            .mappings()
            .all()
        )
        if not rows:
            return
        trades: dict[int, list[TradeRow]] = {row["run_id"]: [] for row in rows}
        lines = connection.execute(
            select(RunTradeRow.__table__)
            .where(RunTradeRow.run_id.in_(list(trades)))
            .order_by(RunTradeRow.run_id, RunTradeRow.trade_no)
        ).mappings()
        for line in lines:
            trades[line["run_id"]].append(trade_of(line))
        for row in rows:
            yield ChainLink(stored_run(row), tuple(trades[row["run_id"]]))
        last = rows[-1]["run_seq"]


def chain_lengths(connection: Connection) -> dict[str, int]:
    """Return the number of the last run by account, as stored with the accounts."""
    rows = connection.execute(select(AccountRow.account_id, AccountRow.last_run_seq).order_by(AccountRow.account_id))
    return {row.account_id: row.last_run_seq for row in rows}


def persisted_without_record(connection: Connection, account_id: str) -> date | None:
    """Return the first day that the engine persisted and that has no run, or None."""
    day: date | None = connection.execute(_UNRECORDED, {"account": account_id}).scalar_one_or_none()
    return day


def blob_addresses(connection: Connection) -> tuple[bytes, ...]:
    """Return the address of every stored matrix."""
    return tuple(bytes(address) for address in connection.execute(select(BlobRow.sha256)).scalars())


def heads_through(connection: Connection, as_of: date) -> dict[str, tuple[int, bytes]]:
    """Return number and hash of each account's last run through a day."""
    rows = connection.execute(_HEADS, {"as_of": as_of})
    return {row.account_id: (row.run_seq, bytes(row.run_hash)) for row in rows}


def newest_run_day(connection: Connection) -> date | None:
    """Return the day of the newest run, or None where there is no run."""
    day: date | None = connection.execute(select(func.max(RunRow.as_of_date))).scalar_one()
    return day


def hash_of_run(connection: Connection, account_id: str, run_seq: int) -> bytes | None:
    """Return the stored hash of a run, or None where there is no such run."""
    run_hash = connection.execute(
        select(RunRow.run_hash).where(RunRow.account_id == account_id, RunRow.run_seq == run_seq)
    ).scalar_one_or_none()
    return None if run_hash is None else bytes(run_hash)


def archives(connection: Connection) -> tuple[Archive, ...]:
    """Return every act of archiving, oldest first."""
    rows = connection.execute(select(ArchiveRow.__table__).order_by(ArchiveRow.archive_id))
    return tuple(
        Archive(
            archive_id=row.archive_id,
            before_date=row.before_date,
            reason=row.reason,
            file_name=row.file_name,
            file_sha256=bytes(row.file_sha256),
            runs=row.runs,
            runs_sha256=bytes(row.runs_sha256),
            recorded_at=row.recorded_at,
        )
        for row in rows
    )


def runs_of_archive(connection: Connection, archive_id: int) -> tuple[tuple[str, int, bytes], ...]:
    """Return account, number and hash of every run of an archive, by account and number."""
    rows = connection.execute(
        select(RunRow.account_id, RunRow.run_seq, RunRow.run_hash)
        .where(RunRow.archive_id == archive_id)
        .order_by(RunRow.account_id, RunRow.run_seq)
    )
    return tuple((row.account_id, row.run_seq, bytes(row.run_hash)) for row in rows)


def add_archive(
    connection: Connection,
    *,
    before: date,
    reason: str,
    file_name: str,
    file_sha256: bytes,
    runs_sha256: bytes,
    runs: Sequence[tuple[str, int]],
) -> int:
    """Record an archive, take documents and trades of its runs out, and return its id; for the tables' owner."""
    archive_id = int(
        connection.execute(
            insert(ArchiveRow)
            .values(
                before_date=before,
                reason=reason,
                file_name=file_name,
                file_sha256=file_sha256,
                runs=len(runs),
                runs_sha256=runs_sha256,
            )
            .returning(ArchiveRow.archive_id)
        ).scalar_one()
    )
    connection.execute(text("SELECT set_config('prometheus.archive', 'on', true)"))
    wanted = {
        "archive": archive_id,
        "accounts": [account for account, _ in runs],
        "numbers": [number for _, number in runs],
    }
    connection.execute(_ARCHIVE_RUNS, wanted)
    connection.execute(_ARCHIVE_TRADES, {"archive": archive_id})
    connection.execute(text("SELECT set_config('prometheus.archive', '', true)"))
    return archive_id


_ARCHIVE_RUNS: Final = text("""
    UPDATE runs SET archive_id = :archive, snapshot = NULL, params_snapshot = NULL, result = NULL
    FROM unnest(CAST(:accounts AS text[]), CAST(:numbers AS bigint[])) AS wanted(account_id, run_seq)
    WHERE runs.account_id = wanted.account_id AND runs.run_seq = wanted.run_seq
""")
_ARCHIVE_TRADES: Final = text("""
    DELETE FROM run_trades USING runs WHERE run_trades.run_id = runs.run_id AND runs.archive_id = :archive
""")


def anchors(connection: Connection) -> tuple[Anchor, ...]:
    """Return every stored anchor, by day."""
    rows = connection.execute(
        select(AuditAnchorRow.__table__).order_by(AuditAnchorRow.as_of_date, AuditAnchorRow.anchor_id)
    )
    return tuple(_anchor(row) for row in rows)


def add_anchor(connection: Connection, *, as_of: date, digest: bytes, heads: JsonObject) -> bool:
    """Store an anchor; return False where the same one exists already."""
    added = connection.execute(
        upsert(AuditAnchorRow)
        .values(as_of_date=as_of, digest=digest, heads=dict(heads))
        .on_conflict_do_nothing()
        .returning(AuditAnchorRow.anchor_id)
    )
    return added.one_or_none() is not None


def _anchor(row: Row[Any]) -> Anchor:
    return Anchor(row.as_of_date, bytes(row.digest), row.heads, row.recorded_at)
