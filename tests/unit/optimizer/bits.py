"""The bits of answers, wherever and beside whatever they are computed."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from prometheus.optimizer import rebalance
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from prometheus.optimizer.search.two_stage import TwoStageSearch
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import random_problem

_REPOSITORY = Path(__file__).parents[3]
_BUSY_THREADS = 2
_LIMITS = ("tracking error", "sectors", "turnover")
_PRINT = """
import json
from tests.unit.optimizer.bits import busy_threads, digests
with busy_threads():
    print(json.dumps(digests()))
"""


def digests() -> dict[str, str]:
    """Return the digest of every number but the times of each kind of answer, by the kind's name."""
    plain = random_problem(24, names=50, factors=6, lot_method="FIFO", fractional=True)
    crowded = binding(random_problem(3, names=40, lot_method="FIFO"), KINDS, 0.02, 3)
    dense = linked(random_problem(24, names=260, fractional=True), 1)
    blocks = linked(random_problem(24, names=150, fractional=True), 5)
    by_kind = {}
    for backend in ("CLARABEL", "STRUCTURED"):
        by_kind[f"{backend}, no limits"] = _of_answer(plain, backend)
        by_kind[f"{backend}, some limits"] = _of_answer(binding(plain, _LIMITS, 0.2, 24), backend)
        by_kind[f"{backend}, every limit"] = _of_answer(crowded, backend)
        by_kind[f"{backend}, one block of links"] = _of_answer(dense, backend)
        by_kind[f"{backend}, five blocks of links"] = _of_answer(blocks, backend)
    by_kind["many factors"] = _of_search(random_problem(24, names=300, factors=60, lots_a_name=6))
    (links,) = factor_risk(linked(random_problem(1, names=300), 1)).links
    by_kind["dense root"] = hashlib.sha256(links.root.tobytes()).hexdigest()
    return by_kind


def _of_answer(problem: RebalanceProblem, backend: str = "STRUCTURED") -> str:
    result = rebalance(problem, backend=backend)
    digest = hashlib.sha256()
    for part in (result.trades, result.shares, result.lot_shares_sold, result.rounded_weights):
        digest.update(part.tobytes())
    digest.update(repr((result.certificate, result.terms, result.explanations)).encode())
    return digest.hexdigest()


def _of_search(problem: RebalanceProblem) -> str:
    whole = lagrangian_of(problem)
    answer = TwoStageSearch(whole, backend_named("STRUCTURED"), 1e-9).run()
    assert not answer.solution.fallback
    return hashlib.sha256(answer.trades.tobytes() + repr(answer.lower_bound).encode()).hexdigest()


def digests_in_a_process(threads: int) -> dict[str, str]:
    """Return the digests of another process with so many linear-algebra threads and busy threads of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _PRINT],
        cwd=_REPOSITORY,
        env={
            **os.environ,
            "OPENBLAS_NUM_THREADS": str(threads),
            "RAYON_NUM_THREADS": str(threads),
            "PYTHONPATH": str(_REPOSITORY),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    by_kind: dict[str, str] = json.loads(done.stdout)
    return by_kind


@contextmanager
def busy_threads() -> Iterator[None]:
    """Let other threads multiply matrices and solve problems meanwhile."""
    done = threading.Event()

    def work(seed: int) -> None:
        matrix = np.random.default_rng(seed).normal(size=(120, 120))
        while not done.is_set():
            product = matrix @ matrix
            matrix = product / np.linalg.norm(product)
            rebalance(random_problem(seed, names=20))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(_BUSY_THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
