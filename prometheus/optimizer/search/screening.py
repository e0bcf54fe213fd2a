"""Selection of the pieces of the envelope for the solver: those that prices near the optimal ones can reach.

Most lots with a deep gain are sold at no price that occurs, and most lots with a deep loss at every one. An asset's
pieces have rising marginal cost, so that at a given price all but one of them are used wholly or not at all. The
program is built of the pieces next to a guessed price only, the others stay as the guess says. Whether that was right
is seen from the answer: at its prices no piece that was left out may be worth using, or worth leaving. Then these are
the prices of the whole program too, and its optimum is the answer. Otherwise the pieces next to them are added.
Source: the screening of variables from a dual point known from sparse regression, but verified afterwards.
"""

from dataclasses import dataclass, replace

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem.envelope import ConvexPieces
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray

#: How many pieces are kept for each asset besides the one in use.
_SPARE_PIECES = 0.15
#: A piece left out may look better by this much (cost per unit of weight): the solver's noise in its prices.
_PRICE_NOISE = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class KeptPieces:
    """A run of neighbouring pieces of each asset.

    Attributes:
        first: (N,) first piece kept; assets without pieces have none.
        last: (N,) last piece kept.
        start: (N,) first piece of each asset.
        end: (N,) behind the last piece of each asset.
    """

    first: IntArray
    last: IntArray
    start: IntArray
    end: IntArray

    @classmethod
    def near(cls, pieces: ConvexPieces, priced: Lagrangian, dual: DualPoint) -> "KeptPieces":
        """Keep of each asset the piece in use, and the pieces that come nearest to being used in part, whosever."""
        start, end = _runs(pieces)
        left, right = priced_ends(pieces, priced, dual)
        # behind every piece that is used wholly; an asset that uses all of its pieces keeps the last
        whole = np.bincount(pieces.asset[right < 0], minlength=pieces.size)
        at = np.minimum(start + whole, np.maximum(end - 1, start))
        distance = np.maximum(np.maximum(left, -right), 0.0)
        distance[at[end > start]] = np.inf
        spare = min(int(_SPARE_PIECES * pieces.size), len(distance) - 1)
        near = np.flatnonzero(distance <= np.partition(distance, spare)[spare])
        first, last = at.copy(), at.copy()
        np.minimum.at(first, pieces.asset[near], near)
        np.maximum.at(last, pieces.asset[near], near)
        return cls(first=first, last=last, start=start, end=end)

    @property
    def count(self) -> int:
        """Return how many pieces are kept."""
        holds = self.end > self.start
        return int((self.last - self.first + 1)[holds].sum())

    def joined(self, other: "KeptPieces") -> "KeptPieces":
        """Return the runs that hold those of both, and what lies between them."""
        return replace(self, first=np.minimum(self.first, other.first), last=np.maximum(self.last, other.last))

    def cut(self, pieces: ConvexPieces) -> ConvexPieces:
        """Return the kept pieces; an asset's range ends where its pieces do."""
        holds = self.end > self.start
        position = np.arange(len(pieces.asset))
        at = np.flatnonzero((position >= self.first[pieces.asset]) & (position <= self.last[pieces.asset]))
        low, high = pieces.low.copy(), pieces.high.copy()
        shorter = holds & (self.first > self.start)
        low[shorter] = pieces.left[self.first[shorter]]
        shorter = holds & (self.last < self.end - 1)
        high[shorter] = pieces.right[self.last[shorter]]
        return replace(pieces.take(at), low=low, high=high)

    def can_meet_cash(self, pieces: ConvexPieces, priced: Lagrangian) -> bool:
        """Say whether the ends of the kept pieces lie on both sides of the cash range's limits."""
        kept = self.cut(pieces)
        least = float((kept.low + priced.cost_rate * np.abs(kept.low)).sum())
        most = float((kept.high + priced.cost_rate * np.abs(kept.high)).sum())
        return least < priced.cash.most and most > priced.cash.least

    def are_enough(self, pieces: ConvexPieces, priced: Lagrangian, dual: DualPoint) -> bool:
        """Say whether at these prices, of the optimum over the kept pieces, no other piece would be used otherwise."""
        left, right = priced_ends(pieces, priced, dual)
        holds = self.end > self.start
        above = self.last[holds & (self.last < self.end - 1)] + 1
        below = self.first[holds & (self.first > self.start)] - 1
        return bool((left[above] >= -_PRICE_NOISE).all() and (right[below] <= _PRICE_NOISE).all())


def priced_ends(pieces: ConvexPieces, priced: Lagrangian, dual: DualPoint) -> tuple[FloatArray, FloatArray]:
    """Return (P,) marginal costs at the left and the right end of each piece, what joins the assets charged at prices.

    A piece with both negative is used wholly at these prices, one with both positive not at all.

    Args:
        pieces: The pieces.
        priced: Gives the risk, the costs and g.
        dual: The prices.
    """
    owner = pieces.asset
    charged = 2 * (priced.risk_aversion + dual.risk_price) * priced.risk.price(dual.exposures)
    left = pieces.slope + charged[owner] + dual.cash_price * pieces.cash
    if priced.rows.any:
        left = left + np.einsum("r,rp->p", dual.rows(priced.cost.rows), pieces.row_slope)
    right = left + 2 * pieces.curvature * (pieces.right - pieces.left)
    if dual.risk_price > 0:
        # the tracking error charges the assets' own variance along tangents as well
        own = (2 * dual.risk_price * priced.risk.specific_variance)[owner]
        active = priced.cost.active[owner]
        left, right = left + own * (active + pieces.left), right + own * (active + pieces.right)
    return left, right


def _runs(pieces: ConvexPieces) -> tuple[IntArray, IntArray]:
    assets = np.arange(pieces.size)
    return (
        np.searchsorted(pieces.asset, assets, side="left"),
        np.searchsorted(pieces.asset, assets, side="right"),
    )
