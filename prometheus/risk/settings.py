"""Settings of the estimation of the risk model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus.foundation.errors import RiskModelError

#: Columns of every loadings matrix, however many factors the estimator finds.
FACTORS: Final = 6
SESSIONS_PER_YEAR: Final = 252


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Parameters of the linked estimators, chosen with the calm months in view (docs/specs/risk.md says how).

    Attributes:
        beta_shrinkage: Weight of one in an asset's market beta, 0 to 1.
        regime_half_life: Sessions after which a day counts half for the volatility regime common to all assets.
        variance_half_lives: Half-lives whose variances are averaged for an asset; infinity weighs all sessions alike.
        size_shrinkage: Weight of the size group's average in an asset's log specific variance, 0 to 1.
        within_sector: Share of the sample correlation of specific returns that is kept within a sector.
        across_sectors: The same across sectors, at most ``within_sector``.
        identical: The same between share classes, at least ``within_sector`` and below one.
        identical_above: Sample correlation above which two assets count as share classes of one company.
        caution: Factor on every forecast volatility; costs random portfolios a little for honest optimised ones.
    """

    beta_shrinkage: float = 0.1
    regime_half_life: float = 30.0
    variance_half_lives: tuple[float, ...] = (42.0, 126.0, math.inf)
    size_shrinkage: float = 0.25
    within_sector: float = 0.7
    across_sectors: float = 0.25
    identical: float = 0.97
    identical_above: float = 0.85
    caution: float = 1.06

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            RiskModelError: Names the setting, its value and the allowed range; code ``RISK_SETTINGS``.
        """
        _require_ranges(self, _LINK_RANGES)
        if not self.variance_half_lives or min(self.variance_half_lives) < 1.0:
            raise RiskModelError(
                f"risk setting variance_half_lives = {self.variance_half_lives!r} must be one or more half-lives of at "
                "least 1 session.",
                code="RISK_SETTINGS",
            )
        if not self.across_sectors <= self.within_sector <= self.identical:
            raise RiskModelError(
                f"risk settings across_sectors {self.across_sectors}, within_sector {self.within_sector} and identical "
                f"{self.identical} must not descend.",
                code="RISK_SETTINGS",
            )


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """Parameters of the estimation.

    Attributes:
        estimator: Name in ``factor_model.ESTIMATORS``.
        window: Trailing sessions used, the as-of date's included.
        min_window: Fewest usable sessions; below, no model is made.
        min_name_sessions: Fewest returns for an asset to be estimated by itself; below, it gets fallback values.
        max_gap_share: Largest share of missing returns since an asset's first one; above, it gets fallback values.
        correlation_half_life: Sessions after which an observation counts half for loadings and long-run variances.
        volatility_half_life: The same for the recent half of the factor and specific variances.
        clip: Standardised returns are clipped to plus and minus this many volatilities before loadings are estimated,
            so that one event does not become a factor. Variances see the returns as they are.
        specific_shrinkage: Weight of the median in an asset's log specific variance, 0 to 1.
        fallback_quantile: Quantile of the estimated specific variances given to assets with fallback values.
        min_specific_volatility: Floor under the specific volatility, annualised.
        max_hole_sessions: A refresh counts longer runs of missing sessions of a listed asset as holes.
        max_hole_share: Largest share of assets with holes; above, a refresh makes no model.
        links: Parameters of the linked estimators.
    """

    estimator: str = "linked_sectors"
    window: int = 504
    min_window: int = 126
    min_name_sessions: int = 60
    max_gap_share: float = 0.25
    correlation_half_life: float = 252.0
    volatility_half_life: float = 63.0
    clip: float = 6.0
    specific_shrinkage: float = 0.1
    fallback_quantile: float = 0.9
    min_specific_volatility: float = 0.02
    max_hole_sessions: int = 5
    max_hole_share: float = 0.02
    links: LinkSettings = field(default_factory=LinkSettings)

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            RiskModelError: Names the setting, its value and the allowed range; code ``RISK_SETTINGS``.
        """
        _require_ranges(self, _RANGES)
        if self.min_window > self.window:
            raise RiskModelError(
                f"risk setting min_window {self.min_window} exceeds window {self.window}.", code="RISK_SETTINGS"
            )


def _require_ranges(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise RiskModelError(f"risk setting {name} = {value!r} must lie in [{low}, {high}].", code="RISK_SETTINGS")


_LINK_RANGES: Final[dict[str, tuple[float, float]]] = {
    "beta_shrinkage": (0.0, 1.0),
    "regime_half_life": (1.0, 1e6),
    "size_shrinkage": (0.0, 1.0),
    "within_sector": (0.0, 0.99),
    "across_sectors": (0.0, 0.99),
    "identical": (0.0, 0.99),
    "identical_above": (0.5, 1.0),
    "caution": (0.5, 2.0),
}

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "window": (2, 10_000),
    "min_window": (2, 10_000),
    "min_name_sessions": (2, 10_000),
    "max_gap_share": (0.0, 1.0),
    "correlation_half_life": (1.0, 1e6),
    "volatility_half_life": (1.0, 1e6),
    "clip": (1.0, 100.0),
    "specific_shrinkage": (0.0, 1.0),
    "fallback_quantile": (0.5, 1.0),
    "min_specific_volatility": (1e-3, 1.0),
    "max_hole_sessions": (0, 10_000),
    "max_hole_share": (0.0, 1.0),
}
