"""Each asset's own cost f_i(u): specific risk, trading cost, tax, borrowing and tilt, as ordered quadratic pieces.

On every piece f_i(u) = q (d + u)^2 + slope u + offset with the same q = g D_i; f_i is continuous but at u = 0 where an
order has a cost: there it is less than on either side by that cost, and the point is a piece without width. f_i need
not be convex: the slope falls from one piece to the next at u = 0 when the first lot is a loss worth more than the
round trip, and wherever the account's lot order sells a dear lot before a cheap one (FIFO). A maximal convex run is a
BRANCH; so is the point at no trade.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.cover_order import CoverOrder, cover_order
from prometheus.optimizer.problem.lot_order import LotOrder
from prometheus.optimizer.problem.pieces import Pieces, branches, with_covers, with_orders
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.problem.trade_range import TradeRange


@dataclass(frozen=True, slots=True, eq=False)
class SeparableCost:
    """The part of the objective that belongs to single assets, as a function of the trades.

    Attributes:
        curvature: (N,) q = g D.
        active: (N,) d, active weights before trading.
        order: The sellable lots.
        sell_slope: (M,) cost per unit sold of each sellable lot: k + tilt + theta t.
        buy_slope: (N,) cost per unit bought: k - tilt.
        row_sell: (R, M) what a unit sold of each sellable lot adds to each coupling row (coupling.py); R may be zero.
        row_buy: (R, N) what a unit bought of each asset adds to each coupling row.
        order_cost: c, what any trade costs whatever its size.
        cover: The short lots that purchases cover first; None where the account begins with none.
        cover_slope: (S,) what a unit bought costs beside ``buy_slope`` while it covers a short lot: theta times the tax
            of covering it, less the borrow rate that it saves.
        row_cover: (R, S) what such a unit adds to each coupling row beside ``row_buy``.
    """

    curvature: FloatArray
    active: FloatArray
    order: LotOrder
    sell_slope: FloatArray
    buy_slope: FloatArray
    row_sell: FloatArray
    row_buy: FloatArray
    order_cost: float = 0.0
    cover: CoverOrder | None = None
    cover_slope: FloatArray = field(default_factory=lambda: np.zeros(0))
    row_cover: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))

    def __call__(self, trades: FloatArray) -> FloatArray:
        """Return (N,) f_i(u_i)."""
        order = self.order
        costs: FloatArray = _own_costs(
            np.ascontiguousarray(trades), self.curvature, self.active, self.buy_slope,
            order.bounds, order.start, order.size, self.sell_slope, self.order_cost,
        )  # fmt: skip
        return costs if self.cover is None else costs + self.of_covers(self.cover, np.maximum(trades, 0.0))

    def of_covers(self, cover: CoverOrder, bought: FloatArray) -> FloatArray:
        """Return (N,) what purchases cost beside ``buy_slope`` because they cover short lots first."""
        costs = self.cover_slope * cover.fill(bought)
        return np.bincount(cover.asset, weights=costs, minlength=len(bought)).astype(np.float64)

    @property
    def rows(self) -> int:
        """Return R, the number of coupling rows besides cash."""
        return len(self.row_buy)

    def with_rows(self, row_sell: FloatArray, row_buy: FloatArray, row_cover: FloatArray) -> "SeparableCost":
        """Return the same cost with coupling rows."""
        return replace(self, row_sell=row_sell, row_buy=row_buy, row_cover=row_cover)

    def repriced(self, row_prices: FloatArray, stretch: float) -> "SeparableCost":
        """Return the cost with the coupling rows' use charged at (R,) prices and the curvature times ``stretch``."""
        return replace(
            self,
            curvature=self.curvature * stretch,
            sell_slope=self.sell_slope + np.einsum("r,rm->m", row_prices, self.row_sell),
            buy_slope=self.buy_slope + np.einsum("r,rn->n", row_prices, self.row_buy),
            cover_slope=(
                self.cover_slope
                if self.cover is None
                else self.cover_slope + np.einsum("r,rs->s", row_prices, self.row_cover)
            ),
        )

    def row_use(self, trades: FloatArray) -> FloatArray:
        """Return (R, N) what each asset's trade adds to each coupling row."""
        sold = self.row_sell * self.order.fill(np.maximum(-trades, 0.0))
        used = self.row_buy * np.maximum(trades, 0.0)
        for r in range(self.rows):
            used[r] += np.bincount(self.order.asset, weights=sold[r], minlength=len(trades))
        if self.cover is not None:
            covered = self.row_cover * self.cover.fill(np.maximum(trades, 0.0))
            for r in range(self.rows):
                used[r] += np.bincount(self.cover.asset, weights=covered[r], minlength=len(trades))
        return used

    def row_use_of_asset(self, asset: int, trade: float) -> FloatArray:
        """Return (R,) what one asset's trade adds to each coupling row."""
        lots = self.order.of_name(asset)
        taken = np.minimum(np.maximum(-trade - self.order.start[lots], 0.0), self.order.size[lots])
        used: FloatArray = np.einsum("rm,m->r", self.row_sell[:, lots], taken)
        if self.cover is not None:
            shorts, covered = self._covered(self.cover, asset, trade)
            used = used + np.einsum("rs,s->r", self.row_cover[:, shorts], covered)
        return used + self.row_buy[:, asset] * max(trade, 0.0)

    def of_asset(self, asset: int, trade: float) -> float:
        """Return f_i(u) of one asset; NaN for NaN."""
        lots = self.order.of_name(asset)
        taken = np.minimum(np.maximum(-trade - self.order.start[lots], 0.0), self.order.size[lots])
        moved = self.active[asset] + trade
        tax = float((self.sell_slope[lots] * taken).sum())
        own = float(self.curvature[asset] * moved * moved + self.buy_slope[asset] * max(trade, 0.0) + tax)
        if self.cover is not None:
            shorts, covered = self._covered(self.cover, asset, trade)
            own += float((self.cover_slope[shorts] * covered).sum())
        return own + self.order_cost if trade != 0 else own

    @staticmethod
    def _covered(cover: CoverOrder, asset: int, trade: float) -> tuple[slice, FloatArray]:
        """Return the short lots of an asset, and what its trade covers of each."""
        shorts = cover.of_name(asset)
        return shorts, np.minimum(np.maximum(trade - cover.start[shorts], 0.0), cover.size[shorts])


@compiled("F <- F F F F I F F F f")
def _own_costs(
    trades: FloatArray,
    curvature: FloatArray,
    active: FloatArray,
    buy_slope: FloatArray,
    bounds: IntArray,
    start: FloatArray,
    size: FloatArray,
    sell_slope: FloatArray,
    order_cost: float,
) -> FloatArray:  # pragma: no cover - machine code, which is not traced
    costs = np.empty(len(trades))
    for i in range(len(trades)):
        moved, sold = active[i] + trades[i], max(-trades[i], 0.0)
        tax = 0.0
        for m in range(bounds[i], bounds[i + 1]):
            tax += sell_slope[m] * min(max(sold - start[m], 0.0), size[m])
        costs[i] = curvature[i] * moved * moved + buy_slope[i] * max(trades[i], 0.0) + tax
        if trades[i] != 0.0:
            costs[i] += order_cost
    return costs


def separable_cost(problem: RebalanceProblem, order: LotOrder) -> SeparableCost:
    """Collect the parts of the objective that separate over assets."""
    # a short position costs what is paid for borrowing; nothing is realised
    tax = order.of_lots(problem.tax_weight * problem.lot_tax, problem.borrow_rate)
    cover = cover_order(problem)
    saved = np.zeros(0) if cover is None else problem.borrow_rate[cover.asset]
    return SeparableCost(
        curvature=problem.risk_aversion * problem.specific_variance,
        active=problem.active(problem.holdings()),
        order=order,
        sell_slope=(problem.cost_rate + problem.tilt)[order.asset] + tax,
        buy_slope=problem.cost_rate - problem.tilt,
        row_sell=np.zeros((0, len(order.lot))),
        row_buy=np.zeros((0, problem.size)),
        order_cost=problem.order_cost,
        cover=cover,
        cover_slope=problem.tax_weight * problem.cover_tax - saved,
        row_cover=np.zeros((0, len(saved))),
    )


def true_pieces(cost: SeparableCost, limits: TradeRange) -> Pieces:
    """Cut every asset's cost into its quadratic pieces over the range of its trade, in the account's real lot order."""
    order, size = cost.order, len(cost.curvature)
    # sales: lot j covers trades from -(start + size) to -start
    left = np.maximum(-(order.start + order.size), limits.low[order.asset])
    right = np.minimum(-order.start, limits.high[order.asset])
    slope = -cost.sell_slope
    level = _running_cost(order, cost.sell_slope)
    offset = level + slope * order.start
    loses = -left > order.loss_start[order.asset]
    sell = right > left
    has_sale = np.bincount(order.asset[sell], minlength=size) > 0
    # purchases, and a single point for an asset that cannot be traded or whose trade is forced to one value
    low, high = limits.low, limits.high
    buy = np.flatnonzero((high > np.maximum(low, 0.0)) | ~has_sale)
    buy_left = np.where(high[buy] < 0, high[buy], np.maximum(low[buy], 0.0))
    stuck = high[buy] < 0
    point = np.zeros(size)
    point[buy] = buy_left
    forced_tax = np.bincount(order.asset, weights=cost.sell_slope * order.fill(-np.minimum(point, 0.0)), minlength=size)

    asset = np.concatenate([order.asset[sell], buy])
    lefts = np.concatenate([left[sell], buy_left])
    by = np.lexsort((lefts, asset))
    asset = asset[by]
    slopes = np.concatenate([slope[sell], np.where(stuck, 0.0, cost.buy_slope[buy])])[by]
    row_slope, row_offset = _row_pieces(cost, sell, buy, np.minimum(point, 0.0), by)
    counts = np.bincount(asset, minlength=size)
    pieces = Pieces(
        asset=asset,
        left=lefts[by],
        right=np.concatenate([right[sell], np.where(stuck, buy_left, high[buy])])[by],
        slope=slopes,
        offset=np.concatenate([offset[sell], np.where(stuck, forced_tax[buy], 0.0)])[by],
        loses=np.concatenate([loses[sell], stuck & (-buy_left > order.loss_start[buy])])[by],
        branch=branches(asset, slopes, row_slope),
        first=np.cumsum(counts) - counts,
        row_slope=row_slope,
        row_offset=row_offset,
        rests=np.zeros(len(asset), dtype=bool),
    )
    if cost.cover is not None:
        pieces = with_covers(pieces, cost.cover, cost.cover_slope, cost.row_cover)
    return with_orders(pieces, cost.order_cost, limits.rests()) if cost.order_cost > 0 else pieces


def _row_pieces(
    cost: SeparableCost, sell: BoolArray, buy: IntArray, stuck_at: FloatArray, by: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return (R, P) slopes and offsets of the coupling rows' use on the pieces, in the pieces' order."""
    rows, order = cost.rows, cost.order
    if not rows:
        return np.zeros((0, len(by))), np.zeros((0, len(by)))
    # assets are stuck at a sale where their trade is forced to one value; most problems have none
    stuck = stuck_at[buy] < 0
    forced = cost.row_use(stuck_at)[:, buy] if stuck.any() else np.zeros((rows, len(buy)))
    sold = cost.row_sell.take(sell.nonzero()[0], axis=1)
    slope = np.concatenate([-sold, np.where(stuck, 0.0, cost.row_buy.take(buy, axis=1))], axis=1).take(by, axis=1)
    at_zero = (_running_cost(order, cost.row_sell) - cost.row_sell * order.start)[:, sell]
    offset = np.concatenate([at_zero, np.where(stuck, forced, 0.0)], axis=1).take(by, axis=1)
    return slope, offset


def _running_cost(order: LotOrder, sell_slope: FloatArray) -> FloatArray:
    """Return (..., M) the cost of having sold every earlier lot of the asset, for (..., M) slopes."""
    cost = sell_slope * order.size
    before = np.cumsum(cost, axis=-1) - cost
    return before - before.take(order.first, axis=-1)
