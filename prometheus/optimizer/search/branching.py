"""Closing the gap where two stages leave one: split one undecided asset or group and search both halves.

A textbook branch and bound, the loosest part first. Its first node is a complete two-stage search; the others solve
stage 1 from their parent's prices and fix the sides once, which bounds them, and search on only where that comes near
the best trades known. On accounts of a few hundred assets the first node is nearly always good enough; tiny or tightly
bound problems and many factors need the others.
"""

from dataclasses import dataclass, replace

import numpy as np

from prometheus.foundation.errors import SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticSolution
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem.rebalance_problem import FloatArray
from prometheus.optimizer.problem.share_grid import ShareGrid
from prometheus.optimizer.problem.trade_range import WEIGHT_TOLERANCE, TradeRange
from prometheus.optimizer.search.two_stage import TwoStageAnswer, TwoStageSearch

#: A gap below this is not worth another node (objective per unit of NAV: 0.01 bps).
_GOOD_ENOUGH = 1e-6
#: After a few nodes a gap below this will do (0.05 bps).
_ACCEPTABLE = 5e-6
#: Where an order has a cost a gap below one order is not worth another node either, up to this (0.1 bps).
_AN_ORDER = 1e-5
_FEW_NODES = 8
_MAX_NODES = 24
#: Large problems get fewer: nodes times pieces times prices that an asset answers to (exposures, cash, limits; of links
#: those of its own block) stay below this, so that branching costs a small multiple of the first search. A count, never
#: a clock: equal problems get equal answers.
_MAX_WORK = 7e6
_LEAST_NODES = 6
#: With an order cost every asset has one more branch, and a node takes nearly twice as long.
_NODES_WITH_ORDERS = 0.55
#: Trades smaller than this do not break the group rule; what is left of a solver's tolerance.
_NO_TRADE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A part of the problem that was not split any further.

    Attributes:
        lagrangian: The true problem over this part.
        duals: Dual points that bound it.
        lower_bound: The best of their bounds, or the parent's where that is better.
    """

    lagrangian: Lagrangian
    duals: tuple[DualPoint, ...]
    lower_bound: float


@dataclass(frozen=True, slots=True, eq=False)
class BestTrades:
    """The best trades found before rounding, and the parts whose bounds certify them.

    Attributes:
        trades: (N,) u.
        limits: Range of each asset's trade once every group's rule is settled by what these trades do.
        objective: Objective of the trades, without the tilt on the holdings; infinite where no trades were found that
            meet every limit.
        dual: Prices of stage 2 at the trades.
        leaves: Parts that together cover every legal trade list.
        solution: What the back-end said about the whole problem's stage 1, and why another solver had to answer
            it or a part of it, if one had to.
        nodes: How many searches were made.
    """

    trades: FloatArray
    limits: TradeRange
    objective: float
    dual: DualPoint
    leaves: tuple[Leaf, ...]
    solution: QuadraticSolution
    nodes: int

    def lower_bound(self) -> float:
        """Return the certified bound on the objective of any legal trade list."""
        return min(leaf.lower_bound for leaf in self.leaves)

    def rounded_lower_bound(self, grid: ShareGrid) -> float:
        """Return the certified bound over trade lists in whole steps of at least the minimum trade."""
        least = float("inf")
        for leaf in sorted(self.leaves, key=lambda leaf: leaf.lower_bound):
            bound = leaf.lower_bound
            for dual in leaf.duals:
                # a part that is known to be no better than another does not count
                if bound >= least:
                    break
                bound = max(bound, leaf.lagrangian.bound(dual, leaf.lagrangian.rounded_minima(dual, grid)))
            least = min(least, bound)
        return least


def search(
    lagrangian: Lagrangian, backend: QuadraticBackend, tolerance: float, centre: DualPoint | None = None
) -> BestTrades:
    """Search the whole problem, and its halves where the gap asks for it.

    Args:
        lagrangian: The problem.
        backend: Solver of stage 1.
        tolerance: Its tolerance.
        centre: Prices of a problem much like this one, whose search is to be repeated without any halves.

    Raises:
        SolverFailedError: The back-end failed.
        CertificateRejectedError: Its answer breaks the program's own rows.
    """
    root = TwoStageSearch(lagrangian, backend, tolerance, centre).run()
    best = root
    leaves = [(Leaf(lagrangian, root.duals, root.lower_bound), root)]
    stuck: list[Leaf] = []
    nodes, said = 1, root.solution
    an_order = min(lagrangian.cost.order_cost, _AN_ORDER)
    most_nodes = 1 if centre is not None else _most_nodes(lagrangian)
    # where no trades meet the limits yet, a node costs many decisions in vain and the answer is most likely a refusal
    while leaves and nodes < (most_nodes if np.isfinite(best.objective) else min(most_nodes, _FEW_NODES)):
        leaf, answer = min(leaves, key=lambda pair: pair[0].lower_bound)
        enough = max(_GOOD_ENOUGH if nodes < _FEW_NODES else _ACCEPTABLE, an_order)
        halves = _halves(leaf.lagrangian, answer) if best.objective - leaf.lower_bound > enough else None
        if halves is None:
            break
        leaves = [pair for pair in leaves if pair[0] is not leaf]
        # the prices with the best bound of the whole also bound its halves best
        prices = answer.best_dual
        for limits in halves:
            part = leaf.lagrangian.within(limits)
            if not part.can_meet_cash():
                continue
            nodes += 1
            try:
                outcome = TwoStageSearch(part, backend, tolerance, prices, answer.mixing).run(best.objective)
            except SolverFailedError:
                if not part.rows.any:
                    raise
                # most likely no trades of this part meet the limits; its bound stays its parent's
                stuck.append(Leaf(part, leaf.duals, leaf.lower_bound))
                continue
            said = said if said.fallback else replace(said, fallback=outcome.solution.fallback)
            leaves.append((Leaf(part, outcome.duals, max(outcome.lower_bound, leaf.lower_bound)), outcome))
            if outcome.objective < best.objective:
                best = outcome
    return BestTrades(
        trades=best.trades,
        limits=settled_groups(lagrangian, best.trades),
        objective=best.objective,
        dual=best.dual,
        leaves=(*(leaf for leaf, _ in leaves), *stuck),
        solution=said,
        nodes=nodes,
    )


def _most_nodes(lagrangian: Lagrangian) -> int:
    prices = lagrangian.risk.exposures_per_asset + 1 + lagrangian.cost.rows
    most = min(_MAX_NODES, int(_MAX_WORK / (len(lagrangian.pieces.asset) * prices)))
    if lagrangian.cost.order_cost > 0:
        most = int(_NODES_WITH_ORDERS * most)
    return max(most, _LEAST_NODES)


def settled_groups(lagrangian: Lagrangian, trades: FloatArray) -> TradeRange:
    """Forbid purchases in the groups in which the trades sell a loss, and loss sales in the others."""
    limits, loss_start = lagrangian.limits, lagrangian.cost.order.loss_start
    grouped = limits.group >= 0
    label = limits.group[grouped]
    loses = (-trades > loss_start + WEIGHT_TOLERANCE)[grouped]
    count = int(label.max(initial=-1)) + 1
    return limits.with_groups(np.bincount(label, weights=loses, minlength=count) > 0, loss_start)


def _halves(lagrangian: Lagrangian, answer: TwoStageAnswer) -> tuple[TradeRange, TradeRange] | None:
    """Split where the relaxation is loosest; None where stage 1 broke no group's rule and left no asset between."""
    limits, order = lagrangian.limits, lagrangian.cost.order
    group, looseness = _loosest_group(lagrangian, answer)
    places = answer.places
    if len(places.asset):
        # how far the envelope is below the true cost at the trade of stage 1
        below = lagrangian.cost.curvature[places.asset] * np.abs(places.jump[:, 0] * places.jump[:, 1])
        widest = int(np.argmax(below))
        if group is None or below[widest] > looseness:
            asset = int(places.asset[widest])
            pieces = lagrangian.pieces
            first = pieces.branch[pieces.first[asset]]
            left, right = np.searchsorted(pieces.branch, first + places.ends[widest])
            at = float(pieces.left[right])
            # the point at no trade belongs to one part only
            placed = None if at != 0 or not lagrangian.cost.order_cost > 0 else 1 if pieces.rests[left] else 0
            return limits.split_asset(asset, at, placed)
    return None if group is None else limits.split_group(group, order.loss_start)


def _loosest_group(lagrangian: Lagrangian, answer: TwoStageAnswer) -> tuple[int | None, float]:
    """Return the group whose rule stage 1 broke at the greatest saving, and that saving."""
    limits, relaxed = lagrangian.limits, answer.relaxed
    grouped = limits.group >= 0
    label = limits.group[grouped]
    count = int(label.max(initial=-1)) + 1
    if count == 0:
        return None, 0.0
    buys = np.bincount(label, weights=relaxed[grouped] > _NO_TRADE, minlength=count) > 0
    losses = -relaxed[grouped] > lagrangian.cost.order.loss_start[grouped] + _NO_TRADE
    broken = np.flatnonzero(buys & (np.bincount(label, weights=losses, minlength=count) > 0))
    if not len(broken):
        return None, 0.0
    minima = lagrangian.minima(answer.duals[0])
    either = np.bincount(label, weights=minima.value[grouped], minlength=count)
    saving = np.minimum(*lagrangian.group_values(minima)) - either
    worst = int(broken[np.argmax(saving[broken])])
    return worst, float(saving[worst])
