"""A real day of the fleet: accounts a second, CPU an account outside the solver, and the same with many copies.

    python -m bench.engine_fleet_day --data ../shared/data [--copies 1 10 50] [--rounds 3] [--first-day]

Loads market and fleet once into a durable embedded server, opens the books as of the session before (with
``--first-day`` the day itself opens them), then runs the day on copies of that database: in one
process, with 1 and with 2 workers. What a call costs once (imports, connections, recurring work, the inputs that the
accounts of a day share) and what each account costs are told apart: the second is the CPU used after the first claim,
day inputs taken off. CPU of the server's processes is a line of its own. What an account's CPU is spent on is measured
in one process, around the functions named in the table, with the statements sent; its heap is frozen first, as the pool
freezes it before it forks its workers. With ``--copies n`` every account is
there n times (2 workers, one round); time, the largest resident memory of a worker, the growth of the database and what
an account costs beyond those of the first ``n`` are printed, and each database is removed before the next is made.
"""

import argparse
import gc
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psycopg
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from sqlalchemy import text

from bench.engine_server import Bench, durable_server, settle
from bench.server_load import server_cpu_seconds
from prometheus.bookkeeping.ledger import open_books
from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.optimizer.backends.base import backend_named
from prometheus.orchestration import worker
from prometheus.orchestration.advance_all import advance_all
from prometheus.orchestration.worker_pool import WorkerPool
from prometheus.pipeline import advance, tasks
from prometheus.pipeline.advance import Outcome
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.shared_inputs import SharedInputs

_COLUMNS = text("""
    SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = :table
    ORDER BY ordinal_position
""")
#: Columns that name an account or what belongs to it: each copy has its own.
_NAMES = ("account_id", "household")
#: Functions of the pipeline whose CPU is told apart: where they are called from, and under which name.
_PARTS = {
    "solver": (tasks, "solve_day"),
    "claim": (worker, "claim_batch"),
    "read account": (tasks, "read_account"),
    "build snapshot": (tasks, "build_snapshot"),
    "build problem": (tasks, "day_problem"),
    "settle by lots": (tasks, "settle"),
    "commit": (advance, "_commit_together"),
}
#: What is read once for a day, whoever asks first.
_SHARED = ("day", "benchmark", "weights", "array", "actions")


def main():
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="Folder with market/ and fleet/.")
    parser.add_argument("--as-of", default="2018-06-01")
    parser.add_argument("--copies", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3, help="Rounds of the day without copies; others have one.")
    parser.add_argument("--first-day", action="store_true", help="The day opens the books of every account.")
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.url:
        print(json.dumps(one_day(chosen.url, chosen.workers)))
        return
    if chosen.data is None:
        parser.error("--data says where market/ and fleet/ are.")
    with durable_server() as bench:
        loaded = load(bench, chosen)
        smaller = None
        for copies in chosen.copies:
            prepared = fleet_of(bench, loaded, copies, chosen.as_of, first=chosen.first_day)
            for workers in (0, 1, 2) if copies == 1 else (2,):
                rounds = chosen.rounds if copies == 1 else 1
                # Only a fleet of many copies, whose one day is measured once, may be used up.
                rounds_done = [
                    in_a_process_of_its_own(bench, prepared, workers, keep=copies == 1) for _ in range(rounds)
                ]
                show(copies, workers, rounds_done)
                if workers == 2:
                    smaller = compare(smaller, rounds_done[-1])
            drop(bench, prepared)


def load(bench: Bench, chosen: argparse.Namespace) -> str:
    """Load market, fleet and the day's risk model as an operator would; return the database's name."""
    url = bench.empty()
    database = Database(url)
    upgrade_database(database)
    database.close()
    for arguments in (
        ["ingest", str(chosen.data / "market")],
        ["ingest", str(chosen.data / "fleet")],
        ["risk", "refresh", "--as-of", chosen.as_of],
    ):
        command("prometheus.scripts.main", arguments, url)
    return name_of(url)


def command(module: str, arguments: list[str], url: str) -> None:
    """Run one of the package's commands on a database."""
    subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def fleet_of(bench: Bench, loaded: str, copies: int, as_of: str, *, first: bool) -> str:
    """Return the name of a database with every account so many times, its day ready to be worked on.

    Books are open as of the session before, unless the day is their first.
    """
    day = date.fromisoformat(as_of)
    url = bench.copied(loaded)
    database = Database(url)
    with database.transaction() as connection:
        for table in ("accounts", "opening_lots"):
            columns = connection.execute(_COLUMNS, {"table": table}).scalars().all()
            copied = ", ".join(f"{name} || '-' || n" if name in _NAMES else name for name in columns)
            connection.execute(
                text(
                    f"INSERT INTO {table} ({', '.join(columns)}) "
                    f"SELECT {copied} FROM {table}, generate_series(2, :copies) AS n"
                ),
                {"copies": copies},
            )
        if not first:
            accounts = [account.account_id for account in accounts_of(connection)]
            open_books(connection, accounts, TradingCalendar.for_region("US").previous_trading_day(day))
    for region in ("US", "CA"):
        command(
            "prometheus.scripts.run_engine_state",
            ["--as-of", as_of, "--region", region, "--ensure", "--data-ready"],
            url,
        )
    settle(database)
    database.close()
    return name_of(url)


def in_a_process_of_its_own(bench: Bench, prepared: str, workers: int, *, keep: bool) -> dict[str, float]:
    """Run the day, on a copy of the prepared database where that is to be kept; return what was measured."""
    url = bench.copied(prepared) if keep else bench.server.url(prepared)
    data = bench.server.home / "data"
    before = server_cpu_seconds(data)
    done = subprocess.run(
        [sys.executable, "-m", "bench.engine_fleet_day", "--url", url, "--workers", str(workers)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured_day = json.loads(done.stdout.splitlines()[-1])
    measured_day["server_ms"] = 1000 * (server_cpu_seconds(data) - before) / measured_day["accounts"]
    if keep:
        drop(bench, name_of(url))
    return measured_day


def drop(bench: Bench, name: str) -> None:
    """Remove a database."""
    with bench.admin() as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def one_day(url: str, workers: int) -> dict[str, float]:
    """Run every account's day once and measure."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    database = Database(url)
    backend_named("CLARABEL")
    imported = cpu_seconds()
    spent = dict.fromkeys((*_PARTS, "shared"), 0.0)
    counted = {"statements": 0}
    if workers == 0:
        for name, (module, function) in _PARTS.items():
            setattr(module, function, timed(getattr(module, function), name, spent))
        for function in _SHARED:
            setattr(SharedInputs, function, timed(getattr(SharedInputs, function), "shared", spent))
        for function in ("execute", "executemany", "copy"):
            setattr(psycopg.Cursor, function, told(getattr(psycopg.Cursor, function), counted))
        gc.collect()
        gc.freeze()
    began = {}
    for owner, function in ((worker, "work"), (WorkerPool, "run")):
        setattr(owner, function, noted(getattr(owner, function), began))
    size = database_size(database)
    counted["statements"] = 0
    cpu, started = cpu_seconds(), time.perf_counter()
    with progress_of(database) as advanced:
        summary = advance_all(
            database, EngineConfig(owner="bench:1:a"), database.sibling, workers=workers, on_outcome=advanced
        )
    took, used = time.perf_counter() - started, cpu_seconds() - cpu
    accounts = summary.outcomes[Outcome.PERSISTED]
    assert accounts == sum(summary.outcomes.values()), summary
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    once = began["cpu"] - cpu + spent["shared"]
    measured_day = {
        "accounts": accounts,
        "seconds": took,
        "imports_ms": 1000 * imported,
        "once_ms": 1000 * once,
        "cpu_ms": 1000 * (used - once) / accounts,
        "memory_mib": (children or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024,
        "grown_kib": (database_size(database) - size) / 1024 / accounts,
        "size_mib": database_size(database) / 1024**2,
    }
    if workers == 0:
        measured_day |= {name: 1000 * seconds / accounts for name, seconds in spent.items()}
        measured_day["statements"] = counted["statements"] / accounts
    database.close()
    return measured_day


class progress_of:  # noqa: N801 -- used like the context managers of the standard library
    """Show how many runs have ended, where somebody looks."""

    def __init__(self, database: Database) -> None:
        with database.transaction() as connection:
            runs = connection.execute(text("SELECT count(*) FROM engine_runs WHERE phase = 'DATA_READY'")).scalar_one()
        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._shown = console.is_terminal
        self._task = self._bar.add_task("runs", total=runs)
        self._ended, self._runs = 0, runs

    def __enter__(self):
        if self._shown:
            self._bar.start()
        return self._advanced

    def __exit__(self, *_):
        self._bar.stop()

    def _advanced(self, *_):
        # No thread draws: a process that forks workers has one, and drawing is no part of the measurement.
        self._ended += 1
        if self._shown and self._ended % 20 == 0:
            self._bar.update(self._task, completed=self._ended, refresh=True)
        elif not self._shown and self._ended % 500 == 0:
            print(f"{self._ended} of {self._runs} runs", file=sys.stderr, flush=True)


def timed(function, name, spent):
    """Return the function with its CPU seconds added up, without what it spends in a function timed as shared."""

    def measured(*arguments, **named):
        before, shared = time.process_time(), spent["shared"]
        try:
            return function(*arguments, **named)
        finally:
            inside = spent["shared"] - shared
            spent[name] += time.process_time() - before - inside

    return measured


def told(function, counted):
    """Return the function with its calls counted."""

    def counting(*arguments, **named):
        counted["statements"] += 1
        return function(*arguments, **named)

    return counting


def noted(function, began):
    """Return the function with the CPU used before its first call noted down."""

    def noting(*arguments, **named):
        began.setdefault("cpu", cpu_seconds())
        return function(*arguments, **named)

    return noting


def cpu_seconds() -> float:
    """Return the CPU this process and its ended children have used."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def database_size(database: Database) -> int:
    """Return the bytes of the database."""
    with database.transaction() as connection:
        return connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()


def name_of(url: str) -> str:
    """Return the name of the database that a URL names."""
    return url.rsplit("/", 1)[1].partition("?")[0]


def show(copies: int, workers: int, rounds: list[dict[str, float]]) -> None:
    """Print medians, and the load under which they were measured."""
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    where = f"{workers} worker(s)" if workers else "one process"
    print(
        f"{median['accounts']:6.0f} accounts ({copies} of each), {where}: {median['seconds']:.2f} s, "
        f"{median['accounts'] / median['seconds']:.1f} accounts a second, {median['memory_mib']:.0f} MiB, "
        f"database {median['size_mib']:.0f} MiB, +{median['grown_kib']:.0f} KiB an account; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    print(
        f"       CPU: imports {median['imports_ms']:.0f} ms, start and day inputs {median['once_ms']:.0f} ms once; "
        f"{median['cpu_ms']:.1f} ms an account, and {median['server_ms']:.1f} ms of the server"
    )
    if "solver" in median:
        rest = median["cpu_ms"] - sum(median[name] for name in _PARTS)
        parts = ", ".join(f"{name} {median[name]:.1f}" for name in _PARTS)
        outside = median["cpu_ms"] - median["solver"]
        least = min(one["cpu_ms"] - one["solver"] for one in rounds)
        print(f"       of that: {parts}, the rest {rest:.1f}; {median['statements']:.1f} statements an account")
        print(f"       outside the solver {outside:.1f} ms an account, at least {least:.1f}", flush=True)


def compare(smaller: dict[str, float] | None, larger: dict[str, float]) -> dict[str, float]:
    """Print what one more account costs between two sizes of the fleet."""
    if smaller is not None and larger["accounts"] > smaller["accounts"]:
        more = larger["accounts"] - smaller["accounts"]
        print(
            f"       {more:.0f} accounts more: {1000 * (larger['seconds'] - smaller['seconds']) / more:.1f} ms each, "
            f"{1024 * (larger['memory_mib'] - smaller['memory_mib']) / more:.1f} KiB of a worker's memory each",
            flush=True,
        )
    return larger


if __name__ == "__main__":
    main()
