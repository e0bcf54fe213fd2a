"""Hand-made problems of a few assets, where the right answer can be read off."""

from datetime import date
from typing import Any

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem


def small_problem(
    benchmark: list[float],
    lots: list[tuple[int, float, float]] | None = None,
    *,
    price: float = 10.0,
    nav: float = 100_000.0,
    loading: float = 1.0,
    **changes: Any,
) -> RebalanceProblem:
    """Return a problem of one factor and whole shares.

    Args:
        benchmark: Weight of each asset in the benchmark.
        lots: Asset, shares and tax per unit sold of each lot, in selling order; a negative tax is a loss.
        price: Price of every asset.
        nav: Net asset value.
        loading: Loading of every asset on the factor.
        changes: Anything of the problem that should differ.
    """
    lots = sorted(lots or [], key=lambda lot: lot[0])
    n = len(benchmark)
    asset = np.array([lot[0] for lot in lots], dtype=np.int64)
    shares = np.array([lot[1] for lot in lots], dtype=np.float64)
    tax = np.array([lot[2] for lot in lots], dtype=np.float64)
    prices = np.asarray(changes.pop("prices", np.full(n, price)), dtype=np.float64)
    weight = shares * prices[asset] / nav
    rank = np.array([j - int(np.searchsorted(asset, i)) for j, i in enumerate(asset)], dtype=np.int64)
    values: dict[str, Any] = {
        "as_of": date(2026, 3, 2),
        "nav": nav,
        "tickers": tuple("ABCDEFGHIJ"[:n]),
        "prices": prices,
        "benchmark_weights": np.array(benchmark),
        "loadings": np.full((n, 1), loading),
        "factor_covariance": np.array([[0.03]]),
        "specific_variance": np.full(n, 0.06),
        "cost_rate": np.full(n, 0.0005),
        "tilt": np.zeros(n),
        "cash": 1 - float(weight.sum()),
        "cash_min": 0.0,
        "cash_max": 0.05,
        "lower": np.zeros(n),
        "upper": np.ones(n),
        "can_buy": np.ones(n, dtype=bool),
        "can_sell": np.ones(n, dtype=bool),
        "group": np.arange(n),
        "lot_asset": asset,
        "lot_id": tuple(f"L{j}" for j in range(len(lots))),
        "lot_shares": shares,
        "lot_weight": weight,
        "lot_tax": tax,
        "lot_is_loss": tax < 0,
        "lot_locked": np.zeros(len(lots), dtype=bool),
        "lot_rank": rank,
        "lot_order_is_convex": True,
        "risk_aversion": 10.0,
        "tax_weight": 1.0,
        "min_trade": 0.0,
        "share_step": np.ones(n),
        "tolerance": 1e-9,
    }
    return RebalanceProblem(**{**values, **changes})
