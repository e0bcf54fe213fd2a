"""The question: one account's rebalancing problem as read-only numpy arrays. Notation of docs/specs/optimizer.md."""

from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import InvalidProblemError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RebalanceProblem:
    """Everything the optimizer needs to know, in fractions of NAV unless stated.

    N names, K factors, L lots. Arrays are made read-only on construction.

    Attributes:
        as_of: Trade date.
        nav: V, net asset value in the base currency, positive.
        tickers: N names, unique.
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
        lower: (N,) least weight after trading. At most ``upper``.
        upper: (N,) greatest weight after trading.
        can_buy: (N,) False forbids u_i > 0 (wash-sale buy-lock, restricted).
        can_sell: (N,) False forbids u_i < 0.
        group: (N,) integer label; names of one substantially identical group share it. No name of a group may be
            bought on a day on which a lot of that group is sold at a loss.
        lot_asset: (L,) index of the lot's name, ascending.
        lot_id: L identifiers, for the trade list.
        lot_shares: (L,) shares that may be sold, non-negative.
        lot_weight: (L,) v, market value of those shares.
        lot_tax: (L,) t, tax per unit of weight sold under the account's rates; negative for a usable loss, zero for a
            loss that a purchase already made would wash (policy ``allow``).
        lot_is_loss: (L,) True where selling the lot realises a loss, usable or not.
        lot_locked: (L,) True where the lot must not be sold (loss-sale lock, policy ``forbid``).
        lot_rank: (L,) order in which the account's lot method sells a name's lots: 0 first. LOCKED LOTS ARE SKIPPED.
        lot_order_is_convex: True where selling by ``lot_rank`` has rising marginal tax (HIFO at one rate,
            least-tax-first, ACB); False for FIFO, where the solve uses the lower convex hull.
        risk_aversion: g.
        tax_weight: theta.
        min_trade: Smallest trade, fraction of NAV; smaller ones are dropped after the solve.
        share_step: (N,) trading step in shares (1 for whole shares, 0.0001 for fractional ones).
        tolerance: Feasibility and gap tolerance for the solver.
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

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self._check()

    @property
    def size(self) -> int:
        """Return N, the number of names."""
        return len(self.tickers)

    def holdings(self) -> FloatArray:
        """Return h, (N,) current weights: the sum of each name's lots."""
        return np.bincount(self.lot_asset, weights=self.lot_weight, minlength=self.size).astype(np.float64)

    def _check(self) -> None:
        n, k, lots = self.size, self.loadings.shape[1] if self.loadings.ndim == 2 else -1, len(self.lot_id)
        shapes: dict[str, tuple[int, ...]] = {
            "loadings": (n, k),
            "factor_covariance": (k, k),
            **dict.fromkeys(_PER_NAME, (n,)),
            **dict.fromkeys(_PER_LOT, (lots,)),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise InvalidProblemError(f"{name} has shape {array.shape}, expected {shape}.")
            if array.dtype.kind == "f" and np.isnan(array).any():
                at = np.argwhere(np.isnan(array))[0]
                raise InvalidProblemError(f"{name}{at.tolist()} is NaN.")
        self._refuse("prices", self.prices <= 0, "is not positive")
        self._refuse("specific_variance", self.specific_variance <= 0, "is not positive")
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

    def _refuse(self, name: str, bad: BoolArray, what: str) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            raise InvalidProblemError(f"{name} of {self.tickers[i]} ({getattr(self, name)[i]}) {what}.")


_PER_NAME: tuple[str, ...] = (
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


def read_only(values: Any, dtype: type = np.float64) -> NDArray[Any]:
    """Return a contiguous read-only copy of ``values``."""
    array: NDArray[Any] = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
