"""What is paid on shares: dividends, returns of capital, distributions that are reinvested without units."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import Final

from prometheus.domain.money import to_cents
from prometheus.ledger.book import Book
from prometheus.ledger.events import Dividend, DividendKind, NotionalDistribution, ReturnOfCapital
from prometheus.ledger.lots import shared_out
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes import Regime

_POSTED_AS: Final = {
    DividendKind.ORDINARY: PostingKind.DIVIDEND,
    DividendKind.SPECIAL: PostingKind.SPECIAL_DIVIDEND,
    DividendKind.CAPITAL_GAIN: PostingKind.CAPITAL_GAINS_DIVIDEND,
}


def book_dividend(book: Book, event: Dividend, account: str) -> None:
    """Credit cash for the whole position in one line; lots do not change."""
    amount = _amount(book, event, account)
    book.move_cash(_POSTED_AS[event.kind], event, account, amount, event.ticker)


def book_payments_in_lieu(book: Book, event: Dividend) -> None:
    """Charge every account that is short of a security with the dividend of what it owes, one line for each account.

    Only cash changes. Whether the payment is deducted or raises the cost of the shares that close the position depends
    on when that is done (26 U.S.C. 263(h)); no report says it.
    """
    owed: dict[str, Decimal] = defaultdict(Decimal)
    for key, short in sorted(book.shorts.items()):
        if short.ticker == event.ticker:
            owed[key.account] += short.quantity
    assert event.per_share is not None  # the market says no total
    for account, quantity in owed.items():
        amount = to_cents(quantity * event.per_share * event.rate)
        book.move_cash(PostingKind.PAYMENT_IN_LIEU, event, account, -amount, event.ticker)


def book_return_of_capital(book: Book, regime: Regime, event: ReturnOfCapital, account: str) -> None:
    """Lower the basis of every share alike by what is paid; what exceeds a lot's basis is a gain.

    Source: 26 U.S.C. 301(c)(2), (3); ITA ss. 53(2)(h), 40(3).
    """
    lots = book.lots_of(account, event.ticker)
    parts = shared_out(_amount(book, event, account), [lot.quantity for lot in lots])
    for lot, part in zip(lots, parts, strict=True):
        reduction = min(part, lot.adjusted_basis)
        gain = part - reduction
        after = replace(
            lot,
            cost_basis=lot.cost_basis - min(part, lot.cost_basis),
            adjusted_basis=lot.adjusted_basis - reduction,
        )
        book.change(
            PostingKind.RETURN_OF_CAPITAL,
            event.key,
            lot,
            after,
            settle_date=event.settle_date,
            cash=part,
            gain=gain,
            term=regime.term(lot, book.day),
            tax_date=regime.tax_date(event) if gain else None,
        )


def book_notional(book: Book, event: NotionalDistribution, account: str) -> None:
    """Raise the cost of every share alike by a distribution that gave no units."""
    lots = book.lots_of(account, event.ticker)
    parts = shared_out(_amount(book, event, account), [lot.quantity for lot in lots])
    for lot, part in zip(lots, parts, strict=True):
        after = replace(lot, cost_basis=lot.cost_basis + part, adjusted_basis=lot.adjusted_basis + part)
        book.change(PostingKind.NOTIONAL_DISTRIBUTION, event.key, lot, after, settle_date=event.settle_date)


def _amount(book: Book, event: Dividend | ReturnOfCapital | NotionalDistribution, account: str) -> Decimal:
    """Return what is paid on a position, cents of the base currency."""
    if event.amount is not None:
        return event.in_base(event.amount)
    assert event.per_share is not None  # checked
    return to_cents(book.quantity_of(account, event.ticker) * event.per_share * event.rate)
