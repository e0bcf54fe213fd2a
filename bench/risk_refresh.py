"""Time of one risk estimate on one core, beside the sample covariance of the same panel in the same run.

    python -m bench.risk_refresh [--names 500 3000] [--data ../shared/data]

Synthetic returns of 504 sessions; reading the panel from the database is not in these times. With ``--data`` the real
market is loaded into a server of its own, and reading its panel is timed apart from estimating on it.
"""

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from bench.engine_fleet_day import command
from bench.engine_server import durable_server
from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.orchestration.risk_inputs import name_attributes, return_panel
from prometheus.risk.factor_model import ESTIMATORS, AssetAttributes, RiskSettings, estimate_factor_model
from prometheus.risk.panel import ReturnPanel

SESSIONS, SECTORS, REPEATS = 504, 11, 3


def main() -> None:
    """Print a line for each size and estimator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, nargs="+", default=[500, 3000])
    parser.add_argument("--data", type=Path, help="Folder with market/.")
    chosen = parser.parse_args()
    last = date(2020, 1, 31)
    dates = tuple(last - timedelta(days=SESSIONS - 1 - at) for at in range(SESSIONS))
    for names in chosen.names:
        rng = np.random.default_rng(1)
        market = rng.normal(0.0, 0.01, (SESSIONS, 1)) * rng.uniform(0.6, 1.4, names)
        of_sector = rng.normal(0.0, 0.005, (SESSIONS, SECTORS))[:, np.arange(names) % SECTORS]
        returns = market + of_sector + rng.normal(0.0, 0.015, (SESSIONS, names))
        panel = ReturnPanel(dates, tuple(f"N{at:05d}" for at in range(names)), returns)
        attributes = AssetAttributes(np.ones(names), tuple(f"S{at % SECTORS}" for at in range(names)), ("",) * names)
        sample = _least(lambda returns=returns: np.cov(returns, rowvar=False))
        for estimator in ESTIMATORS:
            settings = RiskSettings(estimator=estimator)
            taken = _least(
                lambda panel=panel, settings=settings, attributes=attributes: estimate_factor_model(
                    panel, as_of=last, settings=settings, attributes=attributes
                )
            )
            print(
                f"{names:5d} assets  {estimator:15s} {taken:7.3f} s  {taken / sample:6.1f} times the sample covariance"
            )
    if chosen.data is not None:
        with durable_server() as bench:
            url = bench.empty()
            database = Database(url)
            upgrade_database(database)
            command("prometheus.scripts.main", ["ingest", str(chosen.data / "market")], url)
            _from_database(database, date(2018, 6, 1))
            database.close()


def _from_database(database: Database, as_of: date) -> None:
    """Print how long the panel's rows take to arrive, and the estimates on them."""
    calendar = TradingCalendar.for_region("US")
    sessions = calendar.sessions_between(as_of - timedelta(days=800), as_of)[-(SESSIONS + 1) :]

    def read():
        with database.transaction() as connection:
            panel = return_panel(connection, sessions)
            return panel, name_attributes(connection, panel.tickers, as_of, benchmark_id=None)

    panel, attributes = read()
    size = f"{len(panel.tickers)} assets x {len(panel.dates)} sessions"
    reading = _least(read)
    print(f"real market, {size}: panel from the database {reading:.3f} s")
    for estimator in ESTIMATORS:
        settings = RiskSettings(estimator=estimator)
        taken = _least(
            lambda settings=settings: estimate_factor_model(
                panel, as_of=as_of, settings=settings, attributes=attributes
            )
        )
        print(f"real market, {size}: {estimator:15s} {taken:.3f} s, {taken / reading:.1f} times the reading")


def _least(run: object) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
