"""Where names came to rest on the envelope, and which sides to give those that rest between two branches."""

from dataclasses import dataclass, replace

import numpy as np

from prometheus.optimizer.asset_functions import Pieces
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.envelope import ConvexPieces
from prometheus.optimizer.linked_risk import FreeNames
from prometheus.optimizer.problem import BoolArray, FloatArray, IntArray
from prometheus.optimizer.semidefinite import semidefinite_root

#: Strictly between these parts of its tangent a name counts as undecided.
_UNDECIDED = 1e-4
#: All patterns of this many undecided names are compared; further ones go to their nearer end.
_MAX_UNDECIDED = 10
#: Runners-up that are kept.
_RUNNERS_UP = 6
#: Distance from the ends of an arc within which a trade counts as resting on the end (fraction of NAV).
_ON_THE_END = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Which convex problem stage 2 solves.

    Attributes:
        sells_losses: (G,) for each undecided group, True: nothing is bought; False: no loss is sold.
        branch: (N,) the chosen branch, counted from 0 within each name.
    """

    sells_losses: BoolArray
    branch: IntArray

    def key(self) -> bytes:
        """Return bytes that are equal for equal decisions."""
        return self.sells_losses.tobytes() + self.branch.tobytes()

    def with_branch(self, asset: int, branch: int) -> "Decision":
        """Return the decision with another branch for one name."""
        changed = self.branch.copy()
        changed[asset] = branch
        return replace(self, branch=changed)


@dataclass(frozen=True, slots=True, eq=False)
class RestingPlaces:
    """Where the trades of stage 1 lie on the envelope.

    Attributes:
        branch: (N,) nearest branch, counted from 0 within each name.
        free: (N,) True where the trade lies strictly inside an arc, so that it answers to prices.
        asset: (U,) undecided names, the widest jump first.
        jump: (U, 2) what the trade changes by when the name goes to the left or the right end of its tangent.
        ends: (U, 2) branch of the left and of the right end.
        cash: (U,) cash per unit of trade on the tangent.
        row_slope: (R, N) what a unit of each name's trade adds to each coupling row where it rests.
    """

    branch: IntArray
    free: BoolArray
    asset: IntArray
    jump: FloatArray
    ends: IntArray
    cash: FloatArray
    row_slope: FloatArray

    def relabelled(self, own: Pieces, pieces: Pieces, branch: IntArray, trades: FloatArray) -> "RestingPlaces":
        """Return the same places in branches of other pieces, which are cut at the same trades.

        Args:
            own: The pieces whose branches these places name.
            pieces: The other pieces.
            branch: (N,) branch of the decided names in the other pieces, counted from 0 within each name.
            trades: (N,) trades that rest at these places.
        """
        ends = self.ends.copy()
        for row, i in enumerate(self.asset):
            for side in (0, 1):
                number = own.branch[own.first[i]] + self.ends[row, side]
                start, stop = np.searchsorted(own.branch, [number, number + 1])
                end = trades[i] + self.jump[row, side]
                at = min(int(start + np.searchsorted(own.right[start:stop], end)), int(stop) - 1)
                ends[row, side] = pieces.branch[at] - pieces.branch[pieces.first[i]]
        moved = branch.copy()
        nearest = np.abs(self.jump[:, 0]) <= np.abs(self.jump[:, 1])
        moved[self.asset] = np.where(nearest, ends[:, 0], ends[:, 1])
        return replace(self, branch=moved, ends=ends)


def resting_places(envelope: ConvexPieces, pieces: Pieces, trades: FloatArray) -> RestingPlaces:
    """Locate every trade on the envelope of its name's cost."""
    count = len(envelope.asset)
    at = np.full(envelope.size, count)
    reached = envelope.right >= trades[envelope.asset]
    np.minimum.at(at, envelope.asset[reached], np.flatnonzero(reached))
    last = np.full(envelope.size, -1)
    np.maximum.at(last, envelope.asset, np.arange(count))
    at = np.where(at == count, last, at)

    base = pieces.branch[pieces.first]
    branch = np.zeros(envelope.size, dtype=np.int64)
    free = np.zeros(envelope.size, dtype=bool)
    movable = np.flatnonzero(at >= 0)
    piece = at[movable]
    left, right = envelope.span_left[piece], envelope.span_right[piece]
    part = (trades[movable] - left) / (right - left)
    branch[movable] = np.where(part <= 0.5, envelope.branch_left[piece], envelope.branch_right[piece]) - base[movable]
    tangent = envelope.branch_left[piece] != envelope.branch_right[piece]
    free[movable] = ~tangent & (trades[movable] > left + _ON_THE_END) & (trades[movable] < right - _ON_THE_END)

    row_slope = np.zeros((len(envelope.row_slope), envelope.size))
    row_slope[:, movable] = envelope.row_slope[:, piece]

    between = np.flatnonzero(tangent & (part > _UNDECIDED) & (part < 1 - _UNDECIDED))
    widest = between[np.argsort(left[between] - right[between], kind="stable")]
    asset, piece = movable[widest], piece[widest]
    return RestingPlaces(
        branch=branch,
        free=free,
        asset=asset,
        jump=np.stack([envelope.span_left[piece], envelope.span_right[piece]], axis=1) - trades[asset][:, None],
        ends=np.stack([envelope.branch_left[piece], envelope.branch_right[piece]], axis=1) - base[asset][:, None],
        cash=envelope.cash[piece],
        row_slope=row_slope,
    )


def ranked_patterns(
    base: Decision, places: RestingPlaces, lagrangian: Lagrangian, trades: FloatArray, dual: DualPoint
) -> list[Decision]:
    """Return decisions for the undecided names, the most promising first.

    At the prices of stage 1 both ends of a tangent cost the same. What a pattern costs is therefore only the
    disturbance e of the factor exposures and of cash, after every free name has answered to it:
    e' inverse(M) e / 4 with M = I / 4g + sum over free names of x x' / 4q. All patterns are compared at once.
    """
    asset = places.asset[:_MAX_UNDECIDED]
    grouped = lagrangian.limits.group[asset] >= 0
    asset, jump = asset[~grouped], places.jump[:_MAX_UNDECIDED][~grouped]
    ends, tangent_cash = places.ends[:_MAX_UNDECIDED][~grouped], places.cash[:_MAX_UNDECIDED][~grouped]
    if not len(asset):
        return [base]
    priced = dual.cash_price != 0
    free = np.flatnonzero(places.free)
    side = np.where(trades[free] < 0, -1.0, 1.0)
    cash = (1.0 + side * lagrangian.cost_rate[free]) * priced
    binding = np.flatnonzero(dual.rows(lagrangian.cost.rows))
    bent = places.row_slope[binding].T
    rows = np.concatenate([lagrangian.risk.loadings[free], cash[:, None], bent[free]], axis=1)
    matrix = np.einsum("ik,il->kl", rows / (4 * lagrangian.cost.curvature[free])[:, None], rows)
    factors = lagrangian.risk.loadings.shape[1]
    matrix[np.arange(factors), np.arange(factors)] += 1.0 / (4 * lagrangian.risk_aversion)
    patterns = (np.arange(2 ** len(asset))[:, None] >> np.arange(len(asset))) & 1
    moved = np.where(patterns == 1, jump[:, 1], jump[:, 0])
    weights = np.concatenate([lagrangian.risk.loadings[asset], (tangent_cash * priced)[:, None], bent[asset]], axis=1)
    if lagrangian.risk.links:
        own = np.zeros_like(matrix)
        own[np.arange(factors), np.arange(factors)] = 0.5 / lagrangian.risk_aversion
        curvature = lagrangian.cost.curvature[free]
        answers = FreeNames(free, curvature, lagrangian.risk_aversion, lagrangian.risk.links)
        products = answers.disturbances(rows, own, weights.T, np.eye(len(asset)), asset)
        predicted = np.einsum("pu,uv,pv->p", moved, products, moved)
    else:
        predicted = _predicted(matrix, np.einsum("pu,uk->kp", moved, weights))
    decisions = []
    for p in np.argsort(predicted, kind="stable")[:_RUNNERS_UP]:
        branch = base.branch.copy()
        branch[asset] = np.where(patterns[p] == 1, ends[:, 1], ends[:, 0])
        decisions.append(replace(base, branch=branch))
    return decisions


def _predicted(matrix: FloatArray, disturbance: FloatArray) -> FloatArray:
    """Return (P,) e' inverse(M) e of (K, P) disturbances."""
    root = semidefinite_root(matrix)
    predicted = np.zeros(disturbance.shape[1])
    solved = np.zeros_like(disturbance)
    for k in range(len(root)):
        if root[k, k] > 0:
            solved[k] = (disturbance[k] - np.einsum("l,lp->p", root[k, :k], solved[:k])) / root[k, k]
            predicted += solved[k] * solved[k]
    return predicted
