"""``prometheus runs``: persisted decisions listed and shown."""

import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal

import pytest

from tests.conftest import clone_of
from tests.integration.commands_fleet import AS_OF, NEXT_DAY, call
from tests.unit.scripts_tree import command_of, leaves


@pytest.fixture(scope="module")
def url(server, traded_template):
    """A database with two days of the fleet."""
    with clone_of(server, traded_template) as clone:
        yield clone


def listed(url, *arguments: object):
    """Return the list of runs as JSON."""
    done = call(url, "runs", "list", *arguments, "--format", "json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_list_is_ordered_by_day_and_account(url):
    """Runs come by day, then account, each with its label within the account."""
    assert [(row["as_of"], row["account"], row["run"]) for row in listed(url)] == [
        ("2024-06-28", "ACC-1", "RUN-001"),
        ("2024-06-28", "ACC-2", "RUN-001"),
        ("2024-06-28", "ACC-3", "RUN-001"),
        ("2024-06-28", "ACC-4", "RUN-001"),
        ("2024-07-02", "ACC-1", "RUN-002"),
        ("2024-07-02", "ACC-2", "RUN-002"),
        ("2024-07-02", "ACC-4", "RUN-002"),
    ]


def test_list_can_be_narrowed(url):
    """An account, a day and a limit narrow the list; the limit keeps the newest."""
    assert [row["run"] for row in listed(url, "ACC-1")] == ["RUN-001", "RUN-002"]
    assert {row["as_of"] for row in listed(url, "--as-of", NEXT_DAY)} == {NEXT_DAY.isoformat()}
    assert [(row["as_of"], row["account"]) for row in listed(url, "--limit", 2)] == [
        ("2024-07-02", "ACC-2"),
        ("2024-07-02", "ACC-4"),
    ]
    assert listed(url, "--as-of", "2020-01-02") == []


def test_table_has_the_same_rows_as_the_json(url):
    """The table's lines carry the JSON's values in its column order, header first."""
    done = call(url, "runs", "list", "--as-of", AS_OF)
    header, *lines = done.stdout.splitlines()
    rows = listed(url, "--as-of", AS_OF)
    assert header.split() == list(rows[0])
    assert [line.split() for line in lines] == [[str(value) for value in row.values()] for row in rows]


def test_show_takes_a_label_or_a_number(url):
    """RUN-001, run-001 and 1 mean the same run."""
    shown = [call(url, "runs", "show", "ACC-1", label).stdout for label in ("RUN-001", "run-001", "1")]
    assert shown[0].startswith("account          ACC-1 (US, lots by HIFO)\nrun              RUN-001 of 2024-06-28")
    assert shown[1:] == shown[:1] * 2


def test_show_as_json_is_the_whole_record(url):
    """The JSON has every stored column, hashes in hexadecimal, decimals as text, and each trade with its lot."""
    record = json.loads(call(url, "runs", "show", "ACC-1", "2", "--format", "json").stdout)
    assert record["run_seq"] == 2
    assert (
        record["prev_hash"]
        == json.loads(call(url, "runs", "show", "ACC-1", "1", "--format", "json").stdout)["run_hash"]
    )
    assert [trade["trade_no"] for trade in record["trades"]] == list(range(1, len(record["trades"]) + 1))
    sales = [trade for trade in record["trades"] if trade["side"] == "SELL"]
    assert sales
    assert all(
        Decimal(sale["amount"]) - Decimal(sale["basis"]) == Decimal(sale["realized_gain"]) and sale["lot_id"]
        for sale in sales
    )
    settled = record["result"]["settlement"]
    assert sum(Decimal(sale["tax"]) for sale in sales) == Decimal(settled["tax"])


def test_show_says_how_good_the_answer_is_and_what_was_unusual(url):
    """The table names the proof without a negative zero, the locks, and every flag of the run."""
    shown = call(url, "runs", "show", "ACC-4", "2").stdout
    assert "-0.000" not in shown
    assert "bps of NAV of the best possible" in shown
    assert "flag             UNKNOWN_TAG: Tag 'strange-tag' selects no parameter override." in shown
    assert "flag             UNFILLED_TRADES: 12 order(s) of RUN-001 of 2024-06-28 are not filled, first BUY" in shown


def test_every_trade_is_explained_in_the_record_and_shown(url):
    """Each traded name is stored with its slopes, which add to zero with the bound, and shown with its sentence."""
    record = json.loads(call(url, "runs", "show", "ACC-1", "1", "--format", "json").stdout)
    explained = record["result"]["explanations"]
    assert {item["ticker"] for item in explained} == {trade["ticker"] for trade in record["trades"]} != set()
    for item in explained:
        parts = [item[name] for name in ("active_risk", "tax", "trading_cost", "tilt", "cash", "bound")]
        assert abs(sum(parts) + sum(item["limits"].values())) <= 1e-6
    table = call(url, "runs", "show", "ACC-1", "1", "--details").stdout.split("\nWhy: ", 1)[1].splitlines()
    largest = max(explained, key=lambda item: abs(item["trade"]))
    assert table[2].split()[:2] == [largest["ticker"], f"{100 * largest['trade']:+.3f}"]
    assert table[2].rstrip().endswith(largest["reason"])
    assert len(table) == 2 + len(explained)


def test_show_is_a_summary_until_details_are_asked_for(url):
    """Without --details the trades come by name and the rest is said to be there; with it every lot has its line."""
    summary = call(url, "runs", "show", "ACC-1", "1").stdout
    trades = json.loads(call(url, "runs", "show", "ACC-1", "1", "--format", "json").stdout)["trades"]
    assert f"Trades: {len(trades)} in {len({trade['ticker'] for trade in trades})} securities" in summary
    assert "Why: " not in summary
    assert "'prometheus runs show ACC-1 RUN-001 --details'" in summary
    assert len(summary.splitlines()) < 45
    details = call(url, "runs", "show", "ACC-1", "1", "--details").stdout
    (header,) = (line for line in details.splitlines() if line.startswith("no  "))
    assert header.split() == [
        "no", "side", "ticker", "lot", "acquired", "quantity", "price", "amount", "basis", "gain", "term", "tax",
    ]  # fmt: skip


def test_lists_that_are_cut_say_so(url):
    """Where --limit leaves runs out standard error says that there are more."""
    assert "Only the newest 2 runs are shown" in call(url, "runs", "list", "--limit", 2).stderr
    assert call(url, "runs", "list", "--limit", 7).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("show", "ACC-1", "9"),
            "error: Account ACC-1 has no run RUN-009. See 'prometheus runs list ACC-1'. [UNKNOWN_RUN]",
        ),
        (("show", "ACC-1", "first"), "error: 'first' is not a run label; labels look like RUN-001. [BAD_REQUEST]"),
        (("show", "ACC-9", "1"), "UNKNOWN_ACCOUNT"),
        (("list", "ACC-9"), "UNKNOWN_ACCOUNT"),
    ],
)
def test_unknown_run_or_account_is_one_sentence(url, arguments, error):
    """What is not there ends with exit code 2, one sentence with its code on standard error and no output."""
    done = call(url, "runs", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1


#: A call of each command that takes an account, for an account that there is not.
NOBODY = {
    "audit export": ("ACC-9", "RUN-001", "--out", "OUT"),
    "compare-solvers": ("--from", "2024-06-28", "--to", "2024-06-28", "--account", "ACC-9", "--b", "STRUCTURED"),
    "engine pause": ("ACC-9", "--reason", "x"),
    "engine resume": ("ACC-9",),
    "explain": ("ACC-9", "RUN-001"),
    "ledger refold": ("--account", "ACC-9", "--dry-run"),
    "ledger rebuild": ("--check", "--account", "ACC-9"),
    "ledger tax-report": ("ACC-9", "--years", "2024"),
    "replay": ("ACC-9", "RUN-001"),
    "run-engine-state": ("--as-of", "2024-06-28", "--account", "ACC-9", "--cancel"),
    "runs export": ("ACC-9", "RUN-001"),
    "runs history": ("ACC-9", "2024-06-28"),
    "runs list": ("ACC-9",),
    "runs show": ("ACC-9", "RUN-001"),
    "show-engine-runs": ("--account", "ACC-9"),
    "trades export": ("--account", "ACC-9"),
    "trades list": ("ACC-9",),
    "trades settle": ("ACC-9", "RUN-001", "--expired", "--reason", "x"),
    "verify-audit": ("--account", "ACC-9"),
}


@pytest.mark.parametrize("name", NOBODY)
def test_an_account_that_there_is_not_is_said_by_every_command(url, name, tmp_path):
    """A mistyped account is named as one that is not there, never as one without runs, orders or rows."""
    words = [str(tmp_path / "o.jsonl") if word == "OUT" else word for word in NOBODY[name]]
    done = call(url, *name.split(), *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: There is no account ACC-9.")
    assert done.stderr.rstrip().endswith("[UNKNOWN_ACCOUNT]")


def test_every_command_that_takes_an_account_is_asked_for_one_that_there_is_not():
    """The table above forgets no command."""
    takes = {
        words
        for words in leaves()
        for option in command_of(words).params
        if option.name == "account_id" or (option.name == "accounts" and option.multiple)
    }
    assert takes == set(NOBODY)


def test_a_region_that_there_is_not_is_said_and_one_without_runs_is_not(url):
    """A mistyped region is refused; a region of the exchanges without runs gives the header alone."""
    done = call(url, "show-engine-runs", "--region", "moon")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "There is no region MOON; known are US, CA." in done.stderr
    assert call(url, "show-engine-runs", "--region", "CA", "--as-of", "2019-01-02").exit_code == 0


def test_show_engine_runs_agrees_with_the_persisted_list(url):
    """Every persisted run has a finished engine run of its day, printed by show_engine_runs."""
    printed = csv.DictReader(io.StringIO(call(url, "show-engine-runs", "--phase", "PERSISTED").stdout, newline=""))
    assert sorted((row["as_of_date"], row["account_id"]) for row in printed) == sorted(
        (row["as_of"], row["account"]) for row in listed(url)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("prometheus.scripts.main", "runs", "list"),
        ("prometheus.scripts.main", "runs", "show", "ACC-1", "1", "--format", "json"),
        ("prometheus.scripts.show_engine_runs",),
    ],
)
def test_closed_pipe_is_no_failure(url, arguments):
    """When the reader goes away the command ends with exit code 0 and without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=400,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
