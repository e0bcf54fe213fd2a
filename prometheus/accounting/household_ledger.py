"""A household's entries booked day by day: what both regimes share. Each regime adds what its lots are."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Final

from prometheus.accounting.entry_checks import MOST_SHARES
from prometheus.accounting.security_events import LotEvent
from prometheus.accounting.share_counts import split_ratio
from prometheus.accounting.symbol_changes import SymbolChanges
from prometheus.accounting.tie_rules import DEFAULT_TIES, SameDayTrades, TieRules
from prometheus.domain.accounts import AccountKind, LotMethod, TaxRates, TaxRegime
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.entries import Entry, EntryAction, EntryFinding
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import plain_text

_NO_RATES: Final = TaxRates(Decimal(0), Decimal(0))
_WINDOW: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class HouseholdSettings:
    """How a household's entries are booked.

    Attributes:
        regime: Whose rules apply.
        sheltered: Accounts whose gains and losses are not taxed (IRA, RRSP, TFSA).
        method: How lots are chosen where a sale names none; Canada has its pools.
        rates: Marginal rates; only LEAST_TAX_FIRST looks at them.
        ties: The readings chosen where sources differ.
        as_of: Day on which losses still count as provisional; the last day of the entries where None.
    """

    regime: TaxRegime = TaxRegime.US
    sheltered: frozenset[str] = frozenset()
    method: LotMethod = LotMethod.FIFO
    rates: TaxRates = _NO_RATES
    ties: TieRules = DEFAULT_TIES
    as_of: date | None = None

    def kind(self, account: str) -> AccountKind:
        """Return what kind of account it is."""
        return AccountKind.SHELTERED if account in self.sheltered else AccountKind.TAXABLE


class RefusedError(Exception):
    """An entry that cannot be booked; caught where entries are booked, and never seen outside."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy


#: Order of a day's entries: what happens to the shares held before the day, then what comes in, then trades.
DAY_ORDER: Final = {
    EntryAction.RENAME: 0,
    EntryAction.SPLIT: 1,
    EntryAction.SPINOFF: 2,
    EntryAction.OPEN: 3,
    EntryAction.TRANSFER_IN: 4,
    EntryAction.TRANSFER_OUT: 5,
    EntryAction.SELL: 6,
    EntryAction.BUY: 6,
    EntryAction.REINVEST: 6,
    EntryAction.DIVIDEND: 7,
    EntryAction.DELIST: 8,
}
_ENTERS: Final = frozenset({EntryAction.OPEN, EntryAction.TRANSFER_IN})
_TRADES: Final = frozenset({EntryAction.SELL, EntryAction.BUY, EntryAction.REINVEST})


def canonical_order(entry: Entry) -> tuple[object, ...]:
    """Return a sort key of what an entry says, which leaves out where it stood in the file."""
    return (
        entry.day,
        DAY_ORDER[entry.action],
        entry.account,
        entry.ticker,
        entry.action.value,
        entry.lot_id or "",
        tuple((pick.lot_id, pick.quantity) for pick in entry.picks),
        entry.quantity or Decimal(0),
        entry.amount is not None,
        entry.amount or Decimal(0),
        entry.acquired_on or entry.day,
        entry.other_ticker or "",
        entry.other_account or "",
        entry.basis_fraction or Decimal(0),
        entry.entry_id or "",
    )


@dataclass(slots=True)
class _Day:
    """A day's entries by part, each in canonical order, with the execution name of each."""

    day: date
    entries: list[Entry]
    names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, entry in enumerate(self.entries, 1):
            self.names[id(entry)] = entry.entry_id or f"{self.day:%Y%m%d}.{number}"


class HouseholdLedger(ABC):
    """Books that grow day by day; lives within one call of ``household.book_entries``.

    A regime's ledger checks an entry before it changes anything: a refused one leaves no trace.
    """

    def __init__(self, settings: HouseholdSettings, group_of: Mapping[str, str]) -> None:
        self.settings = settings
        self.group_of = group_of
        self.findings: list[EntryFinding] = []
        self.journals: dict[str, list[Transaction]] = defaultdict(list)
        self._names: dict[int, str] = {}
        self._happened: set[tuple[EntryAction, str, date]] = set()
        self._entering: set[tuple[str, str]] = set()
        self._booked_as: Mapping[EntryAction, Callable[[Entry], None]] = {
            EntryAction.OPEN: self.bring_in,
            EntryAction.TRANSFER_IN: self.bring_in,
            EntryAction.RENAME: self.rename,
            EntryAction.SPLIT: self.split,
            EntryAction.SPINOFF: self.spin_off,
            EntryAction.TRANSFER_OUT: self.transfer_out,
            EntryAction.SELL: self.sell,
            EntryAction.BUY: self.buy,
            EntryAction.REINVEST: self.buy,
            EntryAction.DIVIDEND: self.dividend,
            EntryAction.DELIST: self.delist,
        }

    def book(self, entries: Iterable[Entry], on_entries: Callable[[int], None] | None = None) -> None:
        """Book entries that passed the checks of ``entry_checks``, whatever their order."""
        entries = tuple(entries)
        self.await_lots(entry for entry in entries if entry.acquired_on is not None and entry.ticker)
        symbols = SymbolChanges()
        for day, grouped in groupby(sorted(entries, key=canonical_order), key=lambda entry: entry.day):
            of_day = list(grouped)
            named = symbols.of_the_day(of_day, self.holders)
            self._book_day(_Day(day, sorted(named, key=canonical_order)))
            if on_entries is not None:
                on_entries(len(of_day))

    def _book_day(self, today: _Day) -> None:
        self._names = today.names
        self._entering = {(entry.account, entry.ticker) for entry in today.entries if entry.action in _ENTERS}
        self.begin_day(today.day)
        trades = [entry for entry in today.entries if entry.action in _TRADES]
        morning, before, after = self._parts(today.entries)
        for entry in morning:
            self._try(entry)
        # What the morning lost is matched before the day's trades, as everywhere.
        self.end_events()
        self.end_sales(today.day)
        for entry in before:
            self._try(entry)
        if trades:
            self._book_trades(today.day, trades)
        for entry in after:
            self._try(entry)
        self.end_sales(today.day)

    def _parts(self, entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry], list[Entry]]:
        """Return the corporate actions of the morning, and what else stands before and after the trades.

        A delisting is one of the morning's, except where its account still trades or moves the shares that day.
        """
        entries = tuple(entries)
        moved = {(e.account, e.ticker) for e in entries if e.action in _TRADES | _ENTERS | {EntryAction.TRANSFER_OUT}}
        morning: list[Entry] = []
        before: list[Entry] = []
        after: list[Entry] = []
        for entry in entries:
            if entry.action in _TRADES:
                continue
            if entry.action is EntryAction.DELIST:
                (after if (entry.account, entry.ticker) in moved else morning).append(entry)
            elif DAY_ORDER[entry.action] < DAY_ORDER[EntryAction.OPEN]:
                morning.append(entry)
            else:
                (before if DAY_ORDER[entry.action] < DAY_ORDER[EntryAction.SELL] else after).append(entry)
        return morning, before, after

    def _book_trades(self, day: date, trades: list[Entry]) -> None:
        """Book sales of what was held in the morning, then purchases, then the rest; or purchases first."""
        sales = [entry for entry in trades if entry.action is EntryAction.SELL]
        purchases = [entry for entry in trades if entry.action is not EntryAction.SELL]
        late = sales
        if self.settings.ties.same_day_trades is SameDayTrades.SALES_FIRST:
            late = [entry for entry in sales if not self._try(entry, can_wait=bool(purchases))]
            self.end_sales(day)
        for entry in purchases:
            self._try(entry)
        for entry in late:
            self._try(entry)

    def _try(self, entry: Entry, *, can_wait: bool = False) -> bool:
        """Book an entry and return whether it is dealt with; False only where it may wait for the day's purchases."""
        try:
            self._booked_as[entry.action](entry)
        except RefusedError as refused:
            if can_wait:
                return False
            self.findings.append(EntryFinding(entry.row, refused.code, refused.message, refused.remedy))
        return True

    # ------------------------------------------------------------ what both regimes book alike

    def execution(self, entry: Entry) -> str:
        """Return the execution name of an entry: its own, or one that depends on what the day's entries say."""
        return self._names[id(entry)]

    def dividend(self, entry: Entry) -> None:
        """Credit cash; no lot changes."""
        assert entry.amount is not None  # checked
        self.post(
            entry.account, Transaction(TransactionType.DIVIDEND, entry.day, entry.ticker, None, amount=entry.amount)
        )

    def move_cash(self, entry: Entry, txn_type: TransactionType, sign: int = 1) -> None:
        """Book cash that comes in or goes without a security."""
        assert entry.amount is not None  # checked
        self.post(entry.account, Transaction(txn_type, entry.day, "", None, amount=sign * entry.amount))

    def ratio(self, entry: Entry) -> Fraction:
        """Return the ratio of a split or spin-off: new shares, or shares of the child, for one held."""
        assert entry.quantity is not None  # checked
        return split_ratio(entry.quantity)

    def exact(self, entry: Entry, event: LotEvent) -> LotEvent:
        """Return what a split or spin-off makes, or refuse it where there are too many shares to be counted exactly."""
        if any(lot.quantity > MOST_SHARES for lot in event.lots):
            raise RefusedError(
                "TOO_LARGE",
                f"The {entry.action} of {entry.ticker} on {entry.day} makes more than {MOST_SHARES:,} shares.",
                "Correct the ratio.",
            )
        return event

    def is_first(self, entry: Entry) -> bool:
        """Return whether no account has had this event of the security before; past trades change once for all."""
        key = (entry.action, entry.ticker, entry.day)
        first = key not in self._happened
        self._happened.add(key)
        return first

    def oversold(self, entry: Entry, held: Decimal) -> RefusedError:
        """Return the refusal of an entry that takes more shares than there are."""
        given = plain_text(entry.quantity or Decimal(0))
        return RefusedError(
            "OVERSOLD",
            f"{entry.account} gives up {given} shares of {entry.ticker} on {entry.day}; it holds {plain_text(held)}.",
            "Add the missing purchase or opening lot, or correct the quantity.",
        )

    def not_held(self, entry: Entry) -> RefusedError:
        """Return the refusal of an event of a security that is not held."""
        if (entry.account, entry.ticker) in self._entering and entry.action is not EntryAction.DELIST:
            return RefusedError(
                "ON_OPENING_DAY",
                f"The shares of {entry.ticker} that come into {entry.account} on {entry.day} are those after the "
                f"{entry.action} of that day.",
                "Remove the row, or let the shares come in the day before, as they were then.",
            )
        return RefusedError(
            "NOT_HELD",
            f"{entry.account} holds no {entry.ticker} before {entry.day}.",
            "Remove the row, or add the purchase or opening lot that it belongs to.",
        )

    @abstractmethod
    def post(self, account: str, row: Transaction) -> None:
        """Append a row to the journal that the account's entries belong to."""

    def await_lots(self, entries: Iterable[Entry]) -> None:  # noqa: B027 -- Canada looks at what its owner held
        """Take note of the lots with a date of their own that will come in."""

    @abstractmethod
    def holders(self, ticker: str) -> frozenset[str]:
        """Return the accounts that hold a security."""

    @abstractmethod
    def begin_day(self, day: date) -> None:
        """Forget what no window can reach any more."""

    def end_events(self) -> None:  # noqa: B027 -- a regime without pools has nothing to add
        """Finish the day's splits and spin-offs, when those of all accounts are booked."""

    @abstractmethod
    def end_sales(self, day: date) -> None:
        """Match the losses of the sales booked since the last call."""

    @abstractmethod
    def bring_in(self, entry: Entry) -> None:
        """Book an opening or a transfer from outside, of a lot or of cash."""

    @abstractmethod
    def rename(self, entry: Entry) -> None:
        """Book a new symbol."""

    @abstractmethod
    def split(self, entry: Entry) -> None:
        """Book a split, with cash in lieu where the entry has an amount."""

    @abstractmethod
    def spin_off(self, entry: Entry) -> None:
        """Book a spin-off into a child security."""

    @abstractmethod
    def transfer_out(self, entry: Entry) -> None:
        """Book lots or cash that go to another account, or leave the household."""

    @abstractmethod
    def sell(self, entry: Entry) -> None:
        """Book a sale."""

    @abstractmethod
    def buy(self, entry: Entry) -> None:
        """Book a purchase or a reinvestment."""

    @abstractmethod
    def delist(self, entry: Entry) -> None:
        """Book the end of a security, for cash or for nothing."""

    @abstractmethod
    def lots(self) -> dict[str, tuple[TaxLot, ...]]:
        """Return the lots held, by the journal that has them."""


def window_start(day: date) -> date:
    """Return the first day whose trades can still meet those of ``day``."""
    return day - _WINDOW
