"""What the checks of a file need to know from the database, and where each kind of file is merged."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select, text

from prometheus.db.bulk_load import MergeTarget
from prometheus.db.models import (
    AccountRow,
    BenchmarkConstituentRow,
    CorporateActionRow,
    LedgerEventRow,
    SecurityRow,
    StrategyRow,
)

SECURITIES: Final = MergeTarget("securities", "securities", ("ticker",))
# By day, as daily files arrive: the rows of a day lie together, which is how they are read.
PRICES: Final = MergeTarget("prices", "prices", ("security_id", "price_date"), order=("price_date", "security_id"))
ACTIONS: Final = MergeTarget("actions", "corporate_actions", ("security_id", "ex_date", "action_type", "other_ticker"))
BENCHMARK: Final = MergeTarget(
    "benchmark",
    "benchmark_constituents",
    ("benchmark_id", "effective_date", "security_id"),
    scope=("benchmark_id", "effective_date"),
)
BORROW: Final = MergeTarget("borrow", "borrow_rates", ("security_id", "rate_date"))
ACCOUNTS: Final = MergeTarget("accounts", "accounts", ("account_id",), insert_only=("cash",))


class KnownAccount(NamedTuple):
    """What a file of accounts or lots is checked against; ``opening_cash`` in the base currency.

    ``books_as_of`` is the day of the books: of the first one where they have opened and no day was run; None where they
    have not opened. ``household`` is empty for an account by itself.
    """

    account_id: str
    opening_cash: Decimal
    fractional_shares: bool
    books_as_of: date | None
    household: str
    account_type: str


def purpose(connection: Connection) -> str:
    """Return what this database is for: '' or 'demo'."""
    return str(connection.execute(text("SELECT purpose FROM engine_flags")).scalar_one())


def security_ids(connection: Connection) -> list[tuple[str, int]]:
    """Return ticker and id of every security, by ticker."""
    rows = connection.execute(select(SecurityRow.ticker, SecurityRow.security_id).order_by(SecurityRow.ticker))
    return [(ticker, security_id) for ticker, security_id in rows]


# A booking locks its household by account. Whoever books several households locks all of their accounts at once.
_LOCK: Final = text("""
    SELECT account_id FROM accounts
    WHERE account_id = ANY(:accounts)
       OR household IN (SELECT household FROM accounts WHERE account_id = ANY(:accounts))
    ORDER BY account_id FOR NO KEY UPDATE
""")


def lock_accounts(connection: Connection, account_ids: Sequence[str]) -> list[KnownAccount]:
    """Return those of the accounts that exist, locked until the transaction ends: no day may open their books.

    The other accounts of their households are locked, too, all of them in the order of their names.
    """
    connection.execute(_LOCK, {"accounts": list(account_ids)})
    opened = (
        select(LedgerEventRow.trade_date)
        .where(LedgerEventRow.account_id == AccountRow.account_id, LedgerEventRow.event_id == "opening:cash")
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            AccountRow.account_id,
            AccountRow.opening_cash,
            AccountRow.fractional_shares,
            func.coalesce(AccountRow.books_as_of, opened),
            func.coalesce(AccountRow.household, ""),
            AccountRow.account_type,
        )
        .where(AccountRow.account_id.in_(account_ids))
        .order_by(AccountRow.account_id)
    )
    return [KnownAccount(*row) for row in rows]


def account_regions(connection: Connection, account_ids: Sequence[str]) -> dict[str, str]:
    """Return the region of those of the accounts that exist."""
    rows = connection.execute(
        select(AccountRow.account_id, AccountRow.region).where(AccountRow.account_id.in_(account_ids))
    )
    return {row.account_id: row.region for row in rows}


def other_members(
    connection: Connection, households: Sequence[str], account_ids: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Return household, tax regime and base currency of the stored accounts of households that a file leaves out."""
    rows = connection.execute(
        select(AccountRow.household, AccountRow.tax_regime, AccountRow.base_currency)
        .where(AccountRow.household.in_(households), AccountRow.account_id.not_in(account_ids))
        .distinct()
    )
    return [(str(household), regime, currency) for household, regime, currency in rows]


def strategy_ids(connection: Connection) -> list[str]:
    """Return the strategies there are."""
    return list(
        connection.execute(select(StrategyRow.strategy_id).distinct().order_by(StrategyRow.strategy_id)).scalars()
    )


def benchmark_ids(connection: Connection) -> list[str]:
    """Return the benchmarks there are."""
    identifier = BenchmarkConstituentRow.benchmark_id
    return list(connection.execute(select(identifier).distinct().order_by(identifier)).scalars())


def stored_actions(connection: Connection, first: date, last: date) -> list[tuple[str, date, str, float]]:
    """Return ticker, ex-date, type and value of the actions from ``first`` through ``last``; floats, for checks."""
    rows = connection.execute(
        select(SecurityRow.ticker, CorporateActionRow.ex_date, CorporateActionRow.action_type, CorporateActionRow.value)
        .join(SecurityRow, SecurityRow.security_id == CorporateActionRow.security_id)
        .where(CorporateActionRow.ex_date.between(first, last))
    )
    return [(ticker, ex_date, action_type, float(value)) for ticker, ex_date, action_type, value in rows]


# Whoever books writes an account's cash from the ledger; before its books open it is what the file says.
_SETTLE_CASH: Final = text("""
    UPDATE accounts SET cash = opening_cash
    WHERE books_as_of IS NULL AND cash <> opening_cash
      AND NOT EXISTS (SELECT 1 FROM ledger_events AS event
                      WHERE event.account_id = accounts.account_id AND event.event_id = 'opening:cash')
""")


def settle_opening_cash(connection: Connection) -> None:
    """Give accounts without books their opening cash; twice is as good as once."""
    connection.execute(_SETTLE_CASH)
