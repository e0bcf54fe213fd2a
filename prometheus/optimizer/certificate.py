"""Lower bounds on the objective that do not depend on any solver's claims.

For any point z of the factor exposures and any cash price eta the Lagrangian separates over assets:

    D(z, eta) = -g z'z + 2 g z' X~' d  -  eta (the cash limit on eta's side)
                + sum_i min over allowed u_i of [ f_i(u_i) + 2 g (X~ z)_i u_i + eta (u_i + k_i |u_i|) ]

because g ||y||^2 >= g (2 z'y - z'z); linked specific risk (problem/linked_risk.py) is part of the exposures y. Coupling
rows (problem/coupling.py) add price times use to each asset's cost and subtract price times limit; a tracking-error
limit with price lambda puts g + lambda in place of g and subtracts lambda TE^2. Every minimum is taken over the TRUE
cost, piece by piece: both sides, the account's real lot order, locks, and for the second bound only whole steps of at
least the minimum trade. In a group of substantially identical assets the smaller of two sums is taken: nothing
bought, or no loss sold.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.asset_functions import SeparableCost, true_pieces
from prometheus.optimizer.problem.coupling import RowLimits, row_limits, with_coupling_rows
from prometheus.optimizer.problem.least_costs import least_costs
from prometheus.optimizer.problem.pieces import Pieces
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.problem.share_grid import SHARE_TOLERANCE, ShareGrid
from prometheus.optimizer.problem.trade_range import CASH_TOLERANCE, WEIGHT_TOLERANCE, CashRange, TradeRange

#: Halvings of the way to trades that keep the cash range: to the last bit.
_BISECTIONS = 60


@dataclass(frozen=True, slots=True, eq=False)
class DualPoint:
    """Prices of the coupling constraints; any values give a valid bound.

    Attributes:
        exposures: (K + L,) z, where the risk that joins the assets is linearised.
        cash_price: eta, positive where cash is scarce.
        row_prices: (R,) of the coupling rows, positive where a row is at its greatest value, negative at its least;
            empty for all zero.
        risk_price: lambda of the tracking-error limit, non-negative.
    """

    exposures: FloatArray
    cash_price: float
    row_prices: FloatArray = field(default_factory=lambda: np.zeros(0))
    risk_price: float = 0.0

    def rows(self, count: int) -> FloatArray:
        """Return (R,) the prices of the coupling rows, zeros where none were given."""
        return self.row_prices if len(self.row_prices) == count else np.zeros(count)


@dataclass(frozen=True, slots=True, eq=False)
class AssetMinima:
    """The inner minima at one dual point.

    Attributes:
        value: (N,) least value of each asset over everything allowed.
        trade: (N,) a trade that reaches it.
        no_purchase: (N,) least value with nothing bought.
        no_loss: (N,) least value with no loss lot touched.
        branch_value: (branches,) least value on each branch.
    """

    value: FloatArray
    trade: FloatArray
    no_purchase: FloatArray
    no_loss: FloatArray
    branch_value: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Lagrangian:
    """The true problem with its coupling constraints priced."""

    pieces: Pieces
    cost: SeparableCost
    limits: TradeRange
    risk: FactorRisk
    cost_rate: FloatArray
    risk_aversion: float
    cash: CashRange
    share_step: FloatArray
    rows: RowLimits = field(default_factory=RowLimits)

    @classmethod
    def of_problem(
        cls, problem: RebalanceProblem, risk: FactorRisk, cost: SeparableCost, limits: TradeRange
    ) -> "Lagrangian":
        """Price the coupling constraints of a problem."""
        rows = row_limits(problem)
        cost = with_coupling_rows(problem, rows, cost)
        if risk.links:
            cost = replace(cost, curvature=problem.risk_aversion * risk.specific_variance)
        least, most = problem.cash_range()
        return cls(
            pieces=true_pieces(cost, limits),
            cost=cost,
            limits=limits,
            risk=risk,
            cost_rate=problem.cost_rate,
            risk_aversion=problem.risk_aversion,
            cash=CashRange(least=least, most=most),
            share_step=problem.share_step,
            rows=rows,
        )

    def within(self, limits: TradeRange) -> "Lagrangian":
        """Return the same problem over another range of the trades."""
        return replace(self, limits=limits, pieces=true_pieces(self.cost, limits))

    def on_branches(self, local: IntArray) -> "Lagrangian":
        """Return the problem on one branch of each asset, counted from 0 within the asset: it is convex."""
        return replace(self, pieces=self.pieces.on_branches(self.pieces.branch[self.pieces.first] + local))

    def repriced(self, dual: DualPoint) -> "Lagrangian":
        """Return the problem with the use of rows and of active variance charged at the dual's prices.

        It has the same feasible trades, and up to the constant ``charge`` its objective is nowhere greater on them. Its
        envelope is the one that matters at those prices.
        """
        stretch = 1.0 + dual.risk_price / self.risk_aversion
        cost = self.cost.repriced(dual.rows(self.cost.rows), stretch)
        return replace(
            self, cost=cost, risk_aversion=self.risk_aversion * stretch, pieces=true_pieces(cost, self.limits)
        )

    def objective(self, trades: FloatArray) -> float:
        """Return the true objective of (N,) trades, without the tilt on the holdings."""
        y = self.risk.exposures(self.cost.active + trades)
        return self.risk_aversion * float((y * y).sum()) + float(self.cost(trades).sum())

    def cash_reach(self) -> tuple[float, float]:
        """Return the least and the most cash that the assets can use on their pieces."""
        last = np.append(self.pieces.first[1:], len(self.pieces.asset)) - 1
        low, high = self.pieces.left[self.pieces.first], self.pieces.right[last]
        rate = self.cost_rate
        return float((low + rate * np.abs(low)).sum()), float((high + rate * np.abs(high)).sum())

    def can_meet_cash(self) -> bool:
        """Say whether some trades on the pieces meet the cash range."""
        least, most = self.cash_reach()
        return least <= self.cash.most + CASH_TOLERANCE and most >= self.cash.least - CASH_TOLERANCE

    def moved_into_cash(self, trades: FloatArray) -> FloatArray:
        """Return (N,) trades moved towards the ends of the assets' ranges until the cash used is in its range.

        A solver's program may spend cash on a sale and a purchase of one asset at once, which trades cannot; what it
        calls feasible then uses less. Trades in the range, or that no move can bring there, stay as they are.
        """

        def used(at: FloatArray) -> float:
            return float((at + self.cost_rate * np.abs(at)).sum())

        last = np.append(self.pieces.first[1:], len(self.pieces.asset)) - 1
        sign = 1.0 if used(trades) < self.cash.least else -1.0
        limit = self.cash.least if sign > 0 else self.cash.most
        end = self.pieces.right[last] if sign > 0 else self.pieces.left[self.pieces.first]
        if sign * (used(trades) - limit) >= 0 or sign * (used(end) - limit) < 0:
            return trades
        outside, inside = 0.0, 1.0
        for _ in range(_BISECTIONS):
            part = 0.5 * (outside + inside)
            if sign * (used(trades + part * (end - trades)) - limit) >= 0:
                inside = part
            else:
                outside = part
        moved: FloatArray = trades + inside * (end - trades)
        return moved

    def minima(self, dual: DualPoint) -> AssetMinima:
        """Return each asset's least value over continuous trades."""
        pieces = self.pieces
        curvature, slope, offset = self._priced(dual)
        asset_count, branches = len(pieces.first), 1 + np.count_nonzero(pieces.branch[1:] != pieces.branch[:-1])
        trade, value, sides, branch_value = (
            np.empty(asset_count),
            np.empty(asset_count),
            np.empty((2, asset_count)),
            np.empty(branches),
        )
        least_costs(
            curvature, self.cost.active, slope, offset, self._at_zero(curvature),
            pieces.first, pieces.branch, pieces.left, pieces.right, pieces.loses,
            trade, value, sides, branch_value,
        )  # fmt: skip
        return AssetMinima(value, trade, no_purchase=sides[0], no_loss=sides[1], branch_value=branch_value)

    def orders(self, dual: DualPoint) -> tuple[FloatArray, FloatArray]:
        """Return (N,) what the best order of each asset saves at the prices before its own cost, and its trade.

        Infinite savings are those of assets that must be traded; an asset that can take no order has a trade of zero.
        """
        pieces = self.pieces
        curvature, slope, offset = self._priced(dual)
        q, d = curvature[pieces.asset], self.cost.active[pieces.asset]
        u = np.minimum(np.maximum(-d - slope / (2 * q), pieces.left), pieces.right)
        least, trade = self._least(np.where(pieces.rests, np.inf, self._value(u, q, slope, offset)), u)
        saved = self._at_zero(curvature) - (least - self.cost.order_cost)
        return np.where(trade != 0, saved, 0.0), trade

    def rounded_minima(self, dual: DualPoint, grid: ShareGrid) -> AssetMinima:
        """Return each asset's least value over whole steps of at least the minimum trade, and the exact sell-out.

        On a piece the cost is convex, so the best step is next to the continuous minimiser on either side.
        """
        pieces = self.pieces
        owner = pieces.asset
        curvature, slope, offset = self._priced(dual)
        q, d = curvature[owner], self.cost.active[owner]
        step, smallest = grid.step[owner], grid.smallest[owner]
        sale = pieces.right <= 0
        slack = SHARE_TOLERANCE / self.share_step[owner]
        fewest = np.where(
            sale, np.ceil(pieces.left / step - slack), np.maximum(np.ceil(pieces.left / step - slack), smallest)
        )
        most = np.where(
            sale, np.minimum(np.floor(pieces.right / step + slack), -smallest), np.floor(pieces.right / step + slack)
        )
        steps = np.minimum(np.maximum(np.floor((-d - slope / (2 * q)) / step), fewest), most)
        best = np.full(len(owner), np.inf)
        trade = np.zeros(len(owner))
        for candidate in (steps, np.minimum(steps + 1, most)):
            point = candidate * step
            value = np.where(fewest <= most, self._value(point, q, slope, offset), np.inf)
            trade = np.where(value < best, point, trade)
            best = np.minimum(best, value)
        # the exact sell-out is the left end of the piece that reaches it
        out = grid.sell_out[owner] & (pieces.left <= -grid.all[owner] + WEIGHT_TOLERANCE)
        value = np.where(out, self._value(pieces.left, q, slope, offset), np.inf)
        trade = np.where(value < best, pieces.left, trade)
        best = np.minimum(best, value)
        at_zero = np.where(grid.may_rest, self._at_zero(curvature), np.inf)
        least, at = self._least(best, trade)
        sales = np.where(pieces.right <= 0, best, np.inf)
        harmless = np.where(pieces.loses, np.inf, best)
        return AssetMinima(
            value=np.minimum(least, at_zero),
            trade=np.where(at_zero < least, 0.0, at),
            no_purchase=np.minimum(np.minimum.reduceat(sales, pieces.first), at_zero),
            no_loss=np.minimum(np.minimum.reduceat(harmless, pieces.first), at_zero),
            branch_value=np.zeros(0),
        )

    def at_no_weight(self, dual: DualPoint) -> FloatArray:
        """Return (N,) each asset's priced cost with nothing of it held; infinite where that cannot be reached."""
        pieces, order = self.pieces, self.cost.order
        curvature, slope, offset = self._priced(dual)
        value = self._value(pieces.left, curvature[pieces.asset], slope, offset)[pieces.first]
        empty = (pieces.left[pieces.first] <= -order.sellable + WEIGHT_TOLERANCE) & ~order.has_locked
        return np.where(empty, value, np.inf)

    def bound(self, dual: DualPoint, minima: AssetMinima) -> float:
        """Return D, given the inner minima at ``dual``."""
        z, eta, g = dual.exposures, dual.cash_price, self.risk_aversion + dual.risk_price
        constant = g * float((2 * z * self.risk.exposures(self.cost.active) - z * z).sum())
        limit = self.cash.most if eta > 0 else self.cash.least
        priced = 0.0 if eta == 0 else -eta * limit
        group = self.limits.group
        alone = group < 0
        total = float(minima.value[alone].sum())
        if not alone.all():
            total += float(np.minimum(*self.group_values(minima)).sum())
        if self.rows.any:
            if dual.risk_price > 0:
                priced -= dual.risk_price * self.rows.te_max * self.rows.te_max
            priced -= self.rows.priced(dual.rows(self.cost.rows))
        return constant + priced + total

    def group_values(self, minima: AssetMinima) -> tuple[FloatArray, FloatArray]:
        """Return (G,) sums of each group's least values: nothing bought, and no loss sold."""
        grouped = self.limits.group >= 0
        label = self.limits.group[grouped]
        count = int(label.max(initial=-1)) + 1
        return (
            np.bincount(label, weights=minima.no_purchase[grouped], minlength=count).astype(np.float64),
            np.bincount(label, weights=minima.no_loss[grouped], minlength=count).astype(np.float64),
        )

    def _priced(self, dual: DualPoint) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (N,) curvatures, (P,) slopes and (P,) offsets with the coupling constraints' prices in them."""
        pieces, g, curvature = self.pieces, self.risk_aversion, self.cost.curvature
        owner = pieces.asset
        side = np.where(pieces.right <= 0, -1.0, 1.0)
        factor = 2 * (g + dual.risk_price) * self.risk.price(dual.exposures)
        slope = pieces.slope + (factor[owner] + dual.cash_price * (1.0 + side * self.cost_rate[owner]))
        offset = pieces.offset
        if self.rows.any:
            prices = dual.rows(self.cost.rows)
            slope = slope + np.einsum("r,rp->p", prices, pieces.row_slope)
            offset = offset + np.einsum("r,rp->p", prices, pieces.row_offset)
            curvature = curvature * (1.0 + dual.risk_price / g)
        return curvature, slope, offset

    def _value(self, u: FloatArray, q: FloatArray, slope: FloatArray, offset: FloatArray) -> FloatArray:
        moved = self.cost.active[self.pieces.asset] + u
        return q * moved * moved + slope * u + offset

    def _at_zero(self, curvature: FloatArray) -> FloatArray:
        active = self.cost.active
        return np.where(self.limits.rests(), curvature * active * active, np.inf)

    def _least(self, value: FloatArray, trade: FloatArray) -> tuple[FloatArray, FloatArray]:
        first, owner = self.pieces.first, self.pieces.asset
        least = np.minimum.reduceat(value, first)
        position = np.where(value <= least[owner], np.arange(len(value)), len(value))
        at = np.minimum(np.minimum.reduceat(position, first), len(value) - 1)
        return least, trade[at]


def branch_of(pieces: Pieces, trade: FloatArray) -> IntArray:
    """Return (N,) the branch on which each trade lies; of two that meet in it the left one."""
    reaches = np.where(pieces.right >= trade[pieces.asset], np.arange(len(pieces.asset)), len(pieces.asset))
    last = np.append(pieces.first[1:], len(pieces.asset)) - 1
    at = np.minimum(np.minimum.reduceat(reaches, pieces.first), last)
    # without a trade no order is placed
    resting = pieces.rests.nonzero()[0]
    resting = resting[trade[pieces.asset[resting]] == 0]
    at[pieces.asset[resting]] = resting
    branch: IntArray = pieces.branch[at]
    return branch
