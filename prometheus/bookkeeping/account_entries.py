"""An account's own transaction file booked into its journal: each entry once, corrections once, bad rows left out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Final

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from prometheus.accounting.account_entries import TRADES, TRANSFERS, apply_transfer, entry_content, fills_of_entries
from prometheus.accounting.household_ledger import canonical_order
from prometheus.accounting.journal import effective_rows, reversal_of
from prometheus.accounting.replay import Replay, replay
from prometheus.accounting.wash_sales import group_of_ticker
from prometheus.bookkeeping.fills import book_fills
from prometheus.db.models import AccountEntryRow, AccountRow
from prometheus.db.repositories.accounts import accounts_of, journal_position, journal_since, load_books, save_books
from prometheus.db.repositories.market_data import corporate_actions
from prometheus.domain.accounts import Account
from prometheus.domain.books import Books, Fill, Transaction, TransactionType
from prometheus.domain.entries import Entry, EntryAction, EntryFinding
from prometheus.domain.lots import TaxLot
from prometheus.domain.securities import ActionType
from prometheus.foundation.errors import AccountingError

_INCOME: Final = frozenset({ActionType.DIVIDEND, ActionType.SPECIAL_DIVIDEND})
_REMEDIES: Final = {
    "OVERSOLD": "Add the missing purchase or transfer, or correct the quantity.",
    "UNKNOWN_LOT": "Name a lot that is held, or leave lot_id empty to let the account's lot method choose.",
    "LOT_EXISTS": "Give every lot a lot_id of its own.",
    "ENTRY_ID_TWICE": "Choose an entry_id that is not another's with a number; sales out of several lots get numbers.",
    "LOTS_GONE": "Take back first what was done with the shares later, newest first.",
    "OVERDRAWN": "Add the cash that came in as a TRANSFER_IN without ticker, or correct the amount.",
}
#: Errors whose message ends with what to do.
_SAID: Final = frozenset({"LATE_TRANSFER", "DIVIDEND_FROM_MARKET", "TRANSFERRED_SINCE", "EXECUTION_DIFFERS"})


@dataclass(slots=True)
class EntryBooking:
    """What became of an account's entries.

    Attributes:
        booked: Entries that are new to the books, reversed ones and corrections among them.
        unchanged: Entries that were booked before and say the same.
        findings: Entries left out; the rest is booked as if they were not there.
    """

    booked: int = 0
    unchanged: int = 0
    findings: list[EntryFinding] = field(default_factory=list)


def book_account_entries(
    connection: Connection,
    account_id: str,
    entries: Sequence[Entry],
    *,
    group_of: Mapping[str, str],
    on_entries: Callable[[int], None],
) -> EntryBooking:
    """Book the entries of one account in the caller's transaction.

    Corrections come first, newest target first; then the others by date, within a day transfers, then trades, then
    dividends. Each entry is booked or left out by itself.

    Args:
        connection: The transaction; the account's row is locked in it.
        account_id: An account that exists.
        entries: Entries of this account that passed ``check_account_entries``.
        group_of: Ticker to substantially identical group, of every security there is.
        on_entries: Called with how many more entries are dealt with.
    """
    journal_position(connection, account_id, lock=True)
    return _EntryLedger(connection, account_id, group_of, on_entries).book(entries)


class _EntryLedger:
    """One account's file while it is booked."""

    def __init__(
        self,
        connection: Connection,
        account_id: str,
        group_of: Mapping[str, str],
        on_entries: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._account: Account = accounts_of(connection, account_ids=[account_id])[0]
        opened = select(AccountRow.books_opened_on).where(AccountRow.account_id == account_id)
        self._opened_on: date | None = connection.execute(opened).scalar_one()
        self._group_of = group_of
        self._on_entries = on_entries
        self._result = EntryBooking()
        self._known = _stored(connection, account_id)

    def book(self, entries: Sequence[Entry]) -> EntryBooking:
        new = [entry for entry in entries if self._is_new(entry)]
        corrections = [entry for entry in new if entry.action is EntryAction.REVERSE]
        others = {str(entry.entry_id): entry for entry in new if entry.action is not EntryAction.REVERSE}
        for correction in self._newest_first(corrections, others):
            self._correct(correction, others)
        for _, of_day in groupby(sorted(others.values(), key=canonical_order), key=lambda entry: entry.day):
            self._book_day(list(of_day))
        return self._result

    # ------------------------------------------------------------ what the file says against what is booked

    def _is_new(self, entry: Entry) -> bool:
        """Return whether an entry is to be booked; one that cannot be, or was before, is counted here."""
        known = self._known.get(str(entry.entry_id))
        if known is not None:
            if known.content == entry_content(entry):
                self._result.unchanged += 1
                self._on_entries(1)
            else:
                self._refuse(
                    entry,
                    "ENTRY_DIFFERS",
                    f"{entry.account} has booked the entry '{entry.entry_id}' otherwise: {_words(known.content)}.",
                    "Take it back with a REVERSE row, and give this one an entry_id of its own.",
                )
            return False
        books, opened = self._account.books_as_of, self._opened_on
        if books is None:
            message = f"{entry.account} has no books yet; they open with its first day."
            remedy = "Load the row after that day, or put what it says into the opening lots and cash."
            self._refuse(entry, "BOOKS_NOT_OPEN", message, remedy)
        elif opened is not None and entry.day < opened:
            message = f"{entry.account} opens on {opened}; {entry.day} is before that."
            self._refuse(
                entry, "BEFORE_OPENING", message, "It is in the opening lots and cash already; remove the row."
            )
        elif entry.day > books:
            message = f"The books of {entry.account} go through {books}; {entry.day} is after that."
            self._refuse(entry, "AFTER_BOOKS", message, "Load the row when that day has been run.")
        else:
            return True
        return False

    def _newest_first(self, corrections: Iterable[Entry], others: Mapping[str, Entry]) -> list[Entry]:
        def target_day(entry: Entry) -> tuple[str, bool]:
            name = str(entry.reverses)
            known = self._known.get(name)
            content = known.content if known is not None else {}
            day = content.get("date") or (others[name].day.isoformat() if name in others else "")
            return day, content.get("action") == EntryAction.SELL.value

        # Sorting in reverse keeps equal ones as they are: of two corrections of one entry the first counts.
        return sorted(sorted(corrections, key=lambda entry: entry.row), key=target_day, reverse=True)

    def _correct(self, entry: Entry, others: dict[str, Entry]) -> None:
        name = str(entry.reverses)
        if any(known.reverses == name for known in self._known.values()):
            message = f"'{name}' of {entry.account} has been taken back already."
            self._refuse(entry, "REVERSED_TWICE", message, "Remove one of the corrections.")
            return
        target = others.pop(name, None)
        if target is not None:
            # Neither is booked, and both are remembered: the file may come again without the correction.
            if entry.day < target.day:
                others[name] = target
                self._refuse_early(entry, target.day)
                return
            self._remember(target)
            self._remember(entry)
            return
        known = self._known.get(name)
        if known is None:
            message = f"{entry.account} has no entry '{name}'."
            self._refuse(entry, "UNKNOWN_ROW", message, "Name the entry_id of the row that never happened.")
        elif known.reverses is not None:
            message = f"'{name}' is a correction itself."
            self._refuse(entry, "REVERSED_CORRECTION", message, "Enter the original row again instead.")
        elif entry.day.isoformat() < known.content["date"]:
            self._refuse_early(entry, date.fromisoformat(known.content["date"]))
        else:
            self._attempt(entry, lambda _: self._take_back(name, known))

    def _refuse_early(self, entry: Entry, day: date) -> None:
        message = f"A correction of {entry.day} cannot take back a row of {day}."
        self._refuse(entry, "CORRECTED_BEFORE", message, "Date the correction on or after the row.")

    def _take_back(self, name: str, known: "_Known") -> None:
        if known.executions:
            self._fill([], cancelled=known.executions)
            return
        account_id = self._account.account_id
        journal = journal_since(self._connection, account_id, date.min)
        standing = effective_rows(journal)
        wanted = [row for row in standing if row.details.get("entry_id") == name]
        later = standing[standing.index(wanted[0]) :]
        touched = {row.lot_id for row in wanted if row.lot_id is not None}
        if any(row.lot_id in touched and row not in wanted for row in later):
            raise AccountingError(f"the lots of '{name}' were changed or sold after it.", code="LOTS_GONE")
        before = load_books(self._connection, account_id)
        steps, replay = [], Replay()
        for row in standing:
            held = replay.lot(row.lot_id) if row.lot_id is not None else None
            replay.post_row(row)
            if row in wanted:
                steps.append(reversal_of(row, held, replay.lot(row.lot_id) if row.lot_id is not None else None))
        books = Replay(before)
        for row in reversed(steps):
            books.post_row(row)
        self._save(before, books, tuple(reversed(steps)), name)

    # ------------------------------------------------------------ booking

    def _book_day(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.action in TRANSFERS:
                self._attempt(entry, self._transfer)
        trades = [entry for entry in entries if entry.action in TRADES]
        if trades:
            self._trade(trades)
        for entry in entries:
            if entry.action is EntryAction.DIVIDEND:
                self._attempt(entry, self._dividend)

    def _trade(self, trades: Sequence[Entry]) -> None:
        """Book a day's trades together; where that is refused, one by one, to find out which cannot be."""
        try:
            with self._connection.begin_nested():
                fills = fills_of_entries(trades, self._lots(trades[0].day), self._account)
                self._check_executions(trades, fills)
                self._fill([fill for of_entry in fills.values() for fill in of_entry])
                for entry in trades:
                    self._check_lot_name(entry)
        except (AccountingError, IntegrityError):
            if len(trades) == 1:
                self._attempt(trades[0], self._trade_alone)
                return
        else:
            for entry in trades:
                self._remember(entry, [fill.execution_id for fill in fills[entry.row]])
            return
        purchases = [entry for entry in trades if entry.action is not EntryAction.SELL]
        sales = [entry for entry in trades if entry.action is EntryAction.SELL]
        for entry in (*purchases, *sales):
            self._attempt(entry, self._trade_alone)

    def _trade_alone(self, entry: Entry) -> list[str]:
        self._check_lot_name(entry)
        fills = fills_of_entries([entry], self._lots(entry.day), self._account)
        self._check_executions([entry], fills)
        self._fill(fills[entry.row])
        return [fill.execution_id for fill in fills[entry.row]]

    def _check_executions(self, trades: Iterable[Entry], fills: Mapping[int, Sequence[Fill]]) -> None:
        """Refuse an execution that another entry is booked as: it would pass for that one's repetition."""
        owners = {name: owner for owner, known in self._known.items() for name in known.executions}
        for entry in trades:
            name = str(entry.entry_id)
            for fill in fills[entry.row]:
                owner = owners.setdefault(fill.execution_id, name)
                if owner != name:
                    message = f"the execution {fill.execution_id} is booked for the entry '{owner}' already."
                    raise AccountingError(message, code="ENTRY_ID_TWICE")

    def _lots(self, day: date) -> tuple[TaxLot, ...]:
        """Return the lots at the end of a day: under the symbols and in the shares of then, for a row that is late."""
        account_id = self._account.account_id
        if not journal_since(self._connection, account_id, date.fromordinal(day.toordinal() + 1)):
            return load_books(self._connection, account_id).lots
        standing = effective_rows(journal_since(self._connection, account_id, date.min))
        return replay(row for row in standing if row.trade_date <= day).lots

    def _check_lot_name(self, entry: Entry) -> None:
        """Refuse a name that a lot has had, held or not: the journal tells lots apart by it."""
        if entry.lot_id is None or entry.action is EntryAction.SELL:
            return
        journal = journal_since(self._connection, self._account.account_id, date.min)
        others = [row for row in journal if row.lot_id == entry.lot_id]
        if any(row.details.get("execution_id") != entry.entry_id for row in others[:1]):
            raise AccountingError(f"{entry.account} has had a lot called {entry.lot_id} already.", code="LOT_EXISTS")

    def _fill(self, fills: Sequence[Fill], cancelled: Sequence[str] = ()) -> None:
        assert self._account.books_as_of is not None  # _is_new has refused it
        book_fills(
            self._connection,
            self._account.account_id,
            fills,
            as_of=self._account.books_as_of,
            group_of=self._group_of,
            cancelled=cancelled,
        )

    def _transfer(self, entry: Entry) -> None:
        if entry.ticker:
            self._check_nothing_since(entry)
        if entry.action is EntryAction.TRANSFER_IN:
            self._check_lot_name(entry)
        before = load_books(self._connection, self._account.account_id)
        after, rows = apply_transfer(before, entry, self._account)
        self._save(before, after, rows, str(entry.entry_id))

    def _check_nothing_since(self, entry: Entry) -> None:
        """Refuse a transfer that comes late: what was booked of its group since would have been otherwise."""
        assert self._account.books_as_of is not None
        group = group_of_ticker(entry.ticker, self._group_of)
        remedy = "Date the transfer after it, with the shares as they are then."
        journal = journal_since(self._connection, self._account.account_id, entry.day)
        for row in effective_rows(journal):
            since = row.trade_date > entry.day or row.txn_type in {TransactionType.BUY, TransactionType.SELL}
            if since and row.ticker and group_of_ticker(row.ticker, self._group_of) == group:
                what = f"a {row.txn_type} of {row.ticker} on {row.trade_date} is booked"
                raise AccountingError(f"the transfer of {entry.day} comes late: {what}. {remedy}", code="LATE_TRANSFER")
        for action in corporate_actions(self._connection, after=entry.day, through=self._account.books_as_of):
            if group_of_ticker(action.ticker, self._group_of) == group:
                what = f"{action.ticker} has a {action.action_type} on {action.ex_date}"
                raise AccountingError(f"the transfer of {entry.day} comes late: {what}. {remedy}", code="LATE_TRANSFER")

    def _dividend(self, entry: Entry) -> None:
        assert entry.amount is not None  # checked
        day_before = date.fromordinal(entry.day.toordinal() - 1)
        for action in corporate_actions(self._connection, after=day_before, through=entry.day):
            if action.ticker == entry.ticker and action.action_type in _INCOME:
                raise AccountingError(
                    f"the {action.action_type} of {entry.ticker} on {entry.day} is in the market's corporate actions, "
                    "by which it is booked for every account that held the shares. Remove the row.",
                    code="DIVIDEND_FROM_MARKET",
                )
        details = {"entry_id": entry.entry_id}
        row = Transaction(TransactionType.DIVIDEND, entry.day, entry.ticker, None, amount=entry.amount, details=details)
        before = load_books(self._connection, self._account.account_id)
        books = Replay(before)
        books.post_row(row)
        self._save(before, books, (row,), str(entry.entry_id))

    def _save(self, before: Books, after: "Books | Replay", rows: Sequence[Transaction], name: str) -> None:
        assert self._account.books_as_of is not None
        save_books(
            self._connection,
            self._account.account_id,
            before=before,
            after=after.books() if isinstance(after, Replay) else after,
            transactions=rows,
            books_as_of=self._account.books_as_of,
            external_ids=[
                None if row.txn_type is TransactionType.REVERSAL else f"entry:{name}#{number}"
                for number, row in enumerate(rows, 1)
            ],
        )

    def _attempt(self, entry: Entry, book: Callable[[Entry], list[str] | None]) -> None:
        """Book one entry, or leave it out with a finding and no trace in the books."""
        try:
            with self._connection.begin_nested():
                executions = book(entry)
        except AccountingError as error:
            remedy = _REMEDIES.get(error.code, "Correct the row, or take back what contradicts it.")
            self._refuse(entry, error.code, error.message, "" if error.code in _SAID else remedy)
        except IntegrityError as error:
            if "cash_not_negative" not in str(error.orig):
                raise
            message = f"{entry.account} has not the cash for a {entry.action} of {entry.amount}."
            self._refuse(entry, "OVERDRAWN", message, _REMEDIES["OVERDRAWN"])
        else:
            self._remember(entry, executions or [])

    def _remember(self, entry: Entry, executions: Sequence[str] = ()) -> None:
        content, name = entry_content(entry), str(entry.entry_id)
        self._connection.execute(
            insert(AccountEntryRow).values(
                account_id=self._account.account_id,
                entry_id=name,
                content=content,
                executions=list(executions),
                reverses=entry.reverses,
            )
        )
        self._known[name] = _Known(content, tuple(executions), entry.reverses)
        self._result.booked += 1
        self._on_entries(1)

    def _refuse(self, entry: Entry, code: str, message: str, remedy: str) -> None:
        self._result.findings.append(EntryFinding(entry.row, code, message, remedy))
        self._on_entries(1)


@dataclass(frozen=True, slots=True)
class _Known:
    """An entry that was booked: what it said, the executions it became, and what it takes back."""

    content: Mapping[str, str]
    executions: tuple[str, ...]
    reverses: str | None


def _stored(connection: Connection, account_id: str) -> dict[str, _Known]:
    row = AccountEntryRow
    rows = connection.execute(
        select(row.entry_id, row.content, row.executions, row.reverses).where(row.account_id == account_id)
    )
    return {name: _Known(content, tuple(executions), reverses) for name, content, executions, reverses in rows}


def _words(content: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(content.items()))
