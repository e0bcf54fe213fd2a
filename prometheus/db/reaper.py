"""The reaper: fails claimed runs whose worker is lost or hangs, and ends cancelled runs of lost workers."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection, text

from prometheus.db.kill_switch import hold_switch
from prometheus.db.repositories.engine_events import Event, record_events
from prometheus.domain.engine_run import RunError
from prometheus.domain.phases import Phase

# Reading and updating are one statement: a run that was completed or claimed again in between no longer matches. A dead
# worker's run with attempts left is not failed here: the next claim takes it over. A live lease past the deadline is a
# worker that hangs: its heartbeat thread works, its phase does not. A run whose row, or whose account's row, is locked
# is left to the next tick: its alert would wait for the account, and others would wait for the alert.
_REAP: Final = text("""
    WITH seen AS (
        SELECT run_id, account_id, phase, owner_instance, cancel_requested_at IS NOT NULL AS cancelled,
               owner_instance IS NULL
               OR (:ttl > 0 AND (lease_expires_at <= engine_now()
                                 OR lease_expires_at > engine_now() + make_interval(secs => 2 * :ttl))) AS unowned,
               attempt, max_attempts, phase_started_at
        FROM engine_runs
        WHERE phase NOT IN ('PERSISTED', 'FAILED') AND (owner_instance IS NOT NULL OR cancel_requested_at IS NOT NULL)
        FOR UPDATE SKIP LOCKED
    ), stale AS (
        SELECT run_id, account_id, phase, CASE
            WHEN cancelled AND unowned THEN 'CANCELLED'
            WHEN :frozen THEN NULL
            WHEN unowned AND attempt >= max_attempts THEN 'WORKER_LOST'
            WHEN NOT unowned AND :deadline > 0
                 AND phase_started_at + make_interval(secs => :deadline) <= engine_now() THEN 'PHASE_DEADLINE'
            END AS code
        FROM seen
    ), free AS (
        SELECT stale.run_id, stale.phase, stale.code FROM stale JOIN accounts USING (account_id)
        WHERE stale.code IS NOT NULL
        FOR KEY SHARE OF accounts SKIP LOCKED
    )
    UPDATE engine_runs AS run
    SET phase = 'FAILED', phase_entered_at = engine_now(), phase_completed_at = engine_now(), updated_at = engine_now(),
        owner_instance = NULL, lease_expires_at = NULL, lease_token = run.lease_token + 1,
        error = jsonb_build_object('code', free.code, 'previous_phase', free.phase, 'message', CASE free.code
            WHEN 'CANCELLED' THEN 'Cancelled by an operator; its worker did not answer.'
            WHEN 'WORKER_LOST' THEN format('%s attempts ended without a result, the last one by %s.',
                                           run.attempt, run.owner_instance)
            ELSE format('%s has worked on %s for more than %s seconds.', run.owner_instance, free.phase, :deadline)
            END)
    FROM free WHERE run.run_id = free.run_id
    RETURNING run.run_id, run.account_id, run.as_of_date, run.lease_token, free.phase AS from_phase, run.error
""")


@dataclass(frozen=True, slots=True)
class ReapedRun:
    """A run that the reaper failed, and what it recorded as the reason."""

    run_id: int
    account_id: str
    as_of: date
    error: RunError


def reap(
    connection: Connection, *, ttl: int, deadline_seconds: float = 0, frozen: bool = False
) -> tuple[ReapedRun, ...]:
    """Fail claimed runs whose worker is gone or hangs and that may not be tried again; finish cancellations.

    While the fleet is frozen only cancellations are finished.

    Args:
        connection: An open transaction.
        ttl: Lease in seconds; 0 or less: no lease counts as expired.
        deadline_seconds: Longest that one attempt at a phase may take; 0 or less for no limit.
        frozen: Whether this process is frozen, whatever the database's switch says.

    Returns:
        Each run failed now.
    """
    frozen = hold_switch(connection).frozen or frozen
    rows = connection.execute(_REAP, {"ttl": ttl, "deadline": deadline_seconds, "frozen": frozen}).all()
    record_events(
        connection,
        [
            Event(
                row.run_id,
                "REAPED",
                from_phase=Phase(row.from_phase),
                to_phase=Phase.FAILED,
                lease_token=row.lease_token,
                details=row.error,
            )
            for row in rows
        ],
    )
    return tuple(ReapedRun(row.run_id, row.account_id, row.as_of_date, RunError.from_json(row.error)) for row in rows)
