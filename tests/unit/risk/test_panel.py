from datetime import date, timedelta

import numpy as np
import pytest

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.panel import ReturnPanel

DATES = tuple(date(2025, 1, 1) + timedelta(days=at) for at in range(4))


def test_a_panel_keeps_its_own_read_only_copy():
    """Changing the array a panel was made from, or the panel's own, is impossible or without effect."""
    source = np.zeros((4, 2))
    panel = ReturnPanel(DATES, ("A", "B"), source)
    source[0, 0] = 1.0
    assert panel.returns[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        panel.returns[0, 0] = 1.0


@pytest.mark.parametrize(
    ("dates", "tickers", "returns", "message"),
    [
        (DATES[:3], ("A", "B"), np.zeros((4, 2)), "there are 3 dates, 2 tickers"),
        (DATES, ("A",), np.zeros((4, 2)), "there are 4 dates, 1 tickers"),
        (DATES[::-1], ("A", "B"), np.zeros((4, 2)), "not strictly ascending"),
        ((DATES[0], DATES[0], *DATES[1:3]), ("A", "B"), np.zeros((4, 2)), "not strictly ascending"),
        (DATES, ("A", "A"), np.zeros((4, 2)), "ticker A is in the panel more than once"),
        (DATES, ("A", "B"), np.full((4, 2), np.inf), "return of A on 2025-01-01 is inf"),
        (DATES, ("A", "B"), np.full((4, 2), -1.01), "return of A on 2025-01-01 is -1.01"),
    ],
)
def test_contradictory_panels_are_refused(dates, tickers, returns, message):
    """Shapes, order, repeated assets and impossible returns are refused by name."""
    with pytest.raises(RiskModelError, match=message) as refused:
        ReturnPanel(dates, tickers, returns)
    assert refused.value.code == "RISK_INPUT"


def test_unknown_returns_and_total_losses_are_allowed():
    """NaN means unknown, and a return of exactly -1 is a total loss."""
    panel = ReturnPanel(DATES[:1], ("A", "B"), np.array([[np.nan, -1.0]]))
    assert np.isnan(panel.returns[0, 0])
    assert panel.returns[0, 1] == -1.0


def test_until_takes_the_trailing_rows():
    """A window ends on the as-of date and holds at most the sessions asked for."""
    panel = ReturnPanel(DATES, ("A",), np.arange(4.0)[:, None])
    assert panel.until(DATES[2], 2).dates == DATES[1:3]
    assert panel.until(DATES[2], 2).returns[:, 0].tolist() == [1.0, 2.0]
    assert panel.until(DATES[3] + timedelta(days=9), 99).dates == DATES
    assert panel.until(DATES[0] - timedelta(days=1), 5).dates == ()


def test_a_panel_from_closes_starts_at_the_second_session():
    """Returns belong to the session in which they end."""
    closes = np.array([[100.0], [50.0], [55.0], [np.nan]])
    splits = np.array([[1.0], [2.0], [1.0], [1.0]])
    panel = ReturnPanel.from_closes(DATES, ("A",), closes, splits, np.zeros((4, 1)))
    assert panel.dates == DATES[1:]
    np.testing.assert_allclose(panel.returns[:, 0], [0.0, 0.1, np.nan])
