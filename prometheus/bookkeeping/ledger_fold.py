"""The fold of one household's events in parts, so that checkpoints come out of it, and what it changes. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from prometheus.db.repositories.ledger_postings import NewPosting, StoredPosting
from prometheus.ledger.corrections import compare
from prometheus.ledger.events import Event
from prometheus.ledger.findings import Finding
from prometheus.ledger.fold import fold
from prometheus.ledger.state import State
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
