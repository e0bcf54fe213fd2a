"""A market's past as the evaluation reads it: returns, benchmark weights by month, sectors and groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.errors import RiskModelError
from prometheus.risk.panel import ReturnPanel

FloatArray = NDArray[np.float64]

#: Sessions that an estimator sees, of which an asset must have this many, and sessions over which it is judged.
WINDOW: Final = 504
SESSIONS_NEEDED: Final = 500
HORIZON: Final = 21


@dataclass(frozen=True, slots=True, eq=False)
class MarketHistory:
    """T sessions of N assets with the benchmark's weights at its dates.

    Attributes:
        panel: Daily total returns, (T, N).
        weights: Benchmark weights, (N,) each, by the date from which they hold; zero for assets outside.
        sectors: (N,) sector of each asset.
        groups: (N,) substantially identical group of each asset.
    """

    panel: ReturnPanel
    weights: Mapping[date, FloatArray]
    sectors: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Month:
    """Data known at the end of a month, and the returns after it.

    Attributes:
        as_of: Last session known.
        tickers: n tickers: benchmark members with nearly complete histories, ascending.
        returns: (504, n) daily total returns; NaN where unknown.
        weights: (n,) benchmark weights, renormalised to sum to one.
        sectors: (n,) sector of each asset.
        groups: (n,) group of each asset.
        future: (h, n) returns of the next 21 sessions, fewer at the end of the data; 0 where unknown.
    """

    as_of: date
    dates: tuple[date, ...]
    tickers: tuple[str, ...]
    returns: FloatArray
    weights: FloatArray
    sectors: tuple[str, ...]
    groups: tuple[str, ...]
    future: FloatArray


def months(history: MarketHistory, first: date, last: date) -> tuple[date, ...]:
    """Return the benchmark's dates from ``first`` through ``last`` with enough sessions before and one after.

    Raises:
        RiskModelError: There is none; code ``TOO_FEW_SESSIONS``.
    """
    dates = history.panel.dates
    in_range = tuple(
        day
        for day in sorted(history.weights)
        if first <= day <= last and _rows_until(dates, day) >= WINDOW and _rows_until(dates, day) < len(dates)
    )
    if not in_range:
        reach = f"{dates[0]} to {dates[-1]}" if dates else "none"
        raise RiskModelError(
            f"No benchmark date between {first} and {last} has {WINDOW} sessions before it and one after it "
            f"(sessions with returns: {reach}; benchmark dates: {len(history.weights)}). Load more history or ask for "
            "other dates.",
            code="TOO_FEW_SESSIONS",
        )
    return in_range


def month(history: MarketHistory, as_of: date) -> Month:
    """Return the slice of one benchmark date.

    Raises:
        RiskModelError: Fewer than two members have enough history; code ``TOO_FEW_NAMES``.
    """
    end = _rows_until(history.panel.dates, as_of)
    window = history.panel.returns[end - WINDOW : end]
    weights = history.weights[as_of]
    enough = (~np.isnan(window)).sum(axis=0) >= SESSIONS_NEEDED
    tickers = np.array(history.panel.tickers)
    members = np.flatnonzero((weights > 0) & enough)
    members = members[np.argsort(tickers[members], kind="stable")]
    if members.size < 2:
        raise RiskModelError(
            f"{members.size} benchmark members have {SESSIONS_NEEDED} of {WINDOW} sessions up to {as_of}.",
            code="TOO_FEW_NAMES",
        )
    return Month(
        as_of=as_of,
        dates=history.panel.dates[end - WINDOW : end],
        tickers=tuple(str(tickers[at]) for at in members),
        returns=np.ascontiguousarray(window[:, members]),
        weights=weights[members] / weights[members].sum(),
        sectors=tuple(history.sectors[at] for at in members),
        groups=tuple(history.groups[at] for at in members),
        future=np.nan_to_num(history.panel.returns[end : end + HORIZON, members]),
    )


def _rows_until(dates: tuple[date, ...], as_of: date) -> int:
    return int(np.searchsorted(np.array(dates, dtype="datetime64[D]"), np.datetime64(as_of), side="right"))
