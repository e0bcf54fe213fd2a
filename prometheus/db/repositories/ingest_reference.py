"""What the checks of a file need to know from the database, and where each kind of file is merged."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Connection, select, text

from prometheus.db.bulk_load import MergeTarget
from prometheus.db.models import AccountRow, BenchmarkConstituentRow, CorporateActionRow, SecurityRow, StrategyRow

SECURITIES: Final = MergeTarget("securities", "securities", ("ticker",))
# By day, as daily files arrive: the rows of a day lie together, which is how they are read.
PRICES: Final = MergeTarget("prices", "prices", ("security_id", "price_date"), order=("price_date", "security_id"))
ACTIONS: Final = MergeTarget("actions", "corporate_actions", ("security_id", "ex_date", "action_type"))
BENCHMARK: Final = MergeTarget(
    "benchmark",
    "benchmark_constituents",
    ("benchmark_id", "effective_date", "security_id"),
    scope=("benchmark_id", "effective_date"),
)
BORROW: Final = MergeTarget("borrow", "borrow_rates", ("security_id", "rate_date"))
ACCOUNTS: Final = MergeTarget("accounts", "accounts", ("account_id",), insert_only=("cash",))


class KnownAccount(NamedTuple):
    """What a file of accounts or lots is checked against; ``opening_cash`` in the base currency."""

    account_id: str
    opening_cash: Decimal
    fractional_shares: bool
    books_as_of: date | None


def purpose(connection: Connection) -> str:
    """Return what this database is for: '' or 'demo'."""
    return str(connection.execute(text("SELECT purpose FROM engine_flags")).scalar_one())


def security_ids(connection: Connection) -> list[tuple[str, int]]:
    """Return ticker and id of every security, by ticker."""
    rows = connection.execute(select(SecurityRow.ticker, SecurityRow.security_id).order_by(SecurityRow.ticker))
    return [(ticker, security_id) for ticker, security_id in rows]


def lock_accounts(connection: Connection, account_ids: Sequence[str]) -> list[KnownAccount]:
    """Return those of the accounts that exist, locked until the transaction ends: no day may open their books."""
    rows = connection.execute(
        select(AccountRow.account_id, AccountRow.opening_cash, AccountRow.fractional_shares, AccountRow.books_as_of)
        .where(AccountRow.account_id.in_(account_ids))
        .order_by(AccountRow.account_id)
        .with_for_update(key_share=True)
    )
    return [KnownAccount(*row) for row in rows]


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


def settle_opening_cash(connection: Connection) -> None:
    """Give accounts without books the opening cash of the accounts just revised as their cash."""
    connection.execute(
        text(
            "UPDATE accounts SET cash = opening_cash "
            "WHERE books_as_of IS NULL AND account_id IN (SELECT account_id FROM revised_rows)"
        )
    )
