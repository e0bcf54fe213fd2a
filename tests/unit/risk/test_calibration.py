"""Forecast beside realised: the numbers of one account and of all."""

import numpy as np
import pytest

from prometheus.risk.calibration import Outcome, calibrate, calibrate_together


def _outcome(account, tracking_error, returns):
    return Outcome(account, tracking_error, np.array(returns))


def test_returns_of_forecast_size_have_bias_one():
    """Daily returns of exactly the forecast daily volatility realise the forecast, whatever their sign."""
    daily = 0.02 / np.sqrt(252)
    calibration = calibrate([_outcome("A", 0.02, [daily, -daily, daily])])["A"]
    assert (calibration.forecasts, calibration.sessions) == (1, 3)
    assert (calibration.forecast, calibration.realised, calibration.bias) == pytest.approx((0.02, 0.02, 1.0))


def test_every_session_counts_alike():
    """The bias is over sessions, not over forecasts, and the forecast is averaged as the realised is."""
    small, large = 0.01 / np.sqrt(252), 0.03 / np.sqrt(252)
    outcomes = [_outcome("B", 0.01, [2 * small]), _outcome("A", 0.03, [large] * 3), _outcome("B", 0.01, [])]
    apart, together = calibrate(outcomes), calibrate_together(outcomes)
    assert list(apart) == ["A", "B"]
    assert apart["B"].bias == pytest.approx(2.0)
    assert (together.forecasts, together.sessions) == (2, 4)
    assert together.bias == pytest.approx(np.sqrt((4 + 3) / 4))
    assert together.forecast == pytest.approx(np.sqrt((3 * 0.03**2 + 0.01**2) / 4))
    assert together.realised == pytest.approx(np.sqrt((3 * 0.03**2 + 0.02**2) / 4))


def test_without_a_session_there_is_nothing_to_say():
    """Forecasts of today have no calibration yet."""
    assert calibrate([_outcome("A", 0.02, [])]) == {}
    assert calibrate_together([_outcome("A", 0.02, [])]) is None
