"""Rows of engine_runs: creating, reading, marking ready, cancelling, resetting."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, select, text

from prometheus.db.models import EngineRunRow
from prometheus.db.repositories.engine_events import Event, record_event, record_events, take_alerts
from prometheus.domain.engine_run import EngineRun, RunError
from prometheus.domain.phases import TERMINAL_PHASES, Phase
from prometheus.foundation.canonical import JsonObject, canonical_json
from prometheus.foundation.errors import ActiveRunCapError

_COLUMNS: Final = (
    EngineRunRow.run_id,
    EngineRunRow.as_of_date,
    EngineRunRow.account_id,
    EngineRunRow.region,
    EngineRunRow.phase,
    EngineRunRow.phase_entered_at,
    EngineRunRow.phase_started_at,
    EngineRunRow.phase_completed_at,
    EngineRunRow.created_at,
    EngineRunRow.updated_at,
    EngineRunRow.error,
    EngineRunRow.attempt,
    EngineRunRow.max_attempts,
    EngineRunRow.next_attempt_at,
    EngineRunRow.lease_token,
    EngineRunRow.owner_instance,
    EngineRunRow.lease_expires_at,
    EngineRunRow.heartbeat_at,
    EngineRunRow.cancel_requested_at,
)

_ORDER: Final = (EngineRunRow.as_of_date, EngineRunRow.region, EngineRunRow.account_id, EngineRunRow.run_id)

# Creators of runs for one account queue on its row, so that the cap holds under concurrency. NO KEY: rows that only
# refer to the account (alerts, runs) do not wait.
_LOCK_ACCOUNTS: Final = text(
    "SELECT account_id, region FROM accounts WHERE account_id = ANY(:accounts) ORDER BY account_id FOR NO KEY UPDATE"
)

_OVER_CAP: Final = text("""
    SELECT account_id, count(*) AS active FROM engine_runs
    WHERE account_id = ANY(:accounts) AND phase NOT IN ('PERSISTED', 'FAILED')
      AND NOT EXISTS (SELECT 1 FROM engine_runs same
                      WHERE same.account_id = engine_runs.account_id AND same.as_of_date = :as_of)
    GROUP BY account_id HAVING count(*) >= :cap ORDER BY account_id
""")

_ENSURE: Final = text("""
    INSERT INTO engine_runs (as_of_date, account_id, region, phase, code_version, config)
    SELECT :as_of, account_id, region, 'WAITING_FOR_DATA', :code_version, CAST(:config AS jsonb)
    FROM accounts WHERE account_id = ANY(:accounts) ORDER BY account_id
    ON CONFLICT ON CONSTRAINT uq_engine_runs_as_of_date_account_id DO NOTHING
    RETURNING run_id
""")

# Once a later day's inputs are frozen the earlier day can no longer be traded: lots carry over from day to day. The
# books show it too, where the later day's run failed after its corporate actions were booked.
_OVERTAKEN: Final = """
    greatest((SELECT books_as_of FROM accounts WHERE accounts.account_id = run.account_id),
             (SELECT max(later.as_of_date) FROM engine_runs AS later WHERE later.account_id = run.account_id
              AND later.phase IN ('SNAPSHOT_BUILT', 'SOLVED', 'PERSISTED')))
"""

_SUPERSEDE: Final = text(f"""
    UPDATE engine_runs AS run SET phase = 'FAILED', phase_entered_at = engine_now(), phase_completed_at = engine_now(),
        updated_at = engine_now(),
        error = jsonb_build_object('code', 'SUPERSEDED', 'previous_phase', phase, 'message',
            format('A later day (%s) of account %s was already worked on; %s can no longer be traded.',
                   {_OVERTAKEN}, account_id, as_of_date))
    WHERE as_of_date = :as_of AND account_id = ANY(:accounts) AND phase = 'WAITING_FOR_DATA'
      AND {_OVERTAKEN} > as_of_date
    RETURNING run_id, account_id
""")

_DATA_READY: Final = text("""
    UPDATE engine_runs SET phase = 'DATA_READY', phase_entered_at = engine_now(), phase_started_at = NULL,
        phase_completed_at = NULL, updated_at = engine_now(), attempt = 0, next_attempt_at = engine_now()
    WHERE as_of_date = :as_of AND account_id = ANY(:accounts) AND phase = 'WAITING_FOR_DATA'
    RETURNING run_id
""")

# The lock is held only during a commit, never during a solve: an operator does not wait for a worker.
_LOCK_RUN: Final = text("""
    SELECT phase, cancel_requested_at IS NOT NULL AS requested,
           owner_instance IS NOT NULL AND lease_expires_at > engine_now() AS worked_on
    FROM engine_runs WHERE run_id = :run_id FOR UPDATE
""")

_CANCEL: Final = text("""
    UPDATE engine_runs SET phase = 'FAILED', phase_entered_at = engine_now(), phase_completed_at = engine_now(),
        updated_at = engine_now(), owner_instance = NULL, lease_expires_at = NULL, lease_token = lease_token + 1,
        cancel_requested_at = coalesce(cancel_requested_at, engine_now()),
        error = jsonb_build_object('code', 'CANCELLED', 'previous_phase', phase, 'message', CAST(:message AS text))
    WHERE run_id = :run_id
""")

_REQUEST_CANCEL: Final = text(
    "UPDATE engine_runs SET cancel_requested_at = engine_now(), updated_at = engine_now() WHERE run_id = :run_id"
)

# Back to the start of the day's own work: the snapshot is taken again from today's tables.
_RESET: Final = text("""
    UPDATE engine_runs SET
        phase = CASE WHEN error->>'previous_phase' = 'WAITING_FOR_DATA' THEN 'WAITING_FOR_DATA' ELSE 'DATA_READY' END,
        phase_entered_at = engine_now(), phase_started_at = NULL, phase_completed_at = NULL, updated_at = engine_now(),
        error = NULL, attempt = 0, next_attempt_at = engine_now(), cancel_requested_at = NULL,
        owner_instance = NULL, lease_expires_at = NULL, lease_token = lease_token + 1
    WHERE run_id = :run_id AND phase = 'FAILED'
    RETURNING phase
""")

_OVERTAKEN_AND_ACTIVE: Final = text(f"""
    SELECT coalesce({_OVERTAKEN} > run.as_of_date, false) AS overtaken,
           (SELECT count(*) FROM engine_runs AS active WHERE active.account_id = run.account_id
            AND active.phase NOT IN ('PERSISTED', 'FAILED')) AS active
    FROM engine_runs AS run WHERE run_id = :run_id
""")


def list_runs(
    connection: Connection,
    *,
    as_of: date | None = None,
    region: str | None = None,
    account_id: str | None = None,
    phase: Phase | None = None,
    active_only: bool = False,
    limit: int | None = None,
) -> tuple[EngineRun, ...]:
    """Return runs that match, ordered by as_of_date, region, account and run_id; the last ``limit`` of them."""
    conditions: list[ColumnElement[bool]] = []
    if as_of is not None:
        conditions.append(EngineRunRow.as_of_date == as_of)
    if region is not None:
        conditions.append(EngineRunRow.region == region)
    if account_id is not None:
        conditions.append(EngineRunRow.account_id == account_id)
    if phase is not None:
        conditions.append(EngineRunRow.phase == phase.value)
    if active_only:
        conditions.append(EngineRunRow.phase.not_in([terminal.value for terminal in TERMINAL_PHASES]))
    # Of years of rows a monitor shows the latest days.
    newest_first = [column.desc() for column in _ORDER]
    rows = connection.execute(select(*_COLUMNS).where(*conditions).order_by(*newest_first).limit(limit)).mappings()
    return tuple(reversed([_engine_run(row) for row in rows]))


def get_run(connection: Connection, run_id: int) -> EngineRun:
    """Return one run; the id must exist."""
    return _engine_run(connection.execute(select(*_COLUMNS).where(EngineRunRow.run_id == run_id)).mappings().one())


def ensure_runs(
    connection: Connection,
    *,
    as_of: date,
    account_ids: Sequence[str],
    code_version: str,
    cap: int,
    config: JsonObject | None = None,
) -> tuple[int, ...]:
    """Create the runs of a day that are missing, in WAITING_FOR_DATA; return the ids of the new ones.

    Args:
        connection: An open transaction.
        as_of: The day.
        account_ids: Accounts that exist.
        code_version: Version of the code that creates them.
        cap: Unfinished runs that an account may have.
        config: The engine's settings, recorded with the runs.

    Raises:
        ActiveRunCapError: An account has ``cap`` unfinished runs of other days; nothing is written.
    """
    accounts = list(account_ids)
    connection.execute(_LOCK_ACCOUNTS, {"accounts": accounts})
    over = connection.execute(_OVER_CAP, {"accounts": accounts, "as_of": as_of, "cap": cap}).all()
    if over:
        raise ActiveRunCapError(
            f"Account {over[0].account_id} already has {over[0].active} unfinished runs (the limit is {cap}, "
            f"{len(over)} account(s) are over it). Finish, cancel or reset them first: "
            f"show_engine_runs --active --account {over[0].account_id}"
        )
    created = tuple(
        row.run_id
        for row in connection.execute(
            _ENSURE,
            {
                "as_of": as_of,
                "accounts": accounts,
                "code_version": code_version,
                "config": canonical_json(config or {}),
            },
        ).all()
    )
    record_events(connection, [Event(run_id, "CREATED", to_phase=Phase.WAITING_FOR_DATA) for run_id in created])
    return created


def mark_data_ready(
    connection: Connection, *, as_of: date, account_ids: Sequence[str]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Move the day's waiting runs to DATA_READY; runs already past it stay as they are.

    Returns:
        The ids moved, and the accounts whose day ended as SUPERSEDED instead.
    """
    accounts = list(account_ids)
    connection.execute(_LOCK_ACCOUNTS, {"accounts": accounts})
    superseded = connection.execute(_SUPERSEDE, {"as_of": as_of, "accounts": accounts}).all()
    record_events(
        connection,
        [
            Event(row.run_id, "SUPERSEDED", from_phase=Phase.WAITING_FOR_DATA, to_phase=Phase.FAILED)
            for row in superseded
        ],
    )
    moved = tuple(row.run_id for row in connection.execute(_DATA_READY, {"as_of": as_of, "accounts": accounts}).all())
    record_events(
        connection,
        [Event(run_id, "TRANSITION", from_phase=Phase.WAITING_FOR_DATA, to_phase=Phase.DATA_READY) for run_id in moved],
    )
    return moved, tuple(row.account_id for row in superseded)


def cancel_run(connection: Connection, run_id: int, *, reason: str) -> str:
    """Cancel a run; never waits for a worker and never downgrades a finished run.

    Returns:
        ``CANCELLED`` (ended now), ``REQUESTED`` (its owner will see it), or the terminal phase it already has.
    """
    locked = connection.execute(_LOCK_RUN, {"run_id": run_id}).one()
    phase = Phase(locked.phase)
    if phase in TERMINAL_PHASES:
        return phase.value
    if not locked.worked_on:
        connection.execute(_CANCEL, {"run_id": run_id, "message": reason or "Cancelled by an operator."})
        record_event(
            connection, run_id, "CANCELLED", from_phase=phase, to_phase=Phase.FAILED, details={"reason": reason}
        )
        return "CANCELLED"
    if not locked.requested:
        connection.execute(_REQUEST_CANCEL, {"run_id": run_id})
        record_event(connection, run_id, "CANCEL_REQUESTED", from_phase=phase, details={"reason": reason})
    return "REQUESTED"


def pause_account(connection: Connection, account_id: str, *, paused: bool, reason: str) -> bool:
    """Pause or resume an account and say so in the history of its unfinished runs; True where that changed anything."""
    changed = connection.execute(
        text(
            "UPDATE accounts SET paused = :paused, pause_reason = :reason "
            "WHERE account_id = :account AND paused <> :paused RETURNING 1"
        ),
        {"account": account_id, "paused": paused, "reason": reason if paused else None},
    ).one_or_none()
    if changed is None:
        return False
    unfinished = connection.execute(
        select(EngineRunRow.run_id, EngineRunRow.phase, EngineRunRow.lease_token)
        .where(
            EngineRunRow.account_id == account_id,
            EngineRunRow.phase.not_in([phase.value for phase in TERMINAL_PHASES]),
        )
        .order_by(EngineRunRow.run_id)
    )
    kind = "PAUSED" if paused else "RESUMED"
    record_events(
        connection,
        [
            Event(
                row.run_id, kind, from_phase=Phase(row.phase), lease_token=row.lease_token, details={"reason": reason}
            )
            for row in unfinished
        ],
    )
    return True


def paused_accounts(connection: Connection) -> tuple[tuple[str, str], ...]:
    """Return the paused accounts in order of their id, each with the reason given for it."""
    rows = connection.execute(text("SELECT account_id, pause_reason FROM accounts WHERE paused ORDER BY account_id"))
    return tuple((row.account_id, row.pause_reason or "no reason given") for row in rows)


def reset_run(connection: Connection, run: EngineRun, *, reason: str, cap: int) -> str:
    """Re-open a FAILED run, recording why; its alerts move into that record, so that they may be raised again.

    Returns:
        The run's new phase; ``SUPERSEDED`` where a later day was worked on, so that the run stays as it is;
        ``UNCHANGED`` where it is not FAILED.

    Raises:
        ActiveRunCapError: The account has ``cap`` unfinished runs.
    """
    connection.execute(_LOCK_ACCOUNTS, {"accounts": [run.account_id]})
    state = connection.execute(_OVERTAKEN_AND_ACTIVE, {"run_id": run.run_id}).one()
    failed = get_run(connection, run.run_id)
    if failed.phase is not Phase.FAILED:
        return "UNCHANGED"
    if state.overtaken:
        return "SUPERSEDED"
    if state.active >= cap:
        raise ActiveRunCapError(
            f"Account {run.account_id} already has {state.active} unfinished runs (the limit is {cap}); its run of "
            f"{run.as_of_date} cannot be re-opened. Finish or cancel one first: "
            f"show_engine_runs --active --account {run.account_id}"
        )
    connection.execute(text("SET LOCAL prometheus.reset = 'on'"))
    row = connection.execute(_RESET, {"run_id": run.run_id}).one_or_none()
    if row is None:
        return "UNCHANGED"
    phase = Phase(row.phase)
    record_event(
        connection,
        run.run_id,
        "RESET",
        from_phase=Phase.FAILED,
        to_phase=phase,
        details={
            "reason": reason,
            "error": {} if failed.error is None else failed.error.to_json(),
            "alerts": take_alerts(connection, run.run_id),
        },
    )
    return phase.value


def _engine_run(row: RowMapping) -> EngineRun:
    values = {str(name): value for name, value in row.items()}
    error = None if row["error"] is None else RunError.from_json(row["error"])
    return EngineRun(**{**values, "phase": Phase(row["phase"]), "error": error})
