"""The last word before an answer leaves: every rule checked again from the problem data, name by name.

Written without the arrays, the orders and the tolerances of the code that found the answer; plain loops over the names
that trade.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import CertificateRejectedError
from prometheus.optimizer.problem import FloatArray, RebalanceProblem

#: Accepted violation of a rule, fraction of NAV.
FEASIBILITY_TOLERANCE = 1e-7
#: Shares by which a sum of lots may differ from the trade (the rounding of the lots' ninth decimal).
_SHARES = 1e-8
#: Weights below this are not held.
_HELD = 1e-9
#: Units of the rules whose violation is no amount of money.
_UNITS = {
    "tracking error": "of tracking error a year",
    "linear limit": "in the limit's own unit",
    "number of names": "names",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    Attributes:
        rule: Name of the rule.
        subject: Ticker or lot, empty for the account.
        amount: How far: in the unit of the rule (``_UNITS``), a fraction of NAV for most.
    """

    rule: str
    subject: str
    amount: float


def violations_of_weights(problem: RebalanceProblem, trades: FloatArray) -> list[Violation]:
    """Check (N,) trade weights before rounding against bounds, locks, the group rule and the cash range."""
    if not np.isfinite(trades).all():
        return [Violation("finite trades", "", float("inf"))]
    sold = np.zeros(len(problem.lot_id))
    lots = _lots_by_name(problem)
    found: list[Violation] = []
    for i in np.flatnonzero(trades < 0):
        left = -float(trades[i])
        for j in _selling_order(problem, lots[i]):
            taken = min(left, float(problem.lot_weight[j]))
            sold[j] = taken
            left -= taken
        if left > 0:
            found += _short_violations(problem, int(i), left, lots[i])
    found += _account_violations(problem, trades, sold)
    return [violation for violation in found if violation.amount > 0]


def violations_of_shares(problem: RebalanceProblem, shares: FloatArray, lot_shares_sold: FloatArray) -> list[Violation]:
    """Check the rounded trade list: lots, steps, minimum trade and every rule of the account.

    Args:
        problem: The problem.
        shares: (N,) shares to trade, positive buys.
        lot_shares_sold: (L,) shares sold of each lot.
    """
    if not (np.isfinite(shares).all() and np.isfinite(lot_shares_sold).all()):
        return [Violation("finite trades", "", float("inf"))]
    value = problem.prices / problem.nav
    lots = _lots_by_name(problem)
    found: list[Violation] = []
    trades = np.zeros(problem.size)
    sold_weight = np.zeros(len(problem.lot_id))
    for j in np.flatnonzero(lot_shares_sold):
        sold, holds, lot_value = lot_shares_sold[j], problem.lot_shares[j], value[problem.lot_asset[j]]
        name = problem.lot_id[j]
        if sold < 0 or sold > holds:
            found.append(Violation("oversold", name, float(max(-sold, sold - holds) * lot_value)))
        if problem.lot_locked[j]:
            found.append(Violation("locked lot sold", name, float(abs(sold) * lot_value)))
        sold_weight[j] = problem.lot_weight[j] * (sold / holds) if holds > 0 else sold * lot_value
    for i in np.flatnonzero((shares != 0) | (np.bincount(problem.lot_asset, lot_shares_sold, problem.size) != 0)):
        mine = lots[i]
        total = sum(float(lot_shares_sold[j]) for j in mine)
        wanted = max(-float(shares[i]), 0.0)
        if wanted - total > _SHARES and problem.short_max > 0:
            found += _short_violations(problem, int(i), (wanted - total) * float(value[i]), mine)
            left = sum(float(problem.lot_shares[j]) - float(lot_shares_sold[j]) for j in mine)
            if left > _SHARES:
                found.append(Violation("short before its lots are sold", problem.tickers[i], left * float(value[i])))
        elif abs(total - wanted) > _SHARES:
            found.append(
                Violation("lots do not add up to the sale", problem.tickers[i], abs(total - wanted) * value[i])
            )
        found += _lot_order_violations(problem, mine, lot_shares_sold)
        short = max(wanted - total, 0.0) * value[i] if problem.short_max > 0 else 0.0
        trades[i] = shares[i] * value[i] if shares[i] > 0 else -sum(float(sold_weight[j]) for j in mine) - short
        liquidates = all(lot_shares_sold[j] == problem.lot_shares[j] for j in mine)
        steps = float(shares[i] / problem.share_step[i])
        off = abs(steps - round(steps)) * float(problem.share_step[i])
        if off > _SHARES and not (liquidates and shares[i] < 0):
            found.append(Violation("not a whole step", problem.tickers[i], off * float(value[i])))
        held = sum(float(problem.lot_weight[j]) for j in mine)
        forced = held > problem.upper[i] + 1e-12 or held < problem.lower[i] - 1e-12
        forced = forced or (problem.max_names is not None and liquidates)
        if abs(trades[i]) < problem.min_trade - FEASIBILITY_TOLERANCE and not forced:
            found.append(Violation("below the minimum trade", problem.tickers[i], problem.min_trade - abs(trades[i])))
    found += _account_violations(problem, trades, sold_weight)
    return [violation for violation in found if violation.amount > 0]


def reject(problem: RebalanceProblem, found: list[Violation], what: str) -> float:
    """Return the largest violation, or refuse.

    Raises:
        CertificateRejectedError: A violation exceeds the tolerance; the message names the worst.
    """
    worst = max(found, key=lambda violation: violation.amount, default=None)
    if worst is None:
        return 0.0
    if not worst.amount <= FEASIBILITY_TOLERANCE:
        subject = f" of {worst.subject}" if worst.subject else ""
        raise CertificateRejectedError(
            f"the {what} break the rule '{worst.rule}'{subject} by {_distance(worst, problem)}.",
            details={"rule": worst.rule, "subject": worst.subject, "violation": worst.amount, "count": len(found)},
        )
    return worst.amount


def _distance(violation: Violation, problem: RebalanceProblem) -> str:
    unit = _UNITS.get(violation.rule)
    if unit is not None:
        return f"{violation.amount:.3g} {unit}"
    return f"{violation.amount:.3g} of NAV ({violation.amount * problem.nav:.2f} in the base currency)"


def _account_violations(problem: RebalanceProblem, trades: FloatArray, sold: FloatArray) -> list[Violation]:
    """Check bounds, permissions, the group rule and cash, given the trades and the weight sold of each lot."""
    found: list[Violation] = []
    weights = problem.holdings() + trades
    for i in np.flatnonzero((weights < problem.lower) | (weights > problem.upper)):
        amount = float(max(problem.lower[i] - weights[i], weights[i] - problem.upper[i]))
        found.append(Violation("bounds", problem.tickers[i], amount))
    for rule, broken in (
        ("may not be bought", (trades > 0) & ~problem.can_buy),
        ("may not be sold", (trades < 0) & ~problem.can_sell),
    ):
        found += [Violation(rule, problem.tickers[i], abs(float(trades[i]))) for i in np.flatnonzero(broken)]
    at_a_loss: dict[int, float] = {}
    for j in np.flatnonzero((sold > 0) & problem.lot_is_loss):
        label = int(problem.group[problem.lot_asset[j]])
        at_a_loss[label] = at_a_loss.get(label, 0.0) + float(sold[j])
    for i in np.flatnonzero(trades > 0):
        loss = at_a_loss.get(int(problem.group[i]), 0.0)
        if loss > 0:
            found.append(
                Violation("bought in a group that sells a loss", problem.tickers[i], min(float(trades[i]), loss))
            )
    cash = problem.cash - float(trades.sum()) - float((problem.cost_rate * np.abs(trades)).sum())
    # what is to be paid out must be there, what comes in counts
    cash += problem.cash_flow
    found.append(Violation("cash range", "", max(problem.cash_min - cash, cash - problem.cash_max)))
    return found + _limit_violations(problem, weights, trades, sold)


def _limit_violations(
    problem: RebalanceProblem, weights: FloatArray, trades: FloatArray, sold: FloatArray
) -> list[Violation]:
    """Check the limits that join all names; each in its own unit (weight, turnover, gain, tracking error)."""
    found: list[Violation] = []
    for r, name in enumerate(problem.row_names):
        value = sum(float(problem.row_matrix[r, i]) * float(weights[i]) for i in np.flatnonzero(problem.row_matrix[r]))
        amount = max(float(problem.row_lower[r]) - value, value - float(problem.row_upper[r]))
        found.append(Violation("linear limit", name, amount))
    if problem.max_names is not None:
        held = int((weights > _HELD).sum())
        if held > problem.max_names:
            found.append(Violation("number of names", "", float(held - problem.max_names)))
    if problem.short_max > 0:
        longs, shorts = float(weights[weights > 0].sum()), -float(weights[weights < 0].sum())
        found.append(Violation("sum of shorts", "", shorts - problem.short_max))
        if np.isfinite(problem.long_max):
            found.append(Violation("sum of longs", "", longs - problem.long_max))
    if np.isfinite(problem.turnover_max):
        bought, sales = float(trades[trades > 0].sum()), -float(trades[trades < 0].sum())
        found.append(Violation("turnover", "", (bought + sales) / 2 - problem.turnover_max))
    if np.isfinite(problem.gain_max):
        gain = sum(float(problem.lot_gain[j]) * float(sold[j]) for j in np.flatnonzero(sold))
        found.append(Violation("realised gain", "", gain - problem.gain_max))
    if np.isfinite(problem.te_max):
        away = weights - (1.0 + problem.cash_flow) * problem.benchmark_weights
        exposure = problem.loadings.T @ away
        variance = float(exposure @ problem.factor_covariance @ exposure)
        variance += float((problem.specific_variance * away * away).sum())
        for block in problem.specific_blocks:
            inside = away[block.names]
            linked = block.covariance - np.diag(np.diag(block.covariance))
            variance += float(inside @ linked @ inside)
        found.append(Violation("tracking error", "", max(variance, 0.0) ** 0.5 - problem.te_max))
    return found


def _short_violations(problem: RebalanceProblem, i: int, weight: float, lots: list[int]) -> list[Violation]:
    """Check a sale beyond what may be sold of a name's lots: allowed where the account may go short in it."""
    if problem.short_max <= 0:
        return [Violation("oversold", problem.tickers[i], weight)]
    if not np.isfinite(problem.borrow_rate[i]):
        return [Violation("short without a borrow rate", problem.tickers[i], weight)]
    if any(problem.lot_locked[j] and problem.lot_shares[j] > 0 for j in lots):
        return [Violation("short beside a locked lot", problem.tickers[i], weight)]
    return []


def _lots_by_name(problem: RebalanceProblem) -> list[list[int]]:
    lots: list[list[int]] = [[] for _ in problem.tickers]
    for j, i in enumerate(problem.lot_asset.tolist()):
        lots[i].append(j)
    return lots


def _selling_order(problem: RebalanceProblem, lots: list[int]) -> list[int]:
    return sorted((j for j in lots if not problem.lot_locked[j]), key=lambda j: int(problem.lot_rank[j]))


def _lot_order_violations(problem: RebalanceProblem, lots: list[int], lot_shares_sold: FloatArray) -> list[Violation]:
    """Report a lot that was touched while an earlier one of the lot order was not yet used up."""
    found: list[Violation] = []
    open_shares = 0.0
    for j in _selling_order(problem, lots):
        sold = float(lot_shares_sold[j])
        if sold > 0 and open_shares > 0:
            amount = min(sold, open_shares) * float(problem.prices[problem.lot_asset[j]]) / problem.nav
            found.append(Violation("lot order", problem.lot_id[j], amount))
        open_shares += float(problem.lot_shares[j]) - sold
    return found
