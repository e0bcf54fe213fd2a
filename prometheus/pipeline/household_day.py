"""A household's books on a day: worked out once for all of its accounts, and written once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.bookkeeping.ledger import preview
from prometheus.bookkeeping.ledger_days import LoadedDay
from prometheus.bookkeeping.ledger_market import MarketSpan
from prometheus.bookkeeping.ledger_view import books_of, recent_trades_of
from prometheus.bookkeeping.ledger_work import Booking, Work, first_action_after, work_out
from prometheus.bookkeeping.ledger_write import write_works
from prometheus.db.database import Connection, Database
from prometheus.db.repositories.account_books import write_columns
from prometheus.db.repositories.ledger_postings import counts_in_year
from prometheus.db.repositories.ledger_states import StateMark, mark_of, state_marks
from prometheus.db.repositories.market_data import read_one_state
from prometheus.domain.books import Books
from prometheus.domain.lots import RecentTrade
from prometheus.foundation.errors import AccountingError, PhaseHeldError
from prometheus.ledger.events import Dividend, Split, SymbolChange
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.pipeline.shared_inputs import SharedInputs

#: Actions that the ledger books for short positions, too.
_PLAIN: Final = (Split, SymbolChange, Dividend)
#: Remarks that a market's action could not be booked for an account that holds the security.
_NOT_BOOKED: Final = frozenset({"VANISHING_LOT", "TOO_LARGE", "BAD_BASIS_FRACTION"})


class HouseholdDay:
    """The books of one household on a day, as one reading of them found them."""

    def __init__(self, loaded: LoadedDay, position: int) -> None:
        """Keep what was read; ``position`` is the number of the latest change of a corporate action then."""
        self._loaded, self._position = loaded, position
        self._work: Work | None = None
        self._late: Booking | None = None

    @property
    def name(self) -> str:
        """Return the household's name."""
        return self._loaded.books.household.name

    @property
    def members(self) -> tuple[str, ...]:
        """Return its accounts."""
        return self._loaded.books.household.account_ids

    @property
    def mark(self) -> StateMark | None:
        """Return what tells whether the books have moved since they were read; None for books that begin."""
        return self._loaded.mark

    @property
    def passed(self) -> date | None:
        """Return the day through which the books were; None for books that begin."""
        return self._loaded.books.passed

    def late_booking(self, database: Database) -> Booking:
        """Return what actions would change that came or changed after the books had passed them; nothing is written.

        Where they change nothing the day notes down that they were looked at.

        Args:
            database: The database.

        Raises:
            AccountingError: The days cannot be booked again.
        """
        passed = self.passed
        if passed is None:
            raise ValueError("Books that begin have passed no action.")
        if self._late is None:
            with database.transaction() as connection:
                read_one_state(connection)
                self._late = preview(connection, self.name, (), passed, with_changes=True)
            if not self._late.reversals and not self._late.postings:
                books = self._loaded.books
                self._loaded = replace(self._loaded, books=replace(books, looked_at=max(self._position, books.seen)))
        return self._late

    def work(self, shared: SharedInputs) -> Work:
        """Return what the day books: opening events and the market's actions through the day.

        Args:
            shared: Has the market's actions.

        Raises:
            PhaseHeldError: An action needs a close that is not there (NO_PRICE).
            AccountingError: The books cannot be opened, or an action cannot be booked.
        """
        if self._work is None:
            try:
                work = work_out(replace(self._loaded.books, market=self._market(shared)))
            except AccountingError as error:
                if error.code != "NO_PRICE":
                    raise
                raise PhaseHeldError(f"{self.name}: {error.message}", code=error.code, details=error.details) from error
            _require_booked(work)
            self._work = work
        return self._work

    def books(self, shared: SharedInputs, account_id: str) -> Books:
        """Return lots and cash of an account at the end of the day's corporate actions."""
        return books_of(self.work(shared).view, account_id)

    def trades(self, shared: SharedInputs, account_id: str, as_of: date) -> tuple[RecentTrade, ...]:
        """Return the trades that may lock securities of an account."""
        return recent_trades_of(self.work(shared).view, account_id, as_of, self._loaded.books.household.terms)

    def require_plain_actions(self, shared: SharedInputs, account_id: str) -> None:
        """Refuse a day that brings an action which the ledger does not book for a short position of an account.

        Splits, new symbols and dividends it books.

        Raises:
            PhaseHeldError: There is such an action (ACTION_ON_SHORT).
        """
        owed = {short.ticker for short in self.books(shared, account_id).shorts}
        for event in (one.event for one in self.work(shared).new):
            ticker = getattr(event, "ticker", "")
            if event.account == EVERY_ACCOUNT and ticker in owed and not isinstance(event, _PLAIN):
                raise PhaseHeldError(
                    f"{account_id} is short of {ticker}, which has a {type(event).__name__} on {event.trade_date}: "
                    "what the position owes then is not booked. Enter the cover that closed it before that day.",
                    code="ACTION_ON_SHORT",
                    details={"ticker": ticker, "ex_date": event.trade_date.isoformat()},
                )

    def first_day_of_actions(self, books_as_of: date | None) -> date | None:
        """Return the day after which the day's actions of an account come; None where its books begin.

        Args:
            books_as_of: The day through which the account was decided; None before its first day.
        """
        return books_as_of if books_as_of is not None else self.passed

    def actions_posted(self, shared: SharedInputs, account_id: str) -> set[str]:
        """Return the names of the market's events that the day books for an account."""
        return {
            posting.event.event_id
            for posting in self.work(shared).booking.postings
            if posting.account == account_id and posting.event.account == EVERY_ACCOUNT
        }

    def gains(self, shared: SharedInputs, account_id: str, as_of: date) -> Decimal:
        """Return the net gain of the calendar year that the day adds to those stored, base currency."""
        booking = self.work(shared).booking
        return sum(
            (
                posting.realized_gain
                for posting in (*booking.reversals, *booking.postings)
                if posting.account == account_id and counts_in_year(posting, as_of)
            ),
            Decimal(0),
        )

    def _market(self, shared: SharedInputs) -> MarketSpan:
        books = self._loaded.books
        if not self._loaded.needs_market:
            return books.market
        after = first_action_after([new.event for new in books.own], books.start)
        if after is None or after >= books.through:
            return MarketSpan()
        return shared.actions(after=after, through=books.through, seen=self._position)


def write_households(
    connection: Connection, days: Sequence[tuple[HouseholdDay, Work]], decided: Mapping[str, date]
) -> None:
    """Write what days of households book, once for each household, after looking whether their books have moved.

    Args:
        connection: The transaction; the accounts of the households are locked in it.
        days: The day and its work, of each run; runs of one household share them.
        decided: Account of each run to the day that it is decided through.

    Raises:
        PhaseHeldError: The books of a household have moved since they were read (BOOKS_MOVED).
    """
    by_name: dict[str, tuple[HouseholdDay, Work]] = {}
    for day, work in days:
        if by_name.setdefault(day.name, (day, work))[1] is not work:
            raise _moved(day)
    marks = state_marks(connection, list(by_name))
    works = [work for day, work in by_name.values() if not _is_written(day, work, marks)]
    write_works(connection, works)
    cash = {account: amount for work in works for account, amount in work.booking.state.cash.items()}
    write_columns(connection, cash, decided)


def _is_written(day: HouseholdDay, work: Work, marks: Mapping[str, StateMark]) -> bool:
    """Return whether another run of the household has written the same day already.

    Raises:
        PhaseHeldError: The books are neither those that were read nor those that the day leaves.
    """
    stored = marks.get(day.name)
    if stored == day.mark:
        return False
    after = mark_of(work.states[-1])
    if stored is not None and (stored.day, stored.digest) == (after.day, after.digest):
        return True
    raise _moved(day)


def _moved(day: HouseholdDay) -> PhaseHeldError:
    return PhaseHeldError(f"The books of {day.name} changed while its snapshot was built.", code="BOOKS_MOVED")


def _require_booked(work: Work) -> None:
    """Refuse a day whose opening events or corporate actions are not booked as they are told.

    Raises:
        AccountingError: The code is that of the finding.
    """
    new = {one.event.key for one in work.new}
    for finding in work.booking.findings:
        is_market = finding.event.account == EVERY_ACCOUNT and finding.event in new
        if is_market and (finding.refused or finding.code in _NOT_BOOKED):
            raise _refused(f"the corporate action {finding.event.event_id}", finding)
        if finding.refused and finding.event.account != EVERY_ACCOUNT and finding.event not in new:
            raise _refused(f"{finding.event.event_id} of {finding.event.account}", finding)


def _refused(what: str, finding: Finding) -> AccountingError:
    return AccountingError(
        f"{what} cannot be booked: {finding.message}",
        code=finding.code,
        details={"account_id": finding.event.account, "event_id": finding.event.event_id},
    )
