"""Six statistical factors by exponentially weighted principal components.

1. Returns are divided by each asset's exponentially weighted volatility and clipped.
2. Assets with nearly complete histories give the principal components; their portfolios' returns are the factors.
3. Every asset's loadings are its weighted regression on the factors over the sessions it has, pulled slightly towards
   the average asset. An asset with a short history thus gets the factors of all, not a guess from its own gaps.
4. Factor and specific variances are half long-run, half recent: a mild answer to volatility regimes.

Returns are not demeaned: a daily mean is far below its own estimation error.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.risk.estimation import AssetAttributes, FactorEstimate
from prometheus.risk.settings import FACTORS, SESSIONS_PER_YEAR, RiskSettings
from prometheus.risk.weighted import (
    half_life_weight,
    mean_square,
    normalised,
    principal_portfolios,
    pulled_to_median,
    regress,
    second_moment,
)

FloatArray = NDArray[np.float64]

VERSION: Final = "2"
#: Weighted sessions below which the recent variance is too noisy to use.
_MIN_RECENT_WEIGHT: Final = 5.0


def ewma_pca(returns: FloatArray, attributes: AssetAttributes, settings: RiskSettings) -> FactorEstimate:  # noqa: ARG001 - one signature for all
    """Estimate factors, loadings and specific variances of assets with enough history.

    Args:
        returns: (T, n) daily total returns, n at least 2; NaN where unknown. Every column has some variation.
        attributes: Unused; this estimator reads returns only.
        settings: See RiskSettings.
    """
    sessions, assets = returns.shape
    seen = ~np.isnan(returns)
    raw = np.where(seen, returns, 0.0)
    long_run = half_life_weight(sessions, settings.correlation_half_life)
    recent = half_life_weight(sessions, settings.volatility_half_life)

    volatility = np.sqrt(mean_square(raw, seen, long_run))
    standardised = raw / volatility
    clipped = np.clip(standardised, -settings.clip, settings.clip)

    factors = principal_portfolios(clipped, seen, long_run, FACTORS)
    weights = seen * long_run[:, None]
    slopes = regress(clipped, factors, weights)
    residuals = np.where(seen, standardised - factors @ slopes.T, 0.0)

    factor_covariance = 0.5 * (second_moment(factors, long_run) + second_moment(factors, recent))
    specific = _blended(residuals, seen, long_run, recent)
    # the regression spent a degree of freedom for each factor: correct by the effective number of sessions
    effective = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    specific *= effective / np.maximum(effective - factors.shape[1], 0.5 * effective)
    explained = 1.0 - (weights * residuals**2).sum() / (weights * standardised**2).sum()

    loadings = np.zeros((assets, FACTORS))
    loadings[:, : factors.shape[1]] = slopes * volatility[:, None]
    padded = np.zeros((FACTORS, FACTORS))
    padded[: factors.shape[1], : factors.shape[1]] = factor_covariance * SESSIONS_PER_YEAR
    loadings, padded = normalised(loadings, padded)
    return FactorEstimate(
        loadings=loadings,
        factor_covariance=padded,
        specific_variance=pulled_to_median(specific * volatility**2 * SESSIONS_PER_YEAR, settings.specific_shrinkage),
        variance_explained=float(np.clip(explained, 0.0, 1.0)),
    )


def _blended(values: FloatArray, seen: NDArray[np.bool_], long_run: FloatArray, recent: FloatArray) -> FloatArray:
    slow = mean_square(values, seen, long_run)
    enough = recent @ seen >= _MIN_RECENT_WEIGHT
    return np.where(enough, 0.5 * (slow + mean_square(values, seen, recent)), slow)
