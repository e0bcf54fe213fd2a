"""Leases and fences: which worker still owns which run, by the database's clock alone.

Every statement that acts for an owner carries run_id, lease token and owner; a worker whose lease was taken over
matches no row, and so learns that it lost the run.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, text

from prometheus.db.kill_switch import hold_switch
from prometheus.db.repositories.engine_events import record_event
from prometheus.domain.engine_run import Lease, RunError
from prometheus.domain.phases import LEGAL_EDGES, Phase
from prometheus.foundation.canonical import JsonObject, canonical_json
from prometheus.foundation.errors import EngineFrozenError, IllegalTransitionError, RunCancelledError, StaleLeaseError

# All rows are locked in one order first, so that two statements over several runs cannot deadlock.
_COMMIT: Final = text("""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:run_ids AS bigint[]), CAST(:tokens AS bigint[]), CAST(:from_phases AS text[]),
                             CAST(:to_phases AS text[])) AS step(run_id, token, from_phase, to_phase)
    ), held AS (
        SELECT run.run_id, wanted.from_phase, wanted.to_phase,
               wanted.to_phase IN ('PERSISTED', 'FAILED') AS terminal
        FROM engine_runs AS run JOIN wanted ON wanted.run_id = run.run_id
        WHERE run.phase = wanted.from_phase AND run.lease_token = wanted.token AND run.owner_instance = :owner
          AND run.cancel_requested_at IS NULL
        ORDER BY run.run_id FOR UPDATE OF run
    ), moved AS (
        UPDATE engine_runs AS run
        SET phase = held.to_phase, phase_entered_at = engine_now(), updated_at = engine_now(),
            heartbeat_at = engine_now(), error = CAST(:error AS jsonb),
            phase_completed_at = CASE WHEN held.terminal THEN engine_now() END,
            phase_started_at = CASE WHEN held.terminal THEN run.phase_started_at ELSE engine_now() END,
            attempt = CASE WHEN held.terminal THEN run.attempt ELSE 1 END,
            owner_instance = CASE WHEN held.terminal THEN NULL ELSE run.owner_instance END,
            lease_expires_at = CASE WHEN held.terminal THEN NULL
                                    ELSE engine_now() + make_interval(secs => :lease_seconds) END
        FROM held WHERE run.run_id = held.run_id
        RETURNING run.run_id, held.from_phase, held.to_phase, run.lease_token
    ), told AS (
        INSERT INTO engine_run_events (run_id, kind, from_phase, to_phase, lease_token, owner_instance, details)
        SELECT run_id, 'TRANSITION', from_phase, to_phase, lease_token, :owner,
               coalesce(CAST(:error AS jsonb), '{}'::jsonb)
        FROM moved ORDER BY run_id
    )
    SELECT run_id FROM moved
""")

_WHY_STALE: Final = text(
    "SELECT phase, lease_token, owner_instance, cancel_requested_at FROM engine_runs WHERE run_id = :run_id"
)

# A locked row is skipped, not waited for: a heartbeat that waited for one slow commit would let every other lease of
# its process expire. The row is still ours as long as token and owner match.
# A lease has many heartbeats. A longer gap before one of a living owner means that the clock was put forward or that
# the host was suspended; the phase did not take that time, so it does not count towards the deadline.
_LONGEST_GAP_SECONDS: Final = 300
_HEARTBEAT: Final = text("""
    WITH mine AS (
        SELECT run.run_id, run.cancel_requested_at IS NOT NULL AS cancelled
        FROM unnest(CAST(:run_ids AS bigint[]), CAST(:tokens AS bigint[])) AS held(run_id, token)
        JOIN engine_runs AS run ON run.run_id = held.run_id
        WHERE run.lease_token = held.token AND run.owner_instance = :owner
    ), free AS (
        SELECT run_id FROM engine_runs WHERE run_id IN (SELECT run_id FROM mine) AND owner_instance = :owner
        ORDER BY run_id FOR UPDATE SKIP LOCKED
    ), beaten AS (
        UPDATE engine_runs AS run
        SET heartbeat_at = engine_now(), lease_expires_at = engine_now() + make_interval(secs => :lease_seconds),
            phase_started_at = run.phase_started_at + greatest(
                engine_now() - run.heartbeat_at - make_interval(secs => least(:lease_seconds, :longest_gap)),
                interval '0')
        FROM unnest(CAST(:run_ids AS bigint[]), CAST(:tokens AS bigint[])) AS held(run_id, token)
        WHERE run.run_id = held.run_id AND run.lease_token = held.token AND run.owner_instance = :owner
          AND run.run_id IN (SELECT run_id FROM free)
    )
    SELECT run_id, cancelled FROM mine
""")

# The attempt is not charged: the phase did not fail, it waits for something outside (a fresh risk model, a price).
_RELEASE: Final = text("""
    UPDATE engine_runs
    SET owner_instance = NULL, lease_expires_at = NULL, attempt = greatest(attempt - 1, 0), updated_at = engine_now(),
        next_attempt_at = CASE WHEN :at_once THEN next_attempt_at ELSE engine_now() END
    WHERE run_id = :run_id AND lease_token = :token AND owner_instance = :owner
    RETURNING run_id
""")

_FINISH_CANCEL: Final = text("""
    UPDATE engine_runs
    SET phase = 'FAILED', phase_entered_at = engine_now(), phase_completed_at = engine_now(), updated_at = engine_now(),
        owner_instance = NULL, lease_expires_at = NULL,
        error = jsonb_build_object('code', 'CANCELLED', 'previous_phase', phase, 'message', 'Cancelled by an operator.')
    WHERE run_id = :run_id AND lease_token = :token AND owner_instance = :owner AND cancel_requested_at IS NOT NULL
      AND phase = :from_phase
    RETURNING run_id
""")

_RETRY: Final = text("""
    UPDATE engine_runs
    SET owner_instance = NULL, lease_expires_at = NULL, updated_at = engine_now(), error = CAST(:error AS jsonb),
        next_attempt_at = engine_now() + make_interval(secs => :base * power(2, attempt - 1) * (0.75 + random() / 2))
    WHERE run_id = :run_id AND lease_token = :token AND owner_instance = :owner
    RETURNING next_attempt_at
""")

#: Lease used where take-over is disabled: the row stays claimed until its owner is done.
_NO_TAKE_OVER_SECONDS: Final = 10 * 365 * 86_400


def lease_seconds(ttl: int) -> int:
    """Return the lease length for a ttl setting; 0 or less means practically no end."""
    return ttl if ttl > 0 else _NO_TAKE_OVER_SECONDS


def commit_phases(
    connection: Connection,
    steps: Sequence[tuple[Lease, Phase]],
    *,
    ttl: int,
    error: RunError | None = None,
) -> frozenset[int]:
    """Make transitions of several runs, each fenced; call it FIRST in the transaction that writes the phases' effects.

    Args:
        connection: A transaction in which nothing was written yet.
        steps: Leases of one owner, each with the phase its run goes to.
        ttl: Lease in seconds.
        error: What to record where the runs fail.

    Returns:
        The runs that moved. Nothing may be written for the others: their leases were lost or they were cancelled.

    Raises:
        IllegalTransitionError: An edge is not in the table.
        EngineFrozenError: The kill switch is on; roll back.
    """
    for lease, to_phase in steps:
        if (lease.phase, to_phase) not in LEGAL_EDGES:
            raise IllegalTransitionError(f"{lease.phase} -> {to_phase} is not an edge of the state machine.")
    moved = connection.execute(
        _COMMIT,
        {
            "run_ids": [lease.run_id for lease, _ in steps],
            "tokens": [lease.token for lease, _ in steps],
            "from_phases": [lease.phase.value for lease, _ in steps],
            "to_phases": [to_phase.value for _, to_phase in steps],
            "owner": steps[0][0].owner,
            "lease_seconds": lease_seconds(ttl),
            "error": None if error is None else canonical_json(error.to_json()),
        },
    ).scalars()
    committed = frozenset(moved)
    if committed:
        _refuse_frozen(connection)
    return committed


def commit_phase(
    connection: Connection,
    lease: Lease,
    to_phase: Phase,
    *,
    ttl: int,
    error: RunError | None = None,
) -> None:
    """Make one transition, fenced; call it FIRST in the transaction that writes the phase's effects.

    Raises:
        IllegalTransitionError: The edge is not in the table.
        StaleLeaseError: Another worker owns the run now; roll back and discard the work.
        RunCancelledError: An operator cancelled it; roll back.
        EngineFrozenError: The kill switch is on; roll back.
    """
    if not commit_phases(connection, [(lease, to_phase)], ttl=ttl, error=error):
        raise why_refused(connection, lease)


def _refuse_frozen(connection: Connection) -> None:
    switch = hold_switch(connection)
    if switch.frozen:
        raise EngineFrozenError(f"The engine is frozen: {switch.reason or 'no reason given'}.")


def heartbeat(connection: Connection, leases: Sequence[Lease], *, ttl: int) -> tuple[frozenset[int], frozenset[int]]:
    """Extend leases; return the run ids that are lost, and those an operator wants cancelled."""
    if not leases:
        return frozenset(), frozenset()
    rows = connection.execute(
        _HEARTBEAT,
        {
            "run_ids": [lease.run_id for lease in leases],
            "tokens": [lease.token for lease in leases],
            "owner": leases[0].owner,
            "lease_seconds": lease_seconds(ttl),
            "longest_gap": _LONGEST_GAP_SECONDS,
        },
    ).all()
    kept = {row.run_id for row in rows}
    lost = frozenset(lease.run_id for lease in leases if lease.run_id not in kept)
    return lost, frozenset(row.run_id for row in rows if row.cancelled)


def release_lease(
    connection: Connection, lease: Lease, *, kind: str, details: JsonObject, at_once: bool = False
) -> bool:
    """Give a run back without charging the attempt; record why. Return False where the lease was already lost.

    With ``at_once`` the same tick may claim it again, else the next one.
    """
    done = connection.execute(
        _RELEASE, {"run_id": lease.run_id, "token": lease.token, "owner": lease.owner, "at_once": at_once}
    )
    if done.one_or_none() is None:
        return False
    record_event(
        connection, lease.run_id, kind, from_phase=lease.phase, lease_token=lease.token, owner=lease.owner,
        details=details,
    )  # fmt: skip
    return True


def finish_cancel(connection: Connection, lease: Lease) -> bool:
    """End a run whose owner has seen the cancel request; return False where the lease was lost meanwhile."""
    done = connection.execute(
        _FINISH_CANCEL,
        {"run_id": lease.run_id, "token": lease.token, "owner": lease.owner, "from_phase": lease.phase.value},
    )
    if done.one_or_none() is None:
        return False
    record_event(
        connection,
        lease.run_id,
        "CANCELLED",
        from_phase=lease.phase,
        to_phase=Phase.FAILED,
        lease_token=lease.token,
        owner=lease.owner,
    )
    return True


def schedule_retry(connection: Connection, lease: Lease, *, error: RunError, base_seconds: float) -> bool:
    """Give a run back to be tried again after base * 2^n with jitter; return False where the lease was lost."""
    row = connection.execute(
        _RETRY,
        {
            "run_id": lease.run_id,
            "token": lease.token,
            "owner": lease.owner,
            "error": canonical_json(error.to_json()),
            "base": base_seconds,
        },
    ).one_or_none()
    if row is None:
        return False
    record_event(
        connection, lease.run_id, "RETRY", from_phase=lease.phase, lease_token=lease.token, owner=lease.owner,
        details={**error.to_json(), "next_attempt_at": row.next_attempt_at.isoformat()},
    )  # fmt: skip
    return True


def why_refused(connection: Connection, lease: Lease) -> StaleLeaseError | RunCancelledError:
    """Return why a run did not move: an operator cancelled it, or it is another worker's by now."""
    row = connection.execute(_WHY_STALE, {"run_id": lease.run_id}).one()
    mine = row.lease_token == lease.token and row.owner_instance == lease.owner and row.phase == lease.phase.value
    if mine and row.cancel_requested_at is not None:
        return RunCancelledError(f"Run {lease.run_id} of {lease.account_id} was cancelled by an operator.")
    return StaleLeaseError(
        f"Run {lease.run_id} of {lease.account_id}: token {lease.token} of {lease.owner} is stale; the row has phase "
        f"{row.phase}, token {row.lease_token}, owner {row.owner_instance or 'nobody'}. The work is discarded."
    )
