"""Allowed cost of whole shares in an account in which a single share is large, from the problem's own numbers.

The bound after rounding is worked out asset by asset: each asset may take its best whole number of shares at the prices
of the answer. A list cannot always: what the assets' remainders do to the risk together, and what it takes to bring
cash and the other limits into their ranges by single shares, comes on top. The allowance puts a number on both. It is
not a proof; a rounding whose gap exceeds it is poor, not merely coarse.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray
from prometheus.optimizer.problem.share_grid import ShareGrid

#: The risk of remainders of independent signs is their sum of squares; this multiple of it is allowed.
_TIMES = 4.0
#: Most assets listed.
_TOLD = 3


@dataclass(frozen=True, slots=True, eq=False)
class RoundingAllowance:
    """Allowed cost of whole shares, objective per unit of NAV.

    Attributes:
        total: Their sum.
        coarsest: The assets that carry most of it, the costliest first.
    """

    total: float
    coarsest: IntArray


def rounding_allowance(
    lagrangian: Lagrangian, grid: ShareGrid, trades: FloatArray, dual: DualPoint
) -> RoundingAllowance:
    """Return the allowed cost of whole shares beyond the bound of whole steps.

    For each asset: risk aversion times its variance times the square of the distance from its trade to the nearest
    tradable amount, four times that; and for each limit that binds its price times what one step of the asset that uses
    most of it uses (a minimum trade counts as one step).

    Args:
        lagrangian: The problem.
        grid: Tradable amounts over the whole range.
        trades: (N,) trades before rounding.
        dual: Prices of the limits at them.
    """
    nearest = grid.nearest(trades)
    away = np.abs(grid.weight(nearest) - trades)
    risk = lagrangian.risk
    variance = risk.shared_variance() + risk.specific_variance
    aversion = lagrangian.risk_aversion + dual.risk_price
    own = _TIMES * aversion * variance * away * away
    # one more step of any asset, or its first one, is what meets a limit that is missed, or uses what is left of it
    at, limits = grid.weight(nearest), lagrangian.limits
    above, below = np.abs(grid.weight(grid.above(nearest)) - at), np.abs(at - grid.weight(grid.below(nearest)))
    spacing = np.fmax(np.fmax(above, below), np.minimum(grid.step, limits.high - limits.low))
    step = np.where(away > 0, np.fmax(spacing, away), 0.0)
    rows = lagrangian.cost.rows
    price = np.abs(dual.rows(rows))
    joint = float((abs(dual.cash_price) * step).max(initial=0.0))
    for r in np.flatnonzero(price):
        joint += float((price[r] * _rate(lagrangian, int(r)) * step).max(initial=0.0))
    by_cost = np.argsort(-own, kind="stable")[:_TOLD]
    return RoundingAllowance(float(own.sum()) + joint, by_cost[own[by_cost] > 0])


def _rate(lagrangian: Lagrangian, row: int) -> FloatArray:
    """Return (N,) the most that a unit of each asset's trade uses of a row."""
    cost = lagrangian.cost
    rate: FloatArray = np.abs(cost.row_buy[row])
    sold = rate.copy()
    np.maximum.at(sold, cost.order.asset, np.abs(cost.row_sell[row]))
    if cost.cover is not None:
        covered = cost.cover.asset
        np.maximum.at(sold, covered, np.abs(cost.row_buy[row][covered] + cost.row_cover[row]))
    return sold
