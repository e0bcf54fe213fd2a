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
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.coupling import RowLimits
from prometheus.optimizer.exchanges import improving_exchange
from prometheus.optimizer.problem import FloatArray, RebalanceProblem
from prometheus.optimizer.rounding_limits import WORTHWHILE, AllLimits, Effects
from prometheus.optimizer.share_grid import ShareGrid
from prometheus.optimizer.trade_range import WEIGHT_TOLERANCE, TradeRange

#: Most improving steps, as a multiple of the number of names.
_STEPS_A_NAME = 2
#: Most exchanges of two or three names where no single step improves.
_MAX_EXCHANGES = 60
#: Most repairing changes, as a multiple of the number of names and beside.
_REPAIRS_A_NAME = 2
_MORE_REPAIRS = 100
#: First changes that are tried with a second one that completes them.
_COMPLETED = 48
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
        # the last bit of a sum must not buy a share
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


def round_trades(model: RoundingModel, trades: FloatArray, dual: DualPoint) -> FloatArray:
    """Return (N,) whole numbers of steps, -inf for an exact sell-out.

    Args:
        model: The problem.
        trades: (N,) trade weights before rounding.
        dual: Prices of the limits at these trades.

    Raises:
        InfeasibleProblemError: No step leads into the limits; the message says by how much they are missed.
    """
    grid = model.grid
    # what was sold to the last share stays sold
    sold_out = grid.sell_out & (trades <= -grid.all * (1 - 1e-9))
    state = _State(model, np.where(sold_out, -np.inf, grid.nearest(trades)))
    if not _into_limits(model, state):
        raise _refusal(model, state)
    return _improved(model, state, dual)


def rest(model: RoundingModel, dual: DualPoint, steps: FloatArray | None) -> FloatArray | None:
    """Return (N,) steps at least as good as no trade at all, or what was given where no trade would break a limit.

    Args:
        model: The problem; its cash range is that of any trades, which no trade at all need not leave a cent of.
        dual: Prices of the limits.
        steps: Legal steps found otherwise; None for none.
    """
    if not model.grid.may_rest.all():
        return steps
    state = _State(model, np.zeros(len(model.grid.step)))
    cash, use, variance = state.position()
    at_rest = AllLimits(model.cash_at_rest or model.cash, model.rows)
    if at_rest.missed(np.array([cash]), use[:, None], np.array([variance]))[0] > 0:
        return steps
    if steps is not None and _State(model, steps).objective() <= state.objective():
        return steps
    return _improved(model, state, dual)


def worth(model: RoundingModel, steps: FloatArray) -> float:
    """Return the objective of (N,) steps, the tilt on the holdings left out."""
    return _State(model, steps).objective()


def _improved(model: RoundingModel, state: "_State", dual: DualPoint) -> FloatArray:
    """Take the steps that improve and keep every limit: single ones, and exchanges where no single one is left."""
    if not model.rows.any:
        _improve_alone(model, state)
    limits, names = AllLimits(model.cash, model.rows), len(state.steps)
    exchanges = 0
    for _ in range(_STEPS_A_NAME * names + _MAX_EXCHANGES):
        cash, use, variance = state.position()
        targets = state.candidates()
        effects = state.effects(targets)
        after = limits.missed(cash + effects.cash, use[:, None] + effects.use, variance + effects.variance)
        change = np.where(after == 0, effects.change, np.inf)
        best = int(np.argmin(change))
        chosen: tuple[int, ...] = (best,)
        if not change[best] < -WORTHWHILE:
            exchanges += 1
            if exchanges > _MAX_EXCHANGES:
                break
            exchange = model.exchange(limits, (cash, use, variance), effects, dual)
            if exchange is None:
                break
            chosen = exchange
        for one in chosen:
            state.move(one % names, float(targets.ravel()[one]))
    return state.steps


def _improve_alone(model: RoundingModel, state: "_State") -> None:
    """Take the single steps that improve and stay within the cash range, the only limit."""
    for _ in range(_STEPS_A_NAME * len(state.steps)):
        change, cash = state.moves()
        legal = model.missed(state.cash_used + cash) == 0
        change = np.where(legal, change, np.inf)
        best = int(np.argmin(change))
        if not change.flat[best] < -WORTHWHILE:
            break
        state.take(best)


def rounding_state(model: RoundingModel, steps: FloatArray) -> "_State":
    """Return the state of (N,) rounded trades, for searches that go on from there."""
    return _State(model, steps)


def improved_steps(model: RoundingModel, steps: FloatArray, dual: DualPoint) -> FloatArray:
    """Return (N,) steps after the single steps and exchanges that improve and keep every limit."""
    return _improved(model, _State(model, steps), dual)


def _into_limits(model: RoundingModel, state: "_State") -> bool:
    """Meet every limit by the cheapest changes; say whether they are met."""
    if not model.rows.any:
        _into_cash_range(model, state)
    limits = AllLimits(model.cash, model.rows)
    names = len(state.steps)
    for _ in range(_REPAIRS_A_NAME * names + _MORE_REPAIRS):
        cash, use, variance = state.position()
        missed = float(limits.missed(np.array([cash]), use[:, None], np.array([variance]))[0])
        if missed == 0:
            return True
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
        if pair is not None:
            for one in pair:
                state.move(one % names, float(targets.ravel()[one]))
        elif not _complete(limits, model, state, targets, effects, missed):
            return False
    cash, use, variance = state.position()
    return bool(limits.missed(np.array([cash]), use[:, None], np.array([variance]))[0] == 0)


def _complete(
    limits: AllLimits, model: RoundingModel, state: "_State", targets: FloatArray, effects: Effects, missed: float
) -> bool:
    """Change one name, and a second one by whatever number of steps completes it; say whether that comes nearer.

    Whole shares differ in size: one share of a dear name may take ten of a cheap one to pay for.
    """
    cash, use, variance = state.position()
    names = len(state.steps)
    usable = np.flatnonzero(np.isfinite(effects.change))
    alone = limits.missed(cash + effects.cash, use[:, None] + effects.use, variance + effects.variance)
    best, chosen = missed - WEIGHT_TOLERANCE, None
    for one in usable[np.argsort(alone[usable], kind="stable")[:_COMPLETED]]:
        asset = int(effects.asset[one])
        spent = cash + float(effects.cash[one])
        seconds = state.with_cash(0.5 * (limits.cash.least + limits.cash.most) - spent)
        second = state.effects(seconds)
        linked = 2.0 * model.risk.price(model.risk.exposures_of(asset, float(effects.delta[one])))
        after = limits.missed(
            spent + second.cash,
            (use + effects.use[:, one])[:, None] + second.use,
            variance + effects.variance[one] + second.variance + linked[second.asset] * second.delta,
        )
        after = np.where(np.isfinite(second.change) & (second.asset != asset), after, np.inf)
        other = int(np.argmin(after))
        if after[other] < best:
            best = float(after[other])
            first = (asset, float(targets.ravel()[one]))
            chosen = (first, (other % names, float(seconds.ravel()[other])))
    for i, steps in chosen or ():
        state.move(i, steps)
    return chosen is not None


def _refusal(model: RoundingModel, state: "_State") -> InfeasibleProblemError:
    """Return the error that says which limits whole steps miss, and by how much."""
    if model.rows.any:
        return AllLimits(model.cash, model.rows).refuse(*state.position())
    missed = abs(float(model.missed(np.array([state.cash_used]))[0]))
    low, high = model.problem.cash_min, model.problem.cash_max
    return InfeasibleProblemError(
        f"whole steps of shares cannot bring cash into its range of {low:.4%} to {high:.4%} of NAV: it is "
        f"missed by {missed:.6%}. Widen the range by the value of one share.",
        details={
            "constraint": "cash range in whole steps",
            "required": high - low,
            "reachable": high - low + missed,
            "violation": missed,
        },
    )


def _into_cash_range(model: RoundingModel, state: "_State") -> None:
    """Take the steps that cost least for the cash they move, as long as they bring it nearer to its range."""
    for _ in range(_REPAIRS_A_NAME * len(state.steps) + _MORE_REPAIRS):
        over = float(model.missed(np.array([state.cash_used]))[0])
        missed = abs(over)
        if missed == 0:
            return
        steps, change, cash = state.towards(-np.sign(over), min(missed, _PORTION))
        progress = missed - np.abs(model.missed(state.cash_used + cash))
        better = np.isfinite(change) & (progress > 0)
        if not better.any():
            return
        # names that can move but a sliver come last, or a thousand slivers would be tried one by one
        ample = better & (progress >= 0.25 * min(missed, _PORTION))
        usable = ample if ample.any() else better
        rate = np.full(len(change), np.inf)
        rate[usable] = change[usable] / progress[usable]
        best = int(np.argmin(rate))
        state.move(best, float(steps[best]))


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
        """Return (3, N) tradable steps of each name that would change the cash used by about an amount."""
        used = self._cash_of(self.trades) + amount
        rate = np.where(used < 0, -1.0, 1.0) * self._problem.cost_rate
        nearest = self._grid.nearest(used / np.maximum(1.0 + rate, WEIGHT_TOLERANCE))
        return np.stack([nearest, self._grid.below(nearest), self._grid.above(nearest)])

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
