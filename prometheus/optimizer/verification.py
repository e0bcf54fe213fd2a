"""The last check of an answer: every rule is checked again from the problem data, asset by asset.

Written without the arrays, the orders and the tolerances of the code that found the answer; plain loops over the assets
that trade.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import CertificateRejectedError
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem

#: Accepted violation of a rule, fraction of NAV.
FEASIBILITY_TOLERANCE = 1e-7
#: Shares by which a sum of lots may differ from the trade: the rounding of the lots' ninth decimal, and of many shares
#: the last bits.
_SHARES = 1e-8
_LAST_BITS = 4e-16
#: Weights below this are not held.
_HELD = 1e-9
#: Units of the rules whose violation is no amount of money.
_UNITS = {
    "tracking error": "of tracking error a year",
    "linear limit": "in the limit's own unit",
    "number of names": "assets",
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
    lots = _Lots(problem)
    sold = [0.0] * len(problem.lot_id)
    violations: list[Violation] = []
    for i in np.flatnonzero(trades < 0).tolist():
        left = -float(trades[i])
        for j in lots.selling_order(i):
            taken = min(left, lots.weight[j])
            sold[j] = taken
            left -= taken
            if left <= 0:
                break
        if left > 0:
            violations += _short_violations(problem, i, left, lots.of_asset[i])
    violations += _account_violations(problem, trades, np.array(sold))
    return [violation for violation in violations if violation.amount > 0]


def violations_of_shares(problem: RebalanceProblem, shares: FloatArray, lot_shares_sold: FloatArray) -> list[Violation]:
    """Check the rounded trade list: lots, steps, minimum trade and every rule of the account.

    Args:
        problem: The problem.
        shares: (N,) shares to trade, positive buys.
        lot_shares_sold: (L,) shares sold of each lot.
    """
    if not (np.isfinite(shares).all() and np.isfinite(lot_shares_sold).all()):
        return [Violation("finite trades", "", float("inf"))]
    # plain numbers, because they are compared one by one below
    value, asked, lots = (problem.prices / problem.nav).tolist(), shares.tolist(), _Lots(problem)
    step, lower, upper = problem.share_step.tolist(), problem.lower.tolist(), problem.upper.tolist()
    sold: list[float] = lot_shares_sold.tolist()
    violations: list[Violation] = []
    trades = np.zeros(problem.size)
    sold_weight = [0.0] * len(sold)
    for j in np.flatnonzero(lot_shares_sold).tolist():
        holds, lot_value, lot_id = lots.shares[j], value[lots.owner[j]], problem.lot_id[j]
        if sold[j] < 0 or sold[j] > holds:
            violations.append(Violation("oversold", lot_id, max(-sold[j], sold[j] - holds) * lot_value))
        if lots.locked[j]:
            violations.append(Violation("locked lot sold", lot_id, abs(sold[j]) * lot_value))
        sold_weight[j] = lots.weight[j] * (sold[j] / holds) if holds > 0 else sold[j] * lot_value
    owed: dict[int, float] = {}
    for i, weight in zip(problem.short_asset.tolist(), problem.short_weight.tolist(), strict=True):
        owed[i] = owed.get(i, 0.0) + weight
    moves = (shares != 0) | (np.bincount(problem.lot_asset, lot_shares_sold, problem.size) != 0)
    for i in np.flatnonzero(moves).tolist():
        mine, ticker, wished = lots.of_asset[i], problem.tickers[i], asked[i]
        total = sum(sold[j] for j in mine)
        wanted = max(-wished, 0.0)
        nearly = max(_SHARES, _LAST_BITS * abs(wished))
        if wanted - total > nearly and problem.short_max > 0:
            violations += _short_violations(problem, i, (wanted - total) * value[i], mine)
            left = sum(lots.shares[j] - sold[j] for j in mine)
            if left > nearly:
                violations.append(Violation("short before its lots are sold", ticker, left * value[i]))
        elif abs(total - wanted) > nearly:
            violations.append(Violation("lots do not add up to the sale", ticker, abs(total - wanted) * value[i]))
        violations += _lot_order_violations(problem, lots, i, sold)
        short = max(wanted - total, 0.0) * value[i] if problem.short_max > 0 else 0.0
        trade = wished * value[i] if wished > 0 else -sum(sold_weight[j] for j in mine) - short
        trades[i] = trade
        liquidates = all(sold[j] == lots.shares[j] for j in mine)
        steps = wished / step[i]
        off = abs(steps - round(steps)) * step[i]
        if off > nearly and not (liquidates and wished < 0):
            violations.append(Violation("not a whole step", ticker, off * value[i]))
        held = sum(lots.weight[j] for j in mine) - owed.get(i, 0.0)
        forced = held > upper[i] + 1e-12 or held < lower[i] - 1e-12
        forced = forced or (problem.max_names is not None and liquidates)
        if abs(trade) < problem.min_trade - FEASIBILITY_TOLERANCE and not forced:
            violations.append(Violation("below the minimum trade", ticker, problem.min_trade - abs(trade)))
    violations += _account_violations(problem, trades, np.array(sold_weight))
    return [violation for violation in violations if violation.amount > 0]


def reject(problem: RebalanceProblem, violations: list[Violation], what: str) -> float:
    """Return the largest violation, or refuse.

    Raises:
        CertificateRejectedError: A violation exceeds the tolerance; the message names the worst.
    """
    worst = max(violations, key=lambda violation: violation.amount, default=None)
    if worst is None:
        return 0.0
    if not worst.amount <= FEASIBILITY_TOLERANCE:
        subject = f" of {worst.subject}" if worst.subject else ""
        raise CertificateRejectedError(
            f"the {what} break the rule '{worst.rule}'{subject} by {_distance(worst, problem)}.",
            details={"rule": worst.rule, "subject": worst.subject, "violation": worst.amount, "count": len(violations)},
        )
    return worst.amount


def _distance(violation: Violation, problem: RebalanceProblem) -> str:
    unit = _UNITS.get(violation.rule)
    if unit is not None:
        return f"{violation.amount:.3g} {unit}"
    return f"{violation.amount:.3g} of NAV ({violation.amount * problem.nav:.2f} in the base currency)"


def _account_violations(problem: RebalanceProblem, trades: FloatArray, sold: FloatArray) -> list[Violation]:
    """Check bounds, permissions, the group rule and cash, given the trades and the weight sold of each lot."""
    violations: list[Violation] = []
    weights = problem.holdings() + trades
    for i in np.flatnonzero((weights < problem.lower) | (weights > problem.upper)):
        amount = float(max(problem.lower[i] - weights[i], weights[i] - problem.upper[i]))
        violations.append(Violation("bounds", problem.tickers[i], amount))
    for rule, broken in (
        ("may not be bought", (trades > 0) & ~problem.can_buy),
        ("may not be sold", (trades < 0) & ~problem.can_sell),
    ):
        violations += [Violation(rule, problem.tickers[i], abs(float(trades[i]))) for i in np.flatnonzero(broken)]
    at_a_loss: dict[int, float] = {}
    for j in np.flatnonzero((sold > 0) & problem.lot_is_loss):
        label = int(problem.group[problem.lot_asset[j]])
        at_a_loss[label] = at_a_loss.get(label, 0.0) + float(sold[j])
    for i in np.flatnonzero(trades > 0):
        loss = at_a_loss.get(int(problem.group[i]), 0.0)
        if loss > 0:
            violations.append(
                Violation("bought in a group that sells a loss", problem.tickers[i], min(float(trades[i]), loss))
            )
    cash = problem.cash - float(trades.sum()) - float((problem.cost_rate * np.abs(trades)).sum())
    # what is to be paid out must be there, what comes in counts
    cash += problem.cash_flow
    violations.append(Violation("cash range", "", max(problem.cash_min - cash, cash - problem.cash_max)))
    return violations + _limit_violations(problem, weights, trades, sold)


def _limit_violations(
    problem: RebalanceProblem, weights: FloatArray, trades: FloatArray, sold: FloatArray
) -> list[Violation]:
    """Check the limits that join all assets; each in its own unit (weight, turnover, gain, tracking error)."""
    violations: list[Violation] = []
    for r, name in enumerate(problem.row_names):
        value = sum(float(problem.row_matrix[r, i]) * float(weights[i]) for i in np.flatnonzero(problem.row_matrix[r]))
        amount = max(float(problem.row_lower[r]) - value, value - float(problem.row_upper[r]))
        violations.append(Violation("linear limit", name, amount))
    if problem.max_names is not None:
        held = int((weights > _HELD).sum())
        if held > problem.max_names:
            violations.append(Violation("number of names", "", float(held - problem.max_names)))
    if problem.may_be_short:
        longs, shorts = float(weights[weights > 0].sum()), -float(weights[weights < 0].sum())
        violations.append(Violation("sum of shorts", "", shorts - problem.short_max))
        if np.isfinite(problem.long_max):
            violations.append(Violation("sum of longs", "", longs - problem.long_max))
    if np.isfinite(problem.turnover_max):
        bought, sales = float(trades[trades > 0].sum()), -float(trades[trades < 0].sum())
        violations.append(Violation("turnover", "", (bought + sales) / 2 - problem.turnover_max))
    if np.isfinite(problem.gain_max):
        gain = sum(float(problem.lot_gain[j]) * float(sold[j]) for j in np.flatnonzero(sold))
        gain += sum(float(problem.cover_gain[s]) * weight for s, weight in _covered(problem, trades))
        violations.append(Violation("realised gain", "", gain - problem.gain_max))
    if np.isfinite(problem.te_max):
        away = weights - (1.0 + problem.cash_flow) * problem.benchmark_weights
        exposure = problem.loadings.T @ away
        variance = float(exposure @ problem.factor_covariance @ exposure)
        variance += float((problem.specific_variance * away * away).sum())
        for block in problem.specific_blocks:
            inside = away[block.names]
            linked = block.covariance - np.diag(np.diag(block.covariance))
            variance += float(inside @ linked @ inside)
        violations.append(Violation("tracking error", "", max(variance, 0.0) ** 0.5 - problem.te_max))
    return violations


def _covered(problem: RebalanceProblem, trades: FloatArray) -> Iterator[tuple[int, float]]:
    """Yield what purchases cover of each short lot, in the order of the problem."""
    left = {i: max(float(trades[i]), 0.0) for i in problem.short_asset.tolist()}
    for s, i in enumerate(problem.short_asset.tolist()):
        taken = min(left[i], float(problem.short_weight[s]))
        left[i] -= taken
        yield s, taken


def _short_violations(problem: RebalanceProblem, i: int, weight: float, lots: list[int]) -> list[Violation]:
    """Check a sale beyond what may be sold of an asset's lots: allowed where the account may go short in it."""
    if problem.short_max <= 0:
        return [Violation("oversold", problem.tickers[i], weight)]
    if not np.isfinite(problem.borrow_rate[i]):
        return [Violation("short without a borrow rate", problem.tickers[i], weight)]
    if any(problem.lot_locked[j] and problem.lot_shares[j] > 0 for j in lots):
        return [Violation("short beside a locked lot", problem.tickers[i], weight)]
    return []


class _Lots:
    """The problem's lots as plain numbers.

    Attributes:
        of_asset: The lots of each asset.
        owner: The asset of each lot.
        shares: Shares of each lot.
        weight: Its market value as a fraction of NAV.
        locked: True where it must not be sold.
    """

    def __init__(self, problem: RebalanceProblem) -> None:
        self.owner: list[int] = problem.lot_asset.tolist()
        self.shares: list[float] = problem.lot_shares.tolist()
        self.weight: list[float] = problem.lot_weight.tolist()
        self.locked: list[bool] = problem.lot_locked.tolist()
        self._rank: list[int] = problem.lot_rank.tolist()
        self.of_asset: list[list[int]] = [[] for _ in problem.tickers]
        for j, i in enumerate(self.owner):
            self.of_asset[i].append(j)

    def selling_order(self, i: int) -> list[int]:
        """Return the lots of an asset that may be sold, in the account's order."""
        return sorted((j for j in self.of_asset[i] if not self.locked[j]), key=self._rank.__getitem__)


def _lot_order_violations(problem: RebalanceProblem, lots: _Lots, i: int, sold: list[float]) -> list[Violation]:
    """Report a lot that was touched while an earlier one of the lot order was not yet used up."""
    violations: list[Violation] = []
    open_shares = 0.0
    for j in lots.selling_order(i):
        if sold[j] > 0 and open_shares > 0:
            amount = min(sold[j], open_shares) * float(problem.prices[i]) / problem.nav
            violations.append(Violation("lot order", problem.lot_id[j], amount))
        open_shares += lots.shares[j] - sold[j]
    return violations
