"""Read a market's files into the evaluation's input, without a database.

The directory holds prices.csv.gz (date, ticker, close), corporate_actions.csv.gz (date, ticker, type, value),
securities.csv (ticker, sector) and benchmark.csv (date, ticker, weight), as ``prometheus ingest`` takes them.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import RequestError
from prometheus.risk.evaluation.history import MarketHistory
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.returns import action_panels

#: Files by name without the ending, with the columns they must have and their types.
_FILES: Final[dict[str, dict[str, type[pl.DataType]]]] = {
    "prices": {"date": pl.Date, "ticker": pl.String, "close": pl.Float64},
    "corporate_actions": {"date": pl.Date, "ticker": pl.String, "type": pl.String, "value": pl.String},
    "securities": {"ticker": pl.String, "sector": pl.String},
    "benchmark": {"date": pl.Date, "ticker": pl.String, "weight": pl.Float64},
}
_ENDINGS: Final = (".csv.gz", ".csv")


def read_market_directory(directory: Path) -> MarketHistory:
    """Return the returns, benchmark weights and sectors of a directory of market files.

    Raises:
        RequestError: A file is missing or cannot be read as described; the message names it.
        RiskModelError: The prices contradict each other.
    """
    prices, actions, securities, benchmark = (_read(directory, name) for name in _FILES)
    if prices.select("date", "ticker").is_duplicated().any():
        raise RequestError(f"{directory}: prices has two closes of one ticker on one day; correct the file.")
    wide = prices.pivot(on="ticker", index="date", values="close").sort("date")
    tickers = tuple(sorted(name for name in wide.columns if name != "date"))
    dates: tuple[date, ...] = tuple(wide["date"].to_list())
    closes = wide.select(tickers).to_numpy().astype(np.float64)
    panel = ReturnPanel.from_closes(
        dates, tickers, closes, *action_panels(_actions(actions, directory), dates, tickers)
    )
    position = {ticker: at for at, ticker in enumerate(tickers)}
    weights = {}
    for (day,), rows in benchmark.group_by("date"):
        of_day = np.zeros(len(tickers))
        for ticker, weight in rows.select("ticker", "weight").iter_rows():
            if ticker in position:
                of_day[position[ticker]] = weight
        weights[day] = of_day
    sectors = dict(securities.select("ticker", "sector").iter_rows())
    return MarketHistory(panel, weights, tuple(sectors.get(ticker) or "" for ticker in tickers), tuple(tickers))


def _actions(table: pl.DataFrame, directory: Path) -> Sequence[CorporateAction]:
    actions = []
    for day, ticker, kind, value in table.select("date", "ticker", "type", "value").iter_rows():
        try:
            actions.append(CorporateAction(ticker, day, ActionType(kind), Decimal(value)))
        except (ValueError, ArithmeticError) as error:
            raise RequestError(
                f"{directory}: corporate_actions has {ticker} {day} {kind} {value}, which is no known action."
            ) from error
    return actions


def _read(directory: Path, name: str) -> pl.DataFrame:
    for ending in _ENDINGS:
        path = directory / f"{name}{ending}"
        if path.is_file():
            break
    else:
        raise RequestError(f"{directory} has no {name}{_ENDINGS[0]} and no {name}{_ENDINGS[1]}.")
    columns = _FILES[name]
    try:
        table = pl.read_csv(path, columns=list(columns), schema_overrides=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"{path} cannot be read with columns {', '.join(columns)}: {reason}") from error
    return table
