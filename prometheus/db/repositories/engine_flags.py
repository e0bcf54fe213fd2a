"""The fleet's kill switch and the purpose of the database."""

from dataclasses import dataclass
from datetime import datetime

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
    connection.execute(text("SELECT 1 FROM engine_flags WHERE flag_id = 1 FOR UPDATE"))
    done = connection.execute(
        text(
            "UPDATE engine_flags SET frozen = :frozen, reason = :reason, changed_at = engine_now() "
            "WHERE flag_id = 1 AND frozen <> :frozen RETURNING flag_id"
        ),
        {"frozen": frozen, "reason": reason},
    )
    return done.one_or_none() is not None


def database_purpose(connection: Connection) -> str:
    """Return what the database is for: '' for a real fleet, 'demo' for the demo's."""
    return str(connection.execute(text("SELECT purpose FROM engine_flags WHERE flag_id = 1")).scalar_one())


def set_database_purpose(connection: Connection, purpose: str) -> None:
    """Record what the database is for."""
    connection.execute(
        text("UPDATE engine_flags SET purpose = :purpose WHERE flag_id = 1 AND purpose <> :purpose"),
        {"purpose": purpose},
    )
