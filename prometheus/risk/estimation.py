"""Input and output of an estimator: the two values that ``factor_model`` and the estimators exchange."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.settings import RiskSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class AssetAttributes:
    """Attributes of N assets besides their returns, in the order of the panel's tickers.

    Attributes:
        weights: (N,) benchmark weights, at least 0, finite; zero for assets outside. All zero counts as equal weights.
        sectors: (N,) sector of each asset; "" where unknown, which links the asset to no sector.
        groups: (N,) substantially identical group; "" where the asset is alone in its own.

    Raises:
        RiskModelError: Lengths disagree or a weight is negative or not finite; code ``RISK_INPUT``.
    """

    weights: FloatArray
    sectors: tuple[str, ...]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.sectors)
        if self.weights.shape != (n,) or len(self.groups) != n:
            raise RiskModelError(
                f"{self.weights.shape} weights, {n} sectors and {len(self.groups)} groups must be of the same assets.",
                code="RISK_INPUT",
            )
        if not (np.isfinite(self.weights) & (self.weights >= 0)).all():
            raise RiskModelError("benchmark weights must be finite and at least 0.", code="RISK_INPUT")

    @classmethod
    def unknown(cls, count: int) -> "AssetAttributes":
        """Return equal weights, no sectors and no groups."""
        return cls(np.zeros(count), ("",) * count, ("",) * count)

    def of(self, positions: IndexArray) -> "AssetAttributes":
        """Return the attributes of the assets at these positions, in their order."""
        return AssetAttributes(
            self.weights[positions],
            tuple(self.sectors[at] for at in positions),
            tuple(self.groups[at] for at in positions),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FactorEstimate:
    """Estimate for n assets, float64, annualised, before floor and rounding.

    Attributes:
        loadings: X, (n, 6).
        factor_covariance: F, (6, 6).
        specific_variance: D, (n,).
        variance_explained: The factors' share of the standardised variance, 0 to 1.
        specific_blocks: Positions and correlation of each block of assets with correlated specific returns.
        least_eigenvalue: A lower bound on the eigenvalues of the specific correlation, above 0; 1 without blocks.
    """

    loadings: FloatArray
    factor_covariance: FloatArray
    specific_variance: FloatArray
    variance_explained: float
    specific_blocks: tuple[tuple[IndexArray, FloatArray], ...] = ()
    least_eigenvalue: float = 1.0


#: From (T, n) returns of assets with enough history, in alphabetical order, and their attributes to an estimate.
Estimator = Callable[[FloatArray, AssetAttributes, RiskSettings], FactorEstimate]
