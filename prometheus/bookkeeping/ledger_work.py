"""What booking a household's events changes, worked out of what was read. Pure: no database, no clock.

The fold goes in parts that end with a month, so that checkpoints come out of it.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from prometheus.bookkeeping.ledger_market import MarketSpan, missing_actions, tickers_in, tickers_of
from prometheus.bookkeeping.ledger_news import ToldEvents
from prometheus.bookkeeping.ledger_terms import LedgerHousehold
from prometheus.db.repositories.ledger_events import NewEvent
from prometheus.db.repositories.ledger_postings import NewPosting, StoredPosting
from prometheus.db.repositories.ledger_states import StoredState
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.corrections import compare
from prometheus.ledger.events import Cancellation, Correction, Event
from prometheus.ledger.facts import effective_events, target_of
from prometheus.ledger.findings import Finding, ordered_findings
from prometheus.ledger.fold import fold
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey
from prometheus.ledger.postings import Posting
from prometheus.ledger.state import EMPTY, State
from prometheus.ledger.terms import Terms

_ONE_DAY: Final = timedelta(days=1)
_PAST_ANY_MONTH: Final = timedelta(days=32)


@dataclass(frozen=True, slots=True)
class PartialFold:
    """What the fold of the events of some days gave.

    Attributes:
        last_day: Last of the days.
        state: The household afterwards.
        postings: What they wrote, in the order of booking, with the day of the fold.
        findings: Remarks on events.
    """

    last_day: date
    state: State
    postings: tuple[NewPosting, ...]
    findings: tuple[Finding, ...]


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


# ---------------------------------------------------------------- the fold in parts


def month_end(day: date) -> date:
    """Return the last day of a day's month."""
    return (day.replace(day=1) + _PAST_ANY_MONTH).replace(day=1) - _ONE_DAY


def fold_in_parts(events: Sequence[Event], terms: Terms, state: State, days: Iterable[date] = ()) -> list[PartialFold]:
    """Fold events in parts that end with a month or on a day asked for; a part without events is left out.

    Args:
        events: Events that count, all of them after the state; no corrections.
        terms: Under what terms the household's books are kept.
        state: The household before.
        days: Days at whose end the state is asked for, besides the ends of months.
    """
    ends = sorted({*days, *(month_end(event.trade_date) for event in events)})
    parts: dict[date, list[Event]] = {}
    for event in events:
        parts.setdefault(ends[bisect_left(ends, event.trade_date)], []).append(event)
    folded: list[PartialFold] = []
    for last_day, of_part in sorted(parts.items()):
        first = min(event.trade_date for event in of_part)
        state, postings, findings = fold(of_part, terms, state)
        # A window that closed before is settled by the first fold after it, on an earlier day. The row belongs to this
        # fold all the same: a fold that begins at a checkpoint in between writes it again.
        dated = tuple(NewPosting(posting, max(posting.day, first)) for posting in postings)
        folded.append(PartialFold(last_day, state, dated, findings))
    return folded


def changes_of(
    stored: Sequence[StoredPosting], folded: Sequence[NewPosting]
) -> tuple[list[NewPosting], list[NewPosting]]:
    """Return the reversals and the new postings that turn stored postings into those of a fold.

    Args:
        stored: Postings of the days that were folded, in the order of writing, reversals among them.
        folded: Postings of the fold.
    """
    reversals, new = compare({one.number: one.posting for one in stored}, [one.posting for one in folded])
    days = {one.number: one.fold_day for one in stored}
    return [NewPosting(row, days[number]) for number, row in reversals.items()], [folded[i] for i in new]
