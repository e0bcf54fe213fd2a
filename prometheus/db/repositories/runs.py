"""The immutable record of runs and their trades."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, insert, select, text

from prometheus.db.database import driver_connection
from prometheus.db.models import AccountRow, RunRow, RunTradeRow
from prometheus.domain.money import plain_text
from prometheus.foundation.canonical import sha256_of_object
from prometheus.foundation.errors import RequestError
from prometheus.foundation.ids import run_label

# The account's row is locked until the transaction ends: numbers stay gap-free under races and rollbacks.
_NEXT_SEQ: Final = text(
    "UPDATE accounts SET last_run_seq = last_run_seq + 1 WHERE account_id = :account RETURNING last_run_seq"
)
_PREVIOUS_HASH: Final = text("SELECT run_hash FROM runs WHERE account_id = :account ORDER BY run_seq DESC LIMIT 1")

#: Columns that the hash of a run does not cover: its keys, its place in the chain (hashed by name), and when it was
#: written.
_OUTSIDE_HASH: Final = frozenset({"run_id", "run_seq", "prev_hash", "run_hash", "recorded_at", "trade_no"})

_HAS_UNFILLED: Final = """
    EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = runs.run_id)
    AND NOT EXISTS (SELECT 1 FROM transactions
                    WHERE transactions.account_id = runs.account_id AND transactions.trade_date = runs.as_of_date
                      AND transactions.txn_type IN ('BUY', 'SELL'))
"""
_UNFILLED: Final = text(
    f"SELECT account_id FROM runs WHERE as_of_date = :as_of AND {_HAS_UNFILLED} ORDER BY account_id"
)
_PREVIOUS_UNFILLED: Final = text(f"""
    SELECT run_seq, as_of_date FROM runs
    WHERE run_id = (SELECT previous.run_id FROM runs AS previous
                    WHERE previous.account_id = :account AND previous.as_of_date < :before
                    ORDER BY previous.as_of_date DESC LIMIT 1)
      AND {_HAS_UNFILLED}
""")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a list of runs shows."""

    account_id: str
    run_seq: int
    as_of_date: date
    status: str
    solver: str
    gap_bps: float | None
    rounded_gap_bps: float | None
    result: Mapping[str, Any]
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
        record: Columns of ``runs`` except keys, number and hashes.
        trades: Columns of ``run_trades`` except keys, in order.

    Returns:
        The run's number within the account and its hash.
    """
    account_id = record["account_id"]
    seq = int(connection.execute(_NEXT_SEQ, {"account": account_id}).scalar_one())
    previous = connection.execute(_PREVIOUS_HASH, {"account": account_id}).scalar_one_or_none()
    previous_hash = None if previous is None else bytes(previous)
    digest = run_hash(record, trades, run_seq=seq, previous_hash=previous_hash)
    connection.execute(
        insert(RunRow).values(
            **record, run_id=run_id, run_seq=seq, prev_hash=previous_hash, run_hash=bytes.fromhex(digest)
        )
    )
    if trades:
        _copy_trades(connection, run_id, trades)
    return seq, digest


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


def run_hash(
    record: Mapping[str, Any], trades: Sequence[Mapping[str, Any]], *, run_seq: int, previous_hash: bytes | None
) -> str:
    """Return the SHA-256 over a run's canonical record, its trades and the hash of the account's previous run."""
    hashed = {name: value.hex() if isinstance(value, bytes) else value for name, value in record.items()}
    return sha256_of_object(
        {
            **hashed,
            "run_seq": run_seq,
            "prev_hash": None if previous_hash is None else previous_hash.hex(),
            # A column pads decimals with zeros and knows no negative zero; the hash must not notice.
            "trades": [
                {name: plain_text(value) if isinstance(value, Decimal) else value for name, value in trade.items()}
                for trade in trades
            ],
        }
    )


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
        RequestError: The account has no such run.
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
    trades = connection.execute(
        select(RunTradeRow.__table__).where(RunTradeRow.run_id == record["run_id"]).order_by(RunTradeRow.trade_no)
    ).mappings()
    return record, [{str(name): value for name, value in trade.items()} for trade in trades]


def recomputed_hash(record: Mapping[str, Any], trades: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the hash of a run from its rows as ``load_run`` gives them; equal to ``run_hash`` of an unaltered run."""
    columns = {name: _bytes(value) for name, value in record.items() if name not in _OUTSIDE_HASH}
    lines = [{name: value for name, value in trade.items() if name not in _OUTSIDE_HASH} for trade in trades]
    digest = run_hash(columns, lines, run_seq=record["run_seq"], previous_hash=_bytes(record["prev_hash"]))
    return bytes.fromhex(digest)


def first_altered_run(connection: Connection, account_id: str) -> int | None:
    """Return the number of the first run of an account whose rows do not agree with the chain of hashes, or None.

    A run that is missing from the chain, or from its end, counts as altered.
    """
    last = connection.execute(select(AccountRow.last_run_seq).where(AccountRow.account_id == account_id)).scalar_one()
    stored = connection.execute(select(RunRow.run_seq).where(RunRow.account_id == account_id)).scalars()
    present = set(stored)
    previous: bytes | None = None
    for number in range(1, max(last, *present, 0) + 1):
        if number not in present:
            return number
        record, trades = load_run(connection, account_id, number)
        if _bytes(record["prev_hash"]) != previous or recomputed_hash(record, trades) != bytes(record["run_hash"]):
            return number
        previous = bytes(record["run_hash"])
    return None


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
