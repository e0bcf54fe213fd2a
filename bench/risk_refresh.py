"""Time of one risk estimate on one core, beside the sample covariance of the same panel in the same run.

    python bench/risk_refresh.py [--names 500 3000]

Synthetic returns of 504 sessions; reading the panel from the database is not in these times.
"""

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from datetime import date, timedelta

import numpy as np

from prometheus.risk.factor_model import ESTIMATORS, NameAttributes, RiskSettings, estimate_factor_model
from prometheus.risk.panel import ReturnPanel

SESSIONS, SECTORS, REPEATS = 504, 11, 3


def main() -> None:
    """Print a line for each size and estimator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, nargs="+", default=[500, 3000])
    last = date(2020, 1, 31)
    dates = tuple(last - timedelta(days=SESSIONS - 1 - at) for at in range(SESSIONS))
    for names in parser.parse_args().names:
        rng = np.random.default_rng(1)
        market = rng.normal(0.0, 0.01, (SESSIONS, 1)) * rng.uniform(0.6, 1.4, names)
        of_sector = rng.normal(0.0, 0.005, (SESSIONS, SECTORS))[:, np.arange(names) % SECTORS]
        returns = market + of_sector + rng.normal(0.0, 0.015, (SESSIONS, names))
        panel = ReturnPanel(dates, tuple(f"N{at:05d}" for at in range(names)), returns)
        attributes = NameAttributes(np.ones(names), tuple(f"S{at % SECTORS}" for at in range(names)), ("",) * names)
        sample = _least(lambda returns=returns: np.cov(returns, rowvar=False))
        for estimator in ESTIMATORS:
            chosen = RiskSettings(estimator=estimator)
            taken = _least(
                lambda panel=panel, chosen=chosen, attributes=attributes: estimate_factor_model(
                    panel, as_of=last, settings=chosen, attributes=attributes
                )
            )
            print(
                f"{names:5d} names  {estimator:15s} {taken:7.3f} s  {taken / sample:6.1f} times the sample covariance"
            )


def _least(run: object) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
