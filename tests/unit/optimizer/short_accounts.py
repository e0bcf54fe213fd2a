"""Accounts that may go short: bounds below zero, a borrow rate for most assets, sums of longs and of shorts."""

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from tests.unit.optimizer.problems import changed


def extended(problem: RebalanceProblem, long_max: float = 1.3, seed: int = 0, *, depth: float = 0.02):
    """Return the problem with a long/short extension.

    Args:
        problem: A long-only problem.
        long_max: Largest sum of longs; shorts may add up to this minus one.
        seed: Of the borrow rates and of a reward that makes some assets worth selling short.
        depth: Largest short position of an asset.
    """
    random = np.random.default_rng(seed)
    rate = np.where(random.random(problem.size) < 0.2, np.inf, random.uniform(0.001, 0.03, problem.size))
    return changed(
        problem,
        lower=np.minimum(problem.lower, -depth),
        tilt=random.normal(0, 0.03, problem.size),
        borrow_rate=rate,
        short_max=long_max - 1,
        long_max=long_max,
    )
