"""Recurring work as rows: claimed with lease and token like runs, by the database's clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from prometheus.foundation.canonical import JsonObject, canonical_json

_LOOK: Final = text("SELECT name, next_due_at <= engine_now() AS due FROM due_tasks")

_ADD: Final = text("""
    INSERT INTO due_tasks (name, next_due_at) VALUES (:name, :due) ON CONFLICT (name) DO NOTHING
""")

# A lease that ends too late was taken before the clock stepped back.
_CLAIM: Final = text("""
    UPDATE due_tasks
    SET lease_token = lease_token + 1, owner_instance = :owner, attempt = attempt + 1,
        lease_expires_at = engine_now() + make_interval(secs => :lease_seconds)
    WHERE name = (
        SELECT name FROM due_tasks
        WHERE next_due_at <= engine_now() AND name = ANY(:names)
          AND (owner_instance IS NULL OR lease_expires_at <= engine_now()
               OR lease_expires_at > engine_now() + make_interval(secs => 2 * :lease_seconds))
        ORDER BY next_due_at, name FOR UPDATE SKIP LOCKED LIMIT 1)
    RETURNING name, lease_token, attempt, result, engine_now() AS now
""")

_FINISH: Final = text("""
    UPDATE due_tasks
    SET next_due_at = :due, attempt = CASE WHEN :done THEN 0 ELSE attempt END, owner_instance = NULL,
        lease_expires_at = NULL, error = CAST(:error AS jsonb),
        finished_at = CASE WHEN :done THEN engine_now() ELSE finished_at END,
        result = CASE WHEN :done THEN CAST(:result AS jsonb) ELSE result END
    WHERE name = :name AND lease_token = :token AND owner_instance = :owner
    RETURNING name
""")

_LIST: Final = text("""
    SELECT name, next_due_at, attempt, owner_instance, lease_expires_at, finished_at, error, result
    FROM due_tasks ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class DueClaim:
    """The right to do a due task once.

    ``now`` is the database's clock at the claim; ``previous`` what the last run of the task left as its result.
    """

    name: str
    token: int
    owner: str
    attempt: int
    now: datetime
    previous: JsonObject


@dataclass(frozen=True, slots=True)
class DueTaskState:
    """One row, for people and for monitoring."""

    name: str
    next_due_at: datetime
    attempt: int
    owner_instance: str | None
    lease_expires_at: datetime | None
    finished_at: datetime | None
    error: JsonObject | None
    result: JsonObject


def due_names(connection: Connection) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all tasks that have a row, and of those that are due."""
    rows = connection.execute(_LOOK).all()
    return frozenset(row.name for row in rows), frozenset(row.name for row in rows if row.due)


def add_due_task(connection: Connection, name: str, due: datetime) -> None:
    """Add the row of a task unless there is one."""
    connection.execute(_ADD, {"name": name, "due": due})


def claim_due_task(
    connection: Connection, *, owner: str, names: Sequence[str], lease_seconds: float
) -> DueClaim | None:
    """Claim the task that has been due longest, or return None where none is due and free."""
    row = connection.execute(
        _CLAIM, {"owner": owner, "names": list(names), "lease_seconds": lease_seconds}
    ).one_or_none()
    return None if row is None else DueClaim(row.name, row.lease_token, owner, row.attempt, row.now, row.result)


def finish_due_task(connection: Connection, claim: DueClaim, *, due: datetime, result: JsonObject) -> bool:
    """Record that a task was done and when it is due next; return False where the claim was lost."""
    return _finish(connection, claim, due=due, result=result, error=None)


def fail_due_task(connection: Connection, claim: DueClaim, *, due: datetime, error: JsonObject) -> bool:
    """Record that a task failed and when it is tried again; return False where the claim was lost."""
    return _finish(connection, claim, due=due, result=None, error=error)


def skip_due_task(connection: Connection, claim: DueClaim, *, due: datetime, error: JsonObject) -> bool:
    """Give a task up until its next regular time, with its attempts counted anew; False where the claim was lost."""
    return _finish(connection, claim, due=due, result=claim.previous, error=error)


def _finish(
    connection: Connection,
    claim: DueClaim,
    *,
    due: datetime,
    result: JsonObject | None,
    error: JsonObject | None,
) -> bool:
    done = connection.execute(
        _FINISH,
        {
            "name": claim.name,
            "token": claim.token,
            "owner": claim.owner,
            "due": due,
            "done": result is not None,
            "result": None if result is None else canonical_json(result),
            "error": None if error is None else canonical_json(error),
        },
    )
    return done.one_or_none() is not None


def list_due_tasks(connection: Connection) -> tuple[DueTaskState, ...]:
    """Return every task's row by name."""
    return tuple(DueTaskState(**row) for row in connection.execute(_LIST).mappings())
