"""At most M assets: the assets least worth holding are given up until the number is met; the bound includes the limit.

The search itself ignores the number. Each round holds assets at nothing: those that are not held anyway, and half of
the excess, chosen by what holding them is worth at the current prices; then the search runs again. The bound for any
prices: of the assets without a group at most M may take their own least cost, all others cost what they cost at no
weight. Assets of undecided groups are left out of the count, which keeps the bound valid.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.certificate import AssetMinima, DualPoint, Lagrangian
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.problem.share_grid import ShareGrid
from prometheus.optimizer.problem.trade_range import CASH_TOLERANCE, WEIGHT_TOLERANCE, TradeRange
from prometheus.optimizer.search.branching import BestTrades, Leaf

#: Weights below this are not held.
_HELD = 1e-9
_MAX_ROUNDS = 12


def limit_assets(
    problem: RebalanceProblem,
    lagrangian: Lagrangian,
    answer: BestTrades,
    search_again: Callable[[Lagrangian], BestTrades],
) -> tuple[BestTrades, Lagrangian]:
    """Return trades that leave at most ``max_names`` assets held, and the problem over the ranges they were found in.

    Raises:
        InfeasibleProblemError: More assets than that cannot be sold completely.
    """
    limit = problem.max_names
    if limit is None:
        return answer, lagrangian
    held = problem.holdings()
    free = _may_be_empty(lagrangian)
    must = int((~free).sum())
    if must > limit:
        raise InfeasibleProblemError(
            f"at most {limit} assets may be held, but {must} cannot be sold completely (locks, least weights): the "
            f"least reachable is {must}. Raise max_names.",
            details={
                "constraint": "max_names",
                "required": float(limit),
                "reachable": float(must),
                "violation": float(must - limit),
                "conflicts": [],
            },
            missed=(),
        )
    part = lagrangian
    for _ in range(_MAX_ROUNDS):
        kept = held + answer.trades > _HELD
        excess = int(kept.sum()) - limit
        if excess <= 0:
            break
        minima = part.minima(answer.dual)
        worth = np.where(kept & free, part.at_no_weight(answer.dual) - minima.value, np.inf)
        # half of the excess at a time: what is left is worth more once others are gone
        empty = _kept_in_cash(part, ~kept & free, np.argsort(worth, kind="stable"), (excess + 1) // 2, worth)
        if not (empty & kept).any():
            raise InfeasibleProblemError(
                f"at most {limit} assets may be held, but cash could not stay in its range with fewer than "
                f"{limit + excess}: the bounds of the assets that are left do not take it. Raise max_names "
                "or cash_max.",
                details={
                    "constraint": "max_names",
                    "required": float(limit),
                    "reachable": float(limit + excess),
                    "violation": float(excess),
                    "conflicts": [],
                },
                missed=(),
            )
        part = part.within(_without(part, empty))
        answer = search_again(part)
    return answer, part


def _kept_in_cash(part: Lagrangian, empty: BoolArray, by_worth: IntArray, count: int, worth: FloatArray) -> BoolArray:
    """Return the assets to give up: those not held, and the first so many of the others that cash allows.

    Args:
        part: The problem.
        empty: (N,) assets that are not held and need not be.
        by_worth: (N,) the assets, those least worth holding first.
        count: How many more to give up.
        worth: (N,) what holding each is worth; infinite where it must be held.
    """
    rate, limits, gone = part.cost_rate, part.limits, -part.cost.order.sellable
    least, most, sold = (trade + rate * np.abs(trade) for trade in (limits.low, limits.high, gone))

    def leaves_cash(given_up: BoolArray) -> bool:
        low, high = np.where(given_up, sold, least).sum(), np.where(given_up, sold, most).sum()
        return bool(low <= part.cash.most + CASH_TOLERANCE and high >= part.cash.least - CASH_TOLERANCE)

    chosen = empty if leaves_cash(empty) else np.zeros_like(empty)
    for i in by_worth:
        if count == 0 or not np.isfinite(worth[i]):
            break
        trial = chosen.copy()
        trial[i] = True
        if leaves_cash(trial):
            chosen, count = trial, count - 1
    return chosen


def _without(part: Lagrangian, empty: BoolArray) -> TradeRange:
    """Return the range with some assets sold completely; a loss among them closes its group to purchases."""
    order, limits = part.cost.order, part.limits
    limits = replace(
        limits,
        low=np.where(empty, -order.sellable, limits.low),
        high=np.where(empty, -order.sellable, limits.high),
    )
    losing = empty & (order.sellable > order.loss_start + WEIGHT_TOLERANCE) & (limits.group >= 0)
    for label in np.unique(limits.group[losing])[::-1]:
        limits, _ = limits.split_group(int(label), order.loss_start)
    return limits


def bound_with_assets(
    leaves: tuple[Leaf, ...], prices: tuple[DualPoint, ...], limit: int, grid: ShareGrid | None
) -> float:
    """Return the certified bound over trade lists that leave at most ``limit`` assets held.

    Args:
        leaves: Parts that cover every legal trade list.
        prices: More dual points to try on every part.
        limit: M.
        grid: Tradable amounts for the bound over rounded trades; None for any amounts.
    """
    if grid is not None:
        # to meet the number a position may be sold out although it is below the minimum trade
        order = leaves[0].lagrangian.cost.order
        grid = replace(grid, sell_out=grid.sell_out | ((order.sellable > 0) & ~order.has_locked))

    def best(leaf: Leaf) -> float:
        lagrangian, bound = leaf.lagrangian, leaf.lower_bound
        for dual in (*leaf.duals, *prices):
            minima = lagrangian.minima(dual) if grid is None else lagrangian.rounded_minima(dual, grid)
            bound = max(bound, lagrangian.bound(dual, minima) + _given_up(lagrangian, dual, minima, limit))
        return bound

    return min(best(leaf) for leaf in leaves)


def _given_up(lagrangian: Lagrangian, dual: DualPoint, minima: AssetMinima, limit: int) -> float:
    alone = lagrangian.limits.group < 0
    # what weighs less than a position counts as not held as it is, without an order that sells it
    sellable = lagrangian.cost.order.sellable
    crumb = (sellable > 0) & (sellable <= _HELD)
    worth = np.sort(np.where(crumb, 0.0, lagrangian.at_no_weight(dual) - minima.value)[alone])
    most_given_up = max(len(worth) - limit, 0)
    given_up: FloatArray = worth[:most_given_up]
    return float(given_up.sum()) + float(np.minimum(worth[most_given_up:], 0.0).sum())


def _may_be_empty(lagrangian: Lagrangian) -> BoolArray:
    limits, order = lagrangian.limits, lagrangian.cost.order
    reachable: BoolArray = (limits.low <= -order.sellable + WEIGHT_TOLERANCE) & (limits.high >= -order.sellable)
    return reachable & ~order.has_locked
