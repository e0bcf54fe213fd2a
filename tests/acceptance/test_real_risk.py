from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from prometheus.risk.factor_model import covariance, estimate_factor_model
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.returns import action_panels
from prometheus.risk.settings import RiskSettings
from tests.real_market import read_actions

MARKET = Path(__file__).resolve().parents[3] / "shared" / "data" / "market"

pytestmark = [
    pytest.mark.market_data,
    pytest.mark.skipif(not MARKET.is_dir(), reason="real market data are not beside the checkout (../shared/data)"),
]


def _is_calm(day):
    """Return whether the month counts: the crash of 2020 cannot be predicted from before it."""
    return date(2014, 1, 1) <= day < date(2020, 12, 31) and not date(2020, 1, 1) <= day <= date(2020, 4, 30)


def _wide(prices, values):
    table = prices.pivot(on="ticker", index="date", values=values).sort("date")
    tickers = tuple(name for name in table.columns if name != "date")
    return tuple(table["date"].to_list()), tickers, table.select(tickers).to_numpy().astype(np.float64)


@pytest.fixture(scope="module")
def prices():
    """Return the price table."""
    return pl.read_csv(MARKET / "prices.csv.gz", try_parse_dates=True)


@pytest.fixture(scope="module")
def panel(prices):
    """Return the total returns of the whole market."""
    dates, tickers, closes = _wide(prices, "close")
    actions = read_actions(MARKET)
    return ReturnPanel.from_closes(dates, tickers, closes, *action_panels(actions, dates, tickers))


@pytest.mark.long
def test_returns_from_closes_and_actions_are_those_of_the_adjusted_series(prices, panel):
    """On a million real prices the rule gives the source's total returns up to the rounding of its six digits."""
    _, tickers, adjusted = _wide(prices, "adj_close")
    assert tickers == panel.tickers
    theirs = adjusted[1:] / adjusted[:-1] - 1.0
    both = ~np.isnan(theirs)
    assert both.sum() > 1_000_000
    assert np.abs(theirs - panel.returns)[both].max() < 2e-5


@pytest.mark.long
def test_risk_of_random_portfolios_is_predicted_in_calm_years(panel):
    """Over the next month, random cap-weighted subsets are as risky as predicted, to within 6 % on average."""
    benchmark = pl.read_csv(MARKET / "benchmark.csv", try_parse_dates=True)
    row_of = {day: row for row, day in enumerate(panel.dates)}
    rng = np.random.default_rng(11)
    standardised = []
    for month_end in [day for day in sorted(set(benchmark["date"])) if _is_calm(day)]:
        row = row_of[month_end]
        weight_of = dict(benchmark.filter(pl.col("date") == month_end).select("ticker", "weight").iter_rows())
        members = [
            at
            for at, ticker in enumerate(panel.tickers)
            if ticker in weight_of and np.isfinite(panel.returns[row - 503 : row + 1, at]).sum() >= 500
        ]
        tickers = tuple(panel.tickers[at] for at in members)
        shown = ReturnPanel(panel.dates, tickers, panel.returns[:, members])
        model = estimate_factor_model(shown, as_of=month_end, settings=RiskSettings(estimator="ewma_pca"))
        daily = covariance(model) / 252.0
        weights = np.array([weight_of[ticker] for ticker in tickers])
        weights /= weights.sum()
        future = np.nan_to_num(panel.returns[row + 1 : row + 22, members])
        active = np.tile(-weights, (60, 1))
        for portfolio in active:
            chosen = rng.choice(len(tickers), 100, replace=False)
            portfolio[chosen] += weights[chosen] / weights[chosen].sum()
        predicted = np.sqrt(((active @ daily) * active).sum(axis=1))
        standardised.append(future @ active.T / predicted)
    bias = float(np.sqrt(np.mean(np.square(np.concatenate(standardised)))))
    assert 0.94 < bias < 1.06


@pytest.mark.long
@pytest.mark.parametrize("as_of", [date(2014, 1, 31), date(2018, 6, 1), date(2020, 4, 30)])
def test_a_model_of_the_whole_market_is_positive_definite(panel, as_of):
    """With unlisted names, new ones and a crash in the window, Sigma and its rounding stay positive definite."""
    model = estimate_factor_model(panel, as_of=as_of)
    sigma = covariance(model)
    assert np.linalg.eigvalsh(sigma)[0] > 0
    assert np.linalg.eigvalsh(sigma.astype(np.float32).astype(np.float64))[0] > 0
    unlisted = {ticker for at, ticker in enumerate(model.tickers) if not model.diagnostics.sessions_used[at]}
    assert unlisted == {ticker for ticker, reason in model.diagnostics.fallback if reason == "NO_RETURNS"}
