"""The nightly risk model: trailing prices from the database, estimated and stored with its build time."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.db.blobs import blob_address
from prometheus.db.database import Database
from prometheus.db.repositories.risk_models import add_risk_model, latest_risk_model
from prometheus.foundation.errors import RiskModelError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.orchestration.risk_inputs import name_attributes, return_panel
from prometheus.risk.factor_model import NEED_ATTRIBUTES, estimate_factor_model
from prometheus.risk.holes import refuse_holes
from prometheus.risk.model import FactorModel, StoredRiskModel
from prometheus.risk.settings import RiskSettings
from prometheus.risk.specific_correlation import packed_blocks

#: A year has about 252 sessions in 365 days; look back far enough for any window, holidays included.
_DAYS_FOR_A_SESSION: Final = 1.6


@dataclass(frozen=True, slots=True)
class RiskRefresh:
    """A stored model: its id and the model itself; ``reused`` where it was stored before."""

    risk_model_id: int
    model: FactorModel
    reused: bool = False


def refresh_risk_model(
    database: Database,
    *,
    as_of: date,
    region: str = "US",
    settings: RiskSettings | None = None,
    benchmark_id: str | None = None,
    reuse_within_hours: float = 0.0,
) -> RiskRefresh:
    """Estimate the model from the sessions through ``as_of`` and store it; an earlier model stays as it is.

    The engine counts a model's age from when it was built, so the same numbers are stored again when they are no longer
    fresh; asked for twice in a row, nothing is written.

    Args:
        database: The database.
        as_of: Date of the model; on a weekend or holiday the session before it is the last one used.
        region: Region whose exchange defines the sessions.
        settings: See RiskSettings; None for the defaults.
        benchmark_id: Benchmark whose return is the market's; None for the one with the most constituents on the day.
        reuse_within_hours: Store nothing where the newest model is of this date, equal, and younger than this.

    Raises:
        RiskModelError: Too little data, a benchmark without constituents by the day, or too many holes; the message
            says how much there is. Nothing is stored.
    """
    settings = settings or RiskSettings()
    calendar = TradingCalendar.for_region(region)
    start = as_of - timedelta(days=int((settings.window + 1) * _DAYS_FOR_A_SESSION))
    sessions = calendar.sessions_between(start, as_of)[-(settings.window + 1) :]
    with database.transaction() as connection:
        returns = return_panel(connection, sessions)
        attributes = name_attributes(connection, returns.tickers, as_of, benchmark_id=benchmark_id)
    if attributes is None and settings.estimator in NEED_ATTRIBUTES:
        raise RiskModelError(
            f"No benchmark has constituents in force on {as_of}, and estimator '{settings.estimator}' needs their "
            "weights. Load them with 'prometheus ingest'.",
            code="NO_BENCHMARK",
        )
    members = np.ones(len(returns.tickers), dtype=np.bool_) if attributes is None else attributes.weights > 0
    refuse_holes(
        returns,
        members,
        as_of=as_of,
        most_sessions=settings.max_hole_sessions,
        most_names=settings.max_hole_share,
    )

    model = estimate_factor_model(returns, as_of=as_of, settings=settings, attributes=attributes)
    linked = packed_blocks(model.specific_blocks) if model.specific_blocks else None

    with database.transaction() as connection:
        newest = latest_risk_model(connection, as_of)
        if newest is not None and newest.age_hours < reuse_within_hours and _is_same(newest, model, linked, as_of):
            return RiskRefresh(newest.risk_model_id, model, reused=True)
        model_id = add_risk_model(
            connection,
            as_of=as_of,
            estimator=_estimator(model),
            sessions=model.diagnostics.sessions,
            tickers=model.tickers,
            loadings=model.loadings,
            specific_variance=model.specific_variance,
            factor_covariance=model.factor_covariance,
            diagnostics=model.diagnostics,
            specific_correlation=linked,
        )
    return RiskRefresh(model_id, model)


def _is_same(stored: StoredRiskModel, model: FactorModel, linked: NDArray[np.float32] | None, as_of: date) -> bool:
    return (
        stored.as_of_date == as_of
        and stored.estimator == _estimator(model)
        and stored.tickers == model.tickers
        and stored.loadings_sha256 == blob_address(model.loadings)
        and stored.specific_variance_sha256 == blob_address(model.specific_variance)
        and stored.specific_correlation_sha256 == (None if linked is None else blob_address(linked))
        and np.array_equal(stored.factor_covariance, model.factor_covariance)
    )


def _estimator(model: FactorModel) -> str:
    return f"{model.estimator}/{model.version}"
