"""The events that count: each once, corrected and cancelled ones replaced."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from prometheus.ledger.events import Buy, Cancellation, Correction
from prometheus.ledger.facts import effective_events

BOUGHT = Buy(
    account="A", event_id="b1", trade_date=date(2024, 1, 2), ticker="X", quantity=Decimal(10), amount=Decimal(100)
)
NEWS = {"account": "A", "trade_date": date(2024, 2, 1)}


def test_an_event_told_twice_counts_once():
    """The same content under the same name does nothing."""
    assert effective_events([BOUGHT, replace(BOUGHT)]) == ([BOUGHT], [])


@pytest.mark.parametrize("turn", [1, -1])
def test_a_name_with_other_content_is_refused_whatever_the_order(turn):
    """Of two contents of one name the one that sorts first counts, and the other is a finding."""
    other = replace(BOUGHT, trade_date=date(2024, 1, 3))
    events, findings = effective_events([BOUGHT, other][::turn])
    assert (events, [found.code for found in findings]) == ([BOUGHT], ["ENTRY_ID_TWICE"])


def test_accounts_name_their_events_without_regard_to_each_other():
    """The key of an event is its account and its name."""
    other = replace(BOUGHT, account="B")
    assert effective_events([BOUGHT, other]) == ([BOUGHT, other], [])


def test_a_cancelled_event_never_happened():
    """A cancellation takes its event out and leaves nothing itself."""
    assert effective_events([Cancellation(**NEWS, event_id="c", target_id="b1"), BOUGHT]) == ([], [])


def test_a_correction_puts_another_event_in_the_place():
    """The corrected event counts, on its own day; of two corrections the one told last."""
    right = replace(BOUGHT, amount=Decimal(90), trade_date=date(2024, 1, 5))
    last = replace(BOUGHT, amount=Decimal(80))
    told = [
        Correction(**NEWS, event_id="c1", replacement=right),
        BOUGHT,
        Correction(account="A", event_id="c2", trade_date=date(2024, 3, 1), replacement=last),
    ]
    assert effective_events(told[:2]) == ([right], [])
    assert effective_events(told) == ([last], [])


@pytest.mark.parametrize(
    ("news", "code"),
    [
        (Cancellation(**NEWS, event_id="c", target_id="nobody"), "UNKNOWN_ROW"),
        (Cancellation(account="B", event_id="c", trade_date=date(2024, 2, 1), target_id="b1"), "UNKNOWN_ROW"),
        (Cancellation(account="A", event_id="c", trade_date=date(2024, 1, 1), target_id="b1"), "CORRECTED_BEFORE"),
        (Correction(**NEWS, event_id="c", replacement=replace(BOUGHT, account="B")), "OTHER_ACCOUNT"),
    ],
)
def test_corrections_that_cannot_be_are_refused(news, code):
    """A correction names an event of its account that is not later than itself; else the event stays."""
    events, findings = effective_events([BOUGHT, news])
    assert (events, [found.code for found in findings]) == ([BOUGHT], [code])


def test_corrections_that_contradict_each_other_are_refused():
    """Two cancellations, two corrections of one day, and a correction of a correction are findings."""
    cancelled = Cancellation(**NEWS, event_id="c1", target_id="b1")
    again = Cancellation(account="A", event_id="c2", trade_date=date(2024, 3, 1), target_id="b1")
    of_it = Cancellation(**NEWS, event_id="c3", target_id="c1")
    assert [found.code for found in effective_events([BOUGHT, cancelled, again])[1]] == ["REVERSED_TWICE"]
    assert [found.code for found in effective_events([BOUGHT, cancelled, of_it])[1]] == ["REVERSED_CORRECTION"]
    right = Correction(**NEWS, event_id="c4", replacement=replace(BOUGHT, amount=Decimal(90)))
    assert [found.code for found in effective_events([BOUGHT, cancelled, right])[1]] == ["CORRECTED_TWICE"]


def test_an_event_that_is_wrong_by_itself_is_left_out():
    """What the checks of single events refuse does not count."""
    events, findings = effective_events([replace(BOUGHT, quantity=Decimal(0))])
    assert (events, [found.code for found in findings]) == ([], ["NO_QUANTITY"])
