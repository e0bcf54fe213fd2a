"""Limits that join the assets besides cash: weights, turnover, realised gain, sums of longs and shorts, tracking error.

Every such limit but the last is a ROW: least <= sum_i c_i(u_i) <= most, with c_i piecewise linear in the trade, zero
without a trade and linear on every piece of the asset's cost. A limit on the weights has c_i = G_i u_i, turnover
|u_i| / 2, realised gain the gain of the lots sold and of the short lots covered, the sum of shorts what is sold beyond
all lots less what is covered; the price of that sum acts like a dearer borrow rate. The tracking-error limit is a cone
over the exposures and the specific risks; its price lambda adds to the risk aversion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from prometheus.optimizer.problem.asset_functions import SeparableCost
from prometheus.optimizer.problem.lot_order import LotOrder
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem

#: Names of the rows that are not given by the problem, as they appear in messages.
TURNOVER, GAIN = "turnover", "realised gain"
LONGS, SHORTS = "sum of longs", "sum of shorts"
TRACKING_ERROR = "tracking error"


@dataclass(frozen=True, slots=True, eq=False)
class RowLimits:
    """Limits of the R coupling rows, the linear ones first, and of the tracking error.

    Attributes:
        names: R names.
        least: (R,) least use by the trades; minus infinity for none.
        most: (R,) greatest use; infinity for none.
        base: (R,) what the row measures without any trade, to be added to a use before a person reads it.
        linear: How many of the rows, from the first, are linear in the trades on both sides of zero.
        te_max: Largest tracking error, annualised; infinite for none.
    """

    names: tuple[str, ...] = ()
    least: FloatArray = field(default_factory=lambda: np.zeros(0))
    most: FloatArray = field(default_factory=lambda: np.zeros(0))
    base: FloatArray = field(default_factory=lambda: np.zeros(0))
    linear: int = 0
    te_max: float = float("inf")

    @property
    def any(self) -> bool:
        """Say whether there is any limit besides cash."""
        return len(self.names) > 0 or bool(np.isfinite(self.te_max))

    def priced(self, prices: FloatArray) -> float:
        """Return the least of prices times use over the rows' ranges, negated: what a Lagrangian subtracts.

        A price on a side without limit gives infinity, so that such prices bound nothing.
        """
        on = prices != 0
        return float((prices[on] * np.where(prices > 0, self.most, self.least)[on]).sum())

    def legal(self, prices: FloatArray) -> FloatArray:
        """Return (R,) prices without those on a side that has no limit."""
        wrong = ((prices > 0) & ~np.isfinite(self.most)) | ((prices < 0) & ~np.isfinite(self.least))
        return np.where(wrong, 0.0, prices)

    def tightened(self, margins: Mapping[str, float]) -> "RowLimits":
        """Return limits that keep a distance from the named ones, at most to the middle of a two-sided range."""
        by = np.array([margins.get(name, 0.0) for name in self.names])
        with np.errstate(invalid="ignore"):
            by = np.minimum(by, 0.5 * (self.most - self.least))
        te = margins.get(TRACKING_ERROR, 0.0)
        return replace(
            self, least=self.least + by, most=self.most - by, te_max=max(self.te_max - te, 0.5 * self.te_max)
        )

    def missed(self, use: FloatArray) -> FloatArray:
        """Return by how much (R, ...) uses exceed their range (positive) or fall short of it (negative)."""
        shape = (-1,) + (1,) * (use.ndim - 1)
        most, least = self.most.reshape(shape), self.least.reshape(shape)
        over: FloatArray = np.maximum(use - most, 0.0) - np.maximum(least - use, 0.0)
        return over


def row_limits(problem: RebalanceProblem) -> RowLimits:
    """Collect the limits that are switched on."""
    held = problem.holdings()
    names = list(problem.row_names)
    base = [np.einsum("rn,n->r", problem.row_matrix, held)] if names else []
    least, most = [problem.row_lower], [problem.row_upper]
    bent = [(TURNOVER, problem.turnover_max, 0.0), (GAIN, problem.gain_max, 0.0)]
    if problem.may_be_short:
        owed = problem.owed()
        longs, shorts = float((held + owed).sum()), float(owed.sum())
        bent += [(LONGS, problem.long_max, longs), (SHORTS, problem.short_max, shorts)]
    for name, limit, at_rest in bent:
        if np.isfinite(limit):
            names.append(name)
            base.append(np.array([at_rest]))
            least.append(np.array([-np.inf]))
            most.append(np.array([limit]))
    if not names:
        return RowLimits(te_max=problem.te_max)
    at = np.concatenate(base)
    return RowLimits(
        names=tuple(names),
        least=np.concatenate(least) - at,
        most=np.concatenate(most) - at,
        base=at,
        linear=len(problem.row_names),
        te_max=problem.te_max,
    )


def with_coupling_rows(problem: RebalanceProblem, limits: RowLimits, cost: SeparableCost) -> SeparableCost:
    """Return the cost with what every unit sold and bought adds to each row."""
    if not limits.names:
        return cost
    order, n, shorts = cost.order, problem.size, len(problem.short_id)
    sell, buy = [], []
    cover = np.zeros((len(limits.names), shorts))
    if limits.linear:
        sell.append(-problem.row_matrix[:, order.asset])
        buy.append(problem.row_matrix)
    for r, name in enumerate(limits.names[limits.linear :], start=limits.linear):
        by_sale, by_purchase = _uses(problem, order, name, n)
        sell.append(by_sale[None, :])
        buy.append(by_purchase[None, :])
        if name in {LONGS, SHORTS}:
            cover[r] = -1.0
        elif name == GAIN and shorts:
            cover[r] = problem.cover_gain
    return cost.with_rows(np.concatenate(sell), np.concatenate(buy), cover)


def _uses(problem: RebalanceProblem, order: LotOrder, name: str, asset_count: int) -> tuple[FloatArray, FloatArray]:
    lots = len(order.lot)
    if name == TURNOVER:
        return np.full(lots, 0.5), np.full(asset_count, 0.5)
    if name == LONGS:
        return np.where(order.short, 0.0, -1.0), np.ones(asset_count)
    if name == SHORTS:
        return order.short.astype(np.float64), np.zeros(asset_count)
    return order.of_lots(problem.lot_gain), np.zeros(asset_count)
