"""What short positions do in every country: opened, chosen for a cover, reduced, posted.

A short position counts as negative shares whose negative basis is the proceeds of the short sale. What a cover realises
is for the rules of a country.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.lots import Term
from prometheus.domain.money import plain_text, to_cents
from prometheus.ledger.book import Book
from prometheus.ledger.events import CoverShort, ShortSale
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.lots import shared_out
from prometheus.ledger.postings import Posting, PostingKind
from prometheus.ledger.state import ShortLot

_ZERO: Final = Decimal(0)


def open_short(book: Book, event: ShortSale, *, was_held: bool = False, was_held_long: bool = False) -> ShortLot:
    """Open a short position for the proceeds of the day; nothing is realised.

    Args:
        book: The book.
        event: The short sale.
        was_held: As in ``ShortLot``.
        was_held_long: As in ``ShortLot``.

    Raises:
        RefusedError: LOT_EXISTS.
    """
    key = LotKey(event.account, event.lot_id or event.event_id)
    if book.is_taken(key):
        raise RefusedError(
            "LOT_EXISTS", f"{key.account} has a position called {key.lot_id} already.", "Give it a name of its own."
        )
    proceeds = event.in_base(event.amount)
    short = ShortLot(key, event.ticker, book.day, event.quantity, proceeds, was_held, was_held_long)
    book.shorts[key] = short
    fee = event.in_base(event.fee)
    _post(book, event, PostingKind.SHORT_SALE, short, -event.quantity, -proceeds, cash=proceeds, fee=fee)
    return short


def positions_to_cover(book: Book, event: CoverShort) -> list[tuple[ShortLot, Decimal]]:
    """Return the positions that a cover closes and the shares of each, the earliest first. Changes nothing.

    Raises:
        RefusedError: NO_SHORT_POSITION, where fewer shares are owed.
    """
    shorts = [
        short
        for _, short in sorted(book.shorts.items(), key=lambda item: (item[1].sold_on, item[0]))
        if short.key.account == event.account and short.ticker == event.ticker
    ]
    owed = sum((short.quantity for short in shorts), _ZERO)
    if event.quantity > owed:
        raise RefusedError(
            "NO_SHORT_POSITION",
            f"{event.account} covers {plain_text(event.quantity)} shares of {event.ticker} on {book.day}; it owes "
            f"{plain_text(owed)}.",
            "Add the short sale, or enter a purchase.",
        )
    parts: list[tuple[ShortLot, Decimal]] = []
    missing = event.quantity
    for short in shorts:
        if missing <= 0:
            break
        parts.append((short, min(missing, short.quantity)))
        missing -= parts[-1][1]
    return parts


def costs_to_cover(
    event: CoverShort, parts: Sequence[tuple[ShortLot, Decimal]]
) -> Iterator[tuple[ShortLot, Decimal, Decimal, Decimal]]:
    """Yield position, shares, cost and commission for each position that bought shares cover; shared out by shares."""
    quantities = [quantity for _, quantity in parts]
    costs = shared_out(event.in_base(event.amount), quantities)
    fees = shared_out(event.in_base(event.fee), quantities)
    for (short, quantity), cost, fee in zip(parts, costs, fees, strict=True):
        yield short, quantity, cost, fee


def reduce_short(book: Book, short: ShortLot, quantity: Decimal) -> Decimal:
    """Take shares out of a short position, and return their part of its proceeds."""
    if quantity == short.quantity:
        del book.shorts[short.key]
        return short.proceeds
    proceeds = to_cents(short.proceeds * quantity / short.quantity)
    book.shorts[short.key] = replace(
        short, quantity=short.quantity - quantity, proceeds=short.proceeds - proceeds, exact=None
    )
    return proceeds


def post_cover(
    book: Book,
    event: CoverShort,
    short: ShortLot,
    quantity: Decimal,
    proceeds: Decimal,
    *,
    cost: Decimal = _ZERO,
    gain: Decimal = _ZERO,
    term: Term = Term.NONE,
    fee: Decimal = _ZERO,
    tax_date: date | None = None,
) -> None:
    """Write that shares of a short position are covered.

    Args:
        book: The book.
        event: The cover.
        short: The position, as it was before.
        quantity: Shares covered.
        proceeds: Their part of the position's proceeds.
        cost: What the shares cost, commission included; zero where shares held are delivered.
        gain: What is realised, negative for a loss.
        term: As in ``Posting``.
        fee: Commission within ``cost``.
        tax_date: Day whose calendar year taxes the gain; None where the lots delivered realise it.
    """
    kind = PostingKind.COVER_SHORT
    _post(book, event, kind, short, quantity, proceeds, cash=-cost, gain=gain, term=term, fee=fee, tax_date=tax_date)


def _post(
    book: Book,
    event: ShortSale | CoverShort,
    kind: PostingKind,
    short: ShortLot,
    quantity: Decimal,
    basis: Decimal,
    *,
    cash: Decimal,
    fee: Decimal,
    gain: Decimal = _ZERO,
    term: Term = Term.NONE,
    tax_date: date | None = None,
) -> None:
    account = short.key.account
    if cash:
        book.cash[account] = book.cash.get(account, _ZERO) + cash
    book.note(
        Posting(
            kind,
            book.day,
            account,
            EventKey(event.account, event.event_id),
            short.ticker,
            short.key.lot_id,
            quantity,
            cash,
            basis,
            basis,
            gain,
            term,
            short.sold_on,
            short.sold_on,
            fee,
            event.settle_date,
            tax_date,
        )
    )
