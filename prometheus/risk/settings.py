"""What may be tuned in the estimation of the risk model."""

from dataclasses import dataclass
from typing import Final

from prometheus.foundation.errors import RiskModelError

#: Columns of every loadings matrix, whatever the estimator finds.
FACTORS: Final = 6
SESSIONS_PER_YEAR: Final = 252


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """Parameters of the estimation.

    Attributes:
        estimator: Name in ``factor_model.ESTIMATORS``.
        window: Trailing sessions used, the as-of date's included.
        min_window: Fewest usable sessions; below, no model is made.
        min_name_sessions: Fewest returns for a name to be estimated by itself; below, it gets fallback values.
        max_gap_share: Largest share of missing returns since a name's first one; above, it gets fallback values.
        correlation_half_life: Sessions after which an observation counts half for loadings and long-run variances.
        volatility_half_life: The same for the recent half of the factor and specific variances.
        clip: Standardised returns are clipped to plus and minus this many volatilities before loadings are estimated,
            so that one event does not become a factor. Variances see the returns as they are.
        specific_shrinkage: Weight of the median in a name's log specific variance, 0 to 1.
        fallback_quantile: Quantile of the estimated specific variances given to names with fallback values.
        min_specific_volatility: Floor under the specific volatility, annualised.
    """

    estimator: str = "ewma_pca"
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

    def __post_init__(self) -> None:
        """Refuse values outside their range.

        Raises:
            RiskModelError: Names the setting, its value and the allowed range; code ``RISK_SETTINGS``.
        """
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise RiskModelError(
                    f"risk setting {name} = {value!r} must lie in [{low}, {high}].", code="RISK_SETTINGS"
                )
        if self.min_window > self.window:
            raise RiskModelError(
                f"risk setting min_window {self.min_window} exceeds window {self.window}.", code="RISK_SETTINGS"
            )


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
}
