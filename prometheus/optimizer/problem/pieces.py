"""The quadratic pieces of the assets' costs: cut into branches, at short lots, and at the point at no trade.

On every piece f_i(u) = q (d + u)^2 + slope u + offset with the same q for one asset.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prometheus.optimizer.problem.cover_order import CoverOrder
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray

#: A slope that falls by less is rounding noise of equal marginal costs, not a second branch.
_SLOPE_TOLERANCE = 1e-14


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """P pieces, sorted by asset and from left to right; every asset has at least one, possibly a single point.

    Attributes:
        asset: (P,) asset.
        left: (P,) least trade of the piece.
        right: (P,) greatest trade of the piece.
        slope: (P,) linear slope on the piece.
        offset: (P,) constant that makes f continuous with f(0) = q d^2; what an order costs is added to it.
        loses: (P,) True where a sale on the piece has touched a loss lot.
        branch: (P,) number of the convex run the piece belongs to, ascending from 0 over all assets.
        first: (N,) index of each asset's first piece.
        row_slope: (R, P) what a unit of trade adds to each coupling row on the piece.
        row_offset: (R, P) constant that makes each row's use continuous with no use at no trade.
        rests: (P,) True for the points at no trade, which are there where an order has a cost.
    """

    asset: IntArray
    left: FloatArray
    right: FloatArray
    slope: FloatArray
    offset: FloatArray
    loses: BoolArray
    branch: IntArray
    first: IntArray
    row_slope: FloatArray
    row_offset: FloatArray
    rests: BoolArray

    def on_branches(self, chosen: IntArray) -> "Pieces":
        """Return the pieces of one branch for each asset.

        Args:
            chosen: (N,) branch number of each asset.
        """
        return self.take(np.flatnonzero(self.branch == chosen[self.asset]))

    def take(self, at: IntArray) -> "Pieces":
        """Return some of the pieces.

        Args:
            at: Their indices, ascending; at least one piece of every asset.
        """
        asset = self.asset[at]
        counts = np.bincount(asset, minlength=len(self.first))
        return Pieces(
            asset=asset,
            left=self.left[at],
            right=self.right[at],
            slope=self.slope[at],
            offset=self.offset[at],
            loses=self.loses[at],
            branch=self.branch[at],
            first=np.cumsum(counts) - counts,
            row_slope=self.row_slope[:, at],
            row_offset=self.row_offset[:, at],
            rests=self.rests[at],
        )

    def cut(self, low: FloatArray, high: FloatArray) -> "Pieces":
        """Return the pieces over a narrower range of the trades whose ends are ends of pieces.

        Args:
            low: (N,) least trade.
            high: (N,) greatest trade.
        """
        keep = (self.right > low[self.asset]) & (self.left < high[self.asset])
        keep |= self.rests & (low[self.asset] <= 0) & (high[self.asset] >= 0)
        pieces = self
        empty = np.flatnonzero(np.bincount(self.asset[keep], minlength=len(self.first)) == 0)
        if len(empty):
            # an asset that cannot be traded any more keeps the piece that touches its only trade
            touches = (self.right >= low[self.asset]) & (self.left <= high[self.asset])
            at = np.flatnonzero(touches & np.isin(self.asset, empty))
            at = at[np.searchsorted(self.asset[at], empty)]
            keep[at] = True
            left, right = self.left.copy(), self.right.copy()
            left[at], right[at] = low[empty], high[empty]
            pieces = replace(self, left=left, right=right)
        kept = pieces.take(np.flatnonzero(keep))
        starts = np.ones(len(kept.asset), dtype=bool)
        starts[1:] = kept.branch[1:] != kept.branch[:-1]
        return replace(kept, branch=np.cumsum(starts) - 1)


def branches(asset: IntArray, slope: FloatArray, row_slope: FloatArray) -> IntArray:
    """Return (P,) the number of the convex run of each piece, given what the pieces are sorted by and their slopes."""
    starts = np.ones(len(asset), dtype=bool)
    starts[1:] = (np.diff(asset) > 0) | (np.diff(slope) < -_SLOPE_TOLERANCE)
    if len(row_slope):
        # a row that is used up ever more slowly would make the problem with fixed sides non-convex as well
        starts[1:] |= (np.diff(row_slope, axis=1) < -_SLOPE_TOLERANCE).any(axis=0)
    return np.cumsum(starts) - 1


def with_covers(pieces: Pieces, cover: CoverOrder, cover_slope: FloatArray, row_cover: FloatArray) -> Pieces:
    """Return the pieces with those of purchases cut where a short lot is covered and the next one begins.

    Args:
        pieces: The pieces, at most one of purchases for each asset.
        cover: The short lots.
        cover_slope: (S,) what a unit that covers each of them costs beside other purchases.
        row_cover: (R, S) what it adds to each coupling row beside them.
    """
    count = len(pieces.first)
    bought = np.flatnonzero((pieces.right > 0) & (cover.owed[pieces.asset] > 0))
    of_asset = np.full(count, -1)
    of_asset[pieces.asset[bought]] = bought
    shorts = np.flatnonzero(of_asset[cover.asset] >= 0)
    of_short = of_asset[cover.asset[shorts]]
    left = np.maximum(cover.start[shorts], pieces.left[of_short])
    right = np.minimum(cover.start[shorts] + cover.size[shorts], pieces.right[of_short])
    touched = right > left
    shorts, of_short, left, right = shorts[touched], of_short[touched], left[touched], right[touched]
    # what is bought beyond them, and a purchase that is forced to one amount
    is_point = pieces.left[bought] == pieces.right[bought]
    beyond = np.where(is_point, pieces.left[bought], np.maximum(pieces.left[bought], cover.owed[pieces.asset[bought]]))
    rest = is_point | (pieces.right[bought] > beyond)
    at = np.zeros(count)
    at[pieces.asset[bought[rest]]] = beyond[rest]
    covered = cover.fill(at)

    keep = np.delete(np.arange(len(pieces.asset)), bought)
    source = np.concatenate([keep, of_short, bought[rest]])
    lefts = np.concatenate([pieces.left[keep], left, beyond[rest]])
    by = np.lexsort((lefts, pieces.asset[source]))

    def added(slopes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return (..., P) what (..., S) slopes of the short lots add to the pieces' slopes and offsets."""
        spent = slopes * cover.size
        before = np.cumsum(spent, axis=-1) - spent
        level = before - before.take(cover.first, axis=-1) - slopes * cover.start
        whole = np.zeros((*slopes.shape[:-1], count))
        np.add.at(whole.T, cover.asset, (slopes * covered).T)
        none = np.zeros((*slopes.shape[:-1], len(keep)))
        slope = np.concatenate([none, slopes[..., shorts], np.zeros((*slopes.shape[:-1], int(rest.sum())))], axis=-1)
        offset = np.concatenate([none, level[..., shorts], whole[..., pieces.asset[bought[rest]]]], axis=-1)
        return slope.take(by, axis=-1), offset.take(by, axis=-1)

    source = source[by]
    slope, offset = added(cover_slope)
    row_slope, row_offset = added(row_cover)
    asset, slope = pieces.asset[source], pieces.slope[source] + slope
    row_slope = pieces.row_slope[:, source] + row_slope
    counts = np.bincount(asset, minlength=count)
    return Pieces(
        asset=asset,
        left=lefts[by],
        right=np.concatenate([pieces.right[keep], right, pieces.right[bought[rest]]])[by],
        slope=slope,
        offset=pieces.offset[source] + offset,
        loses=pieces.loses[source],
        branch=branches(asset, slope, row_slope),
        first=np.cumsum(counts) - counts,
        row_slope=row_slope,
        row_offset=pieces.row_offset[:, source] + row_offset,
        rests=pieces.rests[source],
    )


def with_orders(pieces: Pieces, order_cost: float, may_rest: BoolArray) -> Pieces:
    """Return pieces of trades that cost an order, with the point at no trade, which costs none, between them.

    Args:
        pieces: The pieces.
        order_cost: What any trade costs whatever its size.
        may_rest: (N,) True for assets that need not be traded.
    """
    owner = pieces.asset
    point = (pieces.left == 0) & (pieces.right == 0)
    sale = pieces.left < 0
    assets = np.flatnonzero(may_rest & (np.bincount(owner, weights=~point, minlength=len(pieces.first)) > 0))
    # after the sales of the asset, before its purchases
    at = pieces.first[assets] + np.bincount(owner, weights=sale, minlength=len(pieces.first)).astype(np.int64)[assets]
    new = np.zeros(len(owner) + len(at), dtype=bool)
    new[at + np.arange(len(at))] = True
    old = ~new

    def spread(values: Any, fill: Any = 0) -> Any:
        wider = np.full((*values.shape[:-1], len(new)), fill, dtype=values.dtype)
        wider[..., old] = values
        return wider

    asset = spread(owner)
    asset[new] = assets
    starts = np.ones(len(owner), dtype=bool)
    starts[1:] = np.diff(pieces.branch) > 0
    begins = spread(starts, fill=True)
    # whatever follows the point is another branch
    begins[1:] |= new[:-1]
    counts = np.bincount(asset, minlength=len(pieces.first))
    return Pieces(
        asset=asset,
        left=spread(pieces.left),
        right=spread(pieces.right),
        slope=spread(pieces.slope),
        offset=spread(np.where(point, pieces.offset, pieces.offset + order_cost)),
        loses=spread(pieces.loses),
        branch=np.cumsum(begins) - 1,
        first=np.cumsum(counts) - counts,
        row_slope=spread(pieces.row_slope),
        row_offset=spread(pieces.row_offset),
        rests=new,
    )
