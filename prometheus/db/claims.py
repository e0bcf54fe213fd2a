"""Claims: which runs may be worked on now, and by whom, by the database's clock alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, text

from prometheus.db.database import SqlValue
from prometheus.db.leases import lease_seconds
from prometheus.db.repositories.engine_events import Event, record_events
from prometheus.domain.engine_run import Lease
from prometheus.domain.phases import TASK_PHASES, Phase

# Runs that may be worked on now. Earlier days of the same account come first and alone, because lots carry over. A
# lease that ends later than two ttl from now counts as expired: the clock stepped back after it was taken. ttl <= 0
# turns take-over off; a claimed row then stays with its owner. Runs given back after the horizon wait for the next
# tick. A row from the future was written before the clock stepped back; its due time is ignored.
_IN_WORK: Final = "(" + ", ".join(f"'{phase.value}'" for phase in TASK_PHASES) + ")"
_ELIGIBLE: Final = f"""
    FROM engine_runs AS run
    JOIN accounts USING (account_id)
    WHERE run.phase IN {_IN_WORK}
      AND (run.next_attempt_at <= engine_now() OR run.updated_at > engine_now())
      AND (run.phase_started_at IS NULL OR CAST(:horizon AS timestamptz) IS NULL OR run.next_attempt_at <= :horizon
           OR run.updated_at > engine_now())
      AND run.cancel_requested_at IS NULL
      AND run.attempt < run.max_attempts
      AND (run.owner_instance IS NULL
           OR (:ttl > 0 AND (run.lease_expires_at <= engine_now()
                             OR run.lease_expires_at > engine_now() + make_interval(secs => 2 * :ttl))))
      AND NOT accounts.paused
      AND NOT (SELECT frozen FROM engine_flags WHERE flag_id = 1)
      AND (CAST(:as_of AS date) IS NULL OR run.as_of_date = :as_of)
      AND (CAST(:accounts AS text[]) IS NULL OR run.account_id = ANY(:accounts))
      AND NOT EXISTS (
          SELECT 1 FROM engine_runs AS earlier
          WHERE earlier.account_id = run.account_id AND earlier.as_of_date < run.as_of_date
            AND earlier.phase IN {_IN_WORK})
"""

# A run that has failed or lost its worker before is claimed alone, so that it cannot harm other runs of a batch.
_CLAIM: Final = text(f"""
    WITH eligible AS (
        SELECT run.run_id, run.owner_instance IS NOT NULL AS taken_over
        {_ELIGIBLE}
          AND (run.attempt > 0) = :suspect
          AND run.run_id <> ALL(:skip)
        ORDER BY run.as_of_date, run.next_attempt_at, run.account_id
        LIMIT :batch
        FOR UPDATE OF run SKIP LOCKED
    )
    UPDATE engine_runs AS run
    SET lease_token = run.lease_token + 1, owner_instance = :owner, heartbeat_at = engine_now(),
        lease_expires_at = engine_now() + make_interval(secs => :lease_seconds), attempt = run.attempt + 1,
        phase_started_at = engine_now(), updated_at = engine_now()
    FROM eligible WHERE run.run_id = eligible.run_id
    RETURNING run.run_id, run.as_of_date, run.account_id, run.phase, run.lease_token, run.attempt, run.max_attempts,
              eligible.taken_over
""")

_LOOK: Final = text(f"""
    SELECT run.as_of_date, count(*) AS runs, array_agg(DISTINCT accounts.benchmark_id) AS benchmarks
    {_ELIGIBLE}
    GROUP BY run.as_of_date ORDER BY run.as_of_date
""")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Runs of one day that could be claimed, and the benchmarks of their accounts."""

    as_of: date
    runs: int
    benchmarks: tuple[str, ...]


def _scope(
    ttl: int, as_of: date | None, account_ids: Sequence[str] | None, horizon: datetime | None
) -> dict[str, SqlValue]:
    return {
        "ttl": ttl,
        "as_of": as_of,
        "accounts": None if account_ids is None else list(account_ids),
        "horizon": horizon,
    }


def claim_batch(
    connection: Connection,
    *,
    owner: str,
    ttl: int,
    batch: int,
    skip: Sequence[int] = (),
    as_of: date | None = None,
    account_ids: Sequence[str] | None = None,
    horizon: datetime | None = None,
) -> tuple[Lease, ...]:
    """Claim up to ``batch`` eligible runs for ``owner``; expired leases are taken over.

    Runs that were tried before come last and one at a time.

    Args:
        connection: An open transaction.
        owner: Name of this process, unique to its start.
        ttl: Lease in seconds; 0 or less disables take-over.
        batch: Most runs to claim.
        skip: Runs that this caller will not try again now.
        as_of: Only runs of this day.
        account_ids: Only runs of these accounts.
        horizon: Leave out runs that were given back after this instant of the database's clock.
    """
    values = {
        **_scope(ttl, as_of, account_ids, horizon),
        "lease_seconds": lease_seconds(ttl),
        "owner": owner,
        "skip": list(skip),
    }
    rows = connection.execute(_CLAIM, {**values, "suspect": False, "batch": batch}).all()
    if not rows:
        rows = connection.execute(_CLAIM, {**values, "suspect": True, "batch": 1}).all()
    leases = tuple(
        Lease(
            run_id=row.run_id,
            as_of_date=row.as_of_date,
            account_id=row.account_id,
            phase=Phase(row.phase),
            token=row.lease_token,
            owner=owner,
            attempt=row.attempt,
            max_attempts=row.max_attempts,
            taken_over=row.taken_over,
        )
        for row in rows
    )
    record_events(
        connection,
        [
            Event(
                lease.run_id,
                "TAKE_OVER" if lease.taken_over else "CLAIM",
                from_phase=lease.phase,
                lease_token=lease.token,
                owner=owner,
                details={"attempt": lease.attempt},
            )
            for lease in leases
        ],
    )
    return tuple(sorted(leases, key=lambda lease: (lease.as_of_date, lease.account_id)))


def look_for_work(
    connection: Connection, *, ttl: int, as_of: date | None = None, account_ids: Sequence[str] | None = None
) -> tuple[Waiting, ...]:
    """Return what could be claimed now, by day; nothing is locked or changed."""
    rows = connection.execute(_LOOK, _scope(ttl, as_of, account_ids, None))
    return tuple(Waiting(row.as_of_date, row.runs, tuple(sorted(row.benchmarks))) for row in rows)
