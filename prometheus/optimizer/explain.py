"""The reason of each trade: what one more unit of it would change, price by price, and one sentence.

At the continuous optimum the parts of the objective's slope and the prices of the binding limits add to zero for every
asset strictly inside a piece of its cost. Where an asset rests on a bound, on the edge of a lot or at no trade the rest
is what its own bound or kink holds back. Source: docs/specs/optimizer.md.
"""

from collections.abc import Callable

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem.coupling import TRACKING_ERROR
from prometheus.optimizer.problem.lot_order import LotOrder
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.result import Explanation

_BPS = 1e4
#: Prices below this (bps of NAV per unit) are left out.
_NO_PRICE = 1e-9
#: Most assets listed that the cost of an order holds back: those nearest to a trade.
_MOST_HELD_BACK = 10
#: A trade that moves the active weight towards zero by less is not made for that.
_TOWARDS = 1e-9


def explain(
    problem: RebalanceProblem,
    lagrangian: Lagrangian,
    trades: FloatArray,
    dual: DualPoint,
    rounded: FloatArray,
    lot_shares_sold: FloatArray,
    orders: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[Explanation, ...]:
    """Explain every trade that is placed, and where an order has a cost the nearest ones that it held back.

    Args:
        problem: The problem.
        lagrangian: Its true pieces and prices.
        trades: (N,) trades before rounding, to which the marginal parts belong.
        dual: Prices that support them.
        rounded: (N,) trades after rounding, to which the reasons belong.
        lot_shares_sold: (L,) shares sold of each lot.
        orders: (N,) what an order in each asset saves at the prices before its own cost, and (N,) its trade
            (``Lagrangian.orders``); None where an order has no cost.
    """
    held_back = np.zeros(problem.size, dtype=bool)
    if orders is not None:
        held_back = _held_back(problem, orders[0], (trades == 0) & (rounded == 0))
    risk, cost, order = lagrangian.risk, lagrangian.cost, lagrangian.cost.order
    away = cost.active + trades
    # half the slope of the active variance
    pull = risk.price(risk.exposures(away)) + risk.specific_variance * away
    # every part for every asset at once; below only what is placed is written down, as plain numbers
    side = np.where(trades != 0, np.sign(trades), np.sign(rounded))
    if orders is not None:
        side = np.where(held_back, np.sign(orders[1]), side)
    tax, borrow, uses = np.zeros(problem.size), np.zeros(problem.size), cost.row_buy.copy()
    selling = np.flatnonzero((side < 0) & ((rounded != 0) | held_back))
    last = _last_lots(order, selling, -trades[selling])
    short = order.short[last]
    borrow[selling[short]] = -problem.borrow_rate[selling[short]] if short.any() else 0.0
    tax[selling[~short]] = -problem.tax_weight * problem.lot_tax[order.lot[last[~short]]]
    uses[:, selling] = -cost.row_sell[:, last]
    if cost.cover is not None:
        for i in np.flatnonzero((side > 0) & (cost.cover.owed > 0)).tolist():
            covered = cost.cover.last_touched(i, float(trades[i]))
            if covered is not None:
                tax[i] = problem.tax_weight * problem.cover_tax[covered]
                borrow[i] = -problem.borrow_rate[i]
                uses[:, i] = cost.row_buy[:, i] + cost.row_cover[:, covered]
    row_prices = dual.rows(cost.rows)
    priced = np.flatnonzero(row_prices)
    limits = [(lagrangian.rows.names[r], (_BPS * (row_prices[r] * uses[r])).tolist()) for r in priced]
    if dual.risk_price > 0:
        limits.append((TRACKING_ERROR, (_BPS * 2 * dual.risk_price * pull).tolist()))
    parts = {
        "active_risk": _BPS * 2 * problem.risk_aversion * pull,
        "tax": _BPS * tax,
        "trading_cost": _BPS * side * problem.cost_rate,
        "tilt": -_BPS * problem.tilt,
        "borrow": _BPS * borrow,
        "cash": _BPS * dual.cash_price * (1.0 + side * problem.cost_rate),
    }
    listed = {name: values.tolist() for name, values in parts.items()}
    traded: list[float] = rounded.tolist()
    reasons = _Reasons(problem, lagrangian, dual, rounded, lot_shares_sold)
    explained = []
    for i in np.flatnonzero((rounded != 0) | held_back).tolist():
        own = {name: values[i] for name, values in listed.items()}
        joint = tuple((name, values[i]) for name, values in limits)
        total = sum(own.values()) + sum(price for _, price in joint)
        explained.append(
            Explanation(
                ticker=problem.tickers[i],
                trade=traded[i],
                **own,
                limits=joint,
                bound=-total,
                reason=reasons.of(i) if orders is None else _with_order(problem, reasons.of, orders, traded[i], i),
            )
        )
    return tuple(explained)


def _held_back(problem: RebalanceProblem, saved: FloatArray, idle: BoolArray) -> BoolArray:
    """Return (N,) the assets without a trade whose order would be placed if it cost nothing, the nearest of them."""
    at = np.flatnonzero(idle & (saved > 0) & (saved <= problem.order_cost))
    at = at[np.argsort(-saved[at], kind="stable")][:_MOST_HELD_BACK]
    held_back = np.zeros(problem.size, dtype=bool)
    held_back[at] = True
    return held_back


def _with_order(
    problem: RebalanceProblem, reason: Callable[[int], str], orders: tuple[FloatArray, FloatArray], trade: float, i: int
) -> str:
    """Return the sentence with what the order is worth beside its cost."""
    worth, cost, wish = _BPS * float(orders[0][i]), _BPS * problem.order_cost, float(orders[1][i])
    if trade == 0:
        verb = "buying" if wish > 0 else "selling"
        return f"not traded: {verb} {abs(wish):.3%} of NAV would gain {worth:.3f} bps, an order costs {cost:.3f} bps"
    if cost < worth < float("inf"):
        return f"{reason(i)}; gains {worth:.3f} bps before the {cost:.3f} bps of its order"
    return reason(i)


def _last_lots(order: LotOrder, assets: IntArray, sold: FloatArray) -> IntArray:
    """Return the lot of each asset on which the next unit would be sold or kept, given what is sold of the asset."""
    amount = np.zeros(len(order.lots))
    amount[assets] = sold
    touched = np.bincount(order.asset, weights=order.start < amount[order.asset], minlength=len(amount))[assets]
    return order.bounds[assets] + np.maximum(touched.astype(np.int64) - 1, 0)


class _Reasons:
    """One sentence for each trade, from its effect on the account after trading."""

    def __init__(
        self,
        problem: RebalanceProblem,
        lagrangian: Lagrangian,
        dual: DualPoint,
        rounded: FloatArray,
        lot_shares_sold: FloatArray,
    ) -> None:
        self._problem, self._lagrangian, self._dual = problem, lagrangian, dual
        risk, before = lagrangian.risk, lagrangian.cost.active
        after = before + rounded
        gradient = 2 * (risk.price(risk.exposures(after)) + risk.specific_variance * after)
        norms = risk.shared_variance() + risk.specific_variance
        # the change of the active risk by this trade, all other trades given
        risk_cost = problem.risk_aversion * (gradient * rounded - norms * rounded * rounded)
        held = problem.lot_shares > 0
        part = np.zeros(len(problem.lot_id))
        part[held] = lot_shares_sold[held] / problem.lot_shares[held]
        sold = problem.lot_weight * part
        count = problem.size
        tax = np.bincount(problem.lot_asset, weights=problem.lot_tax * sold, minlength=count)
        gain = problem.lot_gain * sold if len(problem.lot_gain) else np.zeros(len(sold))
        held_before = problem.holdings() if problem.may_be_short else np.zeros(count)
        held_after = held_before + rounded if problem.may_be_short else held_before
        self._held = _plain(held_before)
        # plain numbers: they are read and written down one by one
        self._trade, self._before, self._after = _plain(rounded), _plain(before), _plain(held_after)
        self._risk_cost, self._tax = _plain(risk_cost), _plain(tax.astype(np.float64))
        self._gain = _plain(np.bincount(problem.lot_asset, weights=gain, minlength=count).astype(np.float64))
        self._low, self._high = _plain(lagrangian.limits.low), _plain(lagrangian.limits.high)

    def of(self, i: int) -> str:
        """Return the reason of one asset's trade."""
        problem, trade = self._problem, self._trade[i]
        if self._low[i] > 0:
            return f"raise to its least weight {problem.lower[i]:.2%}"
        if self._high[i] < 0:
            return f"lower to its greatest weight {problem.upper[i]:.2%}"
        risk = _BPS * self._risk_cost[i]
        at = f"active risk {'cost' if risk >= 0 else 'gain'} {abs(risk):.2f} bps"
        if trade > 0 and self._held[i] < 0:
            to = f"to {self._after[i]:.3%}" if self._after[i] < -_TOWARDS else "wholly"
            saved = _BPS * float(problem.borrow_rate[i] * (min(self._after[i], 0.0) - self._held[i]))
            return f"cover {self._held[i]:.3%} of NAV {to}, borrowing costs {saved:.2f} bps a year less, {at}"
        if self._after[i] < -_TOWARDS:
            paid = _BPS * float(problem.borrow_rate[i] * -self._after[i])
            return f"sell short to {self._after[i]:.3%} of NAV, borrowing costs {paid:.2f} bps a year, {at}"
        if trade < 0 and self._tax[i] < 0:
            loss = f"loss of {-self._gain[i]:.3%} of NAV, " if self._gain[i] < 0 else ""
            return f"harvest: {loss}tax saved {-_BPS * self._tax[i]:.2f} bps of NAV, {at}"
        before = self._before[i]
        after = before + trade
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
        uses = lagrangian.cost.row_use_of_asset(i, trade)
        for name, price, use in zip(lagrangian.rows.names, dual.rows(lagrangian.cost.rows), uses, strict=True):
            gains[f"meet the limit on {name}"] = -float(price * use)
        best = max(gains, key=lambda name: gains[name])
        return best if gains[best] > _NO_PRICE / _BPS else "rounding to whole steps"


def _plain(values: FloatArray) -> list[float]:
    plain: list[float] = values.tolist()
    return plain
