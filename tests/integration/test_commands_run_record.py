"""The immutable record of a run: its hash chain, its blobs, and the answer they give again."""

from copy import deepcopy
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from prometheus.db.blobs import put_array
from prometheus.db.database import Database
from prometheus.db.repositories.runs import list_persisted, load_run
from prometheus.db.run_digests import run_digests, run_hash
from prometheus.decision.problem_file.export import differing_fields, export_problem
from prometheus.decision.problem_file.reading import read_problem
from prometheus.decision.problem_from_snapshot import build_problem
from prometheus.decision.run_record import trade_row
from prometheus.decision.settle import settle
from prometheus.decision.snapshot import Snapshot
from prometheus.decision.solve import solve
from prometheus.domain.strategy import StrategyParams
from prometheus.pipeline.shared_inputs import SharedInputs
from prometheus.pipeline.tasks import matrices
from prometheus.risk.specific_correlation import SpecificCorrelation, packed_blocks
from tests.conftest import clone_of


@pytest.fixture(scope="module")
def traded(server, traded_template):
    """An open database with two days of the fleet."""
    with clone_of(server, traded_template) as url:
        opened = Database(url)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def runs(traded):
    """Every persisted run with its trades, by account and number."""
    with traded.transaction() as connection:
        return {
            (run.account_id, run.run_seq): load_run(connection, run.account_id, run.run_seq)
            for run in list_persisted(connection)
        }


def recomputed_hash(record, trades):
    """Return the hash of a run from its rows as they stand."""
    return run_hash(run_digests(record, trades), run_seq=record.run_seq, previous_hash=record.prev_hash)


def test_hash_is_that_of_the_rows_as_they_are_read_back(runs):
    """Computed anew from the stored columns and trades, every run's hash is the stored one."""
    assert len(runs) == 7
    assert [recomputed_hash(*run) for run in runs.values()] == [run[0].run_hash for run in runs.values()]


def test_each_run_is_linked_to_the_account_s_run_before(runs):
    """The first run of an account has no predecessor, the second carries the first one's hash."""
    for (account, number), (record, _) in runs.items():
        before = None if number == 1 else runs[account, number - 1][0].run_hash
        assert record.prev_hash == before


def _with(record, name, *path: str, value):
    """Return the record with one column altered, or one field of a document."""
    if not path:
        return replace(record, **{name: value})
    document = deepcopy(getattr(record, name))
    place = document
    for inner in path[:-1]:
        place = place[inner]
    place[path[-1]] = value
    return replace(record, **{name: document})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "NON_OPTIMAL"),
        (("iterations",), 0),
        (("lower_bound",), -0.5),
        (("prev_hash",), bytes(32)),
        (("run_seq",), 7),
        (("loadings_sha256",), bytes(32)),
        (("snapshot", "cash"), "20000.01"),
        (("params_snapshot", "tax_weight"), 1.5),
        (("result", "settlement", "tax"), "0"),
        (("timings", "solve_seconds"), 9.0),
        (("flags",), [["X", "y"]]),
    ],
)
def test_altered_record_has_another_hash(runs, path, value):
    """Whatever is changed in a record, number and link included, the hash no longer fits."""
    record, trades = runs["ACC-1", 1]
    assert recomputed_hash(_with(record, *path, value=value), trades) != record.run_hash


def test_altered_missing_or_reordered_trades_have_another_hash(runs):
    """A cent in one trade, a trade left out and two trades exchanged are all seen."""
    record, trades = runs["ACC-1", 1]
    stored = record.run_hash
    cent = [replace(trades[0], amount=trades[0].amount + Decimal("0.01")), *trades[1:]]
    assert stored not in {
        recomputed_hash(record, cent),
        recomputed_hash(record, trades[:-1]),
        recomputed_hash(record, [trades[1], trades[0], *trades[2:]]),
    }


def test_hash_does_not_depend_on_how_a_column_writes_a_number(runs):
    """Trailing zeros and the sign of a zero, which a numeric column changes, leave the hash as it is."""
    record, trades = runs["ACC-1", 1]
    lines = [replace(trades[0], tax=Decimal("-0.00"), quantity=Decimal(200))]
    padded = [replace(trades[0], tax=Decimal("0.00"), quantity=Decimal("200.00000000"))]
    assert run_digests(record, lines) == run_digests(record, padded)


def _again(traded, record, snapshot=None):
    """Solve and settle anew from nothing but the record and its blobs."""
    snapshot = snapshot or Snapshot.from_json(record.snapshot)
    params = StrategyParams.from_dict(record.params_snapshot)
    problem = build_problem(snapshot, params, matrices(SharedInputs(traded), snapshot))
    solution = solve(problem, params, None)
    return solution, settle(snapshot, params, solution.result.shares)


def test_replay_from_the_record_gives_the_same_trades_and_weights(traded, runs):
    """From the stored snapshot and blobs alone come the same weights to 1e-8 and exactly the same trade list."""
    for record, trades in runs.values():
        solution, settlement = _again(traded, record)
        weights, stored = solution.result.target_weights, record.result["target_weights"]
        assert weights.keys() == stored.keys()
        assert max(abs(weights[ticker] - stored[ticker]) for ticker in stored) <= 1e-8
        assert tuple(trade_row(line) for line in settlement.lines) == trades
        assert solution.status.value == record.status


def test_stored_snapshot_reads_back_to_the_same_json(runs):
    """Read from the database and written again, a snapshot is the same JSON."""
    for record, _ in runs.values():
        assert Snapshot.from_json(record.snapshot).to_json() == record.snapshot


def test_matrices_are_the_decoded_blobs_and_nothing_else(traded, runs):
    """A snapshot that points to other blobs is solved with those: the answer changes with the address."""
    record, _ = runs["ACC-1", 1]
    snapshot = Snapshot.from_json(record.snapshot)
    original = matrices(SharedInputs(traded), snapshot)
    assert original.loadings.dtype == np.float32
    assert original.specific_variance.dtype == np.float32
    noisy = (original.specific_variance * np.linspace(1, 30, 12)).astype(np.float32)
    with traded.transaction() as connection:
        address = put_array(connection, noisy)
        again = put_array(connection, original.specific_variance)
    assert again.hex() == snapshot.specific_variance_sha256
    solution, _ = _again(traded, record, replace(snapshot, specific_variance_sha256=address.hex()))
    assert solution.result.target_weights != record.result["target_weights"]


def test_correlations_are_those_of_the_blob_that_the_snapshot_names(traded, runs):
    """A snapshot that names blocks of correlated names is solved and exported with those of the decoded blob."""
    record, _ = runs["ACC-1", 1]
    correlation = np.full((4, 4), 0.6, dtype=np.float32)
    correlation[np.diag_indices(4)] = 1.0
    blocks = (SpecificCorrelation(np.array([0, 3, 5, 8], dtype=np.int64), correlation),)
    with traded.transaction() as connection:
        address = put_array(connection, packed_blocks(blocks))
    snapshot = replace(Snapshot.from_json(record.snapshot), specific_correlation_sha256=address.hex())
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
    decoded = matrices(SharedInputs(traded), snapshot)
    params = StrategyParams.from_dict(record.params_snapshot)
    problem = build_problem(snapshot, params, decoded)
    (block,) = problem.specific_blocks
    (linked,) = decoded.specific_correlation
    volatility = np.sqrt(problem.specific_variance[block.names])
    assert block.covariance / (volatility[:, None] * volatility) == pytest.approx(linked.correlation, rel=1e-6)
    solution, _ = _again(traded, record, snapshot)
    assert solution.result.tracking_error_before != record.result["tracking_error_before"]
    text = export_problem(snapshot, record.params_snapshot, decoded, None)
    assert differing_fields(problem, read_problem(text.encode(), "run.json").optimizer_problem()) == ()
