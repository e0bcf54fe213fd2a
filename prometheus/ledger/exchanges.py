"""Shares that become shares of another name: new symbols and mergers."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Final

from prometheus.domain.money import to_cents
from prometheus.ledger.book import Book
from prometheus.ledger.events import Event, Merger
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import LotKey
from prometheus.ledger.lots import MERGED_MARK, shared_out
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes import Regime
from prometheus.ledger.share_actions import check_counts, check_fraction, counts_after, exact_count, pay_fraction
from prometheus.ledger.state import Lot, Purchase

_ZERO: Final = Decimal(0)


def book_new_symbols(
    book: Book, regime: Regime, new_tickers: Mapping[str, str], causes: Mapping[tuple[str, str], Event]
) -> None:
    """Give lots and past trades their new symbols, all at once, so that two securities may swap theirs.

    A new symbol that no one gives a group stays in that of the former one.

    Args:
        book: The book.
        regime: Whose rules apply.
        new_tickers: Former to new ticker.
        causes: By account and former ticker the event that says so.
    """
    positions = [(account, former) for former in sorted(new_tickers) for account in book.holders(former)]
    for lot in [lot for account, former in positions for lot in book.lots_of(account, former)]:
        cause = causes[lot.key.account, lot.ticker]
        after = replace(lot, ticker=new_tickers[lot.ticker])
        regime.exchange(book, PostingKind.SYMBOL_CHANGE, cause.key, lot, after)
    for key, short in list(book.shorts.items()):
        if short.ticker in new_tickers:
            book.shorts[key] = replace(short, ticker=new_tickers[short.ticker])
    inherited = {
        new: book.group_of(former)
        for former, new in sorted(new_tickers.items())
        if new not in book.terms.groups and (former in book.terms.groups or former in book.groups)
    }
    book.window.rename(new_tickers, lambda: book.groups.update(inherited))


def check_merger(book: Book, event: Merger, account: str, *, has_cash: bool) -> None:
    """Refuse a merger that cannot be booked in an account.

    Raises:
        RefusedError: VANISHING_LOT, TOO_LARGE or NO_FRACTION.
    """
    if event.ratio <= 0:
        return
    lots = book.lots_of(account, event.ticker)
    counts = counts_after(lots, event.ratio)
    if any(quantity <= 0 for quantity, _ in counts):
        raise RefusedError(
            "VANISHING_LOT",
            f"A merger of {event.ticker} by {event.ratio} leaves nothing of a lot.",
            "Sell the shares before the merger.",
        )
    check_counts(event, event.new_ticker, counts)
    if has_cash and event.cash_in_lieu:
        held = exact_count(book.walk(account, event.new_ticker))
        check_fraction(event, event.new_ticker, held + exact_count(lots) * event.ratio)


def book_merger(book: Book, regime: Regime, event: Merger, account: str) -> None:
    """Exchange the shares of an account.

    Cash alone, and a taxable exchange, are a sale; the new shares of a taxable exchange are a purchase at their value.
    Shares alone keep basis and dates. Of shares and cash the gain is recognised up to the cash, a loss not at all, and
    the basis is that before less the cash plus the gain recognised.

    Source: 26 U.S.C. 1001 (cash); 354, 358, 1223(1) (shares); 356(a)(1), 356(c), 358(a) (both); ITA s. 85.1.
    """
    lots = book.lots_of(account, event.ticker)
    if event.ratio <= 0 or event.is_taxable:
        _book_taxed(book, regime, event, account, lots)
    else:
        _book_untaxed(book, regime, event, lots)
    if event.ratio > 0:
        pay_fraction(book, regime, event, account, event.new_ticker)


def _book_taxed(book: Book, regime: Regime, event: Merger, account: str, lots: list[Lot]) -> None:
    counts = counts_after(lots, event.ratio) if event.ratio > 0 else [(_ZERO, None)] * len(lots)
    shares = sum((lot.quantity for lot in lots), _ZERO)
    received = sum((quantity for quantity, _ in counts), _ZERO)
    value = to_cents(received * (event.new_price or _ZERO) * event.rate)
    cash = to_cents(shares * event.cash_per_share * event.rate)
    regime.realise(book, PostingKind.MERGER, event, [(lot, lot.quantity) for lot in lots], cash + value)
    costs = shared_out(value, [quantity for quantity, _ in counts]) if received else ()
    for lot, (quantity, exact), cost in zip(lots, counts, costs, strict=False):
        key = LotKey(account, book.free_lot_id(account, f"{lot.key.lot_id}{MERGED_MARK}"))
        new = Lot(key, event.key, key.lot_id, event.new_ticker, book.day, quantity, cost, cost, book.day, exact)
        purchase = Purchase(event.key, key, event.new_ticker, book.day, quantity, quantity, exact, exact)
        regime.bring_in(book, PostingKind.MERGER, event, new, cash=-cost, purchase=purchase, former=lot.key)


def _book_untaxed(book: Book, regime: Regime, event: Merger, lots: list[Lot]) -> None:
    counts = counts_after(lots, event.ratio)
    shares = sum((lot.quantity for lot in lots), _ZERO)
    boot = to_cents(shares * event.cash_per_share * event.rate)
    parts = shared_out(boot, [lot.quantity for lot in lots]) if boot else (_ZERO,) * len(lots)
    for held, (quantity, exact), cash in zip(lots, counts, parts, strict=True):
        lot = held
        after = replace(lot, ticker=event.new_ticker, quantity=quantity, exact=exact)
        if cash:
            value = to_cents(quantity * (event.new_price or _ZERO) * event.rate)
            gain = min(max(cash + value - lot.adjusted_basis, _ZERO), cash)
            change = gain - cash
            with_boot = replace(
                lot,
                cost_basis=max(lot.cost_basis + change, _ZERO),
                adjusted_basis=lot.adjusted_basis + change,
            )
            book.change(
                PostingKind.MERGER,
                event.key,
                lot,
                with_boot,
                settle_date=event.settle_date,
                cash=cash,
                gain=gain,
                term=regime.term(lot, book.day),
                tax_date=regime.tax_date(event),
            )
            after = replace(after, cost_basis=with_boot.cost_basis, adjusted_basis=with_boot.adjusted_basis)
            lot = with_boot
        regime.exchange(book, PostingKind.MERGER, event.key, lot, after)
        book.window.exchange(lot.key, event.new_ticker, event.ratio)
