"""The append-only history of runs, and alerts a person should see."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.dialects.postgresql import insert as upsert

from prometheus.db.models import AlertRow, EngineRunEventRow
from prometheus.domain.phases import Phase


def record_event(
    connection: Connection,
    run_id: int,
    kind: str,
    *,
    from_phase: Phase | None = None,
    to_phase: Phase | None = None,
    lease_token: int = 0,
    owner: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Append one event to a run's history."""
    connection.execute(
        insert(EngineRunEventRow).values(
            run_id=run_id,
            kind=kind,
            from_phase=None if from_phase is None else from_phase.value,
            to_phase=None if to_phase is None else to_phase.value,
            lease_token=lease_token,
            owner_instance=owner,
            details=dict(details or {}),
        )
    )


def raise_alert(
    connection: Connection,
    *,
    run_id: int,
    account_id: str,
    as_of: date,
    code: str,
    message: str,
    details: Mapping[str, Any] | None = None,
) -> bool:
    """Record an alert unless this run already has one of this code; return True where it is new."""
    # Once for each run and code: a phase that is held at every heartbeat alerts a single time.
    statement = (
        upsert(AlertRow)
        .values(
            run_id=run_id,
            account_id=account_id,
            as_of_date=as_of,
            code=code,
            message=message,
            details=dict(details or {}),
        )
        .on_conflict_do_nothing(index_elements=["run_id", "code"])
        .returning(AlertRow.alert_id)
    )
    return connection.execute(statement).one_or_none() is not None
