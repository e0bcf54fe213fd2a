"""The real market's files as tests want them; a million rows are read in a second or two."""

import csv
import gzip
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl

from prometheus.domain.securities import ActionType, CorporateAction


def read_closes(market: Path, first: date, last: date) -> dict[str, dict[date, tuple[Decimal, Decimal]]]:
    """Return raw and adjusted close of every session from the first day to the last, by ticker, in order of dates."""
    table = pl.read_csv(market / "prices.csv.gz", columns=["date", "ticker", "close", "adj_close"], infer_schema=False)
    in_period = pl.col("date").is_between(pl.lit(first.isoformat()), pl.lit(last.isoformat()))
    table = table.filter(in_period & pl.col("close").is_not_null())
    closes: dict[str, dict[date, tuple[Decimal, Decimal]]] = {}
    days = {text: date.fromisoformat(text) for text in table["date"].unique()}
    for day, ticker, close, adjusted in table.iter_rows():
        closes.setdefault(ticker, {})[days[day]] = (Decimal(close), Decimal(adjusted))
    return closes


def read_actions(market: Path) -> list[CorporateAction]:
    """Return every corporate action, in the order of the file."""
    with gzip.open(market / "corporate_actions.csv.gz", "rt") as file:
        return [
            CorporateAction(
                row["ticker"], date.fromisoformat(row["date"]), ActionType(row["type"]), Decimal(row["value"])
            )
            for row in csv.DictReader(file)
        ]
