"""Why each trade is made: what one more unit of it would change, price by price, and one sentence.

At the continuous optimum the parts of the objective's slope and the prices of the binding limits add to zero for every
name strictly inside a piece of its cost. Where a name rests on a bound, on the edge of a lot or at no trade the rest is
what its own bound or kink holds back. Source: docs/specs/optimizer.md.
"""

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.coupling import TRACKING_ERROR
from prometheus.optimizer.problem import FloatArray, RebalanceProblem
from prometheus.optimizer.result import Explanation

_BPS = 1e4
#: Prices below this (bps of NAV per unit) are not told.
_NO_PRICE = 1e-9
#: A trade that moves the active weight towards zero by less is not made for that.
_TOWARDS = 1e-9


def explain(
    problem: RebalanceProblem,
    lagrangian: Lagrangian,
    trades: FloatArray,
    dual: DualPoint,
    rounded: FloatArray,
    lot_shares_sold: FloatArray,
) -> tuple[Explanation, ...]:
    """Explain every trade that is placed.

    Args:
        problem: The problem.
        lagrangian: Its true pieces and prices.
        trades: (N,) trades before rounding, to which the marginal parts belong.
        dual: Prices that support them.
        rounded: (N,) trades after rounding, to which the reasons belong.
        lot_shares_sold: (L,) shares sold of each lot.
    """
    risk, cost, order = lagrangian.risk, lagrangian.cost, lagrangian.cost.order
    away = cost.active + trades
    # half the slope of the active variance
    pull = risk.price(risk.exposures(away)) + risk.specific_variance * away
    row_prices = dual.rows(cost.rows)
    reasons = _Reasons(problem, lagrangian, dual, rounded, lot_shares_sold)
    explained = []
    for i in np.flatnonzero(rounded):
        side = float(np.sign(trades[i]) or np.sign(rounded[i]))
        tax, borrow, uses = 0.0, 0.0, cost.row_buy[:, i]
        if side < 0:
            begin, end = np.searchsorted(order.asset, [i, i + 1])
            # the lot on which the next unit would be sold or kept
            last = max(int(np.searchsorted(order.start[begin:end], -trades[i], side="left")) - 1, 0) + int(begin)
            if order.short[last]:
                borrow = -float(problem.borrow_rate[i])
            else:
                tax = -problem.tax_weight * float(problem.lot_tax[order.lot[last]])
            uses = -cost.row_sell[:, last]
        limits = [
            (name, _BPS * float(price * use))
            for name, price, use in zip(lagrangian.rows.names, row_prices, uses, strict=True)
            if price != 0
        ]
        if dual.risk_price > 0:
            limits.append((TRACKING_ERROR, _BPS * 2 * dual.risk_price * float(pull[i])))
        parts = {
            "active_risk": _BPS * 2 * problem.risk_aversion * float(pull[i]),
            "tax": _BPS * tax,
            "trading_cost": _BPS * side * float(problem.cost_rate[i]),
            "tilt": -_BPS * float(problem.tilt[i]),
            "borrow": _BPS * borrow,
            "cash": _BPS * dual.cash_price * (1.0 + side * float(problem.cost_rate[i])),
        }
        total = sum(parts.values()) + sum(price for _, price in limits)
        explained.append(
            Explanation(
                ticker=problem.tickers[i],
                trade=float(rounded[i]),
                **parts,
                limits=tuple(limits),
                bound=-total,
                reason=reasons.of(int(i)),
            )
        )
    return tuple(explained)


class _Reasons:
    """One sentence for each trade, from what it does to the account as it stands after trading."""

    def __init__(
        self,
        problem: RebalanceProblem,
        lagrangian: Lagrangian,
        dual: DualPoint,
        rounded: FloatArray,
        lot_shares_sold: FloatArray,
    ) -> None:
        self._problem, self._lagrangian, self._dual, self._rounded = problem, lagrangian, dual, rounded
        self._before = lagrangian.cost.active
        self._after = problem.holdings() + rounded if problem.short_max > 0 else np.zeros(problem.size)
        risk = lagrangian.risk
        after = self._before + rounded
        gradient = 2 * (risk.price(risk.exposures(after)) + risk.specific_variance * after)
        norms = risk.shared_variance() + risk.specific_variance
        # what the active risk is more for the trade having been made, all others as they are
        self._risk_cost = problem.risk_aversion * (gradient * rounded - norms * rounded * rounded)
        held = problem.lot_shares > 0
        part = np.zeros(len(problem.lot_id))
        part[held] = lot_shares_sold[held] / problem.lot_shares[held]
        sold = problem.lot_weight * part
        names = problem.size
        self._tax = np.bincount(problem.lot_asset, weights=problem.lot_tax * sold, minlength=names)
        gain = problem.lot_gain * sold if len(problem.lot_gain) else np.zeros(len(sold))
        self._gain = np.bincount(problem.lot_asset, weights=gain, minlength=names)

    def of(self, i: int) -> str:
        """Return the reason of one name's trade."""
        problem, trade = self._problem, float(self._rounded[i])
        low, high = self._lagrangian.limits.low[i], self._lagrangian.limits.high[i]
        if low > 0:
            return f"raise to its least weight {problem.lower[i]:.2%}"
        if high < 0:
            return f"lower to its greatest weight {problem.upper[i]:.2%}"
        risk = _BPS * float(self._risk_cost[i])
        at = f"active risk {'cost' if risk >= 0 else 'gain'} {abs(risk):.2f} bps"
        if self._after[i] < -_TOWARDS:
            paid = _BPS * float(problem.borrow_rate[i] * -self._after[i])
            return f"sell short to {self._after[i]:.3%} of NAV, borrowing costs {paid:.2f} bps a year, {at}"
        if trade < 0 and self._tax[i] < 0:
            loss = f"loss of {-self._gain[i]:.3%} of NAV, " if self._gain[i] < 0 else ""
            return f"harvest: {loss}tax saved {-_BPS * float(self._tax[i]):.2f} bps of NAV, {at}"
        before, after = float(self._before[i]), float(self._before[i]) + trade
        if abs(after) < abs(before) - _TOWARDS:
            return f"reduce active weight from {before:+.3%} to {after:+.3%}, {at}"
        if risk < 0:
            return f"offset the factor exposures of other names, {at}"
        return f"{self._driver(i, trade)}, {at}"

    def _driver(self, i: int, trade: float) -> str:
        """Return what pays for a trade that adds active risk: cash, a limit or the tilt."""
        dual, lagrangian = self._dual, self._lagrangian
        gains = {"raise cash" if trade < 0 else "invest cash": -dual.cash_price * trade}
        if problem_tilt := float(self._problem.tilt[i]):
            gains["tilt"] = problem_tilt * trade
        uses = lagrangian.cost.row_use_of_name(i, trade)
        for name, price, use in zip(lagrangian.rows.names, dual.rows(lagrangian.cost.rows), uses, strict=True):
            gains[f"meet the limit on {name}"] = -float(price * use)
        best = max(gains, key=lambda name: gains[name])
        return best if gains[best] > _NO_PRICE / _BPS else "rounding to whole steps"
