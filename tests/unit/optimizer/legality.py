"""Whether a trade list is legal: every rule of a problem, checked without any of the optimizer's code."""

import numpy as np

from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from prometheus.optimizer.result import RebalanceResult

#: Accepted in weights, turnover, gains and tracking error.
TOLERANCE = 1e-9


def broken_rules(problem: RebalanceProblem, result: RebalanceResult) -> list[str]:
    """Return a sentence for each rule that the rounded trades break; empty where they are legal."""
    shares, sold = result.shares, result.lot_shares_sold
    if not (np.isfinite(shares).all() and np.isfinite(sold).all()):
        return ["a trade is not finite"]
    value = problem.prices / problem.nav
    asset = problem.lot_asset
    by_name = np.bincount(asset, weights=sold, minlength=problem.size)
    held_shares = np.bincount(asset, weights=problem.lot_shares, minlength=problem.size)
    # what an account that may go short sells beyond its lots
    short = np.round(np.maximum(-shares - by_name, 0.0), 8) * (problem.short_max > 0)
    after = held_shares - by_name + np.maximum(shares, 0.0)
    held = problem.holdings()
    part_left = 1 - np.divide(sold, problem.lot_shares, out=np.zeros(len(sold)), where=problem.lot_shares > 0)
    left = np.bincount(asset, weights=problem.lot_weight * part_left, minlength=problem.size)
    weights = left + np.maximum(shares, 0.0) * value - short * value - problem.owed()
    trades = weights - held
    covered, paid = np.zeros(len(problem.short_id)), np.maximum(trades, 0.0)
    for s, i in enumerate(problem.short_asset):
        covered[s] = min(problem.short_weight[s], paid[i])
        paid[i] -= covered[s]
    losing = np.unique(problem.group[asset[(sold > 0) & problem.lot_is_loss]])
    liquidated = (after == 0) & (shares < 0)
    steps = shares / problem.share_step
    whole = np.abs(steps - np.round(steps)) * problem.share_step <= 1e-8
    large = np.abs(trades) >= problem.min_trade - TOLERANCE
    forced = (held > problem.upper) | (held < problem.lower)
    if problem.max_names is not None:
        # a small position may be sold out to meet the number of assets
        forced |= liquidated
    cash = problem.cash + problem.cash_flow - trades.sum() - (problem.cost_rate * np.abs(trades)).sum()
    active = weights - (1 + problem.cash_flow) * problem.benchmark_weights
    exposure = problem.loadings.T @ active
    variance = exposure @ problem.factor_covariance @ exposure + problem.specific_variance @ active**2
    for block in problem.specific_blocks:
        inside = active[block.names]
        variance += inside @ block.covariance @ inside - problem.specific_variance[block.names] @ inside**2
    unlent = ~np.isfinite(problem.borrow_rate) if len(problem.borrow_rate) else np.ones(problem.size, dtype=bool)
    use = problem.row_matrix @ weights if len(problem.row_names) else np.zeros(0)
    missed = (use > problem.row_upper + TOLERANCE) | (use < problem.row_lower - TOLERANCE)
    most_names = problem.size if problem.max_names is None else problem.max_names
    gain = problem.lot_gain @ (problem.lot_weight * (1 - part_left)) if len(problem.lot_gain) else 0.0
    gain += problem.cover_gain @ covered if len(problem.cover_gain) else 0.0
    rules = {
        "an asset is bought and sold": ((by_name > 0) & (shares > 0)).any(),
        "lots do not add to the sale": (np.abs(by_name + short - np.maximum(-shares, 0.0)) > 1e-8).any(),
        "a lot is oversold": ((sold < 0) | (sold > problem.lot_shares)).any(),
        "a locked lot is sold": sold[problem.lot_locked].any(),
        "a loss is washed by a purchase of its group": np.isin(problem.group[shares > 0], losing).any(),
        "a lot is sold before an earlier one": _out_of_order(problem, sold),
        "an asset is short": (weights < -TOLERANCE).any() and not problem.may_be_short,
        "an asset is short before its lots are sold": ((short > 0) & (after > 1e-8)).any(),
        "an asset is short that nobody lends": (short[unlent] > 0).any(),
        "shorts exceed their sum": -weights[weights < 0].sum() > problem.short_max + TOLERANCE,
        "longs exceed their sum": weights[weights > 0].sum() > problem.long_max + TOLERANCE,
        "an asset is below its least weight": (weights < problem.lower - TOLERANCE).any(),
        "an asset is above its greatest weight": (weights > problem.upper + TOLERANCE).any(),
        "an asset that may not be bought is bought": (shares[~problem.can_buy] > 0).any(),
        "an asset that may not be sold is sold": (shares[~problem.can_sell] < 0).any(),
        "a trade is not a whole number of steps": (~whole & ~liquidated).any(),
        "a trade is below the minimum": (~large & ~forced & (shares != 0)).any(),
        "cash is outside its range": not problem.cash_min - TOLERANCE <= cash <= problem.cash_max + TOLERANCE,
        "cash is not what is reported": abs(cash - result.cash_after) > TOLERANCE,
        "a linear limit is missed": missed.any(),
        "turnover is exceeded": np.abs(trades).sum() / 2 > problem.turnover_max + TOLERANCE,
        "gains exceed their budget": gain > problem.gain_max + TOLERANCE,
        "tracking error is exceeded": np.sqrt(max(variance, 0.0)) > problem.te_max + TOLERANCE,
        "too many assets are held": int((weights > TOLERANCE).sum()) > most_names,
        "the weights are not what is reported": np.abs(weights - result.rounded_weights).max(initial=0.0) > TOLERANCE,
    }
    return [rule for rule, broken in rules.items() if broken]


def _out_of_order(problem: RebalanceProblem, sold: np.ndarray) -> bool:
    for i in np.unique(problem.lot_asset[sold > 0]):
        mine = [j for j in np.flatnonzero(problem.lot_asset == i) if not problem.lot_locked[j]]
        unsold = 0.0
        for j in sorted(mine, key=lambda j: problem.lot_rank[j]):
            if sold[j] > 0 and unsold > 1e-8:
                return True
            unsold += problem.lot_shares[j] - sold[j]
    return False
