"""What operators do to an account and read of a run: pause, resume, recurring work, history, logs, limits."""

import json

import pytest
import structlog
from click.testing import CliRunner

from prometheus.db.database import Database, Timeouts, driver_connection
from prometheus.foundation.errors import DatabaseError, DatabaseUnavailableError
from prometheus.pipeline.advance import Outcome
from prometheus.scripts import main as prometheus
from tests.integration.embedded_processes import wait_for
from tests.integration.engine_fleet import MONDAY, TUESDAY


@pytest.fixture
def command(fleet):
    """A function that runs ``prometheus`` inside this process."""

    def run(*arguments: str, exit_code: int = 0):
        done = CliRunner().invoke(
            prometheus.main, list(arguments), env={"PROMETHEUS_DATABASE_URL": fleet.url}, catch_exceptions=False
        )
        assert done.exit_code == exit_code, done.output
        return done

    return run


def test_paused_account_is_left_out_and_says_why(fleet, command):
    """A pause holds an account's runs and is in their history; asked for twice it changes nothing."""
    fleet.ready()
    said = command("engine", "pause", "ACC-1", "--reason", "client asked").stdout
    assert said == "ACC-1 is now paused.\n"
    before = fleet.dump(events=True)
    assert command("engine", "pause", "ACC-1", "--reason", "again").stdout == "ACC-1 is already paused.\n"
    assert fleet.dump(events=True) == before
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert fleet.phases()["ACC-1", MONDAY] == "DATA_READY"
    assert "ACC-1 is paused: client asked\n" in command("engine", "status").stdout
    assert command("engine", "resume", "ACC-1").stdout == "ACC-1 is now running.\n"
    assert "ACC-1" not in command("engine", "status").stdout
    assert fleet.kinds()[-2:] == ["PAUSED", "RESUMED"]
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}


def test_pause_needs_an_account_and_a_reason(command):
    """An unknown account and an empty reason are refused with exit code 2."""
    assert "no account NOBODY" in command("engine", "pause", "NOBODY", "--reason", "x", exit_code=2).stderr
    assert "must say why" in command("engine", "pause", "ACC-1", "--reason", " ", exit_code=2).stderr


def test_recurring_work_is_shown(fleet, command):
    """The tasks are listed with their next due time and their last error."""
    fleet.advance()
    fleet.sql(
        "UPDATE due_tasks SET error = jsonb_build_object('code', 'LUCK', 'message', 'none') WHERE name = 'risk-refresh'"
    )
    shown = command("engine", "tasks").stdout
    assert [line.split()[0] for line in shown.splitlines()] == [
        "task",
        "audit-anchor",
        "calendar-top-up",
        "monitoring-sweep",
        "risk-refresh",
    ]
    assert "LUCK: none" in shown


def test_history_tells_everything_of_a_run(fleet, command):
    """The history has every event in order with token and owner, as a table and as JSON."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    told = json.loads(command("runs", "history", "ACC-1", MONDAY.isoformat(), "--format", "json").stdout)
    assert [event["kind"] for event in told] == ["CREATED", "TRANSITION", "CLAIM", *["TRANSITION"] * 3]
    assert told[-1]["to_phase"] == "PERSISTED"
    assert (told[-1]["lease_token"], told[-1]["owner_instance"]) == (1, told[2]["owner_instance"])
    table = command("runs", "history", "ACC-1", MONDAY.isoformat()).stdout.splitlines()
    assert len(table) == 1 + len(told)
    assert "NO_RUN" in command("runs", "history", "ACC-1", TUESDAY.isoformat(), exit_code=2).stderr


def test_log_lines_name_the_run(fleet):
    """Each line about a run carries its id, account, day, phase, lease token and attempt."""
    fleet.ready(account_id="ACC-1")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    with structlog.testing.capture_logs() as lines:
        fleet.advance()
    about = [line for line in lines if line["event"] in {"phase begins", "phase done", "run done"}]
    assert [line["event"] for line in about] == [*["phase begins", "phase done"] * 3, "run done"]
    assert all(
        (line["run_id"], line["account"], line["as_of"], line["lease_token"]) == (1, "ACC-1", MONDAY.isoformat(), 1)
        for line in about
    )
    assert about[-1]["phase"] == "PERSISTED"


def test_connection_keeps_its_limits(fleet):
    """A statement, a lock and an idle transaction past their limits end with a sentence of ours and write nothing."""
    # One limit at a time: on a busy server any of them might be met before the one that is meant.
    statement, lock, idle = (
        Database(fleet.url, timeouts=limits)
        for limits in (Timeouts(statement=0.2), Timeouts(lock=0.1), Timeouts(idle_in_transaction=0.2))
    )
    with pytest.raises(DatabaseError, match="timeout") as slow, statement.transaction() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(5)")
    assert slow.value.code == "TIMEOUT"
    with fleet.database.transaction() as held:
        held.exec_driver_sql("LOCK TABLE alerts")
        with pytest.raises(DatabaseUnavailableError) as blocked, lock.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO alerts (code, message, details) VALUES ('X', '', '{}')")
    assert blocked.value.code == "COLLISION"

    def dawdle():
        with idle.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO alerts (code, message, details) VALUES ('X', '', '{}')")
            pid = driver_connection(connection).info.backend_pid
            there = "SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"
            wait_for(lambda: not fleet.one(there, pid=pid), "the idle session to be ended")

    with pytest.raises(DatabaseUnavailableError):
        dawdle()
    for hurried in (statement, lock, idle):
        hurried.close()
    assert fleet.one("SELECT count(*) FROM alerts") == 0


def test_url_with_options_of_its_own_replaces_the_limits(fleet):
    """Limits said in the URL come before ours."""
    own = Database(f"{fleet.url}&options=-c%20statement_timeout%3D12345")
    with own.transaction() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "12345ms"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"
    own.close()
