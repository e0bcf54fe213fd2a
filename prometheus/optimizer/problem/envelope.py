"""The exact convex envelope of each asset's cost: arcs of its branches joined by common tangents.

Two branches of one asset (convex runs on neighbouring intervals, see asset_functions) have one slope m at which
min (f - m u) is the same on both; the envelope is straight with that slope between the two minimisers a and b. All
pairs of branches of all assets are worked on at once. With more than two branches the tangents are chosen from left to
right by the smallest slope, as in wrapping a hull. Source: docs/specs/optimizer.md.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.problem.asset_functions import SeparableCost
from prometheus.optimizer.problem.pieces import Pieces
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray

#: Shorter pieces are left out: 1e-12 of NAV is less than any share.
_SHORTEST = 1e-12
_MAX_STEPS = 80


@dataclass(frozen=True, slots=True, eq=False)
class ConvexPieces:
    """Convex cost of each asset as pieces whose marginal cost rises from left to right.

    Attributes:
        size: N.
        asset: (P,) asset, ascending; within an asset the pieces follow each other from left to right.
        left: (P,) least trade of the piece.
        right: (P,) greatest trade.
        slope: (P,) marginal cost at the left end.
        curvature: (P,) q of the asset on an arc, zero on a tangent: cost from the left end = slope t + curvature t^2.
        cash: (P,) cash taken per unit of trade, trading cost included.
        branch_left: (P,) branch of the left end.
        branch_right: (P,) branch of the right end; differs from ``branch_left`` on a tangent.
        low: (N,) least trade.
        high: (N,) greatest trade.
        span_left: (P,) left end of the tangent the piece is part of; its own left end on an arc.
        span_right: (P,) right end of that tangent.
        row_slope: (R, P) what a unit of trade on the piece adds to each coupling row. With coupling rows a tangent is
            cut where the rows' use has its kinks, so that stage 1 counts their use exactly.
    """

    size: int
    asset: IntArray
    left: FloatArray
    right: FloatArray
    slope: FloatArray
    curvature: FloatArray
    cash: FloatArray
    branch_left: IntArray
    branch_right: IntArray
    low: FloatArray
    high: FloatArray
    span_left: FloatArray
    span_right: FloatArray
    row_slope: FloatArray

    def take(self, at: IntArray) -> "ConvexPieces":
        """Return some of the pieces; the assets keep the range of their trade.

        Args:
            at: Their indices, ascending.
        """
        return ConvexPieces(
            size=self.size,
            asset=self.asset[at],
            left=self.left[at],
            right=self.right[at],
            slope=self.slope[at],
            curvature=self.curvature[at],
            cash=self.cash[at],
            branch_left=self.branch_left[at],
            branch_right=self.branch_right[at],
            low=self.low,
            high=self.high,
            span_left=self.span_left[at],
            span_right=self.span_right[at],
            row_slope=self.row_slope[:, at],
        )


def arcs(pieces: Pieces, cost: SeparableCost, cost_rate: FloatArray) -> ConvexPieces:
    """Return pieces that are convex already (one branch for each asset)."""
    bounds = np.full(int(pieces.branch[-1]) + 1, np.inf)
    return _assemble(pieces, cost, cost_rate, -bounds, bounds, _no_tangents())


def convex_envelope(pieces: Pieces, cost: SeparableCost, cost_rate: FloatArray) -> ConvexPieces:
    """Return the convex envelope of every asset's cost over the range of its trade.

    Args:
        pieces: The true pieces.
        cost: Gives q and d.
        cost_rate: (N,) k, for the cash that each piece takes.
    """
    left, right, slope, ends = _tangents(pieces, cost)
    branches = int(pieces.branch[-1]) + 1
    from_, to = np.full(branches, -np.inf), np.full(branches, np.inf)
    used = np.zeros(branches, dtype=bool)
    used[pieces.branch[pieces.first]] = True
    used[right] = True
    to[left], from_[right] = ends[0], ends[1]
    # a branch that the envelope passes over keeps no arc
    from_[~used], to[~used] = np.inf, -np.inf
    return _assemble(pieces, cost, cost_rate, from_, to, (left, right, slope, ends))


_Tangents = tuple[IntArray, IntArray, FloatArray, tuple[FloatArray, FloatArray]]


def _no_tangents() -> _Tangents:
    none = np.zeros(0)
    return none.astype(np.int64), none.astype(np.int64), none, (none, none)


def _assemble(
    pieces: Pieces,
    cost: SeparableCost,
    cost_rate: FloatArray,
    from_: FloatArray,
    to: FloatArray,
    tangents: _Tangents,
) -> ConvexPieces:
    size = len(cost.curvature)
    left = np.maximum(pieces.left, from_[pieces.branch])
    right = np.minimum(pieces.right, to[pieces.branch])
    keep = right - left > _SHORTEST
    asset, left, right = pieces.asset[keep], left[keep], right[keep]
    q = cost.curvature[asset]
    slope = 2 * q * (cost.active[asset] + left) + pieces.slope[keep]
    cash = 1.0 + np.where(right <= 0, -1.0, 1.0) * cost_rate[asset]

    t_left, t_right, t_slope, (a, b) = tangents
    wide = b - a > _SHORTEST
    t_left, t_right, t_slope, a, b = t_left[wide], t_right[wide], t_slope[wide], a[wide], b[wide]
    first_of_branch = np.searchsorted(pieces.branch, t_left)
    t_asset = pieces.asset[first_of_branch]
    t_span = (a, b)
    t_rows = np.zeros((cost.rows, len(a)))
    if cost.rows:
        cut, piece = _cut_tangents(pieces, t_asset, a, b)
        t_left, t_right, t_slope, t_asset = t_left[cut], t_right[cut], t_slope[cut], t_asset[cut]
        t_span = (a[cut], b[cut])
        a, b = np.maximum(a[cut], pieces.left[piece]), np.minimum(b[cut], pieces.right[piece])
        t_rows = pieces.row_slope[:, piece]
    t_cash = 1.0 + cost_rate[t_asset] * (np.abs(b) - np.abs(a)) / (b - a)

    assets = np.concatenate([asset, t_asset])
    lefts = np.concatenate([left, a])
    by = np.lexsort((lefts, assets))
    last = np.append(pieces.first[1:], len(pieces.asset)) - 1
    return ConvexPieces(
        size=size,
        asset=assets[by],
        left=lefts[by],
        right=np.concatenate([right, b])[by],
        slope=np.concatenate([slope, t_slope])[by],
        curvature=np.concatenate([q, np.zeros_like(a)])[by],
        cash=np.concatenate([cash, t_cash])[by],
        branch_left=np.concatenate([pieces.branch[keep], t_left])[by],
        branch_right=np.concatenate([pieces.branch[keep], t_right])[by],
        low=pieces.left[pieces.first],
        high=pieces.right[last],
        span_left=np.concatenate([left, t_span[0]])[by],
        span_right=np.concatenate([right, t_span[1]])[by],
        row_slope=np.concatenate([pieces.row_slope[:, keep], t_rows], axis=1)[:, by],
    )


def _cut_tangents(pieces: Pieces, asset: IntArray, a: FloatArray, b: FloatArray) -> tuple[IntArray, IntArray]:
    """Return pairs of a tangent and a true piece below it that share more than a point."""
    last = np.append(pieces.first[1:], len(pieces.asset))
    count = last[asset] - pieces.first[asset]
    cut = np.repeat(np.arange(len(asset)), count)
    piece = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count) + pieces.first[asset][cut]
    shared = np.minimum(b[cut], pieces.right[piece]) - np.maximum(a[cut], pieces.left[piece])
    keep = shared > _SHORTEST
    return cut[keep], piece[keep]


def _tangents(pieces: Pieces, cost: SeparableCost) -> _Tangents:
    """Return the envelope's tangents: left branch, right branch, slope, and the two points they touch."""
    branches = int(pieces.branch[-1]) + 1
    start = np.searchsorted(pieces.branch, np.arange(branches + 1))
    owner = pieces.asset[start[:-1]]
    left, right = _pairs(owner)
    if not len(left):
        return _no_tangents()
    slope, a, b = _common_tangents(pieces, cost, left, right, start)
    # wrap: from the leftmost branch always take the tangent of the smallest slope, the farthest among equals
    chosen: list[IntArray] = []
    current = pieces.branch[pieces.first]
    while True:
        is_next = left == current[owner[left]]
        at = np.flatnonzero(is_next)
        if not len(at):
            break
        by = at[np.lexsort((-right[at], slope[at], owner[left[at]]))]
        head = np.ones(len(by), dtype=bool)
        head[1:] = np.diff(owner[left[by]]) > 0
        step = by[head]
        chosen.append(step)
        current = current.copy()
        current[owner[left[step]]] = right[step]
    pick = np.concatenate(chosen)
    return left[pick], right[pick], slope[pick], (a[pick], b[pick])


def _pairs(owner: IntArray) -> tuple[IntArray, IntArray]:
    """Return every pair of branches, left before right, that belong to one asset."""
    left: list[IntArray] = []
    right: list[IntArray] = []
    offset = 1
    while True:
        at = np.flatnonzero(owner[offset:] == owner[:-offset])
        if not len(at):
            break
        left.append(at)
        right.append(at + offset)
        offset += 1
    if not left:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(left), np.concatenate(right)


def _common_tangents(
    pieces: Pieces, cost: SeparableCost, left: IntArray, right: IntArray, start: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Find each pair's slope m by Newton's method kept inside a shrinking bracket.

    The difference of the two minima rises with m (its derivative is b - a), from non-positive at the least marginal
    cost of the asset to non-negative at the greatest.
    """
    at_left, head_left = _expand(start, left)
    at_right, head_right = _expand(start, right)
    q, d = cost.curvature[pieces.asset], cost.active[pieces.asset]
    marginal_left = 2 * q * (d + pieces.left) + pieces.slope
    marginal_right = 2 * q * (d + pieces.right) + pieces.slope
    owner = pieces.asset[start[left]]
    low = np.minimum.reduceat(marginal_left, pieces.first)[owner]
    high = np.maximum.reduceat(marginal_right, pieces.first)[owner]
    if cost.order_cost > 0:
        low, high = _beyond_chords(pieces, cost, (left, right, start), low, high)
    on_left = _Branches(pieces, cost, at_left, head_left)
    on_right = _Branches(pieces, cost, at_right, head_right)
    m, done = 0.5 * (low + high), np.zeros(len(left), dtype=bool)
    at_low, at_high = np.full(len(left), -np.inf), np.full(len(left), np.inf)
    for step in range(_MAX_STEPS):
        value_left, a = on_left.minimum(m)
        value_right, b = on_right.minimum(m)
        difference = value_left - value_right
        # the difference of two equal values is rounding and says nothing about the slope
        difference[np.abs(difference) <= 4e-16 * np.abs(value_left)] = 0.0
        below, above = difference <= 0, difference >= 0
        low, at_low = np.where(below, m, low), np.where(below, difference, at_low)
        high, at_high = np.where(above, m, high), np.where(above, difference, at_high)
        width = b - a
        newton = m - difference / np.where(width > 0, width, 1.0)
        inside = (width > 0) & (newton >= low) & (newton <= high)
        # from the flat side of a kink Newton's step goes too far: the chord of the bracket does not
        known = np.isfinite(at_low) & np.isfinite(at_high) & (at_high > at_low) & (step % 8 != 7)
        part = np.divide(-at_low, at_high - at_low, out=np.full(len(left), 0.5), where=known)
        following = np.where(inside & (step % 32 != 31), newton, low + part * (high - low))
        # slopes that have converged stay: another step would only add rounding
        m, done = np.where(done, m, following), done | (np.abs(following - m) <= 1e-14 * (0.01 + np.abs(m)))
        if done.all():
            break
    return m, on_left.minimum(m)[1], on_right.minimum(m)[1]


def _beyond_chords(
    pieces: Pieces, cost: SeparableCost, pairs: tuple[IntArray, IntArray, IntArray], low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Widen the brackets by the slopes of the chords between the branches' left ends and between their right ends.

    Where the cost jumps the slope of a tangent may lie outside the marginal costs: what an order costs is paid by the
    whole sale or purchase.
    """
    left, right, start = pairs
    q, d = cost.curvature[pieces.asset], cost.active[pieces.asset]

    def chord(ends: FloatArray, at: IntArray) -> FloatArray:
        u = ends[at]
        value = (q * (d + ends) * (d + ends) + pieces.slope * ends + pieces.offset)[at]
        run = u[right] - u[left]
        slope: FloatArray = np.divide(value[right] - value[left], run, out=np.full(len(run), np.nan), where=run > 0)
        return slope

    return np.fmin(low, chord(pieces.left, start[:-1])), np.fmax(high, chord(pieces.right, start[1:] - 1))


def _expand(start: IntArray, branch: IntArray) -> tuple[IntArray, IntArray]:
    """Return the pieces of each listed branch one after the other, and where each list begins."""
    count = start[branch + 1] - start[branch]
    head = np.cumsum(count) - count
    return np.repeat(start[branch] - head, count) + np.arange(int(count.sum())), head


class _Branches:
    """Some branches, repeated as often as pairs need them; answers min (f - m u) on each."""

    def __init__(self, pieces: Pieces, cost: SeparableCost, at: IntArray, head: IntArray) -> None:
        self._head = head
        self._pair = np.repeat(np.arange(len(head)), np.diff(np.append(head, len(at))))
        self._left, self._right = pieces.left[at], pieces.right[at]
        self._slope, self._offset = pieces.slope[at], pieces.offset[at]
        self._q, self._d = cost.curvature[pieces.asset[at]], cost.active[pieces.asset[at]]

    def minimum(self, m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the least f - m u of each branch and the trade that reaches it."""
        price = self._slope - m[self._pair]
        u = np.minimum(np.maximum(-self._d - price / (2 * self._q), self._left), self._right)
        moved = self._d + u
        value = self._q * moved * moved + price * u + self._offset
        least = np.minimum.reduceat(value, self._head)
        # on a convex run the minimiser is unique; of two pieces that meet in it either gives the same point
        best = np.where(value <= least[self._pair], np.arange(len(value)), len(value))
        return least, u[np.minimum.reduceat(best, self._head)]
