import numpy as np
import pytest

from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.asset_functions import separable_cost, true_pieces
from prometheus.optimizer.problem.envelope import convex_envelope
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.trade_range import CashRange, trade_range
from prometheus.optimizer.search.assembly import assemble
from tests.unit.optimizer.problems import random_problem


def _assembled(problem, cash=None):
    order = lot_order(problem)
    cost = separable_cost(problem, order)
    convex = convex_envelope(true_pieces(cost, trade_range(problem, order)), cost, problem.cost_rate)
    cash = cash or CashRange(problem.cash - problem.cash_max, problem.cash - problem.cash_min)
    risk = factor_risk(problem)
    return assemble(convex, risk, cost.active, problem.cost_rate, problem.risk_aversion, cash), cost, risk


def _dense(columns):
    matrix = np.zeros(columns.shape)
    for j in range(columns.shape[1]):
        span = slice(columns.indptr[j], columns.indptr[j + 1])
        matrix[columns.indices[span], j] = columns.data[span]
    return matrix


def test_columns_are_well_formed():
    """Row numbers rise within each column, nothing is stored twice, and P is diagonal with no negative entry."""
    assembled, _, _ = _assembled(random_problem(1, names=30))
    program = assembled.program
    A = program.A
    for j in range(A.shape[1]):
        assert (np.diff(A.indices[A.indptr[j] : A.indptr[j + 1]]) > 0).all()
    assert A.indptr[-1] == len(A.data)
    assert A.shape == (len(program.b), len(program.q))
    assert (program.P.indices == np.arange(len(program.q))).all()
    assert (program.P.data >= 0).all()


def test_matrix_times_vector_equals_the_dense_product():
    """The column form multiplies like its dense matrix."""
    assembled, _, _ = _assembled(random_problem(2, names=12))
    x = np.random.default_rng(0).normal(size=assembled.program.A.shape[1])
    assert assembled.program.A.times(x) == pytest.approx(_dense(assembled.program.A) @ x, abs=1e-12)


@pytest.mark.parametrize("lot_method", ["HIFO", "FIFO"])
def test_any_filled_point_meets_the_identities_and_costs_what_the_envelope_says(lot_method):
    """Random trades, filled in order, satisfy the factor rows; their cash and their cost are those of the pieces."""
    problem = random_problem(3, names=25, lot_method=lot_method)
    assembled, cost, risk = _assembled(problem)
    pieces, program = assembled.pieces, assembled.program
    random = np.random.default_rng(4)
    trades = random.uniform(pieces.low, pieces.high)
    filled = np.where(
        assembled.direction > 0,
        np.clip(trades[pieces.asset] - pieces.left, 0, pieces.right - pieces.left),
        np.clip(pieces.right - trades[pieces.asset], 0, pieces.right - pieces.left),
    )
    y = risk.exposures(cost.active + trades)
    names = np.flatnonzero(np.bincount(pieces.asset, minlength=problem.size) > 1)
    x = np.concatenate([y, (trades - assembled.anchor)[names], filled])
    assert assembled.trades(x) == pytest.approx(trades, abs=1e-11)
    rows = program.A.times(x) - program.b
    assert rows[: program.equalities] == pytest.approx(np.zeros(program.equalities), abs=1e-11)
    assert rows[-2 * len(filled) :].max() <= 1e-12
    P = program.P.data
    above_anchor = 0.5 * (P * x * x).sum() + program.q @ x
    steps = np.where(assembled.direction > 0, filled, pieces.right - pieces.left - filled)
    marginal = pieces.slope * filled + pieces.curvature * filled**2
    down = pieces.slope * (pieces.right - pieces.left) + pieces.curvature * (pieces.right - pieces.left) ** 2
    down = down - pieces.slope * steps - pieces.curvature * steps**2
    expected = np.where(assembled.direction > 0, marginal, -down).sum() + problem.risk_aversion * (y @ y)
    assert above_anchor == pytest.approx(expected, abs=1e-12)


def test_unlimited_cash_has_no_rows():
    """An infinite limit is left out of the program, and its price is zero."""
    problem = random_problem(5, names=10)
    both, _, _ = _assembled(problem)
    neither, _, _ = _assembled(problem, CashRange(-np.inf, np.inf))
    assert len(neither.program.b) == len(both.program.b) - 2
    assert neither.cash_rows == (None, None)
    assert neither.cash_price(np.ones(len(neither.program.b))) == 0.0


def test_multipliers_follow_the_sign_rule():
    """P x + q + A' z vanishes at the solver's answer, so eta is positive exactly where cash is scarce."""
    problem = random_problem(6, names=20, cash_range=(0.1, 0.2))
    assembled, _, _ = _assembled(problem)
    program = assembled.program
    answer = backend_named("CLARABEL").solve(program, 1e-9)
    gradient = program.P.data * answer.x + program.q + _dense(program.A).T @ answer.z
    assert np.abs(gradient).max() < 1e-7
    assert program.violation(answer.x) < 1e-8
    assert assembled.cash_price(answer.z) > 0


def test_violation_of_a_point_that_is_not_finite_is_infinite():
    """A solver that answers NaN has violated everything."""
    assembled, _, _ = _assembled(random_problem(7, names=8))
    assert assembled.program.violation(np.full(len(assembled.program.q), np.nan)) == np.inf
