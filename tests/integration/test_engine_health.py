"""Monitoring: a healthy fleet says so with exit code 0, every kind of trouble is named with exit code 1."""

import json
import subprocess
import sys
from datetime import date

import pytest
from click.testing import CliRunner

from prometheus.scripts import engine_health
from tests.integration.engine_fleet import MONDAY

TROUBLE = {
    "FROZEN": "UPDATE engine_flags SET frozen = true, reason = 'bad feed'",
    "NO_HEARTBEAT": "UPDATE engine_hosts SET last_seen_at = engine_now() - interval '16 minutes'",
    "EXPIRED_LEASES": "UPDATE engine_runs SET owner_instance = 'gone:1', lease_expires_at = engine_now()",
    "STUCK_RUNS": "UPDATE engine_runs SET phase_entered_at = engine_now() - interval '121 minutes' WHERE run_id = 1",
    "FAILURE_RATE": (
        "UPDATE engine_runs SET phase = 'FAILED', error = '{\"code\": \"X\"}', phase_completed_at = engine_now() "
        "WHERE run_id = 1"
    ),
    "STALE_RISK": (
        "CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        "'SELECT clock_timestamp() + interval ''37 hours''"
        "'; UPDATE engine_hosts SET last_seen_at = engine_now(); "
        "UPDATE engine_runs SET phase_entered_at = engine_now(); UPDATE due_tasks SET next_due_at = engine_now()"
    ),
    "ACTIONS_NOT_BOOKED": (
        "UPDATE ledger_states SET day = '2024-06-25'; "
        "INSERT INTO corporate_actions SELECT security_id, '2024-06-24', 'split', 2 FROM securities "
        "WHERE ticker = 'AAA'"
    ),
    "DUE_TASK_FAILED": (
        'UPDATE due_tasks SET error = \'{"code": "RISK_MODEL", "message": "too little data"}\' '
        "WHERE name = 'risk-refresh'"
    ),
    "DUE_TASK_LATE": (
        "UPDATE due_tasks SET next_due_at = engine_now() - interval '61 minutes' WHERE name = 'risk-refresh'"
    ),
}


@pytest.fixture
def watched(fleet):
    """A fleet with one run in work and a tick a moment ago."""
    fleet.advance()
    fleet.open_books(date(2024, 6, 3), "ACC-1")
    fleet.ready(account_id="ACC-1")
    return fleet


def asked(fleet, *arguments: str, **environment: str):
    """Run the command inside this process."""
    return CliRunner().invoke(
        engine_health.command,
        list(arguments),
        env={"PROMETHEUS_DATABASE_URL": fleet.url, **environment},
        catch_exceptions=False,
    )


def test_healthy_fleet_exits_zero(watched):
    """A fleet with a recent tick, a fresh risk model and no old run is healthy, in words and as JSON."""
    done = asked(watched)
    assert (done.exit_code, done.stdout) == (0, "healthy\n")
    assert json.loads(asked(watched, "--format", "json").stdout) == {"healthy": True, "findings": []}


@pytest.mark.parametrize("code", TROUBLE)
def test_trouble_is_named(watched, code):
    """Each kind of trouble is one finding with its code, and the exit code is 1."""
    for statement in TROUBLE[code].split(";"):
        watched.sql(statement.replace(":", r"\:"))
    done = asked(watched, "--format", "json")
    assert done.exit_code == 1
    assert [finding["code"] for finding in json.loads(done.stdout)["findings"]] == [code]
    assert asked(watched).stdout.startswith(f"{code}: ")


def test_json_is_answered_without_a_database():
    """Where the server is gone the JSON names that as its finding, with the error's code and exit code 1."""
    done = CliRunner().invoke(
        engine_health.command,
        ["--format", "json"],
        env={"PROMETHEUS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
        catch_exceptions=False,
    )
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert [finding["code"] for finding in told["findings"]] == ["DATABASE_UNAVAILABLE"]
    assert not told["healthy"]


def test_environment_that_freezes_is_a_finding(watched):
    """Where the environment of monitoring itself freezes processes, a fleet that does nothing is not called healthy."""
    done = asked(watched, RUNNER_FLAG_FROZEN="true")
    assert (done.exit_code, done.stdout.startswith("FROZEN: RUNNER_FLAG_FROZEN")) == (1, True)


def test_limits_are_settings(watched):
    """What counts as old or as too many is set by the environment or the command line."""
    watched.sql(TROUBLE["NO_HEARTBEAT"])
    assert asked(watched, PROMETHEUS_HEALTH_SILENT_MINUTES="30").exit_code == 0
    assert asked(watched, "--silent-minutes", "30").exit_code == 0
    assert asked(watched, PROMETHEUS_HEALTH_PHASE_MINUTES="0").exit_code == 2


def test_fleet_that_never_had_a_heartbeat_is_not_healthy(fleet):
    """Where no host ever called advance_all, monitoring says so."""
    assert asked(fleet).stdout.startswith("NO_HEARTBEAT: No host has ever")


def test_cancelled_runs_are_no_failures(watched):
    """A run an operator cancelled does not count as failed."""
    assert watched.invoke("--as-of", MONDAY, "--account", "ACC-1", "--cancel").exit_code == 0
    assert asked(watched).exit_code == 0


def test_command_runs_as_a_module_and_without_a_database(open_tmp):
    """Python -m prometheus.scripts.engine_health exits 1 with one sentence where the database is gone."""
    done = subprocess.run(
        [sys.executable, "-m", "prometheus.scripts.engine_health"],
        env={"PROMETHEUS_DATABASE_URL": f"postgresql:///x?host={open_tmp}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_empty_database_is_not_healthy(database_url):
    """A database without accounts, as a mistyped home gives, is a finding and not a healthy fleet."""
    done = CliRunner().invoke(
        engine_health.command, ["--format", "json"], env={"PROMETHEUS_DATABASE_URL": database_url}
    )
    assert done.exit_code == 1
    assert [one["code"] for one in json.loads(done.stdout)["findings"]] == ["EMPTY_DATABASE"]
