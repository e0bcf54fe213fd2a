"""States of households in the database: the newest two, and the newest of each month.

A state can be made anew from the events at any time; so rows are replaced and removed.
"""

import hashlib
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
# Of each household its newest state, usable or not, and the newest usable one that is not after a day.
_OF_MANY: Final = """
    SELECT wanted.household, mark.day, mark.actions_seen, mark.digest, usable.day, usable.accounts,
           usable.actions_seen, usable.state
    FROM unnest(%(households)s::text[]) AS wanted(household)
    CROSS JOIN LATERAL (
        SELECT day, actions_seen, sha256(state) AS digest FROM ledger_states AS state
        WHERE state.household = wanted.household ORDER BY day DESC LIMIT 1) AS mark
    LEFT JOIN LATERAL (
        SELECT day, accounts, actions_seen, state FROM ledger_states AS state
        WHERE state.household = wanted.household AND format_version = %(version)s AND day <= %(through)s
        ORDER BY day DESC LIMIT 1) AS usable ON true
"""
_MARKS: Final = """
    SELECT DISTINCT ON (household) household, day, actions_seen, sha256(state) FROM ledger_states
    WHERE household = ANY(%s) ORDER BY household, day DESC
"""
_DROP_AFTER: Final = """
    DELETE FROM ledger_states AS state
    USING unnest(%(households)s::text[], %(days)s::date[]) AS wanted(household, day)
    WHERE state.household = wanted.household AND state.day > coalesce(wanted.day, '-infinity')
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
    WHERE household = ANY(%s)
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


@dataclass(frozen=True, slots=True)
class StateMark:
    """What tells whether books have moved: day, ``actions_seen`` and SHA-256 of the newest state of a household."""

    day: date
    actions_seen: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class MarkedState:
    """The mark of a household's books, and the newest state that the reader knows; None where there is none."""

    mark: StateMark
    state: StoredState | None


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


def newest_states(connection: Connection, households: Collection[str], through: date) -> dict[str, MarkedState]:
    """Return what the states of many households say, by household; one without any is absent.

    Args:
        connection: A transaction.
        households: The households.
        through: Day after which a state is not asked for.

    Raises:
        AccountingError: The bytes of one cannot be read.
    """
    wanted = {"households": sorted(households), "version": VERSION, "through": through}
    return {
        row[0]: MarkedState(StateMark(*row[1:4]), None if row[4] is None else _state(row[4:]))
        for row in driver_connection(connection).execute(_OF_MANY, wanted).fetchall()
    }


def state_marks(connection: Connection, households: Collection[str]) -> dict[str, StateMark]:
    """Return the marks of households by household; one without any state is absent."""
    rows = driver_connection(connection).execute(_MARKS, [sorted(households)])
    return {row[0]: StateMark(*row[1:]) for row in rows}


def mark_of(state: StoredState) -> StateMark:
    """Return the mark that a state has when it is stored as the newest one."""
    return StateMark(state.day, state.actions_seen, hashlib.sha256(to_bytes(state.state)).digest())


def replace_states(connection: Connection, changes: Sequence[tuple[str, date | None, Sequence[StoredState]]]) -> None:
    """Put states in the place of those after a day, and remove what need not be kept.

    Args:
        connection: The transaction; the households are locked in it.
        changes: Household, the day (None for all of its states), and states of later days or of the day itself.
    """
    if not changes:
        return
    driver = driver_connection(connection)
    households = [household for household, _, _ in changes]
    driver.execute(_DROP_AFTER, {"households": households, "days": [day for _, day, _ in changes]})
    with driver.cursor() as cursor:
        cursor.executemany(
            _PUT,
            [
                (household, one.day, VERSION, sorted(one.accounts), one.actions_seen, to_bytes(one.state))
                for household, _, states in changes
                for one in states
            ],
        )
    driver.execute(_PRUNE, [households])


def discard_states(connection: Connection, household: str) -> None:
    """Make a household's states unusable, so that its next booking folds every event; days and marks stay known."""
    driver_connection(connection).execute(_DISCARD, [household])


def _state(row: tuple[Any, ...]) -> StoredState:
    day, accounts, actions_seen, content = row
    return StoredState(day, tuple(accounts), actions_seen, from_bytes(content))
