"""The kill switch for commits: they lock its row until they end, and the runs that it holds are recorded."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from prometheus.domain.phases import TASK_PHASES

# FOR SHARE: setting the switch waits for commits under way, and no commit passes after it was set.
_SWITCH: Final = text("SELECT frozen, reason FROM engine_flags WHERE flag_id = 1 FOR SHARE")

# Once for each run while it is frozen, not at every tick.
_KILL_SWITCH: Final = text("""
    INSERT INTO engine_run_events (run_id, kind, from_phase, lease_token, details)
    SELECT run_id, 'KILL_SWITCH', phase, lease_token, jsonb_build_object('reason', CAST(:reason AS text))
    FROM engine_runs AS run
    WHERE phase = ANY(:phases) AND owner_instance IS NULL
      AND (SELECT kind FROM engine_run_events AS event WHERE event.run_id = run.run_id
           ORDER BY event_id DESC LIMIT 1) IS DISTINCT FROM 'KILL_SWITCH'
""")


@dataclass(frozen=True, slots=True)
class HeldSwitch:
    """State of the switch until this transaction ends."""

    frozen: bool
    reason: str | None


def hold_switch(connection: Connection) -> HeldSwitch:
    """Read the switch and keep it unchanged until the transaction ends; setting it waits that long."""
    row = connection.execute(_SWITCH).one()
    return HeldSwitch(row.frozen, row.reason)


def record_kill_switch(connection: Connection, reason: str) -> None:
    """Record in the history of every waiting run that the kill switch holds it."""
    # Frozen ticks of several hosts queue here, so that each run gets one event in all.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('prometheus.kill_switch'))"))
    connection.execute(_KILL_SWITCH, {"phases": [phase.value for phase in TASK_PHASES], "reason": reason})
