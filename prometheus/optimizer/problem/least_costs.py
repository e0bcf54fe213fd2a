"""Compiled loop of the certificate: every asset's least priced cost over its pieces (compiled.py)."""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray


@compiled("void <- F F F F F I I F F B F F F2 F")
def least_costs(
    curvature: FloatArray,
    active: FloatArray,
    slope: FloatArray,
    offset: FloatArray,
    at_zero: FloatArray,
    first: IntArray,
    branch: IntArray,
    left: FloatArray,
    right: FloatArray,
    loses: BoolArray,
    trade: FloatArray,
    value: FloatArray,
    sides: FloatArray,
    branch_value: FloatArray,
) -> None:
    """Fill in the least value of q (d + u)^2 + slope u + offset over everything, over each side, and on each branch.

    Args:
        curvature: (N,) q.
        active: (N,) d.
        slope: (P,) slopes with all prices in them.
        offset: (P,) likewise.
        at_zero: (N,) value without a trade, infinite where there must be one.
        first: (N,) first piece of each asset.
        branch: (P,) number of each piece's branch, ascending.
        left: (P,) least trade of each piece.
        right: (P,) greatest trade.
        loses: (P,) True where a sale touches a loss lot.
        trade: (N,) filled with the trade of least value, the leftmost piece of equal ones.
        value: (N,) filled with the least value.
        sides: (2, N) filled with the least value with nothing bought, and with no loss lot touched.
        branch_value: (branches,) filled with the least value on each branch.
    """
    b = -1
    for n in range(len(first)):
        end = first[n + 1] if n + 1 < len(first) else len(left)
        best, at, no_purchase, no_loss = np.inf, 0.0, at_zero[n], at_zero[n]
        for p in range(first[n], end):
            u = min(max(-active[n] - slope[p] / (2.0 * curvature[n]), left[p]), right[p])
            moved = active[n] + u
            cost = curvature[n] * moved * moved + slope[p] * u + offset[p]
            if cost < best or p == first[n]:
                best, at = cost, u
            if right[p] <= 0 and cost < no_purchase:
                no_purchase = cost
            if not loses[p] and cost < no_loss:
                no_loss = cost
            if p == 0 or branch[p] != branch[p - 1]:
                b += 1
                branch_value[b] = cost
            elif cost < branch_value[b]:
                branch_value[b] = cost
        value[n], trade[n] = best, at
        sides[0, n], sides[1, n] = no_purchase, no_loss
