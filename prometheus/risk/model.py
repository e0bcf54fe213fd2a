"""The risk model as a value, and the covariance matrix that follows from it."""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import RiskModelError
from prometheus.risk.settings import FACTORS
from prometheus.risk.specific_correlation import SpecificCorrelation, require_blocks_of, specific_covariance

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ModelDiagnostics:
    """Facts about the estimation.

    Attributes:
        first_date: First session used.
        last_date: Last session used; before the as-of date where the panel ends earlier.
        sessions: Sessions used, those without returns left out.
        sessions_used: (N,) returns of each asset among them.
        fallback: (ticker, reason) of each asset with fallback values; reasons are the words of ``FALLBACK_REASONS``.
        floored: Assets whose specific variance is at its floor.
        variance_explained: Share of the estimated assets' standardised variance that the factors explain, 0 to 1.
    """

    first_date: date
    last_date: date
    sessions: int
    sessions_used: NDArray[np.int64]
    fallback: tuple[tuple[str, str], ...]
    floored: tuple[str, ...]
    variance_explained: float

    def as_dict(self) -> JsonObject:
        """Return the diagnostics as JSON types."""
        return {
            "first_date": self.first_date.isoformat(),
            "last_date": self.last_date.isoformat(),
            "sessions": self.sessions,
            "sessions_used": [int(count) for count in self.sessions_used],
            "fallback": dict(self.fallback),
            "floored": list(self.floored),
            "variance_explained": self.variance_explained,
        }


@dataclass(frozen=True, slots=True, eq=False)
class FactorModel:
    """Sigma = X F X' + diag(s) C diag(s) for N assets, annualised (252 sessions). Arrays are read-only.

    s is the square root of D. C is the identity except in ``specific_blocks``; without blocks the model is diagonal.

    Attributes:
        as_of: Date of the model.
        tickers: N assets, in the order of the panel.
        loadings: X, (N, 6) float32; each factor has unit root mean square over the estimated assets. Factors are in
            descending order of the standardised variance that they explain in the long run, signed so that their
            loadings' cubes add to a positive number.
        factor_covariance: F, (6, 6) float64 with float32 precision, symmetric positive semidefinite. A factor that the
            data do not support has zero loadings and variance.
        specific_variance: D, (N,) float32, positive.
        diagnostics: See ModelDiagnostics.
        estimator: Name of the estimator.
        version: Version of the estimator; changes whenever equal input may give another model.
        specific_blocks: Disjoint blocks of assets whose specific returns are correlated; a dense C is one block of all.

    Raises:
        RiskModelError: Shapes or types disagree, a value is not finite, or a specific variance is not positive; code
            ``RISK_MODEL``.
    """

    as_of: date
    tickers: tuple[str, ...]
    loadings: NDArray[np.float32]
    factor_covariance: FloatArray
    specific_variance: NDArray[np.float32]
    diagnostics: ModelDiagnostics
    estimator: str
    version: str
    specific_blocks: tuple[SpecificCorrelation, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.tickers)
        expected: tuple[tuple[str, type, tuple[int, ...]], ...] = (
            ("loadings", np.float32, (n, FACTORS)),
            ("factor_covariance", np.float64, (FACTORS, FACTORS)),
            ("specific_variance", np.float32, (n,)),
        )
        for name, dtype, shape in expected:
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise RiskModelError(
                    f"{name} is {array.dtype} {array.shape}, must be {np.dtype(dtype)} {shape}; build it with "
                    "estimate_factor_model."
                )
            if not np.isfinite(array).all():
                raise RiskModelError(f"{name} of the risk model holds values that are not finite.")
            array.flags.writeable = False
        if (self.specific_variance <= 0).any():
            at = int(np.argmax(self.specific_variance <= 0))
            raise RiskModelError(f"specific variance of {self.tickers[at]} is not positive.")
        require_blocks_of(self.specific_blocks, n)


def covariance(model: FactorModel) -> FloatArray:
    """Return Sigma, (N, N), annualised, exactly symmetric and positive definite.

    It is built from the stored, float32-rounded loadings and specific variances, so that whoever stores the model's
    arrays and decodes them gets this matrix. Its own rounding to float32 is positive definite too.
    """
    X = model.loadings.astype(np.float64)
    systematic = X @ model.factor_covariance @ X.T
    systematic = 0.5 * (systematic + systematic.T)
    return systematic + specific_covariance(model.specific_variance.astype(np.float64), model.specific_blocks)


@dataclass(frozen=True, slots=True)
class StoredDiagnostics:
    """What a stored model's row says of its estimation and people look at later; the meaning is ModelDiagnostics'."""

    fallback: tuple[tuple[str, str], ...]
    floored: tuple[str, ...]
    variance_explained: float


@dataclass(frozen=True, slots=True, eq=False)
class StoredRiskModel:
    """A model as stored; the matrices are fetched by their addresses. ``age_hours`` by the database's clock.

    ``specific_correlation_sha256`` is None where specific returns are uncorrelated; its blob holds the blocks of
    correlated assets in the packed form of ``risk.specific_correlation``.
    """

    risk_model_id: int
    as_of_date: date
    built_at: datetime
    estimator: str
    sessions: int
    tickers: tuple[str, ...]
    loadings_sha256: bytes
    specific_variance_sha256: bytes
    factor_covariance: NDArray[np.float64]
    diagnostics: StoredDiagnostics
    age_hours: float
    specific_correlation_sha256: bytes | None = None
