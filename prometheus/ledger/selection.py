"""Which lots a sale takes: the order of each method as a table, and the walk along it."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final

from prometheus.domain.accounts import LotMethod, TaxRates
from prometheus.domain.books import LotPick
from prometheus.domain.lots import Term
from prometheus.domain.money import plain_text
from prometheus.ledger.book import Book, rank_by_basis
from prometheus.ledger.findings import RefusedError
from prometheus.ledger.keys import LotKey, value
from prometheus.ledger.lots import term_of
from prometheus.ledger.state import Lot
from prometheus.ledger.tie_rules import EqualLots

_ZERO: Final = Decimal(0)
_SortKey = Callable[[Lot, "SaleTerms"], tuple[Any, ...]]


@value
class Taking:
    """Shares that a sale, a transfer or the like wants.

    Attributes:
        account: Who gives them.
        ticker: The security.
        quantity: How many, positive.
        picks: Lots named, adding up to ``quantity``; empty where a method chooses.
        method: Lot method; that of the account where None.
        price: Proceeds of one share; only LEAST_TAX_FIRST looks at it.
    """

    account: str
    ticker: str
    quantity: Decimal
    picks: tuple[LotPick, ...] = ()
    method: LotMethod | None = None
    price: Decimal = _ZERO


#: Lots and the shares taken of each, each lot once, in the order in which they are booked.
Selection = list[tuple[Lot, Decimal]]


class SaleTerms:
    """What the order of lots can depend on: the day, the price of a share and the account's rates."""

    __slots__ = ("day", "price", "rates")

    def __init__(self, day: date, price: Decimal, rates: TaxRates) -> None:
        self.day, self.price, self.rates = day, price, rates


def _highest_basis_first(lot: Lot, sale: SaleTerms) -> tuple[Any, ...]:  # noqa: ARG001 - one signature for the table
    return rank_by_basis(lot)


def _least_tax_first(lot: Lot, sale: SaleTerms) -> tuple[Any, ...]:
    is_long = term_of(lot.holding_period_start, sale.day) is Term.LONG
    rate = sale.rates.long_term() if is_long else sale.rates.short_term()
    return (rate * (sale.price - lot.adjusted_basis / lot.quantity), lot.acquired_on, lot.key)


def _earliest_first(lot: Lot, sale: SaleTerms) -> tuple[Any, ...]:  # noqa: ARG001 - one signature for the table
    return (lot.acquired_on, lot.key)


#: Sort key of each lot method. Every key ends in acquired_on and the lot's key, so no order is left to chance.
LOT_ORDERS: Final[dict[LotMethod, _SortKey]] = {
    LotMethod.HIFO: _highest_basis_first,
    LotMethod.LEAST_TAX_FIRST: _least_tax_first,
    LotMethod.FIFO: _earliest_first,
    LotMethod.ACB: _earliest_first,
}
_TIES: Final[dict[EqualLots, Callable[[Lot], Decimal]]] = {
    EqualLots.SMALLEST_FIRST: lambda lot: lot.quantity,
    EqualLots.LARGEST_FIRST: lambda lot: -lot.quantity,
}
#: Methods whose order is the one in which the book keeps its lots.
_AS_KEPT: Final = frozenset({LotMethod.FIFO, LotMethod.ACB})


def order_lots(lots: Iterable[Lot], method: LotMethod, sale: SaleTerms) -> list[Lot]:
    """Return the lots of one position in the order in which a method sells them.

    Args:
        lots: In any order.
        method: The lot method.
        sale: What the order can depend on.

    Source: Treas. Reg. 1.1012-1(c) (FIFO, specific identification); ITA s. 47(1) (a single pool).
    """
    key = LOT_ORDERS[method]
    return sorted(lots, key=lambda lot: key(lot, sale))


def select_lots(book: Book, taking: Taking) -> Selection:
    """Return the lots that give up shares, and how many each. Changes nothing.

    A lot that is named gives its own shares first, then those of the parts that the ledger split off it. So a sale can
    take just the shares that somebody saw under one name.

    Args:
        book: The book.
        taking: What is wanted.

    Raises:
        RefusedError: OVERSOLD, UNKNOWN_LOT, or LOT_NAMED_TWICE.

    Source: Treas. Reg. 1.1012-1(c) (FIFO where no lot is identified, specific identification).
    """
    if not taking.picks:
        return walk_lots(_in_order(book, taking, None), taking, taking.quantity)
    selection: Selection = []
    for pick in taking.picks:
        named = _named(book, taking, pick)
        if len(named) > 1:
            own = [lot for lot in named if lot.key.lot_id == pick.lot_id]
            parts = [lot for lot in named if lot.key.lot_id != pick.lot_id]
            named = [*own, *_in_order(book, taking, parts)]
        selection += walk_lots(named, taking, pick.quantity)
    if len({lot.key for lot, _ in selection}) < len(selection):
        raise RefusedError(
            "LOT_NAMED_TWICE", f"{taking.account} names one lot twice.", "Name every lot once, with all its shares."
        )
    return selection


def _in_order(book: Book, taking: Taking, lots: list[Lot] | None) -> Iterable[Lot]:
    if lots is not None and len(lots) == 1:
        return lots
    terms, equal_lots = book.terms.of(taking.account), book.terms.ties.equal_lots
    method = taking.method or terms.method
    if method in _AS_KEPT and equal_lots is EqualLots.LOT_ID:
        if lots is None:
            return book.walk(taking.account, taking.ticker)
        return sorted(lots, key=lambda lot: (lot.acquired_on, lot.key))
    sale = SaleTerms(book.day, taking.price, terms.rates)
    if lots is None and equal_lots is EqualLots.LOT_ID:
        if method is LotMethod.HIFO:
            return book.walk_by_basis(taking.account, taking.ticker)
        if method is LotMethod.LEAST_TAX_FIRST and terms.rates.short_term() > 0 and terms.rates.long_term() > 0:
            return _by_tax(book, taking, sale)
    candidates = book.walk(taking.account, taking.ticker) if lots is None else lots
    if equal_lots is EqualLots.LOT_ID:
        return order_lots(candidates, method, sale)
    key, tie = LOT_ORDERS[method], _TIES[equal_lots]
    return sorted(candidates, key=lambda lot: (*key(lot, sale)[:-1], tie(lot), lot.key))


def _by_tax(book: Book, taking: Taking, sale: SaleTerms) -> Iterable[Lot]:
    """Return lots by the tax on a share; within a term it falls as the basis rises, so walks by basis are merged."""
    walks = (_of_term(book, taking, sale, term) for term in (Term.LONG, Term.SHORT))
    return heapq.merge(*walks, key=lambda lot: _least_tax_first(lot, sale))


def _of_term(book: Book, taking: Taking, sale: SaleTerms, term: Term) -> Iterator[Lot]:
    for lot in book.walk_by_basis(taking.account, taking.ticker):
        if term_of(lot.holding_period_start, sale.day) is term:
            yield lot


def _named(book: Book, taking: Taking, pick: LotPick) -> list[Lot]:
    parts = book.parts_of(LotKey(taking.account, pick.lot_id), taking.ticker)
    if not parts:
        raise RefusedError(
            "UNKNOWN_LOT",
            f"{taking.account} holds no lot {pick.lot_id} of {taking.ticker} on {book.day}.",
            "Name a lot that is held, or name none to let the lot method choose.",
        )
    return parts


def walk_lots(lots: Iterable[Lot], taking: Taking, quantity: Decimal) -> Selection:
    """Take shares along an order of lots until there are so many.

    Args:
        lots: In the order in which they are sold.
        taking: For whom; named where there are not enough.
        quantity: Shares, positive.

    Raises:
        RefusedError: OVERSOLD.
    """
    selection: Selection = []
    missing = quantity
    for lot in lots:
        if lot.quantity >= missing:
            selection.append((lot, missing))
            return selection
        selection.append((lot, lot.quantity))
        missing -= lot.quantity
    raise oversold(taking, quantity - missing)


def oversold(taking: Taking, held: Decimal) -> RefusedError:
    """Return the refusal of an event that takes more shares than there are."""
    return RefusedError(
        "OVERSOLD",
        f"{taking.account} gives up {plain_text(taking.quantity)} shares of {taking.ticker}; it holds "
        f"{plain_text(held)} of what it may take.",
        "Add the missing purchase or opening lot, or correct the quantity.",
    )
