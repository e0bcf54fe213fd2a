"""What an operator does next: the table of decisions, from facts alone."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from prometheus.db.repositories.engine_health import OutboxFacts
from prometheus.db.repositories.unfinished_runs import Wait
from prometheus.orchestration.next_step import next_step
from prometheus.orchestration.today import RegionDay, RunNote, Today, newest_closed_session
from prometheus.pipeline.data_ages import DataAge

DAY = date(2024, 7, 2)
BEFORE = date(2024, 6, 28)
NOW = datetime(2024, 7, 3, 9, 0, tzinfo=UTC)
RUN_DAILY = "prometheus run-daily --as-of 2024-07-02"
DONE = RegionDay("US", DAY, expected=3, persisted=3)
MORNING = Today(
    now=NOW,
    chosen=DAY,
    frozen=None,
    frozen_here=False,
    regions=(DONE,),
    earlier=(),
    earlier_waiting={},
    cap=5,
    orders=(),
    ages=(),
    outbox=OutboxFacts(0, 0, 0.0, None),
    newest_prices=DAY,
)
OLD_PRICES = DataAge(
    "prices", "", BEFORE, 2, "sessions", 0, usable=False, code="NO_DATA",
    reason="There is no price for 2024-07-02; the newest are of 2024-06-28.",
    remedy="Load the day's prices with 'prometheus ingest FILE --kind prices'.",
)  # fmt: skip
NO_MODEL = DataAge(
    "risk_model", "", None, None, "hours", 36, usable=False, code="STALE_RISK",
    reason="There is no risk model for 2024-07-02 or before.",
    remedy="Run 'prometheus risk refresh --as-of 2024-07-02'.",
)  # fmt: skip


def region(**groups: object):
    """Return a region's day with some of its three accounts in other groups."""
    return RegionDay("US", DAY, expected=3, persisted=3 - sum(len(group) for group in groups.values()), **groups)


def note(account="A", code=None, message="Why.", **values: object):
    """Return a note about an account's run."""
    return RunNote(account, values.pop("as_of", DAY), code=code, message=message, **values)


def held(code="STALE_RISK", remedy="prometheus risk refresh --as-of 2024-07-02", **values: object):
    """Return a note about a held run."""
    return note(code=code, remedy=None if values.get("mended") else remedy, wait=Wait.HELD, **values)


TABLE = [
    ("nothing is loaded", {"regions": ()}, "prometheus ingest DIR"),
    ("all is done", {}, None),
    ("a day without orders is done", {"regions": (replace(DONE, without_orders=3),)}, None),
    ("frozen", {"frozen": "bad feed", "regions": (region(waiting=("A",)),)}, "prometheus engine unfreeze"),
    ("no run yet", {"regions": (region(not_created=("A", "B")),)}, RUN_DAILY),
    ("not marked ready", {"regions": (region(waiting=("A",)),)}, RUN_DAILY),
    (
        "no run, and no prices",
        {"regions": (region(not_created=("A",)),), "ages": (NO_MODEL, OLD_PRICES)[::-1]},
        "prometheus ingest FILE --kind prices",
    ),
    (
        "no run, and no risk model",
        {"regions": (region(not_created=("A",)),), "ages": (NO_MODEL,)},
        "prometheus risk refresh --as-of 2024-07-02",
    ),
    ("old data stop nobody who is done", {"ages": (OLD_PRICES, NO_MODEL)}, None),
    (
        "held",
        {"regions": (region(held=(held(),)),)},
        "prometheus risk refresh --as-of 2024-07-02",
    ),
    ("held, and data stored since", {"regions": (region(held=(held(mended=True),)),)}, RUN_DAILY),
    (
        "an earlier day is held and comes first",
        {"regions": (region(behind=(note(wait=Wait.BEHIND),)),), "earlier": (held(as_of=BEFORE, remedy="repair it"),)},
        "repair it",
    ),
    (
        "an earlier day is ready and comes first",
        {"regions": (region(behind=(note(wait=Wait.BEHIND),)),), "earlier": (note(wait=Wait.DUE, as_of=BEFORE),)},
        RUN_DAILY,
    ),
    ("ready", {"regions": (region(in_work=(note(wait=Wait.DUE),)),)}, RUN_DAILY),
    (
        "worked on",
        {"regions": (region(in_work=(note(wait=Wait.WORKED_ON),)),)},
        "prometheus today --as-of 2024-07-02",
    ),
    ("tried again later", {"regions": (region(retried=(note(wait=Wait.RETRY, due_at=NOW),)),)}, RUN_DAILY),
    (
        "one failed",
        {"regions": (region(failed=(note(code="EXCEPTION"),)),)},
        'run_engine_state --as-of 2024-07-02 --account A --reset --reason "WHY"',
    ),
    (
        "a region failed",
        {"regions": (region(failed=(note("A"), note("B"))),)},
        'run_engine_state --as-of 2024-07-02 --region US --reset --reason "WHY"',
    ),
    (
        "one failed anew beside one that no reset helps",
        {"regions": (region(failed=(note("A", hopeless=True), note("B"))),)},
        'run_engine_state --as-of 2024-07-02 --account B --reset --reason "WHY"',
    ),
    ("paused", {"regions": (region(paused=(note(message="asked"),)),)}, None),
    ("cancelled", {"regions": (region(ended=(note(code="CANCELLED"),)),)}, None),
    ("no session", {"regions": (replace(DONE, session=False, expected=0, persisted=0),)}, None),
    (
        "alerts given up",
        {"outbox": OutboxFacts(2, 0, 0.0, "refused")},
        'prometheus engine outbox --retry --reason "WHY"',
    ),
    ("alerts late", {"outbox": OutboxFacts(0, 2, 30.0, "refused")}, "run_engine_state --advance-all"),
    (
        "too many days never marked ready",
        {
            "regions": (region(not_created=("A",)),),
            "earlier_waiting": {date(2024, 6, day): 3 for day in (24, 25, 26, 27, 28)},
        },
        "run_engine_state --as-of 2024-06-24 --region US --cancel",
    ),
]


@pytest.mark.parametrize(("facts", "command"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_table_of_decisions(facts, command):
    """Each state of the day has its command, and only a day with nothing left to do is done."""
    step = next_step(replace(MORNING, **facts))
    assert step.command == command, step.sentence
    assert step.done == (command is None)


def test_runs_without_a_certified_answer_are_counted_in_the_end():
    """A day whose runs trade nothing for want of an answer is done, and its last line says so."""
    step = next_step(replace(MORNING, regions=(replace(DONE, without_orders=2, non_optimal=("A", "B")),)))
    assert step.done
    assert step.sentence == (
        "Nothing to do: 3 runs of 2024-07-02 PERSISTED, 2 of them NON_OPTIMAL, which trade nothing."
    )


def test_what_no_reset_helps_is_said_and_not_offered_again():
    """A run that fails the same way after its reset has no command any more, and the day is not done."""
    step = next_step(replace(MORNING, regions=(region(failed=(note(code="EXCEPTION", hopeless=True),)),)))
    assert (step.command, step.done) == (None, False)
    assert "A reset did not help A: Why." in step.sentence


def test_flag_of_the_environment_has_no_command():
    """Where the process itself is frozen the sentence names the variable."""
    step = next_step(replace(MORNING, frozen_here=True))
    assert (step.command, step.done) == (None, False)
    assert "RUNNER_FLAG_FROZEN" in step.sentence


def test_default_day_is_not_repeated_in_the_command():
    """Where no day was asked for the command names none, and old prices say which day could be asked for."""
    today = replace(MORNING, chosen=None, regions=(region(waiting=("A",)),))
    assert next_step(today).command == "prometheus run-daily"
    assert "give --as-of 2024-06-28 to each command" in next_step(replace(today, ages=(OLD_PRICES,))).sentence


def test_sentence_ends_before_the_next_begins():
    """An error without a full stop gets one."""
    step = next_step(replace(MORNING, regions=(region(failed=(note(message="KeyError: 'x'"),)),)))
    assert "KeyError: 'x'. Once the cause is repaired:" in step.sentence


@pytest.mark.parametrize(
    ("region_", "now", "day"),
    [
        ("US", datetime(2024, 7, 2, 19, 59, tzinfo=UTC), date(2024, 7, 1)),
        ("US", datetime(2024, 7, 2, 20, 0, tzinfo=UTC), date(2024, 7, 2)),
        ("US", datetime(2024, 7, 3, 17, 0, tzinfo=UTC), date(2024, 7, 3)),  # an early close
        ("US", datetime(2024, 7, 4, 23, 0, tzinfo=UTC), date(2024, 7, 3)),
        ("CA", datetime(2024, 7, 1, 23, 0, tzinfo=UTC), date(2024, 6, 28)),
        ("US", datetime(2024, 7, 7, 3, 0, tzinfo=UTC), date(2024, 7, 5)),
    ],
)
def test_newest_closed_session(region_, now, day):
    """The default day is the newest session whose close has passed, by the region's own calendar."""
    assert newest_closed_session(region_, now) == day
