"""United States: lots account by account, and wash sales across a household.

A loss meets purchases of the same group within thirty days on either side. Losses come in the order of disposition,
purchases earliest first; a replacement share serves once. The disallowed loss raises the basis of exactly the shares
that replace, and lengthens their holding period by the days for which the sold shares were held.

Source: 26 U.S.C. 1091, 1223(3); Treas. Reg. 1.1091-1, 1.1091-2; Rev. Rul. 56-602 and 2008-5.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from prometheus.domain.accounts import AccountKind
from prometheus.domain.lots import Term
from prometheus.domain.money import to_cents
from prometheus.ledger.book import Book
from prometheus.ledger.events import Event
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import WASHED_MARK, shared_out, take_shares, term_of, without_shares
from prometheus.ledger.postings import LossLink, Posting, PostingKind
from prometheus.ledger.selection import select_lots
from prometheus.ledger.shares import SMALLEST_SHARE
from prometheus.ledger.state import LATE_LOT_DAYS, Loss, Lot, Purchase, SoldShares
from prometheus.ledger.taking import Selection, Taking
from prometheus.ledger.terms import AssetClass, Terms
from prometheus.ledger.tie_rules import ReplacementOrder, SameDayLosses, SameDayShelter, Tacking, WashScope
from prometheus.ledger.window import WINDOW, WINDOW_DAYS, GroupKey, LossKey, Window, loss_key

_ZERO: Final = Decimal(0)
_LATE: Final = timedelta(days=WINDOW_DAYS + LATE_LOT_DAYS)


def _by_acquisition(loss: Loss) -> tuple[Any, ...]:
    return (loss.day, loss.acquired_on, loss.origin.account, loss.lot.lot_id, loss.event)


def _by_execution(loss: Loss) -> tuple[Any, ...]:
    return (loss.day, loss.event.event_id, loss.event.account, loss.lot.lot_id)


_LOSS_ORDERS: Final[Mapping[SameDayLosses, Callable[[Loss], tuple[Any, ...]]]] = {
    SameDayLosses.BY_ACQUISITION: _by_acquisition,
    SameDayLosses.BY_EXECUTION: _by_execution,
}

#: Holding-period start of replacement shares, from their own, that of the sold shares, and the date of the sale.
_TACKED_START: Final[Mapping[Tacking, Callable[[date, date, date], date]]] = {
    Tacking.DAYS_HELD: lambda own, start, sold: own - (sold - start),
    Tacking.ACQUISITION_DATE: lambda own, start, sold: min(own, start),  # noqa: ARG005 - one signature for the table
}


class USRegime:
    """The rules of the United States.

    Args:
        terms: The household's terms.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._ties = terms.ties
        self._loss_order = _LOSS_ORDERS[terms.ties.same_day_losses]
        kinds = {each.kind for each in (*terms.accounts.values(), terms.default)}
        self._is_literal = terms.ties.scope is WashScope.FORM_1099B
        self._has_shelter = AccountKind.SHELTERED in kinds
        self._sheltered = frozenset(name for name in terms.accounts if terms.is_sheltered(name))
        self._others_sheltered = terms.default.kind is AccountKind.SHELTERED
        self._sheltered_rank = int(terms.ties.same_day_shelter is not SameDayShelter.SHELTERED_FIRST)
        #: Losses realised since the last match.
        self._waiting: list[Loss] = []
        #: Purchases that a loss has met today, where the household has sheltered accounts.
        self._met: dict[LossKey, set[LotKey]] = {}

    # ------------------------------------------------------------ orders and dates

    def window(self, book: Book) -> Window:
        """Return an empty window: groups over the household, or each account's security by itself."""

        def of_household(account: str, ticker: str) -> GroupKey:  # noqa: ARG001 - one signature for both
            return ("", book.group_of(ticker))

        def of_account(account: str, ticker: str) -> GroupKey:
            return (account, ticker)

        group_of = of_household if self._ties.scope is WashScope.HOUSEHOLD else of_account
        return Window(group_of, self._purchase_order, self._loss_order, WINDOW_DAYS)

    def _purchase_order(self, purchase: Purchase) -> tuple[Any, ...]:
        """Return the sort key of replacement purchases. Source: Treas. Reg. 1.1091-1(c), (d)."""
        day: Any = purchase.day
        if self._ties.replacement_order is ReplacementOrder.LATEST_FIRST:
            day = -purchase.day.toordinal()
        return (day, self.purchase_rank(purchase.lot.account), purchase.event.account, purchase.lot.lot_id)

    def purchase_rank(self, account: str) -> int:
        """Return what comes first among the purchases of one day: 0 before 1, by the tie rule."""
        return self._sheltered_rank if self._is_sheltered(account) else 1 - self._sheltered_rank

    def _is_sheltered(self, account: str) -> bool:
        return account in self._sheltered or (self._others_sheltered and account not in self._terms.accounts)

    def tax_date(self, event: Event) -> date:
        """Return the trade date, by which a calendar year taxes (Rev. Rul. 93-84)."""
        return event.trade_date

    def term(self, lot: Lot, day: date) -> Term:
        """Return the holding period of a lot sold on a day."""
        return term_of(lot.holding_period_start, day)

    def begin_day(self, book: Book, day: date) -> None:
        """Do nothing: a US window settles nothing when it closes."""

    def end_day(self, book: Book) -> None:
        """Remark on losses that could have met another purchase of the same day."""
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

    # ------------------------------------------------------------ lots

    def select(self, book: Book, taking: Taking) -> Selection:
        """Return the lots named, or those that the lot method chooses."""
        return select_lots(book, taking)

    def take(self, book: Book, lot: Lot, quantity: Decimal) -> tuple[Lot, Lot | None]:  # noqa: ARG002 - a pool needs the book
        """Take shares out of a lot with their part of its basis."""
        return take_shares(lot, quantity)

    def bring_in(
        self,
        book: Book,
        kind: PostingKind,
        event: Event,
        lot: Lot,
        *,
        cash: Decimal = _ZERO,
        purchase: Purchase | None = None,
        former: LotKey | None = None,
    ) -> None:
        """Open a lot; a purchase meets the losses of its window that are still open."""
        if book.is_taken(lot.key):
            raise RefusedError(
                "LOT_EXISTS",
                f"{lot.key.account} has a lot called {lot.key.lot_id} already.",
                "Give every purchase a lot_id of its own, or leave it empty.",
            )
        cause = event.key if purchase is None else purchase.event
        book.change(kind, cause, None, lot, settle_date=event.settle_date, cash=cash, former=former)
        if purchase is not None and self._is_covered(lot.ticker):
            book.window.add_purchase(purchase)
            self._meet_open_losses(book, purchase, cause)

    def exchange(self, book: Book, kind: PostingKind, cause: EventKey, before: Lot, after: Lot) -> None:
        """Put shares of another security in the place of a lot, under its key."""
        book.change(kind, cause, before, after, former=before.key)

    def realise(
        self,
        book: Book,
        kind: PostingKind,
        event: Event,
        selection: Selection,
        proceeds: Decimal,
        *,
        fee: Decimal = _ZERO,
    ) -> None:
        """Dispose of shares lot by lot; every line is in cents and the lines add up to the proceeds."""
        quantities = [quantity for _, quantity in selection]
        amounts = shared_out(proceeds, quantities)
        fees = shared_out(fee, quantities) if fee else (_ZERO,) * len(quantities)
        cause, day = event.key, book.day
        is_taxed = not self._is_sheltered(selection[0][0].key.account)
        for (lot, quantity), amount, line_fee in zip(selection, amounts, fees, strict=True):
            left = None if quantity == lot.quantity else without_shares(lot, quantity)
            gain = amount - lot.adjusted_basis if left is None else amount - lot.adjusted_basis + left.adjusted_basis
            term = term_of(lot.holding_period_start, day)
            book.change(
                kind,
                cause,
                lot,
                left,
                settle_date=event.settle_date,
                cash=amount,
                gain=gain,
                term=term,
                fee=line_fee,
                tax_date=day,
            )
            if self._is_literal and is_taxed:
                self._note_sold(book, SoldShares(cause, lot.key, day, term, quantity))
            if gain < 0 and is_taxed and self._is_covered(lot.ticker):
                self._waiting.append(
                    Loss(
                        event=cause,
                        lot=lot.key,
                        origin=lot.origin,
                        ticker=lot.ticker,
                        day=day,
                        acquired_on=lot.acquired_on,
                        holding_period_start=lot.holding_period_start,
                        term=term,
                        quantity=quantity,
                        amount=-gain,
                        open_quantity=quantity,
                        disallowed=_ZERO,
                        denied_for_good=_ZERO,
                        ticker_then=lot.ticker,
                        settle_date=event.settle_date,
                    )
                )

    def settle_positions(self, book: Book, event: EventKey, tickers: Iterable[str]) -> None:
        """Do nothing: lots stand for themselves."""

    def _is_covered(self, ticker: str) -> bool:
        """Return whether the wash sale rule covers a security; it covers no digital assets (26 U.S.C. 1091(a))."""
        return not self._terms.asset_classes or self._terms.asset_class_of(ticker) is AssetClass.SECURITY

    # ------------------------------------------------------------ what a loss meets

    def meet_losses(self, book: Book) -> None:
        """Match the losses realised since the last call with the purchases already made."""
        if not self._waiting:
            return
        waiting, self._waiting = sorted(self._waiting, key=self._loss_order), []
        for each in waiting:
            loss = each
            for purchase in book.window.purchases_to_meet(loss):
                if purchase.day < book.day - WINDOW:
                    book.window.close_purchase(purchase.lot)
                elif self._replaces(loss, purchase):
                    loss = self._match_all(book, loss, purchase)
                    if loss.open_quantity <= 0:
                        break
            book.window.add_loss(loss)

    def _match_all(self, book: Book, loss: Loss, purchase: Purchase) -> Loss:
        """Match a loss with a purchase; read literally with its shares held and those sold again, in turn."""
        matched = self._match(book, loss, purchase, loss.event)
        while self._is_literal and 0 < matched.open_quantity < loss.open_quantity:
            loss = matched
            matched = self._match(book, loss, book.window.purchases[purchase.lot], loss.event)
        return matched

    def _meet_open_losses(self, book: Book, purchase: Purchase, cause: EventKey) -> None:
        for loss in book.window.losses_to_meet(purchase.lot.account, purchase.ticker, purchase.day):
            current = book.window.purchases[purchase.lot]
            if current.unreplaced <= 0:
                return
            if loss.day >= book.day - _LATE and self._replaces(loss, current):
                book.window.set_loss(self._match(book, loss, current, cause))

    def _replaces(self, loss: Loss, purchase: Purchase) -> bool:
        if abs((purchase.day - loss.day).days) > WINDOW_DAYS:
            return False
        if purchase.event == loss.origin:
            return False  # a lot's own purchase, Rev. Rul. 56-602
        if purchase.day == loss.acquired_on:
            return self._ties.same_day_purchases_replace
        return self._ties.earlier_purchases_replace or purchase.day > loss.acquired_on

    def _match(self, book: Book, loss: Loss, purchase: Purchase, cause: EventKey) -> Loss:
        """Match as many shares as both sides have, and return the loss with what is left open of it."""
        is_permanent = self._is_sheltered(purchase.lot.account)
        lot = None if is_permanent else book.lots.get(purchase.lot)
        available = purchase.unreplaced
        if not is_permanent:
            available = min(available, lot.quantity) if lot is not None else _ZERO
        if available <= 0 and self._is_literal and purchase.sold:
            return self._match_sold(book, loss, purchase, cause)
        if available <= 0:
            # No share is left that could carry the loss, and none will come back.
            book.window.close_purchase(purchase.lot)
            return loss
        shares = min(loss.open_quantity, available)
        if lot is not None and 0 < lot.quantity - shares <= _rounding(lot, purchase, loss):
            shares = lot.quantity
        still_open = max(loss.open_quantity - shares, _ZERO)
        washed = loss.quantity - still_open
        # Not below zero: a split rounds the washed shares, and with them what was disallowed so far.
        disallowed = max(to_cents(loss.amount * washed / loss.quantity) - loss.disallowed, _ZERO)
        key = key_bought = purchase.lot
        # Read literally the law lets other shares of the purchase serve still; those that have get their own name.
        keeps_others = self._is_literal and purchase.unreplaced > shares
        if lot is not None and (shares < lot.quantity or keeps_others):
            stem = f"{lot.key.lot_id}{WASHED_MARK}"
            key = LotKey(lot.key.account, _washed_name(book, lot.key.account, stem, loss.event.event_id))
        link = LossLink(
            event=loss.event,
            lot=loss.lot,
            ticker=loss.ticker_then,
            day=loss.day,
            shares=shares,
            amount=disallowed,
            replacement=key,
            purchase=purchase.event,
            is_permanent=is_permanent,
        )
        book.note(
            Posting(
                PostingKind.WASH_SALE,
                book.day,
                loss.lot.account,
                cause,
                ticker=loss.ticker,
                realized_gain=disallowed,
                term=loss.term,
                settle_date=loss.settle_date,
                tax_date=loss.day,
                loss=link,
            )
        )
        if lot is not None:
            self._carry(book, lot, key, link, loss, cause)
        whole = lot is not None and key == lot.key
        unreplaced = _ZERO if whole else purchase.unreplaced - shares
        book.window.set_purchase(
            Purchase(
                purchase.event,
                key_bought,
                purchase.ticker,
                purchase.day,
                purchase.quantity,
                unreplaced,
                purchase.exact,
                sold=purchase.sold,
            )
        )
        if self._has_shelter:
            self._met.setdefault(loss_key(loss), set()).add(purchase.lot)
        return replace(
            loss,
            open_quantity=still_open,
            exact_open=None,
            disallowed=loss.disallowed + disallowed,
            denied_for_good=loss.denied_for_good + (disallowed if is_permanent else _ZERO),
        )

    def _note_sold(self, book: Book, sold: SoldShares) -> None:
        """Remember that shares of a purchase in the window were sold again."""
        purchase = book.window.purchases.get(sold.lot)
        if purchase is not None and purchase.unreplaced > 0:
            book.window.set_purchase(replace(purchase, sold=(*purchase.sold, sold)))

    def _match_sold(self, book: Book, loss: Loss, purchase: Purchase, cause: EventKey) -> Loss:
        """Let shares that were bought in the window and sold again carry a loss: the gain of their sale is less by it.

        Source: 26 U.S.C. 1091(a) read literally, with the adjustment of 1091(d) on the shares that were sold.
        """
        sold, *others = purchase.sold
        shares = min(loss.open_quantity, sold.quantity, purchase.unreplaced)
        still_open = loss.open_quantity - shares
        washed = loss.quantity - still_open
        disallowed = max(to_cents(loss.amount * washed / loss.quantity) - loss.disallowed, _ZERO)
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
        return replace(loss, open_quantity=still_open, exact_open=None, disallowed=loss.disallowed + disallowed)

    def _carry(self, book: Book, lot: Lot, key: LotKey, link: LossLink, loss: Loss, cause: EventKey) -> None:
        """Raise the basis of the shares that replace; a part of a lot becomes a lot of its own."""
        part = lot
        if key != lot.key:
            taken, left = take_shares(lot, link.shares)
            part = replace(taken, key=key)
            book.change(PostingKind.LOT_SPLIT, cause, lot, left)
            book.change(PostingKind.LOT_SPLIT, cause, None, part, former=lot.key)
        tacked = _TACKED_START[self._ties.tacking]
        after = replace(
            part,
            adjusted_basis=part.adjusted_basis + link.amount,
            holding_period_start=tacked(part.holding_period_start, loss.holding_period_start, loss.day),
        )
        book.change(PostingKind.CARRIED_LOSS, cause, part, after, loss=link)

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


def _rounding(lot: Lot, purchase: Purchase, loss: Loss) -> Decimal:
    """Return by how much share counts that should be equal can differ after splits that do not end."""
    exact = lot.exact is None and purchase.exact_unreplaced is None and loss.exact_open is None
    return _ZERO if exact else SMALLEST_SHARE


def _washed_name(book: Book, account: str, stem: str, event_id: str) -> str:
    number = 1
    while book.is_taken(LotKey(account, name := f"{stem}{number}-{event_id}")):
        number += 1
    return name
