"""The market's corporate actions as events of a household: stored when its books first meet them.

So the events of a household are all that its books rest upon, and a fold needs no market data. An action is stored for
a household whose events name the security; it reaches every account of it that holds the security on the day. It is
called by type, ticker and ex-date. A later change of the action is a correction of that event, called by the number of
the change too.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, TypedDict

from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import EventSource, NewEvent, StoredAction, stored_actions
from prometheus.db.repositories.ledger_inputs import MarketAction, changed_actions, market_actions
from prometheus.db.repositories.market_data import closes_on
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.event_json import same_text
from prometheus.ledger.events import (
    Correction,
    Delisting,
    Dividend,
    DividendKind,
    Event,
    SpinOff,
    Split,
    StockDistribution,
    SymbolChange,
)
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.shares import split_ratio
from prometheus.ledger.state import State

Closes = Mapping[tuple[str, date], Decimal]

_ONE_DAY: Final = timedelta(days=1)


class _Head(TypedDict):
    """What every event of an action has."""

    account: str
    event_id: str
    trade_date: date
    ticker: str


def event_name(action: CorporateAction) -> str:
    """Return what the event of an action is called, whatever its terms."""
    other = f" {action.other_ticker}" if action.other_ticker else ""
    return f"{action.action_type} {action.ticker} {action.ex_date}{other}"


def event_of_action(action: CorporateAction, closes: Closes) -> Event:
    """Return an action of the market as an event of every account.

    Args:
        action: The action.
        closes: Close by ticker and ex-date, where there is one.

    Raises:
        AccountingError: The action cannot be told without a close (NO_PRICE) or a part of the basis (NO_BASIS_PART).
    """
    head: _Head = {
        "account": EVERY_ACCOUNT,
        "event_id": event_name(action),
        "trade_date": action.ex_date,
        "ticker": action.ticker,
    }
    match action.action_type:
        case ActionType.DIVIDEND:
            return Dividend(**head, per_share=action.value)
        case ActionType.SPECIAL_DIVIDEND:
            return Dividend(**head, per_share=action.value, kind=DividendKind.SPECIAL)
        case ActionType.SPLIT:
            return _split(head, action, closes)
        case ActionType.SPINOFF_PRICE_FACTOR if action.value < 1:
            # A value below zero could not be paid out: such a factor stands for a consolidation of shares.
            return _split(head, action, closes)
        case ActionType.SPINOFF_PRICE_FACTOR:
            close = _close(action, closes)
            return StockDistribution(**head, value=close * (action.value - 1), close=close)
        case ActionType.SPINOFF_VALUE | ActionType.STOCK_DISTRIBUTION_VALUE:
            return StockDistribution(**head, value=action.value, close=_close(action, closes))
        case ActionType.SPINOFF:
            if action.basis_fraction is None:
                raise AccountingError(
                    f"the spin-off of {action.ticker} on {action.ex_date} does not say what part of the basis moves; "
                    "load it with the fraction of the company's Form 8937.",
                    code="NO_BASIS_PART",
                )
            return SpinOff(
                **head,
                child=action.other_ticker,
                ratio=split_ratio(action.value),
                basis_fraction=action.basis_fraction,
                fraction_price=closes.get((action.other_ticker, action.ex_date)),
            )
        case ActionType.SYMBOL_CHANGE:
            return SymbolChange(**head, new_ticker=action.other_ticker)
        case ActionType.DELISTING:
            return Delisting(**head, per_share=action.value)


def _split(head: _Head, action: CorporateAction, closes: Closes) -> Split:
    price = closes.get((action.ticker, action.ex_date))
    return Split(**head, ratio=split_ratio(action.value), fraction_price=price)


def _close(action: CorporateAction, closes: Closes) -> Decimal:
    close = closes.get((action.ticker, action.ex_date))
    if close is None:
        raise AccountingError(
            f"the {action.action_type} of {action.ticker} on {action.ex_date} needs the close of that day; load it "
            "with 'prometheus ingest FILE --kind prices'.",
            code="NO_PRICE",
            details={"ticker": action.ticker, "day": action.ex_date.isoformat()},
        )
    return close


def tickers_of(events: Iterable[Event]) -> set[str]:
    """Return the securities that events name, those that come out of an action among them."""
    names = ("ticker", "child", "new_ticker")
    told = (event.replacement if isinstance(event, Correction) else event for event in events)
    return {ticker for event in told for name in names if (ticker := getattr(event, name, ""))}


def tickers_in(state: State) -> set[str]:
    """Return the securities that a state holds or still needs to know of."""
    return {
        *(lot.ticker for lot in state.lots.values()),
        *(purchase.ticker for purchase in state.purchases),
        *(loss.ticker for loss in state.losses),
        *(short.ticker for short in state.shorts.values()),
    }


@dataclass(frozen=True, slots=True)
class MarketSpan:
    """Actions of the market of some days, and the closes on their ex-dates that an event may need.

    Attributes:
        actions: By ex-date, ticker and type.
        closes: Close by ticker and ex-date, where there is one.
    """

    actions: tuple[MarketAction, ...] = ()
    closes: Closes = field(default_factory=dict)


def market_span(connection: Connection, tickers: Collection[str] | None, *, after: date, through: date) -> MarketSpan:
    """Return the market's actions with ex-date in (after, through].

    Args:
        connection: A transaction.
        tickers: Securities; what comes out of their actions is added here. None for all securities.
        after: Actions of later days.
        through: Last day.
    """
    if tickers is None:
        actions = market_actions(connection, None, after=after, through=through)
        return MarketSpan(tuple(actions), _closes(connection, actions))
    actions = []
    asked: set[str] = set()
    wanted = set(tickers)
    while wanted := wanted - asked:
        asked |= wanted
        more = market_actions(connection, wanted, after=after, through=through)
        actions += more
        wanted = {one.action.other_ticker for one in more} - {""}
    actions.sort(key=lambda one: (one.action.ex_date, one.action.ticker, one.action.action_type, one.change_id))
    return MarketSpan(tuple(actions), _closes(connection, actions))


def missing_actions(
    span: MarketSpan,
    tickers: Collection[str],
    stored: Collection[str],
    *,
    after: date,
    passed: date | None,
    seen: int,
) -> list[NewEvent]:
    """Return the market's actions of a period that a household's events lack, as events.

    An action that came or changed after the books had passed its day, and that they have not been shown yet, is left to
    ``changed_events``.

    Args:
        span: Actions through the last day of the period, those of ``tickers`` among them.
        tickers: Securities that the household held, or that its events name; what comes out of them is added here.
        stored: Names of the market's events of the period that the household has.
        after: Actions of later days.
        passed: Day through which the books are; None for books that begin.
        seen: ``corporate_actions.change_id`` through which changes of passed days have been looked at.

    Raises:
        AccountingError: As for ``event_of_action``.
    """
    concerned = _with_successors(tickers, span.actions)
    return [
        _new(event_of_action(one.action, span.closes), one)
        for one in span.actions
        if one.action.ticker in concerned
        and one.action.ex_date > after
        and (passed is None or one.action.ex_date > passed or one.change_id <= seen)
        and event_name(one.action) not in stored
    ]


def _with_successors(tickers: Collection[str], actions: Sequence[MarketAction]) -> set[str]:
    """Return securities and what their actions lead to."""
    known = set(tickers)
    successors = [(one.action.ticker, one.action.other_ticker) for one in actions if one.action.other_ticker]
    while more := {other for ticker, other in successors if ticker in known} - known:
        known |= more
    return known


def changed_events(
    connection: Connection, household: str, tickers: Collection[str], *, seen: int, passed: date
) -> list[NewEvent]:
    """Return what has changed in the market's actions of days that a household's books have passed, as events.

    An action that is new is an event; one that is stored with other terms is corrected.

    Args:
        connection: A transaction.
        household: The household.
        tickers: Every security that the household ever held.
        seen: ``corporate_actions.change_id`` through which changes have been looked at.
        passed: Day through which the books are.
    """
    changed = changed_actions(connection, tickers, seen=seen, through=passed)
    stored = stored_actions(connection, household, {event_name(one.action) for one in changed})
    closes = _closes(connection, changed)
    news: list[NewEvent] = []
    for one in changed:
        event = same_text(event_of_action(one.action, closes))
        before = stored.get(event_name(one.action))
        if before is None:
            news.append(_new(event, one))
        elif before.latest != event:
            news.append(_new(_correction(before, event, one.change_id, passed), one))
    return news


def _correction(before: StoredAction, event: Event, change_id: int, passed: date) -> Event:
    # Of two corrections told on one day nothing says which counts; so the second is told a day later.
    told_on = max(passed, event.trade_date)
    if before.latest is not before.first:
        told_on = max(told_on, before.told_on + _ONE_DAY)
    name = f"{event.event_id} #{change_id}"
    return Correction(account=EVERY_ACCOUNT, event_id=name, trade_date=told_on, replacement=event)


#: Their events are told without a close.
_WITHOUT_CLOSE: Final = frozenset(
    {ActionType.DIVIDEND, ActionType.SPECIAL_DIVIDEND, ActionType.SYMBOL_CHANGE, ActionType.DELISTING}
)


def _closes(connection: Connection, actions: Sequence[MarketAction]) -> Closes:
    wanted = {
        (ticker, one.action.ex_date)
        for one in actions
        if one.action.action_type not in _WITHOUT_CLOSE
        for ticker in one.action.securities
    }
    return closes_on(connection, sorted(wanted))


def _new(event: Event, one: MarketAction) -> NewEvent:
    return NewEvent(event, EventSource.MARKET, change_id=one.change_id)
