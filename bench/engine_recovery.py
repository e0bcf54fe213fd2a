"""How long a killed worker's run waits, as a function of the lease; and how long a claim takes among rivals.

    python -m bench.engine_recovery [--leases 1 2 5 10] [--rounds 5] [--claimers 8] [--runs 2000]

On an embedded server with durable settings. A process claims one run and is killed with SIGKILL somewhere between two
of its heartbeats; a rival asks for work every tenth of a second. Claim latency is that of ``claim_batch`` with its
transaction, one run at a time, in so many processes at once.
"""

import argparse
import multiprocessing
import os
import signal
import statistics
import time

import numpy as np

from bench.engine_server import Bench, durable_server
from prometheus.db.claims import claim_batch
from prometheus.db.database import Database
from prometheus.domain.phases import Phase
from prometheus.pipeline.lease_keeper import LeaseKeeper

_ASK_SECONDS = 0.1
_SPAWN = multiprocessing.get_context("spawn")


def main():
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leases", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--claimers", type=int, default=8)
    parser.add_argument("--runs", type=int, default=2000)
    chosen = parser.parse_args()
    with durable_server() as bench:
        for lease in chosen.leases:
            waits = [recovery(bench, lease, seed) for seed in range(chosen.rounds)]
            print(
                f"lease {lease:3} s: taken over {statistics.median(waits):.2f} s after SIGKILL "
                f"(least {min(waits):.2f}, most {max(waits):.2f})"
            )
        claims(bench, chosen.claimers, chosen.runs)


def recovery(bench: Bench, lease: int, seed: int) -> float:
    """Return the seconds from the death of a worker to the claim of its run by another."""
    database = bench.fleet(1, Phase.DATA_READY)
    ours, theirs = _SPAWN.Pipe()
    worker = _SPAWN.Process(target=hold, args=(database._full_url, lease, theirs))  # noqa: SLF001 -- a bench looks inside
    worker.start()
    ours.recv()
    time.sleep(lease / 2 + np.random.default_rng(seed).uniform(0, lease / 4))
    os.kill(worker.pid, signal.SIGKILL)
    died = time.perf_counter()
    while not claim(database, lease, "rival:1"):
        time.sleep(_ASK_SECONDS)
    took = time.perf_counter() - died
    worker.join()
    database.close()
    return took


def hold(url: str, lease: int, told) -> None:
    """Claim a run and keep its lease until killed."""
    database = Database(url)
    leases = claim(database, lease, "victim:1")
    with LeaseKeeper(database.sibling, lease) as keeper:
        keeper.hold(leases)
        told.send(len(leases))
        time.sleep(3600)


def claim(database: Database, lease: int, owner: str):
    """Claim one run."""
    with database.transaction() as connection:
        return claim_batch(connection, owner=owner, ttl=lease, batch=1)


def claims(bench: Bench, claimers: int, runs: int) -> None:
    """Have processes claim every run, one at a time, and print what a claim takes."""
    database = bench.fleet(runs, Phase.DATA_READY)
    with _SPAWN.Pool(claimers) as pool:
        latencies_of = pool.starmap(claim_all, [(database._full_url, n) for n in range(claimers)])  # noqa: SLF001 -- a bench looks inside
    database.close()
    latencies = 1000 * np.concatenate([np.array(one) for one in latencies_of])
    assert len(latencies) == runs, "each run is claimed once"
    middle, late = np.percentile(latencies, [50, 99])
    print(f"{claimers} workers, {runs} claims of one run: p50 {middle:.1f} ms, p99 {late:.1f} ms")


def claim_all(url: str, number: int) -> list[float]:
    """Claim until nothing is left; return the seconds of each claim that found a run."""
    database, taken = Database(url), []
    while True:
        started = time.perf_counter()
        if not claim(database, 300, f"claimer:{number}"):
            database.close()
            return taken
        taken.append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
