"""``prometheus runs export`` and ``prometheus optimize``: a persisted run leaves the database and is solved again."""

import hashlib
import json
from dataclasses import asdict
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from prometheus.db.repositories.runs import list_persisted, load_run
from prometheus.decision.problem_file.schema import RESULT_SCHEMA, schema_defects
from prometheus.decision.snapshot import Snapshot
from prometheus.foundation.canonical import to_jsonable
from prometheus.foundation.ids import run_label
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.ingestion.ingest import ingest_directory
from prometheus.ingestion.reports import IngestOptions
from prometheus.orchestration.advance_all import advance_all
from prometheus.orchestration.risk_refresh import refresh_risk_model
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.state import prepare, resolve_scope
from prometheus.scripts.main import main
from prometheus.simulation.fills import fill_day
from tests.integration.engine_fleet import change_strategy

TODAY = date(2024, 6, 27)
NAMES = ("AAA", "AAB", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH", "III", "JJJ", "KKK", "LLL", "MMM")
#: AAB is a second class of AAA outside the benchmark: sold at a loss on the first day, it locks AAA on the second.
OUTSIDE = "AAB"
ACCOUNTS = (
    "ACC-1,One,US,USD,US,HIFO,IDX,0.37,0.2,0.038,9000.10,false,",
    "ACC-2,Two,CA,CAD,CA,ACB,IDX,0.26,0.26,0,4000,false,",
    "ACC-3,Three,US,USD,US,LEAST_TAX_FIRST,IDX,0.32,0.15,0.038,1500.55,true,restrict:employer-CCC",
)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "problem_small.json"
#: A database that cannot be reached: whoever asks for it fails.
NOWHERE = {"PROMETHEUS_DATABASE_URL": "postgresql://nowhere.invalid/none"}
MONEY = {"quantity", "price", "amount", "cost", "basis", "realized_gain", "disallowed_loss", "tax"}


def write_fleet(folder, sessions):
    """Write the files of fourteen names over the sessions and of three accounts with lots old and new."""
    rng = np.random.default_rng(20240627)
    market = rng.normal(0.0003, 0.009, (len(sessions), 1))
    returns = market * rng.uniform(0.6, 1.4, len(NAMES)) + rng.normal(0, 0.014, (len(sessions), len(NAMES)))
    closes = np.round(rng.uniform(20, 180, len(NAMES)) * np.exp(np.cumsum(returns, axis=0)), 2)
    weights = rng.uniform(4, 12, len(NAMES)).round()
    weights[NAMES.index(OUTSIDE)] = 0
    steps = np.round(weights / weights.sum() * 1000)
    steps[0] += 1000 - steps.sum()

    def write(name, header, rows):
        (folder / name).write_text("\n".join((header, *rows)) + "\n")

    write(
        "securities.csv",
        "ticker,name,sector,sub_industry,group",
        [f"{t},{t},Energy,{'Coal' if i % 2 else 'Oil'},{'AAA' if t == OUTSIDE else t}" for i, t in enumerate(NAMES)],
    )
    write(
        "prices.csv",
        "date,ticker,close",
        [f"{day},{t},{closes[d, i]:.2f}" for i, t in enumerate(NAMES) for d, day in enumerate(sessions)],
    )
    write(
        "benchmark.csv",
        "benchmark_id,date,ticker,weight",
        [f"IDX,{sessions[-10]},{t},{steps[i] / 1000:.3f}" for i, t in enumerate(NAMES) if t != OUTSIDE],
    )
    write(
        "accounts.csv",
        "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
        "fractional_shares,tags",
        ACCOUNTS,
    )
    lots = []
    for number in range(1, 4):
        for i, ticker in enumerate(NAMES):
            for part in range(3):
                # The last part of every third name is a purchase of the last weeks, which may wash a loss.
                bought = (
                    -12 if part == 2 and i % 3 == number % 3 and ticker != OUTSIDE else int(rng.integers(-128, -30))
                )
                quantity = int(rng.integers(20, 90))
                cost = quantity * closes[bought, i] * (1.25 if ticker == OUTSIDE else rng.uniform(0.8, 1.25))
                lots.append(f"ACC-{number},L{number}{i:02d}{part},{ticker},{sessions[bought]},{quantity},{cost:.2f}")
    write("lots.csv", "account_id,lot_id,ticker,acquired_on,quantity,cost_basis", lots)


@pytest.fixture
def fleet(database, tmp_path):
    """Three accounts after two sessions of the real engine, the first one's trades filled."""
    sessions = TradingCalendar.for_region("US").sessions_between(TODAY - timedelta(days=200), TODAY)
    write_fleet(tmp_path, sessions)
    reports = ingest_directory(database, tmp_path, options=IngestOptions(today=TODAY))
    assert all(report.loaded for report in reports), [report.findings for report in reports]
    # Both days trade as a whole, so that the second one has locks of the first.
    with database.transaction() as connection:
        change_strategy(connection, rebalance="daily", harvest_min_share=0.0, harvest_sigma=0.0)
    config = EngineConfig(owner="test")
    for day in sessions[-2:]:
        refresh_risk_model(database, as_of=day)
        for region in ("US", "CA"):
            scope = resolve_scope(database, as_of=day, region=region, account_id=None)
            prepare(database, scope, config, ensure=True, data_ready=True)
        advance_all(database, config, database.sibling)
        fill_day(database, day)
    return database


def plain(trade):
    """Return a trade with numbers free of padding zeros, and without its place in the list."""
    return {
        name: Decimal(value).normalize() if name in MONEY and value is not None else value
        for name, value in trade.items()
        if name != "trade_no"
    }


def test_exported_run_solves_to_the_same_trades(fleet, database_url, tmp_path):
    """A run exported by the command and solved from the file alone has the run's trades, weights, locks and proof."""
    runner = CliRunner(env={"PROMETHEUS_DATABASE_URL": database_url})
    with fleet.transaction() as connection:
        stored = [load_run(connection, run.account_id, run.run_seq) for run in list_persisted(connection)]
    assert len(stored) == 6
    locked, traded = set(), 0
    for record, trades in stored:
        problem, answer = tmp_path / "problem.json", tmp_path / "result.json"
        exported = runner.invoke(
            main, ["runs", "export", record.account_id, run_label(record.run_seq), "--out", str(problem)]
        )
        assert exported.exit_code == 0, exported.output
        # No database behind this one: the file is all there is.
        alone = CliRunner(env=NOWHERE)
        solved = alone.invoke(main, ["optimize", str(problem), "--out", str(answer)])
        assert solved.exit_code == 0, solved.output
        result = json.loads(answer.read_text())
        assert schema_defects(result, RESULT_SCHEMA) == ()
        assert [plain(trade) for trade in result["trades"]] == [plain(to_jsonable(asdict(trade))) for trade in trades]
        weights = record.result["target_weights"]
        assert result["rounded_weights"].keys() == weights.keys()
        assert max(abs(result["rounded_weights"][ticker] - weights[ticker]) for ticker in weights) < 1e-8
        assert result["lower_bound"] == record.lower_bound
        assert result["rounded_gap_bps"] == record.rounded_gap_bps
        snapshot = Snapshot.from_json(record.snapshot)
        assert [lock["cause"] for lock in result["locks"]["buy"]] == [lock.cause for lock in snapshot.buy_locks]
        assert [lock["lot_id"] for lock in result["locks"]["loss_sale"]] == [
            lock.subject for lock in snapshot.loss_sale_locks
        ]
        traded += len(trades)
        # A lock whose cause has left the account altogether: its group is told by the lock alone.
        held = {name.ticker for name in snapshot.universe}
        locked |= {lock.subject for lock in snapshot.buy_locks if OUTSIDE in lock.cause and OUTSIDE not in held}
    assert traded > 30
    assert locked == {"AAA"}


def test_export_of_a_run_of_an_unknown_account_is_refused(database_url):
    """Asking for a run of an account that there is not ends with exit code 2 and says so."""
    runner = CliRunner(env={"PROMETHEUS_DATABASE_URL": database_url})
    done = runner.invoke(main, ["runs", "export", "ACC-9", "RUN-001"])
    assert done.exit_code == 2
    assert "There is no account ACC-9." in done.stderr


@pytest.fixture
def run():
    """Calls the command where no database can be reached."""
    return lambda *arguments, **options: CliRunner(env=NOWHERE).invoke(
        main, ["optimize", *map(str, arguments)], **options
    )


def example(**changes: object):
    """Return the example's document with parts replaced."""
    return json.loads(EXAMPLE.read_text(encoding="utf-8")) | changes


def test_example_is_solved_and_shown(run, tmp_path):
    """The shipped example ends with exit code 0, a table for people, and a result file that fits the schema."""
    out = tmp_path / "result.json"
    done = run(EXAMPLE, "--out", out)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split(maxsplit=1) == ["problem", "EXAMPLE on 2026-11-16, 12 assets, 14 lots"]
    assert any(line.startswith("do not buy") and "CRUX until 2026-12-03" in line for line in lines)
    assert any(line.startswith("do not sell") and "L11 until 2026-11-27" in line for line in lines)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert schema_defects(result, RESULT_SCHEMA) == ()
    header = next(i for i, line in enumerate(lines) if line.startswith("no "))
    why = next(i for i, line in enumerate(lines) if line.startswith("Why: "))
    assert why - header - 2 == len(result["trades"])
    assert len(lines) - why - 2 == len(result["explanations"])


def test_json_on_standard_output_from_standard_input(run):
    """With - and --format json the command is a filter: a problem in, the result and nothing else out."""
    done = run("-", "--format", "json", "--solver", "clarabel", input=EXAMPLE.read_bytes())
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["solver"]["backend"] == "CLARABEL"
    assert result["problem"]["sha256"] == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()


def test_no_answer_is_exit_code_one_and_still_a_file(run, tmp_path):
    """A problem without a feasible portfolio ends with 1, and the result file names the constraint in conflict."""
    names = [asset["ticker"] for asset in example()["assets"]]
    problem, out = tmp_path / "problem.json", tmp_path / "result.json"
    problem.write_text(json.dumps(example(cash=60000, params={"no_buy": names})))
    done = run(problem, "--out", out)
    assert done.exit_code == 1
    assert "attempt failed   INFEASIBLE: cash after trading must be at most 2.0000% of NAV" in done.stdout
    assert done.stdout.endswith("No trades.\n")
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["status"] == "NON_OPTIMAL"
    assert result["failures"][0]["details"]["constraint"] == "cash_max"


def test_bad_input_is_exit_code_two_and_no_file(run, tmp_path):
    """A file with defects ends with 2, every defect on standard error, and nothing is written."""
    problem, out = tmp_path / "problem.json", tmp_path / "result.json"
    problem.write_text(json.dumps(example(cash="much", nav=1, unknown=1)))
    done = run(problem, "--out", out)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "2 defects" in done.stderr
    assert "$.cash = " in done.stderr
    assert "$.unknown = 1: is not known here" in done.stderr
    assert done.stderr.endswith("[PROBLEM_REFUSED]\n")
    assert not out.exists()


def test_unknown_solver_is_exit_code_two(run):
    """A solver that is not here ends with 2 and the list of those that are."""
    done = run(EXAMPLE, "--solver", "ABACUS")
    assert done.exit_code == 2
    assert "'ABACUS'" in done.stderr
    assert "Solvers here: CLARABEL" in done.stderr


def test_files_that_cannot_be_opened_are_exit_code_two(run, tmp_path):
    """A missing problem and an unwritable result end with 2 and the name of the file."""
    missing = run(tmp_path / "none.json")
    assert missing.exit_code == 2
    assert "none.json cannot be read: No such file or directory." in missing.stderr
    unwritable = run(EXAMPLE, "--out", tmp_path / "no" / "result.json")
    assert unwritable.exit_code == 2
    assert "result.json cannot be written: No such file or directory." in unwritable.stderr


def test_long_lists_of_locks_are_folded(run, tmp_path):
    """A person is shown ten locks of a kind and told how many more there are; the result file has them all."""
    document = example()
    sale = {"date": "2026-11-03", "side": "SELL", "quantity": 1, "realized_gain": -1}
    document["recent_trades"] = [{**sale, "ticker": f"GONE{number:02d}"} for number in range(14)]
    problem, out = tmp_path / "problem.json", tmp_path / "result.json"
    problem.write_text(json.dumps(document))
    done = run(problem, "--out", out)
    assert done.exit_code == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith("do not buy")]
    assert len(shown) == 11
    assert shown[-1].endswith("and 4 more")
    assert len(json.loads(out.read_text(encoding="utf-8"))["locks"]["buy"]) == 14


def test_export_to_standard_output_feeds_the_command(run, fleet, database_url):
    """The file on standard output is a problem that the command solves as it comes through a pipe."""
    exported = CliRunner(env={"PROMETHEUS_DATABASE_URL": database_url}).invoke(
        main, ["runs", "export", "ACC-3", "RUN-002"]
    )
    assert exported.exit_code == 0, exported.stderr
    done = run("-", "--format", "json", input=exported.stdout)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["problem"]["account_id"] == "ACC-3"
