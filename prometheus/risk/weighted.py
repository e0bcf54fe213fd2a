"""Exponentially weighted moments, components and regressions of a return panel with gaps.

Throughout: values (T, n), ``seen`` (T, n) true where a value is known (elsewhere the value is 0), weight (T,) positive.
"""

from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from prometheus.risk.settings import FACTORS

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Share of sessions an asset may miss and still shape the factors.
_CORE_GAP_SHARE: Final = 0.1
#: Assets for each factor: fewer would let a factor follow a single asset.
_ASSETS_PER_FACTOR: Final = 3
#: Sessions' worth of evidence for the average asset's loadings.
_PRIOR_SESSIONS: Final = 5.0
#: Eigenvalues below this share of the largest, and correlations below this, are rounding noise.
_LEAST_EIGENVALUE: Final = 1e-8
_LEAST_CORRELATION: Final = 1e-9


def half_life_weight(sessions: int, half_life: float) -> FloatArray:
    """Return (T,) weights that halve with every ``half_life`` sessions of age; infinity gives equal ones."""
    weight: FloatArray = np.exp2(-np.arange(sessions - 1, -1, -1, dtype=np.float64) / half_life)
    return weight


def mean_square(values: FloatArray, seen: BoolArray, weight: FloatArray) -> FloatArray:
    """Return (n,) weighted mean squares, each over the asset's own sessions; 0 where it has none."""
    total: FloatArray = weight @ seen
    mean: FloatArray = (weight @ values**2) / np.maximum(total, np.finfo(np.float64).tiny)
    return mean


def second_moment(factors: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the (k, k) weighted second moment of factor returns (T, k), without the noise of rounding."""
    scaled = factors * np.sqrt(weight / weight.sum())[:, None]
    product: FloatArray = scaled.T @ scaled
    deviation = np.sqrt(np.diag(product))
    # principal components are uncorrelated up to rounding noise, which is set to zero
    product[np.abs(product) < _LEAST_CORRELATION * np.outer(deviation, deviation)] = 0.0
    return 0.5 * (product + product.T)


def principal_portfolios(standardised: FloatArray, seen: BoolArray, weight: FloatArray, most: int) -> FloatArray:
    """Return (T, k) returns of the leading principal portfolios of the assets with nearly complete histories.

    k is ``most``, or fewer where assets are few or move in lockstep.
    """
    sessions, assets = standardised.shape
    core = np.flatnonzero(seen.sum(axis=0) >= (1.0 - _CORE_GAP_SHARE) * sessions)
    if core.size < min(assets, FACTORS * _ASSETS_PER_FACTOR):
        core = np.arange(assets)
    block = standardised[:, core]
    # a session on which few of the core assets trade would seem calm: scale it to the full number of assets
    present = np.maximum(seen[:, core].sum(axis=1), 1)
    scaled = block * np.sqrt(weight / weight.sum())[:, None]
    count = min(most, max(core.size // _ASSETS_PER_FACTOR, 1), sessions)
    if core.size <= sessions:
        values, vectors = scipy.linalg.eigh(scaled.T @ scaled, subset_by_index=[core.size - count, core.size - 1])
    else:
        # the same components from the smaller of the two product matrices
        values, left = scipy.linalg.eigh(scaled @ scaled.T, subset_by_index=[sessions - count, sessions - 1])
        vectors = scaled.T @ left / np.sqrt(np.maximum(values, np.finfo(np.float64).tiny))
    # assets in lockstep leave components without variance, whose directions would be rounding noise
    vectors = vectors[:, ::-1][:, values[::-1] > _LEAST_EIGENVALUE * values[-1]]
    portfolios: FloatArray = (block @ vectors) * (core.size / present)[:, None]
    return portfolios


def regress(values: FloatArray, factors: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (n, k) weighted least-squares slopes, each asset over its own sessions, pulled to the average asset's.

    Args:
        values: (T, n); what is unknown has weight 0.
        factors: (T, k).
        weights: (T, n).
    """
    sessions, count = factors.shape
    products = (factors[:, :, None] * factors[:, None, :]).reshape(sessions, count * count)
    gram = (weights.T @ products).reshape(-1, count, count)
    moment = (weights * values).T @ factors
    ridge = _PRIOR_SESSIONS * np.diag(np.diag(second_moment(factors, np.ones(sessions)))) + 1e-12 * np.eye(count)
    pooled = np.linalg.solve(gram.sum(axis=0) + ridge, moment.sum(axis=0))
    pulled = moment - gram @ pooled
    slopes: FloatArray = pooled + np.linalg.solve(gram + ridge, pulled[:, :, None])[:, :, 0]
    return slopes


def normalised(loadings: FloatArray, factor_covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give each factor unit root mean square and a sign that no order of the assets changes."""
    scale = np.sqrt((loadings**2).mean(axis=0))
    used = scale > 0
    sign = np.where((loadings**3).sum(axis=0) < 0, -1.0, 1.0)
    factor = np.where(used, sign * scale, 1.0)
    return loadings / factor, factor_covariance * np.outer(factor, factor)


def pulled_to_median(variance: FloatArray, strength: float) -> FloatArray:
    """Pull log variances towards their median; a variance of zero stays far below every floor."""
    logs = np.log(np.maximum(variance, np.finfo(np.float64).tiny))
    pulled: FloatArray = np.exp((1.0 - strength) * logs + strength * np.median(logs))
    return pulled
