"""Where a run's predicted tracking error comes from: market, other factors, links between names, the names alone."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem

FloatArray = NDArray[np.float64]

#: Parts in the order in which they are told.
PARTS: Final = ("market", "other_factors", "linked", "specific")


def split_tracking_error(problem: RebalanceProblem, weights: FloatArray) -> dict[str, float]:
    """Return what each part of the risk model adds to the predicted tracking error; the parts sum to it.

    The first factor is the market; covariances of it with other factors count with those. A part is its share of the
    variance times the whole tracking error, so links that hedge each other may take some away.

    Args:
        problem: The day's problem.
        weights: (N,) portfolio weights.

    Returns:
        By the names of ``PARTS``, annualised fractions of NAV; all zero where the benchmark is tracked exactly.
    """
    active = problem.active(weights)
    exposures = np.einsum("ik,i->k", problem.loadings, active)
    factors = float(exposures @ problem.factor_covariance @ exposures)
    market = float(problem.factor_covariance[0, 0] * exposures[0] ** 2) if exposures.size else 0.0
    specific = float((problem.specific_variance * active**2).sum())
    linked = 0.0
    for block in problem.specific_blocks:
        of_block = active[block.names]
        own = float((np.diag(block.covariance) * of_block**2).sum())
        linked += float(of_block @ block.covariance @ of_block) - own
    variances = dict(zip(PARTS, (market, factors - market, linked, specific), strict=True))
    whole = sum(variances.values())
    return {name: part / math.sqrt(whole) if whole > 0 else 0.0 for name, part in variances.items()}
