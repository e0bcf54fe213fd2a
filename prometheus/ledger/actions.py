"""A day's corporate actions: whom each reaches, and their order.

An action is of the security, not of the account whose broker lists it. So what one account lists reaches every account
of the household that holds the security, each other one with a remark, and what such an account lists later says
nothing new. Accounts that list different terms on one day contradict each other: none of these is booked.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from prometheus.ledger.book import Book
from prometheus.ledger.events import (
    CashInLieu,
    Delisting,
    Dividend,
    DividendKind,
    Event,
    Merger,
    NotionalDistribution,
    ReturnOfCapital,
    SpinOff,
    Split,
    StockDistribution,
    SymbolChange,
)
from prometheus.ledger.exchanges import book_merger, book_new_symbols, check_merger
from prometheus.ledger.findings import Finding, RefusedError
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.payments import book_dividend, book_notional, book_payments_in_lieu, book_return_of_capital
from prometheus.ledger.regimes import Regime
from prometheus.ledger.share_actions import (
    book_cash_in_lieu,
    book_delisting,
    book_distribution,
    book_spin_off,
    book_split,
    check_spin_off,
    check_split,
    scale_shorts,
)
from prometheus.ledger.state import UnlistedAction

#: Actions whose terms are the same for every holder.
SHARED: Final = (Split, SpinOff, StockDistribution, SymbolChange, Merger)
ACTIONS: Final = (*SHARED, CashInLieu, Dividend, NotionalDistribution, ReturnOfCapital, Delisting)
_SharedAction = Split | SpinOff | StockDistribution | SymbolChange | Merger

#: Order of a security's actions within a day: share counts first, because distributions are quoted for a share after
#: the split; then what is carved out of the price; then what is paid.
_RANKS: Final[Mapping[type[Event], int]] = {
    Split: 1,
    CashInLieu: 2,
    StockDistribution: 3,
    Dividend: 5,
    ReturnOfCapital: 6,
    NotionalDistribution: 7,
    SpinOff: 8,
    Merger: 9,
    Delisting: 10,
}
#: These come after all others of the day, of any security: shares received on a day have no part in its other actions.
_AFTER_OTHERS: Final = 8
#: Days within which an account's own listing is taken for an action that was booked for it already.
_LISTED_LATE: Final = timedelta(days=30)


@dataclass(slots=True)
class _Action:
    """One action of a day: its terms, and the event of each account that lists it."""

    event: Any
    listed: dict[str, Event]
    reaches_all: bool


def book_actions(book: Book, regime: Regime, events: Iterable[Event], arriving: Collection[tuple[str, str]]) -> None:
    """Book a day's corporate actions on the shares held before the day.

    Symbols change first, all at once; then come, by ticker, splits, cash in lieu, distributions and payments; then
    spin-offs into a named child, mergers, delistings.

    Args:
        book: The book.
        regime: Whose rules apply.
        events: The day's actions, in canonical order.
        arriving: Account and ticker of shares that come in later that day, after its actions.

    Source: docs/specs/ledger.md, "The fold".
    """
    remarks = len(book.findings)
    actions = _grouped(book, list(events))
    changes = [action for action in actions if isinstance(action.event, SymbolChange)]
    others = [action for action in actions if not isinstance(action.event, SymbolChange)]
    if changes:
        new_tickers = _change_symbols(book, regime, changes, arriving)
        others = [_with_symbol_of_the_day(action, new_tickers) for action in others]
    others.sort(key=_order)
    moved: dict[str, Decimal] = defaultdict(Decimal)
    for i, action in enumerate(others):
        _book(book, regime, action, others[i + 1 :], moved, arriving)
    refused = {finding.event for finding in book.findings[remarks:] if finding.refused}
    booked = [
        action
        for action in actions
        if action.reaches_all or any(event.key not in refused for event in action.listed.values())
    ]
    if booked:
        tickers = {name for action in booked for name in _tickers_of(action.event)}
        regime.settle_positions(book, booked[-1].event.key, sorted(tickers))


def _order(action: _Action) -> tuple[Any, ...]:
    event = action.event
    rank = _RANKS[type(event)]
    special = isinstance(event, Dividend) and event.kind is not DividendKind.ORDINARY
    late = rank if rank >= _AFTER_OTHERS else 0
    return (late, event.ticker, rank - special, _text(event), event.account, event.event_id)


def _text(event: Event) -> str:
    return repr(_terms_of(event)) if isinstance(event, SHARED) else ""


def _tickers_of(event: Any) -> tuple[str, ...]:
    other = getattr(event, "child", "") or getattr(event, "new_ticker", "")
    return (event.ticker, other) if other else (event.ticker,)


# ---------------------------------------------------------------- whom it reaches


def _terms_of(event: _SharedAction) -> tuple[Any, ...]:
    match event:
        case Split():
            return (event.ratio,)
        case SpinOff():
            return (event.child, event.ratio, event.basis_fraction)
        case StockDistribution():
            return (event.value, event.close)
        case SymbolChange():
            return (event.new_ticker,)
        case Merger():
            return (event.new_ticker, event.ratio, event.cash_per_share, event.is_taxable, event.new_price)


def _subject_of(event: Any) -> tuple[str, str, str]:
    return (type(event).__name__, event.ticker, event.child if isinstance(event, SpinOff) else "")


def _grouped(book: Book, events: list[Event]) -> list[_Action]:
    actions: list[_Action] = []
    by_subject: dict[tuple[str, str, str], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    delistings: dict[str, _Action] = {}
    for event in events:
        if isinstance(event, SHARED):
            if not _is_known(book, event):
                by_subject[_subject_of(event)][event.account].append(event)
        elif isinstance(event, Delisting) and event.account != EVERY_ACCOUNT:
            action = delistings.setdefault(event.ticker, _Action(event, {}, reaches_all=False))
            if event.account in action.listed:
                actions.append(_Action(event, {event.account: event}, reaches_all=False))
            action.listed.setdefault(event.account, event)
        else:
            everywhere = event.account == EVERY_ACCOUNT
            actions.append(_Action(event, {} if everywhere else {event.account: event}, reaches_all=everywhere))
    actions += delistings.values()
    for listings in by_subject.values():
        actions += _shared_actions(book, listings)
    return actions


def _shared_actions(book: Book, listings: dict[str, list[Any]]) -> list[_Action]:
    """Return the actions of one kind and security on a day, after those of different accounts were compared."""
    for of_account in listings.values():
        of_account.sort(key=lambda event: (repr(_terms_of(event)), event.event_id))
    told = {account: [_terms_of(event) for event in of_account] for account, of_account in listings.items()}
    reference = told.get(EVERY_ACCOUNT)
    if reference is None:
        reference = next(iter(told.values()))
        contradicting = list(listings) if any(terms != reference for terms in told.values()) else []
    else:
        contradicting = [account for account, terms in told.items() if terms != reference]
    for account in contradicting:
        for event in listings.pop(account):
            book.findings.append(
                Finding(
                    event.key,
                    "ACTION_DIFFERS",
                    f"The {type(event).__name__} of {event.ticker} on {event.trade_date} is told with different terms "
                    "for one household.",
                    "An action is of the security: correct the terms, or remove the event.",
                )
            )
    actions: list[_Action] = []
    for i in range(len(reference) if listings else 0):
        at_i = {account: of_account[i] for account, of_account in listings.items()}
        everywhere = at_i.pop(EVERY_ACCOUNT, None)
        event = everywhere if everywhere is not None else at_i[min(at_i)]
        actions.append(_Action(event, at_i, reaches_all=everywhere is not None))
    return actions


def _unlisted(event: Any, account: str) -> UnlistedAction:
    ratio = Fraction(event.value) if isinstance(event, StockDistribution) else getattr(event, "ratio", Fraction(0))
    other = _tickers_of(event)[-1] if len(_tickers_of(event)) > 1 else ""
    return UnlistedAction(account, type(event).__name__, event.ticker, other, ratio, event.trade_date)


def _is_known(book: Book, event: Any) -> bool:
    """Return whether an account lists what was booked for it already; from now on its symbols count."""
    listing = _unlisted(event, event.account)
    for known in book.unlisted:
        if replace(known, day=listing.day) == listing and (
            isinstance(event, SymbolChange) or listing.day - known.day <= _LISTED_LATE
        ):
            book.unlisted.remove(known)
            return True
    return False


def _reached(book: Book, action: _Action, arriving: Collection[tuple[str, str]]) -> dict[str, Event]:
    """Return the accounts that an action of the security changes, with the event that says so."""
    event = action.event
    holders = book.holders(event.ticker)
    for account in sorted(action.listed):
        if account in holders:
            continue
        own = action.listed[account]
        if isinstance(event, Split | SymbolChange) and (
            book.window.knows(account, event.ticker, book.day) or book.owes(account, event.ticker)
        ):
            continue
        del action.listed[account]
        book.findings.append(_not_held(book, own, arriving))
    return {account: action.listed.get(account, event) for account in holders}


def _not_held(book: Book, event: Any, arriving: Collection[tuple[str, str]]) -> Finding:
    if (event.account, event.ticker) in arriving:
        return Finding(
            event.key,
            "ON_OPENING_DAY",
            f"The shares of {event.ticker} that come into {event.account} on {book.day} are those after the "
            f"{type(event).__name__} of that day.",
            "Remove the event, or let the shares come in the day before, as they were then.",
        )
    return Finding(
        event.key,
        "NOT_HELD",
        f"{event.account} holds no {event.ticker} before {book.day}.",
        "Remove the event, or add the purchase or opening lot that it belongs to.",
    )


def _remark_unlisted(book: Book, event: Any, account: str, *, booked: bool) -> None:
    done = "it was booked there too" if booked else "nothing was booked there"
    book.remark(
        event.key,
        "NOT_LISTED",
        f"{account} holds {event.ticker} and does not list the {type(event).__name__} of {book.day}; {done}.",
        "Add the event to that account, or correct its shares.",
    )


# ---------------------------------------------------------------- booking


def _change_symbols(
    book: Book, regime: Regime, changes: list[_Action], arriving: Collection[tuple[str, str]]
) -> dict[str, str]:
    new_tickers: dict[str, str] = {}
    causes: dict[tuple[str, str], Event] = {}
    targets = {action.event.new_ticker for action in changes}
    for action in changes:
        reached = _reached(book, action, arriving)
        event = action.event
        if not action.listed and not action.reaches_all:
            continue
        new_tickers[event.ticker] = event.new_ticker
        for account, own in reached.items():
            causes[account, event.ticker] = own
            if account not in action.listed and not action.reaches_all:
                _remark_unlisted(book, event, account, booked=True)
                # A symbol that another security takes over that day means that other one from then on.
                if event.ticker not in targets:
                    book.unlisted.append(_unlisted(event, account))
    if new_tickers:
        book_new_symbols(book, regime, new_tickers, causes)
    return new_tickers


def _with_symbol_of_the_day(action: _Action, new_tickers: Mapping[str, str]) -> _Action:
    """Return an action of a day under the symbol that its security has after the day's symbol changes."""
    former = action.event.ticker
    if former not in new_tickers or former in new_tickers.values():
        return action
    ticker = new_tickers[former]
    listed = {account: _renamed(event, ticker) for account, event in action.listed.items()}
    return _Action(_renamed(action.event, ticker), listed, action.reaches_all)


def _renamed(event: Any, ticker: str) -> Event:
    renamed: Event = replace(event, ticker=ticker)
    return renamed


def _book(
    book: Book,
    regime: Regime,
    action: _Action,
    following: list[_Action],
    moved: dict[str, Decimal],
    arriving: Collection[tuple[str, str]],
) -> None:
    event = action.event
    if isinstance(event, SHARED):
        _book_shared(book, regime, action, following, moved, arriving)
        return
    if isinstance(event, Delisting) and not action.reaches_all:
        for account in book.holders(event.ticker):
            if account not in action.listed:
                _remark_unlisted(book, event, account, booked=False)
    if isinstance(event, Dividend) and action.reaches_all and book.shorts:
        book_payments_in_lieu(book, event)
    accounts = book.holders(event.ticker) if action.reaches_all else sorted(action.listed)
    for account in accounts:
        own = action.listed.get(account, event)
        try:
            _book_own(book, regime, own, account, arriving)
        except RefusedError as refused:
            book.findings.append(Finding(own.key, refused.code, refused.message, refused.remedy))


def _book_own(book: Book, regime: Regime, event: Any, account: str, arriving: Collection[tuple[str, str]]) -> None:
    if not isinstance(event, Dividend) and account not in book.holders(event.ticker):
        finding = _not_held(book, event, () if isinstance(event, Delisting) else arriving)
        raise RefusedError(finding.code, finding.message, finding.remedy)
    match event:
        case Dividend():
            book_dividend(book, event, account)
        case ReturnOfCapital():
            book_return_of_capital(book, regime, event, account)
        case NotionalDistribution():
            book_notional(book, event, account)
        case CashInLieu():
            book_cash_in_lieu(book, regime, event)
        case Delisting():
            book_delisting(book, regime, event, account)


def _book_shared(
    book: Book,
    regime: Regime,
    action: _Action,
    following: list[_Action],
    moved: dict[str, Decimal],
    arriving: Collection[tuple[str, str]],
) -> None:
    event = action.event
    before = moved[event.ticker]
    reached = _reached(book, action, arriving)
    for account in sorted(reached):
        own = action.listed.get(account)
        try:
            _check(book, own if own is not None else event, account, before, has_cash=own is not None)
        except RefusedError as refused:
            book.findings.append(
                Finding((own or event).key, refused.code, refused.message, refused.remedy, refused=own is not None)
            )
            if own is None:
                del reached[account]  # not even the terms can be booked there
            else:
                del action.listed[account]
                reached[account] = _without_cash(event)
                try:
                    _check(book, event, account, before, has_cash=False)
                except RefusedError:
                    del reached[account]
    if not action.listed and not action.reaches_all:
        return
    for account, own in sorted(reached.items()):
        is_listed = account in action.listed
        if not is_listed and not action.reaches_all:
            _remark_unlisted(book, event, account, booked=True)
            book.unlisted.append(_unlisted(event, account))
        _book_terms(book, regime, own if is_listed else _without_cash(own), account, following, before)
    if isinstance(event, Split):
        book.window.scale(event.ticker, event.ratio)
        scale_shorts(book, event)
    elif isinstance(event, SpinOff):
        moved[event.ticker] += event.basis_fraction


def _without_cash(event: Any) -> Any:
    return event if getattr(event, "cash_in_lieu", None) is None else replace(event, cash_in_lieu=None)


def _check(book: Book, event: Any, account: str, moved: Decimal, *, has_cash: bool) -> None:
    match event:
        case Split():
            check_split(book, event, account, has_cash=has_cash)
        case SpinOff():
            check_spin_off(book, event, account, moved, has_cash=has_cash)
        case Merger():
            check_merger(book, event, account, has_cash=has_cash)


def _book_terms(book: Book, regime: Regime, event: Any, account: str, following: list[_Action], moved: Decimal) -> None:
    match event:
        case Split():
            book_split(book, regime, event, account)
        case SpinOff():
            book_spin_off(book, regime, event, account, moved)
        case Merger():
            book_merger(book, regime, event, account)
        case StockDistribution():
            later = sum(
                (
                    other.event.value
                    for other in following
                    if isinstance(other.event, StockDistribution) and other.event.ticker == event.ticker
                ),
                Decimal(0),
            )
            book_distribution(book, regime, event, account, later)
