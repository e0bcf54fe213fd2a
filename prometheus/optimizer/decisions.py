"""Where names came to rest on the envelope, and which sides to give those that rest between two branches."""

from dataclasses import dataclass, replace

import numpy as np

from prometheus.optimizer.asset_functions import Pieces
from prometheus.optimizer.envelope import ConvexPieces
from prometheus.optimizer.problem import BoolArray, FloatArray, IntArray
from prometheus.optimizer.quadratic_model import least_pattern
from prometheus.optimizer.structured_dual import CoupledDual, Response

#: Strictly between these parts of its tangent a name counts as undecided.
_UNDECIDED = 1e-4
#: All patterns of this many undecided names are compared; with more of them a search takes the place of the comparison.
_MAX_UNDECIDED = 8
#: Runners-up that are kept.
_RUNNERS_UP = 6


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
        asset: (U,) undecided names, the widest jump first.
        jump: (U, 2) what the trade changes by when the name goes to the left or the right end of its tangent.
        ends: (U, 2) branch of the left and of the right end.
    """

    branch: IntArray
    asset: IntArray
    jump: FloatArray
    ends: IntArray

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
    movable = np.flatnonzero(at >= 0)
    piece = at[movable]
    left, right = envelope.span_left[piece], envelope.span_right[piece]
    part = (trades[movable] - left) / (right - left)
    branch[movable] = np.where(part <= 0.5, envelope.branch_left[piece], envelope.branch_right[piece]) - base[movable]
    tangent = envelope.branch_left[piece] != envelope.branch_right[piece]
    between = np.flatnonzero(tangent & (part > _UNDECIDED) & (part < 1 - _UNDECIDED))
    widest = between[np.argsort(left[between] - right[between], kind="stable")]
    asset, piece = movable[widest], piece[widest]
    return RestingPlaces(
        branch=branch,
        asset=asset,
        jump=np.stack([envelope.span_left[piece], envelope.span_right[piece]], axis=1) - trades[asset][:, None],
        ends=np.stack([envelope.branch_left[piece], envelope.branch_right[piece]], axis=1) - base[asset][:, None],
    )


def ranked_patterns(
    base: Decision, places: RestingPlaces, dual: CoupledDual, response: Response, grouped: BoolArray
) -> list[Decision]:
    """Return decisions for the undecided names, the most promising first.

    At the prices of stage 1 both ends of a tangent cost the same. What a pattern costs is therefore only the
    disturbance e of everything that joins the names, after every free name has answered to it: e' inverse(M) e / 2 with
    M the dual's Hessian. With few undecided names all patterns are compared at once.

    Args:
        base: Decision for all other names.
        places: Where the trades of stage 1 rest.
        dual: The problem's dual.
        response: Its answers at the prices of stage 1.
        grouped: (N,) True for names whose side their group decides.
    """
    free = ~grouped[places.asset]
    asset, jump, ends = places.asset[free], places.jump[free], places.ends[free]
    count = len(asset)
    if not count:
        return [base]
    first = dual.first_branch[asset]
    at_left, at_right = (dual.conditions(response, first + ends[:, side]) for side in (0, 1))
    part = -jump[:, 0] / (jump[:, 1] - jump[:, 0])
    # from where each name rests to its left end, and from there to its right end
    to_left, across = part * (at_left - at_right), at_right - at_left
    settled = response.share.copy()
    settled[np.concatenate([first + ends[:, 0], first + ends[:, 1]])] = 0.0
    disturbed = np.concatenate([to_left, across], axis=1)
    jumps = np.concatenate([np.diag(jump[:, 0]), np.diag(jump[:, 1] - jump[:, 0])], axis=1)
    products = dual.products(response, settled, disturbed, jumps, asset)
    all_left = products[:count].sum(axis=0)[count:]
    between = products[count:, count:]
    if count <= _MAX_UNDECIDED:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        predicted = np.einsum("pi,i->p", patterns, 2 * all_left)
        predicted += np.einsum("pi,pi->p", np.einsum("pi,ij->pj", patterns, between), patterns)
        best = patterns[np.argsort(predicted, kind="stable")[:_RUNNERS_UP]]
    else:
        nearest = part > 0.5
        best = np.stack([least_pattern(-all_left, between, nearest), nearest])
    decisions = []
    for pattern in best:
        branch = base.branch.copy()
        branch[asset] = np.where(pattern == 1, ends[:, 1], ends[:, 0])
        decisions.append(replace(base, branch=branch))
    return decisions
