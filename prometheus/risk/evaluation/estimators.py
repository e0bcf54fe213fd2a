"""Estimators under evaluation, ours and the textbook ones, by name: from a month to an annualised covariance."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.evaluation import textbook
from prometheus.risk.evaluation.history import Month
from prometheus.risk.factor_model import ESTIMATORS, AssetAttributes, covariance, estimate_factor_model
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.settings import RiskSettings

FloatArray = NDArray[np.float64]
CovarianceEstimator = Callable[[Month], FloatArray]

#: The row that every other one's realised tracking error is compared with: exponentially weighted PCA-6, half-lives 252
#: and 63.
REFERENCE: Final = "ewma_pca"

TEXTBOOK: Final[Mapping[str, CovarianceEstimator]] = MappingProxyType(
    {
        "sample": lambda month: textbook.sample(month.returns),
        "pca_6": lambda month: textbook.principal_components(month.returns),
        "market_pca_5": lambda month: textbook.market_and_components(month.returns, month.weights),
        "ledoit_wolf_identity": lambda month: textbook.shrunk_to_identity(month.returns),
        "ledoit_wolf_correlation": lambda month: textbook.shrunk_to_constant_correlation(month.returns),
        "qis": lambda month: textbook.quadratic_inverse_shrinkage(month.returns),
    }
)


def covariance_estimator(name: str) -> CovarianceEstimator:
    """Return the estimator of a name.

    Raises:
        RiskModelError: The name is unknown; code ``RISK_SETTINGS``.
    """
    if name in TEXTBOOK:
        return TEXTBOOK[name]
    if name not in ESTIMATORS:
        raise RiskModelError(
            f"risk estimator '{name}' is unknown; known are {', '.join((*ESTIMATORS, *TEXTBOOK))}.",
            code="RISK_SETTINGS",
        )
    return lambda month: _ours(month, name)


def _ours(month: Month, name: str) -> FloatArray:
    return covariance(
        estimate_factor_model(
            ReturnPanel(month.dates, month.tickers, month.returns),
            as_of=month.as_of,
            settings=RiskSettings(estimator=name),
            attributes=AssetAttributes(month.weights, month.sectors, month.groups),
        )
    )
