"""Folds in parts: where they end, and which day wrote a posting."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from prometheus.bookkeeping.ledger_work import changes_of, fold_in_parts, month_end
from prometheus.db.repositories.ledger_postings import StoredPosting
from prometheus.ledger.facts import effective_events
from prometheus.ledger.fold import fold
from prometheus.ledger.state import EMPTY
from tests.property.ledger_histories import histories, us_terms


@given(histories(), us_terms(), st.sets(st.dates(date(2019, 10, 1), date(2021, 12, 31)), max_size=4))
def test_parts_give_what_one_fold_gives(history, terms, days):
    """Postings and state of a fold in parts are those of one fold; each part ends on a day asked for or a month's."""
    events, _ = effective_events(history)
    whole = fold(events, terms)
    parts = fold_in_parts(events, terms, EMPTY, days)
    assert [one.posting for part in parts for one in part.postings] == list(whole.postings)
    if parts:
        assert parts[-1].state == whole.state
    for part in parts:
        assert part.last_day in days or part.last_day == month_end(part.last_day)
        assert all(one.fold_day >= one.posting.day for one in part.postings)
        assert all(one.fold_day <= part.last_day for one in part.postings)


@given(histories(), histories(), us_terms())
def test_changes_turn_one_fold_into_another(before, after, terms):
    """Stored postings, their reversals and the new ones together say what the second fold says, once."""
    old = [one for part in fold_in_parts(effective_events(before)[0], terms, EMPTY) for one in part.postings]
    new = [one for part in fold_in_parts(effective_events(after)[0], terms, EMPTY) for one in part.postings]
    stored = [StoredPosting(number, one.fold_day, one.posting) for number, one in enumerate(old, 1)]
    reversals, written = changes_of(stored, new)
    for one in (*reversals, *written):
        stored.append(StoredPosting(len(stored) + 1, one.fold_day, one.posting))
    assert changes_of(stored, new) == ([], [])
    assert all(one.fold_day == old[one.posting.reverses - 1].fold_day for one in reversals)
    # What is reversed and told again is written again.
    back, again = changes_of(stored, old)
    assert len(back) == len(written)
    assert len(again) == len(reversals)


def test_ends_of_months():
    """February has its days, December ends with its year."""
    assert [month_end(day) for day in (date(2024, 2, 1), date(2024, 12, 31), date(2023, 2, 28))] == [
        date(2024, 2, 29), date(2024, 12, 31), date(2023, 2, 28),
    ]  # fmt: skip
