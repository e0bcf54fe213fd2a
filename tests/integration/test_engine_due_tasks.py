"""Recurring work: due by the trading calendar, done once by one host, tried again when it fails."""

from datetime import UTC, datetime, timedelta

import pytest

from prometheus.db.repositories.due_tasks import claim_due_task, finish_due_task, list_due_tasks
from prometheus.foundation.errors import PrometheusError
from prometheus.orchestration import due_tasks
from prometheus.orchestration.due_tasks import DUE_TASKS, DueTask, next_sweep, nightly
from tests.integration.engine_fleet import FRIDAY


def at(day, hour, minute=0):
    """Return an instant of 2024 in UTC."""
    return datetime(2024, *day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "due"),
    [
        (at((6, 27), 12), at((6, 27), 21)),
        (at((6, 28), 21), at((6, 29), 22)),
        (at((6, 29), 23), at((6, 30), 22)),
        (at((7, 3), 12), at((7, 3), 18)),
        (at((7, 3), 18), at((7, 4), 22)),
    ],
    ids=["an hour after the close", "Saturday", "Sunday", "early close", "holiday"],
)
def test_nightly_work_is_due_every_evening(after, due):
    """Nightly work is due an hour after the close, and in the evening of weekends and holidays too."""
    assert nightly(after) == due


def test_sweep_is_rarer_without_a_session():
    """The fleet is looked at every quarter of an hour on sessions and every hour on other days."""
    assert next_sweep(at((6, 28), 12)) == at((6, 28), 12, 15)
    assert next_sweep(at((6, 29), 12)) == at((6, 29), 13)


def rows(fleet):
    """Return the rows of the due tasks by name."""
    with fleet.database.transaction() as connection:
        return {row.name: row for row in list_due_tasks(connection)}


def make_due(fleet, *names: str):
    """Let tasks be due now, and no other."""
    fleet.advance()
    fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() + interval '1 day'")
    fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() WHERE name = ANY(:names)", names=list(names))


def test_first_heartbeat_schedules_every_task(fleet):
    """Every task has a row with a due time in the future after the first tick, and none was done yet."""
    fleet.advance()
    tasks = rows(fleet)
    assert tasks.keys() == DUE_TASKS.keys()
    assert all(row.finished_at is None and row.next_due_at > datetime.now(UTC) for row in tasks.values())


def test_risk_model_is_refreshed_when_due(fleet):
    """The nightly refresh stores a model of the newest day with prices, whatever day it is, and is due again."""
    make_due(fleet, "risk-refresh")
    before = fleet.one("SELECT max(risk_model_id) FROM risk_models")
    assert not fleet.advance().needs_a_person
    row = rows(fleet)["risk-refresh"]
    assert row.result["as_of"] == FRIDAY.isoformat()
    assert fleet.one("SELECT max(risk_model_id) FROM risk_models") > before
    assert (row.attempt, row.owner_instance, row.error) == (0, None, None)
    assert row.next_due_at > datetime.now(UTC)
    again = rows(fleet)["risk-refresh"]
    fleet.advance()
    assert rows(fleet)["risk-refresh"] == again


def test_database_without_prices_has_nothing_to_refresh(fleet):
    """Where there are no prices yet the refresh says so and is no failure."""
    fleet.sql("TRUNCATE prices")
    make_due(fleet, "risk-refresh")
    assert not fleet.advance().needs_a_person
    assert "no prices" in rows(fleet)["risk-refresh"].result["skipped"]


def test_due_task_is_claimed_once(fleet):
    """Of two hosts one gets a due task; a lease that ran out is taken over, and the late report is refused."""
    make_due(fleet, "risk-refresh")
    with fleet.database.transaction() as connection:
        first = claim_due_task(connection, owner="a:1", names=["risk-refresh"], lease_seconds=60)
        assert claim_due_task(connection, owner="b:1", names=["risk-refresh"], lease_seconds=60) is None
    fleet.set_clock("61 seconds")
    with fleet.database.transaction() as connection:
        second = claim_due_task(connection, owner="b:1", names=["risk-refresh"], lease_seconds=60)
        assert (second.token, second.attempt) == (first.token + 1, 2)
        assert not finish_due_task(connection, first, due=first.now + timedelta(days=1), result={})
        assert finish_due_task(connection, second, due=second.now + timedelta(days=1), result={"done": True})
    assert rows(fleet)["risk-refresh"].result == {"done": True}


def failing(error):
    """Return a task that always fails."""

    def run(_):
        raise error

    return DueTask(nightly, run)


def test_failing_due_task_is_tried_again_and_then_put_off(fleet, monkeypatch):
    """A failing task is tried five times, then put off to its next evening with one alert; runs go on meanwhile."""
    monkeypatch.setattr(due_tasks, "DUE_TASKS", {"risk-refresh": failing(PrometheusError("no luck", code="LUCK"))})
    make_due(fleet, "risk-refresh")
    fleet.ready(account_id="ACC-1")
    for attempt in range(1, 6):
        summary = fleet.advance()
        assert summary.problems == ["risk-refresh: LUCK: no luck"]
        assert rows(fleet)["risk-refresh"].attempt == attempt % 5
        assert bool(summary.outcomes) == (attempt == 1)
    row = rows(fleet)["risk-refresh"]
    assert (row.error["code"], row.attempt) == ("LUCK", 0)
    assert row.next_due_at > datetime.now(UTC) + timedelta(seconds=1)
    assert fleet.alerts() == [(None, "DUE_TASK_FAILED")]


def test_task_that_kills_its_workers_is_given_up(fleet, monkeypatch):
    """After five attempts that left no report a task is not begun a sixth time until its next evening."""
    monkeypatch.setattr(due_tasks, "DUE_TASKS", {"risk-refresh": failing(AssertionError("begun"))})
    make_due(fleet, "risk-refresh")
    fleet.sql("UPDATE due_tasks SET attempt = 5")
    (problem,) = fleet.advance().problems
    assert "WORKER_LOST" in problem
    assert rows(fleet)["risk-refresh"].attempt == 0


def test_tasks_that_one_outage_made_late_are_one_alert(fleet):
    """After an outage of hours every recurring task is late; that is one alert, which counts them."""
    fleet.advance()
    fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() - interval '2 hours' WHERE name <> 'risk-refresh'")
    fleet.sql("UPDATE due_tasks SET next_due_at = next_due_at - interval '1 hour' WHERE name = 'monitoring-sweep'")
    fleet.advance()
    (alert,) = fleet.sql("SELECT code, message FROM alerts WHERE code = 'DUE_TASK_LATE'")
    assert alert.message == ("audit-anchor has been due for 120 minutes. 'engine_health' shows 2 more of this kind.")


def test_frozen_fleet_does_no_recurring_work(fleet):
    """While the fleet is frozen what is due waits, and follows afterwards."""
    make_due(fleet, "calendar-top-up")
    fleet.sql("UPDATE engine_flags SET frozen = true, reason = 'test'")
    fleet.advance()
    assert rows(fleet)["calendar-top-up"].finished_at is None
    fleet.sql("UPDATE engine_flags SET frozen = false")
    fleet.advance()
    assert rows(fleet)["calendar-top-up"].result["through"] == "2039-12-31"


def test_calendar_that_ends_soon_is_reported(fleet, monkeypatch):
    """Less than 400 days before the calendars end somebody is told to install a newer version."""
    monkeypatch.setattr(due_tasks, "LAST_DAY", datetime.now(UTC).date() + timedelta(days=399))
    make_due(fleet, "calendar-top-up")
    (problem,) = fleet.advance().problems
    assert "CALENDAR_ENDS" in problem


def test_sweep_alerts_once_for_each_kind(fleet):
    """The monitoring sweep raises one alert for a finding, and another only after it was gone for a time."""
    make_due(fleet, "monitoring-sweep")
    fleet.sql("UPDATE accounts SET paused = true")
    fleet.ready(account_id="ACC-1")
    fleet.sql("UPDATE engine_runs SET phase_entered_at = engine_now() - interval '3 hours'")
    for _ in range(2):
        fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() WHERE name = 'monitoring-sweep'")
        fleet.advance()
    assert fleet.alerts() == [(None, "STUCK_RUNS")]
    assert rows(fleet)["monitoring-sweep"].result == {"findings": ["STUCK_RUNS"]}
    for entered in ("engine_now()", "engine_now() - interval '3 hours'"):
        fleet.sql(f"UPDATE engine_runs SET phase_entered_at = {entered}")
        fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() WHERE name = 'monitoring-sweep'")
        fleet.advance()
    assert len(fleet.alerts()) == 2
