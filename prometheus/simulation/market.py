"""A synthetic equity market: raw closes, corporate actions, volumes and a cap-weighted benchmark. Seeded, no database.

Prices follow from total growth: on an ex-date the raw close is what is left after the split, the price factor or the
payment, so that total returns computed from closes and actions give the growth back (up to rounding to cents).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.domain.securities import ActionType, CorporateAction, Security
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.risk.returns import action_panels, total_returns
from prometheus.simulation.corporate_events import (
    DEMO_SESSIONS,
    GAPPY_RANKS,
    PAYER_RANK,
    SPLITS,
    UNPRICED_RANK,
    EventPlan,
    plan_events,
)
from prometheus.simulation.return_process import simulate_growth
from prometheus.simulation.universe import demo_universe

FloatArray = NDArray[np.float64]

FIRST_SESSION: Final = date(2022, 6, 1)
BENCHMARK_ID: Final = "DEMO200"
#: Market value of the largest asset in millions of USD, and how fast value falls with rank.
_LARGEST_CAP: Final = 2.4e6
_CAP_EXPONENT: Final = 0.65
_SECOND_CLASS_SHARE: Final = 0.6
#: Annual log drift of an asset that will need a reverse split.
_DECLINE: Final = -0.75
#: Largest growth on the ex-date of a split.
_QUIET: Final = 1.04
_WEIGHT_STEPS: Final = 10**8


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkDay:
    """Weights effective from ``date``.

    Attributes:
        date: Session at whose close the market values were taken.
        columns: Columns of the members in the market's arrays.
        weight_steps: Weights of the members in units of 1e-8; they add to exactly 10^8.
        market_caps: Market values of the members, millions of USD.
    """

    date: date
    columns: tuple[int, ...]
    weight_steps: tuple[int, ...]
    market_caps: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """T sessions of N assets.

    Attributes:
        sessions: T sessions of XNYS.
        securities: N securities in alphabetical order.
        closes: (T, N) raw closes in USD, rounded to cents; NaN before the listing and where no price was published.
        adj_closes: (T, N) total-return series that ends at the last close; NaN as ``closes``.
        volumes: (T, N) shares traded.
        actions: In order of date and ticker.
        benchmark: In order of date.
        by_rank: Columns in descending order of market value at the start, share classes left out.
    """

    sessions: tuple[date, ...]
    securities: tuple[Security, ...]
    closes: FloatArray
    adj_closes: FloatArray
    volumes: NDArray[np.int64]
    actions: tuple[CorporateAction, ...]
    benchmark: tuple[BenchmarkDay, ...]
    by_rank: tuple[int, ...]

    @property
    def tickers(self) -> tuple[str, ...]:
        """Return the N tickers."""
        return tuple(security.ticker for security in self.securities)

    @property
    def split_ticker(self) -> str:
        """Return the ticker that splits on the second demo session."""
        return self.securities[self.by_rank[SPLITS[0][0]]].ticker

    @property
    def dividend_ticker(self) -> str:
        """Return the ticker that goes ex dividend on the third demo session."""
        return self.securities[self.by_rank[PAYER_RANK]].ticker

    @property
    def unpriced_ticker(self) -> str:
        """Return the ticker without a price on the second demo session."""
        return self.securities[self.by_rank[UNPRICED_RANK]].ticker


def simulate_market(seed: int) -> Market:
    """Return the market of a seed: 200 assets from 2022-06-01 through the last demo session."""
    streams = np.random.default_rng(seed).spawn(4)
    sessions = TradingCalendar.for_region("US").sessions_between(FIRST_SESSION, DEMO_SESSIONS[-1])
    securities = demo_universe()
    assets = len(securities)

    rank_of = streams[0].permutation(assets)
    start_cap = np.asarray(_LARGEST_CAP * (rank_of + 1.0) ** -_CAP_EXPONENT, dtype=np.float64)
    leaders = {security.group: at for at, security in reversed(list(enumerate(securities)))}
    shared = np.array([_is_class(security, securities) for security in securities])
    for at, security in enumerate(securities):
        if leaders[security.group] != at:
            start_cap[at] = _SECOND_CLASS_SHARE * start_cap[leaders[security.group]]
    by_rank = tuple(int(at) for at in np.argsort(rank_of) if not shared[at])

    plan = plan_events(sessions, [security.sector for security in securities], by_rank, streams[1])
    growth = simulate_growth(securities, len(sessions), streams[2])
    prices = _first_prices(assets, by_rank, streams[3])
    for rank, _, factor in SPLITS:
        if factor < 1.0:
            growth[1:, by_rank[rank]] *= np.exp(_DECLINE / 252.0)
    # a second class pays what the first pays
    for at, security in enumerate(securities):
        plan.payout[:, at] = plan.payout[:, leaders[security.group]]
        if leaders[security.group] != at:
            prices[at] = 0.98 * prices[leaders[security.group]]

    # a large move on the day of a split looks like a wrong factor: the demo should not raise that finding
    unusual = (plan.split_factor != 1.0) | (plan.price_factor != 1.0)
    growth[unusual] = np.clip(growth[unusual], 1.0 / _QUIET, _QUIET)

    exact, paid = _price_path(prices, growth, plan)
    closes = _published(exact, sessions, plan, by_rank, streams[3])
    actions = _actions(sessions, securities, plan, paid)
    caps = _market_caps(start_cap, exact, plan)
    turnover = np.exp(streams[3].normal(np.log(0.004), 0.35, closes.shape))
    return Market(
        sessions=sessions,
        securities=securities,
        closes=closes,
        adj_closes=_adjusted(closes, actions, sessions, [security.ticker for security in securities]),
        volumes=np.maximum(turnover * caps * 1e6 / exact, 100.0).astype(np.int64),
        actions=actions,
        benchmark=_benchmark(sessions, caps, plan.listed_from),
        by_rank=by_rank,
    )


def _is_class(security: Security, securities: Sequence[Security]) -> bool:
    return sum(other.group == security.group for other in securities) > 1


def _first_prices(assets: int, by_rank: Sequence[int], rng: np.random.Generator) -> FloatArray:
    prices: FloatArray = np.clip(np.exp(rng.normal(np.log(85.0), 0.6, assets)), 14.0, 600.0)
    prices[by_rank[PAYER_RANK]] = 95.0  # a price at which the demo's dividend is a visible amount
    for rank, _, factor in SPLITS:
        # a company splits shares that have become dear, and merges shares that have become cheap
        prices[by_rank[rank]] = 70.0 * max(factor, 2.0) if factor > 1.0 else 16.0
    return prices


def _price_path(first: FloatArray, growth: FloatArray, plan: EventPlan) -> tuple[FloatArray, FloatArray]:
    """Return (T, N) raw prices before rounding, and (T, N) money paid a share, in whole cents."""
    exact = np.empty_like(growth)
    paid = np.zeros_like(growth)
    exact[0] = first
    for t in range(1, len(growth)):
        after_split = exact[t - 1] / (plan.split_factor[t] * plan.price_factor[t])
        due = plan.payout[t] > 0
        paid[t, due] = np.maximum(np.round(plan.payout[t, due] * after_split[due], 2), 0.01)
        exact[t] = after_split * growth[t] - paid[t]
    return exact, paid


def _published(
    exact: FloatArray, sessions: Sequence[date], plan: EventPlan, by_rank: Sequence[int], rng: np.random.Generator
) -> FloatArray:
    """Round to cents and blank what was not published: sessions before a listing, single gaps, the demo's one."""
    closes = np.round(exact, 2)
    for column, row in enumerate(plan.listed_from):
        closes[:row, column] = np.nan
    last_free_row = len(sessions) - 30
    for rank in GAPPY_RANKS:
        rows = rng.choice(np.arange(1, last_free_row), size=int(rng.integers(2, 13)), replace=False)
        closes[rows, by_rank[rank]] = np.nan
    closes[sessions.index(DEMO_SESSIONS[1]), by_rank[UNPRICED_RANK]] = np.nan
    return closes


def _actions(
    sessions: Sequence[date], securities: Sequence[Security], plan: EventPlan, paid: FloatArray
) -> tuple[CorporateAction, ...]:
    actions: list[CorporateAction] = []
    for row, column in np.argwhere((paid > 0) | (plan.split_factor != 1.0) | (plan.price_factor != 1.0)):
        ticker, ex_date = securities[column].ticker, sessions[row]
        for factor, action_type in (
            (plan.split_factor[row, column], ActionType.SPLIT),
            (plan.price_factor[row, column], ActionType.SPINOFF_PRICE_FACTOR),
        ):
            if factor != 1.0:
                actions.append(CorporateAction(ticker, ex_date, action_type, Decimal(f"{factor:g}")))
        if paid[row, column] > 0:
            action_type = plan.payout_type.get((int(row), int(column)), ActionType.DIVIDEND)
            actions.append(CorporateAction(ticker, ex_date, action_type, Decimal(f"{paid[row, column]:.10g}")))
    return tuple(actions)


def _adjusted(
    closes: FloatArray, actions: Sequence[CorporateAction], sessions: Sequence[date], tickers: Sequence[str]
) -> FloatArray:
    returns = total_returns(closes, *action_panels(actions, sessions, tickers))
    grown = np.vstack([np.ones(closes.shape[1]), np.cumprod(1.0 + np.nan_to_num(returns), axis=0)])
    adjusted: FloatArray = np.where(np.isnan(closes), np.nan, closes[-1] * grown / grown[-1])
    return adjusted


def _market_caps(start_cap: FloatArray, exact: FloatArray, plan: EventPlan) -> FloatArray:
    """Return (T, N) market values in millions of USD: shares outstanding change by splits alone."""
    shares = start_cap / exact[0] * np.cumprod(plan.split_factor, axis=0)
    caps: FloatArray = shares * exact
    return caps


def _benchmark(sessions: Sequence[date], caps: FloatArray, listed_from: NDArray[np.int64]) -> tuple[BenchmarkDay, ...]:
    """Return the weights of the first session and of each complete month's last one."""
    rows = [0] + [row for row in range(1, len(sessions) - 1) if (sessions[row].month != sessions[row + 1].month)]
    days: list[BenchmarkDay] = []
    for row in rows:
        members = np.flatnonzero(listed_from <= row)
        values = np.round(caps[row, members], 1)
        days.append(
            BenchmarkDay(
                date=sessions[row],
                columns=tuple(int(at) for at in members),
                weight_steps=_apportioned(values),
                market_caps=tuple(float(value) for value in values),
            )
        )
    return tuple(days)


def _apportioned(values: FloatArray) -> tuple[int, ...]:
    """Split 10^8 steps in proportion to ``values`` by largest remainders, so that rounded weights add to one."""
    exact = values / values.sum() * _WEIGHT_STEPS
    steps = np.floor(exact).astype(np.int64)
    missing = _WEIGHT_STEPS - int(steps.sum())
    steps[np.argsort(steps - exact, kind="stable")[:missing]] += 1
    return tuple(int(step) for step in steps)
