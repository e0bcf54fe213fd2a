"""Short positions of the United States: sold first, bought or delivered later; gain or loss on the day of the cover.

A short sale is no sale of shares held, and shares bought to cover one are no replacement of shares sold at a loss.

Source: 26 U.S.C. 1233, 1259; Treas. Reg. 1.1233-1.
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.lots import Term
from prometheus.ledger.book import Book
from prometheus.ledger.events import CoverShort, ShortSale
from prometheus.ledger.lots import long_term_from, shared_out, take_shares, term_of
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes import Regime
from prometheus.ledger.regimes.shorts import costs_to_cover, open_short, positions_to_cover, post_cover, reduce_short
from prometheus.ledger.selection import Taking
from prometheus.ledger.state import Lot, ShortLot
from prometheus.ledger.window import WINDOW

_ZERO: Final = Decimal(0)


def book_short_sale(book: Book, regime: Regime, event: ShortSale) -> None:  # noqa: ARG001 - one signature for the table
    """Open a short position; nothing is realised.

    What is held on the day decides the terms later (26 U.S.C. 1233(b), (d)); a short sale against an appreciated
    position may be a constructive sale of it (1259), which a finding says.

    Raises:
        RefusedError: LOT_EXISTS.
    """
    lots = _identical(book, event.ticker)
    short = open_short(
        book,
        event,
        was_held=any(not _is_long(lot, book.day) for lot in lots),
        was_held_long=any(_is_long(lot, book.day) for lot in lots),
    )
    price = short.proceeds / event.quantity
    appreciated = [lot for lot in lots if lot.quantity * price > lot.adjusted_basis]
    if appreciated:
        book.remark(
            event.key,
            "CONSTRUCTIVE_SALE",
            f"{event.account} sells {event.ticker} short on {book.day} while {appreciated[0].key.account} holds "
            f"{appreciated[0].key.lot_id} at a gain; the short sale may be a sale of it (26 U.S.C. 1259).",
            "Enter a sale and a purchase of that lot where 1259(c) applies and 1259(c)(3) does not.",
        )


def book_cover(book: Book, regime: Regime, event: CoverShort) -> None:
    """Close short positions, the earliest first, with shares bought for it or with lots that are named.

    Raises:
        RefusedError: NO_SHORT_POSITION, or as for a sale of the lots named.
    """
    parts = positions_to_cover(book, event)
    delivered = (
        regime.select(book, Taking(event.account, event.ticker, event.quantity, event.picks)) if event.picks else []
    )
    if delivered:
        _deliver(book, event, parts, delivered)
    else:
        for short, quantity, cost, fee in costs_to_cover(event, parts):
            _close(book, event, short, quantity, cost, fee)
    for short, _ in parts:
        _restart_periods(book, event, short)


def _close(book: Book, event: CoverShort, short: ShortLot, quantity: Decimal, cost: Decimal, fee: Decimal) -> None:
    proceeds = reduce_short(book, short, quantity)
    gain = proceeds - cost
    is_long = gain < 0 and short.was_held_long  # 26 U.S.C. 1233(d)
    term = Term.LONG if is_long else Term.SHORT
    post_cover(book, event, short, quantity, proceeds, cost=cost, gain=gain, term=term, fee=fee, tax_date=book.day)
    if gain < 0:
        _remark_on_wash(book, event, short)


def _deliver(
    book: Book, event: CoverShort, parts: list[tuple[ShortLot, Decimal]], delivered: list[tuple[Lot, Decimal]]
) -> None:
    """Close positions with shares held: proceeds of the short sale less the basis of the lots is the gain."""
    proceeds = _ZERO
    for short, quantity in parts:
        part = reduce_short(book, short, quantity)
        proceeds += part
        post_cover(book, event, short, quantity, part)
    amounts = shared_out(proceeds, [quantity for _, quantity in delivered])
    was_held, was_long = any(short.was_held for short, _ in parts), any(short.was_held_long for short, _ in parts)
    for (lot, quantity), amount in zip(delivered, amounts, strict=True):
        taken, left = take_shares(lot, quantity)
        gain = amount - taken.adjusted_basis
        term = term_of(lot.holding_period_start, book.day)
        if gain >= 0 and was_held:
            term = Term.SHORT  # 26 U.S.C. 1233(b)(1)
        elif gain < 0 and was_long:
            term = Term.LONG  # 26 U.S.C. 1233(d)
        book.change(
            PostingKind.COVER_SHORT,
            event.key,
            lot,
            left,
            gain=gain,
            term=term,
            tax_date=book.day,
            former=parts[0][0].key,
        )


def _restart_periods(book: Book, event: CoverShort, short: ShortLot) -> None:
    """Let the holding period of shares that were short-term on the day of the short sale begin with its closing.

    Source: 26 U.S.C. 1233(b)(2), in the order of acquisition, up to the shares sold short.
    """
    left = short.quantity
    for lot in _identical(book, short.ticker):
        if left <= 0:
            return
        if lot.acquired_on < book.day and not _is_long(lot, short.sold_on):
            left -= lot.quantity
            after = replace(lot, holding_period_start=book.day)
            book.change(PostingKind.HOLDING_PERIOD, event.key, lot, after)


def _remark_on_wash(book: Book, event: CoverShort, short: ShortLot) -> None:
    group = book.group_of(short.ticker)
    if any(
        book.group_of(other.ticker) == group and abs(other.sold_on - book.day) <= WINDOW
        for other in book.shorts.values()
    ):
        book.remark(
            event.key,
            "SHORT_WASH_SALE",
            f"The loss of covering {short.ticker} on {book.day} is within thirty days of another short sale.",
            "26 U.S.C. 1091(e) disallows such a loss; it is booked as allowed, so adjust the return.",
        )


def _identical(book: Book, ticker: str) -> list[Lot]:
    """Return the lots of a security's group in taxable accounts of the household, earliest first."""
    group = book.group_of(ticker)
    lots = (
        lot
        for lot in book.lots.values()
        if book.group_of(lot.ticker) == group and not book.terms.is_sheltered(lot.key.account)
    )
    return sorted(lots, key=lambda lot: (lot.acquired_on, lot.key))


def _is_long(lot: Lot, day: date) -> bool:
    return day >= long_term_from(lot.holding_period_start)
