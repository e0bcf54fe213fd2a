"""What a file says before a row is lost: sectors that are empty, what a bad row takes along, whose benchmark it is."""

from datetime import date

import pytest

from prometheus.db.database import driver_connection
from prometheus.ingestion.ingest import ingest_directory, ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.ingestion.reports import IngestOptions

TODAY = date(2024, 7, 1)
OPTIONS = IngestOptions(today=TODAY)
SECURITIES = "ticker,name,sector,first_date\nAAA,Alpha,Energy,\nBBB,,,\nCCC,Gamma,Energy,{date}\n"
PRICES = "date,ticker,close\n2024-06-26,AAA,10\n2024-06-26,CCC,11\n2024-06-27,AAA,10.1\n2024-06-27,CCC,11.2\n"
BENCHMARK = "date,ticker,weight\n2024-05-31,AAA,1\n2024-06-03,AAA,0.5\n2024-06-03,CCC,0.5\n"
ACTIONS = "date,ticker,type,value\n2024-06-27,CCC,dividend,1\n2024-06-27,AAA,{type},1\n"


@pytest.fixture
def folder(tmp_path):
    """A function that writes the files of a directory and returns it."""

    def write(day="", action="dividend"):
        (tmp_path / "securities.csv").write_text(SECURITIES.format(date=day))
        (tmp_path / "prices.csv").write_text(PRICES)
        (tmp_path / "benchmark.csv").write_text(BENCHMARK)
        (tmp_path / "corporate_actions.csv").write_text(ACTIONS.format(type=action))
        return tmp_path

    return write


def rows(database, statement):
    """Return the rows of a statement."""
    with database.transaction() as connection:
        return driver_connection(connection).execute(statement).fetchall()


def said(report, code):
    """Return the reasons of a report's findings under a code, and whether they are fatal."""
    return [(finding.reason, finding.fatal) for finding in report.findings if finding.code == code]


def test_an_empty_sector_is_unclassified_and_stops_nothing(database, folder):
    """Empty sector and name are remarks; the security loads as Unclassified under its ticker, and all files with it."""
    reports = ingest_directory(database, folder(), options=OPTIONS)
    assert all(report.loaded and report.findings.fatal_count == 0 for report in reports)
    assert said(reports[0], "NO_SECTOR") == [("'sector' is empty; the security counts as Unclassified.", False)]
    assert said(reports[0], "NO_NAME") == [("'name' is empty; the ticker is used instead.", False)]
    assert rows(database, "SELECT name, sector FROM securities WHERE ticker = 'BBB'") == [("BBB", "Unclassified")]


def test_a_bad_security_says_what_it_would_take_along(database, folder):
    """Before a bad security is skipped, the refusal counts the prices, actions and dates of the benchmark it costs."""
    reports = ingest_directory(database, folder("31.12.2024"), options=OPTIONS)
    assert [report.status for report in reports] == ["REFUSED", "NOT_ATTEMPTED", "NOT_ATTEMPTED", "NOT_ATTEMPTED"]
    costs = (
        "Skipped, CCC would be unknown, and with them could not load: 1 rows of actions, 2 rows of prices, 1 of 2 "
        "dates of the benchmark, each as a whole."
    )
    assert said(reports[0], "TAKES_ALONG") == [(costs, False)]
    skipping = ingest_directory(database, folder("31.12.2024"), options=IngestOptions(today=TODAY, skip_bad_rows=True))
    lost = {report.kind: report.rows_read - report.inserted for report in skipping}
    assert (lost[FileKind.ACTIONS], lost[FileKind.PRICES], lost[FileKind.BENCHMARK]) == (1, 2, 2)
    alone = ingest_file(database, folder("31.12.2024") / "securities.csv", FileKind.SECURITIES, options=OPTIONS)
    assert "every date of a benchmark that name one of them could not load" in said(alone, "TAKES_ALONG")[0][0]


def test_an_unknown_action_says_what_skipping_it_means(database, folder):
    """An action of an unknown type is refused; skipped, the books of who holds the security would be wrong."""
    reports = ingest_directory(database, folder(action="merger_note"), options=OPTIONS)
    actions = next(report for report in reports if report.kind is FileKind.ACTIONS)
    assert actions.findings.counts_by_code() == {"UNKNOWN_ACTION": 1, "TAKES_ALONG": 1}
    assert "1 action(s) of AAA would not be booked" in said(actions, "TAKES_ALONG")[0][0]
    assert [report.loaded for report in reports] == [True, False, True, True]


def test_a_bad_weight_says_which_dates_go_with_it(database, folder):
    """A date of the benchmark loads whole or not at all, and the refusal says how many rows that is."""
    path = folder() / "benchmark.csv"
    ingest_directory(database, folder(), options=OPTIONS)
    path.write_text(BENCHMARK.replace("2024-06-03,CCC,0.5", "2024-06-03,CCC,x"))
    refused = ingest_file(database, path, FileKind.BENCHMARK, options=OPTIONS)
    assert "Skipped are whole dates: 1 of 2 with 2 of 3 rows" in said(refused, "TAKES_ALONG")[0][0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BENCHMARK, "The file names no benchmark; its constituents are loaded as those of OWN."),
        (
            "date,ticker,weight,benchmark_id\n2024-05-31,AAA,1,OTHER\n2024-06-03,AAA,1,\n",
            "1 rows name no benchmark; its constituents are loaded as those of OWN.",
        ),
        ("date,ticker,weight,benchmark_id\n2024-05-31,AAA,1,OTHER\n", None),
    ],
)
def test_a_benchmark_without_id_says_under_which_it_loads(database, folder, text, says):
    """Where rows name no benchmark the load says whose constituents they become, and how to change that."""
    path = folder() / "benchmark.csv"
    ingest_file(database, folder() / "securities.csv", FileKind.SECURITIES, options=OPTIONS)
    path.write_text(text)
    options = IngestOptions(today=TODAY, benchmark_id="OWN")
    report = ingest_file(database, path, FileKind.BENCHMARK, options=options)
    assert report.loaded
    remarks = said(report, "BENCHMARK_ID_TAKEN")
    assert [reason.startswith(says) and "--benchmark-id" in reason and not fatal for reason, fatal in remarks] == (
        [] if says is None else [True]
    )
    stored = {row[0] for row in rows(database, "SELECT benchmark_id FROM benchmark_constituents")}
    assert ("OWN" in stored) is (says is not None)


def test_a_file_of_actions_without_news_counts_once_a_day(database, folder):
    """A file that was loaded on an earlier day leaves its mark today, once: nothing new is a message too."""
    path = folder() / "corporate_actions.csv"
    ingest_directory(database, folder(), options=OPTIONS)
    count = "SELECT count(*) FROM ingest_files WHERE kind = 'actions'"
    ingest_file(database, path, FileKind.ACTIONS, options=OPTIONS)
    assert rows(database, count) == [(1,)]
    with database.transaction() as connection:
        driver_connection(connection).execute("UPDATE ingest_files SET loaded_at = loaded_at - interval '3 days'")
    for _ in range(2):
        assert ingest_file(database, path, FileKind.ACTIONS, options=OPTIONS).unchanged == 2
        assert rows(database, count) == [(2,)]


def test_json_lines_load_like_any_other_file(database, folder):
    """A line of JSON is a row; one that is no object is a finding on its line, and numbers keep their text."""
    ingest_file(database, folder() / "securities.csv", FileKind.SECURITIES, options=OPTIONS)
    path = folder() / "prices.jsonl"
    path.write_text('{"date": "2024-06-26", "ticker": "AAA", "close": 10.10}\n\n[1]\n{"ticker": 1, "ticker": 2}\n{\n')
    refused = ingest_file(database, path, FileKind.PRICES, options=OPTIONS)
    assert [(finding.code, finding.line) for finding in refused.findings if finding.fatal] == [
        ("BAD_JSON", 3),
        ("BAD_JSON", 4),
        ("BAD_JSON", 5),
    ]
    loaded = ingest_file(database, path, FileKind.PRICES, options=IngestOptions(today=TODAY, skip_bad_rows=True))
    assert (loaded.rows_read, loaded.inserted, loaded.skipped) == (4, 1, 3)
    assert str(rows(database, "SELECT close FROM prices")[0][0]) == "10.10000000"
