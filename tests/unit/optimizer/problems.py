"""Random but realistic problems: losses, two tax rates, locks, groups, whole and fractional shares."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem

SHORT_RATE, LONG_RATE = 0.408, 0.238


def random_problem(
    seed: int,
    *,
    names: int = 60,
    factors: int = 6,
    lots_a_name: float = 3.0,
    lot_method: str = "LEAST_TAX_FIRST",
    fractional: bool = False,
    nav: float = 1_000_000.0,
    group_share: float = 0.1,
    lock_share: float = 0.05,
    cash_share: float = 0.02,
    min_trade: float = 100.0,
    cash_range: tuple[float, float] = (0.002, 0.02),
    loss_share: float = 0.4,
    cost_bps: float = 5.0,
    **changes: Any,
) -> RebalanceProblem:
    """Return the problem of ``seed``; a third of the assets are not held, some are outside the benchmark."""
    random = np.random.default_rng(seed)
    prices = np.round(np.exp(random.normal(4.3, 0.8, names)), 2) + 1.0
    benchmark = random.gamma(0.6, 1.0, names) + 1e-3
    benchmark[1:][random.random(names)[1:] < 0.05] = 0.0
    benchmark /= benchmark.sum()
    target = benchmark * random.lognormal(0, 0.5, names) + np.where(random.random(names) < 0.03, 0.01, 0.0)
    target[random.random(names) < 0.3] = 0.0
    if target.sum() == 0:
        target[0] = 1.0
    target *= (1 - cash_share) / target.sum()
    step = 1e-4 if fractional else 1.0

    asset, shares = [], []
    for i in np.flatnonzero(target > 0):
        held = target[i] * nav / prices[i]
        parts = random.dirichlet(np.ones(1 + random.poisson(lots_a_name - 1)) * 2) * held
        for part in parts:
            quantity = np.floor(part / step) * step
            if random.random() < 0.05:
                quantity += round(float(random.random()), 6)
            if quantity > 0:
                asset.append(i)
                shares.append(round(float(quantity), 6))
    lot_asset = np.array(asset, dtype=np.int64)
    lot_shares = np.array(shares)
    lots = len(lot_asset)
    lot_weight = lot_shares * prices[lot_asset] / nav
    age = random.integers(1, 2500, lots)
    basis = np.where(random.random(lots) < loss_share, random.uniform(1.0, 1.5, lots), random.uniform(0.3, 1.0, lots))
    rate = np.where(age > 366, LONG_RATE, SHORT_RATE)
    tax = rate * (1 - basis)
    rank = _ranks(lot_asset, {"FIFO": -age, "HIFO": -basis, "LEAST_TAX_FIRST": tax}[lot_method].astype(float))
    held = np.bincount(lot_asset, weights=lot_weight, minlength=names)
    group = np.arange(names)
    for i in np.flatnonzero(random.random(names) < group_share):
        group[i] = group[(i + 1) % names]
    root = random.normal(0, 0.03, (factors, factors)) + np.diag(np.linspace(0.18, 0.05, factors))
    active = 0.02
    values: dict[str, Any] = {
        "as_of": date(2026, 3, 2),
        "nav": nav,
        "tickers": tuple(f"N{i:04d}" for i in range(names)),
        "prices": prices,
        "benchmark_weights": benchmark,
        "loadings": np.concatenate(
            [random.normal(1, 0.25, (names, 1)), random.normal(0, 0.6, (names, factors - 1))], axis=1
        ),
        "factor_covariance": root @ root.T,
        "specific_variance": random.uniform(0.15, 0.4, names) ** 2,
        "cost_rate": np.full(names, cost_bps * 1e-4),
        "tilt": np.zeros(names),
        "cash": 1 - float(lot_weight.sum()),
        "cash_min": cash_range[0],
        "cash_max": cash_range[1],
        "lower": np.minimum(np.maximum(benchmark - active, 0.0), held),
        "upper": np.maximum(np.minimum(benchmark + active, 0.10), held),
        "can_buy": random.random(names) >= lock_share,
        "can_sell": random.random(names) >= lock_share / 2,
        "group": group,
        "lot_asset": lot_asset,
        "lot_id": tuple(f"L{j:05d}" for j in range(lots)),
        "lot_shares": lot_shares,
        "lot_weight": lot_weight,
        "lot_tax": tax,
        "lot_is_loss": basis > 1,
        "lot_locked": (random.random(lots) < lock_share) & (basis > 1),
        "lot_rank": rank,
        "lot_order_is_convex": lot_method != "FIFO",
        "risk_aversion": 10.0,
        "tax_weight": 1.0,
        "min_trade": min_trade / nav,
        "share_step": np.full(names, step),
        "tolerance": 1e-9,
    }
    return RebalanceProblem(**{**values, **changes})


def tiny_problem(seed: int, *, least_room: float = 0.02, most: float = 1.0, **changes: Any) -> RebalanceProblem:
    """Return a problem of four assets in fractions, small enough for enumeration and with bounds wide enough to matter.

    Args:
        seed: Of everything.
        least_room: By how much every asset's upper bound lies above what is held, at the least.
        most: Greatest upper bound drawn.
        **changes: As of ``random_problem``.
    """
    held = random_problem(seed, names=4, factors=2, lots_a_name=2.0).holdings()
    values: dict[str, Any] = {
        "lot_method": ("LEAST_TAX_FIRST", "HIFO", "FIFO")[seed % 3],
        "group_share": 0.3,
        "fractional": True,
        "min_trade": 0.0,
        "lower": np.zeros(4),
        "upper": np.maximum(held + least_room, np.random.default_rng(seed).uniform(0.2, most, 4)),
    }
    return random_problem(seed, names=4, factors=2, lots_a_name=2.0, **{**values, **changes})


def changed(problem: RebalanceProblem, **changes: Any) -> RebalanceProblem:
    """Return the problem with some values replaced."""
    return replace(problem, **changes)


def _ranks(asset: np.ndarray, key: np.ndarray) -> np.ndarray:
    rank = np.zeros(len(asset), dtype=np.int64)
    for i in np.unique(asset):
        mine = np.flatnonzero(asset == i)
        rank[mine[np.argsort(key[mine], kind="stable")]] = np.arange(len(mine))
    return rank
