"""What the ledger reads besides its own tables: whose accounts a household has, what is alike, what the market did."""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.db.repositories.accounts import accounts_of
from prometheus.domain.accounts import Account
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError, UnknownAccountError

_HOUSEHOLD: Final = "SELECT account_id, coalesce(household, account_id) FROM accounts WHERE account_id = ANY(%s)"
# An account by itself is a household of its own name.
_MEMBERS: Final = """
    SELECT account_id, household FROM accounts
    WHERE household = %(household)s OR (household IS NULL AND account_id = %(household)s)
    ORDER BY account_id
"""
_GROUPS: Final = "SELECT ticker, group_id FROM securities WHERE group_id <> ticker"
_ACTIONS: Final = """
    SELECT change_id, ticker, ex_date, action_type, value, other_ticker, basis_fraction
    FROM corporate_actions JOIN securities USING (security_id)
    WHERE ex_date > %(after)s AND ex_date <= %(through)s AND ticker = ANY(%(tickers)s)
    ORDER BY ex_date, ticker, action_type, other_ticker
"""
_CHANGED: Final = """
    SELECT change_id, ticker, ex_date, action_type, value, other_ticker, basis_fraction
    FROM corporate_actions JOIN securities USING (security_id)
    WHERE change_id > %(seen)s AND ex_date <= %(through)s AND ticker = ANY(%(tickers)s)
    ORDER BY change_id
"""
_OPENED: Final = """
    SELECT account_id, trade_date FROM ledger_events WHERE account_id = ANY(%s) AND event_id = 'opening:cash'
"""
_WITH_LOTS: Final = "SELECT DISTINCT account_id FROM tax_lots WHERE account_id = ANY(%s)"
_CASH: Final = """
    UPDATE accounts SET cash = told.cash
    FROM unnest(%(accounts)s::text[], %(cash)s::numeric[]) AS told(account_id, cash)
    WHERE accounts.account_id = told.account_id AND accounts.cash <> told.cash
"""
_POSITION: Final = "SELECT coalesce(max(change_id), 0) FROM corporate_actions"


class MarketAction(NamedTuple):
    """An action of the market, and the number of its latest change."""

    change_id: int
    action: CorporateAction


def households_of(connection: Connection, account_ids: Collection[str]) -> dict[str, str]:
    """Return the household of accounts by account; an account by itself is one of its own name.

    Raises:
        UnknownAccountError: There is no such account.
    """
    households = dict(driver_connection(connection).execute(_HOUSEHOLD, [sorted(account_ids)]).fetchall())
    missing = sorted(set(account_ids) - households.keys())
    if missing:
        raise UnknownAccountError(f"There is no account {missing[0]}. 'prometheus ingest' loads accounts from a file.")
    return households


def household_accounts(connection: Connection, household: str, *, lock: bool = False) -> tuple[Account, ...]:
    """Return the accounts of a household in the order of their names.

    With ``lock`` their rows are locked in that order first, so that two workers wait for each other and never in a
    circle; nothing else is booked for the household until the transaction ends.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: A household and an account by itself have one name (HOUSEHOLD_NAME).
    """
    query = _MEMBERS + (" FOR NO KEY UPDATE" if lock else "")
    rows = driver_connection(connection).execute(query, {"household": household}).fetchall()
    if not rows:
        raise UnknownAccountError(f"There is no household and no account {household}.")
    if len({row[1] for row in rows}) > 1:
        raise AccountingError(
            f"{household} is the name of a household and of an account outside it; give one of them another name.",
            code="HOUSEHOLD_NAME",
        )
    return accounts_of(connection, account_ids=[row[0] for row in rows])


def opening_days(connection: Connection, account_ids: Collection[str]) -> dict[str, date]:
    """Return the first day of books by account, of those of the accounts whose books have opened."""
    return dict(driver_connection(connection).execute(_OPENED, [sorted(account_ids)]).fetchall())


def accounts_with_opening_lots(connection: Connection, account_ids: Collection[str]) -> frozenset[str]:
    """Return those of the accounts that lots were handed over for."""
    return frozenset(row[0] for row in driver_connection(connection).execute(_WITH_LOTS, [sorted(account_ids)]))


def write_cash(connection: Connection, cash: Mapping[str, Decimal]) -> None:
    """Write what the books say of accounts' cash beside the accounts, where screens look for it.

    Args:
        connection: The transaction; the accounts are locked in it.
        cash: Cash by account, base currency.
    """
    wanted = {"accounts": list(cash), "cash": list(cash.values())}
    driver_connection(connection).execute(_CASH, wanted)


def security_groups(connection: Connection) -> dict[str, str]:
    """Return ticker to substantially identical group, of the securities that are not a group of their own."""
    return dict(driver_connection(connection).execute(_GROUPS).fetchall())


def market_actions(
    connection: Connection, tickers: Collection[str], *, after: date, through: date
) -> list[MarketAction]:
    """Return the actions of securities with ex-date in (after, through], by date, ticker and type."""
    wanted = {"tickers": sorted(tickers), "after": after, "through": through}
    return [_action(row) for row in driver_connection(connection).execute(_ACTIONS, wanted)]


def changed_actions(
    connection: Connection, tickers: Collection[str], *, seen: int, through: date
) -> list[MarketAction]:
    """Return the actions of securities that came or changed after a number, with ex-date through a day."""
    wanted = {"tickers": sorted(tickers), "seen": seen, "through": through}
    return [_action(row) for row in driver_connection(connection).execute(_CHANGED, wanted)]


def actions_position(connection: Connection) -> int:
    """Return the number of the latest insert or change of a corporate action."""
    return int(driver_connection(connection).execute(_POSITION).fetchall()[0][0])


def _action(row: tuple[Any, ...]) -> MarketAction:
    change_id, ticker, ex_date, action_type, value, other_ticker, basis_fraction = row
    return MarketAction(
        change_id, CorporateAction(ticker, ex_date, ActionType(action_type), value, other_ticker, basis_fraction)
    )
