"""Replays, comparisons and explanations of a little fleet, by the commands a person uses."""

import csv
import gzip
import json
import re
from datetime import date

import pytest
from sqlalchemy.exc import IntegrityError

from prometheus.db.database import Database
from prometheus.db.repositories.runs import load_run
from prometheus.decision.code_version import code_version
from tests.conftest import clone_of
from tests.integration.audited_fleet import DAYS, RUNS, as_superuser
from tests.integration.commands_fleet import call, copy_of


@pytest.fixture(scope="module")
def original(server, audited_template):
    """URL of the fleet after three days."""
    with clone_of(server, audited_template) as url:
        yield url


@pytest.fixture
def fleet(server, original):
    """URL of a copy of the fleet to alter."""
    with copy_of(server, original) as url:
        yield url


def test_every_run_is_reproduced(original):
    """Every run of the period agrees with its record, in this process and in two others, and the summary says so."""
    for workers in (1, 2):
        done = call(original, "replay", "--from", DAYS[0], "--to", DAYS[2], "--workers", workers)
        assert done.exit_code == 0, done.stderr
        assert f"{RUNS} runs replayed: {RUNS} agree, 0 mismatches; largest weight difference 0.0e+00" in done.stdout


def test_one_run_and_one_account_are_reproduced(original):
    """A run by its label and an account by its name are replayed alone."""
    one = json.loads(call(original, "replay", "ACC-2", "RUN-002", "--format", "json").stdout)
    assert [(run["account"], run["run_seq"], run["agrees"], run["compared"]) for run in one] == [
        ("ACC-2", 2, True, "weights and trades")
    ]
    history = json.loads(call(original, "replay", "ACC-1", "--format", "json").stdout)
    assert [run["run_seq"] for run in history] == [1, 2, 3]


def test_another_solver_is_compared_by_worth(original):
    """With another back-end the answers are compared by their objectives, and the output says so."""
    done = call(original, "replay", "ACC-1", "1", "--solver", "CVXPY", "--format", "json")
    assert done.exit_code == 0, done.stdout
    (run,) = json.loads(done.stdout)
    assert (run["solver"], run["compared"], run["agrees"]) == ("CVXPY", "objective", True)
    assert abs(run["objective_difference_bps"]) < 0.5


def test_decision_that_is_not_reproduced_is_a_mismatch(server, fleet):
    """A record with other weights, trades and libraries than its inputs give ends with exit code 1 and says what."""
    run = "WHERE account_id = 'ACC-1' AND run_seq = 1"
    as_superuser(
        fleet,
        server,
        "UPDATE runs SET result = jsonb_set(result, '{target_weights,N03}', '0.5'), "
        f'library_versions = library_versions || \'{{"numpy": "1.0"}}\' {run}',
        f"UPDATE run_trades SET amount = amount + 0.01 WHERE trade_no = 1 AND run_id = (SELECT run_id FROM runs {run})",
    )
    done = call(fleet, "replay", "ACC-1")
    assert done.exit_code == 1
    assert "3 runs replayed: 2 agree, 1 mismatches" in done.stdout
    assert "the code is" not in done.stderr
    for part in ("ACC-1 RUN-001", "a target weight differs by", "not made again: ", "not recorded: ", "numpy is "):
        assert part in done.stderr


def test_replay_writes_nothing(original):
    """A replay, against the record or against today, leaves no row behind."""

    def count():
        database = Database(original)
        with database.transaction() as connection:
            found = connection.exec_driver_sql(
                "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables"
            ).scalar_one()
            rows = [
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
                for table in ("runs", "run_trades", "blobs", "risk_models", "engine_run_events", "ledger_events")
            ]
        database.close()
        return found, rows

    before = count()
    assert call(original, "replay", "ACC-1").exit_code == 0
    assert call(original, "replay", "ACC-1", "2", "--against-current").exit_code == 0
    assert count() == before


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("ACC-9",),
        ("ACC-1", "RUN-009"),
        ("ACC-1", "RUN-001", "--from", "2024-06-28"),
        ("--from", "2030-01-02"),
        ("ACC-1", "--against-current"),
        ("--file", __file__, "--from", "2024-06-28"),
        ("--file", __file__),
    ],
)
def test_misuse_of_replay_is_refused(original, arguments):
    """What cannot be replayed ends with exit code 2 and a sentence."""
    done = call(original, "replay", *arguments)
    assert done.exit_code == 2
    assert done.stderr.strip()


def test_corrected_price_and_revised_weight_are_shown(fleet, tmp_path):
    """Against today's tables a corrected price and a revised benchmark weight stand with the trades they change."""
    same = json.loads(call(fleet, "replay", "ACC-1", "1", "--against-current", "--format", "json").stdout)
    assert (same["inputs"], same["trades"], same["status"]) == ([], [], "OPTIMAL")
    database = Database(fleet)
    with database.transaction() as connection:
        before = load_run(connection, "ACC-1", 1)
    (tmp_path / "prices.csv").write_text(f"date,ticker,close\n{DAYS[0]},N03,50.0000\n")
    names = [f"N{number:02d}" for number in range(12)]
    (tmp_path / "benchmark.csv").write_text(
        "date,ticker,weight,benchmark_id\n"
        + "".join(
            f"2024-06-03,{name},{0.13 if name == 'N05' else 0.03666666 if name == 'N06' else 1 / 12:.8f},BM\n"
            for name in names
        )
    )
    assert call(fleet, "ingest", tmp_path).exit_code == 0
    done = call(fleet, "replay", "ACC-1", "RUN-001", "--against-current")
    assert done.exit_code == 0, done.stderr
    assert re.search(r"price N03: [\d.]+ -> 50\n", done.stdout)
    assert "benchmark weight N05: 8.33333300% -> 13.00000000%" in done.stdout
    assert "benchmark weight N06: 8.33333300% -> 3.66666600%" in done.stdout
    assert "benchmark weight N07" not in done.stdout
    trades = done.stdout.partition("would have changed\n")[2]
    assert re.search(r"  N05: BUY \d+ recorded, BUY \d+ from today's inputs\n", trades)
    with database.transaction() as connection:
        assert load_run(connection, "ACC-1", 1) == before
    database.close()
    assert call(fleet, "verify-audit").exit_code == 0
    assert call(fleet, "replay", "ACC-1", "1").exit_code == 0


def test_settings_and_parameters_of_today_are_shown(fleet, tmp_path):
    """A tax rate, a tag and a strategy parameter changed since the run are named with both values."""
    database = Database(fleet)
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE accounts SET st_rate = 0.4, tags = '{te:tight}' WHERE account_id = 'ACC-1'")
    database.close()
    strategy = json.loads(call(fleet, "strategy", "show").stdout)
    strategy["params"]["cost_bps"] = 7.0
    (tmp_path / "strategy.json").write_text(json.dumps(strategy))
    assert call(fleet, "strategy", "load", tmp_path / "strategy.json").exit_code == 0
    done = call(fleet, "replay", "ACC-1", "1", "--against-current")
    assert "setting rates: " in done.stdout
    assert "setting tags: none -> te:tight" in done.stdout
    assert "parameter cost_bps: 5.0 -> 7.0" in done.stdout


def test_solvers_are_compared_run_by_run(original, tmp_path):
    """Table, CSV and plot of two back-ends have every run, with status, objective, gap, weights, trades and time."""
    period = ("--from", DAYS[0], "--to", DAYS[0])
    table = tmp_path / "table.csv"
    for picture in ("plot.png", "plot.svg"):
        done = call(original, "compare-solvers", *period, "--csv", table, "--plot", tmp_path / picture)
        assert done.exit_code == 0, done.stderr
    assert "4 runs: the same trades in" in done.stdout
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["account_id"] for row in rows] == ["ACC-1", "ACC-2", "ACC-3", "ACC-4"]
    for row in rows:
        assert (row["status_a"], row["status_b"], row["error"]) == ("OPTIMAL", "OPTIMAL", "")
        assert float(row["objective_b"]) == pytest.approx(float(row["objective_a"]), abs=0.5)
        assert float(row["seconds_a"]) > 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()


def test_comparison_that_cannot_be_made_is_refused(original, tmp_path):
    """A back-end that is not here, and a file of another kind, end with exit code 2 before any work."""
    period = ("--from", DAYS[0], "--to", DAYS[0])
    assert call(original, "compare-solvers", *period, "--b", "CUOPT").exit_code == 2
    assert call(original, "compare-solvers", *period, "--plot", tmp_path / "plot.gif").exit_code == 2
    assert call(original, "compare-solvers", *period, "--csv", tmp_path / "none" / "t.csv").exit_code == 2


# ---------------------------------------------------------------- run files and archives


def test_exported_runs_are_replayed_without_a_database(original, tmp_path):
    """A run file, packed or not, is replayed with no database in reach, and equal runs give equal bytes."""
    plain, packed, again = (tmp_path / name for name in ("runs.jsonl", "runs.jsonl.gz", "again.jsonl.gz"))
    for path in (plain, packed, again):
        assert call(original, "audit", "export", "--from", DAYS[0], "--out", path).exit_code == 0
    assert packed.read_bytes() == again.read_bytes()
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    done = call("postgresql://nobody@127.0.0.1:1/none", "replay", "--file", packed)
    assert done.exit_code == 0, done.stderr
    assert f"{RUNS} runs replayed: {RUNS} agree" in done.stdout


def test_altered_run_file_is_a_mismatch(original, tmp_path):
    """A value changed in the file is named before anything is solved; a matrix changed is refused with its line."""
    path = tmp_path / "run.jsonl"
    assert call(original, "audit", "export", "ACC-1", "1", "--out", path).exit_code == 0
    lines = path.read_text().splitlines()
    run = json.loads(lines[-1])
    run["run"]["snapshot"]["cash"] = "1.00"
    path.write_text("\n".join([*lines[:-1], json.dumps(run)]) + "\n")
    done = call(original, "replay", "--file", path)
    assert done.exit_code == 1
    assert "ALTERED: snapshot.cash was altered." in done.stderr
    missing = [line for line in lines if '"blob"' not in line]
    path.write_text("\n".join(missing) + "\n")
    done = call(original, "replay", "--file", path)
    assert done.exit_code == 1
    assert "BLOB_MISSING" in done.stderr
    for text in (
        "",
        '{"format": "other"}\n',
        '{"format": "prometheus-runs", "version": 99}\n',
        f"{lines[0]}\nno json\n",
    ):
        path.write_text(text)
        assert call(original, "replay", "--file", path).exit_code == 2


def test_other_code_than_the_records_is_said(server, fleet):
    """Where a run was decided by other code than this, replay, verification, explanation and the run itself say so."""
    replayed = call(fleet, "replay", "ACC-2")
    assert "other code" not in replayed.stderr
    report = json.loads(call(fleet, "verify-audit", "--format", "json").stdout)
    assert report["codes"] == {code_version(): RUNS}
    shown = call(fleet, "runs", "show", "ACC-2", "1").stdout
    assert re.search(rf"decided by +code {re.escape(code_version())}\n", shown)

    as_superuser(fleet, server, "UPDATE runs SET code_version = '0.0.9' WHERE account_id = 'ACC-2' AND run_seq = 1")
    replayed = call(fleet, "replay", "ACC-2")
    assert replayed.exit_code == 0
    assert f"1 of them were decided by other code: 0.0.9; this is {code_version()}" in replayed.stderr
    checked = call(fleet, "verify-audit")
    assert checked.exit_code == 1, "the column is hashed"
    assert f"1 runs: the code is {code_version()} here, the record was decided by 0.0.9." in checked.stderr
    assert "code 0.0.9 (other code than this)" in call(fleet, "runs", "show", "ACC-2", "1").stdout
    assert "Decided by code 0.0.9." in call(fleet, "explain", "ACC-2", "1").stdout


def test_archive_leaves_hashes_behind(server, fleet, tmp_path):
    """Archived runs leave for a file that replays; their hashes stay, the chains are whole, and the act is recorded."""
    path = tmp_path / "old.jsonl.gz"
    printed = call(fleet, "audit", "anchor", "--as-of", DAYS[2]).stdout.strip()
    done = call(fleet, "audit", "archive", "--before", "2024-07-03", "--out", path, "--reason", "retention")
    assert done.exit_code == 0, done.stderr
    assert "Archive 1: 6 runs in" in done.stdout
    checked = call(fleet, "verify-audit", "--anchor", printed)
    assert checked.exit_code == 0, checked.stderr
    assert f"{RUNS} runs (6 archived: hashes only)" in checked.stdout
    assert "6 runs replayed: 6 agree" in call(fleet, "replay", "--file", path).stdout
    assert "4 runs replayed: 4 agree" in call(fleet, "replay", "--from", DAYS[0]).stdout
    listed = call(fleet, "audit", "archives").stdout
    assert "old.jsonl.gz" in listed
    assert "retention" in listed
    for command in (("runs", "show", "ACC-1", "1"), ("replay", "ACC-1", "1"), ("explain", "ACC-1", "1")):
        gone = call(fleet, *command)
        assert gone.exit_code == 2
        assert "archived" in gone.stderr
    assert call(fleet, "runs", "list").exit_code == 0
    as_superuser(
        fleet,
        server,
        "UPDATE runs SET archive_id = NULL, snapshot = '{}', params_snapshot = '{}', result = '{}'"
        " WHERE account_id = 'ACC-1' AND run_seq = 1",
    )
    assert "ARCHIVE: " in call(fleet, "verify-audit").stderr


def test_archive_that_cannot_be_made_changes_nothing(fleet, tmp_path):
    """Nothing old enough, a file that exists, and no reason end with exit code 2; no file is left."""
    path = tmp_path / "old.jsonl"
    for arguments in (("2020-01-02", "r"), ("2024-07-03", " ")):
        day, reason = arguments
        assert call(fleet, "audit", "archive", "--before", day, "--out", path, "--reason", reason).exit_code == 2
        assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    assert call(fleet, "audit", "archive", "--before", "2024-07-03", "--out", path, "--reason", "r").exit_code == 2
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET archive_id = 1, snapshot = NULL, params_snapshot = NULL, result = NULL, iterations = 0",
        "UPDATE runs SET objective = 0",
        "DELETE FROM runs",
        "DELETE FROM run_trades",
        "UPDATE run_trades SET cost = 0",
    ],
)
def test_archiving_right_serves_for_nothing_else(fleet, statement):
    """Even with the mark of an archiving set, the owner may take documents out and do nothing else."""
    mark = "SELECT set_config('prometheus.archive', 'on', true)"
    archive = (
        "INSERT INTO archives (before_date, reason, file_name, file_sha256, runs, runs_sha256)"
        " VALUES ('2024-07-01', 'r', 'f', '', 0, '')"
    )
    database = Database(fleet)
    with pytest.raises(IntegrityError, match="append-only"):
        run_together(database, mark, archive, statement)
    database.close()


def run_together(database, *statements: str):
    """Run statements in one transaction."""
    with database.transaction() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


# ---------------------------------------------------------------- explanations


def test_explanation_answers_the_three_questions(original):
    """Why this trade, which limits applied, what the risk model said: each has its section, in words and numbers."""
    done = call(original, "explain", "ACC-1", "RUN-001")
    assert done.exit_code == 0, done.stderr
    text = done.stdout
    assert text.startswith(f"# ACC-1 RUN-001 of {DAYS[0]}\n")
    assert re.search(r"- \*\*SELL \d+ N0\d .*\*\*: harvest: .*tax saved [\d.]+ bps of NAV", text)
    assert re.search(r"  - lot L\d of [\d-]+: \d+ at [\d.]+, [\d.]+ USD, long-term loss of [\d.]+, tax -", text)
    assert "shadow price" in text
    assert "## Wash-sale locks" in text
    assert re.search(r"\| tracking error \| \d+\.\d{3}% \| \d+\.\d{3}% \|", text)
    assert "Most of the active variance before: " in text


def test_lock_is_explained_by_its_trade(original):
    """A name sold at a loss on the first day is locked on the second, and the trade that did it is named."""
    first = json.loads(call(original, "explain", "ACC-1", "1", "--format", "json").stdout)
    sold = {
        trade["ticker"]: line
        for trade in first["trades"]
        for line in trade["lines"]
        if line["side"] == "SELL" and float(line["realized_gain"]) < 0
    }
    assert sold
    second = json.loads(call(original, "explain", "ACC-1", "2", "--format", "json").stdout)
    locks = {lock["subject"]: lock for lock in second["buy_locks"]}
    assert set(sold) <= set(locks)
    ticker = min(sold)
    assert re.fullmatch(rf"sold [\d.]+ {ticker} at a loss of [\d.]+ on {DAYS[0]}", locks[ticker]["cause"])
    assert locks[ticker]["until"] == date(2024, 7, 28).isoformat()
    alone = call(original, "explain", "ACC-1", "2", "--ticker", ticker)
    assert f"{ticker} may not be bought through 2024-07-28: sold" in alone.stdout


def test_parts_of_the_risk_add_up(original):
    """Tracking errors are those of the record, and their parts from factors and names add up in squares."""
    database = Database(original)
    for account_id, number in (("ACC-1", 1), ("ACC-2", 2), ("ACC-3", 1)):
        with database.transaction() as connection:
            result = load_run(connection, account_id, number)[0].result
        found = json.loads(call(original, "explain", account_id, number, "--format", "json").stdout)
        for when in ("before", "after"):
            view = found[f"risk_{when}"]
            assert view["tracking_error"] == pytest.approx(result[f"tracking_error_{when}"], abs=1e-12)
            assert view["factor"] ** 2 + view["specific"] ** 2 == pytest.approx(view["tracking_error"] ** 2)
            assert sum(name["share_of_variance"] for name in view["names"]) <= 1.5
    database.close()


def test_slopes_of_a_trade_add_to_zero(original):
    """The numbers behind each reason are the optimum's own: with the bound they add to zero."""
    found = json.loads(call(original, "explain", "ACC-1", "1", "--format", "json").stdout)
    assert len(found["trades"]) == 12
    for trade in found["trades"]:
        slopes = trade["slopes"]
        parts = [slopes[name] for name in ("active_risk", "tax", "trading_cost", "tilt", "cash", "bound")]
        assert sum(parts) + sum(slopes["limits"].values()) == pytest.approx(0.0, abs=1e-6)


def test_name_that_was_not_traded_is_explained_too(original):
    """A name without a trade is told with its weights and what applied to it; a name of no universe is refused."""
    done = call(original, "explain", "ACC-1", "3", "--ticker", "N07")
    assert done.exit_code == 0, done.stderr
    assert "N07 was not traded." in done.stdout
    assert re.search(r"N07: [\d.]+% of NAV before, [\d.]+% after; in the benchmark 8\.333%\.", done.stdout)
    refused = call(original, "explain", "ACC-1", "3", "--ticker", "ZZZ")
    assert refused.exit_code == 2
    assert "ZZZ is not among the 12 assets of RUN-003" in refused.stderr


def test_restriction_and_flag_are_told(original):
    """A name that the owner's employer bars, and a flag of the day, stand in the explanation."""
    assert "- N00 may not be bought" in call(original, "explain", "ACC-2", "1").stdout
    assert "- UNKNOWN_TAG: " in call(original, "explain", "ACC-4", "1").stdout


def test_run_without_stored_reasons_is_solved_again_for_them(server, fleet):
    """A run recorded before reasons were kept is explained with the same ones."""
    before = call(fleet, "explain", "ACC-1", "1").stdout
    as_superuser(fleet, server, "UPDATE runs SET result = result - 'explanations'")
    assert call(fleet, "explain", "ACC-1", "1").stdout == before
