"""``show_engine_runs``: CSV that monitoring can read whatever its values."""

import csv
import io
import json
from datetime import datetime

import pytest
from sqlalchemy import text

from prometheus.db.database import Database
from prometheus.scripts.show_engine_runs import COLUMNS
from tests.integration.commands_fleet import call, spawn

ERROR = 'first line, with a comma\r\nsecond "quoted" line\n\nthird; \'single\', tab\there, "",\n'

_ACCOUNTS = text("""
    INSERT INTO accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, st_rate,
                          lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags)
    SELECT id, id, region, 'USD', 'US', 'FIFO', 'BM', 0.3, 0.2, 0, 0, 0, false, '{}'
    FROM (VALUES ('B', 'US'), ('A', 'US'), ('Z', 'CA')) AS wanted (id, region)
""")
_RUNS = text("""
    INSERT INTO engine_runs (as_of_date, account_id, region, phase, error, attempt, code_version)
    SELECT CAST(day AS date), account, region, phase,
           CASE WHEN phase = 'FAILED' THEN jsonb_build_object('code', 'ODD', 'message', CAST(:message AS text)) END,
           attempt, 'test'
    FROM (VALUES ('2024-07-01', 'B', 'US', 'DATA_READY', 1), ('2024-06-28', 'B', 'US', 'PERSISTED', 1),
                 ('2024-06-28', 'Z', 'CA', 'FAILED', 5), ('2024-07-01', 'A', 'US', 'WAITING_FOR_DATA', 0),
                 ('2024-06-28', 'A', 'US', 'SOLVED', 2)) AS wanted (day, account, region, phase, attempt)
""")


@pytest.fixture(scope="module")
def url(cloned):
    """A database with five runs in five phases."""
    with cloned() as clone:
        database = Database(clone)
        with database.transaction() as connection:
            connection.execute(_ACCOUNTS)
            connection.execute(_RUNS, {"message": ERROR})
        database.close()
        yield clone


def printed(url, *arguments: object):
    """Return the rows of the CSV as a CSV reader sees them."""
    done = call(url, "show-engine-runs", *arguments)
    assert done.exit_code == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout_bytes.decode(), newline="")))


def keys(rows):
    """Return day and account of rows."""
    return [(row["as_of_date"], row["account_id"]) for row in rows]


def test_header_is_printed_on_an_empty_database(database_url):
    """Without a single run the CSV is its header alone, JSON an empty list, and the exit code 0."""
    done = call(database_url, "show-engine-runs")
    assert done.exit_code == 0
    assert done.stdout_bytes == (",".join(COLUMNS) + "\n").encode()
    assert json.loads(call(database_url, "show-engine-runs", "--format", "json").stdout) == []
    assert call(database_url, "show-engine-runs", "--format", "table").stdout.startswith("as_of_date")


def test_error_text_survives_a_csv_reader(url):
    """Newlines of both kinds, commas, quotes and tabs in an error come back exactly as they stand in the database."""
    (failed,) = printed(url, "--phase", "FAILED")
    assert failed["error_code"] == "ODD"
    assert failed["error_message"] == ERROR
    assert None not in failed


def test_rows_come_by_day_region_and_account(url):
    """The order is as_of_date, region, account, whatever the order in which runs were created; twice the same."""
    rows = printed(url)
    assert [(row["as_of_date"], row["region"], row["account_id"]) for row in rows] == [
        ("2024-06-28", "CA", "Z"),
        ("2024-06-28", "US", "A"),
        ("2024-06-28", "US", "B"),
        ("2024-07-01", "US", "A"),
        ("2024-07-01", "US", "B"),
    ]
    assert printed(url) == rows


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--active",), [("2024-06-28", "A"), ("2024-07-01", "A"), ("2024-07-01", "B")]),
        (("--as-of", "2024-07-01"), [("2024-07-01", "A"), ("2024-07-01", "B")]),
        (("--region", "CA"), [("2024-06-28", "Z")]),
        (("--account", "B"), [("2024-06-28", "B"), ("2024-07-01", "B")]),
        (("--phase", "SOLVED"), [("2024-06-28", "A")]),
        (("--limit", "2"), [("2024-07-01", "A"), ("2024-07-01", "B")]),
        (("--active", "--account", "A", "--limit", "1"), [("2024-07-01", "A")]),
        (("--region", "CA", "--phase", "PERSISTED"), []),
    ],
)
def test_filters_narrow_and_combine(url, arguments, expected):
    """Each filter keeps the rows it names, several keep what meets all, and the limit keeps the latest days."""
    assert keys(printed(url, *arguments)) == expected


def test_more_rows_than_the_limit_are_said(url):
    """Where the limit leaves rows out standard error says so, and standard output stays the rows alone."""
    cut = call(url, "show-engine-runs", "--limit", 2)
    assert cut.stderr == ("Only the newest 2 runs are shown, there are more: --limit 20 shows up to that many.\n")
    assert len(list(csv.DictReader(io.StringIO(cut.stdout, newline="")))) == 2
    assert call(url, "show-engine-runs", "--limit", 5).stderr == ""


@pytest.mark.parametrize("arguments", [("--phase", "failed"), ("--region", "ca")])
def test_words_are_understood_in_any_case(url, arguments):
    """Phases and regions may be typed in lower case."""
    assert keys(printed(url, *arguments)) == [("2024-06-28", "Z")]


def test_times_are_iso_with_an_offset_and_nothing_is_empty_text(url):
    """Times carry their offset from UTC, and what is not there is an empty field."""
    row = printed(url, "--account", "B", "--as-of", "2024-07-01")[0]
    assert datetime.fromisoformat(row["created_at"]).utcoffset() is not None
    assert row["phase_completed_at"] == row["owner_instance"] == row["error_code"] == ""
    assert row["attempt"] == "1"


def test_times_do_not_depend_on_the_time_zone(url):
    """The same instants are printed in UTC whatever time zone the client asks the server for."""
    elsewhere = call(url, "show-engine-runs", PGTZ="Asia/Kolkata").stdout
    assert elsewhere == call(url, "show-engine-runs").stdout
    assert "+05:30" not in elsewhere


def test_json_has_the_columns_of_the_csv(url):
    """JSON rows have the CSV's columns and values, null where the CSV is empty."""
    rows = json.loads(call(url, "show-engine-runs", "--format", "json").stdout)
    assert [list(row) for row in rows] == [list(COLUMNS)] * 5
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows] == printed(url)


def test_table_has_a_line_for_each_run(url):
    """The table has a header and shows phase and error code of each run."""
    lines = call(url, "show-engine-runs", "--format", "table", "--active").stdout.splitlines()
    assert lines[0].split()[:4] == ["as_of_date", "region", "account_id", "phase"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["2024-06-28", "US", "A", "SOLVED"],
        ["2024-07-01", "US", "A", "WAITING_FOR_DATA"],
        ["2024-07-01", "US", "B", "DATA_READY"],
    ]


def test_table_keeps_an_error_on_the_lines_of_its_run(url):
    """An error of several lines stays in its row: every run begins on a line of its own, and nothing is cut."""
    lines = call(url, "show-engine-runs", "--format", "table", "--as-of", "2024-06-28").stdout.splitlines()
    assert sum(line.startswith("2024-06-28") for line in lines) == 3
    assert any("first line, with a comma" in line for line in lines)
    assert any('second "quoted" line' in line for line in lines)


def test_module_runs_as_a_program(url):
    """``python -m prometheus.scripts.show_engine_runs`` prints what the command does."""
    done = spawn(url, "prometheus.scripts.show_engine_runs", "--active")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == call(url, "show-engine-runs", "--active").stdout.splitlines()


@pytest.mark.parametrize(
    "arguments", [("--limit", "0"), ("--phase", "LOST"), ("--as-of", "28.06.2024"), ("--format", "xml")]
)
def test_wrong_option_is_a_usage_error(arguments):
    """A value that an option does not take ends with exit code 2 before any database is opened."""
    done = call("postgresql+psycopg://nobody@127.0.0.1:1/none", "show-engine-runs", *arguments)
    assert done.exit_code == 2
    assert "Invalid value" in done.stderr
    assert done.stdout == ""


def test_database_that_is_gone_is_one_sentence():
    """Without a server the exit code is 1, with one sentence on standard error and no header that looks like data."""
    done = call("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2", "show-engine-runs")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.rstrip().endswith("[DATABASE_UNAVAILABLE]")
