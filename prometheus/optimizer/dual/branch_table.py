"""Compiled loop: pieces and branches laid out as the evaluations of kernels.py read them."""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.dual.kernels import (
    ACTIVE,
    CURVATURE,
    FIRST,
    LAST,
    LEFT,
    OFFSET,
    OWNER,
    RATE,
    RIGHT,
    SLOPE,
    VARIANCE,
)
from prometheus.optimizer.problem.pieces import Pieces
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray


def branch_table(
    pieces: Pieces, cost_rate: FloatArray, linear: int, of_asset: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, IntArray, FloatArray, IntArray]:
    """Lay out pieces and branches.

    Args:
        pieces: The P pieces.
        cost_rate: (N,) k.
        linear: How many of their rows are linear; those are not in the table.
        of_asset: (N,) active weights before trading, curvatures, specific variances.

    Returns:
        (P, columns) all that an answer needs of a piece: ends, slope, offset, what a unit adds to cash and to the other
        rows, these rows' offsets; (3, B) first and last piece and asset of each branch; (3, B) ``of_asset`` of each;
        (N + 1,) first branch of each asset, and how many branches there are.
    """
    branch = pieces.branch
    rates, count = 1 + len(pieces.row_slope) - linear, 1 + int(np.count_nonzero(branch[1:] != branch[:-1]))
    table = np.empty((len(branch), RATE + 2 * rates - 1))
    places, branches = np.empty((3, count), dtype=np.int64), np.empty((3, count))
    bounds = np.empty(len(pieces.first) + 1, dtype=np.int64)
    _lay_out(
        pieces.asset, branch, pieces.left, pieces.right, pieces.slope, pieces.offset, cost_rate.copy(),
        np.ascontiguousarray(pieces.row_slope), np.ascontiguousarray(pieces.row_offset), linear, np.stack(of_asset),
        table, places, branches, bounds,
    )  # fmt: skip
    return table, places, branches, bounds


@compiled("void <- I I F F F F F F2 F2 i F2 F2 I2 F2 I")
def _lay_out(
    asset: IntArray,
    branch: IntArray,
    left: FloatArray,
    right: FloatArray,
    slope: FloatArray,
    offset: FloatArray,
    cost_rate: FloatArray,
    row_slope: FloatArray,
    row_offset: FloatArray,
    linear: int,
    of_asset: FloatArray,
    table: FloatArray,
    places: IntArray,
    branches: FloatArray,
    bounds: IntArray,
) -> None:  # pragma: no cover - machine code, which is not traced; tests compare it with plain arrays
    rates, count = 1 + len(row_slope) - linear, 0
    for p in range(len(asset)):
        n = asset[p]
        table[p, LEFT], table[p, RIGHT], table[p, SLOPE], table[p, OFFSET] = left[p], right[p], slope[p], offset[p]
        rate = cost_rate[n]
        table[p, RATE] = 1.0 - rate if right[p] <= 0.0 else 1.0 + rate
        for r in range(1, rates):
            table[p, RATE + r] = row_slope[linear + r - 1, p]
            table[p, RATE + rates - 1 + r] = row_offset[linear + r - 1, p]
        if p == 0 or branch[p] != branch[p - 1]:
            if p == 0 or n != asset[p - 1]:
                bounds[n] = count
            places[FIRST, count], places[OWNER, count] = p, n
            branches[ACTIVE, count], branches[CURVATURE, count] = of_asset[0, n], of_asset[1, n]
            branches[VARIANCE, count] = of_asset[2, n]
            count += 1
        places[LAST, count - 1] = p
    bounds[len(bounds) - 1] = count
