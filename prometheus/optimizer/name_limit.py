"""At most M names: the names least worth holding are given up until the number is met, with a bound that knows it.

The search itself knows nothing of the number. Each round holds names at nothing: those that are not held anyway, and
half of the excess, chosen by what holding them is worth at the current prices; then the search runs again. The bound
for any prices: of the names that stand alone at most M may take their own least cost, all others cost what they cost
at no weight. Names of undecided groups are left out of the count, which keeps the bound valid.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.branching import BestTrades, Leaf
from prometheus.optimizer.certificate import DualPoint, Lagrangian, NameMinima
from prometheus.optimizer.problem import BoolArray, FloatArray, RebalanceProblem
from prometheus.optimizer.share_grid import ShareGrid
from prometheus.optimizer.trade_range import WEIGHT_TOLERANCE

#: Weights below this are not held.
_HELD = 1e-9
_MAX_ROUNDS = 12


def limit_names(
    problem: RebalanceProblem,
    lagrangian: Lagrangian,
    answer: BestTrades,
    search_again: Callable[[Lagrangian], BestTrades],
) -> tuple[BestTrades, Lagrangian]:
    """Return trades that leave at most ``max_names`` names held, and the problem over the ranges they were found in.

    Raises:
        InfeasibleProblemError: More names than that cannot be sold completely.
    """
    limit = problem.max_names
    if limit is None:
        return answer, lagrangian
    held, sellable = problem.holdings(), lagrangian.cost.order.sellable
    free = _may_be_empty(lagrangian)
    must = int((~free).sum())
    if must > limit:
        raise InfeasibleProblemError(
            f"at most {limit} names may be held, but {must} cannot be sold completely (locks, least weights): the "
            f"least reachable is {must}. Raise max_names.",
            details={
                "constraint": "max_names",
                "required": float(limit),
                "reachable": float(must),
                "violation": float(must - limit),
                "conflicts": [],
            },
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
        dropped = np.argsort(worth, kind="stable")[: (excess + 1) // 2]
        empty = ~kept & free
        empty[dropped] = True
        limits = part.limits
        part = part.within(
            replace(
                limits,
                low=np.where(empty, -sellable, limits.low),
                high=np.where(empty, -sellable, limits.high),
            )
        )
        answer = search_again(part)
    return answer, part


def bound_with_names(
    leaves: tuple[Leaf, ...], prices: tuple[DualPoint, ...], limit: int, grid: ShareGrid | None
) -> float:
    """Return the certified bound over trade lists that leave at most ``limit`` names held.

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


def _given_up(lagrangian: Lagrangian, dual: DualPoint, minima: NameMinima, limit: int) -> float:
    alone = lagrangian.limits.group < 0
    worth = np.sort((lagrangian.at_no_weight(dual) - minima.value)[alone])
    most_given_up = max(len(worth) - limit, 0)
    given_up: FloatArray = worth[:most_given_up]
    return float(given_up.sum()) + float(np.minimum(worth[most_given_up:], 0.0).sum())


def _may_be_empty(lagrangian: Lagrangian) -> BoolArray:
    limits, order = lagrangian.limits, lagrangian.cost.order
    reachable: BoolArray = (limits.low <= -order.sellable + WEIGHT_TOLERANCE) & (limits.high >= -order.sellable)
    return reachable & ~order.has_locked
