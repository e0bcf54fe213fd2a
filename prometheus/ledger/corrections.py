"""What is told late: the days concerned are folded again, and the difference is written.

A late fill, a bust, a correction or a changed corporate action is an event with an old date. There is no other way to
change what is booked. Stored postings are never changed: those that come out otherwise are reversed, and new ones
follow, under one correction id with its reason. As the fold is pure, the same call answers what would change.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from prometheus.ledger.events import Cancellation, Correction, Event
from prometheus.ledger.facts import effective_events, target_of
from prometheus.ledger.findings import Finding
from prometheus.ledger.fold import fold
from prometheus.ledger.keys import EventKey
from prometheus.ledger.postings import Posting
from prometheus.ledger.state import State
from prometheus.ledger.terms import Terms


@dataclass(frozen=True, slots=True)
class Difference:
    """What a correction changes.

    Attributes:
        correction_id: Name of the correction.
        reason: Why, in one sentence.
        reversals: Of stored postings, in the order in which these were written; each names the one it reverses.
        postings: New postings, in the order of booking.
        state: The household after the last event.
        findings: Remarks on the events that were folded.
    """

    correction_id: str
    reason: str
    reversals: tuple[Posting, ...]
    postings: tuple[Posting, ...]
    state: State
    findings: tuple[Finding, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether the stored postings are what the events give."""
        return not self.reversals and not self.postings


def refold(
    checkpoint: State,
    events_after: Iterable[Event],
    old_postings: Mapping[int, Posting],
    terms: Terms,
    *,
    correction_id: str = "",
    reason: str = "",
) -> Difference:
    """Fold the events after a checkpoint again and return the difference to what is stored.

    Args:
        checkpoint: The household before the first day that the correction touches; see ``first_day_touched``.
        events_after: All events of later days, those told late among them; see ``events_after``.
        old_postings: Stored postings of those days by number, ascending, reversals and reversed ones included.
        terms: Under what terms the household's books are kept.
        correction_id: Name of the correction; written into its postings.
        reason: Why, in one sentence.
    """
    state, postings, findings = fold(events_after, terms, checkpoint)
    reversals, new = compare(old_postings, postings, correction_id)
    written = tuple(replace(postings[i], correction_id=correction_id) for i in new)
    return Difference(correction_id, reason, tuple(reversals.values()), written, state, findings)


def compare(
    stored: Mapping[int, Posting], folded: Sequence[Posting], correction_id: str = ""
) -> tuple[dict[int, Posting], list[int]]:
    """Return what turns stored postings into those of a fold.

    Args:
        stored: Stored postings by number, ascending, reversals and reversed ones included.
        folded: Postings of a fold of the same days, in the order of booking.
        correction_id: Name of the correction; written into the reversals.

    Returns:
        The reversals, by the number of the posting that each reverses, and the places of the new ones in ``folded``.
    """
    wanted = Counter(folded)
    reversals: dict[int, Posting] = {}
    for number, posting in effective_postings(stored).items():
        plain = replace(posting, correction_id="") if posting.correction_id else posting
        if wanted[plain]:
            wanted[plain] -= 1
        else:
            reversals[number] = reversal_of(number, posting, correction_id)
    # Of equal postings the last ones are new; it makes no difference which.
    new: list[int] = []
    for i in range(len(folded) - 1, -1, -1):
        if wanted[folded[i]]:
            wanted[folded[i]] -= 1
            new.append(i)
    new.reverse()
    return reversals, new


def effective_postings(stored: Mapping[int, Posting]) -> dict[int, Posting]:
    """Return the stored postings that count: neither reversals nor reversed."""
    reversed_numbers = {posting.reverses for posting in stored.values() if posting.reverses is not None}
    return {
        number: posting
        for number, posting in stored.items()
        if posting.reverses is None and number not in reversed_numbers
    }


def reversal_of(number: int, posting: Posting, correction_id: str) -> Posting:
    """Return the posting that undoes a stored one: the same with opposite signs."""
    return replace(
        posting,
        quantity=-posting.quantity,
        cash=-posting.cash,
        cost_basis=-posting.cost_basis,
        adjusted_basis=-posting.adjusted_basis,
        realized_gain=-posting.realized_gain,
        fee=-posting.fee,
        reverses=number,
        correction_id=correction_id,
    )


def first_day_touched(told_late: Event, known: Mapping[EventKey, Event]) -> date:
    """Return the first day that may come out otherwise by an event; the checkpoint must be of a day before it.

    Args:
        told_late: A new event, a correction or a cancellation.
        known: Events known before, by key; a corrected one as it is now, with its correction applied.
    """
    days = [told_late.trade_date]
    if isinstance(told_late, Correction | Cancellation):
        original = known.get(target_of(told_late))
        days = [] if original is None else [original.trade_date]
        if isinstance(told_late, Correction):
            days.append(told_late.replacement.trade_date)
    return min(days, default=told_late.trade_date)


def events_after(known: Iterable[Event], through: date | None) -> list[Event]:
    """Return the events that count after a day, with corrections and cancellations applied.

    Args:
        known: Events known by now; corrections together with the events that they name, whatever the day.
        through: The last day of the checkpoint; None for all.
    """
    return [event for event in effective_events(known)[0] if through is None or event.trade_date > through]
