"""What the ledger reads besides its own tables: whose accounts a household has, what is alike, what the market did."""

from collections.abc import Collection
from datetime import date
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
    WHERE ex_date > %(after)s AND ex_date <= %(through)s
      AND (%(tickers)s::text[] IS NULL OR ticker = ANY(%(tickers)s))
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
_WITH_LOTS: Final = "SELECT DISTINCT account_id FROM opening_lots WHERE account_id = ANY(%s)"
_POSITION: Final = "SELECT coalesce(max(change_id), 0) FROM corporate_actions"
_OF_HOUSEHOLDS: Final = "SELECT account_id FROM accounts WHERE household = ANY(%s)"
# An account's books rest on an action where it had postings of the security before the ex-date.
_LATE: Final = """
    SELECT account.account_id, change_id, ticker, ex_date, action_type, value, other_ticker, basis_fraction
    FROM accounts AS account
    CROSS JOIN LATERAL (SELECT day, actions_seen FROM ledger_states AS newest
                        WHERE newest.household = coalesce(account.household, account.account_id)
                        ORDER BY day DESC LIMIT 1) AS state
    JOIN corporate_actions AS action ON action.change_id > state.actions_seen AND action.ex_date <= state.day
    JOIN securities USING (security_id)
    WHERE (%(accounts)s::text[] IS NULL OR account.account_id = ANY(%(accounts)s))
      AND EXISTS (SELECT 1 FROM ledger_postings AS posting
                  WHERE posting.account_id = account.account_id AND posting.ticker = securities.ticker
                    AND posting.day < action.ex_date)
      AND NOT EXISTS (SELECT 1 FROM ledger_events AS event
                      WHERE event.household = coalesce(account.household, account.account_id)
                        AND event.change_id = action.change_id)
    ORDER BY account.account_id, ex_date, ticker, action_type, other_ticker
"""


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
        raise _same_name(household)
    return accounts_of(connection, account_ids=[row[0] for row in rows])


def _same_name(household: str) -> AccountingError:
    return AccountingError(
        f"{household} is the name of a household and of an account outside it; give one of them another name.",
        code="HOUSEHOLD_NAME",
    )


def opening_days(connection: Connection, account_ids: Collection[str]) -> dict[str, date]:
    """Return the first day of books by account, of those of the accounts whose books have opened."""
    return dict(driver_connection(connection).execute(_OPENED, [sorted(account_ids)]).fetchall())


def accounts_with_opening_lots(connection: Connection, account_ids: Collection[str]) -> frozenset[str]:
    """Return those of the accounts that lots were handed over for."""
    return frozenset(row[0] for row in driver_connection(connection).execute(_WITH_LOTS, [sorted(account_ids)]))


def security_groups(connection: Connection) -> dict[str, str]:
    """Return ticker to substantially identical group, of the securities that are not a group of their own."""
    return dict(driver_connection(connection).execute(_GROUPS).fetchall())


def accounts_by_household(
    connection: Connection, alone: Collection[str], names: Collection[str]
) -> tuple[Account, ...]:
    """Return the accounts of several households, in the order of their names.

    Args:
        connection: A transaction.
        alone: Accounts that are a household of their own name; they are read already and left out.
        names: Other households.

    Raises:
        AccountingError: A household and an account by itself have one name (HOUSEHOLD_NAME).
    """
    rows = driver_connection(connection).execute(_OF_HOUSEHOLDS, [sorted({*alone, *names})]).fetchall()
    accounts = accounts_of(connection, account_ids=[row[0] for row in rows]) if rows else ()
    for account in accounts:
        if account.household in alone:
            raise _same_name(account.household or "")
    return accounts


def market_actions(
    connection: Connection, tickers: Collection[str] | None, *, after: date, through: date
) -> list[MarketAction]:
    """Return the actions of securities, all where None, with ex-date in (after, through], by date, ticker and type."""
    wanted = {"tickers": None if tickers is None else sorted(tickers), "after": after, "through": through}
    return [_action(row) for row in driver_connection(connection).execute(_ACTIONS, wanted)]


def changed_actions(
    connection: Connection, tickers: Collection[str], *, seen: int, through: date
) -> list[MarketAction]:
    """Return the actions of securities that came or changed after a number, with ex-date through a day."""
    wanted = {"tickers": sorted(tickers), "seen": seen, "through": through}
    return [_action(row) for row in driver_connection(connection).execute(_CHANGED, wanted)]


def late_actions(
    connection: Connection, account_ids: Collection[str] | None = None
) -> dict[str, tuple[CorporateAction, ...]]:
    """Return by account the actions that came or changed after its household's books had passed them.

    One may turn out to change nothing, where the shares had been sold before.

    Args:
        connection: A transaction.
        account_ids: The accounts; all of them where None.
    """
    wanted = {"accounts": None if account_ids is None else sorted(account_ids)}
    actions: dict[str, list[CorporateAction]] = {}
    for account_id, *row in driver_connection(connection).execute(_LATE, wanted):
        actions.setdefault(account_id, []).append(_action(tuple(row)).action)
    return {account_id: tuple(late) for account_id, late in actions.items()}


def actions_position(connection: Connection) -> int:
    """Return the number of the latest insert or change of a corporate action."""
    return int(driver_connection(connection).execute(_POSITION).fetchall()[0][0])


def _action(row: tuple[Any, ...]) -> MarketAction:
    change_id, ticker, ex_date, action_type, value, other_ticker, basis_fraction = row
    return MarketAction(
        change_id, CorporateAction(ticker, ex_date, ActionType(action_type), value, other_ticker, basis_fraction)
    )
