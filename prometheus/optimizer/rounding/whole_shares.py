"""From the answer before rounding to whole shares: roundings tried one after the other, the best of them kept.

First every trade goes to whole shares on its own side. Where that misses a limit, trades that keep a distance from it
are rounded instead, then trades on either side, and no trade at all wherever that is legal. Where the gap stays wide
because single shares are large against the account, the assets with the largest shares are settled first: each is held
at one of the two amounts around its trade while everything else is searched anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from prometheus.foundation.errors import CertificateRejectedError, InfeasibleProblemError, SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend
from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.lot_order import LotOrder
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.problem.share_grid import share_grid
from prometheus.optimizer.problem.trade_range import WEIGHT_TOLERANCE, CashRange, TradeRange
from prometheus.optimizer.rounding.orders import settled_orders, without_new_assets
from prometheus.optimizer.rounding.round_trades import one_side, rest, round_trades, worth
from prometheus.optimizer.rounding.state import RoundingModel
from prometheus.optimizer.search.branching import BestTrades, search

#: Roundings tried, each from trades that keep this many times the last miss away from the missed limits.
_ROUNDINGS = 4
_MARGIN = 1.5
#: A gap after rounding below this (0.5 bps) needs no search with large shares settled.
_NARROW = 5e-5
#: Searches with large shares settled.
_SETTLINGS = 4
#: Part of the allowed cost of rounding that the settled assets account for.
_MOST_OF_IT = 0.8
#: An asset whose share may cost less than this part of the gap is not settled.
_MATTERS = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class WholeShares:
    """The problem and the answer that are rounded.

    Attributes:
        problem: The problem.
        order: Its lots in selling order.
        risk: Factor risk.
        lagrangian: The true problem over the range in which the answer was found.
        whole: Range of the trades without what a limit on the number of assets took from it.
        answer: The answer before rounding.
        solver: Finds other ones.
        wishes: (N,) trades that orders would have at the prices; None where an order has no cost.
    """

    problem: RebalanceProblem
    order: LotOrder
    risk: FactorRisk
    lagrangian: Lagrangian
    whole: TradeRange
    answer: BestTrades
    solver: QuadraticBackend
    wishes: FloatArray | None = None

    def model(self, limits: TradeRange) -> RoundingModel:
        """Return the rounding model over a range of the trades.

        Raises:
            InfeasibleProblemError: A bound forces a trade that no whole step can make.
        """
        least, most = self.problem.rounded_cash_range()
        return RoundingModel(
            problem=self.problem,
            risk=self.risk,
            cost=self.lagrangian.cost,
            grid=share_grid(self.problem, self.order, limits),
            cash=CashRange(least, most),
            rows=self.lagrangian.rows,
            cash_at_rest=self.lagrangian.cash,
        )


def whole_shares(parts: WholeShares, bound: float) -> FloatArray:
    """Return (N,) whole numbers of steps, -inf for an exact sell-out, none of them worse than doing nothing.

    The certificate is not touched: its bounds are those of the limits as they were asked for.

    Args:
        parts: What is rounded.
        bound: No list in whole steps has a lower objective (tilt on the holdings left out).

    Raises:
        InfeasibleProblemError: Whole steps miss a limit, and so does doing nothing.
    """
    answer = parts.answer
    steps, refusal = _within_limits(parts)
    both_sides = parts.model(answer.limits)
    if steps is None:
        try:
            steps = round_trades(both_sides, answer.trades, answer.dual)
        except InfeasibleProblemError as error:
            refusal = refusal or error
    for model in _at_rest(parts, both_sides):
        steps = rest(model, answer.dual, steps)
    if steps is None:
        steps = next(_settled_roundings(parts, both_sides, np.inf), None)
    if steps is None:
        assert refusal is not None  # nothing else leaves the model without steps
        raise refusal
    steps = _with_orders_settled(parts, steps)
    best = worth(both_sides, steps)
    if parts.wishes is not None:
        # What branching left open between orders is no loss of rounding. Searching with settled shares would win a part
        # of it, at several times the search's own work.
        bound = max(bound, answer.objective)
    if best - bound > _NARROW:
        for other in _settled_roundings(parts, both_sides, best - bound):
            settled = _with_orders_settled(parts, other)
            value = worth(both_sides, settled)
            if value < best:
                steps, best = settled, value
            if best - bound <= _NARROW:
                break
    return steps


def _with_orders_settled(parts: WholeShares, steps: FloatArray) -> FloatArray:
    """Drop and place whole orders, where they have a cost, within the range that the answer was found in."""
    if parts.wishes is None:
        return steps
    problem, limits = parts.problem, parts.answer.limits
    weights = parts.model(limits).grid.weight(steps)
    if (weights < limits.low - WEIGHT_TOLERANCE).any() or (weights > limits.high + WEIGHT_TOLERANCE).any():
        return steps  # the orders lie beyond that range, for which other steps were not looked at
    if problem.max_names is not None:
        limits = without_new_assets(limits, parts.order, problem.holdings(), weights)
    return settled_orders(parts.model(limits), steps, parts.wishes, parts.answer.dual)


def _at_rest(parts: WholeShares, both_sides: RoundingModel) -> Iterator[RoundingModel]:
    """Return the models in which doing nothing may be the start of an answer."""
    yield both_sides
    problem = parts.problem
    if problem.max_names is None:
        return
    held = problem.holdings() > 0
    if int(held.sum()) <= problem.max_names:
        # assets that the search gave up need not be sold, but no other asset may be added
        high = parts.whole.high
        free = held & (parts.whole.group < 0)
        yield parts.model(replace(parts.whole, high=np.where(free, high, np.minimum(high, 0.0))))


def _within_limits(parts: WholeShares) -> tuple[FloatArray | None, InfeasibleProblemError | None]:
    """Round on the side of each trade; where that misses a limit, round trades that keep a distance from it."""
    answer, lagrangian = parts.answer, parts.lagrangian
    margins: dict[str, float] = {}
    refusal: InfeasibleProblemError | None = None
    for attempt in range(_ROUNDINGS):
        try:
            return round_trades(parts.model(one_side(answer.limits, answer.trades)), answer.trades, answer.dual), None
        except InfeasibleProblemError as error:
            refusal = refusal or error
            if attempt == _ROUNDINGS - 1 or not lagrangian.rows.any or error.missed is None:
                break
            for name, violation in error.missed:
                margins[name] = margins.get(name, 0.0) + _MARGIN * violation
        again = _searched(parts, replace(lagrangian, rows=lagrangian.rows.tightened(margins)))
        if again is None:
            break
        answer = again
    return None, refusal


def _searched(parts: WholeShares, lagrangian: Lagrangian) -> BestTrades | None:
    """Search another form of the problem; None where no trades were found."""
    try:
        outcome = search(lagrangian, parts.solver, parts.problem.tolerance, parts.answer.dual)
    except (SolverFailedError, InfeasibleProblemError, CertificateRejectedError):
        return None
    return outcome if np.isfinite(outcome.objective) else None


def _settled_roundings(parts: WholeShares, model: RoundingModel, gap: float) -> Iterator[FloatArray]:
    """Round trades that were searched with the assets of the largest shares held at one amount each."""
    grid, trades = model.grid, parts.answer.trades
    start = grid.nearest(trades)
    other = np.where(grid.weight(start) > trades, grid.below(start), grid.above(start))
    variance = parts.risk.shared_variance() + parts.risk.specific_variance
    away = np.abs(grid.weight(start) - trades)
    costs = parts.problem.risk_aversion * variance * away * away
    by_cost = np.argsort(-costs, kind="stable")
    total = float(costs.sum())
    enough = int(np.searchsorted(np.cumsum(costs[by_cost]), _MOST_OF_IT * total)) + 1
    matter = costs[by_cost] > _MATTERS * min(gap, total)
    settled = by_cost[:enough][matter[:enough]].astype(np.int64)
    if not len(settled):
        return
    patterns = [start.copy()]
    for i in settled[: _SETTLINGS - 1]:
        if not np.isnan(other[i]):
            changed = start.copy()
            changed[i] = other[i]
            patterns.append(changed)
    for pattern in patterns:
        limits = _held_at(parts, grid.weight(pattern), settled)
        again = None if limits is None else _searched(parts, parts.lagrangian.within(limits))
        if again is None:
            continue
        try:
            # what was settled may move again with everything else
            yield round_trades(model, again.trades, again.dual)
        except InfeasibleProblemError:
            continue


def _held_at(parts: WholeShares, weights: FloatArray, settled: IntArray) -> TradeRange | None:
    """Return the range with some assets held at trades that the range allows; None where it does not."""
    limits = parts.answer.limits
    at = np.minimum(np.maximum(weights[settled], limits.low[settled]), limits.high[settled])
    if np.isnan(at).any():
        return None
    low, high = limits.low.copy(), limits.high.copy()
    low[settled] = high[settled] = at
    return replace(limits, low=low, high=high, group=np.full_like(limits.group, -1))
