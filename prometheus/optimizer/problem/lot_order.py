"""The lots that a sale takes: in the account's lot order, without locked lots, short sales after them."""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray, RebalanceProblem

#: Share quantities are compared in units of one billionth of a share.
SHARE_DECIMALS = 9
#: Shares beyond whole steps below which lots count as whole steps.
_RESIDUE = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class LotOrder:
    """The M sellable lots, sorted by asset and within an asset by the order in which they are sold.

    What may be sold short of an asset beyond its lots is one more lot after them.

    Attributes:
        lot: (M,) index into the problem's lots; -1 for the short part.
        asset: (M,) index of the lot's asset.
        first: (M,) position (in this order) of the asset's first lot.
        size: (M,) market value as a weight.
        start: (M,) weight of the asset sold before this lot is touched.
        shares: (M,) shares of the lot.
        sellable: (N,) weight of the asset's sellable lots and of its short part.
        lots: (N,) weight of the asset's sellable lots.
        short: (M,) True for the short part.
        loss_start: (N,) weight that can be sold before the first loss lot is touched; infinite where there is none.
        has_locked: (N,) True where some shares of the asset are locked.
        bounds: (N + 1,) where each asset's lots begin in this order, and where the last one's end.
    """

    lot: IntArray
    asset: IntArray
    first: IntArray
    size: FloatArray
    start: FloatArray
    shares: FloatArray
    sellable: FloatArray
    lots: FloatArray
    short: BoolArray
    loss_start: FloatArray
    has_locked: BoolArray
    bounds: IntArray

    def of_name(self, asset: int) -> slice:
        """Return the positions of an asset's lots in this order."""
        return slice(int(self.bounds[asset]), int(self.bounds[asset + 1]))

    def of_lots(self, values: FloatArray, short: FloatArray | None = None) -> FloatArray:
        """Return (M,) values of the problem's lots; for short parts (N,) ``short`` of the asset, zero without it."""
        if not self.short.any():
            return values[self.lot]
        other = np.zeros(len(self.lots)) if short is None else short
        in_order = other[self.asset]
        in_order[~self.short] = values[self.lot[~self.short]]
        return in_order

    def fill(self, amount: FloatArray) -> FloatArray:
        """Return (M,) the weight taken from each lot when (N,) non-negative weights are sold."""
        return np.minimum(np.maximum(amount[self.asset] - self.start, 0.0), self.size)

    def fill_shares(self, amount: FloatArray) -> FloatArray:
        """Return (M,) the shares taken from each lot when (N,) non-negative numbers of shares are sold.

        A lot that is sold whole gives exactly what it holds; what a partial sale takes is rounded to a billionth of
        a share, so that no rounding residue of the sum appears as a sale of its own.
        """
        left = amount.copy()
        taken = np.zeros_like(self.shares)
        rank = np.arange(len(self.asset)) - self.first
        for r in range(int(rank.max(initial=-1)) + 1):
            at = np.flatnonzero(rank == r)
            i = self.asset[at]
            part = np.round(np.minimum(left[i], self.shares[at]), SHARE_DECIMALS)
            whole = left[i] >= self.shares[at] - 0.5 * 10.0**-SHARE_DECIMALS
            taken[at] = np.where(whole, self.shares[at], part)
            left[i] = np.where(whole, np.maximum(left[i] - self.shares[at], 0.0), 0.0)
        return taken


def lot_order(problem: RebalanceProblem) -> LotOrder:
    """Sort the lots that may be sold into selling order, and add what may be sold short."""
    usable = np.flatnonzero(~problem.lot_locked & (problem.lot_shares > 0) & (problem.lot_weight > 0))
    lot = usable[np.lexsort((problem.lot_rank[usable], problem.lot_asset[usable]))]
    asset = problem.lot_asset[lot]
    size, shares, short = problem.lot_weight[lot], problem.lot_shares[lot], np.zeros(len(lot), dtype=np.bool_)
    held = np.bincount(asset, weights=size, minlength=problem.size).astype(np.float64)
    if problem.short_max > 0:
        assets, weight = _short_parts(problem)
        by = np.argsort(np.concatenate([asset, assets]), kind="stable")
        asset, lot = np.concatenate([asset, assets])[by], np.concatenate([lot, np.full(len(assets), -1)])[by]
        size, shares = (
            np.concatenate([size, weight])[by],
            np.concatenate([shares, _shares(problem, assets, weight)])[by],
        )
        short = lot < 0
    counts = np.bincount(asset, minlength=problem.size)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    start = _running_sum(size, asset, first, problem.size)
    loss_start = np.full(problem.size, np.inf)
    is_loss = problem.lot_is_loss[lot] & ~short if len(problem.lot_id) else short & False
    np.minimum.at(loss_start, asset, np.where(is_loss, start, np.inf))
    locked = problem.lot_locked & (problem.lot_shares > 0)
    return LotOrder(
        lot=lot,
        asset=asset,
        first=first,
        size=size,
        start=start,
        shares=shares,
        sellable=np.bincount(asset, weights=size, minlength=problem.size).astype(np.float64),
        lots=held,
        short=short,
        loss_start=loss_start,
        has_locked=np.bincount(problem.lot_asset, weights=locked, minlength=problem.size) > 0,
        bounds=np.concatenate([[0], np.cumsum(counts)]),
    )


def _short_parts(problem: RebalanceProblem) -> tuple[IntArray, FloatArray]:
    """Return the assets that may go short, and the weight by which each may."""
    lots, n = problem.lot_asset, problem.size
    blocked = np.bincount(lots, weights=problem.lot_locked & (problem.lot_shares > 0), minlength=n) > 0
    steps = np.bincount(lots, weights=problem.lot_shares, minlength=n) / problem.share_step
    uneven = np.abs(steps - np.round(steps)) * problem.share_step > _RESIDUE
    may = (problem.lower < 0) & problem.can_sell & np.isfinite(problem.borrow_rate) & ~blocked & ~uneven
    # whole steps only, so that what the lots hold and what is borrowed are one order
    step = problem.share_step * problem.prices / problem.nav
    depth = -problem.lower - problem.owed() if len(problem.short_id) else -problem.lower
    weight = np.floor(depth / step + _RESIDUE) * step
    assets = np.flatnonzero(may & (weight > 0))
    return assets, weight[assets]


def _shares(problem: RebalanceProblem, assets: IntArray, weight: FloatArray) -> FloatArray:
    shares: FloatArray = np.round(weight * problem.nav / problem.prices[assets], SHARE_DECIMALS)
    return shares


def _running_sum(size: FloatArray, asset: IntArray, first: IntArray, count: int) -> FloatArray:
    """Return the sum of an asset's earlier lots, added asset by asset so that one asset's sum never loses digits."""
    start = np.zeros_like(size)
    rank = np.arange(len(asset)) - first
    total = np.zeros(count)
    for r in range(int(rank.max(initial=-1)) + 1):
        at = np.flatnonzero(rank == r)
        start[at] = total[asset[at]]
        total[asset[at]] += size[at]
    return start
