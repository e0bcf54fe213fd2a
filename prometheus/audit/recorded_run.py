"""A persisted run as an auditor reads it: the frozen inputs, the answer and the trade list, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date

from prometheus.db.database import Database
from prometheus.db.repositories.runs import load_run, targets_of
from prometheus.decision.day_result import DayResult
from prometheus.decision.snapshot import Snapshot, opened
from prometheus.decision.stored_result import explanation_json, read_result, stored_explanations
from prometheus.domain.run_record import StoredRun, TradeRow
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.canonical import JsonObject, to_jsonable
from prometheus.foundation.ids import run_label


@dataclass(frozen=True, slots=True)
class RunKey:
    """Which run: account, number within the account, day."""

    account_id: str
    run_seq: int
    as_of: date

    @property
    def label(self) -> str:
        """Return account and run as people write them."""
        return f"{self.account_id} {run_label(self.run_seq)}"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run's record.

    Attributes:
        key: Which run.
        record: What stands in ``runs``.
        trades: Its trade list, in order.
        previous_targets: Target weights of the account's run before, by ticker; None for its first run.
    """

    key: RunKey
    record: StoredRun
    trades: tuple[TradeRow, ...]
    previous_targets: Mapping[str, float] | None

    @property
    def snapshot(self) -> Snapshot:
        """Return the frozen inputs."""
        return Snapshot.from_json(self.record.document("snapshot"))

    @property
    def params(self) -> StrategyParams:
        """Return the merged strategy parameters."""
        return StrategyParams.from_dict(self.record.document("params_snapshot"))

    @property
    def nav(self) -> str:
        """Return the net asset value as exact decimal text, base currency."""
        return str(self.record.document("result")["nav"])

    @property
    def result(self) -> DayResult:
        """Return the stored answer.

        Raises:
            PrometheusError: A version this code has no reader for (RESULT_VERSION).
        """
        return read_result(self.record.document("result"))


def readable_run(record: StoredRun, trades: Sequence[TradeRow]) -> JsonObject:
    """Return a run as JSON types for people and other programs: lists for packed columns, hexadecimal for bytes.

    Args:
        record: What stands in ``runs``.
        trades: Its trade list, in order.
    """
    columns = {column.name: getattr(record, column.name) for column in fields(record)}
    result = record.document("result")
    explanations = stored_explanations(result)
    why = None if explanations is None else [explanation_json(one) for one in explanations]
    readable: JsonObject = to_jsonable(
        {
            **{name: value.hex() if isinstance(value, bytes) else value for name, value in columns.items()},
            "snapshot": opened(record.document("snapshot")),
            "result": {**result, "explanations": why},
            "trades": [
                {"run_id": record.run_id, "trade_no": number, **asdict(trade)}
                for number, trade in enumerate(trades, start=1)
            ],
        }
    )
    return readable


def load_recorded_run(database: Database, account_id: str, run_seq: int) -> RecordedRun:
    """Read a run from the database.

    Raises:
        RequestError: There is no such run, or it was archived.
    """
    with database.transaction() as connection:
        record, trades = load_run(connection, account_id, run_seq)
        targets = targets_of(connection, account_id, run_seq - 1)
    return recorded(record, trades, targets)


def recorded(
    record: StoredRun, trades: Sequence[TradeRow], previous_targets: Mapping[str, float] | None
) -> RecordedRun:
    """Return a run from its rows."""
    key = RunKey(record.account_id, record.run_seq, record.as_of_date)
    return RecordedRun(key, record, tuple(trades), previous_targets)
