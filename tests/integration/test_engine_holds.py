"""Days that wait for newer data, and failures that no further attempt can repair."""

import pytest

from prometheus.foundation.errors import (
    AccountingError,
    BackendUnavailableError,
    ConfigurationError,
    DatabaseError,
    InvalidProblemError,
    OversoldError,
    RiskModelError,
)
from prometheus.orchestration.advance_all import Outcome
from prometheus.orchestration.health import HealthLimits, engine_health
from prometheus.pipeline import tasks
from prometheus.pipeline.engine_config import AgeLimits
from tests.integration.engine_fleet import MONDAY, TUESDAY, change_strategy


def finding(fleet, code, limits=None):
    """Return the message of a finding of monitoring, None without it."""
    ages = HealthLimits(ages=limits or AgeLimits())
    return next((one.message for one in engine_health(fleet.database, ages) if one.code == code), None)


def held(fleet, code):
    """Advance a day that must be held under a code and named by monitoring; return the reason."""
    assert fleet.advance().outcomes == {Outcome.HELD: 1}
    assert fleet.alerts() == [("ACC-1", code)]
    assert finding(fleet, code) is not None
    (event,) = fleet.sql("SELECT details FROM engine_run_events WHERE kind = 'HOLD'")
    assert event.details["code"] == code
    return event.details["message"]


def flagged(fleet, limits, code):
    """Advance the day under wider limits: it is PERSISTED with a flag, and monitoring is content."""
    fleet.set_clock("1 hour")
    assert fleet.advance(ages=limits).outcomes == {Outcome.PERSISTED: 1}
    assert [flag[0] for flag in fleet.one("SELECT flags FROM runs")] == [code]
    assert finding(fleet, code, limits) is None


def test_an_old_benchmark_holds_the_day(fleet):
    """Constituents of long ago are not traded upon: hold, alert and finding say how old they are and what to do."""
    fleet.sql("UPDATE benchmark_constituents SET effective_date = '2022-04-29'")
    fleet.ready(account_id="ACC-1")
    assert finding(fleet, "STALE_BENCHMARK") is not None
    reason = held(fleet, "STALE_BENCHMARK")
    assert f"constituents of benchmark BM are of 2022-04-29, 787 days before {MONDAY} (the limit is 45)" in reason
    assert "prometheus ingest FILE --kind benchmark --benchmark-id BM" in reason
    assert "PROMETHEUS_BENCHMARK_MAX_AGE_DAYS" in reason
    flagged(fleet, AgeLimits(benchmark_days=0), "STALE_BENCHMARK")


def test_prices_of_the_day_before_hold_the_day(fleet):
    """A file of yesterday's closes under today's date is noticed: half of the names that stand still are too many."""
    fleet.sql(
        "UPDATE prices SET close = before.close FROM prices AS before WHERE before.security_id = prices.security_id "
        "AND prices.price_date = :day AND before.price_date = :earlier AND prices.security_id % 2 = 0",
        day=TUESDAY,
        earlier=MONDAY,
    )
    fleet.ready(TUESDAY, "ACC-1")
    assert "the file may be that of the day before" in held(fleet, "STALE_PRICES")
    flagged(fleet, AgeLimits(unchanged_prices=1), "STALE_PRICES")


def test_actions_that_come_no_more_hold_the_day(fleet):
    """Where files of corporate actions came, their silence holds the day: a split since would be missing."""
    fleet.sql(
        "INSERT INTO ingest_files (kind, file_name, sha256, rows_read, rows_inserted, rows_revised, rows_unchanged, "
        "rows_skipped, loaded_at) VALUES ('actions', 'a', '', 1, 1, 0, 0, 0, '2024-06-01')"
    )
    fleet.ready(account_id="ACC-1")
    assert "is of 2024-06-01, 23 days before" in held(fleet, "STALE_ACTIONS")
    flagged(fleet, AgeLimits(actions_days=0), "STALE_ACTIONS")


def test_old_borrow_rates_hold_what_sells_short(fleet):
    """A curve that did not update is no base for a short sale; without short sales nobody asks for it."""
    fleet.sql("INSERT INTO borrow_rates SELECT security_id, '2024-05-01', 0.01 FROM securities")
    fleet.ready(account_id="ACC-1")
    with fleet.database.transaction() as connection:
        change_strategy(connection, long_max=1.3)
    assert "newest borrow rates are of 2024-05-01" in held(fleet, "STALE_BORROW")
    with fleet.database.transaction() as connection:
        change_strategy(connection, long_max=1.0)
    fleet.set_clock("1 hour")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert finding(fleet, "STALE_BORROW") is None


def failing(monkeypatch, error):
    """Have every snapshot fail with an error."""

    def fail(*_: object):
        raise error

    monkeypatch.setattr(tasks, "build_snapshot", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("max_weight is a word"), "CONFIGURATION"),
        (InvalidProblemError("a variance is negative"), "INVALID_PROBLEM"),
        (AccountingError("cash would fall below zero"), "ACCOUNTING"),
        (OversoldError("more than the lots hold"), "OVERSOLD"),
    ],
)
def test_what_cannot_heal_ends_the_run_at_once(fleet, monkeypatch, error, code):
    """An error of the inputs fails the run at its first attempt, under its own code, with one alert."""
    failing(monkeypatch, error)
    fleet.ready(account_id="ACC-1")
    assert fleet.advance().outcomes == {Outcome.FAILED: 1}
    run = fleet.run()
    assert (run.phase, run.attempt, run.error.code, run.error.attempt) == ("FAILED", 1, code, 1)
    assert fleet.kinds().count("RETRY") == 0
    assert fleet.alerts() == [("ACC-1", "RUN_FAILED")]
    assert fleet.advance().outcomes == {}


@pytest.mark.parametrize(
    "error",
    [
        DatabaseError("read-only", code="READ_ONLY"),
        BackendUnavailableError("no device"),
        RiskModelError("x"),
        ValueError("x"),
    ],
)
def test_what_may_heal_is_tried_again(fleet, monkeypatch, error):
    """A refusal of the server, a host without a device, an exception that nobody knows: the next attempt may do."""
    failing(monkeypatch, error)
    fleet.ready(account_id="ACC-1")
    assert fleet.advance().outcomes == {Outcome.RETRY: 1}
    monkeypatch.undo()
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}


def test_the_record_names_what_compiled_the_numbers(fleet):
    """The record says with which compiler the solver's loops were made."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    versions = fleet.one("SELECT library_versions FROM runs")
    assert {"numba", "llvmlite"} <= versions.keys()
