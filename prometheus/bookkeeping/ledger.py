"""Books of a household: events are stored, folded, and what the fold changes is appended.

Everything happens in the caller's transaction. A new event of a later day is folded upon the last state. One of a day
that the books have passed leads to a fold from the last checkpoint before it, and stored postings that come out
otherwise are reversed under one correction.

Source: docs/specs/bookkeeping.md.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from prometheus.bookkeeping.ledger_fold import PartialFold, changes_of, fold_in_parts
from prometheus.bookkeeping.ledger_market import changed_events, missing_actions, tickers_in, tickers_of
from prometheus.bookkeeping.ledger_news import first_day_of, told_events
from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import (
    EventSource,
    NewEvent,
    append_events,
    events_after,
    tickers_told,
)
from prometheus.db.repositories.ledger_inputs import actions_position
from prometheus.db.repositories.ledger_postings import (
    NewPosting,
    append_correction,
    append_postings,
    postings_after,
    tickers_posted,
)
from prometheus.db.repositories.ledger_states import StoredState, newest_state, replace_states, stored_mark
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import Cancellation, Correction, Event
from prometheus.ledger.facts import effective_events, target_of
from prometheus.ledger.findings import Finding, ordered_findings
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey
from prometheus.ledger.postings import Posting
from prometheus.ledger.state import EMPTY, State

_NAMED: Final = 3


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


def book_events(
    connection: Connection,
    household: str,
    events: Sequence[Event],
    through: date,
    *,
    source: EventSource,
    source_name: str = "",
    reason: str = "",
) -> Booking:
    """Book new events of a household's accounts, and the market's actions through a day.

    An event that is stored already with the same content does nothing; with other content it is refused. An event that
    cannot be booked is refused, and the rest is booked as if it had never been told.

    Args:
        connection: The transaction; the accounts of the household are locked in it, in the order of their names.
        household: The household; the account's name where one stands by itself.
        events: In any order, corrections and cancellations among them.
        through: Day through which the books are afterwards, unless they are further already.
        source: Who tells the events.
        source_name: Name of the file or the like.
        reason: Why books that were passed change, in one sentence; worded from the events where empty.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: An event that was booked before could not be booked any more (LOTS_GONE), or an action of the
            market cannot be told.
    """
    work = _work_out(connection, household, events, through, source=source, source_name=source_name, lock=True)
    return _write(connection, work, reason)


def ex_date_processing(connection: Connection, household: str, through: date, *, reason: str = "") -> Booking:
    """Book the market's actions through a day, and what has changed in actions of days that the books have passed.

    Args:
        connection: The transaction; see ``book_events``.
        household: The household.
        through: The day.
        reason: As for ``book_events``.

    Raises:
        AccountingError: As for ``book_events``.
    """
    work = _work_out(connection, household, (), through, source=EventSource.MARKET, lock=True, with_changes=True)
    return _write(connection, work, reason)


def preview(
    connection: Connection, household: str, events: Sequence[Event], through: date, *, with_changes: bool = False
) -> Booking:
    """Return what booking events would change; nothing is written and nothing locked.

    Args:
        connection: A transaction.
        household: The household.
        events: As for ``book_events``.
        through: As for ``book_events``.
        with_changes: Whether changes of the market's actions are looked at, as ``ex_date_processing`` does.

    Raises:
        AccountingError: As for ``book_events``.
    """
    return _work_out(
        connection, household, events, through, source=EventSource.FILE, lock=False, with_changes=with_changes
    ).booking


# ---------------------------------------------------------------- what is to be done


@dataclass(frozen=True, slots=True)
class _Work:
    """A booking that was worked out.

    Attributes:
        booking: What it changes.
        accounts: Accounts of the household.
        new: Events to store.
        start: Day of the state that was folded upon; None where everything was folded.
        passed: Day through which the books were; None for books that begin.
        states: States to store.
        rows: Reversals, then new postings.
        is_idle: Whether there is nothing to write.
    """

    booking: Booking
    accounts: tuple[str, ...]
    new: tuple[NewEvent, ...]
    start: date | None
    passed: date | None
    states: tuple[StoredState, ...]
    rows: tuple[NewPosting, ...]
    is_idle: bool


def _work_out(
    connection: Connection,
    name: str,
    events: Sequence[Event],
    through: date,
    *,
    source: EventSource,
    lock: bool,
    source_name: str = "",
    with_changes: bool = False,
) -> _Work:
    household = open_household(connection, name, lock=lock)
    accounts = household.account_ids
    mark = stored_mark(connection, name)
    passed, seen = mark or (None, actions_position(connection))
    through = through if passed is None else max(through, passed)
    told = told_events(connection, household, events, through)
    looked_at = actions_position(connection) if with_changes else seen
    changed: list[NewEvent] = []
    if with_changes and passed is not None and looked_at > seen:
        ever = tickers_told(connection, accounts) | tickers_posted(connection, accounts)
        changed = changed_events(connection, name, ever, seen=seen, passed=passed)
    newest = newest_state(connection, name, accounts)
    if newest is not None and newest.day != passed:
        newest = None  # the last state is of another version, or of other accounts
    first = first_day_of(connection, (*told.new, *(new.event for new in changed)))
    start = newest
    if newest is not None and first is not None and first <= newest.day:
        start = newest_state(connection, name, accounts, before=first)
    own = [NewEvent(event, source, source_name) for event in told.new] + changed
    known = events_after(connection, name, accounts, None if start is None else start.day)
    told_now = {new.event.key for new in own}
    market = [
        new
        for new in _market(connection, name, [*known, *(new.event for new in own)], start, through, passed, looked_at)
        if new.event.key not in told_now
    ]
    counting, remarks = effective_events([*known, *(new.event for new in (*own, *market))])
    to_fold = [
        event for event in counting if (start is None or event.trade_date > start.day) and event.trade_date <= through
    ]
    parts = fold_in_parts(to_fold, household.terms, EMPTY if start is None else start.state)
    remarks += [one for part in parts for one in part.findings]
    stored_keys = {event.key for event in known}
    kept = _kept(own, remarks, stored_keys)
    _require_sound(remarks, told_now)
    stored = (
        []
        if start is newest and newest is not None
        else postings_after(connection, accounts, None if start is None else start.day)
    )
    reversals, postings = changes_of(stored, [one for part in parts for one in part.postings])
    state = parts[-1].state if parts else (EMPTY if start is None else start.state)
    to_store = (*kept, *market)
    return _Work(
        Booking(
            name,
            through,
            tuple(new.event for new in to_store),
            told.known,
            ordered_findings((*told.findings, *remarks)),
            tuple(one.posting for one in reversals),
            tuple(one.posting for one in postings),
            state,
        ),
        accounts,
        to_store,
        None if start is None else start.day,
        passed,
        _states(parts, state, through, accounts, looked_at),
        (*reversals, *postings),
        start is not None and start is newest and start.day == through and looked_at == seen and not to_store,
    )


def _market(
    connection: Connection,
    name: str,
    events: Sequence[Event],
    start: StoredState | None,
    through: date,
    passed: date | None,
    seen: int,
) -> list[NewEvent]:
    if start is None and not events:
        return []
    return missing_actions(
        connection,
        name,
        tickers_of(events) | (tickers_in(start.state) if start is not None else set()),
        # Nothing is held before the first event; shares that come in on a day are those after its actions.
        after=start.day if start is not None else min(event.trade_date for event in events),
        through=through,
        passed=passed,
        seen=seen,
    )


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


def _states(
    parts: Sequence[PartialFold], state: State, through: date, accounts: tuple[str, ...], seen: int
) -> tuple[StoredState, ...]:
    """Return a checkpoint for each month that is over, and the state of the last day."""
    over = [StoredState(one.last_day, accounts, seen, one.state) for one in parts if one.last_day < through]
    return (*over, StoredState(through, accounts, seen, state))


# ---------------------------------------------------------------- writing


def _write(connection: Connection, work: _Work, reason: str) -> Booking:
    booking = work.booking
    if work.is_idle:
        return booking
    append_events(connection, booking.household, work.new)
    correction_id = None
    passed = work.passed
    is_late = passed is not None and any(row.fold_day < passed for row in work.rows)
    if is_late or booking.reversals:
        correction_id = append_correction(
            connection,
            booking.household,
            first_day=min(row.fold_day for row in work.rows),
            reason=reason or _reason(work.new),
            told_by=", ".join(sorted({new.source.value for new in work.new})),
            reversed_postings=len(booking.reversals),
            posted=len(booking.postings),
        )
    if work.rows:
        append_postings(connection, work.rows, correction_id)
    replace_states(connection, booking.household, work.start, work.states)
    return replace(booking, correction_id=correction_id)


def _reason(new: Sequence[NewEvent]) -> str:
    if not new:
        return "The terms of the household or its accounts changed."
    named = ", ".join(one.event.event_id for one in new[:_NAMED])
    more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
    return f"Told after the books had passed the day: {named}{more}."
