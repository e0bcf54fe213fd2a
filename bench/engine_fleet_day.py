"""A real day of the fleet: accounts a second, CPU an account outside the solver, and the same with many copies.

    python -m bench.engine_fleet_day --data ../shared/data [--copies 1 50] [--rounds 3]

Loads market and fleet once into a durable embedded server, then runs the day on copies of that database: in one
process, with 1 and with 2 workers. CPU is that of the engine's processes, without the server's. What it is spent on is
measured in one process, around the functions named in the table. With ``--copies n`` every account is there n times;
time, the largest resident memory of a worker and the growth of the database are printed for each.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import text

from bench.engine_server import Bench, durable_server, settle
from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.orchestration.advance_all import advance_all
from prometheus.pipeline import advance, tasks
from prometheus.pipeline.advance import Outcome
from prometheus.pipeline.engine_config import EngineConfig

_COPY = """
    INSERT INTO {table}
    SELECT (jsonb_populate_record(old, jsonb_build_object('account_id', old.account_id || '-' || n))).*
    FROM {table} AS old, generate_series(2, :copies) AS n
"""
#: Functions of the pipeline whose CPU is told apart: where they are called from, and under which name.
_PARTS = {
    "solver": (tasks, "solve"),
    "read account": (tasks, "_load_account"),
    "build snapshot": (tasks, "build_snapshot"),
    "build problem": (tasks, "build_problem"),
    "settle by lots": (tasks, "settle"),
    "commit": (advance, "_commit_together"),
}


def main():
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="Folder with market/ and fleet/.")
    parser.add_argument("--as-of", default="2018-06-01")
    parser.add_argument("--copies", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
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
        for copies in chosen.copies:
            prepared = fleet_of(bench, loaded, copies, chosen.as_of)
            for workers in (0, 1, 2) if copies == 1 else (2,):
                show(copies, workers, [in_a_process_of_its_own(bench, prepared, workers) for _ in range(chosen.rounds)])


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


def fleet_of(bench: Bench, loaded: str, copies: int, as_of: str) -> str:
    """Return the name of a database with every account so many times, its day ready to be worked on."""
    url = bench.copied(loaded)
    database = Database(url)
    with database.transaction() as connection:
        for table in ("accounts", "tax_lots"):
            connection.execute(text(_COPY.format(table=table)), {"copies": copies})
    for region in ("US", "CA"):
        command(
            "prometheus.scripts.run_engine_state",
            ["--as-of", as_of, "--region", region, "--ensure", "--data-ready"],
            url,
        )
    settle(database)
    database.close()
    return name_of(url)


def in_a_process_of_its_own(bench: Bench, prepared: str, workers: int) -> dict[str, float]:
    """Run the day on a copy of the prepared database, and return what its process measured."""
    url = bench.copied(prepared)
    done = subprocess.run(
        [sys.executable, "-m", "bench.engine_fleet_day", "--url", url, "--workers", str(workers)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    with bench.admin() as admin:
        admin.execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")
    return json.loads(done.stdout.splitlines()[-1])


def one_day(url: str, workers: int) -> dict[str, float]:
    """Run every account's day once and measure."""
    database = Database(url)
    spent = dict.fromkeys(_PARTS, 0.0)
    if workers == 0:
        for name, (module, function) in _PARTS.items():
            setattr(module, function, timed(getattr(module, function), name, spent))
    size = database_size(database)
    cpu, started = cpu_seconds(), time.perf_counter()
    summary = advance_all(database, EngineConfig(owner="bench:1:a"), database.sibling, workers=workers)
    took, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    accounts = summary.outcomes[Outcome.PERSISTED]
    assert accounts == sum(summary.outcomes.values()), summary
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    found = {
        "accounts": accounts,
        "seconds": took,
        "cpu_ms": 1000 * cpu / accounts,
        "memory_mib": (children or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024,
        "grown_kib": (database_size(database) - size) / 1024 / accounts,
    }
    if workers == 0:
        found |= {name: 1000 * seconds / accounts for name, seconds in spent.items()}
    database.close()
    return found


def timed(function, name, spent):
    """Return the function with its CPU seconds added up."""

    def measured(*arguments, **named):
        before = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] += time.process_time() - before

    return measured


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
    """Print medians."""
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    where = f"{workers} worker(s)" if workers else "one process"
    print(
        f"{median['accounts']:6.0f} accounts ({copies} of each), {where}: {median['seconds']:.2f} s, "
        f"{median['accounts'] / median['seconds']:.1f} accounts a second, {median['cpu_ms']:.0f} ms of CPU an account, "
        f"{median['memory_mib']:.0f} MiB, database +{median['grown_kib']:.0f} KiB an account"
    )
    if "solver" in median:
        rest = median["cpu_ms"] - sum(median[name] for name in _PARTS)
        parts = ", ".join(f"{name} {median[name]:.1f}" for name in _PARTS)
        outside = median["cpu_ms"] - median["solver"]
        print(f"       of that: {parts}, the rest {rest:.1f}; outside the solver {outside:.1f}")


if __name__ == "__main__":
    main()
