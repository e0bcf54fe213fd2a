"""Dense, block-linked and diagonal specific risk on the 20 real accounts of 2018-06-01: gaps, times, tracking errors.

    python bench/linked_covariance.py [--data ../shared/data] [--csv linked_covariance.csv] [--accounts 20]

The fleet is loaded into a database of its own and frozen by the engine. Every account is then solved four times on the
same factor model: without links between specific returns, with links within sectors, with links within and across
sectors (dense), and once more without links through the same solver as the linked ones. Where the stored model has
links these are taken, else residual correlations of its own factors: 0.8 of them within a sector, 0.3 across.

Times are those of one call of ``rebalance``, proof and rounding included; compare ratios. The tracking error of the
trades is given by the model that found them and by the dense one, which judges all alike.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.db.embedded import EmbeddedServer, release
from prometheus.db.repositories.market_data import close_panel, corporate_actions
from prometheus.db.repositories.risk_models import latest_risk_model
from prometheus.db.repositories.runs import list_persisted, load_run
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.optimizer import rebalance, tracking_error
from prometheus.optimizer.active_risk import factor_risk
from prometheus.pipeline.day_inputs import SharedInputs
from prometheus.pipeline.problem import CorrelationBlock, build_problem
from prometheus.pipeline.snapshot import Snapshot
from prometheus.pipeline.tasks import matrices
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.returns import action_panels

AS_OF = date(2018, 6, 1)
SESSIONS, HALF_LIFE = 504, 252
WITHIN, ACROSS = 0.8, 0.3
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}
COLUMNS = (
    "account",
    "names",
    "lots",
    "specific",
    "solver",
    "seconds",
    "split_seconds",
    "own_share",
    "gap_bps",
    "rounded_gap_bps",
    "te_before",
    "te_after",
    "te_after_dense",
    "objective_dense_bps",
    "turnover",
)


def main():
    """Load, solve, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with market and fleet")
    parser.add_argument("--csv", type=Path, default=Path("linked_covariance.csv"))
    parser.add_argument("--accounts", type=int, default=20)
    options = parser.parse_args()
    found = load(options.data)
    rows = []
    for account in found[: options.accounts]:
        rows += solved(*account)
        for row in rows[-4:]:
            print(line(row), flush=True)
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"written: {options.csv}\n")
    summary(rows)


def load(data):
    """Return account, snapshot, parameters and the matrices of every model, for each account of the fleet."""
    home = Path(tempfile.mkdtemp(prefix="prometheus-bench-"))
    home.chmod(0o755)
    try:
        url = EmbeddedServer(home / "server", linger_seconds=5.0, settings=FAST).ensure_running()
        database = Database(url)
        upgrade_database(database)
        for command in (
            ("ingest", data / "market"),
            ("ingest", data / "fleet"),
            ("risk", "refresh", "--as-of", AS_OF),
            *(("run-engine-state", "--as-of", AS_OF, "--region", r, "--ensure", "--data-ready") for r in ("US", "CA")),
            ("run-engine-state", "--advance-all"),
        ):
            subprocess.run(
                [sys.executable, "-m", "prometheus.scripts.main", *map(str, command)],
                env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
                check=True,
                stdout=subprocess.DEVNULL,
            )
        found = read(database)
        database.close()
        return found
    finally:
        release(home / "server")
        shutil.rmtree(home, ignore_errors=True)


def read(database):
    """Return the accounts of a database whose day has been run."""
    shared = SharedInputs(database)
    with database.transaction() as connection:
        records = [load_run(connection, run.account_id, run.run_seq)[0] for run in list_persisted(connection)]
        model = latest_risk_model(connection, AS_OF)
        sessions = TradingCalendar.for_region("US").sessions_between(AS_OF - timedelta(days=900), AS_OF)
        panel = close_panel(connection, sessions[-(SESSIONS + 1) :])
        actions = corporate_actions(connection, after=sessions[0], through=sessions[-1])
    splits, paid = action_panels(actions, panel.sessions, panel.tickers)
    returns = ReturnPanel.from_closes(panel.sessions, panel.tickers, panel.closes, splits, paid)
    sector_of = {ticker: security.sector for ticker, security in shared.day(AS_OF).securities.items()}
    sector = np.array([sector_of[ticker] for ticker in model.tickers])
    found = []
    links = None
    for record in sorted(records, key=lambda record: record["account_id"]):
        snapshot = Snapshot.from_json(record["snapshot"])
        stored = matrices(shared, snapshot)
        if links is None:
            linked = bool(stored.specific_correlation)
            correlation = stored_correlation(stored) if linked else residual(returns, model, stored, sector)
            links = (linked_within(correlation, sector), (block(np.arange(len(correlation)), correlation),))
        params = StrategyParams.from_dict(record["params_snapshot"])
        plain = replace(stored, specific_correlation=())
        found.append(
            (
                snapshot,
                params,
                {
                    "diagonal": plain,
                    "sectors": replace(stored, specific_correlation=links[0]),
                    "dense": replace(stored, specific_correlation=links[1]),
                },
            )
        )
    return found


def stored_correlation(stored):
    """Return (N, N) correlations of the stored model's specific returns."""
    correlation = np.eye(len(stored.specific_variance), dtype=np.float32)
    for one in stored.specific_correlation:
        correlation[np.ix_(one.names, one.names)] = one.correlation
    return correlation


def residual(returns, model, stored, sector):
    """Return (N, N) specific correlations: what the model's factors leave of the returns, shrunk towards none."""
    column = {ticker: i for i, ticker in enumerate(returns.tickers)}
    panel = returns.returns[:, [column[ticker] for ticker in model.tickers]]
    x, d = stored.loadings.astype(float), stored.specific_variance.astype(float)
    left = np.zeros_like(panel)
    for t, day in enumerate(panel):
        seen = ~np.isnan(day)
        weighted = x[seen] / d[seen, None]
        factors = np.linalg.lstsq(weighted.T @ x[seen], weighted.T @ day[seen], rcond=None)[0]
        left[t, seen] = (day[seen] - x[seen] @ factors) / np.sqrt(d[seen])
    weight = 0.5 ** (np.arange(len(left))[::-1] / HALF_LIFE)
    moment = (left * weight[:, None]).T @ left
    scale = 1.0 / np.sqrt(np.maximum(np.diag(moment), 1e-12))
    part = np.where(sector[:, None] == sector, WITHIN, ACROSS)
    correlation = moment * scale[:, None] * scale * part
    correlation[np.diag_indices(len(correlation))] = 1.0
    return correlation.astype(np.float32)


def linked_within(correlation, sector):
    """Return a block for each sector."""
    members = [np.flatnonzero(sector == one) for one in sorted(set(sector))]
    return tuple(block(names, correlation[np.ix_(names, names)]) for names in members if len(names) > 1)


def block(names, correlation):
    """Return one block, exactly symmetric."""
    below = np.tril(correlation, -1)
    return CorrelationBlock(names.astype(np.int64), below + below.T + np.eye(len(names), dtype=np.float32))


def solved(snapshot, params, models):
    """Return a row for each model of one account."""
    dense = build_problem(snapshot, params, models["dense"])
    rows = []
    for specific, solver in (
        ("diagonal", "STRUCTURED"),
        ("diagonal", "CLARABEL"),
        ("sectors", "CLARABEL"),
        ("dense", "CLARABEL"),
    ):
        problem = build_problem(snapshot, params, models[specific])
        began = time.perf_counter()
        risk = factor_risk(problem)
        split = time.perf_counter() - began
        began = time.perf_counter()
        result = rebalance(problem, backend=solver)
        seconds = time.perf_counter() - began
        other = result.terms.total - result.terms.active_risk
        judged = tracking_error(dense, result.rounded_weights)
        rows.append(
            {
                "account": snapshot.account_id,
                "names": problem.size,
                "lots": len(problem.lot_id),
                "specific": specific,
                "solver": solver,
                "seconds": seconds,
                "split_seconds": split,
                "own_share": float((risk.specific_variance / problem.specific_variance).mean()),
                "gap_bps": result.certificate.gap_bps,
                "rounded_gap_bps": result.certificate.rounded_gap_bps,
                "te_before": result.tracking_error_before,
                "te_after": result.tracking_error_after,
                "te_after_dense": judged,
                "objective_dense_bps": 1e4 * (other + params.risk_aversion * judged**2),
                "turnover": result.turnover,
            }
        )
    return rows


def line(row):
    """Return one row as a person reads it."""
    return (
        f"{row['account']} {row['names']:>4} names {row['lots']:>5} lots {row['specific']:<9} {row['solver']:<11} "
        f"{row['seconds']:6.2f} s, gap {row['gap_bps']:8.4f} bps ({row['rounded_gap_bps']:8.4f} rounded), "
        f"TE {row['te_before']:.3%} -> {row['te_after']:.3%} ({row['te_after_dense']:.3%} dense)"
    )


def summary(rows):
    """Print medians of each model."""
    print("| specific risk | solver | seconds, median / most | own share | gap bps, median / most | rounded | ", end="")
    print("TE before | TE after | TE after, dense model | objective, dense model |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for specific, solver in dict.fromkeys((row["specific"], row["solver"]) for row in rows):
        mine = [row for row in rows if (row["specific"], row["solver"]) == (specific, solver)]

        def median(name, mine=mine):
            return statistics.median(row[name] for row in mine)

        print(
            f"| {specific} | {solver} | {median('seconds'):.2f} / {max(row['seconds'] for row in mine):.2f} "
            f"| {median('own_share'):.0%} "
            f"| {median('gap_bps'):.4f} / {max(row['gap_bps'] for row in mine):.4f} | {median('rounded_gap_bps'):.4f} "
            f"| {median('te_before'):.3%} | {median('te_after'):.3%} | {median('te_after_dense'):.3%} "
            f"| {median('objective_dense_bps'):.2f} bps |"
        )


if __name__ == "__main__":
    main()
