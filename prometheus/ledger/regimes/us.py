"""United States: lots account by account, and wash sales across a household.

Source: 26 U.S.C. 1001, 1012, 1222, and 1091 for what ``wash_sales`` does.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Final

from prometheus.domain.accounts import AccountKind
from prometheus.domain.lots import Term
from prometheus.ledger.book import Book
from prometheus.ledger.events import Event
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import shared_out, take_shares, term_of, without_shares
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes.wash_sales import LOSS_ORDERS, WashSales
from prometheus.ledger.selection import Selection, Taking, select_lots
from prometheus.ledger.state import Loss, Lot, Purchase, SoldShares
from prometheus.ledger.terms import AssetClass, Terms
from prometheus.ledger.tie_rules import ReplacementOrder, SameDayShelter, WashScope
from prometheus.ledger.window import WINDOW_DAYS, GroupKey, Window

_ZERO: Final = Decimal(0)


class USRegime:
    """The rules of the United States.

    Args:
        terms: The household's terms.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._ties = terms.ties
        self._is_literal = terms.ties.scope is WashScope.FORM_1099B
        self._sheltered = frozenset(name for name in terms.accounts if terms.is_sheltered(name))
        self._others_sheltered = terms.default.kind is AccountKind.SHELTERED
        self._has_shelter = bool(self._sheltered) or self._others_sheltered
        self._sheltered_rank = int(terms.ties.same_day_shelter is not SameDayShelter.SHELTERED_FIRST)
        self._is_latest_first = terms.ties.replacement_order is ReplacementOrder.LATEST_FIRST
        self._washes = WashSales(terms, self._is_sheltered)

    # ------------------------------------------------------------ orders and dates

    def window(self, book: Book) -> Window:
        """Return an empty window: groups over the household, or each account's security by itself."""
        groups = book.terms.groups

        def of_household(account: str, ticker: str) -> GroupKey:  # noqa: ARG001 - one signature for both
            return ("", book.group_of(ticker) if groups or book.groups else ticker)

        def of_account(account: str, ticker: str) -> GroupKey:
            return (account, ticker)

        group_of = of_household if self._ties.scope is WashScope.HOUSEHOLD else of_account
        return Window(group_of, self._purchase_order, LOSS_ORDERS[self._ties.same_day_losses], WINDOW_DAYS)

    def _purchase_order(self, purchase: Purchase) -> tuple[Any, ...]:
        """Return the sort key of replacement purchases. Source: Treas. Reg. 1.1091-1(c), (d)."""
        day: Any = -purchase.day.toordinal() if self._is_latest_first else purchase.day
        account, lot_id = purchase.lot
        return (day, self.purchase_rank(account), purchase.event.account, lot_id)

    def purchase_rank(self, account: str) -> int:
        """Return what comes first among the purchases of one day: 0 before 1, by the tie rule."""
        return self._sheltered_rank if self._is_sheltered(account) else 1 - self._sheltered_rank

    def _is_sheltered(self, account: str) -> bool:
        if not self._has_shelter:
            return False
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
        self._washes.remark_on_ties(book)

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
            self._washes.meet_open_losses(book, purchase, cause)

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
                self._washes.note_sold(book, SoldShares(cause, lot.key, day, term, quantity))
            if gain < _ZERO and is_taxed and self._is_covered(lot.ticker):
                self._washes.add(
                    Loss(
                        cause,
                        lot.key,
                        lot.origin,
                        lot.ticker,
                        day,
                        lot.acquired_on,
                        lot.holding_period_start,
                        term,
                        quantity,
                        -gain,
                        open_quantity=quantity,
                        disallowed=_ZERO,
                        denied_for_good=_ZERO,
                        ticker_then=lot.ticker,
                        settle_date=event.settle_date,
                        is_unseen=lot.is_unseen,
                    )
                )

    def settle_positions(self, book: Book, event: EventKey, tickers: Iterable[str]) -> None:
        """Do nothing: lots stand for themselves."""

    def meet_losses(self, book: Book) -> None:
        """Match the losses realised since the last call with the purchases already made."""
        self._washes.meet(book)

    def _is_covered(self, ticker: str) -> bool:
        """Return whether the wash sale rule covers a security; it covers no digital assets (26 U.S.C. 1091(a))."""
        return not self._terms.asset_classes or self._terms.asset_class_of(ticker) is AssetClass.SECURITY
