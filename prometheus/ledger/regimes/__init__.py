"""What the law of a country decides: which lots a sale takes, what a loss meets, what the end of a window settles.

The fold and the corporate actions are the same everywhere. They change lots through ``Book.change`` and ask a regime
for everything that depends on the law.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Final, Protocol

from prometheus.domain.lots import Term
from prometheus.ledger.book import Book
from prometheus.ledger.events import Event
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.selection import Selection, Taking
from prometheus.ledger.state import Lot, Purchase
from prometheus.ledger.window import Window

_ZERO: Final = Decimal(0)


__all__ = ["Regime", "Selection", "Taking"]


class Regime(Protocol):
    """The rules of one country. A regime object lives as long as one fold and may keep what it needs between calls."""

    def window(self, book: Book) -> Window:
        """Return an empty window with this regime's orders and reach."""

    def tax_date(self, event: Event) -> date:
        """Return the day whose calendar year taxes what the event realises: trade date (US), settlement (Canada)."""

    def term(self, lot: Lot, day: date) -> Term:
        """Return the holding period of a lot sold on a day; NONE where the law knows none."""

    def purchase_rank(self, account: str) -> int:
        """Return a number by which purchases of one day are booked, lesser first; equal where nothing orders them."""

    def begin_day(self, book: Book, day: date) -> None:
        """Settle the windows that closed before ``day``; ``book.day`` is still the day booked last."""

    def end_day(self, book: Book) -> None:
        """Finish the day that was booked."""

    def select(self, book: Book, taking: Taking) -> Selection:
        """Return the lots that give up shares, and how many each. Changes nothing.

        Raises:
            RefusedError: OVERSOLD, UNKNOWN_LOT or LOT_NAMED_TWICE.
        """

    def take(self, book: Book, lot: Lot, quantity: Decimal) -> tuple[Lot, Lot | None]:
        """Return the shares taken out of a lot with their part of its basis, and what is left. Changes nothing."""

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
        """Put a lot that comes in into the book, or into a pool; a purchase meets the losses of its window.

        Args:
            book: The book.
            kind: BUY, REINVESTMENT, OPENING, TRANSFER_IN, or SPINOFF for shares of a child.
            event: The event.
            lot: The shares as a lot of their own.
            cash: Change of cash.
            purchase: The purchase that the lot proves; None where it proves none.
            former: The lot that the shares come from: of another account, or of the parent of a spin-off.

        Raises:
            RefusedError: LOT_EXISTS.
        """

    def exchange(self, book: Book, kind: PostingKind, cause: EventKey, before: Lot, after: Lot) -> None:
        """Put shares of another security in the place of a lot: a new symbol, or a merger that is not taxed.

        ``after`` has the key of ``before``; a regime with pools gives it that of the other pool.
        """

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
        """Dispose of the selected shares; losses of taxable accounts wait for ``meet_losses``.

        Args:
            book: The book.
            kind: SELL, CASH_IN_LIEU, DELISTING or MERGER.
            event: The event; its account may be ``EVERY_ACCOUNT``, the lots say whose they are.
            selection: Lots of one account.
            proceeds: What all of them paid after commission, base currency; shared out by shares.
            fee: Commission, shared out by shares.
        """

    def meet_losses(self, book: Book) -> None:
        """Let the losses realised since the last call meet the purchases already made."""

    def settle_positions(self, book: Book, event: EventKey, tickers: Iterable[str]) -> None:
        """Finish a change of lots by corporate actions; Canada spreads each pool over the taxpayer's accounts."""
