"""Throwing the kill switch, also where a commit that hangs keeps hold of it."""

from dataclasses import dataclass
from typing import Final

from prometheus.db.database import Database, limit_lock_waits
from prometheus.db.repositories.engine_flags import SwitchHolder, end_session, set_switch, switch_holders
from prometheus.foundation.errors import CollisionError, DatabaseError

#: How long the switch waits for commits under way; a transaction that holds it for longer hangs.
_PATIENCE_SECONDS: Final = 10.0
#: How often it is tried; another operator may be at it as well.
_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class Thrown:
    """What throwing the switch did: whether it changed anything, and the sessions that had to be ended for it."""

    changed: bool
    ended: tuple[int, ...] = ()


def throw_switch(
    database: Database, *, frozen: bool, reason: str | None, patience_seconds: float = _PATIENCE_SECONDS
) -> Thrown:
    """Freeze or unfreeze the fleet; once this returned no commit of before is under way any more.

    A session of ours that has held the switch for longer than ``patience_seconds`` is ended: its transaction is rolled
    back, as if its process had died.

    Raises:
        DatabaseError: A session that we may not end holds the switch (SWITCH_HELD); nothing was changed.
        DatabaseUnavailableError: The server cannot be reached.
    """
    ended: list[int] = []
    holders: tuple[SwitchHolder, ...] = ()
    for _ in range(_ROUNDS):
        try:
            with database.transaction() as connection:
                limit_lock_waits(connection, patience_seconds)
                return Thrown(set_switch(connection, frozen=frozen, reason=reason), tuple(ended))
        except CollisionError:
            with database.transaction() as connection:
                holders = switch_holders(connection, seconds=patience_seconds)
        if not all(holder.ours for holder in holders):
            break
        for holder in holders:
            with database.transaction() as connection:
                end_session(connection, holder.pid)
            ended.append(holder.pid)
    who = next((holder for holder in holders if not holder.ours), None)
    raise DatabaseError(
        "The switch was NOT thrown: "
        + (
            "too many transactions hold it. Try again."
            if who is None
            else f"session {who.pid} of database user {who.user} holds it. End that session (as its user or a "
            f"superuser: SELECT pg_terminate_backend({who.pid})) and try again."
        ),
        code="SWITCH_HELD",
    )
