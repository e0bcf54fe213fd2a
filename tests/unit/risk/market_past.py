"""A small market with a known covariance, as the evaluation reads it and as files."""

import gzip
from datetime import date, timedelta

import numpy as np

from prometheus.risk.evaluation.history import MarketHistory
from prometheus.risk.panel import ReturnPanel

FIRST = date(2018, 1, 1)
SESSIONS = 590
NAMES = 30
SECTORS = tuple("ABC"[at % 3] for at in range(NAMES))
TICKERS = tuple(f"N{at:02d}" for at in range(NAMES))
DAYS = tuple(FIRST + timedelta(days=at) for at in range(SESSIONS))
#: Benchmark dates: too early, two that can be judged, and the last day, after which nothing is known.
BENCHMARK_DATES = (DAYS[100], DAYS[510], DAYS[540], DAYS[-1])


def past_returns(seed=7):
    """Return (T, N) returns of a market, three sectors and specific parts, and the assets' true covariance a day."""
    rng = np.random.default_rng(seed)
    beta = rng.uniform(0.6, 1.4, NAMES)
    specific = rng.uniform(0.008, 0.02, NAMES)
    of_sector = rng.normal(0.0, 0.005, (SESSIONS, 3))[:, np.arange(NAMES) % 3]
    market = rng.normal(0.0, 0.01, (SESSIONS, 1)) * beta
    same = np.equal.outer(np.arange(NAMES) % 3, np.arange(NAMES) % 3)
    truth = np.outer(beta, beta) * 0.01**2 + same * 0.005**2 + np.diag(specific**2)
    return market + of_sector + rng.normal(0.0, 1.0, (SESSIONS, NAMES)) * specific, truth


def history():
    """Return the market's past with the same benchmark weights at every date."""
    returns, _ = past_returns()
    weights = np.linspace(2.0, 1.0, NAMES)
    weights /= weights.sum()
    panel = ReturnPanel(DAYS, TICKERS, returns)
    return MarketHistory(panel, dict.fromkeys(BENCHMARK_DATES, weights), SECTORS, TICKERS)


def write_files(directory):
    """Write the market as a directory of files; a split of N00 on one day is in the closes and in the actions."""
    closes = 50 * np.cumprod(1.0 + past_returns()[0], axis=0)
    closes[300:, 0] /= 2
    rows = [
        f"{day},{ticker},{close:.8f}"
        for day, of_day in zip(DAYS, closes, strict=True)
        for ticker, close in zip(TICKERS, of_day, strict=True)
    ]
    with gzip.open(directory / "prices.csv.gz", "wt") as file:
        file.write("\n".join(["date,ticker,close", *rows]))
    (directory / "corporate_actions.csv").write_text(f"date,ticker,type,value\n{DAYS[300]},N00,split,2\n")
    (directory / "securities.csv").write_text(
        "\n".join(["ticker,sector", *(f"{t},{s}" for t, s in zip(TICKERS, SECTORS, strict=True))])
    )
    weights = np.linspace(2.0, 1.0, NAMES)
    weights /= weights.sum()
    (directory / "benchmark.csv").write_text(
        "\n".join(
            ["date,ticker,weight"]
            + [f"{day},{t},{w:.15f}" for day in BENCHMARK_DATES for t, w in zip(TICKERS, weights, strict=True)]
        )
    )
