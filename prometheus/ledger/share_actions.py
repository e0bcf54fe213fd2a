"""Splits, spin-offs, distributions of shares, fractions paid in cash, and the end of a security."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.domain.money import plain_text, to_cents
from prometheus.ledger.book import Book
from prometheus.ledger.events import CashInLieu, Delisting, Event, Merger, SpinOff, Split, StockDistribution
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import EVERY_ACCOUNT, LotKey
from prometheus.ledger.lots import CHILD_MARK
from prometheus.ledger.postings import Posting, PostingKind
from prometheus.ledger.regimes import Regime
from prometheus.ledger.selection import Selection, Taking, oversold
from prometheus.ledger.shares import MOST_SHARES, scaled, scaled_counts
from prometheus.ledger.state import Lot

_ZERO: Final = Decimal(0)


def exact_count(lots: Iterable[Lot]) -> Fraction:
    """Return the shares of lots before rounding."""
    return sum((Fraction(lot.quantity) if lot.exact is None else lot.exact for lot in lots), Fraction(0))


def counts_after(lots: Iterable[Lot], ratio: Fraction) -> list[tuple[Decimal, Fraction | None]]:
    """Return the share count of each lot of one position after a ratio, and before rounding."""
    return list(scaled_counts(((lot.quantity, lot.exact) for lot in lots), ratio))


def check_counts(event: Event, ticker: str, counts: Iterable[tuple[Decimal, Fraction | None]]) -> None:
    """Refuse share counts that can no longer be counted exactly.

    Raises:
        RefusedError: TOO_LARGE.
    """
    if any(quantity > MOST_SHARES for quantity, _ in counts):
        raise RefusedError(
            "TOO_LARGE",
            f"The {type(event).__name__} of {ticker} on {event.trade_date} makes more than {MOST_SHARES:,} shares.",
            "Correct the ratio.",
        )


def check_fraction(event: Event, ticker: str, position: Fraction) -> None:
    """Refuse cash for a fraction of a position that has none.

    Raises:
        RefusedError: NO_FRACTION.
    """
    if position.denominator == 1:
        raise RefusedError(
            "NO_FRACTION",
            f"Cash in lieu is told for {ticker} on {event.trade_date}, but the position has no fraction of a share.",
            "Remove the amount, or enter it as the dividend or sale that it was.",
        )


def check_split(book: Book, event: Split, account: str, *, has_cash: bool) -> None:
    """Refuse a split that cannot be booked in an account.

    Raises:
        RefusedError: VANISHING_LOT, TOO_LARGE or NO_FRACTION.
    """
    lots = book.lots_of(account, event.ticker)
    counts = counts_after(lots, event.ratio)
    for lot, (quantity, _) in zip(lots, counts, strict=True):
        if quantity <= 0:
            raise RefusedError(
                "VANISHING_LOT",
                f"A split of {event.ratio} leaves nothing of the {plain_text(lot.quantity)} shares of lot "
                f"{lot.key.lot_id}.",
                "Sell the shares before the split.",
            )
    check_counts(event, event.ticker, counts)
    if has_cash and event.cash_in_lieu:
        check_fraction(event, event.ticker, exact_count(lots) * event.ratio)


def book_split(book: Book, regime: Regime, event: Split, account: str) -> None:
    """Multiply share counts; total bases and dates stay. A fraction is paid where the event says so.

    Source: 26 U.S.C. 305(a), 307(a); Treas. Reg. 1.307-1.
    """
    lots = book.lots_of(account, event.ticker)
    for lot, (quantity, exact) in zip(lots, counts_after(lots, event.ratio), strict=True):
        after = replace(lot, quantity=quantity, exact=exact)
        book.change(PostingKind.SPLIT, event.key, lot, after, settle_date=event.settle_date)
    pay_fraction(book, regime, event, account, event.ticker)


def scale_shorts(book: Book, event: Split) -> None:
    """Let short positions of a security owe the shares of after its split."""
    for key, short in sorted(book.shorts.items()):
        if short.ticker != event.ticker:
            continue
        quantity, exact = scaled(short.quantity, short.exact, event.ratio)
        book.shorts[key] = replace(short, quantity=quantity, exact=exact)
        book.note(
            Posting(
                PostingKind.SPLIT,
                book.day,
                key.account,
                event.key,
                ticker=short.ticker,
                lot_id=key.lot_id,
                quantity=short.quantity - quantity,
                acquired_on=short.sold_on,
                holding_period_start=short.sold_on,
            )
        )


def check_spin_off(book: Book, event: SpinOff, account: str, moved: Decimal, *, has_cash: bool) -> None:
    """Refuse a spin-off that cannot be booked in an account.

    Args:
        book: The book.
        event: The spin-off.
        account: Who holds the parent.
        moved: Part of the parent's basis that its other spin-offs of the day have taken.
        has_cash: Whether cash in lieu of the event is the account's own.

    Raises:
        RefusedError: BAD_BASIS_FRACTION, TOO_LARGE or NO_FRACTION.
    """
    if event.basis_fraction >= 1 - moved:
        raise RefusedError(
            "BAD_BASIS_FRACTION",
            f"The spin-offs of {event.ticker} on {event.trade_date} take the parent's whole basis.",
            "Correct the basis fractions.",
        )
    lots = book.lots_of(account, event.ticker)
    check_counts(event, event.child, counts_after(lots, event.ratio))
    if has_cash and event.cash_in_lieu:
        held = exact_count(book.walk(account, event.child))
        check_fraction(event, event.child, held + exact_count(lots) * event.ratio)


def book_spin_off(book: Book, regime: Regime, event: SpinOff, account: str, moved: Decimal) -> None:
    """Give shares of the child out of each lot, with a part of its basis and all of its holding period.

    A lot too small for the smallest share of the child keeps its whole basis. Children of one day take their parts of
    the same basis.

    Args:
        book: The book.
        regime: Whose rules apply.
        event: The spin-off.
        account: Who holds the parent.
        moved: Part of the parent's basis that its other spin-offs of the day have taken.

    Source: 26 U.S.C. 355, 358(a)-(c), 1223(1); Treas. Reg. 1.358-2; ITA s. 86.1.
    """
    fraction = event.basis_fraction / (1 - moved)
    lots = book.lots_of(account, event.ticker)
    for lot, (quantity, exact) in zip(lots, counts_after(lots, event.ratio), strict=True):
        if quantity <= 0:
            continue
        cost, adjusted = to_cents(lot.cost_basis * fraction), to_cents(lot.adjusted_basis * fraction)
        parent = replace(lot, cost_basis=lot.cost_basis - cost, adjusted_basis=lot.adjusted_basis - adjusted)
        book.change(PostingKind.SPINOFF, event.key, lot, parent, settle_date=event.settle_date)
        child = replace(
            lot,
            key=LotKey(account, _child_name(book, lot, event.child)),
            ticker=event.child,
            quantity=quantity,
            exact=exact,
            cost_basis=cost,
            adjusted_basis=adjusted,
        )
        regime.bring_in(book, PostingKind.SPINOFF, event, child, former=lot.key)
    pay_fraction(book, regime, event, account, event.child)


def _child_name(book: Book, lot: Lot, child: str) -> str:
    name, number = f"{lot.key.lot_id}{CHILD_MARK}-{child}", 1
    while book.is_taken(LotKey(lot.key.account, name)):
        number += 1
        name = f"{lot.key.lot_id}{CHILD_MARK}{number}-{child}"
    return name


def book_distribution(book: Book, regime: Regime, event: StockDistribution, account: str, later: Decimal) -> None:
    """Book shares of another company as received and sold at once for their value.

    They take their part of each lot's basis with them, and the lot's holding period; cash comes in, the gain or loss is
    the difference, and the lot keeps its shares and dates. A loss is one of another security and meets no purchase.

    Args:
        book: The book.
        regime: Whose rules apply.
        event: The distribution.
        account: Who holds the shares.
        later: Value a share of the day's other distributions that are booked after this one.

    Source: 26 U.S.C. 355, 358, 1223(1).
    """
    share = event.value / (event.value + later + event.close)
    for lot in book.lots_of(account, event.ticker):
        cost, adjusted = to_cents(lot.cost_basis * share), to_cents(lot.adjusted_basis * share)
        received = to_cents(lot.quantity * event.value * event.rate)
        book.change(
            PostingKind.STOCK_DISTRIBUTION,
            event.key,
            lot,
            replace(lot, cost_basis=lot.cost_basis - cost, adjusted_basis=lot.adjusted_basis - adjusted),
            settle_date=event.settle_date,
            cash=received,
            gain=received - adjusted,
            term=regime.term(lot, book.day),
            tax_date=regime.tax_date(event),
        )


def pay_fraction(book: Book, regime: Regime, event: Split | SpinOff | Merger, account: str, ticker: str) -> None:
    """Sell the fraction of a position: for what the account was paid, or at a price where it holds whole shares only.

    The earliest lots give it, as nobody has identified others. Where the market's action has no price for it, it stays,
    with a remark (NO_PRICE); what a broker lists for one account without a payment is paid by an event of its own.

    Source: Rev. Rul. 66-365; Treas. Reg. 1.1012-1(c).
    """
    if event.cash_in_lieu is None and book.terms.of(account).is_fractional:
        return
    lots = book.lots_of(account, ticker)
    position = sum((lot.quantity for lot in lots), _ZERO)
    fraction = position - position.to_integral_value(rounding="ROUND_DOWN")
    if fraction <= 0:
        return
    if event.cash_in_lieu is not None:
        amount = event.in_base(event.cash_in_lieu)
    elif event.fraction_price is not None:
        amount = to_cents(fraction * event.fraction_price * event.rate)
    else:
        if event.account == EVERY_ACCOUNT:
            book.remark(
                event.key,
                "NO_PRICE",
                f"The {type(event).__name__} of {event.ticker} on {event.trade_date} leaves {account}, which holds "
                f"whole shares, {plain_text(fraction)} of a share of {ticker}, and there is no close to pay it at.",
                f"Load the close of {ticker} on that day.",
            )
        return
    regime.realise(book, PostingKind.CASH_IN_LIEU, event, earliest(lots, fraction), amount)


def earliest(lots: Iterable[Lot], quantity: Decimal) -> Selection:
    """Return the earliest lots that have so many shares together, as far as there are any."""
    selection: Selection = []
    for lot in lots:
        if quantity <= 0:
            break
        selection.append((lot, min(quantity, lot.quantity)))
        quantity -= selection[-1][1]
    return selection


def book_cash_in_lieu(book: Book, regime: Regime, event: CashInLieu) -> None:
    """Sell a fraction for what was paid, out of the earliest lots.

    Raises:
        RefusedError: OVERSOLD.
    """
    lots = book.lots_of(event.account, event.ticker)
    held = sum((lot.quantity for lot in lots), _ZERO)
    if event.quantity > held:
        raise oversold(Taking(event.account, event.ticker, event.quantity), held)
    selection = earliest(lots, event.quantity)
    regime.realise(book, PostingKind.CASH_IN_LIEU, event, selection, event.in_base(event.amount))


def book_delisting(book: Book, regime: Regime, event: Delisting, account: str) -> None:
    """Dispose of all shares of an account for what is paid, which may be nothing.

    Raises:
        RefusedError: OTHER_QUANTITY, where the event tells another number of shares than is held.

    Source: 26 U.S.C. 165(g), 1001; ITA s. 50(1).
    """
    lots = book.lots_of(account, event.ticker)
    held = sum((lot.quantity for lot in lots), _ZERO)
    if event.quantity is not None and event.quantity != held:
        raise RefusedError(
            "OTHER_QUANTITY",
            f"The delisting of {event.ticker} on {event.trade_date} tells of {plain_text(event.quantity)} shares; "
            f"{account} holds {plain_text(held)}.",
            "A delisting ends all shares: leave the quantity empty, or correct what is held.",
        )
    if event.amount is not None:
        amount = event.in_base(event.amount)
    else:
        assert event.per_share is not None  # checked
        amount = to_cents(held * event.per_share * event.rate)
    regime.realise(book, PostingKind.DELISTING, event, [(lot, lot.quantity) for lot in lots], amount)
