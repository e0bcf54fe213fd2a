"""The fold: events in, lots, cash and postings out. The one place where the order of a day is written.

Within a day:

1. windows that closed before the day are settled;
2. corporate actions, on the shares held before the day: new symbols, all at once; then by ticker splits, cash in lieu,
   distributions and payments; then spin-offs, mergers, delistings. Their losses meet the purchases already made;
3. what comes in: opening lots and cash, transfers from outside; then what goes to other accounts or leaves;
4. sales of lots held so far, whose losses meet the purchases already made; then purchases, each of which meets the
   losses of its window that are still open; then the sales that needed the day's purchases; then short sales, and
   covers;
5. fees and interest, and the delistings of positions that were traded or moved that day.

Within each part events come by account, ticker and content, purchases by the names of their lots, and last by name. So
the order of arrival does not matter.
An event that cannot be booked is a finding, and the rest is booked as if it had never been there.
"""

import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.actions import ACTIONS, book_actions
from prometheus.ledger.arrivals import book_arrival, book_cash_transfer, book_opening_cash, book_transfer_out
from prometheus.ledger.book import Book
from prometheus.ledger.events import (
    Buy,
    CashTransfer,
    CoverShort,
    Delisting,
    Dividend,
    Event,
    Fee,
    Interest,
    OpeningCash,
    OpeningLot,
    Reinvestment,
    Sell,
    ShortSale,
    TransferIn,
    TransferOut,
)
from prometheus.ledger.facts import effective_events
from prometheus.ledger.findings import Finding, RefusedError, ordered_findings
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.payments import book_dividend
from prometheus.ledger.postings import Posting, PostingKind
from prometheus.ledger.regimes import Regime, canada_shorts, us_shorts
from prometheus.ledger.regimes.canada import CanadaRegime
from prometheus.ledger.regimes.us import USRegime
from prometheus.ledger.selection import Taking
from prometheus.ledger.state import EMPTY, Lot, Purchase, State
from prometheus.ledger.terms import Terms
from prometheus.ledger.tie_rules import SameDayTrades

_ZERO: Final = Decimal(0)

#: The rules of each country.
REGIMES: Final[Mapping[TaxRegime, Callable[[Terms], Regime]]] = {TaxRegime.US: USRegime, TaxRegime.CA: CanadaRegime}


class Folded(NamedTuple):
    """What a fold returns: the books after, the rows written on the way, and remarks on events."""

    state: State
    postings: tuple[Posting, ...]
    findings: tuple[Finding, ...]


def advance(state: State, events_of_a_day: Iterable[Event], terms: Terms) -> Folded:
    """Book the events of one day.

    Args:
        state: The household at the end of an earlier day; it is not changed.
        events_of_a_day: All events of the day, in any order; corrections of earlier days are for ``refold``.
        terms: Under what terms the household's books are kept.

    Raises:
        AccountingError: Events of two days, or of a day that the state is past.
    """
    events = tuple(events_of_a_day)
    days = {event.trade_date for event in events}
    if len(days) > 1:
        raise AccountingError(f"advance books one day, these events are of {min(days)} and {max(days)}; use fold.")
    return fold(events, terms, state)


def fold(
    events: Iterable[Event],
    terms: Terms,
    from_state: State = EMPTY,
    *,
    on_day: Callable[[int], None] | None = None,
) -> Folded:
    """Book events of many days, in any order.

    Args:
        events: All events after ``from_state``, corrections and cancellations of them included.
        terms: Under what terms the household's books are kept.
        from_state: The household at the end of an earlier day; it is not changed.
        on_day: Called after each day with the number of its events.

    Raises:
        AccountingError: An event of a day that the state is past.

    Source: docs/specs/ledger.md, "The fold".
    """
    told = tuple(events)
    with without_collector(len(told)):
        return _folded(told, terms, from_state, on_day)


def _folded(events: tuple[Event, ...], terms: Terms, from_state: State, on_day: Callable[[int], None] | None) -> Folded:
    counting, findings = effective_events(events)
    by_day: dict[date, list[Event]] = defaultdict(list)
    for event in counting:
        by_day[event.trade_date].append(event)
    days = sorted(by_day)
    if days and from_state.through is not None and days[0] <= from_state.through:
        raise AccountingError(
            f"the books are through {from_state.through}, an event is of {days[0]}; refold from an earlier checkpoint.",
            details={"through": from_state.through.isoformat(), "trade_date": days[0].isoformat()},
        )
    regime = REGIMES[terms.regime](terms)
    book = Book(from_state, terms, regime.window)
    folding = _Fold(book, regime)
    last_forgotten = book.day
    for day in days:
        if (day - last_forgotten).days > _FORGET_EVERY:
            book.window.forget(day)
            last_forgotten = day
        folding.book_day(day, by_day[day])
        if on_day is not None:
            on_day(len(by_day[day]))
    ordered = ordered_findings((*findings, *book.findings))
    return Folded(book.freeze(), tuple(book.postings), ordered)


#: Days between two times at which trades that no window reaches any more are dropped; it changes no result.
_FORGET_EVERY: Final = 60
#: Events from which a fold does without the collector of cycles.
_MANY_EVENTS: Final = 1_000


@contextmanager
def without_collector(events: int) -> Iterator[None]:
    """Turn the collector of cycles off while many events are read or booked.

    Neither makes cycles, but millions of values that the collector would walk over and over: a quarter of the time.
    """
    pauses = events >= _MANY_EVENTS and gc.isenabled()
    if pauses:
        gc.disable()
    try:
        yield
    finally:
        if pauses:
            if not gc.get_freeze_count():  # what others have frozen stays frozen
                # into the oldest generation: else the first collection would walk over all of them
                gc.freeze()
                gc.unfreeze()
            gc.enable()


_ENTERING: Final = (OpeningLot, TransferIn)
_MOVING: Final = (OpeningCash, CashTransfer, TransferOut)
_BUYING: Final = (Buy, Reinvestment)
_SHORT: Final = (ShortSale, CoverShort)
_CHARGES: Final = (Fee, Interest)

#: Part of the day in which each kind of event is booked.
_PARTS: Final[Mapping[type[Event], str]] = {
    **dict.fromkeys(ACTIONS, "action"),
    **dict.fromkeys(_ENTERING, "arrival"),
    **dict.fromkeys(_MOVING, "arrival"),
    **dict.fromkeys(_BUYING, "purchase"),
    Sell: "sale",
    **dict.fromkeys(_SHORT, "short"),
    **dict.fromkeys(_CHARGES, "charge"),
}
_ARRIVAL_RANKS: Final[Mapping[type[Event], int]] = {
    OpeningCash: 0,
    OpeningLot: 1,
    TransferIn: 2,
    CashTransfer: 3,
    TransferOut: 4,
}


def canonical_key(event: Any) -> tuple[Any, ...]:
    """Return a sort key of what an event says; purchases come by the names of their lots."""
    kind = type(event)
    if kind is Sell:  # nearly every event is a sale or a purchase
        return (event.account, event.ticker, "Sell", "", event.quantity, event.amount, event.event_id)
    if kind is Buy:
        lot_id = event.lot_id or event.event_id
        return (event.account, event.ticker, "Buy", lot_id, event.quantity, event.amount, event.event_id)
    return (
        event.account,
        getattr(event, "ticker", ""),
        kind.__name__,
        getattr(event, "lot_id", "") or (event.event_id if kind is Reinvestment else ""),
        getattr(event, "quantity", None) or _ZERO,
        getattr(event, "amount", None) or _ZERO,
        event.event_id,
    )


# ---------------------------------------------------------------- a purchase, a sale


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


# ---------------------------------------------------------------- a day


class _Fold:
    """One book and its regime while days are booked."""

    def __init__(self, book: Book, regime: Regime) -> None:
        self._book = book
        self._regime = regime
        self._purchases_first = book.terms.ties.same_day_trades is SameDayTrades.PURCHASES_FIRST

    def book_day(self, day: date, events: list[Event]) -> None:
        """Book a day's events."""
        book, regime = self._book, self._regime
        regime.begin_day(book, day)
        book.day = day
        if book.unlisted:
            events = self._under_symbols_of_the_day(events)
        if len(events) > 1:
            events.sort(key=canonical_key)
        parts: dict[str, list[Any]] = {}
        for event in events:
            parts.setdefault(_PARTS[type(event)], []).append(event)
        late_delistings: list[Event] = []
        if "action" in parts:
            if all(type(event) is Dividend and event.account for event in parts["action"]):
                for event in parts["action"]:
                    book_dividend(book, event, event.account)
            else:
                late_delistings = self._book_actions(parts)
        if "arrival" in parts:
            for event in sorted(parts["arrival"], key=lambda each: _ARRIVAL_RANKS[type(each)]):
                self._try(event, _ARRIVALS[type(event)])
        self._book_trades(parts.get("sale", []), parts.get("purchase", []))
        if "short" in parts:
            for event in sorted(parts["short"], key=lambda each: isinstance(each, CoverShort)):
                self._try(event, _SHORTS[book.terms.regime][type(event)])
        for event in parts.get("charge", ()):
            _book_charge(book, event)
        if late_delistings:
            book_actions(book, regime, late_delistings, ())
        regime.meet_losses(book)
        regime.end_day(book)

    def _book_actions(self, parts: Mapping[str, list[Any]]) -> list[Event]:
        """Book the actions that come before all else, and return those that wait until the day's trades are booked."""
        book, regime = self._book, self._regime
        arriving = {(event.account, event.ticker) for event in parts.get("arrival", ()) if isinstance(event, _ENTERING)}
        moved = arriving | {
            (event.account, event.ticker)
            for part in ("sale", "purchase", "arrival")
            for event in parts.get(part, ())
            if hasattr(event, "ticker")
        }
        first: list[Event] = []
        late: list[Event] = []
        for event in parts["action"]:
            waits = isinstance(event, Delisting) and (event.account, event.ticker) in moved
            (late if waits else first).append(event)
        book_actions(book, regime, first, arriving)
        regime.meet_losses(book)
        return late

    def _book_trades(self, sales: list[Sell], purchases: list[Buy]) -> None:
        book, regime = self._book, self._regime
        late = sales
        if sales and not self._purchases_first:
            late = []
            for sale in sales:
                if not self._try(sale, book_sale, can_wait=bool(purchases)):
                    late.append(sale)
            regime.meet_losses(book)
        if len(purchases) > 1:
            purchases.sort(key=lambda event: regime.purchase_rank(event.account))
        for purchase in purchases:
            self._try(purchase, book_purchase)
        for sale in late:
            self._try(sale, book_sale)

    def _try(self, event: Any, booked: Callable[[Book, Regime, Any], None], *, can_wait: bool = False) -> bool:
        """Book an event and return whether it is dealt with; False only where it may wait for the day's purchases."""
        try:
            booked(self._book, self._regime, event)
        except RefusedError as refused:
            if can_wait:
                return False
            self._book.findings.append(
                Finding(EventKey(event.account, event.event_id), refused.code, refused.message, refused.remedy)
            )
        return True

    def _under_symbols_of_the_day(self, events: list[Event]) -> list[Event]:
        """Return events under the symbols that other accounts' events have told already."""
        told = {
            (known.account, known.ticker): known.new_ticker
            for known in self._book.unlisted
            if known.kind == "SymbolChange"
        }
        return [_renamed(event, told) for event in events] if told else events


def _renamed(event: Any, told: Mapping[tuple[str, str], str]) -> Event:
    ticker = getattr(event, "ticker", "")
    if type(event).__name__ == "SymbolChange":
        return event  # type: ignore[no-any-return]
    seen: set[str] = set()
    while (event.account, ticker) in told and ticker not in seen:
        seen.add(ticker)
        ticker = told[event.account, ticker]
    return replace(event, ticker=ticker) if seen else event  # type: ignore[no-any-return]


def _book_charge(book: Book, event: Fee | Interest) -> None:
    if isinstance(event, Fee):
        book.move_cash(PostingKind.FEE, event, event.account, -event.in_base(event.amount))
    else:
        book.move_cash(PostingKind.INTEREST, event, event.account, event.in_base(event.amount))


#: How short positions are booked in each country.
_SHORTS: Final[Mapping[TaxRegime, Mapping[type[Event], Callable[[Book, Regime, Any], None]]]] = {
    TaxRegime.US: {ShortSale: us_shorts.book_short_sale, CoverShort: us_shorts.book_cover},
    TaxRegime.CA: {ShortSale: canada_shorts.book_short_sale, CoverShort: canada_shorts.book_cover},
}
_ARRIVALS: Final[Mapping[type[Event], Callable[[Book, Regime, Any], None]]] = {
    OpeningCash: book_opening_cash,
    OpeningLot: book_arrival,
    TransferIn: book_arrival,
    CashTransfer: book_cash_transfer,
    TransferOut: book_transfer_out,
}
