"""Events of a file booked for a household: each once, corrections once, rows that cannot be booked left out.

The whole file is booked in one go. Only where news would make the books impossible, or cash would fall below zero, it
is booked in parts: corrections first, then day by day, and row by row where a day is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Final

from prometheus.bookkeeping.entry_rules import EntryRules
from prometheus.bookkeeping.ledger import book_events, open_books
from prometheus.bookkeeping.ledger_view import read_books
from prometheus.bookkeeping.ledger_work import Booking
from prometheus.db.database import Connection
from prometheus.db.repositories.account_books import write_columns
from prometheus.db.repositories.ledger_events import EventSource, events_named
from prometheus.db.repositories.ledger_inputs import (
    accounts_with_opening_lots,
    household_accounts,
    opening_days,
)
from prometheus.domain.accounts import Account
from prometheus.domain.money import plain_text
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import (
    Buy,
    Cancellation,
    CashTransfer,
    Correction,
    CoverShort,
    Event,
    Reinvestment,
    Sell,
    TransferIn,
    TransferOut,
)
from prometheus.ledger.facts import target_of
from prometheus.ledger.files.findings import RowFinding
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EventKey

#: What the books call it, and what a file's reader knows it by.
_CODES: Final[Mapping[str, str]] = {"EVENT_DIFFERS": "ENTRY_DIFFERS"}
_REMEDIES: Final[Mapping[str, str]] = {
    "ENTRY_DIFFERS": "Take it back with a REVERSE row, and give this one an entry_id of its own.",
    "LOTS_GONE": "Reverse first what was done with the shares later, newest first.",
}
#: Order of a day's rows that are booked one by one: what comes in, purchases, what goes, all the rest, covers.
_RANKS: Final[Mapping[type[Event], int]] = {
    TransferIn: 0,
    Buy: 1,
    Reinvestment: 1,
    TransferOut: 2,
    Sell: 3,
    CoverShort: 5,
}


@dataclass(frozen=True, slots=True)
class FileRow:
    """An event of a file and the line that tells it."""

    row: int
    event: Event


@dataclass(slots=True)
class EntryBooking:
    """What became of a file's rows.

    Attributes:
        booked: Events that are new to the books, cancelled ones and corrections among them.
        unchanged: Events that were stored before and say the same.
        findings: Rows left out, and remarks; the rest is booked as if what was left out had never been told.
    """

    booked: int = 0
    unchanged: int = 0
    findings: list[RowFinding] = field(default_factory=list)


class _NotBookedError(Exception):
    """Several events together cannot be booked; undoes the savepoint around them."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy


class _AgainError(Exception):
    """Some events were refused by themselves; undoes the savepoint, so that the rest is booked without them."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self.findings = findings


def _require_none(findings: Sequence[Finding]) -> None:
    if findings:
        raise _AgainError(findings)


def book_file_events(
    connection: Connection,
    household: str,
    rows: Sequence[FileRow],
    *,
    source_name: str,
    on_rows: Callable[[int], None],
) -> EntryBooking:
    """Book a file's events of one household in the caller's transaction.

    Args:
        connection: The transaction; the accounts of the household are locked in it.
        household: The household; the account's name where one stands by itself.
        rows: Events of its accounts.
        source_name: Name of the file.
        on_rows: Called with how many more rows are dealt with.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: Two countries tax it, or its books cannot be opened.

    Source: docs/specs/ingestion.md, "An account's own transactions".
    """
    return _FileBooking(connection, household, source_name, on_rows).book(rows)


class _FileBooking:
    """One household's rows of a file while they are booked."""

    def __init__(
        self, connection: Connection, household: str, source_name: str, on_rows: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._household = household
        self._source_name = source_name
        self._on_rows = on_rows
        self._accounts: dict[str, Account] = {
            account.account_id: account for account in household_accounts(connection, household, lock=True)
        }
        self._result = EntryBooking()
        self._row_of: dict[EventKey, int] = {}

    def book(self, rows: Sequence[FileRow]) -> EntryBooking:
        self._row_of = {one.event.key: one.row for one in rows}
        stored = set(events_named(self._connection, self._row_of))
        known = [one.event for one in rows if one.event.key in stored]
        new = self._in_the_books([one for one in rows if one.event.key not in stored])
        if known:
            self._attempt(known)
        if new and not self._attempt_whole(new):
            self._book_in_parts(new)
        self._on_rows(len(rows))
        return self._result

    # ------------------------------------------------------------ days that the books can take

    def _in_the_books(self, rows: Sequence[FileRow]) -> list[Event]:
        """Open books that begin with these rows, and return the events of days that the books have."""
        told = {one.event.account for one in rows}
        opened = opening_days(self._connection, told)
        handed_over = accounts_with_opening_lots(self._connection, told - opened.keys())
        for account in sorted(told - opened.keys() - handed_over):
            opened[account] = min(one.event.trade_date for one in rows if one.event.account == account)
            open_books(self._connection, [account], opened[account])
        decided = [account.books_as_of for account in self._accounts.values() if account.books_as_of is not None]
        kept = []
        for one in rows:
            refused = self._day_refusal(one.event, opened, max(decided, default=None))
            if refused is None:
                kept.append(one.event)
            else:
                self._refuse(one.event, *refused)
        return kept

    def _day_refusal(
        self, event: Event, opened: Mapping[str, date], decided: date | None
    ) -> tuple[str, str, str] | None:
        account, day = event.account, event.trade_date
        if account not in opened:
            return (
                "BOOKS_NOT_OPEN",
                f"{account} has no books yet; its opening lots are as of its first day.",
                "Load the row after that day, or tell the whole history in files and hand over no lots.",
            )
        if day < opened[account]:
            return (
                "BEFORE_OPENING",
                f"{account} opens on {opened[account]}; {day} is before that.",
                "It is in the opening lots and cash already; remove the row.",
            )
        books = self._accounts[account].books_as_of or decided
        if books is not None and day > books:
            return (
                "AFTER_BOOKS",
                f"The books of {account} go through {books}; {day} is after that.",
                "Load the row when that day has been run.",
            )
        return None

    # ------------------------------------------------------------ booking

    def _attempt_whole(self, events: Sequence[Event]) -> bool:
        try:
            booked = self._book(events)
        except _NotBookedError:
            return False
        self._count(booked)
        return True

    def _attempt(self, events: Sequence[Event]) -> None:
        """Book events that belong together, one by one where they are refused together."""
        try:
            booked = self._book(events)
        except _NotBookedError as error:
            if len(events) == 1:
                self._refuse(events[0], error.code, error.message, error.remedy)
                return
            for event in sorted(events, key=lambda event: (_rank(event), event.key)):
                self._attempt([event])
        else:
            self._count(booked)

    def _book_in_parts(self, events: Sequence[Event]) -> None:
        here = {event.key for event in events}
        news = [event for event in events if isinstance(event, Cancellation | Correction)]
        # A correction of what the file itself tells goes with it; the books never see the two apart.
        beside = {target_of(one): one for one in news if target_of(one) in here}
        earlier = [one for one in news if target_of(one) not in here]
        if earlier:
            self._attempt(earlier)
        others = [event for event in events if not isinstance(event, Cancellation | Correction)]
        for _, of_day in groupby(sorted(others, key=_day_of), key=_day_of):
            told = list(of_day)
            self._attempt([*told, *(beside[event.key] for event in told if event.key in beside)])

    def _book(self, events: Sequence[Event]) -> Booking:
        """Book events in a savepoint; those that are refused leave no trace, not even a day that the books go through.

        Raises:
            _NotBookedError: The others cannot be booked together; nothing is.
        """
        findings: list[Finding] = []
        while True:
            try:
                with self._connection.begin_nested():
                    booked = self._book_once(events)
                    return replace(booked, findings=(*booked.findings, *findings))
            except _AgainError as again:
                findings += again.findings
                left_out = {finding.event for finding in again.findings}
                events = [event for event in events if event.key not in left_out]
            except AccountingError as error:
                remedy = _REMEDIES.get(error.code, "Correct the row, or reverse what contradicts it.")
                raise _NotBookedError(error.code, error.message, remedy) from error

    def _book_once(self, events: Sequence[Event]) -> Booking:
        """Book events.

        Raises:
            _AgainError: Some of them are refused; the savepoint undoes what was booked.
        """
        before = read_books(self._connection, self._household)
        through = max((event.trade_date for event in events), default=before.through or date.min)
        if not events:
            return Booking(self._household, through, (), 0, (), (), (), before.state)
        rules = EntryRules(self._connection, self._household, tuple(self._accounts), before.through)
        _require_none(rules.refusals(events))
        booked = book_events(
            self._connection,
            self._household,
            events,
            through,
            source=EventSource.FILE,
            source_name=self._source_name,
        )
        _require_none([one for one in booked.findings if one.refused and one.event in self._row_of])
        self._require_cash(before.state.cash, booked.state.cash)
        write_columns(self._connection, booked.state.cash, {})
        return booked

    def _require_cash(self, before: Mapping[str, Decimal], after: Mapping[str, Decimal]) -> None:
        for account, cash in after.items():
            if cash < 0 and cash < before.get(account, Decimal(0)):
                raise _NotBookedError(
                    "OVERDRAWN",
                    f"{account} would have cash of {plain_text(cash)}; an account may not borrow, and what it has not "
                    "cannot leave it.",
                    "Add the cash that came in as a TRANSFER_IN without ticker, or correct the amount.",
                )

    # ------------------------------------------------------------ what became of it

    def _count(self, booked: Booking) -> None:
        self._result.booked += sum(event.key in self._row_of for event in booked.events)
        self._result.unchanged += booked.known
        for finding in booked.findings:
            row = self._row_of.get(finding.event)
            if row is None:
                continue  # of an event that was booked before
            code = _CODES.get(finding.code, finding.code)
            remedy = _REMEDIES.get(code, finding.remedy)
            self._result.findings.append(RowFinding(row, code, finding.message, remedy, finding.refused))

    def _refuse(self, event: Event, code: str, message: str, remedy: str) -> None:
        self._result.findings.append(RowFinding(self._row_of[event.key], code, message, remedy))


def _day_of(event: Event) -> date:
    return event.trade_date


def _rank(event: Event) -> int:
    if isinstance(event, CashTransfer):
        return 0 if event.amount >= 0 else 2
    return _RANKS.get(type(event), 4)
