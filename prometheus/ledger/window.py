"""Purchases and losses that the window rules can still need, by group, in the order in which they meet."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.shares import scaled
from prometheus.ledger.state import LATE_LOT_DAYS, Loss, Purchase

#: Calendar days on either side of the sale; the last of them is inside. Source: Treas. Reg. 1.1091-1(a); ITA s. 54.
WINDOW_DAYS: Final = 30
WINDOW: Final = timedelta(days=WINDOW_DAYS)
_ZERO: Final = Decimal(0)
_LATE: Final = timedelta(days=WINDOW_DAYS + LATE_LOT_DAYS)


class LossKey(NamedTuple):
    """A loss: the event that realised it, and the lot sold."""

    event: EventKey
    lot: LotKey


#: What trades that can meet have in common: empty and the group, or account and ticker where accounts stand alone.
GroupKey = tuple[str, str]
_Order = tuple[Any, ...]


def loss_key(loss: Loss) -> LossKey:
    """Return the key of a loss."""
    return LossKey(loss.event, loss.lot)


class Window:
    """Recent purchases and losses while a fold changes them.

    Args:
        group_of: Key of the trades that an account's trade of a ticker can meet.
        purchase_order: Sort key of purchases; begins with the trade date, or its negative ordinal.
        loss_order: Sort key of losses; begins with the trade date.
        purchase_days: Days after which a purchase is forgotten.

    Attributes:
        purchases: By the lot that they opened.
        losses: By event and lot.
    """

    __slots__ = (
        "_group_of",
        "_loss_order",
        "_losses",
        "_open_losses",
        "_open_purchases",
        "_places_of_losses",
        "_places_of_purchases",
        "_purchase_days",
        "_purchase_order",
        "losses",
        "purchases",
    )

    def __init__(
        self,
        group_of: Callable[[str, str], GroupKey],
        purchase_order: Callable[[Purchase], _Order],
        loss_order: Callable[[Loss], _Order],
        purchase_days: int,
    ) -> None:
        self._group_of = group_of
        self._purchase_order = purchase_order
        self._loss_order = loss_order
        self._purchase_days = timedelta(days=purchase_days)
        self.purchases: dict[LotKey, Purchase] = {}
        self.losses: dict[LossKey, Loss] = {}
        self._open_purchases: dict[GroupKey, list[tuple[_Order, LotKey]]] = {}
        self._open_losses: dict[GroupKey, list[tuple[_Order, LossKey]]] = {}
        #: Where open trades stand: the list of their group and what stands there.
        self._places_of_purchases: dict[LotKey, tuple[list[tuple[_Order, LotKey]], tuple[_Order, LotKey]]] = {}
        self._places_of_losses: dict[LossKey, tuple[list[tuple[_Order, LossKey]], tuple[_Order, LossKey]]] = {}

    # ------------------------------------------------------------ what is in it

    def add_purchase(self, purchase: Purchase) -> None:
        """Add a purchase, or put it in the place of the one of the same lot."""
        if purchase.lot in self.purchases:
            self.drop_purchase(purchase.lot)
        self.purchases[purchase.lot] = purchase
        if purchase.unreplaced > _ZERO:
            lot = purchase.lot
            group = self._group_of(lot.account, purchase.ticker)
            order = self._open_purchases.get(group)
            if order is None:
                order = self._open_purchases[group] = []
            place = (self._purchase_order(purchase), lot)
            self._places_of_purchases[lot] = (order, place)
            if not order or order[-1] < place:
                order.append(place)
            else:
                insort(order, place)

    def add_loss(self, loss: Loss) -> None:
        """Add a loss, or put it in the place of the one of the same event and lot."""
        key = loss_key(loss)
        if key in self.losses:
            self.drop_loss(key)
        self.losses[key] = loss
        if loss.open_quantity > _ZERO:
            order = self._open_losses.setdefault(self._group_of(loss.lot.account, loss.ticker), [])
            place = (self._loss_order(loss), key)
            self._places_of_losses[key] = (order, place)
            insort(order, place)

    def set_purchase(self, purchase: Purchase) -> None:
        """Replace a purchase whose ticker, day and lot stay; one without unreplaced shares meets nothing more."""
        if purchase.unreplaced > _ZERO:
            self.purchases[purchase.lot] = purchase
            return
        self.close_purchase(purchase.lot)
        self.purchases[purchase.lot] = purchase

    def set_loss(self, loss: Loss) -> None:
        """Replace a loss whose ticker, day and lot stay; one without open shares meets nothing more."""
        key = loss_key(loss)
        if loss.open_quantity <= _ZERO:
            self._close_loss(key)
        self.losses[key] = loss

    def close_purchase(self, lot: LotKey) -> None:
        """Let a purchase meet nothing more; it is remembered as a trade."""
        entry = self._places_of_purchases.pop(lot, None)
        if entry is not None:
            order, place = entry
            del order[bisect_left(order, place)]

    def _close_loss(self, key: LossKey) -> None:
        entry = self._places_of_losses.pop(key, None)
        if entry is not None:
            order, place = entry
            del order[bisect_left(order, place)]

    def drop_purchase(self, lot: LotKey) -> None:
        """Forget a purchase."""
        self.close_purchase(lot)
        del self.purchases[lot]

    def drop_loss(self, key: LossKey) -> None:
        """Forget a loss."""
        self._close_loss(key)
        del self.losses[key]

    # ------------------------------------------------------------ who meets whom

    def purchases_to_meet(self, loss: Loss) -> Iterator[Purchase]:
        """Yield the open purchases of a loss's group in their order. The caller may close those it has seen."""
        order = self._open_purchases.get(self._group_of(loss.lot.account, loss.ticker))
        if not order:
            return
        i = 0
        while i < len(order):
            lot = order[i][1]
            yield self.purchases[lot]
            if i < len(order) and order[i][1] == lot:
                i += 1

    def open_on_the_day_of(self, purchase: Purchase) -> list[Purchase]:
        """Return the open purchases of the same group and day as a purchase."""
        order = self._open_purchases.get(self._group_of(purchase.lot.account, purchase.ticker), [])
        first = self._purchase_order(purchase)[0]
        i = bisect_left(order, ((first,),))
        same_day: list[Purchase] = []
        while i < len(order) and order[i][0][0] == first:
            same_day.append(self.purchases[order[i][1]])
            i += 1
        return same_day

    def losses_to_meet(self, account: str, ticker: str, day: date) -> Iterator[Loss]:
        """Yield the open losses within the window of a purchase, in their order. The caller may replace them."""
        if not self._open_losses:
            return
        order = self._open_losses.get(self._group_of(account, ticker))
        if not order:
            return
        i = bisect_left(order, ((day - WINDOW,),))
        while i < len(order):
            key = order[i][1]
            loss = self.losses[key]
            if loss.day > day + WINDOW:
                return
            yield loss
            if i < len(order) and order[i][1] == key:
                i += 1

    def knows(self, account: str, ticker: str, before: date) -> bool:
        """Return whether an account has a trade of a security in the thirty days before a day."""
        first = before - WINDOW
        return any(
            purchase.ticker == ticker and lot.account == account and first <= purchase.day < before
            for lot, purchase in self.purchases.items()
        ) or any(
            loss.ticker == ticker and key.lot.account == account and first <= loss.day < before
            for key, loss in self.losses.items()
        )

    # ------------------------------------------------------------ what happens to it

    def forget(self, day: date) -> None:
        """Drop what no trade of ``day`` or later can meet."""
        first, late = day - WINDOW, day - _LATE
        oldest = day - self._purchase_days
        for lot in [lot for lot, purchase in self.purchases.items() if purchase.day < oldest]:
            self.drop_purchase(lot)
        for key in [
            key
            for key, loss in self.losses.items()
            if loss.day < first and (loss.open_quantity <= 0 or loss.day < late)
        ]:
            self.drop_loss(key)

    def scale(self, ticker: str, ratio: Fraction) -> None:
        """Put all trades of a security into the shares of after a split."""
        for purchase in [each for each in self.purchases.values() if each.ticker == ticker]:
            quantity, exact = scaled(purchase.quantity, purchase.exact, ratio)
            unreplaced, exact_unreplaced = scaled(purchase.unreplaced, purchase.exact_unreplaced, ratio)
            changed = replace(
                purchase,
                quantity=quantity,
                exact=exact,
                unreplaced=unreplaced,
                exact_unreplaced=exact_unreplaced,
                sold=tuple(replace(sold, quantity=scaled(sold.quantity, None, ratio)[0]) for sold in purchase.sold),
            )
            self.purchases[purchase.lot] = changed
        for key, loss in [(key, each) for key, each in self.losses.items() if each.ticker == ticker]:
            quantity, exact = scaled(loss.quantity, loss.exact, ratio)
            open_quantity, exact_open = scaled(loss.open_quantity, loss.exact_open, ratio)
            self.losses[key] = replace(
                loss, quantity=quantity, exact=exact, open_quantity=open_quantity, exact_open=exact_open
            )

    def rename(self, new_tickers: Mapping[str, str], regroup: Callable[[], None]) -> None:
        """Give trades the new symbols of their securities, all at once.

        Args:
            new_tickers: Former to new ticker.
            regroup: Changes the groups that depend on symbols; called while no trade of these symbols is in its place.
        """
        concerned = {*new_tickers, *new_tickers.values()}
        purchases = [each for each in self.purchases.values() if each.ticker in concerned]
        losses = [each for each in self.losses.values() if each.ticker in concerned]
        for purchase in purchases:
            self.drop_purchase(purchase.lot)
        for loss in losses:
            self.drop_loss(loss_key(loss))
        regroup()
        for purchase in purchases:
            self.add_purchase(replace(purchase, ticker=new_tickers.get(purchase.ticker, purchase.ticker)))
        for loss in losses:
            self.add_loss(replace(loss, ticker=new_tickers.get(loss.ticker, loss.ticker)))

    def exchange(self, lot: LotKey, ticker: str, ratio: Fraction) -> None:
        """Let the purchase of a lot be one of another security, in the shares of that."""
        purchase = self.purchases.get(lot)
        if purchase is None:
            return
        self.drop_purchase(lot)
        quantity, exact = scaled(purchase.quantity, purchase.exact, ratio)
        unreplaced, exact_unreplaced = scaled(purchase.unreplaced, purchase.exact_unreplaced, ratio)
        self.add_purchase(
            replace(
                purchase,
                ticker=ticker,
                quantity=quantity,
                exact=exact,
                unreplaced=unreplaced,
                exact_unreplaced=exact_unreplaced,
            )
        )

    def move(self, lot: LotKey, part: LotKey, quantity: Decimal, *, whole: bool) -> None:
        """Let shares of a purchase go their own way with the lot ``part``; both can still replace.

        Args:
            lot: The lot that the purchase opened.
            part: Lot of the shares that go.
            quantity: How many these are.
            whole: Whether nothing stays behind.
        """
        purchase = self.purchases.get(lot)
        if purchase is None:
            return
        self.drop_purchase(lot)
        if whole:
            self.add_purchase(replace(purchase, lot=part))
            return
        unreplaced = min(quantity, purchase.unreplaced)
        self.add_purchase(
            replace(
                purchase,
                quantity=purchase.quantity - quantity,
                unreplaced=purchase.unreplaced - unreplaced,
                exact=None,
                exact_unreplaced=None,
            )
        )
        self.add_purchase(
            replace(purchase, lot=part, quantity=quantity, unreplaced=unreplaced, exact=None, exact_unreplaced=None)
        )
