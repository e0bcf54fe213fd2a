"""The nightly risk model: trailing prices from the database, estimated and stored with its build time."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from prometheus.db.database import Database
from prometheus.db.repositories.market_data import close_panel, corporate_actions
from prometheus.db.repositories.risk_models import add_risk_model
from prometheus.foundation.errors import RiskModelError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.risk.factor_model import estimate_factor_model
from prometheus.risk.model import FactorModel
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.returns import action_panels
from prometheus.risk.settings import RiskSettings

#: A year has about 252 sessions in 365 days; look back far enough for any window, holidays included.
_DAYS_FOR_A_SESSION: Final = 1.6


@dataclass(frozen=True, slots=True)
class RiskRefresh:
    """A stored model: its id, the model itself, and the sessions that had prices."""

    risk_model_id: int
    model: FactorModel


def refresh_risk_model(
    database: Database, *, as_of: date, region: str = "US", settings: RiskSettings | None = None
) -> RiskRefresh:
    """Estimate the model from the sessions through ``as_of`` and store it; an earlier model stays as it is.

    Args:
        database: The database.
        as_of: Date of the model; on a weekend or holiday the session before it is the last one used.
        region: Whose exchange calendar says what a session is.
        settings: See RiskSettings; None for the defaults.

    Raises:
        RiskModelError: Too little data; the message says how much there is. Nothing is stored.
    """
    settings = settings or RiskSettings()
    calendar = TradingCalendar.for_region(region)
    start = as_of - timedelta(days=int((settings.window + 1) * _DAYS_FOR_A_SESSION))
    sessions = calendar.sessions_between(start, as_of)[-(settings.window + 1) :]
    with database.transaction() as connection:
        panel = close_panel(connection, sessions)
        actions = corporate_actions(connection, after=sessions[0], through=sessions[-1])
    if not panel.tickers:
        raise RiskModelError(
            f"There are no prices between {sessions[0]} and {sessions[-1]}. Load them with 'prometheus ingest' first."
        )
    splits, paid = action_panels(actions, panel.sessions, panel.tickers)
    returns = ReturnPanel.from_closes(panel.sessions, panel.tickers, panel.closes, splits, paid)

    model = estimate_factor_model(returns, as_of=as_of, settings=settings)

    with database.transaction() as connection:
        model_id = add_risk_model(
            connection,
            as_of=as_of,
            estimator=f"{model.estimator}/{model.version}",
            sessions=model.diagnostics.sessions,
            tickers=model.tickers,
            loadings=model.loadings,
            specific_variance=model.specific_variance,
            factor_covariance=model.factor_covariance,
            diagnostics=model.diagnostics.as_dict(),
        )
    return RiskRefresh(model_id, model)
