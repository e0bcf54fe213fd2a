"""Staged snapshots and solutions of runs in work."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from prometheus.db.models import StagedSnapshotRow, StagedSolutionRow
from prometheus.foundation.canonical import CanonicalText


@dataclass(frozen=True, slots=True)
class StagedSnapshot:
    """Stored form of a snapshot, and the merged parameters."""

    snapshot: Mapping[str, Any]
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StagedSolution:
    """Status and stored form of a solution."""

    status: str
    result: Mapping[str, Any]


def stage_snapshot(
    connection: Connection, run_id: int, *, snapshot: CanonicalText, params: Mapping[str, Any], risk_model_id: int
) -> None:
    """Write a run's snapshot, over an earlier one where a task is run again."""
    values = {"snapshot": snapshot, "params": params, "risk_model_id": risk_model_id}
    connection.execute(
        upsert(StagedSnapshotRow)
        .values(run_id=run_id, **values)
        .on_conflict_do_update(index_elements=["run_id"], set_=values)
    )


def staged_snapshot(connection: Connection, run_id: int) -> StagedSnapshot:
    """Return a run's staged snapshot; it must exist."""
    row = connection.execute(
        select(StagedSnapshotRow.snapshot, StagedSnapshotRow.params).where(StagedSnapshotRow.run_id == run_id)
    ).one()
    return StagedSnapshot(row.snapshot, row.params)


def stage_solution(connection: Connection, run_id: int, *, status: str, result: CanonicalText) -> None:
    """Write a run's solution, over an earlier one where a task is run again."""
    values = {"status": status, "result": result}
    connection.execute(
        upsert(StagedSolutionRow)
        .values(run_id=run_id, **values)
        .on_conflict_do_update(index_elements=["run_id"], set_=values)
    )


def staged_solution(connection: Connection, run_id: int) -> StagedSolution:
    """Return a run's staged solution; it must exist."""
    row = connection.execute(
        select(StagedSolutionRow.status, StagedSolutionRow.result).where(StagedSolutionRow.run_id == run_id)
    ).one()
    return StagedSolution(row.status, row.result)


def clear_staging(connection: Connection, run_id: int) -> None:
    """Remove what is staged once it stands in the immutable record."""
    connection.execute(delete(StagedSolutionRow).where(StagedSolutionRow.run_id == run_id))
    connection.execute(delete(StagedSnapshotRow).where(StagedSnapshotRow.run_id == run_id))
