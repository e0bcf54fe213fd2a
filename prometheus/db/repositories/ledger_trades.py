"""Trades among the events of the ledger, as corrections and cancellations leave them."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Final

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.ledger.event_json import event_of
from prometheus.ledger.events import Buy, CoverShort, Event, Reinvestment, Sell, ShortSale
from prometheus.ledger.facts import effective_events

# Corrections come with what they name, whatever the day: only together do they say what counts.
_TRADES: Final = """
    WITH wanted AS (SELECT * FROM unnest(%(accounts)s::text[], %(days)s::date[]) AS wanted(account_id, since))
    SELECT account_id, content FROM ledger_events WHERE event_no IN (
        SELECT event_no FROM wanted JOIN ledger_events AS event
            ON event.account_id = wanted.account_id AND event.trade_date >= wanted.since
        WHERE kind IN ('Buy', 'Sell', 'ShortSale', 'CoverShort')
        UNION
        SELECT event_no FROM ledger_events WHERE target_id IS NOT NULL AND account_id = ANY(%(accounts)s)
        UNION
        SELECT target.event_no FROM ledger_events AS news JOIN ledger_events AS target
            ON target.account_id = news.account_id AND target.event_id = news.target_id
        WHERE news.target_id IS NOT NULL AND news.account_id = ANY(%(accounts)s))
    ORDER BY event_no
"""


#: What orders are filled by.
Trade = Buy | Sell | ShortSale | CoverShort


def trades_since(connection: Connection, since: Mapping[str, date]) -> dict[str, list[Trade]]:
    """Return the trades of accounts that count, by account; reinvested dividends are none of them.

    Args:
        connection: A transaction.
        since: Account to the first trade date wanted.
    """
    accounts = sorted(since)
    wanted = {"accounts": accounts, "days": [since[account] for account in accounts]}
    told: dict[str, list[Event]] = defaultdict(list)
    for account, content in driver_connection(connection).execute(_TRADES, wanted):
        told[account].append(event_of(content))
    return {account: _trades(told[account], since[account]) for account in accounts}


def _trades(events: list[Event], since: date) -> list[Trade]:
    counting, _ = effective_events(events)
    return [
        event
        for event in counting
        if isinstance(event, Trade) and not isinstance(event, Reinvestment) and event.trade_date >= since
    ]
