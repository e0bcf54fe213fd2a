"""One history, told in every way: day by day, at once, in a file, late and in any order. The books are the same."""

from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.ledger.checkpoints import from_bytes, to_bytes
from prometheus.ledger.checks import check_event
from prometheus.ledger.corrections import effective_postings, events_after, first_day_touched, refold
from prometheus.ledger.events import Cancellation, Correction
from prometheus.ledger.facts import effective_events
from prometheus.ledger.files.own_format import read_own_format
from prometheus.ledger.files.writer import write_own_format
from prometheus.ledger.fold import advance, fold
from prometheus.ledger.postings import DISALLOWANCES, PostingKind
from prometheus.ledger.state import EMPTY
from tests.property.ledger_histories import histories, us_terms
from tests.unit.ledger.told import sums_of, sums_of_state

ZERO = Decimal(0)


def by_day(events):
    """Return the events that count, grouped by day."""
    days = defaultdict(list)
    for each in effective_events(events)[0]:
        days[each.trade_date].append(each)
    return dict(sorted(days.items()))


@given(histories(), us_terms())
def test_postings_add_up_to_the_state(events, terms):
    """The sums of the postings by lot and account are the lots and the cash of the state."""
    state, postings, _ = fold(events, terms)
    assert sums_of(postings) == sums_of_state(state)
    assert all(row.cash == row.cash.quantize(Decimal("0.01")) for row in postings)


@given(histories(), us_terms())
def test_gains_add_up(events, terms):
    """Realised gains are cash less basis, disallowed losses are carried or gone for good, and nothing else changes."""
    _, postings, _ = fold(events, terms)
    carried = sum((row.adjusted_basis for row in postings if row.kind is PostingKind.CARRIED_LOSS), ZERO)
    for_good = sum((row.realized_gain for row in postings if row.loss and row.loss.is_permanent), ZERO)
    disallowed = sum((row.realized_gain for row in postings if row.kind in DISALLOWANCES), ZERO)
    resold = sum((row.loss.amount for row in postings if row.loss and row.loss.resold and row.realized_gain < 0), ZERO)
    assert disallowed == carried + for_good + resold
    assert all(row.realized_gain >= 0 for row in postings if row.kind in DISALLOWANCES)
    event("for good" if for_good else "carried" if carried else "nothing disallowed")


@given(histories(), us_terms())
def test_day_by_day_is_at_once(events, terms):
    """Advancing day by day, through bytes each evening, ends in the state and postings of one fold."""
    at_once = fold(events, terms)
    state, postings, findings = EMPTY, [], list(effective_events(events)[1])
    for of_day in by_day(events).values():
        state, rows, remarks = advance(from_bytes(to_bytes(state)), of_day, terms)
        postings += rows
        findings += remarks
    assert to_bytes(state) == to_bytes(at_once.state)
    assert state == at_once.state
    assert tuple(postings) == at_once.postings
    assert set(findings) == set(at_once.findings)
    event(f"findings: {min(len(at_once.findings), 3)}")


@given(histories(), us_terms(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(events, terms, random):
    """Events in any order, some of them twice, give the same state, postings and findings."""
    mixed = [*events, *events[:3]]
    random.shuffle(mixed)
    assert fold(mixed, terms) == fold(events, terms)


@given(histories(), us_terms())
def test_a_file_tells_the_same(events, terms):
    """Written in the own format and read again, a history has the same events and the same books.

    Rows that the reader refuses as a whole, such as those before an account's opening, are left out on both sides.
    """
    told = [each for each in events if each.account and _content_defect(each) is None]
    file = read_own_format(write_own_format(told))
    refused = {finding.row for finding in file.findings if finding.refused}
    assert file.rows == len(told)
    assert len(file.events) == len(told) - len(refused)
    kept = {each.key for each in file.events}
    assert {each.key: each for each in file.events} == {each.key: each for each in told if each.key in kept}
    assert fold(file.events, terms) == fold([each for each in told if each.key in kept], terms)
    event(f"rows refused: {min(len(refused), 3)}")


def _content_defect(each):
    return check_event(each.replacement) if isinstance(each, Correction) else check_event(each)


@given(histories(), us_terms())
def test_refused_events_leave_no_trace(events, terms):
    """Without the events that were refused the result is the same.

    But for one thing: a day with nothing but a refused event is a day, which tells that a Canadian window has closed.
    """
    folded = fold(events, terms)
    refused = {found.event for found in folded.findings if found.refused}
    if any(isinstance(each, Correction | Cancellation) for each in events):
        return
    again = fold([each for each in events if each.key not in refused], terms)
    assert (again.state.lots, again.state.cash) == (folded.state.lots, folded.state.cash)
    final = PostingKind.LOSS_FINAL
    assert [row for row in again.postings if row.kind is not final] == [
        row for row in folded.postings if row.kind is not final
    ]


@given(histories(most=8), us_terms(), st.randoms(use_true_random=False))
def test_late_events_end_in_the_same_books(events, terms, random):
    """Every event arrives late, in random order, and is refolded: state and postings are those of one fold."""
    at_once = fold(events, terms)
    arrivals = list({each.key: each for each in events}.values())
    random.shuffle(arrivals)
    # A correction is told after what it corrects.
    arrivals.sort(key=lambda each: isinstance(each, Correction | Cancellation))
    known, stored, states = {}, {}, {None: EMPTY}
    for arrival in arrivals:
        counting = {each.key: each for each in effective_events(known.values())[0]}
        first = first_day_touched(arrival, known | counting)
        known[arrival.key] = arrival
        day = max((each for each in states if each is not None and each < first), default=None)
        old = {number: row for number, row in stored.items() if day is None or row.day > day}
        told = events_after(known.values(), day)
        found = refold(states[day], told, old, terms, correction_id=arrival.event_id, reason="late")
        for row in (*found.reversals, *found.postings):
            stored[len(stored) + 1] = row
        states = {each: state for each, state in states.items() if each is None or each <= (day or each)}
        if day is None:
            states = {None: EMPTY}
        state = states[day]
        for each, of_day in by_day(told).items():
            states[each] = state = advance(state, of_day, terms).state
        assert found.state == state or not told
    last = max((each for each in states if each is not None), default=None)
    assert states[last] == at_once.state
    assert sums_of(stored.values()) == sums_of_state(at_once.state)
    left = Counter(replace(row, correction_id="") for row in effective_postings(stored).values())
    assert left == Counter(at_once.postings)
    assert refold(EMPTY, events, stored, terms).is_empty
    event(f"stored: {min(len(stored) // 10, 5)}0")
