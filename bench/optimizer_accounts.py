"""Generated accounts of a chosen shape for the optimizer's bench: every asset held, a fixed number of lots in each."""

from dataclasses import replace
from datetime import date

import numpy as np

from prometheus.optimizer.problem.active_risk import tracking_error
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem, SpecificBlock

SHORT_RATE, LONG_RATE = 0.408, 0.238


def account(seed, names, factors, lots_a_name, nav=10_000_000.0):
    """Return a least-tax-first account of ``names`` assets and ``names * lots_a_name`` lots.

    Two fifths of the lots are at a loss, lots younger than a year pay the short rate, one asset in twenty may not be
    bought, one in forty may not be sold, one in ten shares its group with a neighbour. Whole shares.
    """
    random = np.random.default_rng(seed)
    prices = np.round(np.exp(random.normal(4.3, 0.8, names)), 2) + 1.0
    benchmark = random.gamma(0.6, 1.0, names) + 1e-3
    benchmark /= benchmark.sum()
    target = benchmark * random.lognormal(0, 0.5, names)
    target *= 0.98 / target.sum()
    lot_asset = np.repeat(np.arange(names), lots_a_name)
    lots = len(lot_asset)
    parts = random.dirichlet(np.full(lots_a_name, 2.0), names).ravel()
    lot_shares = np.maximum(np.floor(parts * target[lot_asset] * nav / prices[lot_asset]), 1.0)
    lot_weight = lot_shares * prices[lot_asset] / nav
    age = random.integers(1, 2500, lots)
    loss = random.random(lots) < 0.4
    basis = np.where(loss, random.uniform(1.0, 1.5, lots), random.uniform(0.3, 1.0, lots))
    tax = np.where(age > 366, LONG_RATE, SHORT_RATE) * (1 - basis)
    by = np.lexsort((tax, lot_asset))
    rank = np.empty(lots, dtype=np.int64)
    rank[by] = np.tile(np.arange(lots_a_name), names)
    group = np.arange(names)
    paired = np.flatnonzero(random.random(names) < 0.1)
    group[paired] = group[(paired + 1) % names]
    root = random.normal(0, 0.03, (factors, factors)) + np.diag(np.linspace(0.18, 0.05, factors))
    held = np.bincount(lot_asset, weights=lot_weight, minlength=names)
    return RebalanceProblem(
        as_of=date(2026, 3, 2),
        nav=nav,
        tickers=tuple(f"N{i:04d}" for i in range(names)),
        prices=prices,
        benchmark_weights=benchmark,
        loadings=np.concatenate(
            [random.normal(1, 0.25, (names, 1)), random.normal(0, 0.6, (names, factors - 1))], axis=1
        ),
        factor_covariance=root @ root.T,
        specific_variance=random.uniform(0.15, 0.4, names) ** 2,
        cost_rate=np.full(names, 5e-4),
        tilt=np.zeros(names),
        cash=1 - float(lot_weight.sum()),
        cash_min=0.002,
        cash_max=0.02,
        lower=np.minimum(np.maximum(benchmark - 0.02, 0.0), held),
        upper=np.maximum(np.minimum(benchmark + 0.02, 0.10), held),
        can_buy=random.random(names) >= 0.05,
        can_sell=random.random(names) >= 0.025,
        group=group,
        lot_asset=lot_asset,
        lot_id=tuple(f"L{j:05d}" for j in range(lots)),
        lot_shares=lot_shares,
        lot_weight=lot_weight,
        lot_tax=tax,
        lot_is_loss=loss,
        lot_locked=(random.random(lots) < 0.05) & loss,
        lot_rank=rank,
        lot_order_is_convex=True,
        risk_aversion=10.0,
        tax_weight=1.0,
        min_trade=1e-5,
        share_step=np.ones(names),
        tolerance=1e-9,
    )


def linked(problem, blocks, seed):
    """Return the problem with its specific returns linked in blocks of equal size, correlations up to 0.5."""
    random = np.random.default_rng(seed)
    parts = np.array_split(random.permutation(problem.size), blocks)
    made = []
    for part in parts:
        names = np.sort(part)
        common = random.uniform(0.2, 0.7, len(names))
        correlation = np.outer(common, common)
        np.fill_diagonal(correlation, 1.0)
        deviation = np.sqrt(problem.specific_variance[names])
        covariance = correlation * np.outer(deviation, deviation)
        np.fill_diagonal(covariance, problem.specific_variance[names])
        made.append(SpecificBlock(names, covariance))
    return replace(problem, specific_blocks=tuple(made))


def tax_free(problem):
    """Return the problem without tax, cost, locks, groups and shares: what a plain mean-risk model can state."""
    return replace(
        problem,
        tax_weight=0.0,
        lot_tax=np.zeros_like(problem.lot_tax),
        lot_is_loss=np.zeros_like(problem.lot_is_loss),
        lot_locked=np.zeros_like(problem.lot_locked),
        cost_rate=np.zeros(problem.size),
        group=np.arange(problem.size),
    )


def limited(problem, search, seed):
    """Return the problem with sector, factor, turnover and tracking-error limits, all of them binding.

    Args:
        problem: A problem without limits.
        search: Returns the trades of a problem.
        seed: Of the sectors.
    """
    sector = np.random.default_rng(seed).integers(0, 11, problem.size)
    matrix = np.concatenate([(sector == np.arange(11)[:, None]).astype(float), problem.loadings.T])
    centre = matrix @ problem.benchmark_weights
    trades = search(problem)
    away = np.abs(matrix @ (problem.holdings() + trades) - centre)
    # the sectors and the factors each at nine tenths of the widest, the turnover at 95 % of what it would be
    bound = 0.9 * np.concatenate([np.full(11, away[:11].max()), np.full(len(away) - 11, away[11:].max())])
    problem = replace(
        problem,
        row_names=tuple(f"row:{r}" for r in range(len(matrix))),
        row_matrix=matrix,
        row_lower=centre - bound,
        row_upper=centre + bound,
        turnover_max=0.95 * float(np.abs(trades).sum()) / 2,
    )
    return replace(problem, te_max=0.995 * tracking_error(problem, problem.holdings() + search(problem)))
