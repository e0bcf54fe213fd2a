"""Limits that no legal trades reach, told from sums over the assets before anything is searched.

The least that a row can use is at least

    max over eta of  sum_i min over allowed u_i of [ c_i(u_i) + eta (cash used by u_i) ] - eta (the cash limit),

with every minimum over the true pieces, group rule included. Stage 1 counts such rows along tangents of the whole cost,
which may promise what no trades keep: realised gain under a lot order that sells dear lots first. A search would try
sides in vain, part by part; this sum takes a few passes over the pieces.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.problem.trade_range import WEIGHT_TOLERANCE

#: A limit missed by less is left to the search (unit of the row; fraction of NAV).
_NEGLIGIBLE = 1e-9
#: Most prices of cash that are looked at for one row.
_MAX_PRICES = 40
#: First price of cash away from zero, in units of the row for each unit of cash.
_FIRST_PRICE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """The ends of all pieces, two for each: what is linear on the pieces is least at one of them."""

    owner: IntArray
    first: IntArray
    use: FloatArray
    cash: FloatArray
    group: IntArray
    buys: BoolArray
    loses: BoolArray

    def least(self, price: float) -> tuple[float, float]:
        """Return the least sum of use plus price times cash, and the cash used there."""
        value = self.use + price * self.cash
        alone = self.group < 0
        least = np.minimum.reduceat(value, self.first)
        total, cash = float(least[alone].sum()), float(self._cash_at(value, least)[alone].sum())
        if alone.all():
            return total, cash
        label = self.group[~alone]
        sides = []
        for barred in (self.buys, self.loses):
            open_ends = np.where(barred, np.inf, value)
            lowest = np.minimum.reduceat(open_ends, self.first)
            at = np.where(np.isfinite(lowest), self._cash_at(open_ends, lowest), 0.0)
            sides.append((np.bincount(label, weights=lowest[~alone]), np.bincount(label, weights=at[~alone])))
        (one, cash_one), (two, cash_two) = sides
        return (
            total + float(np.minimum(one, two).sum()),
            cash + float(np.where(one <= two, cash_one, cash_two).sum()),
        )

    def _cash_at(self, value: FloatArray, least: FloatArray) -> FloatArray:
        """Return (N,) the cash used at each asset's least value, the least cash of equal ones."""
        cash: FloatArray = np.minimum.reduceat(np.where(value <= least[self.owner], self.cash, np.inf), self.first)
        return cash


def out_of_reach(problem: RebalanceProblem, lagrangian: Lagrangian) -> InfeasibleProblemError | None:
    """Return the error for a limit on turnover, gain or a sum of one side that no legal trades meet, None for none.

    None says nothing: limits may still conflict with each other.
    """
    rows = lagrangian.rows
    for r in range(rows.linear, len(rows.names)):
        reachable = _least_use(lagrangian, r, float(rows.most[r]))
        if reachable <= rows.most[r] + _NEGLIGIBLE:
            continue
        required, nearest = (float(value + rows.base[r]) for value in (rows.most[r], reachable))
        conflict: dict[str, str | float] = {
            "constraint": f"{rows.names[r]} at most",
            "required": required,
            "reachable": nearest,
            "violation": nearest - required,
        }
        unbuyable, unsellable = int((~problem.can_buy).sum()), int((~problem.can_sell).sum())
        return InfeasibleProblemError(
            f"{rows.names[r]} at most {required:.4%} is out of reach of any trades that keep the lot order, the cash "
            f"range and the group rules ({unbuyable} assets may not be bought, {unsellable} may not be sold): the "
            f"least is {nearest:.4%} or more. Raise the limit to that at least.",
            details={**conflict, "conflicts": [conflict], "together": False},
            missed=((str(conflict["constraint"]), nearest - required),),
        )
    return None


def _least_use(lagrangian: Lagrangian, row: int, limit: float) -> float:
    """Return a lower bound on the row's use: the best one, but for where one exceeds the limit or none can."""
    ends, cash = _ends(lagrangian, row), lagrangian.cash
    best, used = ends.least(0.0)
    if best > limit + _NEGLIGIBLE or cash.least <= used <= cash.most:
        return best
    sign, bound = (1.0, cash.most) if used > cash.most else (-1.0, cash.least)
    # the bound is concave in the price of cash: its lines at both ends of a bracket say how high it can come
    low: tuple[float, float, float] = (0.0, best, sign * (used - bound))
    high: tuple[float, float, float] | None = None
    price = _FIRST_PRICE
    for _ in range(_MAX_PRICES):
        value, used = ends.least(sign * price)
        here = (price, value - sign * price * bound, sign * (used - bound))
        best = max(best, here[1])
        low, high = (here, high) if here[2] > 0 else (low, here)
        if best > limit + _NEGLIGIBLE:
            break
        if high is None:
            price *= 2
            continue
        width, bend = high[0] - low[0], low[2] - high[2]
        step = (high[1] - high[2] * width - low[1]) / bend
        if low[1] + low[2] * step <= limit + _NEGLIGIBLE or not 0 < step < width:
            break
        price = low[0] + step
    return best


def _ends(lagrangian: Lagrangian, row: int) -> _Ends:
    pieces = lagrangian.pieces
    trade = np.stack([pieces.left, pieces.right], axis=1).ravel()
    owner = np.repeat(pieces.asset, 2)
    return _Ends(
        owner=owner,
        first=2 * pieces.first,
        use=np.repeat(pieces.row_offset[row], 2) + np.repeat(pieces.row_slope[row], 2) * trade,
        cash=trade + lagrangian.cost_rate[owner] * np.abs(trade),
        group=lagrangian.limits.group,
        buys=trade > 0,
        loses=-trade > lagrangian.cost.order.loss_start[owner] + WEIGHT_TOLERANCE,
    )
