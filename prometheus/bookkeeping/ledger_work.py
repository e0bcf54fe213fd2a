"""What booking a household's events changes, worked out of what was read. Pure: no database, no clock."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from prometheus.bookkeeping.ledger_fold import PartialFold, changes_of, fold_in_parts
from prometheus.bookkeeping.ledger_market import MarketSpan, missing_actions, tickers_in, tickers_of
from prometheus.bookkeeping.ledger_news import ToldEvents
from prometheus.bookkeeping.ledger_terms import LedgerHousehold
from prometheus.db.repositories.ledger_events import NewEvent
from prometheus.db.repositories.ledger_postings import NewPosting, StoredPosting
from prometheus.db.repositories.ledger_states import StoredState
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import Cancellation, Correction, Event
from prometheus.ledger.facts import effective_events, target_of
from prometheus.ledger.findings import Finding, ordered_findings
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey
from prometheus.ledger.postings import Posting
from prometheus.ledger.state import EMPTY, State


@dataclass(frozen=True, slots=True)
class Booking:
    """What a booking changed, or would change.

    Attributes:
        household: Whose books.
        through: Day through which they are afterwards.
        events: Events that are new to the books, those of the market among them.
        known: Events that were stored before and say the same.
        findings: Remarks; an event that is refused is not stored.
        reversals: Reversals of stored postings.
        postings: New postings.
        state: The books afterwards.
        correction_id: The correction under which postings were written; None where there is none.
    """

    household: str
    through: date
    events: tuple[Event, ...]
    known: int
    findings: tuple[Finding, ...]
    reversals: tuple[Posting, ...]
    postings: tuple[Posting, ...]
    state: State
    correction_id: int | None = None

    @property
    def refused(self) -> frozenset[EventKey]:
        """Return the events that were told and are not stored as they were told."""
        return frozenset(finding.event for finding in self.findings if finding.refused)


@dataclass(frozen=True, slots=True)
class LoadedBooks:
    """A household's books as they were read, and what is to be booked.

    Attributes:
        household: The household with its terms.
        through: Day through which the books are to be.
        passed: Day through which they are; None for books that begin.
        seen: ``corporate_actions.change_id`` through which changes of passed days have been looked at.
        looked_at: The same after the booking.
        told: The events as they were told.
        own: New events to book: those told, and changes of the market's actions.
        known: Stored events after ``start``, and corrections with what they name.
        newest: The last state; None where there is none that can be used.
        start: State to fold upon, ``newest`` or an earlier one; None to fold everything.
        stored: Postings that later folds wrote; empty where ``start`` is ``newest``.
        market: Actions of the market after ``start``.
        view_day: Day whose end is asked for besides; None for none.
    """

    household: LedgerHousehold
    through: date
    passed: date | None
    seen: int
    looked_at: int
    told: ToldEvents
    own: tuple[NewEvent, ...]
    known: tuple[Event, ...]
    newest: StoredState | None
    start: StoredState | None
    stored: tuple[StoredPosting, ...] = ()
    market: MarketSpan = field(default_factory=MarketSpan)
    view_day: date | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A booking that was worked out.

    Attributes:
        booking: What it changes.
        new: Events to store.
        start: Day of the state that was folded upon; None where everything was folded.
        passed: Day through which the books were; None for books that begin.
        states: States to store.
        rows: Reversals, then new postings.
        is_idle: Whether there is nothing to write.
        view: The books at the end of ``LoadedBooks.view_day``; those of ``booking`` where no day was asked for.
    """

    booking: Booking
    new: tuple[NewEvent, ...]
    start: date | None
    passed: date | None
    states: tuple[StoredState, ...]
    rows: tuple[NewPosting, ...]
    is_idle: bool
    view: State


def tickers_needed(events: Iterable[Event], start: StoredState | None) -> set[str]:
    """Return the securities whose actions books may need: those of events, and those of the state folded upon."""
    return tickers_of(events) | (tickers_in(start.state) if start is not None else set())


def first_action_after(events: Iterable[Event], start: StoredState | None) -> date | None:
    """Return the day after which actions of the market are booked; None where nothing was ever held."""
    # Nothing is held before the first event; shares that come in on a day are those after its actions.
    return start.day if start is not None else min((event.trade_date for event in events), default=None)


def work_out(loaded: LoadedBooks) -> Work:
    """Return what a booking changes.

    Args:
        loaded: What was read.

    Raises:
        AccountingError: An event that was booked before could not be booked any more (LOTS_GONE), an action of the
            market cannot be told (NO_PRICE, NO_BASIS_PART), or it leaves a fraction that has no price (NO_PRICE).
    """
    start, newest, through = loaded.start, loaded.newest, loaded.through
    own = loaded.own
    told_now = {new.event.key for new in own}
    market = [new for new in _market(loaded) if new.event.key not in told_now]
    counting, remarks = effective_events([*loaded.known, *(new.event for new in (*own, *market))])
    to_fold = [
        event for event in counting if (start is None or event.trade_date > start.day) and event.trade_date <= through
    ]
    before = EMPTY if start is None else start.state
    view_days = () if loaded.view_day is None else (loaded.view_day,)
    parts = fold_in_parts(to_fold, loaded.household.terms, before, view_days)
    remarks += [one for part in parts for one in part.findings]
    kept = _kept(own, remarks, {event.key for event in loaded.known})
    _require_sound(remarks, told_now)
    _require_prices(remarks, [new.event for new in (*own, *market)])
    folded = [one for part in parts for one in part.postings]
    reversals, postings = changes_of(loaded.stored, folded)
    state = parts[-1].state if parts else before
    to_store = (*kept, *market)
    rows = (*reversals, *postings)
    return Work(
        booking=Booking(
            loaded.household.name,
            through,
            tuple(new.event for new in to_store),
            loaded.told.known,
            ordered_findings((*loaded.told.findings, *remarks)),
            tuple(one.posting for one in reversals),
            tuple(one.posting for one in postings),
            state,
        ),
        new=to_store,
        start=None if start is None else start.day,
        passed=loaded.passed,
        states=_states(parts, state, through, loaded.household.account_ids, loaded.looked_at),
        rows=rows,
        is_idle=(
            newest is not None
            and newest.day == through
            and loaded.looked_at == loaded.seen
            and not to_store
            and not rows
        ),
        view=_view(parts, before, loaded.view_day) if loaded.view_day is not None else state,
    )


def _market(loaded: LoadedBooks) -> list[NewEvent]:
    events = (*loaded.known, *(new.event for new in loaded.own))
    after = first_action_after(events, loaded.start)
    if after is None:
        return []
    return missing_actions(
        loaded.market,
        tickers_needed(events, loaded.start),
        {event.event_id for event in loaded.known if event.account == EVERY_ACCOUNT},
        after=after,
        passed=loaded.passed,
        seen=loaded.looked_at,
    )


def _view(parts: Sequence[PartialFold], before: State, day: date) -> State:
    states = [part.state for part in parts if part.last_day <= day]
    return states[-1] if states else before


def _kept(own: Iterable[NewEvent], findings: Iterable[Finding], stored: Collection[EventKey]) -> tuple[NewEvent, ...]:
    """Return the new events that were booked; a correction goes with what it names."""
    refused = {finding.event for finding in findings if finding.refused} - set(stored)
    return tuple(
        new
        for new in own
        if new.event.key not in refused
        and not (isinstance(new.event, Correction | Cancellation) and target_of(new.event) in refused)
    )


def _require_sound(findings: Iterable[Finding], new: Collection[EventKey]) -> None:
    """Refuse news by which an event that was booked before cannot be booked any more.

    Raises:
        AccountingError: LOTS_GONE.
    """
    for finding in findings:
        if finding.refused and finding.event not in new and finding.event.account != EVERY_ACCOUNT:
            raise AccountingError(
                f"{finding.event.event_id} of {finding.event.account}, which is booked, could not be booked any more: "
                f"{finding.message.rstrip('.')}. Cancel it first, or correct it together with this.",
                code="LOTS_GONE",
                details={"account_id": finding.event.account, "event_id": finding.event.event_id, "code": finding.code},
            )


def _require_prices(findings: Iterable[Finding], new: Iterable[Event]) -> None:
    """Refuse new actions of the market that leave a fraction of a share without a close to pay it at.

    Raises:
        AccountingError: NO_PRICE.
    """
    market = {
        (event.replacement if isinstance(event, Correction) else event).key
        for event in new
        if event.account == EVERY_ACCOUNT
    }
    for finding in findings:
        if finding.code == "NO_PRICE" and finding.event in market:
            raise AccountingError(
                f"{finding.message} {finding.remedy}",
                code="NO_PRICE",
                details={"event_id": finding.event.event_id},
            )


def _states(
    parts: Sequence[PartialFold], state: State, through: date, accounts: tuple[str, ...], seen: int
) -> tuple[StoredState, ...]:
    """Return a checkpoint for each month that is over, and the state of the last day."""
    over = [StoredState(one.last_day, accounts, seen, one.state) for one in parts if one.last_day < through]
    return (*over, StoredState(through, accounts, seen, state))
