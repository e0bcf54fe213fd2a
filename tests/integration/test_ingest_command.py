"""``prometheus ingest`` as a person calls it: options, output, exit codes, interruption."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import psycopg
import pytest

from prometheus.db.database import driver_connection
from tests.conftest import REPOSITORY
from tests.integration.commands_fleet import call
from tests.integration.embedded_processes import DEADLINE_SECONDS, wait_for

SECURITIES = "ticker,name,sector\nAAA,A,Energy\nBBB,B,Energy\n"
PRICES = "date,ticker,close\n2024-06-26,AAA,10\n2024-06-27,AAA,10.1\n"


@pytest.fixture
def folder(tmp_path):
    """A directory with securities, prices and a file that is not needed."""
    (tmp_path / "securities.csv").write_text(SECURITIES)
    (tmp_path / "prices.csv").write_text(PRICES)
    (tmp_path / "index_membership.csv").write_text("ticker,start_date,end_date,has_price\n")
    return tmp_path


def start(database_url, *arguments: object):
    """Start the command on a database, as a process of its own."""
    environment = {**os.environ, "PROMETHEUS_DATABASE_URL": database_url}
    # a test runner's own width must not decide how tables are cut
    environment.pop("COLUMNS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "prometheus.scripts.main", "ingest", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(database_url, *arguments: object):
    """Run the command inside this process and return its exit code, output and errors."""
    done = call(database_url, "ingest", *arguments, COLUMNS=None)
    return done.exit_code, done.stdout, done.stderr


def test_example_of_the_page_loads(database_url, tmp_path):
    """The files that docs/specs/ingestion.md shows load as they stand there, without an error."""
    page = (REPOSITORY / "docs" / "specs" / "ingestion.md").read_text(encoding="utf-8")
    files = re.findall(r"^`(\w+\.csv)`\n\n```csv\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    assert len(files) == 6
    for name, content in files:
        (tmp_path / name).write_text(content)
    code, output, errors = run(database_url, tmp_path)
    assert code == 0, output + errors
    assert "6 files: 6 loaded" in output
    assert "remark" not in output.split("\n", 1)[1]


def test_a_misnamed_column_is_named(database_url, tmp_path):
    """Where a column is missing the refusal says which of those that are there it does not know."""
    (tmp_path / "prices.csv").write_text("date,ticker,closing\n2024-06-26,AAA,10\n")
    code, output, _ = run(database_url, tmp_path / "prices.csv", "--kind", "prices")
    assert code == 2
    assert "Missing from the columns: close;" in output
    assert "None of its columns: closing." in output


def test_directory_loads_and_says_what_it_did(database_url, folder):
    """A directory loads with exit code 0, a summary of every file and one line about files left alone."""
    process = start(database_url, folder)
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, errors
    assert [line.split()[:7] for line in output.splitlines()[1:3]] == [
        ["securities.csv", "LOADED", "2", "2", "0", "0", "0"],
        ["prices.csv", "LOADED", "2", "2", "0", "0", "0"],
    ]
    assert "2 files: 2 loaded" in output
    left = [line for line in errors.splitlines() if "left alone" in line.lower()]
    assert left == ["Left alone: index_membership.csv (membership is point in time in the benchmark file)."]
    assert "prices.csv: copying" in errors


def test_json_is_one_document(database_url, folder):
    """With --format json standard output is JSON and nothing else."""
    code, output, _ = run(database_url, folder, "--format", "json")
    assert code == 0
    reports = json.loads(output)
    assert [(report["kind"], report["status"], report["inserted"]) for report in reports] == [
        ("securities", "LOADED", 2),
        ("prices", "LOADED", 2),
    ]


def test_what_is_wrong_with_many_rows_is_said_once(database_url, folder, tmp_path):
    """The same error of seventy rows is one line with how many values and rows it concerns; the file has each row."""
    (folder / "prices.csv").write_text(PRICES + "".join(f"2024-06-27,Z{number},1\n" for number in range(70)))
    out = tmp_path / "findings.csv"
    code, output, _ = run(database_url, folder, "--findings-out", out)
    assert code == 2
    assert output.count("UNKNOWN_TICKER") == 2
    assert "prices.csv: UNKNOWN_TICKER 70" in output.splitlines()
    assert (
        "prices.csv: 70 tickers, 70 rows from line 4 ('Z0', 'Z1', 'Z2', ...): The ticker is not among the securities"
    ) in output
    assert "1 loaded, 1 refused" in output
    with out.open(encoding="utf-8", newline="") as handle:
        written = list(csv.DictReader(handle))
    assert len(written) == 70
    assert written[0] == {
        "file": "prices.csv",
        "line": "4",
        "column": "ticker",
        "value": "Z0",
        "code": "UNKNOWN_TICKER",
        "fatal": "true",
        "reason": "The ticker is not among the securities; load it with the securities file or correct it.",
    }


def test_a_few_bad_rows_are_named_by_line(database_url, folder):
    """The same error of up to three rows names their lines and values."""
    (folder / "prices.csv").write_text(PRICES + "2024-06-27,Z0,1\n2024-06-27,Z1,1\n")
    output = run(database_url, folder)[1]
    assert "prices.csv:4,5 ticker 'Z0', 'Z1': The ticker is not among the securities" in output


def test_dates_without_a_session_are_one_line(database_url, folder):
    """Rows of many names on a few days that are no sessions are one line: how many dates, how many rows."""
    tickers = [f"T{number}" for number in range(25)]
    (folder / "securities.csv").write_text("ticker,name,sector\n" + "".join(f"{t},{t},Energy\n" for t in tickers))
    days = [f"2024-06-{day:02d}" for day in (1, 2, 8, 9, 15, 16, 22, 23, 29, 30)]
    (folder / "prices.csv").write_text("date,ticker,close\n" + "".join(f"{d},{t},1\n" for d in days for t in tickers))
    output = run(database_url, folder)[1]
    assert output.count("NOT_A_SESSION") == 2
    assert "prices.csv: 10 dates, 250 rows from line 2 ('2024-06-01', '2024-06-02', '2024-06-08', ...): " in output


def test_errors_and_remarks_are_counted_apart(database_url, folder):
    """What stops nothing is a remark: a file that loaded has no errors in its row of the table."""
    (folder / "prices.csv").write_text(PRICES + "2024-06-27,AAA,10.1\n")
    output = run(database_url, folder)[1]
    header, _, prices = output.splitlines()[:3]
    assert header.split()[-2:] == ["errors", "remarks"]
    assert prices.split()[:2] == ["prices.csv", "LOADED"]
    assert prices.split()[-2:] == ["0", "1"]


def test_bad_rows_are_skipped_on_request(database_url, folder):
    """With --skip-bad-rows the good rows load and the exit code is 0."""
    (folder / "prices.csv").write_text(PRICES + "2024-06-27,ZZZ,1\n")
    run(database_url, folder / "securities.csv", "--kind", "securities")
    assert run(database_url, folder / "prices.csv", "--kind", "prices")[0] == 2
    code, output, _ = run(database_url, folder / "prices.csv", "--kind", "prices", "--skip-bad-rows")
    assert code == 0
    assert output.splitlines()[1].split()[:7] == ["prices.csv", "LOADED", "3", "2", "0", "0", "1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}/nowhere"], "does not exist"),
        (["{folder}/prices.csv"], "--kind"),
        (["{folder}", "--kind", "prices"], "recognised by their names"),
        (["{folder}/notes.txt", "--kind", "prices"], "must end with"),
        (["{folder}", "--findings-out", "{folder}/no/such/findings.csv"], "--findings-out"),
        (["{folder}/empty"], "holds nothing to load"),
        (["{folder}", "--benchmark-id", "S P"], "not a benchmark id"),
    ],
)
def test_request_that_cannot_be_met_exits_with_two_and_a_sentence(database_url, folder, arguments, said):
    """A wrong request ends with exit code 2 and one sentence, never a traceback."""
    (folder / "notes.txt").write_text("x")
    (folder / "empty").mkdir()
    code, output, errors = run(database_url, *(argument.format(folder=folder) for argument in arguments))
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors + output


def test_interrupt_leaves_nothing_and_no_traceback(database_url, database, server, folder):
    """Ctrl-C while the load waits in the database ends the command, and not one row of the file is there."""
    assert run(database_url, folder / "securities.csv", "--kind", "securities")[0] == 0
    with database.transaction() as connection:
        # As long as this lock is held, the load has copied its rows and cannot go on.
        driver_connection(connection).execute("LOCK TABLE ingest_files IN ACCESS EXCLUSIVE MODE")
        process = start(database_url, folder / "prices.csv", "--kind", "prices")
        wait_for_lock(server, database_url)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130
    assert "Interrupted: finished files stay loaded, nothing of the file under way is. Load again to go on." in errors
    assert "Traceback" not in errors
    assert "Aborted" not in errors
    with database.transaction() as connection:
        counted = driver_connection(connection).execute(
            "SELECT (SELECT count(*) FROM prices), (SELECT count(*) FROM ingest_files WHERE kind = 'prices')"
        )
        assert counted.fetchone() == (0, 0)


def wait_for_lock(server, database_url):
    """Return once some connection to the database waits for a lock."""
    name = database_url.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True) as admin:
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        wait_for(lambda: admin.execute(query, [name]).fetchone(), "the load to come to the lock", pause=0.05)
