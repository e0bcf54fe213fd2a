"""Portfolios that an optimizer picks: least tracking error on given assets, or on the assets left by a greedy cut.

Both hold no asset short and invest everything. With the held assets known the least tracking error is one linear
system; an active-set method finds which assets those are in a few systems.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

#: Weights and gradients below this are zero up to rounding.
_TOLERANCE: Final = 1e-10
#: Rounds of the active-set method for each asset; it needs a handful.
_ROUNDS_PER_ASSET: Final = 3


def least_tracking_error(sigma: FloatArray, benchmark: FloatArray, allowed: IndexArray) -> FloatArray:
    """Return the long-only weights on ``allowed`` with the least tracking error to the benchmark.

    Args:
        sigma: (n, n) covariance, positive definite.
        benchmark: (n,) weights, summing to one.
        allowed: Positions that may be held.

    Returns:
        (n,) weights, at least 0, summing to one, zero outside ``allowed``.
    """
    quadratic = sigma[np.ix_(allowed, allowed)]
    linear = sigma[allowed] @ benchmark
    held = np.ones(allowed.size, dtype=np.bool_)
    weights = np.zeros(allowed.size)
    scale = float(np.abs(linear).max())
    for _ in range(_ROUNDS_PER_ASSET * allowed.size):
        weights[:], price = _on(quadratic, linear, held)
        if (weights < -_TOLERANCE).any():
            held &= weights >= -_TOLERANCE
            continue
        # an asset left out is added again where one more unit of it would lower the variance
        gain = price - (quadratic @ weights - linear)
        gain[held] = 0.0
        at = int(gain.argmax())
        if gain[at] <= _TOLERANCE * scale:
            break
        held[at] = True
    full = np.zeros(benchmark.size)
    full[allowed] = np.maximum(weights, 0.0)
    full /= full.sum()
    return full


def greedy_cut(sigma: FloatArray, benchmark: FloatArray, count: int, universe: IndexArray) -> FloatArray:
    """Return long-only weights of at most ``count`` assets: solve, keep the larger half by weight, solve again.

    Args:
        sigma: (n, n) covariance, positive definite.
        benchmark: (n,) weights, summing to one.
        count: Most assets held, at least 1.
        universe: Positions that may be held, ascending.

    Returns:
        (n,) weights, at least 0, summing to one.
    """
    allowed = universe
    weights = least_tracking_error(sigma, benchmark, allowed)
    while allowed.size > count:
        kept = max(count, allowed.size // 2)
        allowed = np.sort(allowed[np.argsort(-weights[allowed], kind="stable")[:kept]])
        weights = least_tracking_error(sigma, benchmark, allowed)
    return weights


def _on(quadratic: FloatArray, linear: FloatArray, held: NDArray[np.bool_]) -> tuple[FloatArray, float]:
    """Return the weights of least variance on the held assets that sum to one, and the price of the budget."""
    at = np.flatnonzero(held)
    solved = np.linalg.solve(quadratic[np.ix_(at, at)], np.column_stack([linear[at], np.ones(at.size)]))
    price = (1.0 - solved[:, 0].sum()) / solved[:, 1].sum()
    weights = np.zeros(held.size)
    weights[at] = solved[:, 0] + price * solved[:, 1]
    return weights, float(price)
