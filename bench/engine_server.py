"""What the engine's benchmarks share: a durable server of their own, fleets of empty accounts, phases without work."""

import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
import structlog
from sqlalchemy import text

from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.domain.phases import Phase
from prometheus.orchestration.due_tasks import DUE_TASKS
from prometheus.pipeline import tasks
from prometheus.pipeline.tasks import PhaseWork

DAY = date(2018, 6, 1)
_ACCOUNTS = text("""
    INSERT INTO accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, st_rate,
                          lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags)
    SELECT 'A-' || n, 'A', 'US', 'USD', 'US', 'HIFO', 'BM', 0, 0, 0, 0, 0, false, '{}' FROM generate_series(1, :n) AS n
""")
_RUNS = text("""
    INSERT INTO engine_runs (as_of_date, account_id, region, phase, code_version)
    SELECT :day, account_id, region, :phase, 'bench' FROM accounts
""")
#: So that no tick of a benchmark spends its time on recurring work.
_NOTHING_DUE = text("""
    INSERT INTO due_tasks (name, next_due_at)
    SELECT name, engine_now() + interval '30 days' FROM unnest(CAST(:names AS text[])) AS name
    ON CONFLICT (name) DO UPDATE SET next_due_at = excluded.next_due_at
""")


class Bench:
    """A running server and databases on it."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server

    def admin(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Return a superuser's connection."""
        return psycopg.connect(host=str(self.server.socket_dir), user="postgres", dbname="postgres", autocommit=True)

    def empty(self) -> str:
        """Create an empty database and return its URL."""
        name = f"bench_{uuid.uuid4().hex[:8]}"
        with self.admin() as admin:
            admin.execute(f"CREATE DATABASE {name} OWNER prometheus")
        return self.server.url(name)

    def copied(self, template: str) -> str:
        """Create a copy of a database that nobody uses and return its URL."""
        name = f"bench_{uuid.uuid4().hex[:8]}"
        with self.admin() as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER prometheus")
        return self.server.url(name)

    def fleet(self, accounts: int, phase: Phase) -> Database:
        """Return a migrated database with so many empty accounts, each with a run in a phase."""
        database = Database(self.empty())
        upgrade_database(database)
        with database.transaction() as connection:
            connection.execute(_ACCOUNTS, {"n": accounts})
            connection.execute(_RUNS, {"day": DAY, "phase": phase.value})
        settle(database)
        return database


def settle(database: Database) -> None:
    """Put recurring work off and let the planner know the tables."""
    with database.transaction() as connection:
        connection.execute(_NOTHING_DUE, {"names": sorted(DUE_TASKS)})
    with database.autocommit() as connection:
        connection.execute(text("VACUUM ANALYZE"))


@contextmanager
def durable_server() -> Iterator[Bench]:
    """Run an embedded server with its normal, durable settings in a temporary home that is removed."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    home = Path(tempfile.gettempdir()) / f"prometheus-bench-{uuid.uuid4().hex[:12]}"
    try:
        server = EmbeddedServer(home, linger_seconds=0)
        server.ensure_running()
        yield Bench(server)
    finally:
        release(home)
        for _ in range(100):
            if not (home / "data" / "postmaster.pid").exists():
                break
            time.sleep(0.1)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def phases_without_work() -> Iterator[None]:
    """Replace the work of every phase by nothing; its fenced transition and event stay."""
    real = dict(tasks.TASKS)
    following = {
        Phase.DATA_READY: Phase.SNAPSHOT_BUILT,
        Phase.SNAPSHOT_BUILT: Phase.SOLVED,
        Phase.SOLVED: Phase.PERSISTED,
    }
    for phase, reached in following.items():
        work = PhaseWork(reached)
        tasks.TASKS[phase] = lambda _, __, work=work: work
    try:
        yield
    finally:
        tasks.TASKS.update(real)
