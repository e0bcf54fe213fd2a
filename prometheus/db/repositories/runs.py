"""The immutable record of runs and their trades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, text

from prometheus.db.database import driver_connection
from prometheus.db.models import RunRow, RunTradeRow
from prometheus.db.run_digests import run_digests, run_hash
from prometheus.foundation.errors import RequestError
from prometheus.foundation.ids import run_label

# The account's row is locked until the transaction ends: numbers stay gap-free under races and rollbacks.
_NEXT_SEQ: Final = text(
    "UPDATE accounts SET last_run_seq = last_run_seq + 1 WHERE account_id = :account RETURNING last_run_seq"
)
_PREVIOUS_HASH: Final = text("SELECT run_hash FROM runs WHERE account_id = :account ORDER BY run_seq DESC LIMIT 1")

_HAS_UNFILLED: Final = """
    EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = runs.run_id)
    AND NOT EXISTS (SELECT 1 FROM transactions
                    WHERE transactions.account_id = runs.account_id AND transactions.trade_date = runs.as_of_date
                      AND transactions.txn_type IN ('BUY', 'SELL'))
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
_PREVIOUS_UNFILLED: Final = text(f"""
    SELECT run_seq, as_of_date FROM runs
    WHERE run_id = (SELECT previous.run_id FROM runs AS previous
                    WHERE previous.account_id = :account AND previous.as_of_date < :before
                    ORDER BY previous.as_of_date DESC LIMIT 1)
      AND {_HAS_UNFILLED}
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
    """What a list of runs shows; ``result`` is None where the run was archived."""

    account_id: str
    run_seq: int
    as_of_date: date
    status: str
    solver: str
    gap_bps: float | None
    rounded_gap_bps: float | None
    result: Mapping[str, Any] | None
    flags: Sequence[Any]
    recorded_at: datetime


def existing_run_seq(connection: Connection, account_id: str, as_of: date) -> int | None:
    """Return the number of the run persisted for an account's day, or None."""
    seq: int | None = connection.execute(
        select(RunRow.run_seq).where(RunRow.account_id == account_id, RunRow.as_of_date == as_of)
    ).scalar_one_or_none()
    return seq


def insert_run(
    connection: Connection, *, run_id: int, record: Mapping[str, Any], trades: Sequence[Mapping[str, Any]]
) -> tuple[int, str]:
    """Write a run with the account's next number, chained to the run before it by hash.

    Args:
        connection: The transaction of the phase's commit.
        run_id: The engine run.
        record: Columns of ``runs`` except keys, number, digests and hashes.
        trades: Columns of ``run_trades`` except keys, in order.

    Returns:
        The run's number within the account and its hash.
    """
    account_id = record["account_id"]
    seq = int(connection.execute(_NEXT_SEQ, {"account": account_id}).scalar_one())
    previous = connection.execute(_PREVIOUS_HASH, {"account": account_id}).scalar_one_or_none()
    previous_hash = None if previous is None else bytes(previous)
    digests = run_digests(record, trades)
    digest = run_hash(digests, run_seq=seq, previous_hash=previous_hash)
    connection.execute(
        insert(RunRow).values(
            **record, run_id=run_id, run_seq=seq, digests=digests, prev_hash=previous_hash, run_hash=digest
        )
    )
    if trades:
        _copy_trades(connection, run_id, trades)
    return seq, digest.hex()


def _copy_trades(connection: Connection, run_id: int, trades: Sequence[Mapping[str, Any]]) -> None:
    names = tuple(trades[0])
    columns = ", ".join(("run_id", "trade_no", *names))
    # A hundred lines for each account and day: COPY takes them at a tenth of the cost of as many statements.
    with (
        driver_connection(connection).cursor() as cursor,
        cursor.copy(f"COPY run_trades ({columns}) FROM STDIN") as copy,
    ):
        for number, trade in enumerate(trades, start=1):
            copy.write_row((run_id, number, *(trade[name] for name in names)))


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
        RunRow.result,
        RunRow.flags,
        RunRow.recorded_at,
    ).order_by(RunRow.as_of_date.desc(), RunRow.account_id.desc())
    if account_id is not None:
        query = query.where(RunRow.account_id == account_id)
    if as_of is not None:
        query = query.where(RunRow.as_of_date == as_of)
    rows = connection.execute(query.limit(limit)).mappings().all()
    return tuple(RunSummary(**{str(name): value for name, value in row.items()}) for row in reversed(rows))


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


def trades_of_day(connection: Connection, as_of: date) -> dict[str, list[dict[str, Any]]]:
    """Return the trades of every run of a day by account, in the order of each run's trade list."""
    rows = connection.execute(
        select(RunRow.account_id, RunTradeRow.__table__)
        .join(RunTradeRow, RunTradeRow.run_id == RunRow.run_id)
        .where(RunRow.as_of_date == as_of)
        .order_by(RunRow.account_id, RunTradeRow.trade_no)
    ).mappings()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["account_id"], []).append({str(name): value for name, value in row.items()})
    return found


def unfilled_days(connection: Connection, as_of: date) -> tuple[str, ...]:
    """Return the accounts whose run of a day has trades of which the journal knows no fill."""
    rows = connection.execute(_UNFILLED, {"as_of": as_of})
    return tuple(row.account_id for row in rows)


def unfilled_run_before(connection: Connection, account_id: str, before: date) -> str | None:
    """Return label and day of the account's previous run where it has trades and none is booked as a fill."""
    row = connection.execute(_PREVIOUS_UNFILLED, {"account": account_id, "before": before}).one_or_none()
    return None if row is None else f"{run_label(row.run_seq)} of {row.as_of_date}"


def load_run(connection: Connection, account_id: str, run_seq: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return every column of a run and its trades in order.

    Raises:
        RequestError: The account has no such run (UNKNOWN_RUN), or it was archived (RUN_ARCHIVED).
    """
    row = connection.execute(
        select(RunRow.__table__).where(RunRow.account_id == account_id, RunRow.run_seq == run_seq)
    ).mappings()
    found = row.one_or_none()
    if found is None:
        raise RequestError(
            f"Account {account_id} has no run {run_label(run_seq)}. See 'prometheus runs list {account_id}'.",
            code="UNKNOWN_RUN",
        )
    record = {str(name): value for name, value in found.items()}
    if record["archive_id"] is not None:
        raise RequestError(
            f"{run_label(run_seq)} of {account_id} was archived (archive {record['archive_id']}). "
            "'prometheus audit archives' names the file that holds it.",
            code="RUN_ARCHIVED",
        )
    trades = connection.execute(
        select(RunTradeRow.__table__).where(RunTradeRow.run_id == record["run_id"]).order_by(RunTradeRow.trade_no)
    ).mappings()
    return record, [{str(name): value for name, value in trade.items()} for trade in trades]


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
