"""The demo as files, in the formats that ingestion reads. The same seed gives the same bytes."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np

from prometheus.simulation.corporate_events import DEMO_SESSIONS
from prometheus.simulation.fleet import Fleet, simulate_fleet
from prometheus.simulation.market import BENCHMARK_ID, Market, simulate_market

#: One asset in so many has a source without adjusted closes.
_UNADJUSTED_EVERY: Final = 40


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The demo: its sessions and its files.

    Attributes:
        sessions: The three sessions to run, in order.
        benchmark_id: Benchmark of every account.
        securities: Path of securities.csv.
        prices: Path of prices.csv.gz.
        corporate_actions: Path of corporate_actions.csv.
        benchmark: Path of benchmark.csv.
        accounts: Path of accounts.csv.
        lots: Path of lots.csv.
        split_ticker: Ticker that splits on the second session.
        dividend_ticker: Ticker that goes ex dividend on the third session.
        unpriced_ticker: Ticker without a price on the second session.
    """

    sessions: tuple[date, ...]
    benchmark_id: str
    securities: Path
    prices: Path
    corporate_actions: Path
    benchmark: Path
    accounts: Path
    lots: Path
    split_ticker: str
    dividend_ticker: str
    unpriced_ticker: str


def write_demo_files(directory: Path, *, seed: int = 7, first: date = DEMO_SESSIONS[0]) -> DemoPlan:
    """Write the six files of the demo into ``directory``, which is made where it does not exist.

    Args:
        directory: Existing files of the same names are replaced.
        seed: Same seed, same bytes (for one version of numpy).
        first: Session before which the accounts start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    market = simulate_market(seed)
    fleet = simulate_fleet(market, seed, first=first)
    plan = DemoPlan(
        sessions=DEMO_SESSIONS,
        benchmark_id=BENCHMARK_ID,
        securities=directory / "securities.csv",
        prices=directory / "prices.csv.gz",
        corporate_actions=directory / "corporate_actions.csv",
        benchmark=directory / "benchmark.csv",
        accounts=directory / "accounts.csv",
        lots=directory / "lots.csv",
        split_ticker=market.split_ticker,
        dividend_ticker=market.dividend_ticker,
        unpriced_ticker=market.unpriced_ticker,
    )
    plan.securities.write_bytes(_csv(_SECURITY_COLUMNS, _security_rows(market)))
    # the time of writing in the header would make equal content differ
    plan.prices.write_bytes(gzip.compress(_price_bytes(market), compresslevel=6, mtime=0))
    plan.corporate_actions.write_bytes(_csv(("date", "ticker", "type", "value"), _action_rows(market)))
    plan.benchmark.write_bytes(_csv(_BENCHMARK_COLUMNS, _benchmark_rows(market)))
    plan.accounts.write_bytes(_csv(_ACCOUNT_COLUMNS, _account_rows(fleet)))
    plan.lots.write_bytes(_csv(_LOT_COLUMNS, _lot_rows(fleet)))
    return plan


_SECURITY_COLUMNS: Final = (
    "ticker",
    "name",
    "sector",
    "sub_industry",
    "first_date",
    "last_date",
    "missing_days",
    "group",
)
_BENCHMARK_COLUMNS: Final = (
    *("date", "ticker", "weight", "market_cap_musd", "shares_source", "shares_asof", "benchmark_id"),
)
_ACCOUNT_COLUMNS: Final = (
    *("account_id", "name", "region", "base_currency", "tax_regime", "lot_method", "benchmark_id"),
    *("st_rate", "lt_rate", "niit_rate", "cash", "fractional_shares", "tags"),
)
_LOT_COLUMNS: Final = ("account_id", "lot_id", "ticker", "acquired_on", "quantity", "cost_basis")


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _price_bytes(market: Market) -> bytes:
    """Return prices.csv, ticker by ticker; tickers need no quoting, and joining is several times faster than csv."""
    days = [day.isoformat() for day in market.sessions]
    lines = ["date,ticker,close,adj_close,volume"]
    for column, ticker in enumerate(market.tickers):
        closes, adjusted = market.closes[:, column].tolist(), market.adj_closes[:, column].tolist()
        volumes = market.volumes[:, column].tolist()
        unadjusted = column % _UNADJUSTED_EVERY == _UNADJUSTED_EVERY - 1
        lines += [
            f"{day},{ticker},{close:.10g},{'' if unadjusted else f'{adjusted_close:.6g}'},{volume}"
            for day, close, adjusted_close, volume in zip(days, closes, adjusted, volumes, strict=True)
            if close == close  # noqa: PLR0124 (NaN: no price was published)
        ]
    return ("\n".join(lines) + "\n").encode()


def _security_rows(market: Market) -> Iterable[Sequence[object]]:
    for column, security in enumerate(market.securities):
        priced = np.flatnonzero(~np.isnan(market.closes[:, column]))
        first, last = int(priced[0]), int(priced[-1])
        yield (
            security.ticker,
            security.name,
            security.sector,
            security.sub_industry,
            market.sessions[first],
            market.sessions[last],
            last - first + 1 - priced.size,
            security.group,
        )


def _action_rows(market: Market) -> Iterable[Sequence[object]]:
    for action in market.actions:
        yield action.ex_date, action.ticker, action.action_type.value, _at_least_one_decimal(action.value)


def _benchmark_rows(market: Market) -> Iterable[Sequence[object]]:
    tickers = market.tickers
    for day in market.benchmark:
        for column, steps, cap in zip(day.columns, day.weight_steps, day.market_caps, strict=True):
            weight = f"{steps / 10**8:.8f}"
            yield day.date, tickers[column], weight, f"{cap:.1f}", "snapshot", day.date, BENCHMARK_ID


def _account_rows(fleet: Fleet) -> Iterable[Sequence[object]]:
    for account in fleet.accounts:
        yield (
            account.account_id,
            account.name,
            account.region.value,
            account.base_currency,
            account.tax_regime.value,
            account.lot_method.value,
            account.benchmark_id,
            account.rates.st,
            account.rates.lt,
            account.rates.niit,
            _at_least_one_decimal(account.cash),
            str(account.fractional_shares).lower(),
            ";".join(account.tags),
        )


def _lot_rows(fleet: Fleet) -> Iterable[Sequence[object]]:
    for account_id, lot in fleet.lots:
        yield (
            account_id,
            lot.lot_id,
            lot.ticker,
            lot.acquired_on,
            _at_least_one_decimal(lot.quantity),
            _at_least_one_decimal(lot.cost_basis),
        )


def _at_least_one_decimal(value: Decimal) -> str:
    """Write a number as the real files do: no trailing zeros, but never without a decimal (``363.0``, ``15259.94``)."""
    text = f"{value:f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"
