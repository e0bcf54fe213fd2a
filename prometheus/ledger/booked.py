"""Events of a household with the books that they give: what lists of lots and tax reports are made of.

A file and the database both end here, so the same history gives the same reports, wherever it was told.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date

from prometheus.ledger.events import Event
from prometheus.ledger.findings import Finding
from prometheus.ledger.fold import fold
from prometheus.ledger.keys import EventKey
from prometheus.ledger.postings import Posting
from prometheus.ledger.state import State
from prometheus.ledger.terms import Terms
from prometheus.ledger.tie_rules import WashScope


@dataclass(frozen=True, slots=True)
class BookedEvents:
    """A household's history and its books.

    Attributes:
        terms: Under what terms it was booked.
        events: All events, corrections and refused ones among them.
        postings: All postings from the first day on, in the order of writing; reversals may be among them.
        state: The books at the end.
        as_of: Day on which losses count as provisional.
    """

    terms: Terms
    events: tuple[Event, ...]
    postings: tuple[Posting, ...]
    state: State
    as_of: date

    def by_broker(self) -> tuple[Terms, tuple[Posting, ...]]:
        """Return terms and postings of the same events under the scope of a broker's form.

        Source: Treas. Reg. 1.6045-1(d)(6)(iii).
        """
        terms = replace(self.terms, ties=replace(self.terms.ties, scope=WashScope.FORM_1099B))
        return terms, fold(self.events, terms).postings


def book(
    events: Iterable[Event],
    terms: Terms,
    *,
    as_of: date | None = None,
    on_day: Callable[[int], None] | None = None,
) -> tuple[BookedEvents, tuple[Finding, ...]]:
    """Book a whole history and return it with its books, and remarks on events.

    Args:
        events: In any order, corrections among them.
        terms: Under what terms.
        as_of: Day on which losses count as provisional; the day of the last event that counts where None.
        on_day: Called after each day with the number of its events.
    """
    told = tuple(events)
    state, postings, findings = fold(told, terms, on_day=on_day)
    refused = {finding.event for finding in findings if finding.refused}
    last = as_of or last_day(told, refused)
    return BookedEvents(terms, told, postings, state, last), findings


def last_day(events: Iterable[Event], refused: Iterable[EventKey] = ()) -> date:
    """Return the day of the last event that was not refused; the first of all days where there is none."""
    left_out = frozenset(refused)
    return max((event.trade_date for event in events if event.key not in left_out), default=date.min)
