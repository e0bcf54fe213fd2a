"""Wash-sale locks of an account's day with their causes in words; one way for the engine and for a problem file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from prometheus.decision.snapshot import LockRecord, UniverseName
from prometheus.decision.wash_locks import BuyLock, LossSaleLock, buy_locks, loss_sale_locks
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import RecentTrade, TaxLot


@dataclass(frozen=True, slots=True)
class DayLocks:
    """Groups not to buy, in alphabetical order, and lots whose loss would be washed, in the order of the lots."""

    buy: tuple[LockRecord, ...]
    loss_sale: tuple[LockRecord, ...]


def day_locks(
    universe: Iterable[UniverseName],
    lots: Sequence[TaxLot],
    trades: Sequence[RecentTrade],
    *,
    as_of: date,
    regime: TaxRegime,
    group_outside: Mapping[str, str],
) -> DayLocks:
    """Return the locks that recent trades and the lots put on a day.

    Args:
        universe: Names with price and group.
        lots: All lots of the account, pooled where the regime pools.
        trades: Trades of the last 61 days.
        as_of: The day.
        regime: Whose rules apply.
        group_outside: Ticker to group for names outside the universe: a name sold out of it yesterday still locks the
            group it belongs to.
    """
    names = tuple(universe)
    group_of = {name.ticker: name.group for name in names}
    price_of = {name.ticker: name.price for name in names}
    bought = buy_locks(trades, as_of, {**group_outside, **group_of})
    sold = loss_sale_locks(lots, trades, as_of, price_of, group_of, regime)
    return DayLocks(
        buy=tuple(buy_lock_record(lock) for lock in bought.values()),
        loss_sale=tuple(_loss_sale_lock_record(lock) for lock in sold.values()),
    )


def buy_lock_record(lock: BuyLock) -> LockRecord:
    """Return a buy-lock with its cause in words."""
    trade = lock.trade
    return LockRecord(
        lock.group,
        lock.last_locked_day,
        f"sold {trade.quantity.normalize():f} {trade.ticker} at a loss of {-trade.realized_gain} on {trade.trade_date}"
        + (f" in account {trade.account}" if trade.account else ""),
    )


def _loss_sale_lock_record(lock: LossSaleLock) -> LockRecord:
    causes = "; ".join(
        f"bought {purchase.shares.normalize():f} {purchase.ticker} on {purchase.trade_date}"
        + (f" (lot {purchase.lot_id})" if purchase.lot_id else "")
        + (f" in account {purchase.account}" if purchase.account else "")
        for purchase in lock.purchases
    )
    return LockRecord(lock.lot_id, lock.last_locked_day, causes)
