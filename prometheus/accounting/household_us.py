"""A US household: lots account by account, and wash sales across all of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.accounting.basis import split_lot
from prometheus.accounting.disallowance_rows import match_rows
from prometheus.accounting.household_ledger import HouseholdLedger, HouseholdSettings, RefusedError, window_start
from prometheus.accounting.joint_accounts import JOINT, account_of, joint_name, own_name
from prometheus.accounting.journal import lot_change
from prometheus.accounting.loss_disallowance import LossMatch, match_losses
from prometheus.accounting.lot_selection import order_lots
from prometheus.accounting.security_events import (
    LotEvent,
    fraction_of,
    rename_event,
    sale_lines,
    spin_off_event,
    split_event,
)
from prometheus.accounting.tie_rules import WashScope
from prometheus.accounting.trade_window import TradeWindow
from prometheus.accounting.wash_sales import TRANSFERRED_MARK, group_of_ticker, purchase_of
from prometheus.domain.accounts import AccountKind, TaxRegime
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.entries import Entry, EntryAction
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.foundation.errors import AccountingError

_ZERO: Final = Decimal(0)


class USHousehold(HouseholdLedger):
    """Lots of all accounts under names ``<account of origin><joint><lot>``, which no transfer changes."""

    def __init__(self, settings: HouseholdSettings, group_of: Mapping[str, str]) -> None:
        super().__init__(settings, group_of)
        self._lots: dict[str, dict[str, TaxLot]] = defaultdict(dict)
        self._account_of: dict[str, str] = {}
        self._ever: set[str] = set()
        self._window = TradeWindow(self._key_of_trade)
        self._unmatched: list[RecentTrade] = []

    # ------------------------------------------------------------ lots

    def lots(self) -> dict[str, tuple[TaxLot, ...]]:
        """Return the lots held, by account, under the names that the account's journal gives them."""
        found: dict[str, list[TaxLot]] = defaultdict(list)
        for of_ticker in self._lots.values():
            for lot in of_ticker.values():
                account = self._account_of[lot.lot_id]
                found[account].append(replace(lot, lot_id=_name_in(account, lot.lot_id)))
        return {account: tuple(lots) for account, lots in found.items()}

    def holders(self, ticker: str) -> frozenset[str]:
        """Return the accounts that hold a security."""
        return frozenset(self._account_of[lot_id] for lot_id in self._lots.get(ticker, {}))

    def _held(self, account: str, ticker: str) -> list[TaxLot]:
        return [lot for lot in self._lots.get(ticker, {}).values() if self._account_of[lot.lot_id] == account]

    def _put(self, lot: TaxLot, account: str) -> None:
        self._lots[lot.ticker][lot.lot_id] = lot
        self._account_of[lot.lot_id] = account
        self._ever.add(lot.lot_id)

    def _apply(self, account: str, before: Iterable[TaxLot], event: LotEvent) -> None:
        """Replace lots by what an event made of them, and write its rows."""
        for lot in before:
            del self._lots[lot.ticker][lot.lot_id]
        for lot in event.lots:
            self._put(lot, account)
        for row in event.rows:
            self.post(account, row)

    def post(self, account: str, row: Transaction) -> None:
        """Append a row to the account's journal, with lots under the names they have there."""
        if row.lot_id is not None:
            row = replace(row, lot_id=_name_in(account, row.lot_id))
        self.journals[account].append(replace(row, account="") if row.account else row)

    # ------------------------------------------------------------ days

    def await_lots(self, entries: Iterable[Entry]) -> None:
        """Keep the losses that a lot brought in later can meet, for it counts as the purchase it was."""
        self._window.await_lots((entry.day, entry.acquired_on or entry.day) for entry in entries)

    def begin_day(self, day: date) -> None:
        """Forget losses and purchases of more than thirty days ago."""
        first = window_start(day)
        self._window.forget(day, losses_before=first, purchases_before=first)

    def end_sales(self, day: date) -> None:
        """Match the losses of the sales just booked with purchases already made, group by group."""
        by_key: dict[str, list[RecentTrade]] = defaultdict(list)
        for loss in self._unmatched:
            by_key[self._key(account_of(loss.execution_id), loss.ticker)].append(loss)
        self._unmatched = []
        for key in sorted(by_key):
            self._match(key, by_key[key], self._window.purchases.get(key, []), day)

    def _key(self, account: str, ticker: str) -> str:
        """Return what a trade's window is looked at with: its group, or its account and security alone."""
        if self.settings.ties.scope is WashScope.ACCOUNT:
            return f"{account}{JOINT}{ticker}"
        return group_of_ticker(ticker, self.group_of)

    def _key_of_trade(self, trade: RecentTrade) -> str:
        moved = trade.side is Side.BUY  # with its lot, to another account
        account = self._account_of[trade.lot_id or ""] if moved else account_of(trade.execution_id)
        return self._key(account, trade.ticker)

    def _match(self, key: str, losses: list[RecentTrade], purchases: list[RecentTrade], day: date) -> None:
        tickers = {trade.ticker for trade in (*losses, *purchases)}
        lots = [lot for ticker in tickers for lot in self._lots.get(ticker, {}).values()]
        result = match_losses(
            losses,
            purchases,
            lots=lots,
            group_of=dict.fromkeys(tickers, key),
            sheltered=self._sheltered(purchases),
            ties=self.settings.ties,
        )
        for match in result.matches:
            account = self._account_of[match.purchase_lot_id]
            if not match.permanent:
                if match.split is not None:
                    self._put(match.split[1], account)
                self._put(match.after, account)
            self._post_match(match, account, day)
        untouched = [loss for loss in self._window.losses.get(key, []) if not any(loss is other for other in losses)]
        self._window.losses[key] = untouched + list(result.losses)
        seen = {id(trade) for trade in purchases}
        self._window.purchases[key] = [t for t in self._window.purchases.get(key, []) if id(t) not in seen] + list(
            result.purchases
        )

    def _sheltered(self, purchases: Iterable[RecentTrade]) -> frozenset[str]:
        kind = self.settings.kind
        return frozenset(
            trade.lot_id
            for trade in purchases
            if trade.lot_id is not None and kind(self._account_of[trade.lot_id]) is AccountKind.SHELTERED
        )

    def _post_match(self, match: LossMatch, account: str, day: date) -> None:
        """Write a match into the journals: the loss in that of the sale, the basis in that of the replacement."""
        seller = account_of(match.loss.execution_id)
        names = {
            "loss_account": seller,
            "loss_execution_id": own_name(match.loss.execution_id or ""),
            "loss_lot_id": _name_in(seller, match.loss.lot_id or ""),
            "purchase_lot_id": _name_in(account, match.purchase_lot_id),
            "replacement_account": account,
            "replacement_lot_id": _name_in(account, match.after.lot_id),
        }
        for row in match_rows(TransactionType.WASH_SALE, day, match, seller=seller, holder=account):
            named = row if row.txn_type is TransactionType.LOT_SPLIT else replace(row, details={**row.details, **names})
            self.post(row.account, named)

    # ------------------------------------------------------------ what comes in

    def bring_in(self, entry: Entry) -> None:
        """Book a lot or cash that comes in; a lot bought in the last thirty days is a purchase like another."""
        txn_type = TransactionType(entry.action.replace("OPEN", "OPENING"))
        if not entry.ticker:
            self.move_cash(entry, txn_type)
            return
        self._open_lot(entry, txn_type, entry.acquired_on or entry.day, _ZERO)

    def buy(self, entry: Entry) -> None:
        """Book a purchase; it washes the losses of its window that are still open."""
        reinvested = entry.action is EntryAction.REINVEST
        txn_type = TransactionType.REINVESTMENT if reinvested else TransactionType.BUY
        self._open_lot(entry, txn_type, entry.day, -(entry.amount or _ZERO))

    def _open_lot(self, entry: Entry, txn_type: TransactionType, acquired_on: date, amount: Decimal) -> None:
        assert entry.quantity is not None  # checked
        assert entry.amount is not None
        lot_id = f"{entry.account}{JOINT}{entry.lot_id or self._lot_name(entry)}"
        if lot_id in self._ever:
            raise RefusedError(
                "LOT_EXISTS",
                f"{entry.account} has had a lot called {entry.lot_id} already.",
                "Give every purchase a lot_id of its own, or leave it empty.",
            )
        lot = TaxLot(lot_id, entry.ticker, acquired_on, entry.quantity, entry.amount, entry.amount, acquired_on)
        self._put(lot, entry.account)
        details = {"execution_id": self.execution(entry)}
        self.post(entry.account, lot_change(txn_type, entry.day, None, lot, amount=amount, details=details))
        purchase = RecentTrade(
            ticker=entry.ticker,
            trade_date=acquired_on,
            side=Side.BUY,
            quantity=entry.quantity,
            lot_id=lot_id,
            unreplaced=entry.quantity,
            execution_id=joint_name(entry.account, self.execution(entry)),
        )
        key = self._key(entry.account, entry.ticker)
        self._window.purchases[key].append(purchase)
        washable = [loss for loss in self._window.losses.get(key, []) if loss.washed_quantity < loss.quantity]
        if washable:
            self._match(key, washable, [purchase], entry.day)

    def _lot_name(self, entry: Entry) -> str:
        stem = f"{entry.day:%Y%m%d}-{entry.ticker}"
        number = 1
        while f"{entry.account}{JOINT}{stem}-{number}" in self._ever:
            number += 1
        return f"{stem}-{number}"

    # ------------------------------------------------------------ sales

    def sell(self, entry: Entry) -> None:
        """Book a sale of named lots, or of those that the lot method chooses."""
        self._dispose(entry, self._selection(entry), entry.amount or _ZERO, TransactionType.SELL)

    def delist(self, entry: Entry) -> None:
        """Sell all that is held for the amount, which may be nothing."""
        held = self._held(entry.account, entry.ticker)
        if not held:
            raise self.not_held(entry)
        ordered = sorted(held, key=lambda lot: (lot.acquired_on, lot.lot_id))
        selection = [(lot, lot.quantity) for lot in ordered]
        self._dispose(entry, selection, entry.amount or _ZERO, TransactionType.DELISTING)

    def _dispose(
        self, entry: Entry, selection: list[tuple[TaxLot, Decimal]], proceeds: Decimal, txn_type: TransactionType
    ) -> None:
        execution = self.execution(entry)
        details = {"execution_id": execution}
        event = sale_lines(selection, proceeds, on=entry.day, regime=TaxRegime.US, txn_type=txn_type, details=details)
        self._apply(entry.account, [lot for lot, _ in selection], event)
        if self.settings.kind(entry.account) is AccountKind.SHELTERED:
            return
        for (lot, quantity), row in zip(selection, event.rows, strict=True):
            if row.realized_gain < 0:
                self._unmatched.append(
                    RecentTrade(
                        ticker=lot.ticker,
                        trade_date=entry.day,
                        side=Side.SELL,
                        quantity=quantity,
                        realized_gain=row.realized_gain,
                        lot_id=lot.lot_id,
                        acquired_on=lot.acquired_on,
                        holding_period_start=lot.holding_period_start,
                        # Each account names its executions without regard to the others.
                        execution_id=joint_name(entry.account, execution),
                    )
                )

    def _selection(self, entry: Entry) -> list[tuple[TaxLot, Decimal]]:
        """Return lots and shares of a sale or transfer; a named lot includes the parts the ledger split off it."""
        assert entry.quantity is not None  # checked
        held = self._held(entry.account, entry.ticker)
        if not entry.picks:
            return self._walk(entry, held, entry.quantity)
        selection: list[tuple[TaxLot, Decimal]] = []
        for pick in entry.picks:
            parts = [lot for lot in held if pick.lot_id in self._known_as(entry.account, lot.lot_id)]
            if not parts:
                raise RefusedError(
                    "UNKNOWN_LOT",
                    f"{entry.account} holds no lot {pick.lot_id} of {entry.ticker} on {entry.day}.",
                    "Name a lot that is held, or leave lot_id empty to let the lot method choose.",
                )
            selection += self._walk(entry, parts, pick.quantity)
        if len({lot.lot_id for lot, _ in selection}) < len(selection):
            raise RefusedError(
                "LOT_NAMED_TWICE", f"{entry.account} names one lot twice.", "Name every lot once, with all its shares."
            )
        return selection

    def _known_as(self, account: str, lot_id: str) -> tuple[str | None, ...]:
        name = _name_in(account, lot_id)
        return (name, purchase_of(name))

    def _walk(self, entry: Entry, lots: list[TaxLot], quantity: Decimal) -> list[tuple[TaxLot, Decimal]]:
        available = sum((lot.quantity for lot in lots), _ZERO)
        if quantity > available:
            raise self.oversold(entry, available)
        price = (entry.amount or _ZERO) / (entry.quantity or Decimal(1))
        ordered = order_lots(
            lots,
            method=self.settings.method,
            rates=self.settings.rates,
            regime=TaxRegime.US,
            as_of=entry.day,
            price=price,
            equal_lots=self.settings.ties.equal_lots,
        )
        picks = []
        for lot in ordered:
            taken = min(lot.quantity, quantity)
            if taken > 0:
                picks.append((lot, taken))
            quantity -= taken
        return picks

    # ------------------------------------------------------------ what happens to lots held

    def _held_before(self, entry: Entry) -> list[TaxLot]:
        held = [lot for lot in self._held(entry.account, entry.ticker) if lot.acquired_on < entry.day]
        if not held:
            self._check_recent(entry)
        return sorted(held, key=lambda lot: (lot.acquired_on, lot.lot_id))

    def _check_recent(self, entry: Entry) -> None:
        """Refuse an event without shares but where a window reaches trades that it changes."""
        if entry.action is EntryAction.SPINOFF or not self._window.knows(entry.account, entry.ticker, entry.day):
            raise self.not_held(entry)

    def split(self, entry: Entry) -> None:
        """Split lots bought before the day, and pay the position's fraction where the entry has an amount."""
        held = self._held_before(entry)
        try:
            event = self.exact(entry, split_event(held, self.ratio(entry), entry.day))
        except AccountingError as error:
            raise RefusedError("VANISHING_LOT", error.message, "Sell the shares before the split.") from error
        self._apply(entry.account, held, event)
        if self.is_first(entry):
            self._window.scale(entry.ticker, entry.day, self.ratio(entry))
        self._pay_fraction(entry, self._held(entry.account, entry.ticker))

    def spin_off(self, entry: Entry) -> None:
        """Give shares of the child out of the parent's lots; receiving them is no purchase."""
        assert entry.other_ticker is not None  # checked
        assert entry.basis_fraction is not None
        held = self._held_before(entry)
        event = spin_off_event(
            held,
            child=entry.other_ticker,
            ratio=self.ratio(entry),
            basis_fraction=entry.basis_fraction,
            on=entry.day,
            taken=self._ever,
        )
        self._apply(entry.account, held, self.exact(entry, event))
        self._pay_fraction(entry, self._held(entry.account, entry.other_ticker))

    def _pay_fraction(self, entry: Entry, lots: list[TaxLot]) -> None:
        if entry.amount is None:
            return
        selection = list(fraction_of(lots))
        if selection:
            self._dispose(entry, selection, entry.amount, TransactionType.CASH_IN_LIEU)

    def rename(self, entry: Entry) -> None:
        """Give lots and past trades the new symbol."""
        assert entry.other_ticker is not None  # checked
        held = self._held(entry.account, entry.ticker)
        if not held:
            self._check_recent(entry)
        self._apply(entry.account, held, rename_event(held, entry.other_ticker, entry.day))
        if self.is_first(entry):
            new = entry.other_ticker
            self._window.rename(entry.ticker, lambda trade: replace(trade, ticker=new))

    def transfer_out(self, entry: Entry) -> None:
        """Move lots with basis and dates to another account, or out of the household."""
        if not entry.ticker:
            self.move_cash(entry, TransactionType.TRANSFER_OUT, -1)
            if entry.other_account is not None:
                self.move_cash(replace(entry, account=entry.other_account), TransactionType.TRANSFER_IN)
            return
        target = entry.other_account
        if target is not None and self.settings.kind(target) is not self.settings.kind(entry.account):
            raise RefusedError(
                "TRANSFER_ACROSS_SHELTER",
                f"{entry.account} and {target} are taxed differently; shares do not pass between them untaxed.",
                "Enter a SELL in one account and a BUY in the other.",
            )
        for lot, quantity in self._selection(entry):
            moved, left = split_lot(lot, quantity)
            if left is not None:
                moved = replace(moved, lot_id=self._part_name(lot.lot_id))
                self._put(left, entry.account)
                self._account_of.setdefault(moved.lot_id, entry.account)
                self._window.divide(lot.lot_id, moved.lot_id, quantity)
            else:
                del self._lots[lot.ticker][lot.lot_id]
            self.post(entry.account, lot_change(TransactionType.TRANSFER_OUT, entry.day, lot, left))
            if target is not None:
                self._put(moved, target)
                self.post(target, lot_change(TransactionType.TRANSFER_IN, entry.day, None, moved))

    def _part_name(self, lot_id: str) -> str:
        number = 1
        while (name := f"{lot_id}{TRANSFERRED_MARK}{number}") in self._ever:
            number += 1
        return name


def _name_in(account: str, lot_id: str) -> str:
    """Return a lot's name as the account's journal has it: that of another account says where it comes from."""
    origin, _, name = lot_id.partition(JOINT)
    return name if origin == account else f"{name}@{origin}"
