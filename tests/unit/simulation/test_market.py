import numpy as np
import pytest

from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.risk.factor_model import covariance, estimate_factor_model
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.returns import action_panels
from prometheus.simulation.market import simulate_market
from prometheus.simulation.return_process import simulate_growth
from prometheus.simulation.universe import demo_universe


@pytest.fixture(scope="module")
def market():
    """Return the market of another seed than the demo's."""
    return simulate_market(21)


@pytest.fixture(scope="module")
def panel(market):
    """Return its total returns."""
    factor, money = action_panels(market.actions, market.sessions, market.tickers)
    return ReturnPanel.from_closes(market.sessions, market.tickers, market.closes, factor, money)


def test_the_universe_has_distinct_names_in_order():
    """There are 200 securities with distinct tickers and names, alphabetical, in all eleven sectors."""
    universe = demo_universe()
    tickers = [security.ticker for security in universe]
    assert tickers == sorted(set(tickers))
    assert len({security.name for security in universe}) == len(tickers) == 200
    assert len({security.sector for security in universe}) == 11


def test_growth_is_positive_and_starts_at_one():
    """Growth never reaches zero, and the first session has none."""
    growth = simulate_growth(demo_universe(), 50, np.random.default_rng(1))
    assert growth.shape == (50, 200)
    assert (growth > 0).all()
    assert (growth[0] == 1).all()


def test_names_of_one_industry_move_together_more_than_others(market, panel):
    """Correlations rise from different sectors over one sector to one sub-industry."""
    returns = panel.returns[:, np.isfinite(panel.returns).all(axis=0)]
    kept = [s for s, seen in zip(market.securities, np.isfinite(panel.returns).all(axis=0), strict=True) if seen]
    correlation = np.corrcoef(returns.T)
    sector = np.array([security.sector for security in kept])
    industry = np.array([security.sub_industry for security in kept])
    group = np.array([security.group for security in kept])
    distinct = group[:, None] != group
    same_industry = correlation[(industry[:, None] == industry) & distinct].mean()
    same_sector = correlation[(sector[:, None] == sector) & (industry[:, None] != industry)].mean()
    other = correlation[sector[:, None] != sector].mean()
    assert same_industry > same_sector + 0.02 > other + 0.04
    assert other > 0.1


def test_volatility_has_regimes(panel):
    """Some quarters are at least half as lively again as others."""
    market = np.nanmean(panel.returns, axis=1)
    quarters = [market[at : at + 63].std() for at in range(0, len(market) - 63, 63)]
    assert max(quarters) > 1.5 * min(quarters)


def test_gaps_and_listings_leave_no_price(market):
    """Names listed later have no price before, and gaps are single sessions, not the end of a history."""
    seen = ~np.isnan(market.closes)
    assert seen[-1].all()
    late = np.flatnonzero(~seen[0])
    assert len(late) == 3
    calendar = TradingCalendar.for_region("US")
    assert all(calendar.is_trading_day(market.sessions[int(np.argmax(seen[:, at]))]) for at in late)
    assert (market.volumes > 0).all()


def test_the_demo_market_gives_a_risk_model(market, panel):
    """A model can be made for each demo session; only the name listed in July 2025 gets fallback values."""
    for session in market.sessions[-3:]:
        model = estimate_factor_model(panel, as_of=session)
        newest = market.securities[market.by_rank[190]].ticker
        assert model.diagnostics.fallback == ((newest, "SHORT_HISTORY"),)
        assert np.linalg.eigvalsh(covariance(model))[0] > 0
        assert 0.3 < model.diagnostics.variance_explained < 0.9
