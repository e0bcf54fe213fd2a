"""``prometheus today`` and ``run-daily``: the day, refusals with reasons, and advice that leads to the end."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from prometheus.db.database import Database, driver_connection
from tests.conftest import clone_of
from tests.integration.commands_fleet import AS_OF, NEXT_DAY, call, write_fleet
from tests.integration.embedded_processes import DEADLINE_SECONDS
from tests.integration.engine_fleet import change_strategy
from tests.integration.test_ingest_command import wait_for_lock

DAY = ("--as-of", AS_OF.isoformat())
#: Closes of AS_OF are those of the day before.
STAND_STILL = (
    "UPDATE prices SET close = old.close FROM prices AS old WHERE prices.price_date = '2024-06-28' "
    "AND old.price_date = '2024-06-27' AND old.security_id = prices.security_id"
)
OLD_BORROW = "DELETE FROM borrow_rates; INSERT INTO borrow_rates SELECT security_id, '2024-05-01', 0.01 FROM securities"
#: The newest action and the newest file of actions are of long ago.
OLD_ACTIONS = (
    "DELETE FROM corporate_actions; DELETE FROM ingest_files WHERE kind = 'actions'; "
    "INSERT INTO ingest_files (kind, file_name, sha256, rows_read, rows_inserted, rows_revised, rows_unchanged, "
    "rows_skipped, loaded_at) VALUES ('actions', 'a', '', 1, 1, 0, 0, 0, '2024-05-01')"
)
PROGRAMS = {"prometheus": (), "run_engine_state": ("run-engine-state",)}


@pytest.fixture
def url(server, loaded_template):
    """URL of a database with market, fleet and risk model and no runs."""
    with clone_of(server, loaded_template) as clone:
        yield clone


def sql(url, statement, **values: object):
    """Run a statement; return its rows, if it has any."""
    database = Database(url)
    try:
        with database.transaction() as connection:
            done = connection.execute(text(statement), values)
            return list(done.all()) if done.returns_rows else []
    finally:
        database.close()


def rows_of(url):
    """Return every row that a day leaves, as text."""
    tables = ("engine_runs", "engine_run_events", "runs", "run_trades", "alerts", "ledger_events", "ledger_postings")
    return {
        table: sorted(
            row.line
            for row in sql(
                url, f"SELECT (to_jsonb({table}) - 'heartbeat_at' - 'updated_at')::text AS line FROM {table}"
            )
        )
        for table in tables
    }


def daily(url, *arguments: object, day=AS_OF, **environment: str):
    """Call run-daily without further processes."""
    return call(url, "run-daily", "--as-of", day, "--workers", 0, *arguments, **environment)


def today(url, *arguments: object, day=AS_OF, **environment: str):
    """Return the report as JSON."""
    return json.loads(call(url, "today", "--as-of", day, *arguments, "--format", "json", **environment).stdout)


def follow(url, *, day=AS_OF, put=(), most=8):
    """Type what 'today' says until it says that nothing is left to do; return what was typed."""
    typed = []
    while len(typed) < most:
        done = call(url, "today", "--as-of", day)
        if done.exit_code == 0:
            assert done.stdout.splitlines()[-1].startswith("Nothing to do: ")
            return typed
        last = done.stdout.splitlines()[-1]
        assert last.startswith("next: "), done.stdout
        typed.append(last.removeprefix("next: "))
        program, *words = shlex.split(typed[-1])
        words = [dict(put).get(word, word) for word in words]
        call(url, *PROGRAMS[program], *words, *(("--workers", 0) if words[0] == "run-daily" else ()))
    pytest.fail(f"the advice led in a circle: {typed}")


def test_advice_leads_from_an_empty_database_to_the_end(database_url, tmp_path):
    """Typing what the last line says loads, estimates and runs the day, each step once, until all is PERSISTED."""
    write_fleet(tmp_path)
    assert follow(database_url, put={"DIR": str(tmp_path)}) == [
        "prometheus ingest DIR",
        f"prometheus risk refresh --as-of {AS_OF}",
        f"prometheus run-daily --as-of {AS_OF}",
    ]
    regions = today(database_url)["regions"]
    assert [(one["region"], one["expected"], one["persisted"]) for one in regions] == [("CA", 1, 1), ("US", 3, 3)]


def test_day_in_one_command_and_again(url):
    """One call takes every region's accounts to PERSISTED; the second changes not one row and ends well, too."""
    done = daily(url)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert f"CA {AS_OF}: 1 created, 1 marked ready\nUS {AS_OF}: 3 created, 3 marked ready\n" in done.stdout
    assert "advanced 4 runs in " in done.stdout
    assert done.stdout.splitlines()[-1] == f"Nothing to do: 4 runs of {AS_OF} PERSISTED."
    (trading,) = sql(url, "SELECT count(DISTINCT run_id) AS runs FROM run_trades")
    assert (
        f"runs of {AS_OF} with orders: {trading.runs}; those still open leave with\n"
        f"  prometheus trades export --as-of {AS_OF} --output FILE\n"
    ) in done.stdout
    before = rows_of(url)
    again = daily(url)
    assert again.exit_code == 0
    assert f"US {AS_OF}: 0 created, 0 marked ready" in again.stdout
    assert rows_of(url) == before


def test_same_rows_as_by_the_separate_commands(server, loaded_template):
    """What the one command leaves is what ensure, data-ready and advance leave, but for keys, times and owners."""
    told = (
        "SELECT account_id, as_of_date, run_seq, status, snapshot->>'nav', ticker, side, lot_id, quantity, tax "
        "FROM runs JOIN run_trades USING (run_id) ORDER BY account_id, trade_no"
    )
    with clone_of(server, loaded_template) as one, clone_of(server, loaded_template) as other:
        daily(one, "--region", "us")
        call(other, "run-engine-state", *DAY, "--region", "US", "--ensure", "--data-ready", "--advance-all")
        assert sql(one, told) == sql(other, told) != []


def test_earlier_days_that_were_never_marked_ready_come_with_their_end(url):
    """A day created and left behind is told beside a later one that is done, with the command that ends it."""
    call(url, "run-engine-state", "--as-of", "2024-06-27", "--region", "US", "--ensure")
    done = daily(url, "--region", "US")
    assert done.exit_code == 0, done.stdout
    end = "run_engine_state --as-of 2024-06-27 --region REGION --cancel"
    assert (
        f"never marked ready: 2024-06-27 (3); those that nobody will trade any more end with\n  {end}\n" in done.stdout
    )
    call(url, "run-engine-state", *end.replace("REGION", "US").split()[1:])
    assert "never marked ready" not in call(url, "today", *DAY, "--region", "US").stdout


def test_forgotten_region_is_named_and_created(url):
    """After the US alone were run, the Canadian account is named as without a run, and the advice brings it about."""
    assert daily(url, "--region", "us").exit_code == 0
    shown = call(url, "today", *DAY)
    assert shown.exit_code == 1
    assert f"CA: no run of {AS_OF}: ACC-3" in shown.stdout
    assert "NO_RUN_OF_THE_DAY: 1 account(s) have no run of 2024-06-28, first ACC-3 (region CA)" in (
        call(url, "engine-health").stdout
    )
    assert follow(url) == [f"prometheus run-daily --as-of {AS_OF}"]
    assert "NO_RUN_OF_THE_DAY" not in call(url, "engine-health").stdout


def test_data_that_are_not_there_are_refused_with_reasons(url):
    """Without a price for the day, and with an old risk model, runs are created, not marked ready, and wait."""
    day = "2024-07-05"
    done = daily(url, day=day)
    assert done.exit_code == 1
    assert f"US {day}: 3 created, 0 marked ready\n  refused, the data are not ready: NO_DATA" in done.stdout
    assert "There is no price for 2024-07-05; the newest are of 2024-07-02." in done.stdout
    assert done.stdout.splitlines()[-1] == "next: prometheus ingest FILE --kind prices"
    assert {row.phase for row in sql(url, "SELECT phase FROM engine_runs")} == {"WAITING_FOR_DATA"}
    refused = json.loads(daily(url, "--format", "json", day=day).stdout)["regions"][1]["refused"]
    assert "NO_DATA" in {age["code"] for age in refused}
    assert all(age["reason"] and age["remedy"] for age in refused)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT 1", "STALE_RISK"),
        ("UPDATE benchmark_constituents SET effective_date = '2024-03-01'", "STALE_BENCHMARK"),
        (STAND_STILL, "STALE_PRICES"),
        (OLD_BORROW, "STALE_BORROW"),
        (OLD_ACTIONS, "STALE_ACTIONS"),
    ],
)
def test_each_kind_of_old_data_is_refused(url, statement, code):
    """Old risk, constituents, borrow rates or actions, and closes that stand still, each refuse the day."""
    for each in statement.split(";"):
        sql(url, each)
    if code == "STALE_BORROW":
        database = Database(url)
        with database.transaction() as connection:
            change_strategy(connection, long_max=1.3)
        database.close()
    old = {"PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS": "0.0000001"} if code == "STALE_RISK" else {}
    done = daily(url, **old)
    assert done.exit_code == 1
    assert f"refused, the data are not ready: {code}" in done.stdout
    assert {row.phase for row in sql(url, "SELECT phase FROM engine_runs")} == {"WAITING_FOR_DATA"}


def test_an_old_benchmark_of_another_region_stops_nobody(url):
    """Where the Canadian account's benchmark is old its region waits, by name, and the others are decided."""
    sql(
        url,
        "INSERT INTO benchmark_constituents (benchmark_id, effective_date, security_id, weight) "
        "SELECT 'CAD', DATE '2024-03-01', security_id, weight FROM benchmark_constituents "
        "WHERE effective_date = (SELECT max(effective_date) FROM benchmark_constituents)",
    )
    sql(url, "UPDATE accounts SET benchmark_id = 'CAD' WHERE region = 'CA'")
    done = daily(url)
    assert done.exit_code == 1
    assert "CA 2024-06-28: 1 created, 0 marked ready\n  refused, the data are not ready: STALE_BENCHMARK (CAD)\n" in (
        done.stdout
    )
    assert "US 2024-06-28: 3 created, 3 marked ready\nadvanced 3 runs in " in done.stdout
    assert done.stdout.splitlines()[-1] == "next: prometheus ingest FILE --kind benchmark --benchmark-id CAD"
    assert call(url, "today", *DAY, "--region", "US").stdout.splitlines()[-1] == (
        f"Nothing to do: 3 runs of {AS_OF} PERSISTED."
    )
    assert "CAD" not in {age["name"] for age in today(url, "--region", "US")["ages"]}
    assert [age["kind"] for age in today(url)["ages"]] == [
        *("prices", "actions", "benchmark", "benchmark", "borrow_curve", "risk_model", "calendar", "calendar")
    ]


def test_held_run_is_told_with_its_remedy_and_tried_again_once_it_is_mended(url):
    """A held run is shown with code and reason; once its data are recent enough the advice is to try again."""
    call(url, "run-engine-state", *DAY, "--account", "ACC-4", "--ensure", "--data-ready")
    call(url, "run-engine-state", "--advance-all", "--workers", 0, PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS="0.0000001")
    old = today(url, PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS="0.0000001")
    (held,) = old["regions"][1]["held"]
    assert (held["account_id"], held["code"], held["mended"]) == ("ACC-4", "STALE_RISK", False)
    assert held["remedy"] == f"prometheus risk refresh --as-of {AS_OF}"
    assert old["next"]["command"] == f"prometheus risk refresh --as-of {AS_OF}"
    assert today(url)["regions"][1]["held"][0]["mended"]
    assert follow(url) == [f"prometheus run-daily --as-of {AS_OF}"]


def test_failed_run_is_reset_once_and_not_again(url):
    """A failed run's advice is a reset; where it fails the same way after it, nothing is offered, and that is said."""
    fail = (
        "UPDATE engine_runs SET phase = 'FAILED', owner_instance = NULL, error = jsonb_build_object('code', "
        "'EXCEPTION', 'message', 'KeyError', 'previous_phase', 'DATA_READY') WHERE account_id = 'ACC-4'"
    )
    call(url, "run-engine-state", *DAY, "--region", "US", "--ensure", "--data-ready")
    sql(url, fail)
    reset = f'run_engine_state --as-of {AS_OF} --account ACC-4 --reset --reason "WHY"'
    assert today(url)["next"]["command"] == reset
    call(url, "run-engine-state", *DAY, "--account", "ACC-4", "--reset", "--reason", "tried")
    sql(url, fail)
    daily(url)
    report = today(url)
    assert report["next"]["command"] is None
    assert not report["next"]["done"]
    assert "A reset did not help ACC-4" in report["next"]["sentence"]


def test_paused_account_is_named_and_stops_nobody(url):
    """A paused account is counted apart with its reason; the others' day ends, and health names the pause."""
    call(url, "engine", "pause", "ACC-4", "--reason", "the client asked")
    done = daily(url)
    assert done.exit_code == 0
    assert "paused: ACC-4 of 2024-06-28: the client asked" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Nothing to do: 3 runs of {AS_OF} PERSISTED, 1 paused."
    assert "PAUSED_ACCOUNTS: 1 account(s) are paused and not rebalanced, first ACC-4: the client asked." in (
        call(url, "engine-health").stdout
    )


def test_day_after_a_day_without_fills_is_held_until_its_orders_are_settled(url):
    """The second day is held with its code and a command; once the orders are settled the advice is to try again."""
    database = Database(url)
    try:
        with database.transaction() as connection:
            change_strategy(connection, unfilled_orders="hold")
    finally:
        database.close()
    daily(url)
    assert daily(url, day=NEXT_DAY).exit_code == 1
    report = today(url, day=NEXT_DAY)
    held = [note for region in report["regions"] for note in region["held"]]
    assert {note["code"] for note in held} == {"UNSETTLED_ORDERS"}
    assert report["next"]["command"] == "prometheus ingest FILE --kind executions"
    call(url, "trades", "settle", "--as-of", AS_OF, "--expired", "--reason", "no fills")
    assert follow(url, day=NEXT_DAY) == [f"prometheus run-daily --as-of {NEXT_DAY}"]


def test_unfilled_orders_of_the_day_before_are_told(server, traded_template):
    """The next day counts the orders of each account's run before that nobody has filled."""
    with clone_of(server, traded_template) as url:
        report = today(url, day=NEXT_DAY)
        assert {order["as_of_date"] for order in report["orders"]} <= {AS_OF.isoformat()}
        assert "ACC-3" in {order["account_id"] for order in report["orders"]}
        assert "unfilled orders of earlier days: " in call(url, "today", "--as-of", NEXT_DAY).stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--as-of", "2024-06-29"), "NOT_A_SESSION"),
        (("--as-of", "2024-07-01", "--region", "CA"), "NOT_A_SESSION"),
        (("--region", "MOON"), "UNKNOWN_ACCOUNT"),
        (("--as-of", "2039-06-01"), "SESSION_OPEN"),
    ],
)
def test_request_that_cannot_be_met_writes_nothing(url, arguments, code):
    """A weekend, a region's holiday, an unknown region and a session that has not closed end with exit code 2."""
    done = call(url, "run-daily", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"[{code}]" in done.stderr
    assert sql(url, "SELECT 1 FROM engine_runs") == []


def test_region_on_holiday_is_passed_over(url):
    """Where no region is named, one whose exchange is closed has nothing to expect, and the others go on."""
    report = json.loads(call(url, "today", "--as-of", "2024-07-01", "--format", "json").stdout)
    assert [(one["region"], one["session"], one["expected"]) for one in report["regions"]] == [
        ("CA", False, 0),
        ("US", True, 3),
    ]


def test_without_accounts_nothing_is_run(database_url):
    """An empty database has no day to run, and says what to load."""
    done = call(database_url, "run-daily")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "prometheus ingest DIR" in done.stderr


def test_frozen_fleet_is_said_first(url):
    """While the fleet is frozen the last line is how it goes on, and following it ends the day."""
    call(url, "engine", "freeze", "--reason", "bad feed")
    done = daily(url)
    assert done.exit_code == 1
    assert re.search(r"^FROZEN: bad feed \(since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ\)$", done.stdout, re.MULTILINE)
    assert follow(url) == ["prometheus engine unfreeze", f"prometheus run-daily --as-of {AS_OF}"]


def test_ctrl_c_ends_with_130_a_sentence_and_nothing_written(url, server):
    """Interrupted while it waits for a lock the command ends with exit code 130 and one sentence; no run is there."""
    database = Database(url)
    with database.transaction() as connection:
        driver_connection(connection).execute("LOCK TABLE engine_runs IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            [sys.executable, "-m", "prometheus.scripts.main", "run-daily", *DAY, "--workers", "0"],
            env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_lock(server, url)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    database.close()
    assert (process.returncode, output) == (130, "")
    assert errors.startswith("Interrupted: ")
    # Without its options it would begin another day.
    assert "The same command, with the same --as-of and --region, goes on" in errors
    assert len(errors.splitlines()) == 1
    assert sql(url, "SELECT 1 FROM engine_runs") == []
