"""The immutable record of runs and their trades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, select, text

from prometheus.db.database import SqlValue, driver_connection, jsonb_text
from prometheus.db.models import RunRow, RunTradeRow
from prometheus.db.run_digests import run_digests, run_hash
from prometheus.db.trade_lines import TRADE_COLUMNS, trade_line, trade_of
from prometheus.domain.run_record import RunRecord, SettledTotals, StoredRun, TradeRow
from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import DatabaseError, RequestError
from prometheus.foundation.ids import run_label

_RECORDED: Final = """
    SELECT account_id, as_of_date FROM runs
    JOIN unnest(%s::text[], %s::date[]) AS wanted(account_id, as_of_date) USING (account_id, as_of_date)
"""
# The accounts' rows are locked until the transaction ends: numbers stay gap-free under races and rollbacks.
_NEXT_SEQ: Final = """
    WITH locked AS (
        SELECT account_id FROM accounts WHERE account_id = ANY(%s) ORDER BY account_id FOR NO KEY UPDATE
    )
    UPDATE accounts SET last_run_seq = last_run_seq + 1 FROM locked WHERE accounts.account_id = locked.account_id
    RETURNING accounts.account_id, last_run_seq
"""
_LAST_HASHES: Final = """
    SELECT wanted.account_id, (SELECT run_hash FROM runs WHERE runs.account_id = wanted.account_id
                               ORDER BY run_seq DESC LIMIT 1)
    FROM unnest(%s::text[]) AS wanted(account_id)
"""
#: Columns of a new run with their types. Snapshot and parameters are those staged with it, byte for byte, so they are
#: neither sent nor compressed again.
_NEW_COLUMNS: Final = {
    "run_id": "bigint", "run_seq": "bigint", "account_id": "text", "as_of_date": "date", "status": "text",
    "solver": "text", "solver_tolerance": "float8", "solver_status": "text", "iterations": "bigint",
    "objective": "float8", "lower_bound": "float8", "gap_bps": "float8", "rounded_gap_bps": "float8",
    "code_version": "text", "library_versions": "jsonb", "timings": "jsonb", "strategy_id": "text",
    "strategy_version": "int", "risk_model_id": "bigint", "loadings_sha256": "bytea",
    "specific_variance_sha256": "bytea", "result": "jsonb", "flags": "jsonb", "digests": "jsonb",
    "prev_hash": "bytea", "run_hash": "bytea",
}  # fmt: skip
_INSERT: Final = (
    f"INSERT INTO runs ({', '.join(_NEW_COLUMNS)}, snapshot, params_snapshot) SELECT "
    + ", ".join(f"%({name})s::{kind}" for name, kind in _NEW_COLUMNS.items())
    + ", snapshot, params FROM staged_snapshots WHERE run_id = %(run_id)s"
)
_COPY_TRADES: Final = f"COPY run_trades (run_id, trade_no, {', '.join(TRADE_COLUMNS)}) FROM STDIN"

_HAS_UNFILLED: Final = """
    EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = runs.run_id)
    AND NOT EXISTS (SELECT 1 FROM ledger_events AS event
                    WHERE event.account_id = runs.account_id AND event.trade_date = runs.as_of_date
                      AND event.kind IN ('Buy', 'Sell'))
"""
_UNFILLED: Final = text(
    f"SELECT account_id FROM runs WHERE as_of_date = :as_of AND {_HAS_UNFILLED} ORDER BY account_id"
)
_FORECASTS: Final = text("""
    SELECT account_id, as_of_date, result -> 'tracking_error_after' AS tracking_error,
           result -> 'target_weights' AS target_weights, snapshot -> 'benchmark' ->> 'id' AS benchmark_id,
           snapshot -> 'benchmark' ->> 'effective_date' AS benchmark_date
    FROM runs WHERE status = 'OPTIMAL' AND as_of_date BETWEEN :first AND :last ORDER BY account_id, as_of_date
""")


@dataclass(frozen=True, slots=True)
class RiskForecast:
    """What one run predicted: annualised tracking error to a benchmark, for the weights it decided on."""

    account_id: str
    as_of: date
    tracking_error: float
    target_weights: Mapping[str, float]
    benchmark_id: str
    benchmark_date: date


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a list of runs shows.

    Attributes:
        account_id: The account.
        run_seq: Number within the account.
        as_of_date: The day.
        status: OPTIMAL or NON_OPTIMAL.
        solver: Back-end that answered.
        gap_bps: Certified gap before rounding, bps of NAV.
        rounded_gap_bps: Certified gap after it.
        tracking_error_before: Annualised, as a fraction; None where the run was archived, like the two that follow.
        tracking_error_after: The same after trading.
        turnover: One way, fraction of NAV.
        settled: What its settlement adds up to; None where the run was archived.
        flags: Code and sentence of what was unusual.
        recorded_at: When it was written.
    """

    account_id: str
    run_seq: int
    as_of_date: date
    status: str
    solver: str
    gap_bps: float | None
    rounded_gap_bps: float | None
    tracking_error_before: float | None
    tracking_error_after: float | None
    turnover: float | None
    settled: SettledTotals | None
    flags: Sequence[Sequence[str]]
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be written: its record, its trades line by line, and the digests of both."""

    run_id: int
    record: RunRecord
    lines: tuple[str, ...]
    digests: JsonObject

    @property
    def account_id(self) -> str:
        """Return the account."""
        return self.record.account_id

    @property
    def as_of(self) -> date:
        """Return the day."""
        return self.record.as_of_date


def new_run(run_id: int, record: RunRecord, trades: Sequence[TradeRow]) -> NewRun:
    """Return a run ready to be written.

    Args:
        run_id: The engine run.
        record: What it records.
        trades: Its trade list in order.
    """
    lines = tuple(map(trade_line, trades))
    return NewRun(run_id, record, lines, run_digests(record, trades, lines=lines))


def insert_runs(connection: Connection, runs: Sequence[NewRun]) -> None:
    """Write runs with their accounts' next numbers, each chained to the account's run before by hash.

    A run that stands already for an account's day is passed over: it is never written again.

    Args:
        connection: The transaction of their phases' commit; their snapshots are staged.
        runs: Of different accounts.

    Raises:
        DatabaseError: A snapshot is not staged (NOT_STAGED); nothing is written.
    """
    driver = driver_connection(connection)
    days = [run.as_of for run in runs]
    recorded = set(driver.execute(_RECORDED, [[run.account_id for run in runs], days]).fetchall())
    fresh = [run for run in runs if (run.account_id, run.as_of) not in recorded]
    if not fresh:
        return
    accounts = [run.account_id for run in fresh]
    numbers: dict[str, int] = dict(driver.execute(_NEXT_SEQ, [accounts]).fetchall())
    hashes: dict[str, bytes | None] = dict(driver.execute(_LAST_HASHES, [accounts]).fetchall())
    with driver.cursor() as cursor:
        cursor.executemany(_INSERT, [_columns(run, numbers[run.account_id], hashes[run.account_id]) for run in fresh])
        if cursor.rowcount != len(fresh):
            raise DatabaseError("A run's snapshot is not staged, so its record cannot be written.", code="NOT_STAGED")
        # A hundred lines for each account and day: COPY takes them at a tenth of the cost of as many statements.
        with cursor.copy(_COPY_TRADES) as copy:
            for run in fresh:
                if run.lines:
                    numbered = (f"{run.run_id}\t{number}\t{line}\n" for number, line in enumerate(run.lines, 1))
                    copy.write("".join(numbered))


def _columns(run: NewRun, run_seq: int, previous_hash: bytes | None) -> dict[str, SqlValue]:
    values = {name: _sent(name, getattr(run.record, name)) for name in _NEW_COLUMNS if hasattr(run.record, name)}
    return {
        **values,
        "run_id": run.run_id,
        "run_seq": run_seq,
        "digests": jsonb_text(run.digests),
        "prev_hash": previous_hash,
        "run_hash": run_hash(run.digests, run_seq=run_seq, previous_hash=previous_hash),
    }


def _sent(name: str, value: Any) -> SqlValue:
    """Return a value of the record as its column takes it."""
    sent: SqlValue = jsonb_text(value) if _NEW_COLUMNS[name] == "jsonb" else value
    return sent


def previous_targets(connection: Connection, account_id: str, before: date) -> dict[str, float] | None:
    """Return the target weights of the account's latest run before a day, or None on its first day."""
    targets: dict[str, float] | None = connection.execute(
        select(RunRow.result["target_weights"])
        .where(RunRow.account_id == account_id, RunRow.as_of_date < before)
        .order_by(RunRow.as_of_date.desc())
        .limit(1)
    ).scalar_one_or_none()
    return targets


def list_persisted(
    connection: Connection, *, account_id: str | None = None, as_of: date | None = None, limit: int | None = None
) -> tuple[RunSummary, ...]:
    """Return persisted runs by account and number; the newest ``limit`` of them where given."""
    query = select(
        RunRow.account_id,
        RunRow.run_seq,
        RunRow.as_of_date,
        RunRow.status,
        RunRow.solver,
        RunRow.gap_bps,
        RunRow.rounded_gap_bps,
        RunRow.result["tracking_error_before"].label("tracking_error_before"),
        RunRow.result["tracking_error_after"].label("tracking_error_after"),
        RunRow.result["turnover"].label("turnover"),
        RunRow.result["settlement"].label("settled"),
        RunRow.flags,
        RunRow.recorded_at,
    ).order_by(RunRow.as_of_date.desc(), RunRow.account_id.desc())
    if account_id is not None:
        query = query.where(RunRow.account_id == account_id)
    if as_of is not None:
        query = query.where(RunRow.as_of_date == as_of)
    rows = connection.execute(query.limit(limit)).mappings().all()
    return tuple(RunSummary(**{**row, "settled": _settled(row["settled"])}) for row in reversed(rows))


def _settled(stored: JsonObject | None) -> SettledTotals | None:
    return None if stored is None else SettledTotals.from_json(stored)


def risk_forecasts(connection: Connection, *, first: date, last: date) -> tuple[RiskForecast, ...]:
    """Return the forecasts of certified runs with days from ``first`` through ``last``, by account and day."""
    rows = connection.execute(_FORECASTS, {"first": first, "last": last})
    return tuple(
        RiskForecast(
            account_id=row.account_id,
            as_of=row.as_of_date,
            tracking_error=float(row.tracking_error),
            target_weights={ticker: float(weight) for ticker, weight in row.target_weights.items()},
            benchmark_id=row.benchmark_id,
            benchmark_date=date.fromisoformat(row.benchmark_date),
        )
        for row in rows
    )


def trades_of_day(connection: Connection, as_of: date) -> dict[str, list[TradeRow]]:
    """Return the trades of every run of a day by account, in the order of each run's trade list."""
    rows = connection.execute(
        select(RunRow.account_id, RunTradeRow.__table__)
        .join(RunTradeRow, RunTradeRow.run_id == RunRow.run_id)
        .where(RunRow.as_of_date == as_of)
        .order_by(RunRow.account_id, RunTradeRow.trade_no)
    ).mappings()
    trades: dict[str, list[TradeRow]] = {}
    for row in rows:
        trades.setdefault(row["account_id"], []).append(trade_of(row))
    return trades


def unfilled_days(connection: Connection, as_of: date) -> tuple[str, ...]:
    """Return the accounts whose run of a day has trades of which the journal knows no fill."""
    rows = connection.execute(_UNFILLED, {"as_of": as_of})
    return tuple(row.account_id for row in rows)


def load_run(connection: Connection, account_id: str, run_seq: int) -> tuple[StoredRun, tuple[TradeRow, ...]]:
    """Return a run and its trades in order.

    Raises:
        RequestError: The account has no such run (UNKNOWN_RUN), or it was archived (RUN_ARCHIVED).
    """
    row = (
        connection.execute(select(RunRow.__table__).where(RunRow.account_id == account_id, RunRow.run_seq == run_seq))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise RequestError(
            f"Account {account_id} has no run {run_label(run_seq)}. See 'prometheus runs list {account_id}'.",
            code="UNKNOWN_RUN",
        )
    run = stored_run(row)
    if run.archive_id is not None:
        raise RequestError(
            f"{run_label(run_seq)} of {account_id} was archived (archive {run.archive_id}). "
            "'prometheus audit archives' names the file that holds it.",
            code="RUN_ARCHIVED",
        )
    trades = connection.execute(
        select(RunTradeRow.__table__).where(RunTradeRow.run_id == run.run_id).order_by(RunTradeRow.trade_no)
    ).mappings()
    return run, tuple(trade_of(trade) for trade in trades)


def stored_run(row: RowMapping) -> StoredRun:
    """Return a run from every column of its row."""
    return StoredRun(**{str(name): value for name, value in row.items()})


def targets_of(connection: Connection, account_id: str, run_seq: int) -> dict[str, float] | None:
    """Return the target weights of one run of an account, or None where there is none or it was archived."""
    targets: dict[str, float] | None = connection.execute(
        select(RunRow.result["target_weights"]).where(RunRow.account_id == account_id, RunRow.run_seq == run_seq)
    ).scalar_one_or_none()
    return targets


def runs_between(
    connection: Connection, *, first: date | None = None, last: date | None = None, account_id: str | None = None
) -> tuple[tuple[str, int, date], ...]:
    """Return account, number and day of every run of a period that is not archived, by account and number."""
    query = select(RunRow.account_id, RunRow.run_seq, RunRow.as_of_date).where(RunRow.archive_id.is_(None))
    if first is not None:
        query = query.where(RunRow.as_of_date >= first)
    if last is not None:
        query = query.where(RunRow.as_of_date <= last)
    if account_id is not None:
        query = query.where(RunRow.account_id == account_id)
    rows = connection.execute(query.order_by(RunRow.account_id, RunRow.run_seq))
    return tuple((row.account_id, row.run_seq, row.as_of_date) for row in rows)


def day_of_run(connection: Connection, account_id: str, run_seq: int) -> date | None:
    """Return the day of one run of an account, archived or not; None where there is none."""
    day: date | None = connection.execute(
        select(RunRow.as_of_date).where(RunRow.account_id == account_id, RunRow.run_seq == run_seq)
    ).scalar_one_or_none()
    return day
