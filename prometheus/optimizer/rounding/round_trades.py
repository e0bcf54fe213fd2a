"""From trade weights to tradable amounts: nearest first, then whatever single step improves, cash always in its range.

No asset changes its side, no lot is oversold, no trade below the minimum is kept. A position that is sold whole is sold
exactly as its lots hold it, whether or not that is a whole number of steps.
"""

from collections.abc import Callable

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.problem.rebalance_problem import FloatArray
from prometheus.optimizer.problem.trade_range import WEIGHT_TOLERANCE, TradeRange
from prometheus.optimizer.rounding.limits import WORTHWHILE, AllLimits, Effects
from prometheus.optimizer.rounding.state import RoundingModel, RoundingState

#: Most improving steps, as a multiple of the number of assets.
_STEPS_PER_ASSET = 2
#: Most exchanges of two or three assets where no single step improves.
_MAX_EXCHANGES = 60
#: Most repairing changes, as a multiple of the number of assets and beside.
_REPAIRS_PER_ASSET = 2
_MORE_REPAIRS = 100
#: First changes that are tried with a second one that completes them.
_COMPLETED = 48
#: Cash is brought into its range by at most this weight of one asset at a time (half a basis point).
_PORTION = 5e-5


def one_side(limits: TradeRange, trades: FloatArray) -> TradeRange:
    """Return the range that keeps every asset on the side of its trade; an asset without a trade may take either."""
    return TradeRange(
        low=np.where(trades > 0, np.maximum(limits.low, 0.0), limits.low),
        high=np.where(trades < 0, np.minimum(limits.high, 0.0), limits.high),
        group=limits.group,
    )


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
    # a position that was sold completely stays sold
    sold_out = grid.sell_out & (trades <= -grid.all * (1 - 1e-9))
    state = RoundingState(model, np.where(sold_out, -np.inf, grid.nearest(trades)))
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
    state = RoundingState(model, np.zeros(len(model.grid.step)))
    cash, use, variance = state.position()
    at_rest = AllLimits(model.cash_at_rest or model.cash, model.rows)
    if at_rest.missed(np.array([cash]), use[:, None], np.array([variance]))[0] > 0:
        return steps
    if steps is not None and RoundingState(model, steps).objective() <= state.objective():
        return steps
    return _improved(model, state, dual)


def worth(model: RoundingModel, steps: FloatArray) -> float:
    """Return the objective of (N,) steps, the tilt on the holdings left out."""
    return RoundingState(model, steps).objective()


def _improved(model: RoundingModel, state: RoundingState, dual: DualPoint) -> FloatArray:
    """Take the steps that improve and keep every limit: single ones, and exchanges where no single one is left."""
    if not model.rows.any:
        _improve_alone(model, state)
    moves = _STEPS_PER_ASSET * len(state.steps) + _MAX_EXCHANGES
    take_improving(model, state, dual, lambda now: now.candidates(), moves=moves, exchanges=_MAX_EXCHANGES)
    return state.steps


def take_improving(
    model: RoundingModel,
    state: RoundingState,
    dual: DualPoint,
    candidates: Callable[[RoundingState], FloatArray],
    *,
    moves: int,
    exchanges: int,
    alone: int | None = None,
) -> int:
    """Take the changes that improve and keep every limit: the best single one, an exchange where no single one is left.

    Args:
        model: The problem.
        state: Rounded trades that keep every limit; changed in place.
        dual: Prices by which exchanges are looked for.
        candidates: Gives (rows, N) steps to which each asset may go, NaN for none.
        moves: Most changes taken.
        exchanges: Most exchanges looked for; each costs a look at some ten thousand of them.
        alone: Rows of the candidates that may be taken alone, the first ones; all of them where None.

    Returns:
        How many exchanges were looked for.
    """
    limits, asset_count, looked = AllLimits(model.cash, model.rows), len(state.steps), 0
    for _ in range(moves):
        cash, use, variance = state.position()
        targets = candidates(state)
        effects = state.effects(targets)
        after = limits.missed(cash + effects.cash, use[:, None] + effects.use, variance + effects.variance)
        change = np.where(after == 0, effects.change, np.inf)
        best = int(np.argmin(change[: None if alone is None else alone * asset_count]))
        chosen: tuple[int, ...] = (best,)
        if not change[best] < -WORTHWHILE:
            if looked == exchanges:
                break
            looked += 1
            exchange = model.exchange(limits, (cash, use, variance), effects, dual)
            if exchange is None:
                break
            chosen = exchange
        for one in chosen:
            state.move(one % asset_count, float(targets.ravel()[one]))
    return looked


def _improve_alone(model: RoundingModel, state: RoundingState) -> None:
    """Take the single steps that improve and stay within the cash range, the only limit."""
    for _ in range(_STEPS_PER_ASSET * len(state.steps)):
        change, cash = state.moves()
        legal = model.missed(state.cash_used + cash) == 0
        change = np.where(legal, change, np.inf)
        best = int(np.argmin(change))
        if not change.flat[best] < -WORTHWHILE:
            break
        state.take(best)


def improved_steps(model: RoundingModel, steps: FloatArray, dual: DualPoint) -> FloatArray:
    """Return (N,) steps after the single steps and exchanges that improve and keep every limit."""
    return _improved(model, RoundingState(model, steps), dual)


def _into_limits(model: RoundingModel, state: RoundingState) -> bool:
    """Change the steps at least cost until every limit is met; return whether they are."""
    if not model.rows.any:
        _into_cash_range(model, state)
    limits = AllLimits(model.cash, model.rows)
    asset_count = len(state.steps)
    for _ in range(_REPAIRS_PER_ASSET * asset_count + _MORE_REPAIRS):
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
            state.move(best % asset_count, float(targets.ravel()[best]))
            continue
        pair = limits.best_pair((cash, use, variance), effects, model.risk)
        if pair is not None:
            for one in pair:
                state.move(one % asset_count, float(targets.ravel()[one]))
        elif not _complete(limits, model, state, targets, effects, missed):
            return False
    cash, use, variance = state.position()
    return bool(limits.missed(np.array([cash]), use[:, None], np.array([variance]))[0] == 0)


def _complete(
    limits: AllLimits,
    model: RoundingModel,
    state: RoundingState,
    targets: FloatArray,
    effects: Effects,
    missed: float,
) -> bool:
    """Change one asset, and a second one by whatever number of steps completes it; say whether that comes nearer.

    Whole shares differ in size: one share of a dear asset may take ten of a cheap one to pay for.
    """
    cash, use, variance = state.position()
    asset_count = len(state.steps)
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
            chosen = (first, (other % asset_count, float(seconds.ravel()[other])))
    for i, steps in chosen or ():
        state.move(i, steps)
    return chosen is not None


def _refusal(model: RoundingModel, state: RoundingState) -> InfeasibleProblemError:
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


def _into_cash_range(model: RoundingModel, state: RoundingState) -> None:
    """Take the steps that cost least for the cash they move, as long as they bring it nearer to its range."""
    for _ in range(_REPAIRS_PER_ASSET * len(state.steps) + _MORE_REPAIRS):
        over = float(model.missed(np.array([state.cash_used]))[0])
        missed = abs(over)
        if missed == 0:
            return
        steps, change, cash = state.towards(-np.sign(over), min(missed, _PORTION))
        progress = missed - np.abs(model.missed(state.cash_used + cash))
        better = np.isfinite(change) & (progress > 0)
        if not better.any():
            return
        # assets that can move but a sliver come last, or a thousand slivers would be tried one by one
        ample = better & (progress >= 0.25 * min(missed, _PORTION))
        usable = ample if ample.any() else better
        rate = np.full(len(change), np.inf)
        rate[usable] = change[usable] / progress[usable]
        best = int(np.argmin(rate))
        state.move(best, float(steps[best]))
