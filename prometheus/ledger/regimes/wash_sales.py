"""What a US loss meets: replacement shares, one by one, and what they carry of it.

Losses come in the order of disposition, purchases earliest first; a replacement share serves once. The disallowed loss
raises the basis of exactly the shares that replace, and lengthens their holding period by the days for which the sold
shares were held. Parts of one purchase that come out alike are one lot.

Source: 26 U.S.C. 1091, 1223(3); Treas. Reg. 1.1091-1, 1.1091-2; Rev. Rul. 56-602 and 2008-5.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from prometheus.domain.accounts import AccountKind
from prometheus.domain.money import to_cents
from prometheus.ledger.book import Book
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import WASHED_MARK, added, take_shares, under_key
from prometheus.ledger.postings import LossLink, Posting, PostingKind
from prometheus.ledger.shares import SMALLEST_SHARE
from prometheus.ledger.state import LATE_LOT_DAYS, Loss, Lot, Purchase, SoldShares
from prometheus.ledger.terms import Terms
from prometheus.ledger.tie_rules import SameDayLosses, Tacking, WashScope
from prometheus.ledger.window import WINDOW, WINDOW_DAYS, LossKey, loss_key

_ZERO: Final = Decimal(0)
_LATE: Final = timedelta(days=WINDOW_DAYS + LATE_LOT_DAYS)


def _by_acquisition(loss: Loss) -> tuple[Any, ...]:
    return (loss.day, loss.acquired_on, loss.origin.account, loss.lot.lot_id, loss.event)


def _by_execution(loss: Loss) -> tuple[Any, ...]:
    return (loss.day, loss.event.event_id, loss.event.account, loss.lot.lot_id)


#: Sort key of losses by tie rule.
LOSS_ORDERS: Final[Mapping[SameDayLosses, Callable[[Loss], tuple[Any, ...]]]] = {
    SameDayLosses.BY_ACQUISITION: _by_acquisition,
    SameDayLosses.BY_EXECUTION: _by_execution,
}

#: Holding-period start of replacement shares, from their own, that of the sold shares, and the date of the sale.
_TACKED_START: Final[Mapping[Tacking, Callable[[date, date, date], date]]] = {
    Tacking.DAYS_HELD: lambda own, start, sold: own - (sold - start),
    Tacking.ACQUISITION_DATE: lambda own, start, sold: min(own, start),  # noqa: ARG005 - one signature for the table
}


class WashSales:
    """Losses and purchases of one fold as they meet.

    Args:
        terms: The household's terms.
        is_sheltered: Whether what an account sells is no taxable event.
    """

    def __init__(self, terms: Terms, is_sheltered: Callable[[str], bool]) -> None:
        self._ties = terms.ties
        self._is_sheltered = is_sheltered
        self._loss_order = LOSS_ORDERS[terms.ties.same_day_losses]
        self._tacked = _TACKED_START[terms.ties.tacking]
        self._is_literal = terms.ties.scope is WashScope.FORM_1099B
        kinds = {each.kind for each in (*terms.accounts.values(), terms.default)}
        self._has_shelter = AccountKind.SHELTERED in kinds
        #: Losses realised since the last match.
        self._waiting: list[Loss] = []
        #: Purchases that a loss has met today, where the household has sheltered accounts.
        self._met: dict[LossKey, set[LotKey]] = {}

    def add(self, loss: Loss) -> None:
        """Let a loss wait for ``meet``."""
        self._waiting.append(loss)

    def meet(self, book: Book) -> None:
        """Match the losses that wait with the purchases already made."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        if len(waiting) > 1:
            waiting.sort(key=self._loss_order)
        first = book.day - WINDOW
        for each in waiting:
            loss = each
            for purchase in book.window.purchases_to_meet(loss):
                if purchase.day < first:
                    book.window.close_purchase(purchase.lot)
                elif self._replaces(loss, purchase):
                    loss = self._match_all(book, loss, purchase)
                    if loss.open_quantity <= _ZERO:
                        break
            book.window.add_loss(loss)

    def meet_open_losses(self, book: Book, purchase: Purchase, cause: EventKey) -> None:
        """Match a purchase with the losses of its window that are still open."""
        for loss in book.window.losses_to_meet(purchase.lot.account, purchase.ticker, purchase.day):
            current = book.window.purchases[purchase.lot]
            if current.unreplaced <= _ZERO:
                return
            if loss.day >= book.day - _LATE and self._replaces(loss, current):
                book.window.set_loss(self._match(book, loss, current, cause))

    def note_sold(self, book: Book, sold: SoldShares) -> None:
        """Remember that shares of a purchase in the window were sold again, where the law is read literally."""
        purchase = book.window.purchases.get(sold.lot) if self._is_literal else None
        if purchase is not None and purchase.unreplaced > 0:
            book.window.set_purchase(replace(purchase, sold=(*purchase.sold, sold)))

    def remark_on_ties(self, book: Book) -> None:
        """Remark on losses that met a purchase today and could have met another one of the same day."""
        if not self._met:
            return
        met, self._met = self._met, {}
        for key in sorted(met):
            loss = book.window.losses.get(key)
            if loss is None or loss.open_quantity > 0:
                continue
            # A purchase that a transfer has moved since is no longer under the name it had.
            purchases = [book.window.purchases[lot] for lot in sorted(met[key]) if lot in book.window.purchases]
            self._remark_on_tie(book, loss, purchases)

    # ------------------------------------------------------------ one loss and one purchase

    def _replaces(self, loss: Loss, purchase: Purchase) -> bool:
        day = purchase.day
        if abs((day - loss.day).days) > WINDOW_DAYS:
            return False
        if purchase.event == loss.origin:
            return False  # a lot's own purchase, Rev. Rul. 56-602
        if day == loss.acquired_on:
            return self._ties.same_day_purchases_replace
        return self._ties.earlier_purchases_replace or day > loss.acquired_on

    def _match_all(self, book: Book, loss: Loss, purchase: Purchase) -> Loss:
        """Match a loss with a purchase; read literally with its shares held and those sold again, in turn."""
        matched = self._match(book, loss, purchase, loss.event)
        while self._is_literal and 0 < matched.open_quantity < loss.open_quantity:
            loss = matched
            matched = self._match(book, loss, book.window.purchases[purchase.lot], loss.event)
        return matched

    def _match(self, book: Book, loss: Loss, purchase: Purchase, cause: EventKey) -> Loss:
        """Match as many shares as both sides have, and return the loss with what is left open of it."""
        is_permanent = self._has_shelter and self._is_sheltered(purchase.lot.account)
        lot = None if is_permanent else book.lots.get(purchase.lot)
        available = purchase.unreplaced
        if not is_permanent:
            available = min(available, lot.quantity) if lot is not None else _ZERO
        if available <= _ZERO and self._is_literal and purchase.sold:
            return self._match_sold(book, loss, purchase, cause)
        if available <= _ZERO:
            # No share is left that could carry the loss, and none will come back.
            book.window.close_purchase(purchase.lot)
            return loss
        shares = min(loss.open_quantity, available)
        if lot is not None and 0 < lot.quantity - shares <= _rounding(lot, purchase, loss):
            shares = lot.quantity
        still_open = max(loss.open_quantity - shares, _ZERO)
        disallowed = _disallowed(loss, still_open)
        # Read literally the law lets other shares of the purchase serve still; those that have get their own name.
        keeps_others = self._is_literal and purchase.unreplaced > shares
        is_part = lot is not None and (shares < lot.quantity or keeps_others)
        if lot is None:
            book.note(_wash_sale(book, loss, purchase, cause, shares, disallowed, purchase.lot, is_permanent))
        else:
            self._carry(book, loss, purchase, cause, lot, shares, disallowed, is_part=is_part)
        book.window.set_purchase(
            Purchase(
                purchase.event,
                purchase.lot,
                purchase.ticker,
                purchase.day,
                purchase.quantity,
                purchase.unreplaced - shares if lot is None or is_part else _ZERO,
                purchase.exact,
                sold=purchase.sold,
            )
        )
        if self._has_shelter:
            self._met.setdefault(loss_key(loss), set()).add(purchase.lot)
        return _after(loss, still_open, disallowed, is_permanent=is_permanent)

    def _match_sold(self, book: Book, loss: Loss, purchase: Purchase, cause: EventKey) -> Loss:
        """Let shares that were bought in the window and sold again carry a loss: the gain of their sale is less by it.

        Source: 26 U.S.C. 1091(a) read literally, with the adjustment of 1091(d) on the shares that were sold.
        """
        sold, *others = purchase.sold
        shares = min(loss.open_quantity, sold.quantity, purchase.unreplaced)
        still_open = loss.open_quantity - shares
        disallowed = _disallowed(loss, still_open)
        link = LossLink(
            event=loss.event,
            lot=loss.lot,
            ticker=loss.ticker_then,
            day=loss.day,
            shares=shares,
            amount=disallowed,
            replacement=sold.lot,
            purchase=purchase.event,
            resold=sold.event,
        )
        account = loss.lot.account
        for kind, gain, term, taxed_on in (
            (PostingKind.WASH_SALE, disallowed, loss.term, loss.day),
            (PostingKind.CARRIED_LOSS, -disallowed, sold.term, sold.day),
        ):
            book.note(
                Posting(
                    kind,
                    book.day,
                    account,
                    cause,
                    ticker=loss.ticker,
                    realized_gain=gain,
                    term=term,
                    tax_date=taxed_on,
                    loss=link,
                )
            )
        left = sold.quantity - shares
        kept = (replace(sold, quantity=left), *others) if left > 0 else tuple(others)
        book.window.set_purchase(replace(purchase, unreplaced=purchase.unreplaced - shares, sold=kept))
        return _after(loss, still_open, disallowed, is_permanent=False)

    # ------------------------------------------------------------ what the replacement carries

    def _carry(
        self,
        book: Book,
        loss: Loss,
        purchase: Purchase,
        cause: EventKey,
        lot: Lot,
        shares: Decimal,
        disallowed: Decimal,
        *,
        is_part: bool,
    ) -> None:
        """Raise the basis of the shares that replace; a part of a lot becomes a lot of its own or joins its like."""
        part, left = take_shares(lot, shares) if is_part else (lot, None)
        start = self._tacked(lot.holding_period_start, loss.holding_period_start, loss.day)
        after = _carrying(part, loss, disallowed, start)
        like = book.like(after)
        key = lot.key
        if is_part:
            key = like.key if like is not None else _washed_key(book, lot.key, loss.event.event_id)
        row = _wash_sale(book, loss, purchase, cause, shares, disallowed, key, is_permanent=False)
        book.note(row)
        if not is_part:
            book.change(PostingKind.CARRIED_LOSS, cause, lot, after, loss=row.loss)
            if like is not None:
                book.change(PostingKind.LOT_SPLIT, cause, like, None)
                book.change(PostingKind.LOT_SPLIT, cause, after, added(after, like), former=like.key)
            return
        book.change(PostingKind.LOT_SPLIT, cause, lot, left)
        if like is None:
            part = under_key(part, key)
            book.change(PostingKind.LOT_SPLIT, cause, None, part, former=lot.key, is_passing=True)
            book.change(PostingKind.CARRIED_LOSS, cause, part, under_key(after, key), loss=row.loss)
        else:
            with_part = added(like, part)
            book.change(PostingKind.LOT_SPLIT, cause, like, with_part, former=lot.key, is_passing=True)
            book.change(PostingKind.CARRIED_LOSS, cause, with_part, added(like, after), loss=row.loss)

    # ------------------------------------------------------------ remarks

    def _remark_on_tie(self, book: Book, loss: Loss, met: list[Purchase]) -> None:
        for purchase in met:
            is_sheltered = self._is_sheltered(purchase.lot.account)
            for other in book.window.open_on_the_day_of(purchase):
                if (
                    self._is_sheltered(other.lot.account) is not is_sheltered
                    and self._replaces(loss, other)
                    and (not is_sheltered or other.lot in book.lots)
                ):
                    book.remark(
                        loss.event,
                        "SAME_DAY_SHELTER",
                        f"The loss of {loss.ticker} on {loss.day} met the purchase of {purchase.day} in "
                        f"{purchase.lot.account}; {other.lot.account} bought that day too, and one is sheltered.",
                        f"No source orders the two; it was booked as {self._ties.same_day_shelter.value}, by the tie "
                        "rule same_day_shelter.",
                    )
                    return


def _disallowed(loss: Loss, still_open: Decimal) -> Decimal:
    """Return how much more of a loss is disallowed when so many of its shares stay open.

    Not below zero: a split rounds the washed shares, and with them what was disallowed so far.
    """
    washed = loss.quantity - still_open
    whole = loss.amount if washed == loss.quantity else to_cents(loss.amount * washed / loss.quantity)
    return max(whole - loss.disallowed, _ZERO)


def _after(loss: Loss, still_open: Decimal, disallowed: Decimal, *, is_permanent: bool) -> Loss:
    """Return a loss of which so many shares are open still, and so much more is disallowed."""
    return Loss(
        loss.event,
        loss.lot,
        loss.origin,
        loss.ticker,
        loss.day,
        loss.acquired_on,
        loss.holding_period_start,
        loss.term,
        loss.quantity,
        loss.amount,
        still_open,
        loss.disallowed + disallowed,
        loss.denied_for_good + disallowed if is_permanent else loss.denied_for_good,
        loss.ticker_then,
        loss.settle_date,
        loss.exact,
        is_unseen=loss.is_unseen,
    )


def _wash_sale(
    book: Book,
    loss: Loss,
    purchase: Purchase,
    cause: EventKey,
    shares: Decimal,
    disallowed: Decimal,
    replacement: LotKey,
    is_permanent: bool,  # noqa: FBT001 - the last of many
) -> Posting:
    """Return the row that gives a disallowed loss back in the account of the loss."""
    link = LossLink(
        loss.event,
        loss.lot,
        loss.ticker_then,
        loss.day,
        shares,
        disallowed,
        replacement,
        purchase.event,
        is_permanent,
    )
    return Posting(
        PostingKind.WASH_SALE,
        book.day,
        loss.lot.account,
        cause,
        loss.ticker,
        None,
        _ZERO,
        _ZERO,
        _ZERO,
        _ZERO,
        disallowed,
        loss.term,
        settle_date=loss.settle_date,
        tax_date=loss.day,
        loss=link,
    )


def _carrying(lot: Lot, loss: Loss, disallowed: Decimal, start: date) -> Lot:
    """Return a lot with a disallowed loss in its basis, and whether the broker of its account sees that."""
    is_seen = loss.lot.account == lot.key.account and loss.ticker_then == lot.ticker and not loss.is_unseen
    return Lot(
        lot.key,
        lot.origin,
        lot.root_id,
        lot.ticker,
        lot.acquired_on,
        lot.quantity,
        lot.cost_basis,
        lot.adjusted_basis + disallowed,
        start,
        lot.exact,
        lot.is_unseen or not is_seen,
    )


def _rounding(lot: Lot, purchase: Purchase, loss: Loss) -> Decimal:
    """Return by how much share counts that should be equal can differ after splits that do not end."""
    exact = lot.exact is None and purchase.exact_unreplaced is None and loss.exact_open is None
    return _ZERO if exact else SMALLEST_SHARE


def _washed_key(book: Book, lot: LotKey, event_id: str) -> LotKey:
    """Return a free key for the part of a lot that carries a loss."""
    number = 1
    while book.is_taken(key := LotKey(lot.account, f"{lot.lot_id}{WASHED_MARK}{number}-{event_id}")):
        number += 1
    return key
