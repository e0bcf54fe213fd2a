"""Market, five residual components and a specific covariance that links assets.

1. Market beta by weighted regression on the benchmark's return, pulled a little to one.
2. The residuals of the market are divided by a volatility regime common to all assets.
3. Five principal components of the standardised rest; every asset's loadings by regression over its own sessions.
4. Specific variances are a blend of half-lives, pulled to the average of assets of similar size.
5. Specific returns are correlated: the sample correlation times a link, strongest between share classes of one company,
   strong within a sector, weak across. A link matrix and a sample correlation are both positive semidefinite, so their
   entrywise product is (Schur), and the part of the link on the diagonal alone bounds its eigenvalues.

Six factors cannot explain what industries and share classes have in common. An optimizer would exploit the difference,
so the links include it.
"""

from typing import Final

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from numpy.typing import NDArray

from prometheus.risk.estimation import AssetAttributes, FactorEstimate, IndexArray
from prometheus.risk.settings import FACTORS, SESSIONS_PER_YEAR, LinkSettings, RiskSettings
from prometheus.risk.weighted import (
    half_life_weight,
    mean_square,
    normalised,
    principal_portfolios,
    regress,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

VERSION: Final = "1"
#: Sessions whose average starts the regime.
_REGIME_START: Final = 21
#: Number of size groups, and the fewest assets of one.
_SIZE_GROUPS: Final = 10
_NAMES_PER_GROUP: Final = 20
#: Share of the specific correlation's eigenvalues given up to rounding.
_ROUNDING_SHARE: Final = 0.5


def linked_dense(returns: FloatArray, attributes: AssetAttributes, settings: RiskSettings) -> FactorEstimate:
    """Estimate the model with links between all assets: one block.

    Args:
        returns: (T, n) daily total returns, n at least 2; NaN where unknown. Every column has some variation.
        attributes: Benchmark weights, sectors and groups of the n assets.
        settings: See RiskSettings.

    Source: docs/specs/risk.md.
    """
    return _estimate(returns, attributes, settings, dense=True)


def linked_within_sectors(returns: FloatArray, attributes: AssetAttributes, settings: RiskSettings) -> FactorEstimate:
    """Estimate the same model with links within sectors only: a block for each. Arguments as ``linked_dense``."""
    return _estimate(returns, attributes, settings, dense=False)


def _estimate(
    returns: FloatArray, attributes: AssetAttributes, settings: RiskSettings, *, dense: bool
) -> FactorEstimate:
    links = settings.links
    sessions, assets = returns.shape
    seen = ~np.isnan(returns)
    raw = np.where(seen, returns, 0.0)
    long_run = half_life_weight(sessions, settings.correlation_half_life)
    recent = half_life_weight(sessions, settings.volatility_half_life)

    market = _market(raw, seen, attributes.weights)
    beta = regress(raw, market[:, None], seen * long_run[:, None])[:, 0]
    beta = (1.0 - links.beta_shrinkage) * beta + links.beta_shrinkage
    residual = np.where(seen, raw - np.outer(market, beta), 0.0)
    regime = _regime(residual, seen, long_run, settings)
    residual = residual / regime[:, None]

    volatility = np.sqrt(np.maximum(mean_square(residual, seen, long_run), np.finfo(np.float64).tiny))
    standardised = residual / volatility
    clipped = np.clip(standardised, -settings.clip, settings.clip)
    factors = principal_portfolios(clipped, seen, long_run, FACTORS - 1)
    slopes = regress(clipped, factors, seen * long_run[:, None])
    rest = np.where(seen, standardised - factors @ slopes.T, 0.0)
    # one extreme day may decide a variance but not a correlation
    clipped_rest = np.where(seen, clipped - factors @ slopes.T, 0.0)

    specific = _specific_variance(rest * volatility, seen, attributes.weights, links)
    blocks, least = _correlation(clipped_rest, long_run, attributes, links, dense=dense)
    scale = (links.caution * regime[-1]) ** 2 * SESSIONS_PER_YEAR
    loadings = np.zeros((assets, FACTORS))
    loadings[:, 0] = beta
    loadings[:, 1 : 1 + factors.shape[1]] = slopes * volatility[:, None]
    variance = np.zeros(FACTORS)
    variance[0] = links.caution**2 * SESSIONS_PER_YEAR * _blend(market[:, None], long_run, recent)[0]
    variance[1 : 1 + factors.shape[1]] = scale * _blend(factors, long_run, recent)
    whole = (seen * (long_run[:, None] * (raw / (volatility * regime[-1])) ** 2)).sum()
    left = (seen * (long_run[:, None] * (rest * regime[:, None] / regime[-1]) ** 2)).sum()
    X, F = normalised(loadings, np.diag(variance))
    return FactorEstimate(
        loadings=X,
        factor_covariance=F,
        specific_variance=specific * scale,
        variance_explained=float(np.clip(1.0 - left / whole, 0.0, 1.0)),
        specific_blocks=blocks,
        least_eigenvalue=least,
    )


def _market(raw: FloatArray, seen: BoolArray, weights: FloatArray) -> FloatArray:
    """Return (T,) benchmark returns over the assets that traded; of all assets alike where none of its own did."""
    of_benchmark = seen * weights
    held = np.where(of_benchmark.sum(axis=1, keepdims=True) > 0, of_benchmark, seen)
    market: FloatArray = (held * raw).sum(axis=1) / held.sum(axis=1)
    return market


def _regime(residual: FloatArray, seen: BoolArray, weight: FloatArray, settings: RiskSettings) -> FloatArray:
    """Return (T,) volatility common to all assets' residuals, about one on average, from the days up to each."""
    variance = np.maximum(mean_square(residual, seen, weight), np.finfo(np.float64).tiny)
    square = np.minimum(residual**2 / variance, settings.clip**2)
    today = (square * seen).sum(axis=1) / seen.sum(axis=1)
    step = 1.0 - np.exp2(-1.0 / settings.links.regime_half_life)
    average = np.empty(len(today))
    last = float(today[:_REGIME_START].mean())
    for t, value in enumerate(today):
        last += step * (value - last)
        average[t] = last
    # a market without any movement has no regime
    return np.sqrt(average) if average.min() > 0 else np.ones(len(today))


def _blend(factors: FloatArray, long_run: FloatArray, recent: FloatArray) -> FloatArray:
    everywhere = np.ones(factors.shape, dtype=np.bool_)
    return 0.5 * (mean_square(factors, everywhere, long_run) + mean_square(factors, everywhere, recent))


def _specific_variance(rest: FloatArray, seen: BoolArray, weights: FloatArray, links: LinkSettings) -> FloatArray:
    """Return (n,) daily variances in the average regime: a blend of half-lives, pulled to assets of similar size."""
    parts = [mean_square(rest, seen, half_life_weight(len(rest), life)) for life in links.variance_half_lives]
    logs = np.log(np.maximum(np.mean(parts, axis=0), np.finfo(np.float64).tiny))
    n = len(logs)
    count = int(np.clip(n // _NAMES_PER_GROUP, 1, _SIZE_GROUPS))
    group = np.empty(n, dtype=np.int64)
    group[np.argsort(-weights, kind="stable")] = np.arange(n) * count // n
    level = np.bincount(group, logs) / np.bincount(group)
    pulled: FloatArray = np.exp((1.0 - links.size_shrinkage) * logs + links.size_shrinkage * level[group])
    return pulled


def _correlation(
    rest: FloatArray, weight: FloatArray, attributes: AssetAttributes, links: LinkSettings, *, dense: bool
) -> tuple[tuple[tuple[IndexArray, FloatArray], ...], float]:
    """Return the blocks of the linked correlation and a lower bound on their eigenvalues."""
    scaled = rest * np.sqrt(weight)[:, None]
    # sessions that one asset lacks count as zeros: the product stays a Gram matrix, that is, positive semidefinite
    scaled /= np.maximum(np.sqrt((scaled**2).sum(axis=0)), np.finfo(np.float64).tiny)
    sectors = np.array(attributes.sectors)
    groups = np.array(attributes.groups)
    if dense:
        chosen = [np.arange(len(sectors))]
    else:
        chosen = [np.flatnonzero(sectors == sector) for sector in sorted(set(attributes.sectors) - {""})]
    blocks = []
    clustered = False
    for positions in chosen:
        if positions.size < 2:
            continue
        part = scaled[:, positions]
        correlation = np.clip(part.T @ part, -1.0, 1.0)
        same_sector = (sectors[positions][:, None] == sectors[positions]) & (sectors[positions] != "")
        clusters = _clusters(correlation, groups[positions], links.identical_above)
        identical = clusters[:, None] == clusters
        clustered |= bool(np.bincount(clusters).max() > 1)
        link = np.where(same_sector, links.within_sector, links.across_sectors)
        link += np.where(identical, links.identical - links.within_sector, 0.0)
        correlation *= link
        np.fill_diagonal(correlation, 1.0)
        blocks.append((positions.astype(np.int64), correlation))
    slack = 1.0 - (links.identical if clustered else links.within_sector)
    return tuple(blocks), _ROUNDING_SHARE * slack if blocks else 1.0


def _clusters(correlation: FloatArray, groups: NDArray[np.str_], above: float) -> NDArray[np.int32]:
    """Return (n,) cluster of each name: of one group, or tied by correlations above the bound."""
    tied = correlation > above
    tied |= (groups[:, None] == groups) & (groups != "")
    labels: NDArray[np.int32] = scipy.sparse.csgraph.connected_components(scipy.sparse.csr_array(tied), directed=False)[
        1
    ]
    return labels
