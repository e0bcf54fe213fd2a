"""The range of each asset's trade, and the named reasons why a problem has no answer."""

from dataclasses import dataclass, field, replace

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.problem.lot_order import LotOrder
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray, RebalanceProblem

#: Weights closer than this are equal; the sums of an asset's lots differ by as much from their bound.
WEIGHT_TOLERANCE = 1e-12
#: A cash range missed by less than this is met (a cent in ten million).
CASH_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class CashRange:
    """Least and most cash that the trades may use, costs included; infinite where there is no limit."""

    least: float
    most: float


@dataclass(frozen=True, slots=True, eq=False)
class TradeRange:
    """Least and greatest trade of each asset.

    Attributes:
        low: (N,) least trade weight; negative sells.
        high: (N,) greatest trade weight.
        group: (N,) label 0..G-1 of the assets of each substantially identical group that needs a decision (two assets
            or more, a reachable loss sale and a possible purchase); -1 elsewhere. An asset alone in its group needs
            none: it cannot be bought and sold at once.
        placed: Assets whose order counts as placed whatever its size, where an order has a cost: parts of a branched
            search that leave the point at no trade to the other part.
    """

    low: FloatArray
    high: FloatArray
    group: IntArray
    placed: frozenset[int] = field(default=frozenset())

    def with_groups(self, sells_losses: BoolArray, loss_start: FloatArray) -> "TradeRange":
        """Return the range after every group's decision.

        Args:
            sells_losses: (G,) True: losses may be sold and nothing bought in the group; False: the other way round.
            loss_start: (N,) weight that can be sold before a loss lot is touched.
        """
        grouped = self.group >= 0
        sells = np.zeros(len(self.low), dtype=bool)
        sells[grouped] = sells_losses[self.group[grouped]]
        high = np.where(grouped & sells, np.minimum(self.high, 0.0), self.high)
        low = np.where(grouped & ~sells, np.maximum(self.low, -loss_start), self.low)
        return replace(self, low=low, high=high)

    def split_group(self, label: int, loss_start: FloatArray) -> "tuple[TradeRange, TradeRange]":
        """Return the range with one group decided either way: nothing bought, and no loss sold."""
        members = self.group == label
        group = np.where(members, -1, np.where(self.group > label, self.group - 1, self.group))
        no_purchase = replace(self, high=np.where(members, np.minimum(self.high, 0.0), self.high), group=group)
        no_loss = replace(self, low=np.where(members, np.maximum(self.low, -loss_start), self.low), group=group)
        return no_purchase, no_loss

    def split_asset(self, asset: int, at: float, placed: int | None = None) -> "tuple[TradeRange, TradeRange]":
        """Return the range with one asset's trade kept at or below a value, and at or above it.

        Args:
            asset: The asset.
            at: The value.
            placed: Part (0 or 1) in which the asset's order counts as placed, so that the parts do not both hold the
                point at no trade; None for neither.
        """
        high, low = self.high.copy(), self.low.copy()
        high[asset], low[asset] = at, at
        orders = [self.placed | {asset} if part == placed else self.placed for part in (0, 1)]
        return replace(self, high=high, placed=orders[0]), replace(self, low=low, placed=orders[1])

    def rests(self) -> BoolArray:
        """Return (N,) True for assets that need not be traded."""
        rests = (self.low <= 0) & (self.high >= 0)
        if self.placed:
            rests[sorted(self.placed)] = False
        return rests


def cash_used(problem: RebalanceProblem, trades: FloatArray) -> FloatArray:
    """Return (N,) the cash each trade takes, its cost included; negative where a sale raises cash."""
    return trades + problem.cost_rate * np.abs(trades)


def trade_range(problem: RebalanceProblem, order: LotOrder) -> TradeRange:
    """Work out the range of every asset's trade and refuse what cannot be met.

    Raises:
        InfeasibleProblemError: A bound, a group or the cash range is out of reach. The message names the constraint
            and the least violation; ``details`` has ``constraint``, ``required``, ``reachable`` and ``violation``.
    """
    held = problem.holdings()
    to_lower, to_upper = problem.lower - held, problem.upper - held
    # exactly what the lots hold, not what is left of it after the last bit of a subtraction
    out = np.abs(to_lower + order.sellable) <= WEIGHT_TOLERANCE
    low = np.where(problem.can_sell, np.where(out, -order.sellable, np.maximum(to_lower, -order.sellable)), 0.0)
    low = np.where(to_lower > WEIGHT_TOLERANCE, to_lower, np.minimum(low, 0.0))
    high = np.where(problem.can_buy, to_upper, np.minimum(to_upper, 0.0))
    high = np.where(np.abs(high) <= WEIGHT_TOLERANCE, 0.0, high)
    _refuse_bounds(problem, order, held, low, high)
    high = np.maximum(high, low)
    low, high = _propagate_groups(problem, order, low, high)
    _refuse_cash(problem, order, low, high)
    # no purchase can exceed the cash that selling everything else would raise
    purse = problem.cash_range()[1] - float(cash_used(problem, np.minimum(low, 0.0)).sum())
    high = np.maximum(low, np.minimum(high, max(purse, 0.0)))
    return TradeRange(low, high, _groups_to_decide(problem, order, low, high))


def _refuse_bounds(
    problem: RebalanceProblem, order: LotOrder, held: FloatArray, low: FloatArray, high: FloatArray
) -> None:
    gap = low - high
    bad = np.flatnonzero(gap > WEIGHT_TOLERANCE)
    if not len(bad):
        return
    i = int(bad[np.argmax(gap[bad])])
    ticker, weight = problem.tickers[i], held[i]
    if high[i] < 0:
        bound, required = "upper", float(problem.upper[i])
        reachable = weight + min(float(low[i]), 0.0)
        why = (
            "it may not be sold"
            if not problem.can_sell[i]
            else f"only {order.sellable[i]:.4%} of NAV of it may be sold, the rest is locked"
        )
    else:
        bound, required = "lower", float(problem.lower[i])
        reachable = weight + max(float(high[i]), 0.0)
        why = "it may not be bought"
    more = f" ({len(bad) - 1} more assets likewise)" if len(bad) > 1 else ""
    raise InfeasibleProblemError(
        f"{ticker} weighs {weight:.4%} of NAV, outside its {bound} bound {required:.4%}, and {why}: the nearest "
        f"reachable weight is {reachable:.4%}{more}. Widen the bound to the holding or lift the lock.",
        details={
            "constraint": f"{bound}:{ticker}",
            "required": required,
            "reachable": float(reachable),
            "violation": float(gap[i]),
            "tickers": [problem.tickers[j] for j in bad],
        },
    )


def _propagate_groups(
    problem: RebalanceProblem, order: LotOrder, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Let a forced loss sale forbid its group's purchases, and a forced purchase its group's loss sales."""
    must_sell_loss = -high > order.loss_start + WEIGHT_TOLERANCE
    must_buy = low > WEIGHT_TOLERANCE
    no_buy = np.isin(problem.group, problem.group[must_sell_loss])
    no_loss = np.isin(problem.group, problem.group[must_buy])
    both = no_buy & no_loss & (must_buy | must_sell_loss)
    if both.any():
        tickers = [problem.tickers[i] for i in np.flatnonzero(both)]
        amount = float(np.minimum(low[both & must_buy].max(initial=0.0), -high[both & must_sell_loss].min(initial=0.0)))
        raise InfeasibleProblemError(
            f"{', '.join(tickers)} are substantially identical: their bounds force a purchase and a loss sale on the "
            "same day, which would be a wash sale. Relax one of the bounds.",
            details={
                "constraint": "same-day group rule",
                "required": 0.0,
                "reachable": amount,
                "violation": amount,
                "tickers": tickers,
            },
        )
    high = np.where(no_buy, np.minimum(high, 0.0), high)
    low = np.where(no_loss, np.maximum(low, -order.loss_start), low)
    return low, high


def _refuse_cash(problem: RebalanceProblem, order: LotOrder, low: FloatArray, high: FloatArray) -> None:
    cash = problem.cash + problem.cash_flow
    most = cash - float(cash_used(problem, low).sum())
    least = cash - float(cash_used(problem, high).sum())
    if most < problem.cash_min - CASH_TOLERANCE:
        stuck = int((~problem.can_sell & (problem.holdings() > 0)).sum())
        raise InfeasibleProblemError(
            f"cash after trading must be at least {problem.cash_min:.4%} of NAV, but the most reachable is {most:.4%} "
            f"({stuck} assets may not be sold, {int(order.has_locked.sum())} have locked lots): it falls short by "
            f"{problem.cash_min - most:.4%}. Lower cash_min, or lift what keeps assets from being sold: "
            "max_active_weight, no_sell, locked lots.",
            details=_cash_details("cash_min", problem.cash_min, most),
        )
    if least > problem.cash_max + CASH_TOLERANCE:
        locked = int((~problem.can_buy).sum())
        raise InfeasibleProblemError(
            f"cash after trading must be at most {problem.cash_max:.4%} of NAV, but the least reachable is {least:.4%} "
            f"({locked} assets may not be bought): it is exceeded by {least - problem.cash_max:.4%}. Raise cash_max, "
            "or lift what keeps assets from being bought: max_weight, max_active_weight, no_buy, wash-sale locks.",
            details=_cash_details("cash_max", problem.cash_max, least),
        )


def _cash_details(constraint: str, required: float, reachable: float) -> dict[str, str | float]:
    return {
        "constraint": constraint,
        "required": required,
        "reachable": reachable,
        "violation": abs(required - reachable),
    }


def _groups_to_decide(problem: RebalanceProblem, order: LotOrder, low: FloatArray, high: FloatArray) -> IntArray:
    labels, member = np.unique(problem.group, return_inverse=True)
    count = np.bincount(member, minlength=len(labels))
    may_lose = np.bincount(member, weights=-low > order.loss_start, minlength=len(labels)) > 0
    may_buy = np.bincount(member, weights=high > 0, minlength=len(labels)) > 0
    open_groups = (count > 1) & may_lose & may_buy
    number = np.where(open_groups, np.cumsum(open_groups) - 1, -1)
    return number[member].astype(np.int64)
