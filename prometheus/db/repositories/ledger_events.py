"""Events of the ledger in the database: read as the values they are, appended once, never changed."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.foundation.canonical import text_of_jsonable
from prometheus.ledger.event_json import event_document, event_of
from prometheus.ledger.events import Cancellation, Correction, Event
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey

# Corrections come with the events that they name, whatever the day: only together do they say what counts. They are
# few, and an index has them alone.
_AFTER: Final = """
    SELECT content FROM ledger_events WHERE event_no IN (
        SELECT event_no FROM ledger_events
        WHERE account_id = ANY(%(accounts)s) AND trade_date > coalesce(%(day)s::date, '-infinity')
        UNION
        SELECT event_no FROM ledger_events
        WHERE household = %(household)s AND trade_date > coalesce(%(day)s::date, '-infinity')
        UNION
        SELECT event_no FROM ledger_events
        WHERE target_id IS NOT NULL AND (account_id = ANY(%(accounts)s) OR household = %(household)s)
        UNION
        SELECT target.event_no FROM ledger_events AS news JOIN ledger_events AS target
            ON target.account_id = news.account_id AND target.event_id = news.target_id
        WHERE news.target_id IS NOT NULL AND news.account_id = ANY(%(accounts)s)
        UNION
        SELECT target.event_no FROM ledger_events AS news JOIN ledger_events AS target
            ON target.household = news.household AND target.event_id = news.target_id
        WHERE news.target_id IS NOT NULL AND news.household = %(household)s)
    ORDER BY event_no
"""
# The usual day has nothing after the last one: three ranges of indexes, all of them empty.
_LATER: Final = """
    SELECT EXISTS (SELECT 1 FROM ledger_events WHERE account_id = ANY(%(accounts)s) AND trade_date > %(day)s)
        OR EXISTS (SELECT 1 FROM ledger_events WHERE household = %(household)s AND trade_date > %(day)s)
        OR EXISTS (SELECT 1 FROM ledger_events WHERE target_id IS NOT NULL
                   AND (account_id = ANY(%(accounts)s) OR household = %(household)s))
"""
# The same question of many households at once.
_LATER_OF_MANY: Final = """
    SELECT DISTINCT wanted.household
    FROM unnest(%(households)s::text[], %(accounts)s::text[], %(days)s::date[]) AS wanted(household, account_id, day)
    WHERE EXISTS (SELECT 1 FROM ledger_events AS event
                  WHERE event.account_id = wanted.account_id AND event.trade_date > wanted.day)
       OR EXISTS (SELECT 1 FROM ledger_events AS event
                  WHERE event.household = wanted.household AND event.trade_date > wanted.day)
       OR EXISTS (SELECT 1 FROM ledger_events AS event
                  WHERE event.target_id IS NOT NULL AND event.account_id = wanted.account_id)
       OR EXISTS (SELECT 1 FROM ledger_events AS event
                  WHERE event.target_id IS NOT NULL AND event.household = wanted.household)
"""
_NAMED: Final = """
    SELECT event.content
    FROM unnest(%(accounts)s::text[], %(names)s::text[]) AS wanted(account_id, event_id)
    JOIN ledger_events AS event USING (account_id, event_id)
"""
_VERSIONS: Final = """
    SELECT event.content
    FROM unnest(%(accounts)s::text[], %(names)s::text[]) AS wanted(account_id, name)
    JOIN ledger_events AS event ON event.account_id = wanted.account_id
        AND (event.event_id = wanted.name OR event.target_id = wanted.name)
"""
_OF_MARKET: Final = """
    SELECT event_id, target_id, change_id, trade_date, content FROM ledger_events
    WHERE household = %(household)s AND (event_id = ANY(%(names)s) OR target_id = ANY(%(names)s)) ORDER BY event_no
"""
_TICKERS: Final = "SELECT DISTINCT ticker FROM ledger_events WHERE account_id = ANY(%s) AND ticker <> ''"
_APPEND: Final = """
    COPY ledger_events (account_id, household, event_id, trade_date, kind, ticker, quantity, amount, target_id,
                        change_id, content, source, source_name)
    FROM STDIN
"""


class EventSource(StrEnum):
    """Who told an event: opening books, a file, a broker's execution, the market's corporate actions, a person."""

    OPENING = "OPENING"
    FILE = "FILE"
    EXECUTION = "EXECUTION"
    MARKET = "MARKET"
    PERSON = "PERSON"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be stored.

    Attributes:
        event: The event; of ``EVERY_ACCOUNT`` where the market tells it.
        source: Who tells it.
        source_name: Name of the file or the like; empty where there is none.
        change_id: Of the market's action: the number of its latest change.
    """

    event: Event
    source: EventSource
    source_name: str = ""
    change_id: int | None = None


@dataclass(frozen=True, slots=True)
class StoredAction:
    """What a household's events say of one action of the market.

    Attributes:
        first: The event as it was told first.
        latest: The event that counts now.
        told_on: Day of the latest news of it.
        change_id: Of the latest news.
    """

    first: Event
    latest: Event
    told_on: date
    change_id: int


def events_after(connection: Connection, household: str, accounts: Collection[str], day: date | None) -> list[Event]:
    """Return the events of a household after a day, and all corrections together with what they name.

    Args:
        connection: A transaction.
        household: Whose events of the market.
        accounts: Accounts of the household.
        day: The day; None for all events.
    """
    wanted = {"household": household, "accounts": sorted(accounts), "day": day}
    driver = driver_connection(connection)
    if day is not None and not driver.execute(_LATER, wanted).fetchall()[0][0]:
        return []
    return [event_of(row[0]) for row in driver.execute(_AFTER, wanted)]


def households_with_later_events(
    connection: Connection, wanted: Iterable[tuple[str, Collection[str], date]]
) -> set[str]:
    """Return the households for which ``events_after`` returns anything.

    Args:
        connection: A transaction.
        wanted: Household, its accounts, and the day.
    """
    rows = [(household, account, day) for household, accounts, day in wanted for account in accounts]
    names = {
        "households": [row[0] for row in rows],
        "accounts": [row[1] for row in rows],
        "days": [row[2] for row in rows],
    }
    return {row[0] for row in driver_connection(connection).execute(_LATER_OF_MANY, names)}


def events_named(connection: Connection, keys: Iterable[EventKey]) -> dict[EventKey, Event]:
    """Return those of the named events of accounts that are stored, by key."""
    wanted = [key for key in keys if key.account != EVERY_ACCOUNT]
    if not wanted:
        return {}
    names = {"accounts": [key.account for key in wanted], "names": [key.event_id for key in wanted]}
    events = [event_of(row[0]) for row in driver_connection(connection).execute(_NAMED, names)]
    return {event.key: event for event in events}


def days_told(connection: Connection, keys: Iterable[EventKey]) -> dict[EventKey, set[date]]:
    """Return the trade dates that stored events of accounts have or had, by key; corrections moved some of them."""
    wanted = [key for key in keys if key.account != EVERY_ACCOUNT]
    days: dict[EventKey, set[date]] = {}
    if not wanted:
        return days
    names = {"accounts": [key.account for key in wanted], "names": [key.event_id for key in wanted]}
    for row in driver_connection(connection).execute(_VERSIONS, names):
        event = event_of(row[0])
        if not isinstance(event, Cancellation):
            said = event.replacement if isinstance(event, Correction) else event
            days.setdefault(said.key, set()).add(said.trade_date)
    return days


def stored_actions(connection: Connection, household: str, names: Collection[str]) -> dict[str, StoredAction]:
    """Return what a household's events say of actions of the market, by the name under which they were told first."""
    actions: dict[str, StoredAction] = {}
    if not names:
        return actions
    wanted = {"household": household, "names": sorted(names)}
    for event_id, target_id, change_id, trade_date, content in driver_connection(connection).execute(
        _OF_MARKET, wanted
    ):
        event = event_of(content)
        if target_id is None:
            actions[event_id] = StoredAction(event, event, trade_date, change_id)
        else:
            latest = event.replacement if isinstance(event, Correction) else event
            actions[target_id] = StoredAction(actions[target_id].first, latest, trade_date, change_id)
    return actions


def tickers_told(connection: Connection, accounts: Collection[str]) -> set[str]:
    """Return the securities that events of accounts name."""
    return {row[0] for row in driver_connection(connection).execute(_TICKERS, [sorted(accounts)])}


def append_events(connection: Connection, events: Sequence[tuple[str, NewEvent]]) -> None:
    """Append events in the order given.

    Args:
        connection: The transaction.
        events: The household whose books an event reaches, and the event, whose id its account does not have yet.
    """
    if not events:
        return
    with driver_connection(connection).cursor() as cursor, cursor.copy(_APPEND) as copy:
        for household, new in events:
            copy.write_row(_row(household, new))


def _row(household: str, new: NewEvent) -> tuple[Any, ...]:
    event = new.event
    of_market = event.account == EVERY_ACCOUNT
    said: Event = event.replacement if isinstance(event, Correction) else event
    return (
        None if of_market else event.account,
        household if of_market else None,
        event.event_id,
        event.trade_date,
        type(event).__name__,
        getattr(said, "ticker", ""),
        getattr(said, "quantity", None),
        getattr(said, "amount", None),
        _target_of(event),
        new.change_id,
        text_of_jsonable(event_document(event)),
        new.source.value,
        new.source_name,
    )


def _target_of(event: Event) -> str | None:
    if isinstance(event, Correction):
        return event.replacement.event_id
    return event.target_id if isinstance(event, Cancellation) else None
