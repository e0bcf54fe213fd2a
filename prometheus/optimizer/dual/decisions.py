"""Positions of assets on the envelope, and decisions: one branch for each asset, one side for each group."""

from dataclasses import dataclass, replace

import numpy as np

from prometheus.optimizer.problem.envelope import ConvexPieces
from prometheus.optimizer.problem.pieces import Pieces
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray

#: Strictly between these parts of its tangent an asset counts as undecided.
_UNDECIDED = 1e-4
#: The same where an order has a cost: the smallest trade costs a whole order.
_UNDECIDED_ORDER = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """The choice of branches and sides that makes stage 2 convex.

    Attributes:
        sells_losses: (G,) for each undecided group, True: nothing is bought; False: no loss is sold.
        branch: (N,) the chosen branch, counted from 0 within each asset.
    """

    sells_losses: BoolArray
    branch: IntArray

    def key(self) -> bytes:
        """Return bytes that are equal for equal decisions."""
        return self.sells_losses.tobytes() + self.branch.tobytes()

    def with_branch(self, asset: int, branch: int) -> "Decision":
        """Return the decision with another branch for one asset."""
        changed = self.branch.copy()
        changed[asset] = branch
        return replace(self, branch=changed)


@dataclass(frozen=True, slots=True, eq=False)
class RestingPlaces:
    """Positions of the trades of stage 1 on the envelope.

    Attributes:
        branch: (N,) nearest branch, counted from 0 within each asset.
        asset: (U,) undecided assets, the widest jump first.
        jump: (U, 2) what the trade changes by when the asset goes to the left or the right end of its tangent.
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
            branch: (N,) branch of the decided assets in the other pieces, counted from 0 within each asset.
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


def least_part(pieces: Pieces) -> float:
    """Return the part of a tangent from whose ends an asset must be away to count as undecided."""
    return _UNDECIDED_ORDER if pieces.rests.any() else _UNDECIDED


def resting_places(envelope: ConvexPieces, pieces: Pieces, trades: FloatArray) -> RestingPlaces:
    """Locate every trade on the envelope of its asset's cost."""
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
    least = least_part(pieces)
    between = np.flatnonzero(tangent & (part > least) & (part < 1 - least))
    widest = between[np.argsort(left[between] - right[between], kind="stable")]
    asset, piece = movable[widest], piece[widest]
    return RestingPlaces(
        branch=branch,
        asset=asset,
        jump=np.stack([envelope.span_left[piece], envelope.span_right[piece]], axis=1) - trades[asset][:, None],
        ends=np.stack([envelope.branch_left[piece], envelope.branch_right[piece]], axis=1) - base[asset][:, None],
    )
