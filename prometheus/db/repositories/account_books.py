"""What accounts keep of books themselves: what they handed over, and the columns that follow from the ledger."""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.domain.books import Books
from prometheus.domain.lots import TaxLot

# Books open with an event for the cash, which may be zero; an account without one has not opened.
_UNOPENED: Final = """
    SELECT account_id, cash FROM accounts
    WHERE account_id = ANY(%s)
      AND NOT EXISTS (SELECT 1 FROM ledger_events AS event
                      WHERE event.account_id = accounts.account_id AND event.event_id = 'opening:cash')
    ORDER BY account_id
"""
_LOTS: Final = """
    SELECT account_id, lot_id, ticker, acquired_on, quantity, cost_basis
    FROM opening_lots JOIN securities USING (security_id)
    WHERE account_id = ANY(%s) ORDER BY account_id, ticker, acquired_on, lot_id
"""
# Columns that do not change are not written: a row of an account is read by every worker.
_WRITE: Final = """
    UPDATE accounts
    SET cash = coalesce(changed.cash, accounts.cash), books_as_of = greatest(accounts.books_as_of, changed.day)
    FROM unnest(%s::text[], %s::numeric[], %s::date[]) AS changed(account_id, cash, day)
    WHERE accounts.account_id = changed.account_id
      AND (accounts.cash <> changed.cash OR changed.day > accounts.books_as_of
           OR (accounts.books_as_of IS NULL AND changed.day IS NOT NULL))
"""
_CASH: Final = "SELECT account_id, cash FROM accounts WHERE account_id = ANY(%s)"


def books_to_open(connection: Connection, account_ids: Collection[str]) -> dict[str, Books]:
    """Return the lots and cash with which books open, of those of the accounts that have not opened theirs.

    Args:
        connection: A transaction; where the books are opened in it the accounts are locked.
        account_ids: Accounts that exist.
    """
    driver = driver_connection(connection)
    cash = dict(driver.execute(_UNOPENED, [sorted(account_ids)]).fetchall())
    if not cash:
        return {}
    lots: dict[str, list[TaxLot]] = {account_id: [] for account_id in cash}
    for account_id, lot_id, ticker, acquired_on, quantity, cost in driver.execute(_LOTS, [sorted(cash)]):
        lots[account_id].append(TaxLot(lot_id, ticker, acquired_on, quantity, cost, cost, acquired_on))
    return {account_id: Books(tuple(lots[account_id]), cash[account_id]) for account_id in cash}


def stored_cash(connection: Connection, account_ids: Collection[str]) -> dict[str, Decimal]:
    """Return the cash of accounts as it is written beside them."""
    return dict(driver_connection(connection).execute(_CASH, [sorted(account_ids)]).fetchall())


def write_columns(connection: Connection, cash: Mapping[str, Decimal], days: Mapping[str, date]) -> None:
    """Write cash of accounts, and of some of them the day through which they are booked; days never move back."""
    accounts = sorted(cash.keys() | days.keys())
    columns = [accounts, [cash.get(account) for account in accounts], [days.get(account) for account in accounts]]
    driver_connection(connection).execute(_WRITE, columns)
