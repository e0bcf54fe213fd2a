"""The fleet's kill switch and the purpose of the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """State of the switch: whether the fleet is frozen, why, since when, and when this was read (database clock)."""

    frozen: bool
    reason: str | None
    changed_at: datetime
    seen_at: datetime


def read_switch(connection: Connection) -> KillSwitch:
    """Return the switch without locking it."""
    row = connection.execute(
        text("SELECT frozen, reason, changed_at, engine_now() AS seen_at FROM engine_flags WHERE flag_id = 1")
    ).one()
    return KillSwitch(row.frozen, row.reason, row.changed_at, row.seen_at)


def set_switch(connection: Connection, *, frozen: bool, reason: str | None) -> bool:
    """Freeze or unfreeze the fleet; return True where that changed anything.

    Waits for phase commits under way (they hold the row FOR SHARE): after this returned and committed, none passes.
    """
    # The table's lock has a queue: later commits wait behind us. On the row alone, new share locks keep passing a
    # waiting exclusive lock, on a busy fleet without end. Readers do not wait.
    connection.execute(text("LOCK TABLE engine_flags IN EXCLUSIVE MODE"))
    done = connection.execute(
        text(
            "UPDATE engine_flags SET frozen = :frozen, reason = :reason, changed_at = engine_now() "
            "WHERE flag_id = 1 AND frozen <> :frozen RETURNING flag_id"
        ),
        {"frozen": frozen, "reason": reason},
    )
    return done.one_or_none() is not None


@dataclass(frozen=True, slots=True)
class SwitchHolder:
    """A database session whose transaction blocks setting the switch; ``ours`` where we may end it."""

    pid: int
    user: str
    ours: bool


# Locks of every database are listed, and a table has the same number in each database that was cloned from one.
_HOLDERS: Final = text("""
    SELECT DISTINCT pid, activity.usename AS user, pg_has_role(current_user, activity.usesysid, 'USAGE') AS ours
    FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
    WHERE relation = 'engine_flags'::regclass AND granted AND mode <> 'AccessShareLock' AND pid <> pg_backend_pid()
      AND activity.datname = current_database()
      AND coalesce(activity.xact_start < clock_timestamp() - make_interval(secs => :seconds), true)
    ORDER BY pid
""")


def switch_holders(connection: Connection, *, seconds: float) -> tuple[SwitchHolder, ...]:
    """Return the sessions that have held the switch for longer than so many seconds."""
    # Sessions belong to the role that logged in, whatever role they took on since.
    connection.execute(text("SET LOCAL ROLE NONE"))
    return tuple(SwitchHolder(**row) for row in connection.execute(_HOLDERS, {"seconds": seconds}).mappings())


def end_session(connection: Connection, pid: int) -> None:
    """End a database session; its transaction is rolled back."""
    connection.execute(text("SET LOCAL ROLE NONE"))
    connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def database_purpose(connection: Connection) -> str:
    """Return the purpose of the database: '' for a real fleet, 'demo' for the demo's."""
    return str(connection.execute(text("SELECT purpose FROM engine_flags WHERE flag_id = 1")).scalar_one())


def set_database_purpose(connection: Connection, purpose: str) -> None:
    """Record the purpose of the database."""
    connection.execute(
        text("UPDATE engine_flags SET purpose = :purpose WHERE flag_id = 1 AND purpose <> :purpose"),
        {"purpose": purpose},
    )
