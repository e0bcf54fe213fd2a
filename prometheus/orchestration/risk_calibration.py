"""The fleet's own runs as a test of the risk model: predicted and realised tracking error."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from prometheus.db.database import Database
from prometheus.db.repositories import market_data
from prometheus.db.repositories.engine_events import fleet_alert_exists, raise_fleet_alert
from prometheus.db.repositories.runs import RiskForecast, risk_forecasts
from prometheus.foundation.errors import RiskModelError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.orchestration.risk_inputs import return_panel
from prometheus.risk.calibration import Calibration, Outcome, calibrate, calibrate_together
from prometheus.risk.panel import ReturnPanel

#: Sessions of the quarter that is judged, and those for which one forecast answers where no newer one takes over.
QUARTER: Final = 63
HORIZON: Final = 21
#: Sessions of all accounts together below which a bias says nothing.
LEAST_SESSIONS: Final = 60
ALERT: Final = "RISK_BIAS"
_DAYS_FOR_A_SESSION: Final = 1.6


@dataclass(frozen=True, slots=True)
class FleetCalibration:
    """Calibration of a quarter: the fleet's, None without forecasts; each account's; and the alert, None for none."""

    first: date
    last: date
    fleet: Calibration | None
    accounts: Mapping[str, Calibration]
    alert: str | None


def calibrate_fleet(
    database: Database, *, through: date | None, region: str, bias_range: tuple[float, float]
) -> FleetCalibration:
    """Compare the last quarter's forecasts with realised active returns, and raise an alert outside the range.

    A run's forecast answers for the sessions after its day until the account's next run, 21 at most, with the weights
    it decided on held constant. Assets without a return on a session count as unmoved.

    Args:
        database: The database.
        through: Last day of the quarter; None for the last day with prices.
        region: Region whose exchange defines the sessions.
        bias_range: Least and largest bias of the fleet that raises no alert.

    Raises:
        RiskModelError: There are no prices in the quarter.
    """
    with database.transaction() as connection:
        market_data.read_one_state(connection)
        if through is None:
            span = market_data.price_span(connection)
            if span is None:
                raise RiskModelError("There are no prices in the database. Load them with 'prometheus ingest' first.")
            through = span[1]
        days = int((QUARTER + HORIZON + 1) * _DAYS_FOR_A_SESSION)
        sessions = TradingCalendar.for_region(region).sessions_between(through - timedelta(days=days), through)
        panel = return_panel(connection, sessions[-(QUARTER + 1) :])
        forecasts = risk_forecasts(connection, first=sessions[-(QUARTER + 1)] - timedelta(days=days), last=through)
        weights = {
            key: market_data.benchmark_day(connection, *key)
            for key in {(forecast.benchmark_id, forecast.benchmark_date) for forecast in forecasts}
        }
    benchmarks = {
        key: dict(zip(blob.tickers, map(float, blob.weights), strict=True))
        for key, blob in weights.items()
        if blob is not None
    }
    outcomes = _outcomes(panel, forecasts, benchmarks)
    fleet = calibrate_together(outcomes)
    alert = _alert(fleet, panel.dates[-1], bias_range)
    if alert is not None:
        with database.transaction() as connection:
            if not fleet_alert_exists(connection, code=ALERT, message=alert):
                raise_fleet_alert(connection, code=ALERT, message=alert)
    return FleetCalibration(panel.dates[0], panel.dates[-1], fleet, calibrate(outcomes), alert)


def _outcomes(
    panel: ReturnPanel,
    forecasts: tuple[RiskForecast, ...],
    benchmarks: Mapping[tuple[str, date], Mapping[str, float]],
) -> list[Outcome]:
    """Return what followed each forecast; ``forecasts`` are sorted by account and day."""
    days = np.array(panel.dates, dtype="datetime64[D]")
    returns = np.nan_to_num(panel.returns)
    column = {ticker: at for at, ticker in enumerate(panel.tickers)}
    outcomes = []
    for forecast, following in zip(forecasts, (*forecasts[1:], None), strict=True):
        benchmark = benchmarks.get((forecast.benchmark_id, forecast.benchmark_date))
        if benchmark is None or not forecast.tracking_error > 0:
            continue
        start = int(np.searchsorted(days, np.datetime64(forecast.as_of), side="right"))
        end = len(days)
        if following is not None and following.account_id == forecast.account_id:
            end = int(np.searchsorted(days, np.datetime64(following.as_of), side="right"))
        active = np.zeros(len(panel.tickers))
        for sign, held in ((1.0, forecast.target_weights), (-1.0, benchmark)):
            for ticker, weight in held.items():
                if ticker in column:
                    active[column[ticker]] += sign * weight
        # a forecast from before the quarter has used up some of its sessions
        end = min(end, start + HORIZON) if start else min(end, _left_of_horizon(forecast.as_of, panel.dates[0]))
        outcomes.append(Outcome(forecast.account_id, forecast.tracking_error, returns[start:end] @ active))
    return outcomes


def _left_of_horizon(as_of: date, first: date) -> int:
    """Return the sessions from ``first`` for which a forecast from before them still answers."""
    before = int(np.busday_count(as_of + timedelta(days=1), first))
    return max(HORIZON - before, 0)


def _alert(fleet: Calibration | None, last: date, bias_range: tuple[float, float]) -> str | None:
    low, high = bias_range
    if fleet is None or fleet.sessions < LEAST_SESSIONS or low <= fleet.bias <= high:
        return None
    direction = "larger" if fleet.bias > high else "smaller"
    return (
        f"In the quarter to {last} active risk was {direction} than forecast: bias {fleet.bias:.2f} over "
        f"{fleet.sessions} account-sessions, the range is {low:.2f} to {high:.2f}."
    )
