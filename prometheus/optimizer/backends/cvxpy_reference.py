"""An independent reference: section 2 of docs/specs/optimizer.md, stated for CVXPY with every side fixed.

Written from ``RebalanceProblem`` alone. It shares no lot order, no envelope, no assembly and no certificate with the
rest of the package, works asset by asset in plain loops, and is slow on purpose: where it and the optimizer disagree,
one of them is wrong. Each rule of the problem is one method of ``SidedModel``; a further rule is a further method,
named in ``SidedModel.RULES``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final

import cvxpy
import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError, InvalidProblemError, SolverFailedError
from prometheus.optimizer.backends.cvxpy import solve_tightly
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray, RebalanceProblem, read_only

#: CVXPY declares types for a part of its names only.
cp: Any = cvxpy
#: Stretches of a sale shorter than this are left out (fraction of NAV).
_NOTHING: Final = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceAnswer:
    """The optimum of the problem with its sides fixed.

    Attributes:
        trades: (N,) u, fraction of NAV.
        objective: Objective, the tilt on the holdings included, as in ``Certificate.objective``.
        status: The solver's own status.
    """

    trades: FloatArray
    objective: float
    status: str


def solve_sides(
    problem: RebalanceProblem,
    side: IntArray | Sequence[int],
    *,
    between: tuple[FloatArray, FloatArray] | None = None,
    tolerance: float = 1e-12,
) -> ReferenceAnswer:
    """Solve the problem with the side of every trade given; it is convex then.

    Args:
        problem: The problem.
        side: (N,) +1: the asset may be bought, -1: it may be sold, 0: it is not traded. An order is placed in every
            asset with a side, however small, and costs ``problem.order_cost``.
        between: (N,) least and (N,) greatest trades, to single out one stretch of a lot order that is not convex.
            Where the order of the lots within the allowed stretch has falling marginal tax (FIFO), the tax is
            replaced by its lower convex hull over that stretch.
        tolerance: Tolerance of the solver for gap and feasibility.

    Raises:
        InvalidProblemError: ``side`` is not one of -1, 0, +1 for each asset.
        InfeasibleProblemError: No trades on these sides meet every rule.
        SolverFailedError: The solver stopped without an answer.

    Source: docs/specs/optimizer.md, section 2.
    """
    model = SidedModel(problem, np.asarray(side), between)
    stated = cp.Problem(cp.Minimize(model.objective()), model.constraints())
    solve_tightly(stated, tolerance)
    if stated.status in {cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE}:
        raise InfeasibleProblemError("no trades on the given sides meet every rule of the problem.")
    if stated.status not in {cp.OPTIMAL, cp.OPTIMAL_INACCURATE}:
        raise SolverFailedError(f"the reference model stopped with {stated.status}.")
    return ReferenceAnswer(read_only(model.trades.value), float(stated.value), str(stated.status))


class SidedModel:
    """The variables of section 2 and one method for each of its terms and rules.

    Attributes:
        trades: (N,) u.
        volume: (N,) |u|, linear because the sides are fixed.
        weights: (N,) h + u.
        active: (N,) weights less the benchmark's, which a cash flow scales.
        exposures: (K,) y, factor exposures of the active weights in units of annualised volatility.
    """

    #: Objective terms and rules by the names of their methods.
    TERMS: ClassVar = ("active_risk", "trading_cost", "tax", "tilt", "orders")
    RULES: ClassVar = (
        "sales_and_purchases",
        "factor_exposures",
        "bounds",
        "permissions",
        "cash_range",
        "linear_limits",
        "turnover",
        "realized_gain",
        "tracking_error",
        "long_short",
    )

    def __init__(
        self, problem: RebalanceProblem, side: IntArray, between: tuple[FloatArray, FloatArray] | None
    ) -> None:
        if side.shape != (problem.size,) or not np.isin(side, (-1, 0, 1)).all():
            raise InvalidProblemError(f"side must hold -1, 0 or +1 for each of the {problem.size} assets.")
        self._problem = problem
        self._side = side
        self._least, self._most = between if between is not None else _everything(problem.size)
        self._root = _factor_root(problem.factor_covariance)
        self._sales = [self._stretches_of_sale(i) for i in range(problem.size)]
        stretches = [(i, *stretch) for i, sale in enumerate(self._sales) for stretch in sale.stretches]
        self._length = np.array([length for _, length, _, _ in stretches])
        self._rate = np.array([rate for _, _, rate, _ in stretches])
        self._gain = np.array([gain for _, _, _, gain in stretches])
        owner = np.zeros((problem.size, len(stretches)))
        for column, (i, _, _, _) in enumerate(stretches):
            owner[i, column] = 1.0

        self._covers = {i: self._stretches_of_cover(i) for i in sorted(set(problem.short_asset.tolist()))}
        self._covering = {i: cp.Variable(len(cover.stretches)) for i, cover in self._covers.items() if cover.stretches}

        self._bought = cp.Variable(problem.size)
        self._sold = cp.Variable(len(stretches)) if stretches else cp.Constant(np.zeros(0))
        sales = np.array([sale.forced for sale in self._sales])
        if stretches:
            sales = sales + owner @ self._sold
        self.exposures = cp.Variable(self._root.shape[1])
        self.trades = self._bought - sales
        self.volume = self._bought + sales
        self.weights = _weights_before(problem) + self.trades
        self.active = self.weights - (1.0 + problem.cash_flow) * problem.benchmark_weights

    def objective(self) -> Any:
        """Return the sum of the terms."""
        return sum(term() for term in self._methods(self.TERMS))

    def constraints(self) -> list[Any]:
        """Return every rule's constraints."""
        return [constraint for rule in self._methods(self.RULES) for constraint in rule()]

    def _methods(self, method_names: tuple[str, ...]) -> list[Callable[[], Any]]:
        return [getattr(self, name) for name in method_names]

    # ------------------------------------------------------------------ terms

    def active_risk(self) -> Any:
        """Return g (w - w_bm)' Sigma (w - w_bm)."""
        problem = self._problem
        own = cp.multiply(np.sqrt(problem.specific_variance), self.active)
        alone = np.ones(problem.size, dtype=bool)
        linked = []
        for block in problem.specific_blocks:
            alone[block.names] = False
            away = self.active[block.names]
            linked.append(cp.quad_form(away, cp.psd_wrap(block.covariance)))
        return problem.risk_aversion * (cp.sum_squares(self.exposures) + cp.sum_squares(own[alone]) + sum(linked))

    def trading_cost(self) -> Any:
        """Return the cost of what is bought and sold."""
        return self._problem.cost_rate @ self.volume

    def tax(self) -> Any:
        """Return theta times the tax on what is sold and covered, and the cost of borrowing what stays short."""
        forced = sum(sale.forced_tax for sale in self._sales)
        problem = self._problem
        for weight, i in zip(problem.short_weight.tolist(), problem.short_asset.tolist(), strict=True):
            forced += weight * float(problem.borrow_rate[i])
        for i, cover in self._covers.items():
            forced += cover.forced_tax
            if cover.stretches:
                forced = forced + np.array([rate for _, rate, _ in cover.stretches]) @ self._covering[i]
        return forced + self._rate @ self._sold if len(self._rate) else forced

    def tilt(self) -> Any:
        """Return what the tilt rewards, as a cost."""
        return -(self._problem.tilt @ self.weights)

    def orders(self) -> Any:
        """Return what the orders cost: a constant, because the sides are fixed."""
        return self._problem.order_cost * int(np.count_nonzero(self._side))

    # ------------------------------------------------------------------ rules

    def sales_and_purchases(self) -> list[Any]:
        """Keep purchases to the buying side and sales to what the lots hold."""
        buys = self._side > 0
        rules = [
            self._bought >= np.where(buys, np.maximum(self._least, 0.0), 0.0),
            self._bought[~buys] == 0.0,
        ]
        limited = buys & np.isfinite(self._most)
        rules.append(self._bought[limited] <= np.maximum(self._most[limited], 0.0))
        if len(self._length):
            rules += [self._sold >= 0.0, self._sold <= self._length]
        for i, cover in self._covers.items():
            if cover.stretches:
                length = np.array([length for length, _, _ in cover.stretches])
                covering = self._covering[i]
                rules += [covering >= 0.0, covering <= length, self._bought[i] == cover.forced + cp.sum(covering)]
        return rules

    def factor_exposures(self) -> list[Any]:
        """Tie the exposures to the active weights."""
        problem = self._problem
        return [self.exposures == (problem.loadings @ self._root).T @ self.active]

    def bounds(self) -> list[Any]:
        """Keep every weight within its bounds."""
        return [self.weights >= self._problem.lower, self.weights <= self._problem.upper]

    def permissions(self) -> list[Any]:
        """Forbid purchases and sales where they are not allowed."""
        return [self.trades[~self._problem.can_buy] <= 0.0, self.trades[~self._problem.can_sell] >= 0.0]

    def cash_range(self) -> list[Any]:
        """Keep cash after trades and their costs within its range."""
        problem = self._problem
        cash = problem.cash + problem.cash_flow - cp.sum(self.trades) - self.trading_cost()
        return [cash >= problem.cash_min, cash <= problem.cash_max]

    def linear_limits(self) -> list[Any]:
        """Keep sectors, factors and other linear limits within their bounds."""
        rules = []
        for r in range(len(self._problem.row_names)):
            value = self._problem.row_matrix[r] @ self.weights
            if np.isfinite(self._problem.row_upper[r]):
                rules.append(value <= self._problem.row_upper[r])
            if np.isfinite(self._problem.row_lower[r]):
                rules.append(value >= self._problem.row_lower[r])
        return rules

    def turnover(self) -> list[Any]:
        """Keep half of what is bought and sold within the turnover limit."""
        limit = self._problem.turnover_max
        return [cp.sum(self.volume) / 2 <= limit] if np.isfinite(limit) else []

    def realized_gain(self) -> list[Any]:
        """Keep the gains of the lots sold within their budget."""
        if not np.isfinite(self._problem.gain_max):
            return []
        gain = sum(sale.forced_gain for sale in self._sales)
        if len(self._length):
            gain = gain + self._gain @ self._sold
        for i, cover in self._covers.items():
            gain = gain + cover.forced_gain
            if cover.stretches:
                gain = gain + np.array([rate for _, _, rate in cover.stretches]) @ self._covering[i]
        return [gain <= self._problem.gain_max]

    def tracking_error(self) -> list[Any]:
        """Keep the annualised tracking error within its limit."""
        problem = self._problem
        if not np.isfinite(problem.te_max):
            return []
        parts = [self.exposures]
        alone = np.ones(problem.size, dtype=bool)
        for block in problem.specific_blocks:
            alone[block.names] = False
            parts.append(_factor_root(block.covariance).T @ self.active[block.names])
        own = cp.multiply(np.sqrt(problem.specific_variance), self.active)
        return [cp.norm(cp.hstack([*parts, own[alone]])) <= problem.te_max]

    def long_short(self) -> list[Any]:
        """Keep the sums of long and of short positions within their limits."""
        problem = self._problem
        if not problem.may_be_short:
            return []
        rules = [cp.sum(cp.neg(self.weights)) <= problem.short_max]
        if np.isfinite(problem.long_max):
            rules.append(cp.sum(cp.pos(self.weights)) <= problem.long_max)
        return rules

    # ------------------------------------------------------------------ lots

    def _stretches_of_sale(self, asset: int) -> "_Sale":
        """Return what selling an asset costs in tax, as stretches of rising rate; the group rule cuts it short."""
        if self._side[asset] >= 0:
            return _Sale(0.0, 0.0, 0.0, [])
        problem = self._problem
        lots = [j for j in range(len(problem.lot_id)) if problem.lot_asset[j] == asset and not problem.lot_locked[j]]
        lots.sort(key=lambda j: int(problem.lot_rank[j]))
        in_group = problem.group == problem.group[asset]
        # an asset of the group may be bought today: no loss may be sold in it
        harmless = bool((self._side[in_group] > 0).any())
        points = [(0.0, 0.0, 0.0)]
        for j in lots:
            if harmless and problem.lot_is_loss[j] and problem.lot_weight[j] > 0:
                break
            amount, tax, gain = points[-1]
            weight = float(problem.lot_weight[j])
            realized = float(problem.lot_gain[j]) if len(problem.lot_gain) else 0.0
            cost = weight * problem.tax_weight * float(problem.lot_tax[j])
            points.append((amount + weight, tax + cost, gain + weight * realized))
        else:
            locked = any(problem.lot_asset[j] == asset and problem.lot_locked[j] for j in range(len(problem.lot_id)))
            if problem.short_max > 0 and np.isfinite(problem.borrow_rate[asset]) and not locked:
                amount, tax, gain = points[-1]
                weight = max(min(_weights_before(problem)[asset], 0.0) - float(problem.lower[asset]), 0.0)
                points.append((amount + weight, tax + weight * float(problem.borrow_rate[asset]), gain))
        return _sale_between(points, max(-float(self._most[asset]), 0.0), max(-float(self._least[asset]), 0.0))

    def _stretches_of_cover(self, asset: int) -> "_Sale":
        """Return what buying an asset that is short costs beside other purchases: tax, less the borrowing it saves."""
        if self._side[asset] <= 0:
            return _Sale(0.0, 0.0, 0.0, [])
        problem = self._problem
        points = [(0.0, 0.0, 0.0)]
        for s in np.flatnonzero(problem.short_asset == asset).tolist():
            amount, paid, gain = points[-1]
            weight = float(problem.short_weight[s])
            rate = problem.tax_weight * float(problem.cover_tax[s]) - float(problem.borrow_rate[asset])
            realized = float(problem.cover_gain[s]) if len(problem.cover_gain) else 0.0
            points.append((amount + weight, paid + weight * rate, gain + weight * realized))
        owed, paid, gain = points[-1]
        most = float(problem.upper[asset]) + owed
        points.append((max(most, owed), paid, gain))
        return _sale_between(points, max(float(self._least[asset]), 0.0), min(max(float(self._most[asset]), 0.0), most))


@dataclass(frozen=True, slots=True)
class _Sale:
    """The part of a sale that is not free, its cost (theta times tax, borrowing), its gain, and what lies beyond it.

    ``stretches`` have length, cost and gain a unit.
    """

    forced: float
    forced_tax: float
    forced_gain: float
    stretches: list[tuple[float, float, float]]


def _sale_between(points: list[tuple[float, float, float]], least: float, most: float) -> _Sale:
    """Cut a piecewise linear tax, given by its corners, to a range of sales and take its lower convex hull."""
    amounts = [amount for amount, _, _ in points]
    taxes = [tax for _, tax, _ in points]
    gains = [gain for _, _, gain in points]
    most = min(most, amounts[-1])
    least = min(least, most)
    corners = [least, *(amount for amount in amounts if least < amount < most), most]
    hull: list[tuple[float, float]] = []
    for amount in corners:
        point = (amount, float(np.interp(amount, amounts, taxes)))
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        if not hull or amount - hull[-1][0] > _NOTHING:
            hull.append(point)
    realized = [(amount, float(np.interp(amount, amounts, gains))) for amount, _ in hull]
    stretches = [
        (b[0] - a[0], _slope(a, b), _slope(c, d))
        for (a, b), (c, d) in zip(pairwise(hull), pairwise(realized), strict=True)
    ]
    return _Sale(hull[0][0], hull[0][1], realized[0][1], stretches)


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0]) if b[0] > a[0] else np.inf


def _everything(size: int) -> tuple[FloatArray, FloatArray]:
    return np.full(size, -np.inf), np.full(size, np.inf)


def _weights_before(problem: RebalanceProblem) -> FloatArray:
    weights = np.zeros(problem.size)
    for j, i in enumerate(problem.lot_asset.tolist()):
        weights[i] += problem.lot_weight[j]
    for s, i in enumerate(problem.short_asset.tolist()):
        weights[i] -= problem.short_weight[s]
    return weights


def _factor_root(covariance: FloatArray) -> FloatArray:
    """Return a root of the factor covariance by its eigenvectors, not by the optimizer's own factorisation."""
    values, vectors = np.linalg.eigh(covariance)
    root: FloatArray = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
