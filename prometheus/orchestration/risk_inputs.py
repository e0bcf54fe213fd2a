"""Inputs of the risk package from the database: return panels, benchmark weights, sectors and groups."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from prometheus.db.database import Connection
from prometheus.db.repositories import market_data
from prometheus.domain.securities import Security
from prometheus.foundation.errors import RiskModelError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.risk.estimation import AssetAttributes
from prometheus.risk.evaluation.history import MarketHistory
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.returns import action_panels, spin_offs_at_value


def return_panel(connection: Connection, sessions: Sequence[date]) -> ReturnPanel:
    """Return the total returns of every security with a close in the sessions.

    Args:
        connection: A transaction.
        sessions: Ascending; the first one gives no return.

    Raises:
        RiskModelError: There are no prices in these sessions.
    """
    panel = market_data.close_panel(connection, sessions)
    if not panel.tickers:
        raise RiskModelError(
            f"There are no prices between {sessions[0]} and {sessions[-1]}. Load them with 'prometheus ingest' first."
        )
    actions = market_data.corporate_actions(connection, after=sessions[0], through=sessions[-1])
    valued = spin_offs_at_value(actions, panel.sessions, panel.tickers, panel.closes)
    splits, paid = action_panels(valued, panel.sessions, panel.tickers)
    return ReturnPanel.from_closes(panel.sessions, panel.tickers, panel.closes, splits, paid)


def name_attributes(
    connection: Connection, tickers: Sequence[str], as_of: date, *, benchmark_id: str | None
) -> AssetAttributes | None:
    """Return weights, sectors and groups of the securities, or None without a benchmark in force or asked for.

    Args:
        connection: A transaction.
        tickers: N tickers.
        as_of: Day of the benchmark weights.
        benchmark_id: The benchmark; None for the one with the most constituents.

    Raises:
        RiskModelError: The named benchmark has no constituents by the day; code ``NO_BENCHMARK``.
    """
    chosen = benchmark_id or market_data.fullest_benchmark(connection, as_of)
    if chosen is None:
        return None
    benchmark = market_data.benchmark_day(connection, chosen, as_of)
    if benchmark is None:
        raise RiskModelError(
            f"Benchmark {chosen} has no constituents in force on {as_of}. Load them with 'prometheus ingest', or name "
            "another benchmark.",
            code="NO_BENCHMARK",
        )
    securities = market_data.securities(connection)
    sectors, groups = _classified(tickers, securities)
    return AssetAttributes(
        _weights(tickers, dict(zip(benchmark.tickers, benchmark.weights, strict=True))), sectors, groups
    )


def market_history(
    connection: Connection, first: date, last: date, *, region: str, benchmark_id: str | None
) -> MarketHistory:
    """Return returns and benchmark weights of the whole database for an evaluation of the dates asked for.

    Args:
        connection: A transaction.
        first: First date of a benchmark to keep.
        last: Last date of a benchmark to keep.
        region: Region whose exchange defines the sessions.
        benchmark_id: The benchmark; None for the one with the most constituents.

    Raises:
        RiskModelError: There are no prices, or no benchmark with weights between the dates (``NO_BENCHMARK``).
    """
    span = market_data.price_span(connection)
    if span is None:
        raise RiskModelError("There are no prices in the database. Load them with 'prometheus ingest' first.")
    chosen = benchmark_id or market_data.fullest_benchmark(connection, last)
    history = {} if chosen is None else market_data.benchmark_history(connection, chosen, first, last)
    if not history:
        raise RiskModelError(
            f"{f'Benchmark {chosen}' if chosen else 'No benchmark'} has no weights between {first} and {last}. Load "
            "them with 'prometheus ingest'.",
            code="NO_BENCHMARK",
        )
    panel = return_panel(connection, TradingCalendar.for_region(region).sessions_between(*span))
    sectors, groups = _classified(panel.tickers, market_data.securities(connection))
    weights = {day: _weights(panel.tickers, of_day) for day, of_day in history.items()}
    return MarketHistory(panel, weights, sectors, groups)


def _weights(tickers: Sequence[str], weight_of: Mapping[str, Decimal]) -> NDArray[np.float64]:
    return np.array([float(weight_of.get(ticker, 0)) for ticker in tickers])


def _classified(tickers: Sequence[str], securities: Mapping[str, Security]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return sector and group of each security."""
    return (
        tuple(securities[ticker].sector for ticker in tickers),
        tuple(securities[ticker].group for ticker in tickers),
    )
