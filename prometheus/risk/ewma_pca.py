"""Six statistical factors by exponentially weighted principal components.

1. Returns are divided by each name's exponentially weighted volatility and clipped.
2. Names with nearly complete histories give the principal components; their portfolios' returns are the factors.
3. Every name's loadings are its weighted regression on the factors over the sessions it has, pulled slightly towards
   the average name. A name with a short history thus gets the factors of all, not a guess from its own gaps.
4. Factor and specific variances are half long-run, half recent: a mild answer to volatility regimes.

Returns are not demeaned: a daily mean is far below its own estimation error.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from prometheus.risk.settings import FACTORS, SESSIONS_PER_YEAR, RiskSettings

FloatArray = NDArray[np.float64]

VERSION: Final = "1"
#: Share of sessions a name may miss and still shape the factors.
_CORE_GAP_SHARE: Final = 0.1
#: Names for each factor: fewer would let a factor follow a single name.
_NAMES_PER_FACTOR: Final = 3
#: Sessions' worth of evidence for the average name's loadings.
_PRIOR_SESSIONS: Final = 5.0
#: Eigenvalues below this share of the largest, and correlations below this, are rounding noise.
_LEAST_EIGENVALUE: Final = 1e-8
_LEAST_CORRELATION: Final = 1e-9
#: Weighted sessions below which the recent variance is too noisy to use.
_MIN_RECENT_WEIGHT: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class FactorEstimate:
    """What an estimator finds for n names, float64, annualised: X (n, 6), F (6, 6), D (n,), before floor and rounding.

    ``variance_explained`` is the factors' share of the standardised variance, 0 to 1.
    """

    loadings: FloatArray
    factor_covariance: FloatArray
    specific_variance: FloatArray
    variance_explained: float


def ewma_pca(returns: FloatArray, settings: RiskSettings) -> FactorEstimate:
    """Estimate factors, loadings and specific variances of names with enough history.

    Args:
        returns: (T, n) daily total returns, n at least 2; NaN where unknown. Every column has some variation.
        settings: See RiskSettings.
    """
    sessions, names = returns.shape
    seen = ~np.isnan(returns)
    raw = np.where(seen, returns, 0.0)
    age = np.arange(sessions - 1, -1, -1, dtype=np.float64)
    long_run = np.exp2(-age / settings.correlation_half_life)
    recent = np.exp2(-age / settings.volatility_half_life)

    volatility = np.sqrt(_mean_square(raw, seen, long_run))
    standardised = raw / volatility
    clipped = np.clip(standardised, -settings.clip, settings.clip)

    factors = _factor_returns(clipped, seen, long_run)
    weights = seen * long_run[:, None]
    slopes = _regress(clipped, factors, weights)
    residuals = np.where(seen, standardised - factors @ slopes.T, 0.0)

    factor_covariance = 0.5 * (_covariance(factors, long_run) + _covariance(factors, recent))
    specific = _blended(residuals, seen, long_run, recent)
    # the regression spent a degree of freedom for each factor: correct by the effective number of sessions
    effective = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    specific *= effective / np.maximum(effective - factors.shape[1], 0.5 * effective)
    explained = 1.0 - (weights * residuals**2).sum() / (weights * standardised**2).sum()

    loadings = np.zeros((names, FACTORS))
    loadings[:, : factors.shape[1]] = slopes * volatility[:, None]
    padded = np.zeros((FACTORS, FACTORS))
    padded[: factors.shape[1], : factors.shape[1]] = factor_covariance * SESSIONS_PER_YEAR
    loadings, padded = _normalised(loadings, padded)
    return FactorEstimate(
        loadings=loadings,
        factor_covariance=padded,
        specific_variance=_shrunk(specific * volatility**2 * SESSIONS_PER_YEAR, settings.specific_shrinkage),
        variance_explained=float(np.clip(explained, 0.0, 1.0)),
    )


def _factor_returns(standardised: FloatArray, seen: NDArray[np.bool_], weight: FloatArray) -> FloatArray:
    """Return (T, k) returns of the leading principal portfolios of the names with nearly complete histories."""
    sessions, names = standardised.shape
    core = np.flatnonzero(seen.sum(axis=0) >= (1.0 - _CORE_GAP_SHARE) * sessions)
    if core.size < min(names, FACTORS * _NAMES_PER_FACTOR):
        core = np.arange(names)
    block = standardised[:, core]
    # a session on which few of the core names trade would look calm: scale it to the full number of names
    present = np.maximum(seen[:, core].sum(axis=1), 1)
    count = min(FACTORS, max(core.size // _NAMES_PER_FACTOR, 1))
    scaled = block * np.sqrt(weight / weight.sum())[:, None]
    values, vectors = scipy.linalg.eigh(scaled.T @ scaled, subset_by_index=[core.size - count, core.size - 1])
    # names in lockstep leave components without variance, whose directions would be rounding noise
    vectors = vectors[:, ::-1][:, values[::-1] > _LEAST_EIGENVALUE * values[-1]]
    portfolios: FloatArray = (block @ vectors) * (core.size / present)[:, None]
    return portfolios


def _regress(values: FloatArray, factors: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (n, k) weighted least-squares slopes, each name over its own sessions, pulled to the average name's."""
    sessions, count = factors.shape
    products = (factors[:, :, None] * factors[:, None, :]).reshape(sessions, count * count)
    gram = (weights.T @ products).reshape(-1, count, count)
    moment = (weights * values).T @ factors
    ridge = _PRIOR_SESSIONS * np.diag(np.diag(_covariance(factors, np.ones(sessions)))) + 1e-12 * np.eye(count)
    pooled = np.linalg.solve(gram.sum(axis=0) + ridge, moment.sum(axis=0))
    pulled = moment - gram @ pooled
    slopes: FloatArray = pooled + np.linalg.solve(gram + ridge, pulled[:, :, None])[:, :, 0]
    return slopes


def _normalised(loadings: FloatArray, factor_covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give each factor unit root mean square and a sign that no order of the names changes."""
    scale = np.sqrt((loadings**2).mean(axis=0))
    used = scale > 0
    sign = np.where((loadings**3).sum(axis=0) < 0, -1.0, 1.0)
    factor = np.where(used, sign * scale, 1.0)
    return loadings / factor, factor_covariance * np.outer(factor, factor)


def _blended(values: FloatArray, seen: NDArray[np.bool_], long_run: FloatArray, recent: FloatArray) -> FloatArray:
    slow = _mean_square(values, seen, long_run)
    enough = recent @ seen >= _MIN_RECENT_WEIGHT
    return np.where(enough, 0.5 * (slow + _mean_square(values, seen, recent)), slow)


def _mean_square(values: FloatArray, seen: NDArray[np.bool_], weight: FloatArray) -> FloatArray:
    total: FloatArray = weight @ seen
    mean: FloatArray = (weight @ values**2) / np.maximum(total, np.finfo(np.float64).tiny)
    return mean


def _covariance(factors: FloatArray, weight: FloatArray) -> FloatArray:
    scaled = factors * np.sqrt(weight / weight.sum())[:, None]
    product: FloatArray = scaled.T @ scaled
    deviation = np.sqrt(np.diag(product))
    # principal components are uncorrelated up to rounding noise, which must not look like information
    product[np.abs(product) < _LEAST_CORRELATION * np.outer(deviation, deviation)] = 0.0
    return 0.5 * (product + product.T)


def _shrunk(variance: FloatArray, strength: float) -> FloatArray:
    """Pull log variances towards their median; a variance of zero stays far below every floor."""
    logs = np.log(np.maximum(variance, np.finfo(np.float64).tiny))
    shrunk: FloatArray = np.exp((1.0 - strength) * logs + strength * np.median(logs))
    return shrunk
