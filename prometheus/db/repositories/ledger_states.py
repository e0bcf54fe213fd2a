"""States of households in the database: the newest two, and the newest of each month.

A state can be made anew from the events at any time; so rows are replaced and removed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.ledger.checkpoints import VERSION, from_bytes, to_bytes
from prometheus.ledger.state import State

# A state of another version or of other accounts says nothing.
_NEWEST: Final = """
    SELECT day, accounts, actions_seen, state FROM ledger_states
    WHERE household = %(household)s AND format_version = %(version)s AND accounts = %(accounts)s
      AND day < coalesce(%(before)s::date, 'infinity')
    ORDER BY day DESC LIMIT 1
"""
_DAYS: Final = """
    SELECT day FROM ledger_states
    WHERE household = %s AND format_version = %s AND accounts = %s ORDER BY day
"""
_ON: Final = "SELECT day, accounts, actions_seen, state FROM ledger_states WHERE household = %s AND day = %s"
_SEEN: Final = "SELECT day, actions_seen FROM ledger_states WHERE household = %s ORDER BY day DESC LIMIT 1"
_DROP_AFTER: Final = """
    DELETE FROM ledger_states WHERE household = %(household)s AND day > coalesce(%(day)s::date, '-infinity')
"""
_DISCARD: Final = "UPDATE ledger_states SET format_version = 0 WHERE household = %s"
_PUT: Final = """
    INSERT INTO ledger_states (household, day, format_version, accounts, actions_seen, state)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (household, day) DO UPDATE
    SET format_version = excluded.format_version, accounts = excluded.accounts, state = excluded.state,
        actions_seen = excluded.actions_seen, recorded_at = engine_now()
"""
_PRUNE: Final = """
    DELETE FROM ledger_states AS old
    WHERE household = %(household)s
      AND (SELECT count(*) FROM ledger_states AS later
           WHERE later.household = old.household AND later.day > old.day) >= 2
      AND EXISTS (SELECT 1 FROM ledger_states AS later
                  WHERE later.household = old.household AND later.day > old.day
                    AND date_trunc('month', later.day) = date_trunc('month', old.day))
"""


@dataclass(frozen=True, slots=True)
class StoredState:
    """The books of a household as they are stored.

    Attributes:
        day: The day through which events are in it.
        accounts: Accounts of the household then, in alphabetical order.
        actions_seen: ``corporate_actions.change_id`` through which changes of past days have been looked at.
        state: The books.
    """

    day: date
    accounts: tuple[str, ...]
    actions_seen: int
    state: State


def newest_state(
    connection: Connection, household: str, accounts: Collection[str], *, before: date | None = None
) -> StoredState | None:
    """Return the newest usable state of a household of just these accounts, None where there is none.

    Args:
        connection: A transaction.
        household: The household.
        accounts: Its accounts.
        before: Only states of earlier days.

    Raises:
        AccountingError: The bytes cannot be read.
    """
    wanted = {"household": household, "version": VERSION, "accounts": sorted(accounts), "before": before}
    row = driver_connection(connection).execute(_NEWEST, wanted).fetchone()
    return None if row is None else _state(row)


def stored_mark(connection: Connection, household: str) -> tuple[date, int] | None:
    """Return day and ``actions_seen`` of a household's newest state, usable or not."""
    row = driver_connection(connection).execute(_SEEN, [household]).fetchone()
    return None if row is None else (row[0], row[1])


def state_days(connection: Connection, household: str, accounts: Collection[str]) -> list[date]:
    """Return the days of the usable states of a household of just these accounts, oldest first."""
    wanted = [household, VERSION, sorted(accounts)]
    return [row[0] for row in driver_connection(connection).execute(_DAYS, wanted)]


def state_of_day(connection: Connection, household: str, day: date) -> StoredState:
    """Return the state of a household that is stored for a day; there is one.

    Raises:
        AccountingError: The bytes cannot be read.
    """
    return _state(driver_connection(connection).execute(_ON, [household, day]).fetchall()[0])


def replace_states(connection: Connection, household: str, after: date | None, states: Sequence[StoredState]) -> None:
    """Put states in the place of those after a day, and remove what need not be kept.

    Args:
        connection: The transaction; the household is locked in it.
        household: The household.
        after: The day; None for all of them.
        states: Of later days, or of the day itself.
    """
    driver = driver_connection(connection)
    driver.execute(_DROP_AFTER, {"household": household, "day": after})
    with driver.cursor() as cursor:
        cursor.executemany(
            _PUT,
            [
                (household, one.day, VERSION, sorted(one.accounts), one.actions_seen, to_bytes(one.state))
                for one in states
            ],
        )
    driver.execute(_PRUNE, {"household": household})


def discard_states(connection: Connection, household: str) -> None:
    """Make a household's states unusable, so that its next booking folds every event; days and marks stay known."""
    driver_connection(connection).execute(_DISCARD, [household])


def _state(row: tuple[Any, ...]) -> StoredState:
    day, accounts, actions_seen, content = row
    return StoredState(day, tuple(accounts), actions_seen, from_bytes(content))
