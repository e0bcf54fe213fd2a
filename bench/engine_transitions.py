"""Fenced transitions a second beside procrastinate's jobs and DBOS's steps, and an idle tick.

    python bench/engine_transitions.py [--runs 2000] [--waiting 10000] [--rounds 3]

All of it on one embedded server with durable settings, in one run. The engine takes every run through its three
phases with the work of each replaced by nothing: claim, fence, transition, event and heartbeat stay. procrastinate
works off as many no-op jobs (one worker, concurrency 10), DBOS as many no-op steps (workflows of 100 steps on two
threads), each with its own defaults.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import event

from bench.engine_server import Bench, durable_server, phases_without_work
from prometheus.domain.phases import Phase
from prometheus.orchestration.advance_all import advance_all
from prometheus.pipeline.engine_config import EngineConfig

PHASES = 3
DBOS_CHUNK = 100


def main():
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peer:
        print({"procrastinate": procrastinate_jobs, "dbos": dbos_steps}[chosen.peer](chosen.url, chosen.runs * PHASES))
        return
    with durable_server() as bench:
        for waiting in (chosen.waiting // 100, chosen.waiting):
            milliseconds, queries = idle_tick(bench, waiting)
            print(f"{waiting:6} WAITING runs, nothing to do: {milliseconds:.1f} ms, {queries} statements")
        rates = {name: [] for name in ("1 worker", "2 workers", "procrastinate", "dbos")}
        for _ in range(chosen.rounds):
            rates["1 worker"].append(transitions(bench, chosen.runs, 1))
            rates["2 workers"].append(transitions(bench, chosen.runs, 2))
            for peer in ("procrastinate", "dbos"):
                rates[peer].append(in_a_process_of_its_own(peer, bench.empty(), chosen.runs))
        medians = {name: statistics.median(of_peer) for name, of_peer in rates.items()}
        best = max(medians["procrastinate"], medians["dbos"])
        for name, rate in medians.items():
            rounds = ", ".join(f"{rate:.0f}" for rate in rates[name])
            print(f"{name:14} {rate:7.0f} a second   {rate / best:5.2f} of the better peer   rounds: {rounds}")


def idle_tick(bench: Bench, waiting: int) -> tuple[float, int]:
    """Return milliseconds and number of statements of a tick over runs that all wait for data."""
    database = bench.fleet(waiting, Phase.WAITING_FOR_DATA)
    config = EngineConfig(owner="bench:1:a")
    advance_all(database, config, database.sibling)
    statements = []
    event.listen(database._engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))  # noqa: SLF001 -- a bench looks inside
    started = time.perf_counter()
    advance_all(database, config, database.sibling, workers=2)
    took = time.perf_counter() - started
    database.close()
    return took * 1000, len(statements)


def transitions(bench: Bench, runs: int, workers: int) -> float:
    """Return fenced transitions a second of one advance_all, its forks included."""
    database = bench.fleet(runs, Phase.DATA_READY)
    with phases_without_work():
        started = time.perf_counter()
        summary = advance_all(database, EngineConfig(owner="bench:1:a"), database.sibling, workers=workers)
        took = time.perf_counter() - started
    assert sum(summary.outcomes.values()) == runs, summary
    database.close()
    return PHASES * runs / took


def in_a_process_of_its_own(peer: str, url: str, runs: int) -> float:
    """Return a peer's rate, measured by itself around its work alone."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.engine_transitions", "--peer", peer, "--url", url, "--runs", str(runs)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return float(done.stdout.strip().splitlines()[-1])


def procrastinate_jobs(url: str, jobs: int) -> float:
    """Return procrastinate's jobs a second."""
    import procrastinate  # noqa: PLC0415 -- only its own process has it

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url.replace("+psycopg", "")))

    @app.task(name="nothing")
    async def nothing(n):
        return n

    async def run():
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await nothing.batch_defer_async(*({"n": n} for n in range(jobs)))
            started = time.perf_counter()
            await app.run_worker_async(wait=False, concurrency=10, install_signal_handlers=False, listen_notify=False)
            return jobs / (time.perf_counter() - started)

    return asyncio.run(run())


def dbos_steps(url: str, steps: int) -> float:
    """Return DBOS's steps a second."""
    from dbos import DBOS  # noqa: PLC0415 -- only its own process has it

    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})

    @DBOS.step()
    def nothing(n):
        return n

    @DBOS.workflow()
    def chunk(count):
        for n in range(count):
            nothing(n)

    DBOS.launch()
    chunk(1)
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(chunk, [DBOS_CHUNK] * (steps // DBOS_CHUNK)))
    rate = steps // DBOS_CHUNK * DBOS_CHUNK / (time.perf_counter() - started)
    DBOS.destroy()
    return rate


if __name__ == "__main__":
    main()
