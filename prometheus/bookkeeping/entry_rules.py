"""Rows of an account's file that the books could take and must not: they would change what others rely upon."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from prometheus.db.database import Connection
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.ledger_events import events_after
from prometheus.db.repositories.ledger_inputs import MarketAction, market_actions, security_groups
from prometheus.db.repositories.strategies import latest_strategy
from prometheus.domain.securities import ActionType
from prometheus.domain.strategy import StrategyParams, merge_tag_overrides
from prometheus.ledger.events import (
    Buy,
    Cancellation,
    Correction,
    Delisting,
    Dividend,
    Event,
    OpeningCash,
    OpeningLot,
    Reinvestment,
    Sell,
    ShortSale,
    SpinOff,
    Split,
    StockDistribution,
    SymbolChange,
    TransferIn,
    TransferOut,
)
from prometheus.ledger.facts import effective_events
from prometheus.ledger.findings import Finding

_ONE_DAY: Final = timedelta(days=1)
_INCOME: Final = frozenset({ActionType.DIVIDEND, ActionType.SPECIAL_DIVIDEND})
_OF_THE_MARKET: Final = (Split, SpinOff, StockDistribution, SymbolChange, Delisting)
_TRADES: Final = (Buy, Reinvestment, Sell)
_TRANSFERS: Final = (TransferIn, TransferOut)
_REMEDY: Final = "Date the transfer after it, with the shares as they are then."


def place_refusal(event: Event) -> tuple[str, str, str] | None:
    """Return code, message and remedy of an event that does not come from an account's file; None for any other."""
    told = event.replacement if isinstance(event, Correction) else event
    kind = type(told).__name__
    if isinstance(told, OpeningCash | OpeningLot) and not isinstance(told, TransferIn):
        where = "Load opening lots with --kind lots, opening cash with --kind accounts."
        return "NOT_OF_ONE_ACCOUNT", f"An opening ({kind}) does not come from one account's file.", where
    if isinstance(told, _OF_THE_MARKET):
        where = "Load it with --kind actions, where it reaches every account that holds the security."
        return "NOT_OF_ONE_ACCOUNT", f"A {kind} does not come from one account's file.", where
    if isinstance(told, Buy | Sell) and not told.amount:
        remedy = "Correct the amount; shares that come or go without payment are a TRANSFER_IN or TRANSFER_OUT."
        return "NO_AMOUNT", f"A {kind} for nothing has no price.", remedy
    return None


class EntryRules:
    """The rules beside those of the ledger, asked for one household and its books as they are."""

    def __init__(self, connection: Connection, household: str, accounts: Sequence[str], through: date | None) -> None:
        """Ask for a household.

        Args:
            connection: The transaction.
            household: The household.
            accounts: Its accounts.
            through: Day through which its books are; None for books that begin.
        """
        self._connection = connection
        self._household = household
        self._accounts = accounts
        self._through = through
        self._booked: list[Buy | Sell | TransferIn | TransferOut] = []
        self._groups: Mapping[str, str] | None = None

    def refusals(self, events: Sequence[Event]) -> list[Finding]:
        """Return a finding for each of the events that must not be booked."""
        self._booked = self._booked_before(events)
        refused = ((event, self._refusal(event)) for event in events)
        return [Finding(event.key, *told) for event, told in refused if told is not None]

    def _refusal(self, event: Event) -> tuple[str, str, str] | None:
        if isinstance(event, Dividend):
            return self._dividend(event)
        told = event.replacement if isinstance(event, Correction) else event
        if isinstance(told, ShortSale):
            return self._short_sale(told)
        if self._through is None or event.trade_date > self._through:
            return None
        if isinstance(event, _TRANSFERS):
            return self._late_transfer(event)
        if isinstance(event, _TRADES):
            return self._late_trade(event)
        return None

    def _short_sale(self, event: ShortSale) -> tuple[str, str, str] | None:
        """Refuse a short sale of an account that may not be short: its next day would cover it, or be held."""
        (account,) = accounts_of(self._connection, account_ids=[event.account])
        strategy = latest_strategy(self._connection, account.strategy_id)
        if strategy is not None:
            stored = StrategyParams.from_dict(strategy.params)
            params, _ = merge_tag_overrides(stored, strategy.tag_overrides, account.tags)
            if params.long_max > 1 and account.tax_regime.settles_shorts:
                return None
        message = (
            f"{event.account} may not be short: its strategy '{account.strategy_id}' has long_max 1, or the rules of "
            f"{account.tax_regime} settle no short positions."
        )
        return "SHORT_SALE", message, "Set long_max above 1 for an account of the US, or leave the row out."

    def _dividend(self, event: Dividend) -> tuple[str, str, str] | None:
        day = event.trade_date
        for one in market_actions(self._connection, [event.ticker], after=day - _ONE_DAY, through=day):
            if one.action.action_type in _INCOME:
                message = (
                    f"The {one.action.action_type} of {event.ticker} on {day} is in the market's corporate actions, by "
                    "which it is booked for every account that held the shares."
                )
                return "DIVIDEND_FROM_MARKET", message, "Remove the row."
        return None

    def _late_transfer(self, event: TransferIn | TransferOut) -> tuple[str, str, str] | None:
        """Refuse a transfer after which something of its group was booked that would have been otherwise."""
        for other in self._booked_since(event):
            if isinstance(other, _TRADES) or other.trade_date > event.trade_date:
                what = f"a {type(other).__name__.upper()} of {other.ticker} on {other.trade_date} is booked"
                message = f"The transfer of {event.trade_date} comes late: {what}."
                return "LATE_TRANSFER", message, _REMEDY
        for one in self._actions_since(event):
            what = f"{one.action.ticker} has a {one.action.action_type} on {one.action.ex_date}"
            return "LATE_TRANSFER", f"The transfer of {event.trade_date} comes late: {what}.", _REMEDY
        return None

    def _late_trade(self, event: Buy | Sell) -> tuple[str, str, str] | None:
        """Refuse a trade before a transfer: what was handed over cannot change without the other broker."""
        for other in self._booked_since(event):
            if isinstance(other, _TRANSFERS) and other.trade_date > event.trade_date:
                message = (
                    f"{other.ticker} was transferred on {other.trade_date} (entry {other.event_id}); what came before "
                    "that cannot change under it."
                )
                return "TRANSFERRED_SINCE", message, "Reverse the transfer, and enter it again afterwards."
        return None

    def _booked_before(self, events: Sequence[Event]) -> list[Buy | Sell | TransferIn | TransferOut]:
        """Return trades and transfers that are booked since the first late one, less what the file itself cancels."""
        through = self._through
        late = [one.trade_date for one in events if through is not None and _is_late(one, through)]
        if not late:
            return []
        stored = events_after(self._connection, self._household, self._accounts, min(late) - _ONE_DAY)
        names = {one.key for one in stored}
        news = [one for one in events if isinstance(one, Cancellation | Correction) and one.key not in names]
        counting, _ = effective_events([*stored, *news])
        return sorted(
            (one for one in counting if isinstance(one, (*_TRADES, *_TRANSFERS))),
            key=lambda one: (one.trade_date, one.event_id),
        )

    def _booked_since(
        self, event: Buy | Sell | TransferIn | TransferOut
    ) -> list[Buy | Sell | TransferIn | TransferOut]:
        group = self._group_of(event.ticker)
        return [
            one
            for one in self._booked
            if one.account == event.account
            and one.trade_date >= event.trade_date
            and self._group_of(one.ticker) == group
        ]

    def _group_of(self, ticker: str) -> str:
        if self._groups is None:
            self._groups = security_groups(self._connection)
        return self._groups.get(ticker, ticker)

    def _actions_since(self, event: TransferIn | TransferOut) -> list[MarketAction]:
        assert self._through is not None  # the caller looks
        group = self._group_of(event.ticker)
        alike = {event.ticker, *(ticker for ticker in self._groups or {} if self._group_of(ticker) == group)}
        return market_actions(self._connection, alike, after=event.trade_date, through=self._through)


def _is_late(event: Event, through: date) -> bool:
    return isinstance(event, (*_TRADES, *_TRANSFERS)) and event.trade_date <= through
