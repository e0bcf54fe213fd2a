"""Rounded trades and what changing them would do: cost, cash, limits and risk of moving assets along the grid."""

from dataclasses import dataclass, field

import numpy as np

from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.asset_functions import SeparableCost
from prometheus.optimizer.problem.coupling import RowLimits
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem
from prometheus.optimizer.problem.share_grid import ShareGrid
from prometheus.optimizer.problem.trade_range import WEIGHT_TOLERANCE, CashRange
from prometheus.optimizer.rounding.exchanges import improving_exchange
from prometheus.optimizer.rounding.limits import AllLimits, Effects


@dataclass(frozen=True, slots=True, eq=False)
class RoundingModel:
    """The parts of a problem that rounding needs.

    Attributes:
        problem: Gives risk aversion, cost rates and assets.
        risk: Factor risk.
        cost: Separable cost.
        grid: The tradable amounts, on the sides that stay allowed.
        cash: Range of the cash used.
        rows: Limits besides cash.
        cash_at_rest: Range of the cash used where nothing is traded; ``cash`` where it is None.
    """

    problem: RebalanceProblem
    risk: FactorRisk
    cost: SeparableCost
    grid: ShareGrid
    cash: CashRange
    rows: RowLimits = field(default_factory=RowLimits)
    cash_at_rest: CashRange | None = None

    def missed(self, used: FloatArray) -> FloatArray:
        """Return by how much amounts of cash used exceed their range (positive) or fall short of it (negative)."""
        over: FloatArray = np.maximum(used - self.cash.most, 0.0) - np.maximum(self.cash.least - used, 0.0)
        # a difference of the last bit of a sum is no reason to buy a share
        over[np.abs(over) <= WEIGHT_TOLERANCE] = 0.0
        return over

    def exchange(
        self, limits: AllLimits, at: tuple[float, FloatArray, float], effects: Effects, dual: DualPoint
    ) -> tuple[int, ...] | None:
        """Return the two or three candidates that improve most together, those cheapest at the prices looked at."""
        prices = dual.rows(len(self.rows.names))
        rank = effects.change + dual.cash_price * effects.cash + np.einsum("r,rm->m", prices, effects.use)
        rank += dual.risk_price * effects.variance
        return improving_exchange(limits, at, effects, self.risk, self.problem.risk_aversion, rank)


class RoundingState:
    """Current steps with the effect of moving any asset to its neighbours on the grid."""

    def __init__(self, model: RoundingModel, steps: FloatArray) -> None:
        self._problem, self._risk, self._cost, self._grid = model.problem, model.risk, model.cost, model.grid
        self._norms = model.risk.shared_variance()
        self.steps = steps
        self.trades = self._grid.weight(steps)
        self._exposures = self._risk.exposures(self._cost.active + self.trades)
        self._value = self._cost(self.trades)
        self._target = np.stack([self._grid.below(steps), self._grid.above(steps)])
        self._moved = np.stack([self._grid.weight(row) for row in self._target])
        self._values = np.stack([self._cost(np.where(np.isnan(row), 0.0, row)) for row in self._moved])
        self.cash_used = float(self._cash_of(self.trades).sum())

    def _cash_of(self, trades: FloatArray) -> FloatArray:
        used: FloatArray = trades + self._problem.cost_rate * np.abs(trades)
        return used

    def moves(self) -> tuple[FloatArray, FloatArray]:
        """Return (2, N) the change of the objective and of the cash used; infinite where there is no neighbour."""
        delta = self._moved - self.trades
        price = self._risk.price(self._exposures)
        change = (
            self._values - self._value + self._problem.risk_aversion * (2 * price * delta + self._norms * delta * delta)
        )
        cash = self._cash_of(self._moved) - self._cash_of(self.trades)
        none = np.isnan(delta)
        return np.where(none, np.inf, change), np.where(none, 0.0, cash)

    def towards(self, sign: float, amount: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (N,) steps that move each asset by about ``amount`` in one direction, their cost and their cash.

        Args:
            sign: +1 buys more or sells less, -1 the other way.
            amount: Weight to move, at least one step.
        """
        count = np.ceil(amount / self._grid.step)
        steps = self._grid.shifted(self.steps, sign * count)
        moved = self._grid.weight(steps)
        delta = moved - self.trades
        price = self._risk.price(self._exposures)
        change = (
            self._cost(np.where(np.isnan(moved), 0.0, moved))
            - self._value
            + self._problem.risk_aversion * (2 * price * delta + self._norms * delta * delta)
        )
        none = np.isnan(delta)
        cash = np.where(none, 0.0, self._cash_of(moved) - self._cash_of(self.trades))
        return steps, np.where(none, np.inf, change), cash

    def position(self) -> tuple[float, FloatArray, float]:
        """Return cash used, (R,) uses of the coupling rows and active variance."""
        moved = self._cost.active + self.trades
        variance = float((self._exposures**2).sum() + (self._risk.specific_variance * moved * moved).sum())
        return self.cash_used, self._cost.row_use(self.trades).sum(axis=1), variance

    def objective(self) -> float:
        """Return the objective of the trades."""
        return self._problem.risk_aversion * float((self._exposures**2).sum()) + float(self._value.sum())

    def neighbours(self) -> FloatArray:
        """Return (2, N) the next tradable steps below and above."""
        return self._target

    def candidates(self) -> FloatArray:
        """Return (5, N) the next two tradable steps below and above, and no trade where there is one; NaN for none."""
        grid, (below, above) = self._grid, self._target
        none = np.where((self.steps != 0) & grid.may_rest, 0.0, np.nan)
        return np.stack([below, above, grid.below(below), grid.above(above), none])

    def with_cash(self, amount: float) -> FloatArray:
        """Return (3, N) tradable steps of each asset that would change the cash used by about an amount."""
        used = self._cash_of(self.trades) + amount
        rate = np.where(used < 0, -1.0, 1.0) * self._problem.cost_rate
        nearest = self._grid.nearest(used / np.maximum(1.0 + rate, WEIGHT_TOLERANCE))
        return np.stack([nearest, self._grid.below(nearest), self._grid.above(nearest)])

    def shifted(self, sign: float, amount: float) -> FloatArray:
        """Return (N,) steps about ``amount`` away in one direction."""
        return self._grid.shifted(self.steps, sign * np.ceil(amount / self._grid.step))

    def effects(self, targets: FloatArray) -> Effects:
        """Return what moving single assets to (rows, N) targets would do; candidates are numbered row by row."""
        count, asset_count = targets.shape
        moved = np.stack([self._grid.weight(row) for row in targets])
        none = np.isnan(moved)
        moved = np.where(none, self.trades, moved)
        delta = moved - self.trades
        risk = 2 * self._risk.price(self._exposures) * delta + self._norms * delta * delta
        own = np.stack([self._cost(row) for row in moved]) - self._value
        change = np.where(none, np.inf, own + self._problem.risk_aversion * risk)
        away = self._cost.active + self.trades
        variance = risk + self._risk.specific_variance * (2 * away + delta) * delta
        use_now = self._cost.row_use(self.trades)
        use = np.concatenate([self._cost.row_use(row) - use_now for row in moved], axis=1)
        return Effects(
            change=change.ravel(),
            cash=(self._cash_of(moved) - self._cash_of(self.trades)).ravel(),
            use=use,
            variance=variance.ravel(),
            asset=np.tile(np.arange(asset_count), count),
            delta=delta.ravel(),
        )

    def take(self, move: int) -> None:
        """Move one asset to a neighbour; ``move`` is an index into the flattened (2, N) moves."""
        row, i = divmod(move, len(self.steps))
        self.move(i, float(self._target[row, i]))

    def move(self, asset: int, steps: float) -> None:
        """Move one asset to a number of steps."""
        i, before, after = asset, float(self.trades[asset]), self._grid.weight_of(asset, steps)
        self.steps = self.steps.copy()
        self.steps[i], self.trades[i] = steps, after
        self._value[i] = self._cost.of_asset(i, after)
        self._exposures = self._exposures + self._risk.exposures_of(i, after - before)
        rate = float(self._problem.cost_rate[i])
        self.cash_used += after + rate * abs(after) - before - rate * abs(before)
        for side, target in enumerate(self._grid.neighbours_of(i, steps)):
            moved = self._grid.weight_of(i, target)
            self._target[side, i], self._moved[side, i] = target, moved
            self._values[side, i] = self._cost.of_asset(i, moved)
