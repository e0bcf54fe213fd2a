"""Events as they are told: which are new, known, or say something else, and from which day on they matter."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from prometheus.bookkeeping.ledger_terms import LedgerHousehold
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import days_told, events_named
from prometheus.ledger.event_json import same_text
from prometheus.ledger.events import Cancellation, CashTransfer, Correction, Event, Sell, TransferOut
from prometheus.ledger.facts import target_of
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey
from prometheus.ledger.terms import Terms


@dataclass(frozen=True, slots=True)
class ToldEvents:
    """Events as they were told: the new ones, how many were known, and remarks on those left out."""

    new: tuple[Event, ...]
    known: int
    findings: tuple[Finding, ...]


def told_events(
    connection: Connection, household: LedgerHousehold, events: Iterable[Event], through: date
) -> ToldEvents:
    """Return the events that are new, as they come back from the database."""
    findings: list[Finding] = []
    by_key: dict[EventKey, Event] = {}
    known = 0
    for told in events:
        refused = _refusal(told, household.account_ids, through)
        if refused is not None:
            findings.append(refused)
            continue
        event = same_text(told)
        first = by_key.setdefault(event.key, event)
        if first != event:
            findings.append(_told_otherwise(event, first))
    stored = events_named(connection, by_key)
    new: list[Event] = []
    for key, event in by_key.items():
        before = stored.get(key)
        if before is None:
            new.append(_with_method(event, household.terms))
        elif before == _as_stored(event, before):
            known += 1
        else:
            findings.append(_told_otherwise(event, before))
    return ToldEvents(tuple(new), known, tuple(findings))


def _refusal(event: Event, accounts: Collection[str], through: date) -> Finding | None:
    if event.account == EVERY_ACCOUNT or event.account not in accounts:
        return Finding(
            event.key,
            "OTHER_HOUSEHOLD",
            f"The account '{event.account}' is none of this household.",
            "Book the event for the household of its account.",
        )
    other = event.other_account if isinstance(event, TransferOut | CashTransfer) else None
    if other is not None and other not in accounts:
        return Finding(
            event.key,
            "OTHER_HOUSEHOLD",
            f"The account '{other}' is none of this household.",
            "Enter what leaves here, and what comes in there, as events of their own.",
        )
    if event.trade_date > through:
        return Finding(
            event.key,
            "AFTER_BOOKS",
            f"The books go through {through}; {event.trade_date} is after that.",
            "Book the event with its day.",
        )
    return None


def _told_otherwise(event: Event, before: Event) -> Finding:
    return Finding(
        event.key,
        "EVENT_DIFFERS",
        f"{event.account} has the event '{event.event_id}' otherwise: a {type(before).__name__} of "
        f"{before.trade_date}.",
        "Correct the first by a correction, or give this one a name of its own.",
    )


def _with_method(event: Event, terms: Terms) -> Event:
    """Return a sale with the lot method of its day: the account's may change, and the past must not."""
    if isinstance(event, Sell) and event.method is None and not event.picks:
        return replace(event, method=terms.of(event.account).method)
    return event


def _as_stored(event: Event, stored: Event) -> Event:
    if isinstance(event, Sell) and isinstance(stored, Sell) and event.method is None and not event.picks:
        return replace(event, method=stored.method)
    return event


def first_day_of(connection: Connection, events: Sequence[Event]) -> date | None:
    """Return the first day that may come out otherwise by new events, None where there are none."""
    news = [event for event in events if isinstance(event, Correction | Cancellation)]
    days = {event.trade_date for event in events if not isinstance(event, Correction | Cancellation)}
    days |= {event.replacement.trade_date for event in news if isinstance(event, Correction)}
    before = days_told(connection, {target_of(event) for event in news})
    days |= {day for told in before.values() for day in told}
    return min(days, default=None)
