import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError, SolverFailedError
from prometheus.optimizer.backends.base import QuadraticSolution, backend_named
from prometheus.optimizer.backends.stacking import solve_stacked, stack
from prometheus.optimizer.problem.envelope import convex_envelope
from prometheus.optimizer.search.assembly import assemble
from tests.unit.optimizer.backends.programs import dense, optimality_errors, program, random_program
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.problems import random_problem

CLARABEL = backend_named("CLARABEL")


def _mixed():
    return [
        random_program(0),
        random_program(1, size=5, cones=(3, 4)),
        random_program(2, size=3, diagonal=True),
        random_program(3, size=6, cones=(2,)),
    ]


def _stage_one(problem):
    whole = lagrangian_of(problem)
    envelope = convex_envelope(whole.pieces, whole.cost, whole.cost_rate)
    return assemble(envelope, whole.risk, whole.cost.active, whole.cost_rate, whole.risk_aversion, whole.cash)


def test_blocks_stand_on_the_diagonal_and_rows_keep_their_kinds():
    """Each program's matrices are found again in the whole, whose rows are equations, then inequalities, then cones."""
    parts = _mixed()
    stacked = stack(parts)
    whole = stacked.program
    assert whole.equalities == 4
    assert whole.second_order == (3, 4, 2)
    assert whole.first_cone == len(whole.b) - 9
    A, P, column = dense(whole.A), dense(whole.P), 0
    for part, rows in zip(parts, stacked.rows, strict=True):
        columns = slice(column, column + len(part.q))
        column += len(part.q)
        assert (A[rows, columns] == dense(part.A)).all()
        assert (P[columns, columns] == dense(part.P)).all()
        assert (whole.b[rows] == part.b).all()
        A[rows, columns] = 0.0
        P[columns, columns] = 0.0
    assert not A.any()
    assert not P.any()
    for matrix in (whole.A, whole.P):
        for begin, end in zip(matrix.indptr, matrix.indptr[1:], strict=False):
            assert (np.diff(matrix.indices[begin:end]) > 0).all()


@pytest.mark.parametrize("name", ["CLARABEL", "CVXPY"])
def test_stacked_answers_are_the_single_ones(name):
    """Programs of every kind, solved as one, get the points and multipliers they get alone."""
    parts = _mixed()
    answers = solve_stacked(backend_named(name), parts, 1e-11)
    for part, answer in zip(parts, answers, strict=True):
        assert answer.x == pytest.approx(CLARABEL.solve(part, 1e-11).x, abs=1e-6)
        assert max(optimality_errors(part, answer.x, answer.z).values()) < 1e-6


def test_a_fleet_of_accounts_is_solved_as_one():
    """Stage 1 of twenty accounts in one program gives each account the trades it gets alone."""
    assembled = [_stage_one(random_problem(seed, names=20 + 3 * seed, factors=2 + seed % 5)) for seed in range(20)]
    answers = solve_stacked(CLARABEL, [account.program for account in assembled], 1e-10)
    for account, answer in zip(assembled, answers, strict=True):
        alone = CLARABEL.solve(account.program, 1e-10)
        assert account.program.violation(answer.x) < 1e-8
        assert account.trades(answer.x) == pytest.approx(account.trades(alone.x), abs=1e-6)


def test_one_program_stacked_is_itself():
    """A stack of one is the program, bit for bit, and so is its answer."""
    single = random_program(4, cones=(3,))
    stacked = stack([single])
    assert stacked.program.A.data.tobytes() == single.A.data.tobytes()
    assert stacked.program.A.indices.tolist() == single.A.indices.tolist()
    (answer,) = solve_stacked(CLARABEL, [single], 1e-9)
    assert answer.x.tobytes() == CLARABEL.solve(single, 1e-9).x.tobytes()


def test_one_infeasible_part_leaves_all_without_an_answer():
    """The whole is infeasible when a part is, and says so."""
    nothing = program(np.eye(1), [0.0], [[1.0], [-1.0]], [-1.0, -1.0])
    with pytest.raises(SolverFailedError, match="PrimalInfeasible"):
        solve_stacked(CLARABEL, [random_program(0), nothing], 1e-9)


def test_no_program_is_refused():
    """There is nothing to solve in an empty fleet."""
    with pytest.raises(InvalidProblemError, match="no program"):
        stack([])


def test_an_answer_of_other_lengths_is_not_cut():
    """An answer that does not belong to the stack is refused."""
    stacked = stack(_mixed())
    with pytest.raises(InvalidProblemError, match=r"3 variables and 0 multipliers, the stacked program 22 and"):
        stacked.split(QuadraticSolution(np.zeros(3), np.zeros(0), "Solved", 1, 0.0))
