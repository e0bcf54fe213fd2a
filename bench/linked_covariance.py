"""Dense, block-linked and diagonal specific risk on the 20 real accounts of 2018-06-01: gaps, times, tracking errors.

    python bench/linked_covariance.py [--data ../shared/data] [--csv linked_covariance.csv] [--accounts 20]

The fleet is loaded into a database of its own and frozen by the engine. Every account is then solved with the diagonal
model (estimator ewma_pca), with the linked model whose links are left out, with links within sectors (linked_sectors)
and with links between all assets (linked, "dense"), by STRUCTURED and by CLARABEL.

Seconds are the processor's for one call of ``rebalance``, proof and rounding included; compare ratios, and set
OPENBLAS_NUM_THREADS=1. The split of the specific covariance, which accounts of a day share, is timed by itself and
known when the solvers begin. The tracking error of the trades is given by the model that found them and by the dense
one, which judges all alike.
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
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.repositories.market_data import close_panel, corporate_actions
from prometheus.db.repositories.runs import list_persisted, load_run
from prometheus.decision.problem_from_snapshot import CorrelationBlock, Matrices, build_problem
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.optimizer import rebalance, tracking_error
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.pipeline.shared_inputs import SharedInputs
from prometheus.pipeline.tasks import matrices
from prometheus.risk.factor_model import AssetAttributes, RiskSettings, estimate_factor_model
from prometheus.risk.panel import ReturnPanel
from prometheus.risk.returns import action_panels, spin_offs_at_value

AS_OF = date(2018, 6, 1)
SESSIONS = 504
ESTIMATORS = {"diagonal": "ewma_pca", "sectors": "linked_sectors", "dense": "linked"}
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}
CASES = tuple(
    (specific, solver)
    for specific in ("diagonal", "left out", "sectors", "dense")
    for solver in ("STRUCTURED", "CLARABEL")
)
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
    accounts = load(options.data)
    rows = []
    for account in accounts[: options.accounts]:
        rows += solved(*account)
        for row in rows[-len(CASES) :]:
            print(line(row), flush=True)
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"written: {options.csv}\n")
    summary(rows)


def load(data):
    """Return the parameters, and a snapshot with matrices for every model, for each account of the fleet."""
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
        accounts = read(database)
        database.close()
        return accounts
    finally:
        release(home / "server")
        shutil.rmtree(home, ignore_errors=True)


def read(database):
    """Return the accounts of a database whose day has been run."""
    shared = SharedInputs(database)
    with database.transaction() as connection:
        records = [load_run(connection, run.account_id, run.run_seq)[0] for run in list_persisted(connection)]
    snapshots = [Snapshot.from_json(record.snapshot) for record in records]
    models = estimated(database, shared, snapshots[0].benchmark_id)
    tickers = models["dense"].tickers
    accounts = []
    for record, snapshot in sorted(zip(records, snapshots, strict=True), key=lambda pair: pair[1].account_id):
        stored = matrices(shared, snapshot)
        position = {ticker: i for i, ticker in enumerate(tickers)}
        names = tuple(replace(name, risk_index=position.get(name.ticker, -1)) for name in snapshot.universe)
        frozen = {
            specific: (
                replace(
                    snapshot, universe=names, factor_covariance=tuple(map(tuple, model.factor_covariance.tolist()))
                ),
                Matrices(model.loadings, model.specific_variance, stored.benchmark_weights, blocks(model)),
            )
            for specific, model in models.items()
        }
        # the same model without its links: what the links alone cost in time and in gap
        alone, linked = frozen["dense"]
        frozen["left out"] = (alone, replace(linked, specific_correlation=()))
        accounts.append((StrategyParams.from_dict(record.params_snapshot), frozen))
    return accounts


def estimated(database, shared, benchmark_id):
    """Return the model of each estimator on the day."""
    sessions = TradingCalendar.for_region("US").sessions_between(AS_OF - timedelta(days=900), AS_OF)[-SESSIONS - 1 :]
    with database.transaction() as connection:
        panel = close_panel(connection, sessions)
        actions = corporate_actions(connection, after=sessions[0], through=sessions[-1])
    valued = spin_offs_at_value(actions, panel.sessions, panel.tickers, panel.closes)
    splits, paid = action_panels(valued, panel.sessions, panel.tickers)
    returns = ReturnPanel.from_closes(panel.sessions, panel.tickers, panel.closes, splits, paid)
    securities, benchmark = shared.day(AS_OF).securities, shared.benchmark(benchmark_id, AS_OF)
    weight = dict(zip(benchmark.tickers, benchmark.weights, strict=True))
    attributes = AssetAttributes(
        weights=np.array([float(weight.get(ticker, 0)) for ticker in returns.tickers]),
        sectors=tuple(securities[ticker].sector for ticker in returns.tickers),
        groups=tuple(securities[ticker].group for ticker in returns.tickers),
    )
    return {
        specific: estimate_factor_model(
            returns, as_of=AS_OF, settings=RiskSettings(estimator=estimator), attributes=attributes
        )
        for specific, estimator in ESTIMATORS.items()
    }


def blocks(model):
    """Return a model's blocks as the pipeline has them."""
    return tuple(CorrelationBlock(block.names, block.correlation) for block in model.specific_blocks)


def solved(params, models):
    """Return a row for each model of one account."""
    dense = build_problem(models["dense"][0], params, models["dense"][1])
    rows = []
    for specific, solver in CASES:
        snapshot, matrices_of = models[specific]
        problem = build_problem(snapshot, params, matrices_of)
        began = time.process_time()
        risk = factor_risk(problem)
        split = time.process_time() - began
        began = time.process_time()
        result = rebalance(problem, backend=solver)
        seconds = time.process_time() - began
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
        f"{row['account']} {row['names']:>4} assets {row['lots']:>5} lots {row['specific']:<9} {row['solver']:<11} "
        f"{row['seconds']:6.2f} s, gap {row['gap_bps']:8.4f} bps ({row['rounded_gap_bps']:8.4f} rounded), "
        f"TE {row['te_before']:.3%} -> {row['te_after']:.3%} ({row['te_after_dense']:.3%} dense)"
    )


def summary(rows):
    """Print medians of each model."""
    print("| specific risk | solver | CPU seconds, mean / median / most | own share | gap bps, median / most ", end="")
    print("| rounded | TE before | TE after | TE after, dense model | objective, dense model |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for specific, solver in dict.fromkeys((row["specific"], row["solver"]) for row in rows):
        mine = [row for row in rows if (row["specific"], row["solver"]) == (specific, solver)]

        def median(name, mine=mine):
            return statistics.median(row[name] for row in mine)

        print(
            f"| {specific} | {solver} | {statistics.mean(row['seconds'] for row in mine):.3f} "
            f"/ {median('seconds'):.3f} / {max(row['seconds'] for row in mine):.3f} "
            f"| {median('own_share'):.0%} "
            f"| {median('gap_bps'):.4f} / {max(row['gap_bps'] for row in mine):.4f} | {median('rounded_gap_bps'):.4f} "
            f"| {median('te_before'):.3%} | {median('te_after'):.3%} | {median('te_after_dense'):.3%} "
            f"| {median('objective_dense_bps'):.2f} bps |"
        )


if __name__ == "__main__":
    main()
