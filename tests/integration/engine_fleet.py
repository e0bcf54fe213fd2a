"""Six names, three accounts and a week to trade: a fleet small enough to drive the state machine hundreds of times."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import numpy as np
from click.testing import CliRunner, Result
from sqlalchemy import text

from prometheus.bookkeeping.ledger import open_books
from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.db.claims import claim_batch
from prometheus.db.database import Connection, Database
from prometheus.db.repositories.account_books import write_columns
from prometheus.db.repositories.engine_runs import list_runs
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.db.repositories.ledger_postings import postings_after
from prometheus.db.repositories.strategies import add_strategy_version, latest_strategy
from prometheus.domain.books import Books
from prometheus.domain.engine_run import EngineRun, Lease
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.ledger.postings import Posting
from prometheus.orchestration.advance_all import AdvanceSummary, advance_all
from prometheus.orchestration.risk_refresh import refresh_risk_model
from prometheus.pipeline import state
from prometheus.pipeline.advance import Outcome
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.scripts import main, run_engine_state

STRATEGY = "tax-managed-index"
NAMES = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
#: Five sessions of one week; prices end with the last of them.
WEEK = tuple(date(2024, 6, day) for day in (24, 25, 26, 27, 28))
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = WEEK
SATURDAY, HOLIDAY, WITHOUT_PRICES = date(2024, 6, 29), date(2024, 7, 4), date(2024, 7, 3)
_SESSIONS = 140
_SECTORS = ("Energy", "Utilities", "Financials")

#: (lot, ticker, bought, shares, cost in USD)
_LOTS = (
    ("L1", "AAA", date(2022, 3, 1), 400, 9000),
    ("L2", "AAA", date(2023, 2, 1), 300, 24000),
    ("L3", "BBB", date(2023, 2, 1), 500, 30000),
)
_SECURITY = text("""
    INSERT INTO securities (ticker, name, sector, sub_industry, group_id)
    VALUES (:ticker, :ticker, :sector, :sector, :ticker)
""")
_PRICE = text("""
    INSERT INTO prices (security_id, price_date, close)
    SELECT security_id, :day, :close FROM securities WHERE ticker = :ticker
""")
_CONSTITUENT = text("""
    INSERT INTO benchmark_constituents (benchmark_id, effective_date, security_id, weight)
    SELECT 'BM', '2024-06-03', security_id, 0.166666666666 FROM securities
""")
_ACCOUNT = text("""
    INSERT INTO accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, st_rate,
                          lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags)
    VALUES (:account_id, :account_id, :region, 'USD', :region, :method, 'BM', 0.37, 0.2, 0.038, :cash, :cash, false,
            '{}')
""")
_LOT = text("""
    INSERT INTO opening_lots (account_id, lot_id, security_id, acquired_on, quantity, cost_basis)
    SELECT :account_id, :lot_id, security_id, :bought, :quantity, :basis FROM securities WHERE ticker = :ticker
""")

_ACCOUNTS = "SELECT account_id, cash FROM accounts ORDER BY account_id"
_OPENING = ("OPENING", "BUY", "SELL")

#: Tables that a repeated command may add to, and columns that a heartbeat may move.
_HISTORY = ("engine_run_events", "engine_hosts", "due_tasks", "alembic_version")
_HEARTBEAT_COLUMNS = ("heartbeat_at", "lease_expires_at", "updated_at")


def write_fleet(database: Database) -> None:
    """Write market, strategy, accounts and risk model into a migrated database."""
    sessions = TradingCalendar.for_region("US").sessions_between(date(2023, 10, 2), FRIDAY)[-_SESSIONS:]
    draws = np.random.default_rng(7).normal(0.0, 1.0, (len(sessions), len(NAMES) + 1))
    returns = 0.008 * draws[:, :1] * np.linspace(0.6, 1.4, len(NAMES)) + 0.01 * draws[:, 1:]
    closes = np.linspace(40, 90, len(NAMES)) * np.exp(np.cumsum(returns, axis=0))
    with database.transaction() as connection:
        connection.execute(_SECURITY, [{"ticker": name, "sector": _SECTORS[i % 3]} for i, name in enumerate(NAMES)])
        connection.execute(
            _PRICE,
            [
                {"ticker": name, "day": session, "close": Decimal(f"{closes[row, column]:.4f}")}
                for row, session in enumerate(sessions)
                for column, name in enumerate(NAMES)
            ],
        )
        connection.execute(_CONSTITUENT)
        # Tests of the engine want every day to trade, one after the other without fills; calendar and hold have tests
        # of their own.
        change_strategy(
            connection,
            max_weight=0.6,
            max_active_weight=0.3,
            rebalance="daily",
            harvest_min_share=0.0,
            harvest_sigma=0.0,
            unfilled_orders="trade",
        )
        for account_id, region, method in (("ACC-1", "US", "HIFO"), ("ACC-2", "US", "FIFO"), ("ACC-3", "CA", "ACB")):
            add_account(connection, account_id, region=region, method=method)
    refresh_risk_model(database, as_of=MONDAY)


def add_account(
    connection: Connection,
    account_id: str,
    *,
    region: str = "US",
    method: str = "HIFO",
    lots: tuple[tuple[object, ...], ...] = _LOTS,
) -> None:
    """Add an account with lots and cash."""
    connection.execute(_ACCOUNT, {"account_id": account_id, "region": region, "method": method, "cash": 20_000})
    for lot_id, ticker, bought, quantity, basis in lots:
        connection.execute(
            _LOT,
            {
                "account_id": account_id,
                "lot_id": lot_id,
                "ticker": ticker,
                "bought": bought,
                "quantity": quantity,
                "basis": basis,
            },
        )


def change_strategy(connection: Connection, **params: object) -> None:
    """Store the next version of the fleet's strategy with some parameters changed."""
    newest = latest_strategy(connection, STRATEGY)
    add_strategy_version(connection, STRATEGY, {**newest.params, **params}, newest.tag_overrides)


class Fleet:
    """The fleet in a database of its own, and what operators, timers and rival workers do to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, pool_size=8)
        self._owners = itertools.count(1)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def sql(self, statement: str, **values: object) -> list:
        """Run a statement in a transaction of its own; return its rows, if it has any."""
        with self.database.transaction() as connection:
            done = connection.execute(text(statement), values)
            return list(done.all()) if done.returns_rows else []

    def one(self, statement: str, **values: object) -> object:
        """Return the only column of the only row."""
        ((value,),) = self.sql(statement, **values)
        return value

    def open_books(self, day: date, *account_ids: str) -> None:
        """Open the books of accounts, of all where none is named, as their first day would have; it is decided."""
        with self.database.transaction() as connection:
            accounts = account_ids or tuple(row.account_id for row in connection.execute(text(_ACCOUNTS)))
            open_books(connection, accounts, day)
            write_columns(connection, {}, dict.fromkeys(accounts, day))

    def books(self, account_id: str = "ACC-1") -> Books:
        """Return lots and cash that the ledger has of an account."""
        with self.database.transaction() as connection:
            household = households_of(connection, [account_id])[account_id]
            return books_of(read_books(connection, household).state, account_id)

    def shares(self, ticker: str = "AAA", account_id: str = "ACC-1") -> Decimal:
        """Return the shares that an account holds of a security."""
        return self.books(account_id).quantity_of(ticker)

    def postings(self, *kinds: str, account_id: str | None = None) -> list[Posting]:
        """Return the stored postings of some kinds, of all accounts where none is named, in the order of writing."""
        with self.database.transaction() as connection:
            accounts = [account_id] if account_id else [row.account_id for row in connection.execute(text(_ACCOUNTS))]
            stored = [one.posting for one in postings_after(connection, accounts, None)]
        return [posting for posting in stored if posting.kind in kinds]

    def differences(self) -> list[str]:
        """Return where postings, states and cash say otherwise than the events of their household."""
        with self.database.transaction() as connection:
            accounts = [row.account_id for row in connection.execute(text(_ACCOUNTS))]
            names = sorted(set(households_of(connection, accounts).values()))
            found = [str(one) for name in names for one in rebuild_check(connection, name).differences]
            opened = [account for account in accounts if self.postings(*_OPENING, account_id=account)]
            cash = {row.account_id: row.cash for row in connection.execute(text(_ACCOUNTS))}
        return found + [f"{name}: cash" for name in opened if self.books(name).cash != cash[name]]

    def open_transactions(self) -> int:
        """Return how many transactions others have open in this database."""
        return int(
            self.one(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"
            )
        )

    def config(self, **settings: object) -> EngineConfig:
        """Return the configuration of one more worker."""
        return EngineConfig(**{"owner": f"worker-{next(self._owners)}", "retry_base_seconds": 0.0, **settings})

    def scope(self, day: date = MONDAY, account_id: str | None = None, region: str = "US") -> state.Scope:
        """Return the accounts meant by an operator; the whole region by default."""
        return state.resolve_scope(
            self.database, as_of=day, region=None if account_id else region, account_id=account_id
        )

    def ensure(self, day: date = MONDAY, account_id: str | None = None, **settings: object) -> state.Prepared:
        """Create the day's runs."""
        scope, config = self.scope(day, account_id), self.config(**settings)
        return state.prepare(self.database, scope, config, ensure=True, data_ready=False)

    def ready(self, day: date = MONDAY, account_id: str | None = None, region: str = "US") -> state.Prepared:
        """Create the day's runs and mark them ready."""
        scope = self.scope(day, account_id, region)
        return state.prepare(self.database, scope, self.config(), ensure=True, data_ready=True)

    def advance(self, **settings: object) -> AdvanceSummary:
        """Run one tick."""
        return advance_all(self.database, self.config(**settings), self.database.sibling)

    def claim(self, *, batch: int = 10, ttl: int = 300, owner: str | None = None, **scope: object) -> tuple[Lease, ...]:
        """Claim runs as one more worker."""
        with self.database.transaction() as connection:
            return claim_batch(connection, owner=owner or f"worker-{next(self._owners)}", ttl=ttl, batch=batch, **scope)

    def run(self, account_id: str = "ACC-1", day: date = MONDAY) -> EngineRun:
        """Return an account's engine run of a day."""
        with self.database.transaction() as connection:
            (engine_run,) = (run for run in list_runs(connection, as_of=day) if run.account_id == account_id)
        return engine_run

    def phases(self) -> dict[tuple[str, date], str]:
        """Return the phase of every run."""
        rows = self.sql("SELECT account_id, as_of_date, phase FROM engine_runs")
        return {(row.account_id, row.as_of_date): row.phase for row in rows}

    def kinds(self, account_id: str = "ACC-1", day: date = MONDAY) -> list[str]:
        """Return the kinds of a run's events, oldest first."""
        run_id = self.run(account_id, day).run_id
        rows = self.sql("SELECT kind FROM engine_run_events WHERE run_id = :run ORDER BY event_id", run=run_id)
        return [row.kind for row in rows]

    def alerts(self) -> list[tuple[str, str]]:
        """Return account and code of every alert."""
        return [tuple(row) for row in self.sql("SELECT account_id, code FROM alerts ORDER BY account_id, code")]

    def set_clock(self, offset: str) -> None:
        """Move the engine's clock, and nothing else, by an interval."""
        self.sql(
            "CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            f"'SELECT clock_timestamp() + interval ''{offset}'''"
        )

    def stop_clock(self) -> None:
        """Have the engine's clock stand still."""
        now = self.one("SELECT engine_now()")
        self.sql(
            "CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            f"$$SELECT timestamptz '{now}'$$"
        )

    def on_insert(self, table: str, body: str, condition: str = "true") -> None:
        """Have the database run a PL/pgSQL statement before each insert into a table; 'off' on the next call."""
        self.sql(
            f"CREATE OR REPLACE FUNCTION meddle_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {condition} THEN {body}; END IF; RETURN NEW; END $$"
        )
        self.sql(f"DROP TRIGGER IF EXISTS meddle ON {table}")
        self.sql(f"CREATE TRIGGER meddle BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION meddle_{table}()")

    def leave_alone(self, table: str) -> None:
        """Undo ``on_insert``."""
        self.sql(f"DROP TRIGGER meddle ON {table}")

    def dump(self, *, heartbeats: bool = False, events: bool = False) -> dict[str, list[str]]:
        """Return every row of every table as text.

        Args:
            heartbeats: Include the columns of engine_runs that a heartbeat may move.
            events: Include the history of runs.
        """
        rows = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        lines = {}
        for table in (row.tablename for row in rows):
            if table in _HISTORY and not events:
                continue
            removed = "".join(f" - '{name}'" for name in _HEARTBEAT_COLUMNS if not heartbeats)
            what = f"(to_jsonb({table}){removed})" if table == "engine_runs" else f"to_jsonb({table})"
            lines[table] = sorted(row.line for row in self.sql(f"SELECT {what}::text AS line FROM {table}"))
        return lines

    def invoke(self, *arguments: object, **environment: str) -> Result:
        """Run ``run_engine_state`` inside this process."""
        return CliRunner().invoke(
            run_engine_state.command,
            [str(argument) for argument in arguments],
            env={"PROMETHEUS_DATABASE_URL": self.url, **environment},
            catch_exceptions=False,
        )

    def command(self, *arguments: str, **environment: str) -> Result:
        """Run ``prometheus`` inside this process."""
        return CliRunner().invoke(
            main.main, list(arguments), env={"PROMETHEUS_DATABASE_URL": self.url, **environment}, catch_exceptions=False
        )

    def spawn(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """Start ``run_engine_state`` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "prometheus.scripts.run_engine_state", *(str(argument) for argument in arguments)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PROMETHEUS_DATABASE_URL": self.url, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class Heard:
    """Stands beside a batch: never stops it, and remembers how each of its runs ended."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def begin(self, lease: Lease) -> None:
        """Hear nothing of it."""

    def check(self, lease: Lease) -> None:
        """Let it go on."""

    def must_stop(self) -> bool:
        """Never end the process."""
        return False

    def spent(self) -> bool:
        """Never run out of time."""
        return False

    def ended(self, lease: Lease, outcome: Outcome, reason: str) -> None:  # noqa: ARG002 -- the signature of a watch
        """Remember how it ended."""
        self.outcomes.append(outcome)


@contextmanager
def killed_at_exit(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Make sure that a process is gone at the end."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
