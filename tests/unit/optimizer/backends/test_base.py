import sys

import clarabel
import numpy as np
import pytest

from prometheus.foundation.errors import BackendUnavailableError, SolverFailedError
from prometheus.optimizer.backends import base
from prometheus.optimizer.backends import clarabel as clarabel_backend
from prometheus.optimizer.backends.base import QuadraticProgram, SparseColumns, backend_named


def _dense(matrix):
    matrix = np.asarray(matrix, dtype=float)
    rows, columns = matrix.shape
    return SparseColumns(
        matrix.T.ravel().copy(), np.tile(np.arange(rows), columns), rows * np.arange(columns + 1), (rows, columns)
    )


def _program(A, b, equalities=0):
    return QuadraticProgram(
        _dense(np.triu([[2.0, 1.0], [1.0, 4.0]])), np.array([-1.0, -1.0]), _dense(A), np.array(b), equalities
    )


def test_a_small_program_is_solved():
    """Off-diagonal terms of the upper triangle count, equations come first, and multipliers obey the sign rule."""
    answer = backend_named("CLARABEL").solve(_program([[1.0, 1.0], [-1.0, 0.0]], [1.0, 0.0], equalities=1), 1e-10)
    # min x^2 + x y + 2 y^2 - x - y on x + y = 1: 2 x + y = x + 4 y
    assert answer.x == pytest.approx([0.75, 0.25], abs=1e-8)
    assert 2 * answer.x[0] + answer.x[1] - 1 + answer.z[0] - answer.z[1] == pytest.approx(0, abs=1e-8)
    assert answer.status == "Solved"
    assert answer.iterations > 0


def test_equal_programs_get_equal_bits():
    """A fresh single-threaded solver for each program answers the same bits twice."""
    random = np.random.default_rng(1)
    program = _program(random.normal(size=(30, 2)), np.ones(30))
    first, second = (backend_named("CLARABEL").solve(program, 1e-9) for _ in range(2))
    assert first.x.tobytes() == second.x.tobytes()


def test_infeasible_program_is_a_failure_with_the_solvers_word():
    """A status other than solved is an error of ours that carries the status."""
    with pytest.raises(SolverFailedError, match="PrimalInfeasible") as failed:
        backend_named("CLARABEL").solve(_program([[1.0, 0.0], [-1.0, 0.0]], [-1.0, -1.0]), 1e-9)
    assert failed.value.details["status"] == "PrimalInfeasible"


def test_foreign_errors_become_ours():
    """Data that the solver refuses end in our error, never in a foreign exception."""
    broken = _program([[1.0, 0.0]], [1.0, 2.0])
    with pytest.raises(SolverFailedError, match="CLARABEL raised"):
        backend_named("CLARABEL").solve(broken, 1e-9)


def test_an_interrupt_is_not_swallowed(monkeypatch):
    """Stopping the process is not a failure of the solver."""

    def interrupted(*_: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(clarabel, "DefaultSolver", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backend_named("CLARABEL").solve(_program([[1.0, 0.0]], [1.0]), 1e-9)


def test_solver_options_are_accepted_as_set():
    """The options that make replays stable are really in force, not silently dropped."""
    settings = clarabel_backend._settings(3e-10)
    assert settings.direct_solve_method == "qdldl"
    assert settings.max_threads == 1
    assert settings.verbose is False
    assert settings.tol_gap_abs == settings.tol_gap_rel == settings.tol_feas == 3e-10
    assert not np.isfinite(settings.time_limit)


def test_unknown_backend_is_refused_with_the_known_names():
    """A misspelt back-end is refused with the list of those that exist."""
    with pytest.raises(BackendUnavailableError, match=r"'CLARABELLE'; known are .*CLARABEL"):
        backend_named("CLARABELLE")


def test_backend_without_its_solver_says_so(monkeypatch):
    """A back-end whose solver is not installed is an error of ours with the module's name."""
    monkeypatch.setitem(sys.modules, "clarabel", None)
    monkeypatch.delitem(sys.modules, "prometheus.optimizer.backends.clarabel")
    with pytest.raises(BackendUnavailableError, match="CLARABEL is not installed"):
        backend_named("CLARABEL")


def test_version_is_the_solvers():
    """The version that runs record is the installed solver's own."""
    assert backend_named("CLARABEL").version() == clarabel.__version__
    assert base.backend_named("CLARABEL").name == "CLARABEL"
