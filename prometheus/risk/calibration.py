"""Forecast and realised risk of the portfolios that accounts held: how far the model was off, account by account."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prometheus.risk.settings import SESSIONS_PER_YEAR

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Realised returns after one forecast.

    Attributes:
        account_id: Account of the portfolio.
        tracking_error: Forecast, annualised fraction, above 0.
        active_returns: (h,) daily active returns of the sessions that the forecast answers for, fractions.
    """

    account_id: str
    tracking_error: float
    active_returns: FloatArray


@dataclass(frozen=True, slots=True)
class Calibration:
    """Forecasts of one account, or of all, beside what followed.

    Attributes:
        forecasts: How many forecasts.
        sessions: Sessions that they answer for, in all.
        forecast: Root mean square of the forecast tracking error over the sessions, annualised.
        realised: Root mean square of daily active returns, annualised.
        bias: Root mean square of active return over forecast daily volatility; above one the risk was larger than said.
    """

    forecasts: int
    sessions: int
    forecast: float
    realised: float
    bias: float


def calibrate(outcomes: Iterable[Outcome]) -> dict[str, Calibration]:
    """Return the calibration of each account in ascending order; forecasts without a session since are left out."""
    grouped: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.active_returns.size:
            grouped.setdefault(outcome.account_id, []).append(outcome)
    return {account_id: _over(grouped[account_id]) for account_id in sorted(grouped)}


def calibrate_together(outcomes: Iterable[Outcome]) -> Calibration | None:
    """Return the calibration of all forecasts together, every session of every account alike; None without any."""
    judged = [outcome for outcome in outcomes if outcome.active_returns.size]
    return _over(judged) if judged else None


def _over(outcomes: Sequence[Outcome]) -> Calibration:
    sessions = sum(outcome.active_returns.size for outcome in outcomes)
    squares = [float((outcome.active_returns**2).sum()) for outcome in outcomes]
    said = [outcome.tracking_error**2 / SESSIONS_PER_YEAR for outcome in outcomes]
    return Calibration(
        forecasts=len(outcomes),
        sessions=sessions,
        forecast=math.sqrt(sum(o.tracking_error**2 * o.active_returns.size for o in outcomes) / sessions),
        realised=math.sqrt(SESSIONS_PER_YEAR * sum(squares) / sessions),
        bias=math.sqrt(sum(square / variance for square, variance in zip(squares, said, strict=True)) / sessions),
    )
