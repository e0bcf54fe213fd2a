"""Purchases and sales."""

from decimal import Decimal
from typing import Final

from prometheus.ledger.book import Book
from prometheus.ledger.events import Buy, Reinvestment, Sell
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes import Regime
from prometheus.ledger.selection import Taking
from prometheus.ledger.state import Lot, Purchase

_ZERO: Final = Decimal(0)


def book_purchase(book: Book, regime: Regime, event: Buy) -> None:
    """Open a lot at its cost, commission included; it meets the losses of its window that are still open.

    Raises:
        RefusedError: LOT_EXISTS.

    Source: 26 U.S.C. 1012; Treas. Reg. 1.1091-1(a)-(c); ITA s. 54 for purchases after a loss.
    """
    cause = EventKey(event.account, event.event_id)
    key = LotKey(event.account, event.lot_id or event.event_id)
    cost, day, quantity = event.in_base(event.amount), event.trade_date, event.quantity
    lot = Lot(key, cause, key.lot_id, event.ticker, day, quantity, cost, cost, day)
    purchase = Purchase(cause, key, event.ticker, day, quantity, quantity)
    kind = PostingKind.REINVESTMENT if isinstance(event, Reinvestment) else PostingKind.BUY
    regime.bring_in(book, kind, event, lot, cash=-cost, purchase=purchase)


def book_sale(book: Book, regime: Regime, event: Sell) -> None:
    """Sell the lots named, or those that the lot method chooses.

    Raises:
        RefusedError: OVERSOLD, UNKNOWN_LOT or LOT_NAMED_TWICE.

    Source: 26 U.S.C. 1001; Treas. Reg. 1.1012-1(c); ITA s. 40(1).
    """
    proceeds = event.in_base(event.amount)
    taking = Taking(event.account, event.ticker, event.quantity, event.picks, event.method, proceeds / event.quantity)
    selection = regime.select(book, taking)
    fee = event.in_base(event.fee) if event.fee else _ZERO
    regime.realise(book, PostingKind.SELL, event, selection, proceeds, fee=fee)
