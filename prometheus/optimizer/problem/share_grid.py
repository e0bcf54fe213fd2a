"""The trades that can be placed: whole steps of at least the minimum trade, and the exact sell-out of a position."""

from dataclasses import dataclass
from math import inf

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.lot_order import LotOrder
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, RebalanceProblem
from prometheus.optimizer.problem.trade_range import WEIGHT_TOLERANCE, TradeRange

#: Shares by which a whole step may pass a bound; less than the billionth of a share to which lots are filled.
SHARE_TOLERANCE = 4e-10


@compiled("f <- f f f b b")
def _one_below(
    steps: float,
    first: float,
    smallest: float,
    may_rest: bool,  # noqa: FBT001 -- compiled loops take no keywords
    sell_out: bool,  # noqa: FBT001 -- compiled loops take no keywords
) -> float:  # pragma: no cover - machine code, which is not traced
    if not steps > -np.inf:
        return np.nan
    following = steps - 1.0
    if 0.0 < following < smallest:
        following = 0.0
    elif -smallest < following < 0.0:
        following = -smallest
    if following == 0.0 and not may_rest:
        following = -smallest
    if following >= first:
        return following
    return -np.inf if sell_out else np.nan


@compiled("f <- f f f f b")
def _one_above(
    steps: float,
    first: float,
    last: float,
    smallest: float,
    may_rest: bool,  # noqa: FBT001 -- compiled loops take no keywords
) -> float:  # pragma: no cover - machine code, which is not traced
    if np.isnan(steps):
        return np.nan
    following = steps + 1.0 if steps > -np.inf else first
    if -smallest < following < 0.0:
        following = 0.0
    elif 0.0 < following < smallest:
        following = smallest
    if following == 0.0 and not may_rest:
        following = smallest
    return following if following <= last else np.nan


@compiled("F <- F F F B B")
def _below(
    steps: FloatArray, first: FloatArray, smallest: FloatArray, may_rest: BoolArray, sell_out: BoolArray
) -> FloatArray:  # pragma: no cover - machine code, which is not traced
    nearest = np.empty(len(steps))
    for i in range(len(steps)):
        nearest[i] = _one_below(steps[i], first[i], smallest[i], may_rest[i], sell_out[i])
    return nearest


@compiled("F <- F F F F B")
def _above(
    steps: FloatArray, first: FloatArray, last: FloatArray, smallest: FloatArray, may_rest: BoolArray
) -> FloatArray:  # pragma: no cover - machine code, which is not traced
    nearest = np.empty(len(steps))
    for i in range(len(steps)):
        nearest[i] = _one_above(steps[i], first[i], last[i], smallest[i], may_rest[i])
    return nearest


@compiled("F <- F F F F F B B")
def _shifted(
    steps: FloatArray,
    count: FloatArray,
    first: FloatArray,
    last: FloatArray,
    smallest: FloatArray,
    may_rest: BoolArray,
    sell_out: BoolArray,
) -> FloatArray:  # pragma: no cover - machine code, which is not traced
    moved = np.empty(len(steps))
    for i in range(len(steps)):
        far = (steps[i] if steps[i] > -np.inf else first[i]) + count[i]
        in_gap = -smallest[i] < far < smallest[i]
        if count[i] < 0.0:
            near = _one_below(steps[i], first[i], smallest[i], may_rest[i], sell_out[i])
            if near > -np.inf and far < near and not in_gap:
                near = max(far, first[i])
        else:
            near = _one_above(steps[i], first[i], last[i], smallest[i], may_rest[i])
            if near < np.inf and far > near and not in_gap:
                near = min(far, last[i])
        moved[i] = near
    return moved


@dataclass(frozen=True, slots=True, eq=False)
class ShareGrid:
    """The tradable amounts of each asset: first <= n <= last whole steps, none between 0 and ``smallest``, or all.

    Attributes:
        step: (N,) weight of one step.
        first: (N,) least number of steps, negative sells; short of a sell-out where that is possible.
        last: (N,) greatest number of steps.
        smallest: (N,) least number of steps of a trade that is placed; one where the bounds force a trade.
        may_rest: (N,) True where the bounds allow no trade.
        sell_out: (N,) True where the whole position may be sold exactly as the lots hold it, step or not.
        all: (N,) weight of that sell-out.
    """

    step: FloatArray
    first: FloatArray
    last: FloatArray
    smallest: FloatArray
    may_rest: BoolArray
    sell_out: BoolArray
    all: FloatArray

    def below(self, steps: FloatArray) -> FloatArray:
        """Return (N,) the next tradable number of steps below ``steps``: -inf for the sell-out, NaN for none."""
        nearest: FloatArray = _below(steps, self.first, self.smallest, self.may_rest, self.sell_out)
        return nearest

    def above(self, steps: FloatArray) -> FloatArray:
        """Return (N,) the next tradable number of steps above ``steps``; -inf is the sell-out; NaN for none."""
        nearest: FloatArray = _above(steps, self.first, self.last, self.smallest, self.may_rest)
        return nearest

    def neighbours_of(self, asset: int, steps: float) -> tuple[float, float]:
        """Return what ``below`` and ``above`` give for one asset at a number of steps."""
        first, smallest, may_rest = self.first[asset], self.smallest[asset], self.may_rest[asset]
        return (
            _one_below(steps, first, smallest, may_rest, self.sell_out[asset]),
            _one_above(steps, first, self.last[asset], smallest, may_rest),
        )

    def weight_of(self, asset: int, steps: float) -> float:
        """Return what ``weight`` gives for one asset."""
        return -float(self.all[asset]) if steps == -inf else steps * float(self.step[asset])

    def shifted(self, steps: FloatArray, count: FloatArray) -> FloatArray:
        """Return (N,) the tradable number of steps about ``count`` away; NaN where there is none in that direction.

        The range, the gap around zero and the sell-out are respected: a move that would end in the gap ends at its
        far end when it starts from zero, else at zero.
        """
        moved: FloatArray = _shifted(steps, count, self.first, self.last, self.smallest, self.may_rest, self.sell_out)
        return moved

    def weight(self, steps: FloatArray) -> FloatArray:
        """Return (N,) the trade weight of numbers of steps; NaN stays NaN."""
        finite = np.where(np.isneginf(steps), 0.0, steps)
        return np.where(np.isneginf(steps), -self.all, finite * self.step)

    def nearest(self, trades: FloatArray) -> FloatArray:
        """Return (N,) the tradable number of steps nearest to each trade."""
        steps = np.minimum(np.maximum(np.floor(trades / self.step), self.first), self.last)
        # trades in the gap around zero start from zero, or from the nearer end where zero is not allowed
        gap = np.abs(steps) < self.smallest
        steps = np.where(gap & self.may_rest, 0.0, steps)
        best, distance = steps, np.abs(self.weight(steps) - trades)
        none = self.first > self.last
        best, distance = np.where(none, np.nan, best), np.where(none, np.inf, distance)
        out = np.where(self.sell_out, -np.inf, np.nan)
        for other in (self.below(steps), self.above(steps), out):
            away = np.abs(self.weight(other) - trades)
            nearer = away < distance
            best, distance = np.where(nearer, other, best), np.where(nearer, away, distance)
        return best


def share_grid(problem: RebalanceProblem, order: LotOrder, limits: TradeRange) -> ShareGrid:
    """Work out the tradable amounts within the range of each asset's trade.

    Raises:
        InfeasibleProblemError: The bounds force a trade of an asset, and no whole step lies within them.
    """
    step = problem.share_step * problem.prices / problem.nav
    slack = SHARE_TOLERANCE / problem.share_step
    may_rest = (limits.low <= 0) & (limits.high >= 0)
    minimum = np.ceil(problem.min_trade / step - slack)
    smallest = np.where(may_rest, np.maximum(minimum, 1.0), 1.0)
    # an asset that may go short holds whole steps: its sell-out is one of them
    sell_out = (
        (order.lots > 0)
        & ~order.has_locked
        & (limits.low <= -order.lots + WEIGHT_TOLERANCE)
        & ((order.lots >= problem.min_trade - WEIGHT_TOLERANCE) | ~may_rest)
        & (order.sellable <= order.lots)
    )
    first = np.ceil(limits.low / step - slack)
    whole = np.ceil(-order.lots / step - slack)
    is_whole = np.abs(whole * step + order.lots) <= 2 * slack * step
    first = np.where(sell_out & (first <= whole) & is_whole, first + 1, first)
    last = np.floor(limits.high / step + slack)
    nothing = np.flatnonzero((first > last) & ~sell_out)
    if len(nothing):
        i = int(nothing[0])
        raise InfeasibleProblemError(
            f"the bounds of {problem.tickers[i]} ask for a trade between {limits.low[i]:.6%} and {limits.high[i]:.6%} "
            f"of NAV, and no whole step of {problem.share_step[i]:g} shares ({step[i]:.6%} of NAV) lies between. Widen "
            "the bounds by one step.",
            details={
                "constraint": f"share step:{problem.tickers[i]}",
                "required": float(limits.high[i] - limits.low[i]),
                "reachable": float(step[i]),
                "violation": float(max(first[i] * step[i] - limits.high[i], 0.0)),
            },
        )
    return ShareGrid(step, first, last, smallest, may_rest, sell_out, order.lots)
