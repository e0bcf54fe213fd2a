"""From a return panel to a risk model: the assets that are estimated, their estimator, fallback and floor."""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import RiskModelError
from prometheus.risk import ewma_pca as pca
from prometheus.risk import linked
from prometheus.risk.estimation import AssetAttributes, Estimator, FactorEstimate
from prometheus.risk.ewma_pca import ewma_pca
from prometheus.risk.linked import linked_dense, linked_within_sectors
from prometheus.risk.model import FactorModel, ModelDiagnostics, covariance
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.settings import SESSIONS_PER_YEAR, RiskSettings
from prometheus.risk.specific_correlation import SpecificCorrelation

__all__ = [
    "ESTIMATORS",
    "FALLBACK_REASONS",
    "NEED_ATTRIBUTES",
    "AssetAttributes",
    "FactorModel",
    "ModelDiagnostics",
    "RiskSettings",
    "covariance",
    "estimate_factor_model",
]

FloatArray = NDArray[np.float64]

#: Estimators by name, each with its version. They see only assets with enough history, in alphabetical order.
ESTIMATORS: Final[Mapping[str, tuple[Estimator, str]]] = MappingProxyType(
    {
        "ewma_pca": (ewma_pca, pca.VERSION),
        "linked": (linked_dense, linked.VERSION),
        "linked_sectors": (linked_within_sectors, linked.VERSION),
    }
)

#: Estimators that are of little use without benchmark weights and sectors.
NEED_ATTRIBUTES: Final = frozenset({"linked", "linked_sectors"})

#: Why an asset gets fallback values, in the order in which the reasons are looked for.
FALLBACK_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NO_RETURNS": "no return in the window",
        "SHORT_HISTORY": "fewer returns than min_name_sessions",
        "GAPS": "too large a share of sessions missing since the first return",
        "STALE_PRICES": "more than half of the returns are exactly zero",
    }
)
#: Returns from which an asset's own variance may raise its fallback value.
_MIN_OWN_SESSIONS: Final = 20


def estimate_factor_model(
    panel: ReturnPanel,
    *,
    as_of: date,
    settings: RiskSettings | None = None,
    attributes: AssetAttributes | None = None,
) -> FactorModel:
    """Estimate the six-factor model of every asset of the panel from the sessions up to ``as_of``.

    Assets without enough usable history (``FALLBACK_REASONS``) load like the average estimated asset and get a high
    quantile of the estimated specific variances, or their own excess variance where that is larger. The result does
    not depend on the order of the panel's columns (bit for bit, up to that order). With another number of BLAS threads
    the last bits of the float64 arithmetic may differ; rounding to float32 absorbs nearly all of that, not provably
    all.

    Args:
        panel: Returns of N assets; rows after ``as_of`` are ignored.
        as_of: Date of the model.
        settings: See RiskSettings; None for the defaults.
        attributes: Benchmark weights, sectors and groups in the order of the panel's tickers; None where unknown.

    Raises:
        RiskModelError: Attributes of other assets (``RISK_INPUT``), fewer usable sessions than ``min_window``
            (``TOO_FEW_SESSIONS``), fewer than two assets to estimate (``TOO_FEW_NAMES``), or an unknown estimator
            (``RISK_SETTINGS``).

    Source: docs/specs/risk.md.
    """
    settings = settings or RiskSettings()
    if settings.estimator not in ESTIMATORS:
        raise RiskModelError(
            f"risk estimator '{settings.estimator}' is unknown; known are {', '.join(ESTIMATORS)}.",
            code="RISK_SETTINGS",
        )
    estimate, version = ESTIMATORS[settings.estimator]

    attributes = attributes or AssetAttributes.unknown(len(panel.tickers))
    if len(attributes.sectors) != len(panel.tickers):
        raise RiskModelError(
            f"attributes of {len(attributes.sectors)} assets for a panel of {len(panel.tickers)}.", code="RISK_INPUT"
        )
    recent = panel.until(as_of, settings.window)
    order = np.array(sorted(range(len(recent.tickers)), key=recent.tickers.__getitem__), dtype=np.int64)
    usable = (~np.isnan(recent.returns)).sum(axis=1) >= 2
    returns = np.ascontiguousarray(recent.returns[usable][:, order])
    tickers = [recent.tickers[at] for at in order]
    _refuse_thin(returns, as_of, settings)

    reasons = _fallback_reasons(returns, settings)
    regular = np.array([reason is None for reason in reasons])
    if regular.sum() < 2:
        raise RiskModelError(
            f"risk model of {as_of}: {int(regular.sum())} of {len(tickers)} assets have enough history, 2 are needed; "
            "load more price history.",
            code="TOO_FEW_NAMES",
        )
    factors = estimate(
        np.ascontiguousarray(returns[:, regular]), attributes.of(order[np.flatnonzero(regular)]), settings
    )
    loadings, specific = _with_fallback(factors, returns, regular, settings)
    # float32 precision everywhere: differences in the last bits of float64 do not reach the model
    X = loadings.astype(np.float32)
    F = factors.factor_covariance.astype(np.float32).astype(np.float64)
    floor = _specific_floor(X, F, factors.least_eigenvalue, settings)
    floored = tuple(tickers[at] for at in np.flatnonzero(specific < floor))
    D = np.maximum(specific, floor).astype(np.float32)

    back = np.argsort(order)
    dates = [day for day, keep in zip(recent.dates, usable, strict=True) if keep]
    return FactorModel(
        as_of=as_of,
        tickers=recent.tickers,
        loadings=X[back],
        factor_covariance=F,
        specific_variance=D[back],
        diagnostics=ModelDiagnostics(
            first_date=dates[0],
            last_date=dates[-1],
            sessions=len(dates),
            sessions_used=(~np.isnan(returns)).sum(axis=0)[back].astype(np.int64),
            fallback=tuple((t, r) for t, r in zip(tickers, reasons, strict=True) if r is not None),
            floored=floored,
            variance_explained=factors.variance_explained,
        ),
        estimator=settings.estimator,
        version=version,
        specific_blocks=_blocks(factors, order[np.flatnonzero(regular)]),
    )


def _refuse_thin(returns: FloatArray, as_of: date, settings: RiskSettings) -> None:
    sessions, assets = returns.shape
    if assets < 2:
        raise RiskModelError(
            f"risk model of {as_of}: {assets} assets in the panel, 2 are needed.", code="TOO_FEW_NAMES"
        )
    if sessions < settings.min_window:
        raise RiskModelError(
            f"risk model of {as_of}: {sessions} sessions with returns up to that date, {settings.min_window} are "
            "needed; load more price history.",
            code="TOO_FEW_SESSIONS",
        )


def _fallback_reasons(returns: FloatArray, settings: RiskSettings) -> list[str | None]:
    """Return for each column why it cannot be estimated by itself, None where it can."""
    sessions = len(returns)
    seen = ~np.isnan(returns)
    count = seen.sum(axis=0)
    life = sessions - np.argmax(seen, axis=0)  # sessions since the first return
    still = (returns == 0).sum(axis=0)
    reasons: list[str | None] = []
    for have, since, zero in zip(count, life, still, strict=True):
        if have == 0:
            reasons.append("NO_RETURNS")
        elif have < settings.min_name_sessions:
            reasons.append("SHORT_HISTORY")
        elif have < (1.0 - settings.max_gap_share) * since:
            reasons.append("GAPS")
        elif 2 * zero > have:
            reasons.append("STALE_PRICES")
        else:
            reasons.append(None)
    return reasons


def _with_fallback(
    factors: FactorEstimate, returns: FloatArray, regular: NDArray[np.bool_], settings: RiskSettings
) -> tuple[FloatArray, FloatArray]:
    """Spread the estimates over all assets and fill in the others."""
    assets = len(regular)
    average = factors.loadings.mean(axis=0)
    loadings = np.tile(average, (assets, 1))
    loadings[regular] = factors.loadings
    usual = float(np.quantile(factors.specific_variance, settings.fallback_quantile))
    specific = np.full(assets, usual)
    specific[regular] = factors.specific_variance
    systematic = float(average @ factors.factor_covariance @ average)
    for at in np.flatnonzero(~regular):
        own = returns[~np.isnan(returns[:, at]), at]
        if own.size >= _MIN_OWN_SESSIONS:
            specific[at] = max(usual, SESSIONS_PER_YEAR * float(np.mean(own**2)) - systematic)
    return loadings, specific


def _specific_floor(
    X: NDArray[np.float32], F: FloatArray, least_eigenvalue: float, settings: RiskSettings
) -> FloatArray:
    """Return (N,) floors that keep Sigma and its float32 rounding positive definite.

    Rounding moves an entry by at most 2^-24 of its size, which no entry has above the geometric mean of its two
    variances: of the correlation matrix of Sigma it moves no eigenvalue by more than N 2^-24 (Weyl). Specific variances
    of at least k times the whole variance keep those eigenvalues at k times the least one of C or above; k is chosen
    for twice the bound, which leaves the same again as a margin.
    """
    wide = X.astype(np.float64)
    share = min(2.0 * len(wide) * 2.0**-24 / least_eigenvalue, 0.5)
    systematic = np.einsum("ik,kl,il->i", wide, F, wide)
    floor: FloatArray = np.maximum(settings.min_specific_volatility**2, share / (1.0 - share) * systematic)
    return floor


def _blocks(factors: FactorEstimate, columns: NDArray[np.int64]) -> tuple[SpecificCorrelation, ...]:
    """Return the blocks with positions in the panel's order; ``columns`` are those of the estimated assets."""
    blocks = []
    for positions, correlation in factors.specific_blocks:
        at = columns[positions]
        order = np.argsort(at)
        rounded = correlation.astype(np.float32)
        rounded = np.tril(rounded, -1)
        rounded = rounded + rounded.T + np.eye(len(at), dtype=np.float32)
        blocks.append(SpecificCorrelation(at[order], np.ascontiguousarray(rounded[np.ix_(order, order)])))
    return tuple(sorted(blocks, key=lambda block: int(block.names[0])))
