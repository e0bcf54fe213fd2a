"""The events that count: each once, corrected and cancelled ones replaced, impossible ones left out."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus.ledger.checks import check_event
from prometheus.ledger.events import Cancellation, Correction, Event
from prometheus.ledger.findings import Finding
from prometheus.ledger.keys import EventKey

_News = Correction | Cancellation


def effective_events(events: Iterable[Event]) -> tuple[list[Event], list[Finding]]:
    """Return the events that count, in no particular order, and a finding for each that was left out.

    An event told twice counts once. Of two events with the same name and different content the one that sorts first by
    date and content counts, so that the order of arrival does not matter. A correction or cancellation must be given
    together with the event that it names.

    Args:
        events: In any order.
    """
    findings: list[Finding] = []
    told: dict[EventKey, Event] = {}
    for event in events:
        key = EventKey(event.account, event.event_id)
        before = told.setdefault(key, event)
        if before is not event and before != event:
            kept, left_out = sorted((before, event), key=_content)
            told[key] = kept
            findings.append(_told_twice(key, kept, left_out))
    news = [event for event in told.values() if isinstance(event, Correction | Cancellation)]
    if news:
        _apply_news(told, news, findings)
    defects = {key: defect for key, event in told.items() if (defect := check_event(event)) is not None}
    for key, defect in defects.items():
        del told[key]
        findings.append(Finding(key, *defect))
    return list(told.values()), findings


def target_of(news: _News) -> EventKey:
    """Return the key of the event that a correction or cancellation names."""
    name = news.target_id if isinstance(news, Cancellation) else news.replacement.event_id
    return EventKey(news.account, name)


def _content(event: Event) -> tuple[Any, ...]:
    return (event.trade_date, type(event).__name__, repr(event))


def _told_twice(key: EventKey, kept: Event, left_out: Event) -> Finding:
    return Finding(
        key,
        "ENTRY_ID_TWICE",
        f"The name {key.event_id} of {key.account} stands for a {type(kept).__name__} of {kept.trade_date} and for "
        f"another {type(left_out).__name__} of {left_out.trade_date}; the latter is left out.",
        "Give every event a name of its own, or correct the first by a correction.",
    )


def _apply_news(told: dict[EventKey, Event], news: list[_News], findings: list[Finding]) -> None:
    by_target: dict[EventKey, list[_News]] = defaultdict(list)
    for each in news:
        del told[each.key]
        by_target[target_of(each)].append(each)
    names = {each.key for each in news}
    for target, of_target in by_target.items():
        original = told.get(target)
        accepted: list[_News] = []
        for each in sorted(of_target, key=lambda each: (each.trade_date, each.event_id)):
            refused = _refusal(each, target, original, accepted, is_news=target in names)
            if refused is None:
                accepted.append(each)
            else:
                findings.append(Finding(each.key, *refused))
        if not accepted:
            continue
        last = accepted[-1]
        if isinstance(last, Correction):
            told[target] = last.replacement
        else:
            del told[target]


def _refusal(
    each: _News, target: EventKey, original: Event | None, accepted: list[_News], *, is_news: bool
) -> tuple[str, str, str] | None:
    if is_news:
        return (
            "REVERSED_CORRECTION",
            f"{target.event_id} is a correction itself.",
            "Correct the original event once more; the correction told last counts.",
        )
    if original is None:
        return "UNKNOWN_ROW", f"'{target.event_id}' names no event of {target.account}.", "Name one event by its id."
    if isinstance(each, Correction) and each.replacement.account != each.account:
        return (
            "OTHER_ACCOUNT",
            f"The event in the place of {target.event_id} belongs to {each.replacement.account}.",
            "Cancel the event, and enter the other one in its account.",
        )
    if each.trade_date < original.trade_date:
        return (
            "CORRECTED_BEFORE",
            f"A correction of {each.trade_date} cannot change an event of {original.trade_date}.",
            "Date the correction on or after the event.",
        )
    before = accepted[-1] if accepted else None
    if isinstance(before, Cancellation) and isinstance(each, Cancellation):
        return "REVERSED_TWICE", f"{target.event_id} is cancelled already.", "Remove one of the cancellations."
    if before is not None and before.trade_date == each.trade_date:
        return (
            "CORRECTED_TWICE",
            f"{target.event_id} is corrected twice on {each.trade_date}, and nothing says which counts.",
            "Remove one of the corrections.",
        )
    return None
