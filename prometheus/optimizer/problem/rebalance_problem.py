"""One account's rebalancing problem as read-only numpy arrays. Notation of docs/specs/optimizer.md."""

from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import InvalidProblemError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SpecificBlock:
    """Assets whose specific returns move together. Arrays are made read-only on construction.

    Attributes:
        names: (n,) ascending indices of the assets.
        covariance: (n, n) annualised specific covariance, symmetric positive definite; its diagonal are the assets'
            specific variances.
    """

    names: IntArray
    covariance: FloatArray

    def __post_init__(self) -> None:
        self.names.flags.writeable = False
        self.covariance.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class RebalanceProblem:
    """Everything the optimizer needs to know, in fractions of NAV unless stated.

    N assets, K factors, L lots. Arrays are made read-only on construction.

    Attributes:
        as_of: Trade date.
        nav: V, net asset value in the base currency, positive.
        tickers: N assets, unique.
        prices: (N,) base currency a share, positive.
        benchmark_weights: (N,) w_bm, non-negative; zero outside the benchmark.
        loadings: (N, K) X, factor loadings.
        factor_covariance: (K, K) F, annualised, symmetric positive semidefinite.
        specific_variance: (N,) D, annualised, positive.
        cost_rate: (N,) k, one-way cost per unit traded, non-negative.
        tilt: (N,) linear reward per unit of weight (alpha), objective per unit of NAV; zeros for none.
        cash: Cash before trading, fraction of NAV; with the lots' values it adds to one.
        cash_min: Least cash after trading and costs.
        cash_max: Most cash after trading and costs.
        rounded_cash_min: Least cash that a list of rounded trades leaves, above ``cash_min`` by what the ledger's
            cents can add up to; a list without any trade needs ``cash_min`` only. None for ``cash_min``.
        rounded_cash_max: Most cash that such a list leaves. None for ``cash_max``.
        lower: (N,) least weight after trading. At most ``upper``.
        upper: (N,) greatest weight after trading.
        can_buy: (N,) False forbids u_i > 0 (wash-sale buy-lock, restricted).
        can_sell: (N,) False forbids u_i < 0.
        group: (N,) integer label; assets of one substantially identical group share it. No asset of a group may be
            bought on a day on which a lot of that group is sold at a loss.
        lot_asset: (L,) index of the lot's asset, ascending.
        lot_id: L identifiers, for the trade list.
        lot_shares: (L,) shares that may be sold, non-negative.
        lot_weight: (L,) v, market value of those shares.
        lot_tax: (L,) t, tax per unit of weight sold under the account's rates; negative for a usable loss, zero for a
            loss that a purchase already made would wash (policy ``allow``).
        lot_is_loss: (L,) True where selling the lot realises a loss, usable or not.
        lot_locked: (L,) True where the lot must not be sold (loss-sale lock, policy ``forbid``).
        lot_rank: (L,) order in which the account's lot method sells an asset's lots: 0 first. LOCKED LOTS ARE SKIPPED.
        lot_order_is_convex: True where selling by ``lot_rank`` has rising marginal tax (HIFO at one rate,
            least-tax-first, ACB); False for FIFO, where the solve uses the lower convex hull.
        risk_aversion: g.
        tax_weight: theta.
        min_trade: Smallest trade, fraction of NAV; smaller ones are dropped after the solve.
        share_step: (N,) trading step in shares (1 for whole shares, 0.0001 for fractional ones).
        tolerance: Feasibility and gap tolerance for the solver.
        te_max: Largest ex ante tracking error after trading, annualised; infinite for no limit.
        row_names: R names of linear limits on the weights, for messages ("sector:Energy"); empty for none.
        row_matrix: (R, N) G; row r asks for row_lower <= G (h + u) <= row_upper. (0, 0) where R is zero.
        row_lower: (R,) least value, minus infinity for none.
        row_upper: (R,) greatest value, infinity for none.
        turnover_max: Largest one-way turnover, (buys + sells) / 2 as a fraction of NAV; infinite for no limit.
        gain_max: Largest net realised gain of the day's sales, fraction of NAV; a negative one asks for a loss of that
            size. Infinite for no limit. A yearly budget is this minus what the year has realised already.
        lot_gain: (L,) realised gain for each unit of weight sold, 1 - adjusted basis / value; zero for a loss that
            would be disallowed. Needed where ``gain_max`` is finite, else empty.
        cash_flow: Contribution (positive) or withdrawal (negative) that falls due after trading, fraction of the NAV
            before it and not part of ``cash``. The cash range holds after the flow, and benchmark weights are scaled
            to the NAV after it.
        max_names: Largest number of assets with a position after trading; None for no limit. Met on the rounded list.
        short_max: Largest sum of short positions after trading, fraction of NAV; zero for a long-only account. Where it
            is positive an asset may be sold down to a negative ``lower`` once all of its lots are sold; assets with
            locked lots, or with lots that are not whole steps, may not.
        long_max: Largest sum of long positions after trading, fraction of NAV; infinite for no limit.
        borrow_rate: (N,) cost of borrowing, per year and unit of short weight, non-negative; infinite where nothing can
            be borrowed. Charged on the short side only, for a year, as the risk is. Needed where ``short_max`` is
            positive or something is short already, else empty; finite for what is short.
        specific_blocks: Links between specific returns: disjoint blocks of assets, one of all assets for a dense
            specific covariance. Sigma is X F X' + S, S having the blocks and elsewhere the specific variances on its
            diagonal.
        order_cost: c, what placing an order costs whatever its size, fraction of NAV, non-negative. Part of the
            objective for every asset that is traded, no part of cash. Zero for none.
        short_asset: (S,) index of the asset of each short lot that the account begins with, ascending. An asset has
            lots or short lots, never both. Purchases cover an asset's short lots in this order, before they open a long
            position.
        short_id: S identifiers, for messages.
        short_shares: (S,) shares owed, positive.
        short_weight: (S,) market value of those shares, positive: with cash and lots LESS these weights add to one.
        cover_tax: (S,) tax per unit of weight covered; negative for a usable loss.
        cover_gain: (S,) realised gain for each unit of weight covered, proceeds / value - 1. Needed where ``gain_max``
            is finite, else empty.
    """

    as_of: date
    nav: float
    tickers: tuple[str, ...]
    prices: FloatArray
    benchmark_weights: FloatArray
    loadings: FloatArray
    factor_covariance: FloatArray
    specific_variance: FloatArray
    cost_rate: FloatArray
    tilt: FloatArray
    cash: float
    cash_min: float
    cash_max: float
    lower: FloatArray
    upper: FloatArray
    can_buy: BoolArray
    can_sell: BoolArray
    group: IntArray
    lot_asset: IntArray
    lot_id: tuple[str, ...]
    lot_shares: FloatArray
    lot_weight: FloatArray
    lot_tax: FloatArray
    lot_is_loss: BoolArray
    lot_locked: BoolArray
    lot_rank: IntArray
    lot_order_is_convex: bool
    risk_aversion: float
    tax_weight: float
    min_trade: float
    share_step: FloatArray
    tolerance: float = 1e-9
    te_max: float = float("inf")
    row_names: tuple[str, ...] = ()
    row_matrix: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    row_lower: FloatArray = field(default_factory=lambda: np.zeros(0))
    row_upper: FloatArray = field(default_factory=lambda: np.zeros(0))
    turnover_max: float = float("inf")
    gain_max: float = float("inf")
    lot_gain: FloatArray = field(default_factory=lambda: np.zeros(0))
    cash_flow: float = 0.0
    max_names: int | None = None
    specific_blocks: tuple[SpecificBlock, ...] = ()
    short_max: float = 0.0
    long_max: float = float("inf")
    borrow_rate: FloatArray = field(default_factory=lambda: np.zeros(0))
    rounded_cash_min: float | None = None
    rounded_cash_max: float | None = None
    order_cost: float = 0.0
    short_asset: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    short_id: tuple[str, ...] = ()
    short_shares: FloatArray = field(default_factory=lambda: np.zeros(0))
    short_weight: FloatArray = field(default_factory=lambda: np.zeros(0))
    cover_tax: FloatArray = field(default_factory=lambda: np.zeros(0))
    cover_gain: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        for member in fields(self):
            value = getattr(self, member.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self._check()

    @property
    def size(self) -> int:
        """Return N, the number of assets."""
        return len(self.tickers)

    @property
    def may_be_short(self) -> bool:
        """Say whether a weight below zero can occur: short positions are allowed, or there are some already."""
        return self.short_max > 0 or len(self.short_id) > 0

    def holdings(self) -> FloatArray:
        """Return h, (N,) current weights: the sum of each asset's lots, less what is owed of it."""
        held = np.bincount(self.lot_asset, weights=self.lot_weight, minlength=self.size).astype(np.float64)
        return held - self.owed() if len(self.short_id) else held

    def owed(self) -> FloatArray:
        """Return (N,) the weight of each asset's short lots, not negative."""
        return np.bincount(self.short_asset, weights=self.short_weight, minlength=self.size).astype(np.float64)

    def active(self, weights: FloatArray) -> FloatArray:
        """Return (N,) active weights: ``weights`` less the benchmark, scaled to the NAV after the cash flow."""
        return weights - (1.0 + self.cash_flow) * self.benchmark_weights

    def cash_range(self) -> tuple[float, float]:
        """Return the least and the most cash that the trades may use, costs included."""
        if self.cash_flow == 0:
            return self.cash - self.cash_max, self.cash - self.cash_min
        return self.cash + self.cash_flow - self.cash_max, self.cash + self.cash_flow - self.cash_min

    def rounded_cash_range(self) -> tuple[float, float]:
        """Return the least and the most cash that rounded trades may use: no more than ``cash_range``."""
        least, most = self.cash_range()
        cash = self.cash + self.cash_flow
        if self.rounded_cash_max is not None:
            least = max(least, cash - self.rounded_cash_max)
        if self.rounded_cash_min is not None:
            most = min(most, cash - self.rounded_cash_min)
        return least, most

    def _check(self) -> None:
        n, k, lots = self.size, self.loadings.shape[1] if self.loadings.ndim == 2 else -1, len(self.lot_id)
        shapes: dict[str, tuple[int, ...]] = {
            "loadings": (n, k),
            "factor_covariance": (k, k),
            **dict.fromkeys(_PER_ASSET, (n,)),
            **dict.fromkeys(_PER_LOT, (lots,)),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise InvalidProblemError(f"{name} has shape {array.shape}, expected {shape}.")
            if array.dtype.kind == "f" and np.isnan(array).any():
                at = np.argwhere(np.isnan(array))[0]
                raise InvalidProblemError(f"{name}{at.tolist()} is NaN.")
        self._check_limits()
        self._refuse("prices", self.prices <= 0, "is not positive")
        self._refuse("specific_variance", self.specific_variance <= 0, "is not positive")
        self._check_blocks()
        self._refuse("cost_rate", self.cost_rate < 0, "is negative")
        self._refuse("lower", self.lower > self.upper, "exceeds upper")
        if self.nav <= 0 or self.risk_aversion <= 0 or self.tax_weight < 0 or self.cash_min > self.cash_max:
            raise InvalidProblemError(
                f"nav {self.nav} and risk_aversion {self.risk_aversion} must be positive, tax_weight {self.tax_weight} "
                f"non-negative, cash_min {self.cash_min} at most cash_max {self.cash_max}."
            )
        if lots and (np.diff(self.lot_asset) < 0).any():
            raise InvalidProblemError("lot_asset must be ascending.")
        if (self.lot_weight < 0).any() or (self.lot_shares < 0).any():
            raise InvalidProblemError("lot_weight and lot_shares must be non-negative.")

    def _check_limits(self) -> None:
        """Check the limits that are off by default."""
        n, rows, lots = self.size, len(self.row_names), len(self.lot_id)
        shapes: dict[str, tuple[tuple[int, ...], ...]] = {
            "row_matrix": ((rows, n),) if rows else ((0, 0), (0, n)),
            "row_lower": ((rows,),),
            "row_upper": ((rows,),),
            "lot_gain": ((lots,),) if np.isfinite(self.gain_max) else ((0,), (lots,)),
            "borrow_rate": ((n,),) if self.may_be_short else ((0,), (n,)),
            **dict.fromkeys(_PER_SHORT, ((len(self.short_id),),)),
            "cover_gain": ((len(self.short_id),),) if np.isfinite(self.gain_max) else ((0,), (len(self.short_id),)),
        }
        for name, allowed in shapes.items():
            array = getattr(self, name)
            if array.shape not in allowed:
                raise InvalidProblemError(f"{name} has shape {array.shape}, expected {allowed[-1]}.")
            if np.isnan(array).any():
                raise InvalidProblemError(f"{name}{np.argwhere(np.isnan(array))[0].tolist()} is NaN.")
        if not np.isfinite(self.row_matrix).all():
            raise InvalidProblemError("row_matrix holds a value that is not finite.")
        crossed = np.flatnonzero(self.row_lower > self.row_upper)
        if len(crossed):
            r = int(crossed[0])
            raise InvalidProblemError(
                f"row_lower of {self.row_names[r]} ({self.row_lower[r]}) exceeds its row_upper ({self.row_upper[r]})."
            )
        if not self.te_max > 0:
            raise InvalidProblemError(f"te_max {self.te_max} must be positive (infinite for no limit).")
        if not self.turnover_max >= 0:
            raise InvalidProblemError(f"turnover_max {self.turnover_max} must be non-negative (infinite for no limit).")
        if np.isnan(self.gain_max) or not np.isfinite(self.cash_flow) or self.cash_flow <= -1:
            raise InvalidProblemError(
                f"gain_max {self.gain_max} must be a number and cash_flow {self.cash_flow} finite and above -1."
            )
        if not (self.short_max >= 0 and self.long_max > 0 and (self.borrow_rate >= 0).all()):
            raise InvalidProblemError(
                f"short_max {self.short_max} must be non-negative, long_max {self.long_max} positive and every "
                "borrow_rate non-negative."
            )
        if not 0 <= self.order_cost < float("inf"):
            raise InvalidProblemError(f"order_cost {self.order_cost} must be finite and non-negative.")
        self._check_shorts()
        if self.max_names is not None and self.may_be_short:
            raise InvalidProblemError("max_names cannot be combined with short positions; drop one of the two.")
        if self.max_names is not None and self.max_names < 1:
            raise InvalidProblemError(f"max_names {self.max_names} must be at least 1 (None for no limit).")

    def _check_shorts(self) -> None:
        """Check the short lots that the account begins with."""
        if not len(self.short_id):
            return
        asset = self.short_asset
        if (np.diff(asset) < 0).any() or asset[0] < 0 or asset[-1] >= self.size:
            raise InvalidProblemError(f"short_asset must be ascending indices of the {self.size} assets.")
        for name in ("short_shares", "short_weight"):
            if not (getattr(self, name) > 0).all() or not np.isfinite(getattr(self, name)).all():
                raise InvalidProblemError(f"{name} must be positive and finite.")
        both = np.isin(asset, self.lot_asset[self.lot_shares > 0])
        unlent = ~np.isfinite(self.borrow_rate[asset])
        for bad, what in ((both, "has lots and short lots"), (unlent, "is short and has no finite borrow_rate")):
            if bad.any():
                raise InvalidProblemError(f"{self.tickers[int(asset[np.argmax(bad)])]} {what}.")

    def _check_blocks(self) -> None:
        taken = np.zeros(self.size, dtype=bool)
        for b, block in enumerate(self.specific_blocks):
            where, names, n = f"specific_blocks[{b}]", block.names, len(block.names)
            if names.ndim != 1 or names.dtype.kind != "i" or n == 0 or (np.diff(names) <= 0).any():
                raise InvalidProblemError(f"{where}.names must be ascending indices, at least one.")
            if names[0] < 0 or names[-1] >= self.size:
                raise InvalidProblemError(
                    f"{where}.names has {names[0]} to {names[-1]}, but there are {self.size} assets."
                )
            if taken[names].any():
                twice = self.tickers[int(names[np.argmax(taken[names])])]
                raise InvalidProblemError(f"{where} holds {twice}, which is in an earlier block; an asset is in one.")
            taken[names] = True
            if block.covariance.shape != (n, n) or not np.isfinite(block.covariance).all():
                raise InvalidProblemError(f"{where}.covariance must be ({n}, {n}) finite values.")
            scale = float(np.abs(block.covariance).max())
            if (np.abs(block.covariance - block.covariance.T) > _SAME * scale).any():
                raise InvalidProblemError(f"{where}.covariance is not symmetric.")
            own = self.specific_variance[names]
            off = np.abs(np.diag(block.covariance) - own) > _SAME * own
            if off.any():
                i = int(names[np.argmax(off)])
                raise InvalidProblemError(
                    f"{where}.covariance has another variance for {self.tickers[i]} than its specific_variance "
                    f"({self.specific_variance[i]})."
                )

    def _refuse(self, name: str, bad: BoolArray, what: str) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            raise InvalidProblemError(f"{name} of {self.tickers[i]} ({getattr(self, name)[i]}) {what}.")


#: Two values of one variance differ by no more than this part of it.
_SAME = 1e-12
_PER_ASSET: tuple[str, ...] = (
    "prices",
    "benchmark_weights",
    "specific_variance",
    "cost_rate",
    "tilt",
    "lower",
    "upper",
    "can_buy",
    "can_sell",
    "group",
    "share_step",
)
_PER_LOT: tuple[str, ...] = (
    "lot_asset",
    "lot_shares",
    "lot_weight",
    "lot_tax",
    "lot_is_loss",
    "lot_locked",
    "lot_rank",
)
_PER_SHORT: tuple[str, ...] = ("short_asset", "short_shares", "short_weight", "cover_tax")


def read_only(values: Any, dtype: type = np.float64) -> NDArray[Any]:
    """Return a contiguous read-only copy of ``values``."""
    array: NDArray[Any] = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
