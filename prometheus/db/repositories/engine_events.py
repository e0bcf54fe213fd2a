"""The append-only history of runs, and alerts a person should see."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, select, text

from prometheus.domain.phases import Phase
from prometheus.foundation.canonical import JsonObject, canonical_json

# One statement writes the alert and its message, so that neither exists without the other. An alert is raised once for
# each run and code: a phase that is held at every tick alerts once. The key has the row's number and a digest of its
# content, so that a database restored from a backup does not give an old key to a new alert.
_RAISE: Final = text("""
    WITH raised AS (
        INSERT INTO alerts (run_id, account_id, as_of_date, code, message, details)
        VALUES (:run_id, :account_id, :as_of, :code, :message, CAST(:details AS jsonb))
        ON CONFLICT (run_id, code) DO NOTHING
        RETURNING *
    ), told AS (
        SELECT alert_id, run_id, account_id, jsonb_build_object(
            'alert_id', alert_id, 'run_id', run_id, 'account', account_id, 'as_of', as_of_date, 'code', code,
            'message', message, 'details', details,
            'raised_at', to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')) AS payload
        FROM raised
    )
    INSERT INTO outbox (kind, idempotency_key, payload, run_id, account_id)
    SELECT 'ALERT',
           format('alert-%s-%s', alert_id, left(encode(sha256(convert_to(payload::text, 'UTF8')), 'hex'), 32)),
           payload, run_id, account_id
    FROM told RETURNING message_id
""")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a run's history; ``details`` has JSON types."""

    run_id: int
    kind: str
    from_phase: Phase | None = None
    to_phase: Phase | None = None
    lease_token: int = 0
    owner: str | None = None
    details: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """One row of a run's history; phases are the stored words, ``recorded_at`` is the database's clock."""

    event_id: int
    run_id: int
    kind: str
    from_phase: str | None
    to_phase: str | None
    lease_token: int
    owner_instance: str | None
    details: JsonObject
    recorded_at: datetime


def record_event(
    connection: Connection,
    run_id: int,
    kind: str,
    *,
    from_phase: Phase | None = None,
    to_phase: Phase | None = None,
    lease_token: int = 0,
    owner: str | None = None,
    details: JsonObject | None = None,
) -> None:
    """Append one event to a run's history."""
    record_events(
        connection,
        [
            Event(
                run_id,
                kind,
                from_phase=from_phase,
                to_phase=to_phase,
                lease_token=lease_token,
                owner=owner,
                details=details or {},
            )
        ],
    )


def record_events(connection: Connection, events: Sequence[Event]) -> None:
    """Append events to the histories of runs, in one round trip."""
    if not events:
        return
    from prometheus.db.models import EngineRunEventRow  # noqa: PLC0415 -- the ORM, which an idle tick does without

    connection.execute(
        insert(EngineRunEventRow),
        [
            {
                "run_id": event.run_id,
                "kind": event.kind,
                "from_phase": None if event.from_phase is None else event.from_phase.value,
                "to_phase": None if event.to_phase is None else event.to_phase.value,
                "lease_token": event.lease_token,
                "owner_instance": event.owner,
                "details": dict(event.details),
            }
            for event in events
        ],
    )


def raise_alert(
    connection: Connection,
    *,
    run_id: int,
    account_id: str,
    as_of: date,
    code: str,
    message: str,
    details: JsonObject | None = None,
) -> bool:
    """Record an alert unless this run already has one of this code; return True where it is new."""
    inserted = connection.execute(
        _RAISE,
        {
            "run_id": run_id,
            "account_id": account_id,
            "as_of": as_of,
            "code": code,
            "message": message,
            "details": canonical_json(details or {}),
        },
    )
    return inserted.one_or_none() is not None


def raise_fleet_alert(connection: Connection, *, code: str, message: str) -> None:
    """Record an alert that concerns no single run; the caller knows whether it is new."""
    none = {"run_id": None, "account_id": None, "as_of": None}
    connection.execute(_RAISE, {**none, "code": code, "message": message, "details": "{}"})


def fleet_alert_exists(connection: Connection, *, code: str, message: str) -> bool:
    """Return whether an alert of no single run with this text is recorded already."""
    from prometheus.db.models import AlertRow  # noqa: PLC0415 -- the ORM, which an idle tick does without

    rows = connection.execute(
        select(AlertRow.alert_id)
        .where(AlertRow.run_id.is_(None), AlertRow.code == code, AlertRow.message == message)
        .limit(1)
    )
    return rows.one_or_none() is not None


def list_events(connection: Connection, run_id: int) -> tuple[RecordedEvent, ...]:
    """Return every event of a run, oldest first."""
    from prometheus.db.models import EngineRunEventRow  # noqa: PLC0415 -- the ORM, which an idle tick does without

    rows = connection.execute(
        select(EngineRunEventRow.__table__)
        .where(EngineRunEventRow.run_id == run_id)
        .order_by(EngineRunEventRow.event_id)
    ).mappings()
    return tuple(RecordedEvent(**row) for row in rows)


def take_alerts(connection: Connection, run_id: int) -> dict[str, str]:
    """Remove a run's alerts and return their messages by code: after a reset each may be raised again."""
    from prometheus.db.models import AlertRow  # noqa: PLC0415 -- the ORM, which an idle tick does without

    rows = connection.execute(
        delete(AlertRow).where(AlertRow.run_id == run_id).returning(AlertRow.code, AlertRow.message)
    )
    return {row.code: row.message for row in rows}
