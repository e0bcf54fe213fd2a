import clarabel
import cvxpy
import numpy as np
import pytest

from prometheus.foundation.errors import SolverFailedError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends import cvxpy as cvxpy_backend
from prometheus.optimizer.backends.base import backend_named
from tests.unit.optimizer.backends.programs import optimality_errors, program, random_program
from tests.unit.optimizer.problems import random_problem

BOTH = pytest.mark.parametrize("name", ["CLARABEL", "CVXPY"])


@BOTH
@pytest.mark.parametrize("cones", [(), (9,), (4, 1, 6)], ids=str)
@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_answers_meet_every_condition_of_optimality(name, cones, diagonal, seed):
    """Point and multipliers meet rows, cones, stationarity and complementarity, by the sign rule of the boundary."""
    problem = random_program(seed, cones=cones, diagonal=diagonal)
    answer = backend_named(name).solve(problem, 1e-10)
    errors = optimality_errors(problem, answer.x, answer.z)
    assert max(errors.values()) < 1e-7, errors
    assert answer.iterations > 0
    assert answer.seconds > 0


@pytest.mark.parametrize("seed", range(5))
def test_two_roads_to_one_optimum(seed):
    """Through the modelling layer or with matrices handed over, a strictly convex program has one answer."""
    problem = random_program(seed, cones=(5,))
    direct, modelled = (backend_named(name).solve(problem, 1e-11) for name in ("CLARABEL", "CVXPY"))
    assert modelled.x == pytest.approx(direct.x, abs=1e-6)


def test_cone_is_violated_by_what_its_norm_exceeds_its_bound():
    """A point outside the cone is wrong by the norm of the other entries less the first; inside, by nothing."""
    # || x || <= 1 written as b - A x = (1, x)
    ball = program(np.eye(2), [-3.0, -4.0], [[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 0.0, 0.0], 0, (3,))
    assert ball.violation(np.array([3.0, 4.0])) == pytest.approx(4.0)
    assert ball.violation(np.array([0.3, 0.4])) == 0.0
    assert backend_named("CLARABEL").solve(ball, 1e-10).x == pytest.approx([0.6, 0.8], abs=1e-8)


def test_rows_before_the_cones_keep_their_meaning():
    """Equations come first, inequalities next, cone blocks last, and each kind is judged by its own rule."""
    rows = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [-1.0, 0.0]]
    mixed = program(np.eye(2), [0.0, 0.0], rows, [0.5, 0.25, 2.0, 0.0], 1, (2,))
    assert mixed.first_cone == 2
    assert mixed.cone_rows() == [slice(2, 4)]
    assert mixed.violation(np.array([0.4, 0.0])) == pytest.approx(0.1)
    assert mixed.violation(np.array([0.5, 0.75])) == pytest.approx(0.5)
    assert mixed.violation(np.array([0.5, 0.25])) == 0.0


def test_point_of_another_length_has_violated_everything():
    """A vector that cannot be put into the rows is infinitely wrong, not an exception."""
    problem = random_program(1)
    assert problem.violation(np.zeros(3)) == np.inf
    assert problem.violation(np.full(8, np.nan)) == np.inf


@BOTH
def test_infeasible_program_is_a_failure_with_the_solvers_word(name):
    """Rows that exclude each other end in our error, with the solver's status among its details."""
    nothing = program(np.eye(1), [0.0], [[1.0], [-1.0]], [-1.0, -1.0])
    with pytest.raises(SolverFailedError, match=f"{name} stopped with") as failed:
        backend_named(name).solve(nothing, 1e-9)
    assert "infeasible" in failed.value.details["status"].lower()


@BOTH
def test_unbounded_program_is_a_failure(name):
    """A program without a least value ends in our error."""
    with pytest.raises(SolverFailedError, match=f"{name} stopped with"):
        backend_named(name).solve(program(np.zeros((1, 1)), [-1.0], [[-1.0]], [0.0]), 1e-9)


@BOTH
def test_data_that_do_not_fit_become_our_error(name):
    """What the solver or the modelling layer raises is raised again as ours, with the foreign name in it."""
    broken = program(np.eye(2), [0.0, 0.0], [[1.0, 0.0, 1.0]], [1.0])
    with pytest.raises(SolverFailedError, match=f"{name} raised"):
        backend_named(name).solve(broken, 1e-9)


def test_an_interrupt_passes_through_the_modelling_layer(monkeypatch):
    """Stopping the process is not a failure of CVXPY."""

    def interrupted(*_: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(cvxpy_backend, "solve_tightly", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backend_named("CVXPY").solve(random_program(0), 1e-9)


def test_equal_programs_get_equal_bits_through_the_modelling_layer():
    """A fresh model and one thread answer the same bits twice."""
    problem = random_program(3, cones=(4,))
    first, second = (backend_named("CVXPY").solve(problem, 1e-9) for _ in range(2))
    assert first.x.tobytes() == second.x.tobytes()
    assert first.z.tobytes() == second.z.tobytes()


def test_versions_are_the_libraries_own():
    """What a run records as the solver's version is what is installed."""
    assert backend_named("CVXPY").version() == cvxpy.__version__
    assert backend_named("CLARABEL").version() == clarabel.__version__


@pytest.mark.parametrize("lot_method", ["LEAST_TAX_FIRST", "FIFO"])
def test_a_user_may_choose_the_modelling_layer(lot_method):
    """An account solved through CVXPY gets the trades and the certificate of the direct back-end."""
    problem = random_problem(7, names=80, lot_method=lot_method)
    direct, modelled = rebalance(problem), rebalance(problem, backend="CVXPY")
    assert modelled.facts.backend == "CVXPY"
    assert modelled.certificate.objective == pytest.approx(direct.certificate.objective, abs=1e-9)
    assert modelled.shares == pytest.approx(direct.shares, abs=1.0)
