"""``run_engine_state`` as operators and timers call it: usage, the one-line summary, exit codes."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from tests.conftest import clone_of
from tests.integration.commands_fleet import AS_OF, NAMES, NEXT_DAY, call, spawn

NO_SERVER = "postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2"
DAY = ("--as-of", AS_OF.isoformat())
US_DAY = (*DAY, "--region", "US")


@pytest.fixture
def url(server, loaded_template):
    """URL of a database with market, fleet and risk model and no runs."""
    with clone_of(server, loaded_template) as clone:
        yield clone


def state(url, *arguments: object, **environment: str):
    """Call the command."""
    return call(url, "run-engine-state", *arguments, **environment)


def phases(url):
    """Return phase and error code of every run by account."""
    rows = csv.DictReader(io.StringIO(call(url, "show-engine-runs").stdout, newline=""))
    return {row["account_id"]: (row["phase"], row["error_code"]) for row in rows}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Say what to do"),
        (DAY, "Say what to do"),
        (("--ensure",), "need --as-of and --region or --account"),
        (("--ensure", *DAY), "need --as-of and --region or --account"),
        (("--data-ready", "--region", "US"), "need --as-of and --region or --account"),
        (("--ensure", *US_DAY, "--account", "ACC-1"), "need --as-of and --region or --account"),
        (("--cancel", "--account", "ACC-1"), "need --as-of and --region or --account"),
        (("--reset", *US_DAY), "--reset needs --reason"),
        (("--reset", *US_DAY, "--reason", "  "), "--reset needs --reason"),
        (("--cancel", "--ensure", *US_DAY), "--cancel is used alone"),
        (("--cancel", "--advance-all", *US_DAY), "--cancel is used alone"),
        (("--cancel", "--reset", "--reason", "x", *US_DAY), "--cancel is used alone"),
        (("--advance-all", *US_DAY), "do not limit it"),
        (("--ensure", *US_DAY, "--reason", "x"), "--reason belongs to --reset and --cancel"),
        (("--ensure", *US_DAY, "--time-budget", "5"), "--time-budget limits --advance-all"),
        (("--advance-all", "--time-budget", "-1"), "Invalid value"),
        (("--ensure", "--as-of", "yesterday", "--region", "US"), "Invalid value"),
    ],
)
def test_usage_error_touches_no_database(arguments, said):
    """A request that makes no sense ends with exit code 2 and says why, though no server could be reached."""
    done = state(NO_SERVER, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Usage: " in done.stderr


def test_whole_day_in_one_call_is_one_line(url):
    """Ensure, data-ready and advance in one call end with exit code 0 and a summary of one line."""
    done = state(url, *US_DAY, "--ensure", "--data-ready", "--advance-all")
    assert done.exit_code == 0
    assert re.fullmatch(
        r"run_engine_state: 3 created, 3 marked ready, 3 in scope; advanced 3 runs in [\d.]+ s: 3 persisted; "
        r"delivered \d messages\n",
        done.stdout.lower(),
    )
    assert phases(url) == dict.fromkeys(("ACC-1", "ACC-2", "ACC-4"), ("PERSISTED", ""))


def test_every_action_may_be_repeated(url):
    """The second call finds nothing to create, mark or advance, and says so with exit code 0."""
    for _ in range(2):
        done = state(url, *DAY, "--account", "ACC-4", "--ensure", "--data-ready", "--advance-all")
        assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("run_engine_state: 0 created, 0 marked ready, 1 in scope; advanced 0 runs in ")
    assert done.stdout.endswith("s, nothing to do\n")


def test_cancel_and_reset_say_what_became_of_each_run(url):
    """Cancelling ends the runs, again reports them as FAILED; resetting re-opens them, again leaves them alone."""
    state(url, *US_DAY, "--ensure")
    assert state(url, *US_DAY, "--cancel", "--reason", "halt").stdout == "run_engine_state: cancel: 3 CANCELLED\n"
    assert phases(url)["ACC-1"] == ("FAILED", "CANCELLED")
    assert state(url, *US_DAY, "--cancel").stdout == "run_engine_state: cancel: 3 FAILED\n"
    again = state(url, *US_DAY, "--reset", "--reason", "go on")
    assert (again.exit_code, again.stdout) == (0, "run_engine_state: reset: 3 WAITING_FOR_DATA\n")
    idle = state(url, *US_DAY, "--reset", "--reason", "go on")
    assert (idle.exit_code, idle.stdout) == (0, "run_engine_state: reset: 3 UNCHANGED\n")
    assert "3 run(s) of 2024-06-28 stay as they are: only FAILED runs are re-opened." in idle.stderr
    assert phases(url)["ACC-1"] == ("WAITING_FOR_DATA", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--ensure", "--as-of", "2024-06-29", "--region", "US"), "NOT_A_SESSION"),
        (("--ensure", "--as-of", "2024-06-28", "--account", "ACC-9"), "UNKNOWN_ACCOUNT"),
        (("--ensure", "--as-of", "2024-06-28", "--region", "MOON"), "UNKNOWN_ACCOUNT"),
        (("--ensure", "--data-ready", "--as-of", "2025-03-03", "--region", "US"), "NO_DATA"),
        (("--data-ready", "--as-of", "2024-06-28", "--region", "US"), "NO_RUN"),
    ],
)
def test_request_that_cannot_be_met_writes_nothing(url, arguments, code):
    """A weekend, an unknown account, a day without data and a run that is not there: exit code 2, nothing written."""
    done = state(url, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.fullmatch(rf"error: .+ \[{code}\]\n", done.stderr)
    assert phases(url) == {}


def test_day_that_was_overtaken_is_said_and_stays_failed(url):
    """Once a later day was traded the earlier one ends as SUPERSEDED, and a reset says that it cannot be helped."""
    account = ("--account", "ACC-4")
    state(url, *DAY, *account, "--ensure")
    state(url, "--as-of", NEXT_DAY, *account, "--ensure", "--data-ready", "--advance-all")
    late = state(url, *DAY, *account, "--data-ready")
    assert late.exit_code == 0
    assert late.stdout.rstrip().endswith("1 ended as SUPERSEDED because a later day was already worked on: ACC-4")
    again = state(url, *DAY, *account, "--reset", "--reason", "try")
    assert again.exit_code == 1
    assert again.stdout == "run_engine_state: reset: 1 SUPERSEDED\n"
    assert "can no longer be traded" in again.stderr


def test_day_without_an_answer_is_persisted_and_shown(url, tmp_path):
    """A day that no trade list can satisfy is PERSISTED as NON_OPTIMAL; list and show say why and trade nothing."""
    strategy = json.loads(call(url, "strategy", "show").stdout)
    strategy["params"] |= {"cash_min": 0.9, "cash_max": 0.95, "no_sell": list(NAMES)}
    (tmp_path / "strategy.json").write_text(json.dumps(strategy))
    assert call(url, "strategy", "load", tmp_path / "strategy.json").exit_code == 0
    done = state(url, *DAY, "--account", "ACC-1", "--ensure", "--data-ready", "--advance-all")
    assert "1 PERSISTED" in done.stdout
    (row,) = json.loads(call(url, "runs", "list", "--format", "json").stdout)
    assert (row["status"], row["trades"], row["gap_bps"]) == ("NON_OPTIMAL", 0, None)
    assert "NON_OPTIMAL" in call(url, "runs", "list").stdout
    shown = call(url, "runs", "show", "ACC-1", "1").stdout
    assert re.search(r"^attempt failed +INFEASIBLE: .+", shown, re.MULTILINE)
    assert "proof" not in shown
    assert shown.rstrip().splitlines()[-1] == "No trades."
    report = call(url, "today", "--as-of", "2024-06-28").stdout
    assert "US: NON_OPTIMAL, previous targets kept, nothing traded: ACC-1\n  prometheus runs show ACC-1 RUN-001\n" in (
        report
    )


def test_run_that_waits_for_a_person_is_exit_code_one(url):
    """A held run is named with its reason on standard error, and the exit code calls for somebody."""
    state(url, *DAY, "--account", "ACC-4", "--ensure", "--data-ready")
    done = state(url, "--advance-all", PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS="0.0000001")
    assert done.exit_code == 1
    assert "ACC-4" in done.stderr
    assert "prometheus risk refresh" in done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert phases(url)["ACC-4"][0] == "DATA_READY"


def test_frozen_engine_says_so_and_does_nothing(url):
    """While the environment freezes this process nothing advances, and the summary names the reason."""
    state(url, *DAY, "--account", "ACC-4", "--ensure", "--data-ready")
    done = state(url, "--advance-all", RUNNER_FLAG_FROZEN="true")
    assert done.exit_code == 0
    assert "the engine is FROZEN" in done.stdout
    assert phases(url)["ACC-4"][0] == "DATA_READY"


def test_no_time_left_means_nothing_is_claimed(url):
    """With a time budget of nothing the tick claims no run, says what waits for time, and still ends well."""
    state(url, *DAY, "--account", "ACC-4", "--ensure", "--data-ready")
    done = state(url, "--advance-all", "--time-budget", 0)
    assert done.exit_code == 0
    assert "nothing to do" not in done.stdout
    assert "1 waits: 1 for time (the budget of 0 s was spent)" in done.stdout
    assert phases(url)["ACC-4"][0] == "DATA_READY"


def test_what_waits_is_said_with_its_reason(url):
    """A tick that takes nothing names what waits: a paused account with its reason, a day not marked ready."""
    state(url, *DAY, "--account", "ACC-4", "--ensure", "--data-ready")
    state(url, *DAY, "--account", "ACC-1", "--ensure")
    call(url, "engine", "pause", "ACC-4", "--reason", "the client asked")
    done = state(url, "--advance-all")
    assert done.exit_code == 0
    assert "2 wait: 1 paused (ACC-4: the client asked), 1 for data (--data-ready)" in done.stdout
    call(url, "engine", "resume", "ACC-4")
    held = state(url, "--advance-all", PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS="0.0000001")
    assert held.exit_code == 1
    assert "2 wait: 1 held (STALE_RISK), 1 for data" in held.stdout


def test_region_is_understood_in_any_case(url):
    """--region us is the region US; a region that is none is said to be none, with those there are."""
    assert state(url, *DAY, "--region", "us", "--ensure").stdout == (
        "run_engine_state: 3 created, 0 marked ready, 3 in scope\n"
    )
    unknown = state(url, *DAY, "--region", "moon", "--ensure")
    assert "There is no region MOON; known are US, CA." in unknown.stderr


def test_database_gone_is_exit_code_one_and_one_sentence():
    """Without a server the tick ends with exit code 1 and one sentence, for the next one to try again."""
    done = state(NO_SERVER, "--advance-all")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]+ \[DATABASE_UNAVAILABLE\]\n", done.stderr)


def test_unusable_setting_is_named():
    """A setting that cannot be read ends with exit code 2 and its name, before anything else is tried."""
    done = state(NO_SERVER, "--advance-all", MAX_ACTIVE_RUNS_PER_ACCOUNT="many")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: MAX_ACTIVE_RUNS_PER_ACCOUNT='many'")


def test_module_runs_as_a_program_silently_but_for_its_line(url):
    """``python -m prometheus.scripts.run_engine_state`` in a pipe prints its summary, no progress and nothing else."""
    done = spawn(url, "prometheus.scripts.run_engine_state", *DAY, "--account", "ACC-4", "--ensure", "--data-ready")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "run_engine_state: 1 created, 1 marked ready, 1 in scope\n"
    bare = spawn(url, "prometheus.scripts.run_engine_state")
    assert bare.returncode == 2
    assert bare.stderr.startswith("Usage: run_engine_state [OPTIONS]")


def test_progress_is_seen_on_a_terminal(url):
    """On a terminal's standard error the tick shows a bar, and standard output stays the one line."""
    state(url, *DAY, "--account", "ACC-4", "--ensure", "--data-ready")
    leader, follower = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "prometheus.scripts.run_engine_state", "--advance-all"],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": url, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
    )
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 4096):
            seen += piece
    except OSError:
        pass  # the terminal's other side was closed: all is read
    os.close(leader)
    output, _ = done.communicate(timeout=400)
    assert done.returncode == 0
    assert b"advancing runs" in seen
    assert output.startswith("run_engine_state: advanced 1 runs in ")
    assert len(output.splitlines()) == 1
