"""What a snapshot's short positions are to the optimizer: short lots with the tax of covering them, bounds, rates.

Source: 26 U.S.C. 1091(e), 1233; docs/specs/optimizer.md, "Short already".
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from prometheus.decision.snapshot import Snapshot
from prometheus.decision.wash_locks import is_in_window
from prometheus.domain.lots import ShortPosition, Side, Term
from prometheus.domain.strategy import StrategyParams
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ShortColumns:
    """The short lots of a problem, by asset in the order in which the ledger covers them: see ``RebalanceProblem``."""

    asset: IntArray
    ids: tuple[str, ...]
    shares: FloatArray
    weight: FloatArray
    tax: FloatArray
    gain: FloatArray

    def owed(self, size: int) -> FloatArray:
        """Return (N,) the weight owed of each of ``size`` assets."""
        return np.bincount(self.asset, weights=self.weight, minlength=size).astype(np.float64)


def short_columns(snapshot: Snapshot, nav: float) -> ShortColumns:
    """Return a snapshot's short positions as the optimizer's short lots.

    What covering realises is short-term; a loss is long-term where shares held for more than a year stood beside the
    short sale. A loss near another short sale or a sale of the group counts as nothing: it will be disallowed.

    Args:
        snapshot: The account's day.
        nav: Net asset value, base currency.
    """
    position = {name.ticker: i for i, name in enumerate(snapshot.universe)}
    shorts = sorted(snapshot.shorts, key=lambda short: position[short.ticker])
    values = [short.quantity * snapshot.universe[position[short.ticker]].price for short in shorts]
    tax, gain = [], []
    for short, value in zip(shorts, values, strict=True):
        realised = short.proceeds / value - 1
        washed = realised < 0 and _is_washed(snapshot, short)
        rate = snapshot.rates.of(Term.LONG if realised < 0 and short.was_held_long else Term.SHORT)
        tax.append(0.0 if washed else float(rate * realised))
        gain.append(0.0 if washed else float(realised))
    return ShortColumns(
        asset=np.array([position[short.ticker] for short in shorts], dtype=np.int64),
        ids=tuple(short.lot_id for short in shorts),
        shares=np.array([float(short.quantity) for short in shorts]),
        weight=np.array([float(value) / nav for value in values]),
        tax=np.array(tax),
        gain=np.array(gain),
    )


def _is_washed(snapshot: Snapshot, short: ShortPosition) -> bool:
    """Return whether another short sale or a sale at a loss of the group lies in the window before the day."""
    group_of = {name.ticker: name.group for name in snapshot.universe}
    group, day = group_of[short.ticker], snapshot.as_of
    others = (other for other in snapshot.shorts if other.lot_id != short.lot_id)
    sales = (trade for trade in snapshot.recent_trades if trade.side is Side.SELL)
    return any(group_of[other.ticker] == group and is_in_window(other.sold_on, day) for other in others) or any(
        group_of.get(sale.ticker) == group and is_in_window(sale.trade_date, day) for sale in sales
    )


def borrow_rates(snapshot: Snapshot) -> FloatArray:
    """Return (N,) annual borrow rates, infinite for assets that nobody lends.

    What is short and not lent any more is called back: it is covered on the day, and its rate does not matter.
    """
    rates = np.array([float(snapshot.borrow_rates.get(name.ticker, "inf")) for name in snapshot.universe])
    recalled = _recalled(snapshot)
    return np.array([0.0 if i in recalled else rate for i, rate in enumerate(rates.tolist())])


def _recalled(snapshot: Snapshot) -> frozenset[int]:
    owed = {short.ticker for short in snapshot.shorts}
    names = enumerate(snapshot.universe)
    return frozenset(i for i, name in names if name.ticker in owed and name.ticker not in snapshot.borrow_rates)


@dataclass(frozen=True, slots=True, eq=False)
class ShortBounds:
    """Bounds and permissions with those of the short positions in them."""

    lower: FloatArray
    upper: FloatArray
    can_buy: BoolArray
    short_max: float


def short_bounds(
    snapshot: Snapshot,
    params: StrategyParams,
    owed: FloatArray,
    never: AbstractSet[str],
    bounds: tuple[FloatArray, FloatArray],
    buyable: BoolArray,
) -> ShortBounds:
    """Return bounds for the assets that are short, and the largest sum of short positions.

    A wash-sale lock forbids purchases, and a cover is none: it may go as far as nothing being held. What is called
    back, and what must never be held, is covered wholly where it can be bought. Positions that cannot be bought do not
    make the sum of shorts impossible.

    Args:
        snapshot: The account's day.
        params: Merged strategy parameters.
        owed: (N,) weight owed of each asset.
        never: Tickers that must not be held.
        bounds: (N,) least and (N,) greatest weights as for an account that is not short.
        buyable: (N,) what such an account may buy.
    """
    most = params.long_max - 1 if params.long_max > 1 else 0.0
    if not owed.any():
        return ShortBounds(*bounds, buyable, most)
    lower, upper, can_buy = bounds[0].copy(), bounds[1].copy(), buyable.copy()
    locked = {lock.subject for lock in snapshot.buy_locks}
    missing, recalled = set(snapshot.missing_prices()), _recalled(snapshot)
    for i in np.flatnonzero(owed > 0).tolist():
        name = snapshot.universe[i]
        can_cover = name.ticker not in missing and name.ticker not in params.no_buy
        if name.group in locked or name.ticker in never:
            upper[i] = 0.0
        can_buy[i] = can_cover
        lower[i] = min(lower[i], -owed[i])
        if can_cover and (i in recalled or name.ticker in never):
            lower[i] = 0.0
        elif i in recalled:
            lower[i] = -owed[i]
    return ShortBounds(lower, upper, can_buy, max(most, float(owed[~can_buy].sum())))
