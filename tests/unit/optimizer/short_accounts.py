"""Accounts that may go short: bounds below zero, a borrow rate for most assets, sums of longs and of shorts."""

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from tests.unit.optimizer.problems import changed


def extended(problem: RebalanceProblem, long_max: float = 1.3, seed: int = 0, *, depth: float = 0.02):
    """Return the problem with a long/short extension.

    Args:
        problem: A long-only problem.
        long_max: Largest sum of longs; shorts may add up to this minus one.
        seed: Of the borrow rates and of a reward that makes some assets worth selling short.
        depth: Largest short position of an asset.
    """
    random = np.random.default_rng(seed)
    rate = np.where(random.random(problem.size) < 0.2, np.inf, random.uniform(0.001, 0.03, problem.size))
    return changed(
        problem,
        lower=np.minimum(problem.lower, -depth),
        tilt=random.normal(0, 0.03, problem.size),
        borrow_rate=rate,
        short_max=long_max - 1,
        long_max=long_max,
    )


def begun_short(problem: RebalanceProblem, seed: int = 0, *, count: int = 1, depth: float = 0.05):
    """Return an extended problem in which some assets are short already, in one short lot or two each.

    Their lots are sold for cash, and so is what is borrowed of them.

    Args:
        problem: A problem with a long/short extension.
        seed: Of the assets, their shares, taxes and gains.
        count: How many assets are short.
        depth: Largest short lot.
    """
    random = np.random.default_rng(1000 + seed)
    assets = np.sort(random.choice(problem.size, size=count, replace=False))
    keep = ~np.isin(problem.lot_asset, assets)
    asset = np.repeat(assets, random.integers(1, 3, count))
    step = (problem.share_step * problem.prices / problem.nav)[asset]
    steps = np.maximum(np.floor(random.uniform(0.2, 1.0, len(asset)) * depth / step), 1.0)
    shares, weight = steps * problem.share_step[asset], steps * step
    gain = random.uniform(-0.4, 0.4, len(asset))
    owed = np.bincount(asset, weight, problem.size)
    return changed(
        problem,
        lot_asset=problem.lot_asset[keep],
        lot_id=tuple(name for name, kept in zip(problem.lot_id, keep, strict=True) if kept),
        **{
            name: getattr(problem, name)[keep]
            for name in ("lot_shares", "lot_weight", "lot_tax", "lot_is_loss", "lot_locked", "lot_rank")
        },
        lot_gain=problem.lot_gain[keep] if len(problem.lot_gain) else problem.lot_gain,
        cash=1 - float(problem.lot_weight[keep].sum()) + float(weight.sum()),
        borrow_rate=np.where(owed > 0, np.minimum(problem.borrow_rate, 0.02), problem.borrow_rate),
        short_asset=asset,
        short_id=tuple(f"S{s}" for s in range(len(asset))),
        short_shares=shares,
        short_weight=weight,
        cover_tax=random.choice([0.0, 0.2, 0.4], len(asset)) * gain,
        cover_gain=gain,
    )
