"""Compiled loops of the structured solver: the dual's Hessian, the systems of it, and Newton's step.

Small systems are eliminated here and not by a library, whose bits may depend on its number of threads.
"""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.dual.kernels import ACTIVE, CURVATURE, OWNER, VARIANCE
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray

#: A pivot of a scaled system below this is a direction to which nothing answers.
_NO_PIVOT = 1e-13
#: Longer sums are halved, as numpy does.
_PAIRED = 128


@compiled("F2 <- F f f i F2 I2 F2 B F F F2 F2 I I I F B")
def hessian(
    prices: FloatArray,
    risk_aversion: float,
    te_max: float,
    factors: int,
    by_asset: FloatArray,
    places: IntArray,
    branches: FloatArray,
    inside: BoolArray,
    mixing: FloatArray,
    trade: FloatArray,
    rate: FloatArray,
    use: FloatArray,
    several: IntArray,
    left: IntArray,
    right: IntArray,
    epsilon: FloatArray,
    opened: BoolArray,
) -> FloatArray:
    """Return the (size, size) generalised Hessian of the negative dual.

    A sum of weighted squares: of what a unit of trade of each branch inside a piece adds to the conditions, and of what
    each asset between two branches adds by going from one to the other.

    Args:
        prices: (size,) prices.
        risk_aversion: g.
        te_max: Largest tracking error; infinite for none.
        factors: K.
        by_asset: (N, K + linear) exposures and linear rows of each asset.
        places: (3, B) FIRST, LAST, OWNER.
        branches: (3, B) ACTIVE, CURVATURE, VARIANCE.
        inside: (B,) answers, as the next ones.
        mixing: (B,)
        trade: (B,)
        rate: (1 + other rows, B)
        use: (1 + other rows, B)
        several: (M,) assets with several branches.
        left: (M,) their two best branches.
        right: (M,)
        epsilon: (M,) strength of their proximal terms; empty for none.
        opened: (M,) True for assets that count as between their branches; empty for none.
    """
    size, cash, rates = len(prices), by_asset.shape[1], len(rate)
    risk_price = prices[size - 1]
    stretch, twice = 1.0 + risk_price / risk_aversion, 2.0 * (risk_aversion + risk_price)
    weights = np.zeros(len(mixing) + len(epsilon) + 4)
    rows = np.zeros((len(weights), size))
    count = 0
    for b in range(len(mixing)):
        if inside[b] and mixing[b] != 0.0:
            weights[count] = mixing[b] * (0.5 / (branches[CURVATURE, b] * stretch))
            n = places[OWNER, b]
            for k in range(cash):
                rows[count, k] = by_asset[n, k]
            for r in range(rates):
                rows[count, cash + r] = rate[r, b]
            rows[count, size - 1] = 2.0 * branches[VARIANCE, b] * (branches[ACTIVE, b] + trade[b])
            count += 1
    for m in range(len(epsilon)):
        near, far = left[m], right[m]
        if 0.0 < mixing[far] < 1.0 or (len(opened) and opened[m]):
            weights[count] = 1.0 / epsilon[m]
            n, jump = several[m], trade[far] - trade[near]
            for k in range(cash):
                rows[count, k] = by_asset[n, k] * jump
            for r in range(rates):
                rows[count, cash + r] = use[r, far] - use[r, near]
            there, here = branches[ACTIVE, far] + trade[far], branches[ACTIVE, near] + trade[near]
            rows[count, size - 1] = branches[VARIANCE, near] * (there * there - here * here)
            count += 1
    matrix = np.zeros((size, size))
    # four at a time: fewer passes over the matrix; rows behind the last one are zero
    for begin in range(0, count, 4):
        for i in range(size):
            a, b = weights[begin] * rows[begin, i], weights[begin + 1] * rows[begin + 1, i]
            c, d = weights[begin + 2] * rows[begin + 2, i], weights[begin + 3] * rows[begin + 3, i]
            for j in range(i + 1):
                matrix[i, j] += (a * rows[begin, j] + b * rows[begin + 1, j]) + (
                    c * rows[begin + 2, j] + d * rows[begin + 3, j]
                )
    squares = 0.0
    for k in range(factors):
        z = prices[k] / twice
        squares += z * z
        matrix[k, k] += 1.0 / twice
        if te_max < np.inf:
            matrix[size - 1, k] -= 2.0 * z / twice
    if te_max < np.inf:
        matrix[size - 1, size - 1] += 4.0 * squares / twice
    for i in range(size):
        for j in range(i):
            matrix[j, i] = matrix[i, j]
    return matrix


@compiled("F2 <- F2 F2 f f")
def solve_scaled(matrix: FloatArray, right: FloatArray, damping: float, typical: float) -> FloatArray:
    """Return (n, m) x with matrix x = right, the matrix scaled to a diagonal of one plus ``damping``.

    Args:
        matrix: (n, n) symmetric positive semidefinite.
        right: (n, m) right-hand sides.
        damping: Added to the scaled diagonal.
        typical: Replaces entries of the diagonal that are not positive: nothing answers to these prices here, and the
            step is as if one typical asset did.
    """
    size, sides = right.shape
    scale = np.empty(size)
    for i in range(size):
        scale[i] = 1.0 / np.sqrt(matrix[i, i] if matrix[i, i] > 0 else typical)
    a, x = np.empty((size, size)), np.empty((size, sides))
    for i in range(size):
        for j in range(size):
            a[i, j] = matrix[i, j] * scale[i] * scale[j]
        a[i, i] = 1.0 + damping
        for s in range(sides):
            x[i, s] = right[i, s] * scale[i]
    for k in range(size):
        if a[k, k] > _NO_PIVOT:
            for i in range(k + 1, size):
                factor = a[k, i] / a[k, k]
                for j in range(i, size):
                    a[i, j] -= factor * a[k, j]
                for s in range(sides):
                    x[i, s] -= factor * x[k, s]
    for k in range(size - 1, -1, -1):
        pivot = a[k, k]
        if pivot > _NO_PIVOT:
            for j in range(k + 1, size):
                factor = a[k, j]
                for s in range(sides):
                    x[k, s] -= factor * x[j, s]
            for s in range(sides):
                x[k, s] /= pivot
        else:
            for s in range(sides):
                x[k, s] = 0.0
    for i in range(size):
        for s in range(sides):
            x[i, s] *= scale[i]
    return x


@compiled("F <- F2 F B f f")
def step_towards(
    matrix: FloatArray, gradient: FloatArray, active: BoolArray, damping: float, typical: float
) -> FloatArray:
    """Return the (size,) Newton step of the active prices, zero for the others; arguments as of ``solve_scaled``."""
    at = np.nonzero(active)[0]
    part, right = np.empty((len(at), len(at))), np.empty((len(at), 1))
    for i in range(len(at)):
        right[i, 0] = gradient[at[i]]
        for j in range(len(at)):
            part[i, j] = matrix[at[i], at[j]]
    scaled = solve_scaled(part, right, damping, typical)
    step = np.zeros(len(gradient))
    for i in range(len(at)):
        step[at[i]] = scaled[i, 0]
    return step


@compiled("F <- F F f F B")
def moved(prices: FloatArray, step: FloatArray, length: float, gradient: FloatArray, exact: BoolArray) -> FloatArray:
    """Return the (size,) prices after a step, those of one-sided limits kept from changing their sign.

    Args:
        prices: (size,) prices before it; exposures, rows, lambda.
        step: (size,) direction.
        length: How far.
        gradient: (size,) gives the sign of prices that are zero.
        exact: (rows,) True for rows whose price may have either sign.
    """
    size, rows = len(prices), len(exact)
    after = np.empty(size)
    for i in range(size):
        after[i] = prices[i] + length * step[i]
    for r in range(rows):
        i = size - 1 - rows + r
        sign = prices[i] if prices[i] != 0 else gradient[i]
        if not exact[r] and after[i] * sign < 0:
            after[i] = 0.0
    if after[size - 1] < 0:
        after[size - 1] = 0.0
    return after


@compiled("f <- F F F i i")
def _along(slope: FloatArray, after: FloatArray, before: FloatArray, begin: int, count: int) -> float:
    """Return the sum of slope times change over ``count`` prices from ``begin`` on, pairwise as numpy sums."""
    if count > _PAIRED:
        half = count // 2
        half -= half % 8
        left: float = _along(slope, after, before, begin, half)
        right: float = _along(slope, after, before, begin + half, count - half)
        return left + right
    total, i = 0.0, begin
    if count >= 8:
        part = np.empty(8)
        for j in range(8):
            part[j] = slope[i + j] * (after[i + j] - before[i + j])
        i += 8
        while i < begin + count - count % 8:
            for j in range(8):
                part[j] += slope[i + j] * (after[i + j] - before[i + j])
            i += 8
        total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
    while i < begin + count:
        total += slope[i] * (after[i] - before[i])
        i += 1
    return total


@compiled("f <- F F F")
def along(slope: FloatArray, after: FloatArray, before: FloatArray) -> float:
    """Return how much a slope promises for a change of prices: the bits of ``(slope * (after - before)).sum()``.

    Args:
        slope: (size,) derivatives.
        after: (size,) prices.
        before: (size,) prices.
    """
    length: float = _along(slope, after, before, 0, len(slope))
    return length


@compiled("boolean <- F f")
def all_within(prices: FloatArray, limit: float) -> bool:
    """Say whether every price lies between minus and plus the limit; NaN does not."""
    within = True
    for price in prices:
        within = within and abs(price) <= limit
    return within


@compiled("F <- F I I F f f")
def proximal_strengths(
    trade: FloatArray, left: IntArray, right: IntArray, curvature: FloatArray, strength: float, least_jump: float
) -> FloatArray:
    """Return (M,) strengths of the proximal terms: that of the asset's curvature over its jump, times ``strength``.

    Args:
        trade: (B,) answers.
        left: (M,) two branches of each asset that has several.
        right: (M,)
        curvature: (B,) curvature of each branch.
        strength: Relative strength.
        least_jump: Jumps below this take it as their width.
    """
    epsilon = np.empty(len(left))
    for m in range(len(left)):
        jump = max(abs(trade[right[m]] - trade[left[m]]), least_jump)
        epsilon[m] = 2 * strength * curvature[left[m]] * jump * jump
    return epsilon
