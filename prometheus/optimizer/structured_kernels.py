"""Compiled loops of the structured solver: every branch's answer, the conditions at given prices, Newton's step.

Written for Numba: plain loops over branches in a fixed order, neither threads nor reordered sums nor fused products, so
that results are the same bits in every process. Signatures are explicit: importing the module compiles it once for
each machine and source, or reads what was compiled from Numba's cache (beside the module, or in the user's cache
directory where that cannot be written; without any writable place every process compiles for itself). What is forked
after the import inherits the machine code. Shapes are the callers' business. Source: docs/specs/optimizer.md.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from prometheus.optimizer.problem import BoolArray, FloatArray, IntArray

#: Columns of the table of pieces; the rates of the rows besides cash follow behind the one of cash, then their offsets.
LEFT, RIGHT, SLOPE, OFFSET, RATE = range(5)
#: Rows of the branches' integers: first and last piece, name.
FIRST, LAST, OWNER = range(3)
#: Rows of the branches' floats: active weight before trading, curvature, specific variance under a tracking-error limit
#: (zero without one).
ACTIVE, CURVATURE, VARIANCE = range(3)
#: How branches share a name: as given, the best one takes all, or between the two best around a centre.
GIVEN, BEST, CENTRED = range(3)
#: A pivot of a scaled system below this is a direction to which nothing answers.
_NO_PIVOT = 1e-13

_Kernel = TypeVar("_Kernel", bound=Callable[..., object])


def compiled(signature: str) -> Callable[[_Kernel], _Kernel]:
    """Return a decorator that compiles a function for one signature, cached wherever a place can be written.

    Args:
        signature: Numba's; F and F2 stand for contiguous floats in one and two dimensions, I and I2 for integers, B for
            booleans, f, i and b for single ones.
    """
    letters = {
        "F2": "float64[:, ::1]",
        "F": "float64[::1]",
        "I2": "int64[:, ::1]",
        "I": "int64[::1]",
        "B": "boolean[::1]",
        "f": "float64",
        "i": "int64",
        "b": "boolean",
    }
    result, _, arguments = signature.partition(" <- ")
    types = ", ".join(letters[letter] for letter in arguments.split())
    results = [letters.get(letter, letter) for letter in result.split()]
    returned = results[0] if len(results) == 1 else f"UniTuple({results[0]}, {len(results)})"

    def compile_one(function: _Kernel) -> _Kernel:
        machine: Any
        try:
            machine = njit(f"{returned}({types})", cache=True, error_model="numpy")(function)
        except RuntimeError:
            # no directory for the cache can be written
            machine = njit(f"{returned}({types})", error_model="numpy")(function)
        return cast("_Kernel", machine)

    return compile_one


@compiled("F <- F2 F")
def charge(by_name: FloatArray, prices: FloatArray) -> FloatArray:
    """Return (N,) what (m,) prices charge for a unit of each name, for (m, N) exposures and rows."""
    charged = np.zeros(by_name.shape[1])
    for k in range(len(prices)):
        price = prices[k]
        for n in range(len(charged)):
            charged[n] += price * by_name[k, n]
    return charged


@compiled("F <- F2 F")
def total(by_asset: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (m,) exposures and rows' use of (N,) weights, for (N, m) exposures and rows of each name."""
    added = np.zeros(by_asset.shape[1])
    for n in range(len(weights)):
        weight = weights[n]
        if weight != 0.0:
            for k in range(len(added)):
                added[k] += weight * by_asset[n, k]
    return added


@compiled("f <- F F2 i")
def _slope(prices: FloatArray, table: FloatArray, piece: int) -> float:
    """Return the slope of a piece with what cash and the other rows charge at their prices."""
    slope: float = table[piece, SLOPE]
    for r in range(len(prices)):
        slope += prices[r] * table[piece, RATE + r]
    return slope


@compiled("void <- F f F F2 I2 F2 I F B F F2 F2")
def answer(
    prices: FloatArray,
    stretch: float,
    own: FloatArray,
    table: FloatArray,
    places: IntArray,
    branches: FloatArray,
    at: IntArray,
    trade: FloatArray,
    inside: BoolArray,
    worth: FloatArray,
    rate: FloatArray,
    use: FloatArray,
) -> None:
    """Let every branch answer: from the piece it is on to the one where its priced cost is least.

    Args:
        prices: (1 + other rows,) of cash and the rows behind it.
        stretch: 1 + lambda / g.
        own: (N,) what exposures and linear rows charge.
        table: (P, columns) pieces.
        places: (3, B) FIRST, LAST, OWNER.
        branches: (3, B) ACTIVE, CURVATURE, VARIANCE.
        at: (B,) pieces to look at first; replaced by those of the answers.
        trade: (B,) filled, as the others.
        inside: (B,)
        worth: (B,)
        rate: (1 + other rows, B)
        use: (1 + other rows, B)
    """
    rates = len(prices)
    for b in range(len(at)):
        p, first, last = at[b], places[FIRST, b], places[LAST, b]
        active, curvature, charged = branches[ACTIVE, b], branches[CURVATURE, b] * stretch, own[places[OWNER, b]]
        softness = 0.5 / curvature
        slope = charged + _slope(prices, table, p)
        wish = -slope * softness - active
        if wish > table[p, RIGHT]:
            while p < last:
                next_slope = charged + _slope(prices, table, p + 1)
                next_wish = -next_slope * softness - active
                if not next_wish > table[p + 1, LEFT]:
                    break
                p, slope, wish = p + 1, next_slope, next_wish
                if not wish > table[p, RIGHT]:
                    break
        elif wish < table[p, LEFT]:
            while p > first:
                next_slope = charged + _slope(prices, table, p - 1)
                next_wish = -next_slope * softness - active
                if not next_wish < table[p - 1, RIGHT]:
                    break
                p, slope, wish = p - 1, next_slope, next_wish
                if not wish < table[p, LEFT]:
                    break
        low, high = table[p, LEFT], table[p, RIGHT]
        at[b] = p
        inside[b] = low < wish < high
        u = wish
        u = max(u, low)
        u = min(u, high)
        moved = active + u
        cost = curvature * moved * moved + slope * u + table[p, OFFSET]
        rate[0, b] = table[p, RATE]
        use[0, b] = table[p, RATE] * u
        for r in range(1, rates):
            level = table[p, RATE + rates - 1 + r]
            rate[r, b] = table[p, RATE + r]
            use[r, b] = table[p, RATE + r] * u + level
            cost += prices[r] * level
        trade[b] = u
        worth[b] = cost


@compiled("f f <- i F I I F F B F I I")
def share_names(
    mode: int,
    worth: FloatArray,
    first_branch: IntArray,
    several: IntArray,
    centre: FloatArray,
    epsilon: FloatArray,
    opened: BoolArray,
    share: FloatArray,
    left: IntArray,
    right: IntArray,
) -> tuple[float, float]:
    """Share the names that have several branches among the two that cost least; return proximal terms and looseness.

    Args:
        mode: BEST or CENTRED.
        worth: (B,) least priced costs.
        first_branch: (N + 1,) first branch of each name, and how many branches there are.
        several: (M,) the names.
        centre: (B,) shares at the centre; empty for BEST.
        epsilon: (M,) strength of their proximal terms; empty for BEST.
        opened: (M,) True where shares may leave the range from 0 to 1; empty for nowhere.
        share: (B,) ones; filled.
        left: (M,) filled with the left one of the two branches.
        right: (M,) filled with the right one.
    """
    proximal = looseness = 0.0
    for m in range(len(several)):
        begin, end = first_branch[several[m]], first_branch[several[m] + 1]
        best, second = begin, -1
        for b in range(begin + 1, end):
            if worth[b] < worth[best]:
                best, second = b, best
            elif second < 0 or worth[b] < worth[second]:
                second = b
        near, far = min(best, second), max(best, second)
        left[m], right[m] = near, far
        for b in range(begin, end):
            share[b] = 0.0
        dearer = worth[far] - worth[near]
        if mode == BEST:
            t = 1.0 if dearer < 0 else 0.0
        else:
            kept = centre[far]
            both = centre[near] + kept
            if both > 0:
                kept /= both
            else:
                kept = 1.0 if dearer < 0 else 0.0
            t = kept - dearer / epsilon[m]
            if not (len(opened) and opened[m]):
                t = min(max(t, 0.0), 1.0)
            proximal += 0.5 * epsilon[m] * (t - kept) * (t - kept)
        looseness += t * dearer - min(dearer, 0.0)
        share[near], share[far] = 1.0 - t, t
    return proximal, looseness


@compiled("f f <- I2 F2 F F F F2 F F")
def mix(
    places: IntArray,
    branches: FloatArray,
    share: FloatArray,
    trade: FloatArray,
    worth: FloatArray,
    use: FloatArray,
    net: FloatArray,
    used: FloatArray,
) -> tuple[float, float]:
    """Put the shared answers together; return their priced cost and their specific variance.

    Args:
        places: (3, B) FIRST, LAST, OWNER.
        branches: (3, B) ACTIVE, CURVATURE, VARIANCE.
        share: (B,) share of each branch.
        trade: (B,) answers.
        worth: (B,) their priced costs.
        use: (1 + other rows, B) what they add to cash and the other rows.
        net: (N,) zeros; filled with the names' trades.
        used: (1 + other rows,) zeros; filled.
    """
    cost = variance = 0.0
    for b in range(len(share)):
        part = share[b]
        if part != 0.0:
            net[places[OWNER, b]] += part * trade[b]
            cost += part * worth[b]
            moved = branches[ACTIVE, b] + trade[b]
            variance += part * branches[VARIANCE, b] * moved * moved
            for r in range(len(used)):
                used[r] += part * use[r, b]
    return cost, variance


@compiled("f f <- F f f F F F F F f f F B")
def judge(
    prices: FloatArray,
    risk_aversion: float,
    te_max: float,
    at_rest: FloatArray,
    least: FloatArray,
    most: FloatArray,
    by_name: FloatArray,
    used: FloatArray,
    cost: float,
    variance: float,
    gradient: FloatArray,
    active: BoolArray,
) -> tuple[float, float]:
    """Return the dual value and the largest active condition missed.

    Args:
        prices: (size,) prices.
        risk_aversion: g.
        te_max: Largest tracking error; infinite for none.
        at_rest: (K,) exposures before trading.
        least: (R + 1,) least use of linear rows, cash, other rows.
        most: (R + 1,) greatest use.
        by_name: (K + linear,) exposures and linear rows' use of the trades.
        used: (1 + other rows,) the other rows' use.
        cost: Priced cost of the trades, proximal terms included.
        variance: Their specific variance.
        gradient: (size,) filled with what is missing in each condition.
        active: (size,) filled: False for prices that rest at zero and for limits that are not there.
    """
    factors, linear, size = len(at_rest), len(by_name) - len(at_rest), len(prices)
    risk_price = prices[size - 1]
    twice = 2.0 * (risk_aversion + risk_price)
    value, squares = cost, 0.0
    for k in range(factors):
        z = prices[k] / twice
        value += 0.5 * twice * (2.0 * at_rest[k] - z) * z
        squares += z * z
        gradient[k] = at_rest[k] + by_name[k] - z
        active[k] = True
    for r in range(len(most)):
        i, price = factors + r, prices[factors + r]
        use = by_name[i] if r < linear else used[r - linear]
        over, short = use - most[r], use - least[r]
        is_exact = least[r] == most[r]
        broken = over if over > 0 else short if short < 0 else 0.0
        gradient[i] = over if is_exact or price > 0 else short if price < 0 else broken
        active[i] = is_exact or price != 0 or broken != 0
        if price != 0:
            value -= price * (most[r] if price > 0 else least[r])
    gradient[size - 1], active[size - 1] = 0.0, False
    if te_max < np.inf:
        missing = squares + variance - te_max * te_max
        value -= risk_price * te_max * te_max
        gradient[size - 1], active[size - 1] = missing, risk_price > 0 or missing > 0
    residual = 0.0
    for i in range(size):
        # NaN stays
        if active[i] and not abs(gradient[i]) <= residual and residual == residual:  # noqa: PLR0124
            residual = abs(gradient[i])
    return value, residual


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
    share: FloatArray,
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
    each name between two branches adds by going from one to the other.

    Args:
        prices: (size,) prices.
        risk_aversion: g.
        te_max: Largest tracking error; infinite for none.
        factors: K.
        by_asset: (N, K + linear) exposures and linear rows of each name.
        places: (3, B) FIRST, LAST, OWNER.
        branches: (3, B) ACTIVE, CURVATURE, VARIANCE.
        inside: (B,) answers, as the next ones.
        share: (B,)
        trade: (B,)
        rate: (1 + other rows, B)
        use: (1 + other rows, B)
        several: (M,) names with several branches.
        left: (M,) their two best branches.
        right: (M,)
        epsilon: (M,) strength of their proximal terms; empty for none.
        opened: (M,) True for names that count as between their branches; empty for none.
    """
    size, cash, rates = len(prices), by_asset.shape[1], len(rate)
    risk_price = prices[size - 1]
    stretch, twice = 1.0 + risk_price / risk_aversion, 2.0 * (risk_aversion + risk_price)
    weights = np.zeros(len(share) + len(epsilon) + 4)
    rows = np.zeros((len(weights), size))
    count = 0
    for b in range(len(share)):
        if inside[b] and share[b] != 0.0:
            weights[count] = share[b] * (0.5 / (branches[CURVATURE, b] * stretch))
            n = places[OWNER, b]
            for k in range(cash):
                rows[count, k] = by_asset[n, k]
            for r in range(rates):
                rows[count, cash + r] = rate[r, b]
            rows[count, size - 1] = 2.0 * branches[VARIANCE, b] * (branches[ACTIVE, b] + trade[b])
            count += 1
    for m in range(len(epsilon)):
        near, far = left[m], right[m]
        if 0.0 < share[far] < 1.0 or (len(opened) and opened[m]):
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
        typical: Stands for entries of the diagonal that are not positive: nothing answers to these prices here, and
            the step is as if one typical name did.
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
    found = solve_scaled(part, right, damping, typical)
    step = np.zeros(len(gradient))
    for i in range(len(at)):
        step[at[i]] = found[i, 0]
    return step
