"""What the trading policy costs and saves: orders, turnover, tax and tracking error, variant beside variant.

    python -m bench.policy_study real --data ../shared/data --home DIR [--account ACC-002 ...] [--sessions 63]
    python -m bench.policy_study demo --home DIR

Every variant of the shipped strategy gets copies of the same accounts in one database, so that all of them see the same
days and the same risk models; each day runs through the real engine and is filled at its close. ``real`` takes accounts
of a real fleet through consecutive sessions, each day's files loaded only when it comes; ``demo`` takes the demo's
twenty accounts through its three sessions. Interrupted, it goes on where it stopped: give the same home again.
``--report`` prints the table of the days done without running anything.

Columns, one line for each account and variant, or for the demo each variant:

    orders        securities traded, both sides, over all days
    days          days with at least one order
    turnover      sum of the one-way turnover of the days, % of NAV
    cost          estimated trading cost, bps of the first NAV
    saved         tax saved: what the sales reduce tax by less what they owe, bps of the first NAV
    small         loss orders that save less than 0.1 bp of NAV, % of all loss orders
    young         value of the sales of lots bought at most 30 days before, % of all sales
    TE            ex ante tracking error after trading, mean over the days, % a year
    TE realised   standard deviation of the daily return less the benchmark's, % a year (real only)

Accounts of three sessions say little of tracking error, and saved tax is an early year's: compare the variants.
"""

import argparse
import csv
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import structlog
from sqlalchemy import text

from prometheus.bootstrap.engine import tick_of
from prometheus.bootstrap.settings import Settings, load_settings
from prometheus.bootstrap.wiring import open_database, shipped_strategies
from prometheus.db.database import Database
from prometheus.db.repositories.engine_flags import set_database_purpose
from prometheus.db.repositories.strategies import add_strategy_version
from prometheus.domain.strategy import StrategyParams
from prometheus.ingestion.ingest import ingest_directory
from prometheus.ingestion.reports import IngestOptions
from prometheus.orchestration.advance_all import advance_all
from prometheus.simulation.corporate_events import DEMO_SESSIONS
from prometheus.simulation.demo import PURPOSE
from prometheus.simulation.demo_files import write_demo_files
from prometheus.simulation.market_slices import MarketSlices
from prometheus.simulation.sessions import common_sessions, run_session, sessions_left

#: Changes to the shipped strategy; parameters that this version does not know are left out with a word.
OFF = {"rebalance": "daily", "harvest_min_share": 0.0, "harvest_sigma": 0.0, "order_cost": 0.0, "order_cost_bps": 0.0}
TRIGGER = {"harvest_min_share": 0.02, "harvest_sigma": 1.0}
ORDER_COST = {"order_cost": 1.0, "order_cost_bps": 0.1}
WEEKLY = {"rebalance": "weekly"}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "before": OFF,
    "monthly": {**OFF, "rebalance": "monthly"},
    "trigger": {**OFF, **TRIGGER},
    "weekly": {**OFF, **WEEKLY},
    "both": {**OFF, **TRIGGER, **WEEKLY},
    "cost": {**OFF, **ORDER_COST},
    "after": {**TRIGGER, **WEEKLY, **ORDER_COST},
}
_ACCOUNTS = ("ACC-002", "ACC-003", "ACC-004", "ACC-009")
_HISTORY = timedelta(days=3 * 365)
_SMALL_BPS = 0.1
_YOUNG_DAYS = 30
_YEAR = 252
_COLUMNS = (
    *("account", "variant", "sessions", "orders", "days", "turnover %", "cost bps", "saved bps", "small %", "young %"),
    *("TE %", "TE realised %"),
)
_RUNS = text("""
    SELECT account_id, as_of_date, run_id, status, (result ->> 'nav')::float8 AS nav,
           (result ->> 'turnover')::float8 AS turnover, (result ->> 'tracking_error_after')::float8 AS te,
           (result -> 'settlement' ->> 'tax')::float8 AS tax, (result -> 'settlement' ->> 'cost')::float8 AS cost
    FROM runs ORDER BY account_id, as_of_date
""")
_TRADES = text("""
    SELECT run_id, ticker, side, sum(amount)::float8 AS amount, sum(coalesce(tax, 0))::float8 AS tax,
           sum(coalesce(realized_gain, 0))::float8 AS gain,
           sum(amount) FILTER (WHERE side = 'SELL' AND as_of_date - acquired_on <= :young)::float8 AS young
    FROM run_trades JOIN runs USING (run_id) GROUP BY run_id, ticker, side
""")


@dataclass(frozen=True)
class Line:
    """What one account did under one variant; shares and rates as fractions, amounts as fractions of the first NAV."""

    account: str
    variant: str
    sessions: int
    orders: int
    days: int
    turnover: float
    cost: float
    saved: float
    small: float
    young: float
    te: float
    te_realised: float | None
    not_optimal: int


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("market", choices=["real", "demo"])
    parser.add_argument("--data", type=Path, help="Folder with market/ and fleet/, for 'real'.")
    parser.add_argument("--home", type=Path, required=True, help="Where the study's own database lives.")
    parser.add_argument("--account", action="append", help="Only these accounts of the real fleet.")
    parser.add_argument("--first", type=date.fromisoformat, default=date(2018, 6, 1))
    parser.add_argument("--sessions", type=int, default=63)
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), help="Only these variants.")
    parser.add_argument("--report", action="store_true", help="Only print the table of the days done.")
    parser.add_argument("--json", type=Path, help="Write the lines there, too.")
    chosen = parser.parse_args()
    if chosen.market == "real" and chosen.data is None:
        parser.error("--data says where market/ and fleet/ are.")
    os.environ["PROMETHEUS_HOME"] = str(chosen.home.resolve())
    os.environ.pop("PROMETHEUS_DATABASE_URL", None)
    variants = chosen.variant or known_variants()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    settings = load_settings()
    with open_database(settings) as database:
        if not chosen.report:
            if chosen.market == "real":
                run_real(database, settings, chosen, variants)
            else:
                run_demo(database, settings, variants)
        lines = measured(database, chosen.data / "market" if chosen.market == "real" else None)
    print_lines(lines, together=chosen.market == "demo")
    if chosen.json:
        chosen.json.write_text(json.dumps([vars(line) for line in lines], indent=1))


def known_variants() -> list[str]:
    """Return the variants whose parameters this version has; one that would equal another is left out."""
    known, variants, seen = StrategyParams().as_dict(), [], set()
    for name, changes in VARIANTS.items():
        kept = tuple(sorted((key, value) for key, value in changes.items() if key in known))
        if kept in seen:
            print(f"'{name}' is left out: this version has no parameter that sets it apart.")
        else:
            seen.add(kept)
            variants.append(name)
    return variants


def strategy_of(variant: str) -> str:
    """Return the name of a variant's strategy."""
    return f"study-{variant}"


def store_strategies(database: Database, variants: Sequence[str]) -> None:
    """Store the shipped strategy with each variant's changes."""
    shipped, known = shipped_strategies()[0], StrategyParams().as_dict()
    with database.transaction() as connection:
        for variant in variants:
            changes = {name: value for name, value in VARIANTS[variant].items() if name in known}
            add_strategy_version(connection, strategy_of(variant), {**shipped.params, **changes}, shipped.tag_overrides)


def write_copies(fleet: Path, folder: Path, accounts: Sequence[str] | None, variants: Sequence[str]) -> list[str]:
    """Write accounts.csv and lots.csv with a copy of each account for each variant; return the copies' names."""
    named = []
    for name in ("accounts.csv", "lots.csv"):
        with (fleet / name).open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if accounts is None or row["account_id"] in accounts]
        extra = ["strategy_id"] if name == "accounts.csv" else []
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], *extra], lineterminator="\n")
            writer.writeheader()
            for variant in variants:
                for row in rows:
                    copy = {**row, "account_id": f"{row['account_id']}.{variant}"}
                    if extra:
                        copy["strategy_id"] = strategy_of(variant)
                        named.append(copy["account_id"])
                    writer.writerow(copy)
    return named


def run_real(database: Database, settings: Settings, chosen: argparse.Namespace, variants: Sequence[str]) -> None:
    """Take copies of real accounts through the sessions."""
    days = common_sessions(chosen.first, chosen.first + timedelta(days=2 * chosen.sessions + 14))[: chosen.sessions]
    slices = MarketSlices(chosen.data / "market", since=chosen.first - _HISTORY)
    store_strategies(database, variants)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slices.write_through(days[0], folder)
        members = write_copies(chosen.data / "fleet", folder, chosen.account or _ACCOUNTS, variants)
        ingest(database, folder)
    after = {day: before for before, day in pairwise(days)}

    def before_session(day: date) -> None:
        if day in after:
            with tempfile.TemporaryDirectory() as name:
                if slices.write_between(after[day], day, Path(name)):
                    ingest(database, Path(name))

    sessions(database, settings, days, members, before_session)


def run_demo(database: Database, settings: Settings, variants: Sequence[str]) -> None:
    """Take copies of the demo's accounts through its three sessions."""
    with database.transaction() as connection:
        set_database_purpose(connection, PURPOSE)
    store_strategies(database, variants)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as fleet:
        folder = Path(name)
        write_demo_files(folder)
        for file in ("accounts.csv", "lots.csv"):
            (folder / file).rename(Path(fleet) / file)
        members = write_copies(Path(fleet), folder, None, variants)
        ingest(database, folder)
    sessions(database, settings, DEMO_SESSIONS, members, lambda _: None)


def ingest(database: Database, folder: Path) -> None:
    """Load a folder; a refused file ends the study."""
    today = datetime.now(UTC).date()
    for report in ingest_directory(database, folder, options=IngestOptions(today=today, allow_demo=True)):
        if not report.loaded:
            raise SystemExit(f"{report.file} was refused: {report.to_json()}")


def sessions(
    database: Database,
    settings: Settings,
    days: Sequence[date],
    members: Sequence[str],
    before_session: Callable[[date], None],
) -> None:
    """Run what is left of the sessions."""
    tick, left = tick_of(settings), sessions_left(database, days, len(members))
    print(f"{len(members)} accounts, {len(days)} sessions, {len(left)} to run", flush=True)

    def beat() -> None:
        summary = advance_all(database, tick.config, database.sibling, limits=tick.limits, outbox=tick.outbox)
        for problem in summary.problems:
            print(f"  {problem}", flush=True)

    for number, day in enumerate(left, start=1):
        began = time.perf_counter()
        before_session(day)
        done = run_session(database, day, tick.config, advance=beat, say=lambda _: None, account_ids=members)
        spent = time.perf_counter() - began
        print(f"{day}: {number} of {len(left)}, {done.persisted} runs, {done.filled} fills, {spent:.0f} s", flush=True)


def measured(database: Database, market: Path | None) -> list[Line]:
    """Return a line for each account and variant that has runs."""
    with database.transaction() as connection:
        runs = [row._asdict() for row in connection.execute(_RUNS)]
        trades = [row._asdict() for row in connection.execute(_TRADES, {"young": _YOUNG_DAYS})]
    by_run: dict[int, list[dict[str, Any]]] = {}
    for trade in trades:
        by_run.setdefault(trade["run_id"], []).append(trade)
    by_account: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_account.setdefault(run["account_id"], []).append(run)
    days = sorted({run["as_of_date"] for run in runs})
    benchmark = None if market is None or len(days) < 3 else benchmark_returns(market, days)
    order = {variant: position for position, variant in enumerate(VARIANTS)}
    lines = [_line(name, of_account, by_run, benchmark) for name, of_account in by_account.items()]
    return sorted(lines, key=lambda line: (line.account, order[line.variant]))


def _line(
    name: str,
    runs: Sequence[Mapping[str, Any]],
    by_run: Mapping[int, Sequence[Mapping[str, Any]]],
    benchmark: Mapping[date, float] | None,
) -> Line:
    account, variant = name.split(".")
    first = runs[0]["nav"]
    traded = [(run, trade) for run in runs for trade in by_run.get(run["run_id"], ())]
    sales = [(run, trade) for run, trade in traded if trade["side"] == "SELL"]
    losses = [(run, trade) for run, trade in sales if trade["gain"] < 0]
    small = sum(-trade["tax"] < _SMALL_BPS * 1e-4 * run["nav"] for run, trade in losses)
    sold = sum(trade["amount"] for _, trade in sales)
    return Line(
        account=account,
        variant=variant,
        sessions=len(runs),
        orders=len(traded),
        days=len({run["run_id"] for run, _ in traded}),
        turnover=sum(run["turnover"] for run in runs),
        cost=sum(run["cost"] for run in runs) / first,
        saved=-sum(run["tax"] for run in runs) / first,
        small=small / len(losses) if losses else 0.0,
        young=sum(trade["young"] or 0.0 for _, trade in sales) / sold if sold else 0.0,
        te=float(np.mean([run["te"] for run in runs])),
        te_realised=None if benchmark is None else _realised(runs, benchmark),
        not_optimal=sum(run["status"] != "OPTIMAL" for run in runs),
    )


def _realised(runs: Sequence[Mapping[str, Any]], benchmark: Mapping[date, float]) -> float:
    away = [
        after["nav"] / before["nav"] - 1 - benchmark[after["as_of_date"]]
        for before, after in pairwise(runs)
        if after["as_of_date"] in benchmark
    ]
    return float(np.std(away, ddof=1) * np.sqrt(_YEAR))


def benchmark_returns(market: Path, days: Sequence[date]) -> dict[date, float]:
    """Return the benchmark's total return of each session but the first; its weights drift between constituent days."""
    texts = [day.isoformat() for day in days]
    path = next(path for path in (market / "prices.csv", market / "prices.csv.gz") if path.exists())
    prices = (
        pl.read_csv(path, columns=["date", "ticker", "adj_close"], infer_schema=False)
        .filter(pl.col("date").is_in(texts))
        .with_columns(pl.col("adj_close").cast(pl.Float64, strict=False))
        .pivot(on="ticker", index="date", values="adj_close")
        .sort("date")
    )
    table = pl.read_csv(market / "benchmark.csv", infer_schema=False)
    closes = {row["date"]: row for row in prices.iter_rows(named=True)}
    effective = sorted(table["date"].unique().to_list())
    weights: dict[str, float] = {}
    used, returns = "", {}
    for before, after in pairwise(texts):
        newest = max(day for day in effective if day <= before)
        if newest != used:
            rows = table.filter(pl.col("date") == newest)
            weights = {row["ticker"]: float(row["weight"]) for row in rows.iter_rows(named=True)}
            used = newest
        grown = {}
        for ticker, weight in weights.items():
            one, other = closes[before].get(ticker), closes[after].get(ticker)
            grown[ticker] = weight * (other / one if one and other else 1.0)
        returns[date.fromisoformat(after)] = sum(grown.values()) / sum(weights.values()) - 1
        weights = grown
    return returns


def print_lines(lines: Sequence[Line], *, together: bool) -> None:
    """Print the table; of many accounts together their sums and means, by variant."""
    if together:
        lines = [
            _together(variant, [line for line in lines if line.variant == variant])
            for variant in VARIANTS
            if any(line.variant == variant for line in lines)
        ]
    print(f"| {' | '.join(_COLUMNS)} |")
    print("|---" * len(_COLUMNS) + "|")
    for one in lines:
        realised = "" if one.te_realised is None else f"{100 * one.te_realised:.2f}"
        print(
            f"| {one.account} | {one.variant} | {one.sessions} | {one.orders} | {one.days} | "
            f"{100 * one.turnover:.1f} | {1e4 * one.cost:.1f} | {1e4 * one.saved:.1f} | {100 * one.small:.0f} | "
            f"{100 * one.young:.0f} | {100 * one.te:.2f} | {realised} |"
        )
    poor = sum(one.not_optimal for one in lines)
    if poor:
        print(f"{poor} runs have no certified answer.")


def _together(variant: str, lines: Sequence[Line]) -> Line:
    def mean(name: str) -> float:
        return float(np.mean([getattr(line, name) for line in lines]))

    return Line(
        account=f"{len(lines)} accounts",
        variant=variant,
        sessions=lines[0].sessions,
        orders=sum(line.orders for line in lines),
        days=sum(line.days for line in lines),
        turnover=mean("turnover"),
        cost=mean("cost"),
        saved=mean("saved"),
        small=mean("small"),
        young=mean("young"),
        te=mean("te"),
        te_realised=None,
        not_optimal=sum(line.not_optimal for line in lines),
    )


if __name__ == "__main__":
    main()
