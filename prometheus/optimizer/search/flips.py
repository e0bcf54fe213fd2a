"""Changes of sides of assets and groups: a quadratic model of stage 2 around its optimum.

At the optimal prices of a decision, moving asset i to another branch changes the priced cost by -gain_i and disturbs
everything that joins the assets (exposures, cash, rows, tracking error) by r_i; so does turning a group round. When
everything else has answered, the objective of a set of moves is about

    objective - sum of gains + (1/2) r' M^-1 r,      r = sum of the r_i,

with M the dual's Hessian over the prices that are not zero. The best set is searched on the model alone, so that one
exact solve of stage 2 replaces a solve for each move. Without the last term it is a bound, hence some gain must be
positive.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.dual.coupled_dual import CoupledDual, Response
from prometheus.optimizer.dual.decisions import Decision
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray
from prometheus.optimizer.search.quadratic_model import WORTHWHILE, least_pattern

#: Most assets, and most groups, that the model considers.
_MOST_ASSETS = 64
_MAX_GROUPS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Candidates around a decision: single assets first, then groups.

    Attributes:
        decision: The decision.
        gain: (M,) what each move saves at the present prices.
        linear: (M,) the same less what it costs beside what the decision already misses.
        disturbance: (M, M) r_i' M^-1 r_j.
        move: (E,) the move to which each changed asset belongs.
        asset: (E,) the changed asset.
        branch: (E,) its branch after the move.
        group: (M,) the group that turns, -1 for a single asset.
    """

    decision: Decision
    gain: FloatArray
    linear: FloatArray
    disturbance: FloatArray
    move: IntArray
    asset: IntArray
    branch: IntArray
    group: IntArray

    def together(self) -> Decision | None:
        """Return the decision that the model finds best, None where it finds none better than the present one."""
        if not (self.linear > WORTHWHILE).any():
            return None
        chosen = least_pattern(self.linear, self.disturbance)
        return self._after(chosen.nonzero()[0]) if chosen.any() else None

    def _after(self, moves: IntArray) -> Decision:
        branch, sells = self.decision.branch.copy(), self.decision.sells_losses.copy()
        changed = np.isin(self.move, moves)
        branch[self.asset[changed]] = self.branch[changed]
        turned = self.group[moves]
        turned = turned[turned >= 0]
        sells[turned] = ~sells[turned]
        return Decision(sells, branch)


def moves_around(
    priced: CoupledDual,
    response: Response,
    other: CoupledDual | None,
    decision: Decision,
    dual: DualPoint,
    relaxed: FloatArray | None = None,
) -> Moves:
    """Collect the moves around a decision and model them.

    Args:
        priced: Dual of the true problem after the groups' decisions, with every branch of each asset.
        response: Its answers at the prices, with the decision's shares.
        other: The same with every group decided the other way round; None without groups.
        decision: The decision.
        dual: The prices: those of its optimum, or those of stage 1.
        relaxed: (N,) trades of stage 1 where the prices are its; the decision disturbs their conditions.
    """
    current = priced.first_branch + decision.branch
    at_present = response.worth[current]
    gain = at_present[priced.owner] - response.worth
    gain[current] = -np.inf
    sides = None if other is None else _turned(other, dual, at_present)
    if sides is not None:
        gain[sides.grouped_by_turn[priced.owner]] = -np.inf
    group_gain = np.zeros(0) if sides is None else sides.gain
    # a move that loses more than all others together could save is never worth it
    hope = float(gain[gain > 0].sum()) + float(group_gain[group_gain > 0].sum())
    by = (gain > -hope).nonzero()[0]
    by = by[np.argsort(-gain[by], kind="stable")]
    if len(priced.several) and priced.is_crowded:
        # the likeliest branch of each asset
        by = by[np.sort(np.unique(priced.owner[by], return_index=True)[1])]
    by = by[:_MOST_ASSETS]
    asset = priced.owner[by]
    disturbed = priced.jumps(response, current[asset], by)
    move, branch = np.arange(len(by)), by - priced.first_branch[asset]
    group, after = np.full(len(by), -1, dtype=np.int64), response.trade[by]
    if sides is not None:
        keep = sides.gain > -hope
        keep &= np.isfinite(sides.gain)
        number = np.cumsum(keep) - 1 + len(by)
        member = keep[sides.place]
        jumps = sides.conditions[:, member] - priced.conditions(response, current[sides.asset[member]])
        added = np.zeros((len(disturbed), int(keep.sum())))
        np.add.at(added.T, number[sides.place[member]] - len(by), jumps.T)
        disturbed = np.concatenate([disturbed, added], axis=1)
        move = np.concatenate([move, number[sides.place[member]]])
        asset = np.concatenate([asset, sides.asset[member]])
        branch = np.concatenate([branch, sides.branch[member]])
        after = np.concatenate([after, sides.trade[member]])
        group = np.concatenate([group, sides.group[keep]])
        group_gain = sides.gain[keep]
    gain = np.concatenate([gain[by], group_gain])
    if not len(group):
        return Moves(decision, gain, gain, np.zeros((0, 0)), move, asset, branch, group)
    jump = after - response.trade[current[asset]]
    linear = gain
    if relaxed is None:
        products = priced.products(response, disturbed, (move, asset, jump))
    else:
        # what the decision itself misses at the prices of stage 1 comes first
        missing = np.where(response.active, response.gradient, 0.0)
        moved = (response.trade[current] - relaxed).nonzero()[0]
        changes = (
            np.concatenate([np.zeros(len(moved), dtype=np.int64), move + 1]),
            np.concatenate([moved, asset]),
            np.concatenate([response.trade[current[moved]] - relaxed[moved], jump]),
        )
        with_own = np.concatenate([missing[:, None], disturbed], axis=1)
        products = priced.products(response, with_own, changes)
        linear, products = gain - products[1:, 0], products[1:, 1:]
    return Moves(decision, gain, linear, products, move, asset, branch, group)


@dataclass(frozen=True, slots=True, eq=False)
class _Turns:
    """The groups whose other side is the likeliest to be better.

    Attributes:
        group: (T,) the groups.
        gain: (T,) what turning each saves at the prices.
        grouped_by_turn: (N,) True for the assets of these groups.
        place: (E,) position in ``group`` of each of their assets.
        asset: (E,) the assets.
        branch: (E,) their branch on the other side.
        trade: (E,) their trade there.
        conditions: (size, E) what they add to every condition there.
    """

    group: IntArray
    gain: FloatArray
    grouped_by_turn: np.ndarray
    place: IntArray
    asset: IntArray
    branch: IntArray
    trade: FloatArray
    conditions: FloatArray


def _turned(priced: CoupledDual, dual: DualPoint, at_present: FloatArray) -> _Turns:
    other = priced.lagrangian
    prices = priced.joint.prices(dual, other.risk_aversion, other.cost.rows)
    response = priced.respond(prices)
    best = priced.best_branch(response)
    label = other.limits.group
    member = (label >= 0).nonzero()[0]
    saved = at_present[member] - response.worth[best[member]]
    # a side that contradicts a forced trade is no side
    saved[(other.limits.low > other.limits.high)[member]] = -np.inf
    gains = np.bincount(label[member], weights=saved).astype(np.float64)
    group = np.argsort(-gains, kind="stable")[:_MAX_GROUPS]
    position = np.full(len(gains), -1)
    position[group] = np.arange(len(group))
    place = position[label[member]]
    member, place = member[place >= 0], place[place >= 0]
    grouped = np.zeros(len(label), dtype=bool)
    grouped[member] = True
    return _Turns(
        group=group,
        gain=gains[group],
        grouped_by_turn=grouped,
        place=place,
        asset=member,
        branch=best[member] - priced.first_branch[member],
        trade=response.trade[best[member]],
        conditions=priced.conditions(response, best[member]),
    )
