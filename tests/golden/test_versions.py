"""Every version ever written stays readable and replays to the same decision, in any process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prometheus.audit.replay import decide
from prometheus.audit.run_file import FileArrays, read_runs
from prometheus.db.models import RunRow, RunTradeRow
from prometheus.db.run_digests import (
    DIGEST_FORMAT,
    DOCUMENTS,
    HASHED_COLUMNS,
    HASHED_TRADE_COLUMNS,
    altered_part,
    run_digests,
)
from prometheus.decision.snapshot import NEWEST_VERSION, Snapshot
from prometheus.decision.stored_result import read_result
from prometheus.foundation.errors import DatabaseError, PrometheusError

GOLDEN = Path(__file__).parent / "runs"
FILES = sorted(GOLDEN.glob("v*/*.jsonl"))
#: Columns of a run that its hash does not cover: keys, place in the chain, the digests themselves, time of writing.
LEFT_OUT = {"run_id", "run_seq", "prev_hash", "run_hash", "digests", "archive_id", "recorded_at"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_runs_are_decided_again(path):
    """Runs of every version are read, have their digests and are decided again as well as they were."""
    arrays, statuses = FileArrays(), set()
    for run in read_runs(path, arrays):
        assert altered_part(run.record.digests, run.record, run.trades, archived=False) is None
        again = decide(run, arrays).solution
        assert again.status.value == run.record.status
        statuses.add(again.status.value)
        if run.record.status == "NON_OPTIMAL":
            assert again.result.target_weights == run.result.target_weights
            continue
        # An optimizer improved since may round otherwise, but never to something worth less than the gap allows.
        worth = again.result.certificate.rounded_objective - run.result.certificate.rounded_objective
        assert 1e4 * worth <= run.params.max_gap_bps
    assert statuses == {"OPTIMAL", "NON_OPTIMAL"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_snapshots_survive_the_newest_form(path):
    """A snapshot of any version, written in the newest form and read back, is the same snapshot."""
    versions = set()
    for run in read_runs(path, FileArrays()):
        versions.add(run.record.snapshot["version"])
        assert Snapshot.from_json(run.snapshot.to_json()) == run.snapshot
    assert versions == {int(path.parent.name.removeprefix("v"))}


def test_every_version_has_golden_runs():
    """There are golden runs of each version of the snapshot up to the newest."""
    assert {path.parent.name for path in FILES} == {f"v{number}" for number in range(1, NEWEST_VERSION + 1)}


def answers(**environment: str):
    """Return what a fresh process says of the golden runs, timings left out."""
    done = subprocess.run(
        [sys.executable, "-m", "prometheus.scripts.main", "replay", "--file", str(FILES[0]), "--format", "json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: the golden runs were decided by an earlier optimizer.
    assert done.returncode in {0, 1}, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_other_processes_decide_the_same():
    """Fresh processes with another hash seed and other numbers of threads decide the same, to the last bit."""
    first = answers(PYTHONHASHSEED="1", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1")
    second = answers(PYTHONHASHSEED="4242", OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2", RAYON_NUM_THREADS="2")
    assert len(first) >= 7
    assert {(run["decided_by"], run["same_code"]) for run in first} == {("0.1.0", False)}
    # Equal distances from one record, in weights, trades and objective: equal decisions.
    assert first == second


def test_unknown_versions_are_refused_with_a_sentence():
    """A snapshot, a result or digests of a later version end with a code and what to do."""
    for code, read in (
        ("SNAPSHOT_VERSION", lambda: Snapshot.from_json({"version": 99})),
        ("RESULT_VERSION", lambda: read_result({"version": 99})),
    ):
        with pytest.raises(PrometheusError, match="install a newer version") as caught:
            read()
        assert caught.value.code == code
    with pytest.raises(DatabaseError, match="install a newer version"):
        run_digests({}, [], digest_format=99)


def test_every_column_is_hashed_or_named_as_left_out():
    """A column that joins the record must be hashed, in a format of its own, or be named here as left out."""
    columns = set(RunRow.__table__.columns.keys())
    assert columns == {*HASHED_COLUMNS[DIGEST_FORMAT], *DOCUMENTS, *LEFT_OUT}
    trades = set(RunTradeRow.__table__.columns.keys())
    assert trades == {*HASHED_TRADE_COLUMNS[DIGEST_FORMAT], "run_id", "trade_no"}
