"""From trade weights to tradable amounts: nearest first, then whatever single step improves, cash always in its range.

No name changes its side, no lot is oversold, no trade below the minimum is kept. A position that is sold whole is sold
exactly as its lots hold it, whether or not that is a whole number of steps.
"""

from dataclasses import dataclass, field

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.active_risk import FactorRisk
from prometheus.optimizer.assembly import CashRange
from prometheus.optimizer.asset_functions import SeparableCost
from prometheus.optimizer.coupling import RowLimits
from prometheus.optimizer.problem import FloatArray, RebalanceProblem
from prometheus.optimizer.rounding_limits import WORTHWHILE, AllLimits, Effects
from prometheus.optimizer.share_grid import ShareGrid
from prometheus.optimizer.trade_range import WEIGHT_TOLERANCE, TradeRange

#: Most improving steps, as a multiple of the number of names.
_STEPS_A_NAME = 2
#: Most pairs of steps that improve where no single one does: each costs a look at some thousand pairs.
_MAX_PAIRS = 20
#: Most repairing changes where there are limits besides cash, as a multiple of the number of names.
_REPAIRS_A_NAME = 2
#: Cash is brought into its range by at most this weight of one name at a time (half a basis point).
_PORTION = 5e-5


def one_side(limits: TradeRange, trades: FloatArray) -> TradeRange:
    """Return the range that keeps every name on the side of its trade; a name without a trade may take either."""
    return TradeRange(
        low=np.where(trades > 0, np.maximum(limits.low, 0.0), limits.low),
        high=np.where(trades < 0, np.minimum(limits.high, 0.0), limits.high),
        group=limits.group,
    )


@dataclass(frozen=True, slots=True, eq=False)
class RoundingModel:
    """What rounding needs to know of a problem.

    Attributes:
        problem: Gives risk aversion, cost rates and names.
        risk: Factor risk.
        cost: Separable cost.
        grid: The tradable amounts, on the sides that stay allowed.
        cash: Range of the cash used.
        rows: Limits besides cash.
    """

    problem: RebalanceProblem
    risk: FactorRisk
    cost: SeparableCost
    grid: ShareGrid
    cash: CashRange
    rows: RowLimits = field(default_factory=RowLimits)

    def missed(self, used: FloatArray) -> FloatArray:
        """Return by how much amounts of cash used exceed their range (positive) or fall short of it (negative)."""
        over: FloatArray = np.maximum(used - self.cash.most, 0.0) - np.maximum(self.cash.least - used, 0.0)
        # the last bit of a sum must not buy a share
        over[np.abs(over) <= WEIGHT_TOLERANCE] = 0.0
        return over


def round_trades(model: RoundingModel, trades: FloatArray) -> FloatArray:
    """Return (N,) whole numbers of steps, -inf for an exact sell-out.

    Args:
        model: The problem.
        trades: (N,) trade weights before rounding.

    Raises:
        InfeasibleProblemError: No step leads into the cash range; the message says by how much it is missed.
    """
    grid = model.grid
    # what was sold to the last share stays sold
    sold_out = grid.sell_out & (trades <= -grid.all * (1 - 1e-9))
    state = _State(model, np.where(sold_out, -np.inf, grid.nearest(trades)))
    if model.rows.any:
        return _round_within_limits(model, state)
    _into_cash_range(model, state)
    for _ in range(_STEPS_A_NAME * len(trades)):
        change, cash = state.moves()
        legal = model.missed(state.cash_used + cash) == 0
        change = np.where(legal, change, np.inf)
        best = int(np.argmin(change))
        if not change.flat[best] < -WORTHWHILE:
            break
        state.take(best)
    return _improved(model, state)


def rounding_state(model: RoundingModel, steps: FloatArray) -> "_State":
    """Return the state of (N,) rounded trades, for searches that go on from there."""
    return _State(model, steps)


def improved_steps(model: RoundingModel, steps: FloatArray) -> FloatArray:
    """Return (N,) steps after the single steps and pairs that improve and keep every limit."""
    return _improved(model, _State(model, steps))


def _improved(model: RoundingModel, state: "_State") -> FloatArray:
    """Take the steps that improve and keep every limit: single ones, and pairs where no single one is left."""
    limits, names = AllLimits(model.cash, model.rows), len(state.steps)
    pairs = 0
    for _ in range(_STEPS_A_NAME * names):
        cash, use, variance = state.position()
        targets = state.neighbours()
        effects = state.effects(targets)
        after = limits.missed(cash + effects.cash, use[:, None] + effects.use, variance + effects.variance)
        change = np.where(after == 0, effects.change, np.inf)
        best = int(np.argmin(change))
        chosen: tuple[int, ...] = (best,)
        if not change[best] < -WORTHWHILE:
            at = (cash, use, variance)
            pair = limits.improving_pair(at, effects, model.risk, model.problem.risk_aversion)
            pairs += 1
            if pair is None or pairs > _MAX_PAIRS:
                break
            chosen = pair
        for one in chosen:
            state.move(one % names, float(targets.ravel()[one]))
    return state.steps


def _into_cash_range(model: RoundingModel, state: "_State") -> None:
    """Take the steps that cost least for the cash they move, until the range is met."""
    while True:
        over = float(model.missed(np.array([state.cash_used]))[0])
        missed = abs(over)
        if missed == 0:
            return
        steps, change, cash = state.towards(-np.sign(over), min(missed, _PORTION))
        progress = missed - np.abs(model.missed(state.cash_used + cash))
        better = np.isfinite(change) & (progress > 0)
        if not better.any():
            if _take_pair(model, state, missed):
                continue
            low, high = model.problem.cash_min, model.problem.cash_max
            raise InfeasibleProblemError(
                f"whole steps of shares cannot bring cash into its range of {low:.4%} to {high:.4%} of NAV: it is "
                f"missed by {missed:.6%}. Widen the range by the value of one share.",
                details={
                    "constraint": "cash range in whole steps",
                    "required": high - low,
                    "reachable": high - low + missed,
                    "violation": missed,
                },
            )
        # names that can move but a sliver come last, or a thousand slivers would be tried one by one
        ample = better & (progress >= 0.25 * min(missed, _PORTION))
        usable = ample if ample.any() else better
        rate = np.full(len(change), np.inf)
        rate[usable] = change[usable] / progress[usable]
        best = int(np.argmin(rate))
        state.move(best, float(steps[best]))


def _take_pair(model: RoundingModel, state: "_State", missed: float) -> bool:
    """Step two names at once where no single step comes nearer to the cash range; say whether a pair was found.

    Whole shares are coarse, their differences are not: one name's step up and another's step down reach cash that no
    step alone can.
    """
    change, cash = (table.ravel() for table in state.moves())
    off = np.abs(model.missed(state.cash_used + cash[:, None] + cash[None, :]))
    name = np.tile(np.arange(len(cash) // 2), 2)
    off[~np.isfinite(change), :] = np.inf
    off[:, ~np.isfinite(change)] = np.inf
    off[name[:, None] == name[None, :]] = np.inf
    least = float(off.min(initial=np.inf))
    if not least < missed:
        return False
    ties = np.argwhere(off <= least)
    first, second = ties[np.argmin(change[ties[:, 0]] + change[ties[:, 1]])]
    state.take(int(first))
    state.take(int(second))
    return True


def _round_within_limits(model: RoundingModel, state: "_State") -> FloatArray:
    """Meet every limit by the cheapest changes, then take the single steps that improve and keep them all."""
    limits = AllLimits(model.cash, model.rows)
    names = len(state.steps)
    for _ in range(_REPAIRS_A_NAME * names + 100):
        cash, use, variance = state.position()
        missed = float(limits.missed(np.array([cash]), use[:, None], np.array([variance]))[0])
        if missed == 0:
            break
        portion = min(missed, _PORTION)
        targets = np.concatenate(
            [
                np.stack([state.shifted(sign, amount) for sign in (-1.0, 1.0) for amount in (portion, missed)]),
                state.neighbours(),
            ]
        )
        effects = state.effects(targets)
        after = limits.missed(cash + effects.cash, use[:, None] + effects.use, variance + effects.variance)
        progress = np.where(np.isfinite(effects.change), missed - after, -np.inf)
        ample = progress >= 0.25 * portion
        usable = ample if ample.any() else progress > WEIGHT_TOLERANCE
        if usable.any():
            rate = np.full(len(progress), np.inf)
            rate[usable] = effects.change[usable] / progress[usable]
            best = int(np.argmin(rate))
            state.move(best % names, float(targets.ravel()[best]))
            continue
        pair = limits.best_pair((cash, use, variance), effects, model.risk)
        if pair is None:
            raise limits.refuse(cash, use, variance)
        for one in pair:
            state.move(one % names, float(targets.ravel()[one]))
    else:
        raise limits.refuse(*state.position())
    return _improved(model, state)


class _State:
    """Current steps with the effect of moving any name to its neighbours on the grid."""

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
        """Return (N,) steps that move each name by about ``amount`` in one direction, their cost and their cash.

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

    def neighbours(self) -> FloatArray:
        """Return (2, N) the next tradable steps below and above."""
        return self._target

    def shifted(self, sign: float, amount: float) -> FloatArray:
        """Return (N,) steps about ``amount`` away in one direction."""
        return self._grid.shifted(self.steps, sign * np.ceil(amount / self._grid.step))

    def effects(self, targets: FloatArray) -> Effects:
        """Return what moving single names to (rows, N) targets would do; candidates are numbered row by row."""
        count, names = targets.shape
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
            asset=np.tile(np.arange(names), count),
            delta=delta.ravel(),
        )

    def take(self, move: int) -> None:
        """Move one name to a neighbour; ``move`` is an index into the flattened (2, N) moves."""
        row, i = divmod(move, len(self.steps))
        self.move(i, float(self._target[row, i]))

    def move(self, asset: int, steps: float) -> None:
        """Move one name to a number of steps."""
        i, before, after = asset, float(self.trades[asset]), self._grid.weight_of(asset, steps)
        self.steps = self.steps.copy()
        self.steps[i], self.trades[i] = steps, after
        self._value[i] = self._cost.of_name(i, after)
        self._exposures = self._exposures + self._risk.exposures_of(i, after - before)
        rate = float(self._problem.cost_rate[i])
        self.cash_used += after + rate * abs(after) - before - rate * abs(before)
        for side, target in enumerate(self._grid.neighbours_of(i, steps)):
            moved = self._grid.weight_of(i, target)
            self._target[side, i], self._moved[side, i] = target, moved
            self._values[side, i] = self._cost.of_name(i, moved)
