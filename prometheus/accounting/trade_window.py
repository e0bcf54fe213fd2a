"""The losses and purchases of a household that the window rules can still need, and what happens to them meanwhile."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from prometheus.accounting.joint_accounts import account_of
from prometheus.accounting.journal import trade_after_split
from prometheus.accounting.wash_sales import in_wash_window
from prometheus.domain.lots import RecentTrade

_Trades = dict[str, list[RecentTrade]]


class TradeWindow:
    """Recent losses and purchases by key: what shares a key can meet.

    Args:
        key_of: The key of a trade, asked again when its symbol changes.

    Attributes:
        losses: Sales at a loss that a purchase can still meet, by key.
        purchases: Purchases that a loss can still meet, by key.
    """

    def __init__(self, key_of: Callable[[RecentTrade], str]) -> None:
        self._key_of = key_of
        self._awaited: list[tuple[date, date]] = []
        self.losses: _Trades = defaultdict(list)
        self.purchases: _Trades = defaultdict(list)

    def await_lots(self, dates: Iterable[tuple[date, date]]) -> None:
        """Keep the losses that lots from outside can meet until these are there.

        Args:
            dates: Day of arrival, and the acquisition date, of which each lot is a purchase.
        """
        self._awaited = sorted(set(dates), reverse=True)

    def forget(self, day: date, *, losses_before: date, purchases_before: date) -> None:
        """Drop the trades of more distant days, except losses that a lot still to come can meet."""
        while self._awaited and self._awaited[-1][0] < day:
            self._awaited.pop()
        awaited = [acquired for _, acquired in self._awaited]
        _keep(
            self.losses,
            lambda loss: (
                loss.trade_date >= losses_before or any(in_wash_window(loss.trade_date, other) for other in awaited)
            ),
        )
        _keep(self.purchases, lambda purchase: purchase.trade_date >= purchases_before)

    def knows(self, account: str, ticker: str, before: date) -> bool:
        """Return whether an account has a recent trade of a security before a day; it may hold no share any more."""
        return any(
            trade.ticker == ticker and trade.trade_date < before and account_of(trade.execution_id) == account
            for trades in (self.losses, self.purchases)
            for found in trades.values()
            for trade in found
        )

    def scale(self, ticker: str, day: date, ratio: Fraction) -> None:
        """Put trades from before a split into new shares."""
        for trades in (self.losses, self.purchases):
            for key, found in trades.items():
                trades[key] = [
                    trade_after_split(trade, ratio) if trade.ticker == ticker and trade.trade_date < day else trade
                    for trade in found
                ]

    def rename(self, ticker: str, renamed: Callable[[RecentTrade], RecentTrade]) -> None:
        """Give trades of a security their new symbol, and the key that goes with it."""
        for trades in (self.losses, self.purchases):
            moved = [renamed(trade) for found in trades.values() for trade in found if trade.ticker == ticker]
            _keep(trades, lambda trade: trade.ticker != ticker)
            for trade in moved:
                trades[self._key_of(trade)].append(trade)

    def divide(self, lot_id: str, part_id: str, quantity: Decimal) -> None:
        """Let a part of a purchase that goes its own way be a purchase of its own, so that both can still serve."""
        for found in self.purchases.values():
            for trade in [trade for trade in found if trade.lot_id == lot_id]:
                unreplaced = trade.quantity if trade.unreplaced is None else trade.unreplaced
                part = min(quantity, unreplaced)
                found.remove(trade)
                found.append(replace(trade, quantity=trade.quantity - quantity, unreplaced=unreplaced - part))
                found.append(replace(trade, lot_id=part_id, quantity=quantity, unreplaced=part))


def _keep(trades: _Trades, wanted: Callable[[RecentTrade], bool]) -> None:
    for key, found in list(trades.items()):
        kept = [trade for trade in found if wanted(trade)]
        if kept:
            trades[key] = kept
        else:
            del trades[key]
