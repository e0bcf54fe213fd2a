"""Staged snapshots and solutions of runs in work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from sqlalchemy import Connection, select

from prometheus.db.database import driver_connection, jsonb_text
from prometheus.db.models import StagedSnapshotRow, StagedSolutionRow
from prometheus.foundation.canonical import CanonicalText, JsonObject

_STAGE_SNAPSHOT: Final = """
    INSERT INTO staged_snapshots (run_id, snapshot, params, risk_model_id) VALUES (%s, %s::jsonb, %s::jsonb, %s)
    ON CONFLICT (run_id) DO UPDATE
    SET snapshot = excluded.snapshot, params = excluded.params, risk_model_id = excluded.risk_model_id
"""
_STAGE_SOLUTION: Final = """
    INSERT INTO staged_solutions (run_id, status, result) VALUES (%s, %s, %s::jsonb)
    ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, result = excluded.result
"""
_CLEAR: Final = """
    WITH solutions AS (DELETE FROM staged_solutions WHERE run_id = ANY(%(run_ids)s))
    DELETE FROM staged_snapshots WHERE run_id = ANY(%(run_ids)s)
"""


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """What is staged when a day is frozen: the stored form of the snapshot and the merged parameters."""

    run_id: int
    snapshot: CanonicalText
    params: JsonObject
    risk_model_id: int


@dataclass(frozen=True, slots=True)
class NewSolution:
    """What is staged when a day is solved."""

    run_id: int
    status: str
    result: CanonicalText


@dataclass(frozen=True, slots=True)
class StagedSnapshot:
    """Stored form of a snapshot, and the merged parameters."""

    snapshot: JsonObject
    params: JsonObject


@dataclass(frozen=True, slots=True)
class StagedSolution:
    """Status and stored form of a solution."""

    status: str
    result: JsonObject


def stage_snapshots(connection: Connection, snapshots: Sequence[NewSnapshot]) -> None:
    """Write snapshots of several runs, over earlier ones where a task is run again."""
    rows = [(new.run_id, jsonb_text(new.snapshot), jsonb_text(new.params), new.risk_model_id) for new in snapshots]
    _send(connection, _STAGE_SNAPSHOT, rows)


def staged_snapshot(connection: Connection, run_id: int) -> StagedSnapshot:
    """Return a run's staged snapshot; it must exist."""
    row = connection.execute(
        select(StagedSnapshotRow.snapshot, StagedSnapshotRow.params).where(StagedSnapshotRow.run_id == run_id)
    ).one()
    return StagedSnapshot(row.snapshot, row.params)


def stage_solutions(connection: Connection, solutions: Sequence[NewSolution]) -> None:
    """Write solutions of several runs, over earlier ones where a task is run again."""
    _send(connection, _STAGE_SOLUTION, [(new.run_id, new.status, jsonb_text(new.result)) for new in solutions])


def _send(connection: Connection, statement: LiteralString, rows: Sequence[Sequence[Any]]) -> None:
    # One statement, prepared once, with all its rows in one round trip.
    with driver_connection(connection).cursor() as cursor:
        cursor.executemany(statement, rows)


def staged_solution(connection: Connection, run_id: int) -> StagedSolution:
    """Return a run's staged solution; it must exist."""
    row = connection.execute(
        select(StagedSolutionRow.status, StagedSolutionRow.result).where(StagedSolutionRow.run_id == run_id)
    ).one()
    return StagedSolution(row.status, row.result)


def clear_staging(connection: Connection, run_ids: Sequence[int]) -> None:
    """Remove what is staged once it stands in the immutable record."""
    driver_connection(connection).execute(_CLEAR, {"run_ids": list(run_ids)})
