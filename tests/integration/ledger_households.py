"""Households in a database without a fleet around them: accounts, securities and actions of the market."""

from datetime import date
from decimal import Decimal

from sqlalchemy import text

from prometheus.bookkeeping.ledger import book_events
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.db.repositories.ledger_inputs import household_accounts
from prometheus.db.repositories.ledger_postings import postings_after
from prometheus.ledger import events as ev

SMITH = ("A", "B", "IRA")
OPENED = date(2024, 1, 2)

_ACCOUNT = text("""
    INSERT INTO accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, st_rate,
                          lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags, household, account_type)
    VALUES (:account, :account, :regime, :currency, :regime, :method, 'SP500', 0.37, 0.2, 0, 0, 0, true, '{}',
            :household, :type)
""")
_ACTION = text("""
    INSERT INTO corporate_actions (security_id, ex_date, action_type, value, other_ticker, basis_fraction)
    SELECT security_id, :day, :type, :value, :other, :part FROM securities WHERE ticker = :ticker
    ON CONFLICT (security_id, ex_date, action_type, other_ticker)
    DO UPDATE SET value = excluded.value, basis_fraction = excluded.basis_fraction
""")


def add_household(database, household="SMITH", accounts=SMITH, *, regime="US"):
    """Add accounts of one household; one called IRA or RRSP is sheltered. None for an account by itself."""
    with database.transaction() as connection:
        for account in accounts:
            connection.execute(
                _ACCOUNT,
                {
                    "account": account,
                    "household": household,
                    "regime": regime,
                    "currency": "USD" if regime == "US" else "CAD",
                    "method": "FIFO" if regime == "US" else "ACB",
                    "type": account if account in {"IRA", "RRSP"} else "TAXABLE",
                },
            )


def add_securities(database, tickers, groups=None):
    """Add securities by ticker, and some with their group."""
    with database.transaction() as connection:
        for ticker, group in {**dict(zip(tickers, tickers, strict=True)), **(groups or {})}.items():
            connection.execute(
                text("INSERT INTO securities (ticker, name, sector, group_id) VALUES (:ticker, '', '', :group)"),
                {"ticker": ticker, "group": group},
            )


def add_close(database, ticker, day, close):
    """Add a close."""
    with database.transaction() as connection:
        connection.execute(
            text("INSERT INTO prices (security_id, price_date, close) "
                 "SELECT security_id, :day, :close FROM securities WHERE ticker = :ticker"),
            {"ticker": ticker, "day": day, "close": close},
        )  # fmt: skip


def add_action(database, ticker, day, action_type, value=1, other="", part=None):
    """Add an action of the market, or change the one that is there."""
    with database.transaction() as connection:
        connection.execute(
            _ACTION,
            {"ticker": ticker, "day": day, "type": action_type, "value": value, "other": other, "part": part},
        )


def lot(name, ticker, quantity, cost, *, account="A", day=OPENED, acquired=date(2020, 1, 2)):
    """Return an opening lot."""
    return ev.OpeningLot(
        account=account, event_id=name, trade_date=day, ticker=ticker, quantity=Decimal(quantity),
        cost_basis=Decimal(cost), acquired_on=acquired,
    )  # fmt: skip


def cash(amount, *, account="A", day=OPENED):
    """Return opening cash."""
    return ev.OpeningCash(account=account, event_id=f"cash {account}", trade_date=day, amount=Decimal(amount))


def buy(name, day, ticker, quantity, amount, *, account="A"):
    """Return a purchase."""
    return ev.Buy(
        account=account, event_id=name, trade_date=day, ticker=ticker, quantity=Decimal(quantity),
        amount=Decimal(amount),
    )  # fmt: skip


def sell(name, day, ticker, quantity, amount, *, account="A"):
    """Return a sale that names no lot."""
    return ev.Sell(
        account=account, event_id=name, trade_date=day, ticker=ticker, quantity=Decimal(quantity),
        amount=Decimal(amount),
    )  # fmt: skip


def book(database, *events: ev.Event, through=None, household="SMITH", reason=""):
    """Book events in a transaction of their own and return what came of it."""
    day = through or max(event.trade_date for event in events)
    with database.transaction() as connection:
        return book_events(connection, household, events, day, source=EventSource.EXECUTION, reason=reason)


def sums_of_postings(database, household="SMITH"):
    """Return shares and bases by account and lot, cash and gains by account: sums of all stored postings."""
    with database.transaction() as connection:
        accounts = [account.account_id for account in household_accounts(connection, household)]
        stored = postings_after(connection, accounts, None)
    lots, money = {}, {}
    for _, _, one in stored:
        if one.lot_id is not None:
            before = lots.get(one.lot, (0, 0, 0))
            change = (one.quantity, one.cost_basis, one.adjusted_basis)
            lots[one.lot] = tuple(a + b for a, b in zip(before, change, strict=True))
        before = money.get(one.account, (0, 0))
        money[one.account] = (before[0] + one.cash, before[1] + one.realized_gain)
    return {key: found for key, found in lots.items() if any(found)}, money


def count(database, table):
    """Return how many rows a table has."""
    with database.transaction() as connection:
        return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
