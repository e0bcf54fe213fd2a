"""Bookings that were worked out are written: those of many households by a few statements."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from prometheus.bookkeeping.ledger_work import Booking, Work
from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_events import NewEvent, append_events
from prometheus.db.repositories.ledger_postings import append_correction, append_postings
from prometheus.db.repositories.ledger_states import replace_states

_NAMED: Final = 3


def write_works(connection: Connection, works: Sequence[Work], reason: str = "") -> list[Booking]:
    """Append what bookings change, and return them with their corrections.

    Args:
        connection: The transaction; the accounts of the households are locked in it.
        works: One for each household, worked out of the books as they are.
        reason: Why books that were passed change, in one sentence; worded from the events where empty.
    """
    busy = [work for work in works if not work.is_idle]
    append_events(connection, [(work.booking.household, new) for work in busy for new in work.new])
    corrections = {work.booking.household: _correction(connection, work, reason) for work in busy}
    append_postings(connection, [(row, corrections[work.booking.household]) for work in busy for row in work.rows])
    replace_states(connection, [(work.booking.household, work.start, work.states) for work in busy])
    return [replace(work.booking, correction_id=corrections.get(work.booking.household)) for work in works]


def _correction(connection: Connection, work: Work, reason: str) -> int | None:
    booking, passed = work.booking, work.passed
    is_late = passed is not None and any(row.fold_day < passed for row in work.rows)
    if not is_late and not booking.reversals:
        return None
    return append_correction(
        connection,
        booking.household,
        first_day=min(row.fold_day for row in work.rows),
        reason=reason or _reason(work.new),
        told_by=", ".join(sorted({new.source.value for new in work.new})),
        reversed_postings=len(booking.reversals),
        posted=len(booking.postings),
    )


def _reason(new: Sequence[NewEvent]) -> str:
    if not new:
        return "The terms of the household or its accounts changed."
    named = ", ".join(one.event.event_id for one in new[:_NAMED])
    more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
    return f"Told after the books had passed the day: {named}{more}."
