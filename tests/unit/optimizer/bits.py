"""The bits of one answer with limits on, wherever and beside whatever it is computed."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from prometheus.optimizer import rebalance
from tests.unit.optimizer.limits import binding
from tests.unit.optimizer.problems import random_problem

_REPOSITORY = Path(__file__).parents[3]
_BUSY_THREADS = 2
_LIMITS = ("tracking error", "sectors", "turnover")


def bits_of(backend: str) -> str:
    """Return the digest of every number of an answer but its times."""
    problem = random_problem(24, names=50, factors=6, lot_method="FIFO", fractional=True)
    digest = hashlib.sha256()
    for one in (problem, binding(problem, _LIMITS, 0.2, 24)):
        result = rebalance(one, backend=backend)
        for part in (result.trades, result.shares, result.lot_shares_sold, result.rounded_weights):
            digest.update(part.tobytes())
        digest.update(repr((result.certificate, result.terms, result.explanations)).encode())
    return digest.hexdigest()


def bits_in_processes(backend: str) -> set[str]:
    """Return the digests of two other processes, one of them with four linear-algebra threads."""
    program = f"from tests.unit.optimizer.bits import bits_of; print(bits_of({backend!r}))"
    found = set()
    for threads in ("1", "4"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=_REPOSITORY,
            env={**environment, "PYTHONPATH": str(_REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout.strip())
    return found


def while_threads_are_busy(call: Callable[[], str]) -> str:
    """Return what a function returns while other threads multiply matrices and solve the same problems."""
    done = threading.Event()

    def work(seed: int) -> None:
        matrix = np.random.default_rng(seed).normal(size=(120, 120))
        while not done.is_set():
            matrix = matrix @ matrix / np.linalg.norm(matrix)
            rebalance(random_problem(seed, names=20))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(_BUSY_THREADS)]
    for thread in threads:
        thread.start()
    try:
        return call()
    finally:
        done.set()
        for thread in threads:
            thread.join()
