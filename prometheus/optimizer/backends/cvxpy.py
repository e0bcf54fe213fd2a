"""The same quadratic programs through CVXPY, the modelling layer, with Clarabel behind it.

Slower than handing the matrices over directly. It shares only the program with the direct back-end: CVXPY puts
objective, rows and cones into the solver's form.
"""

import warnings
from typing import Any, Final

import cvxpy
import numpy as np
from scipy.sparse import csc_array, diags_array, triu

from prometheus.foundation.errors import SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticProgram, QuadraticSolution, SparseColumns
from prometheus.optimizer.problem.rebalance_problem import FloatArray, read_only

#: CVXPY declares types for a part of its names only.
cp: Any = cvxpy
#: Statuses with which an answer goes on to be judged from the problem data; every other one is a failure.
_ANSWERS: Final = frozenset({cp.OPTIMAL, cp.OPTIMAL_INACCURATE})


class CvxpyBackend:
    """A fresh model for each program, checked to be disciplined convex."""

    name = "CVXPY"

    def version(self) -> str:
        """Return CVXPY's version."""
        return str(cp.__version__)

    def solve(self, program: QuadraticProgram, tolerance: float) -> QuadraticSolution:
        """Solve ``program`` from scratch.

        Raises:
            SolverFailedError: CVXPY or the solver behind it stopped without an optimal answer or refused the data.
        """
        try:
            model, x, constraints = _model(program)
            solve_tightly(model, tolerance)
        # a modelling layer over a Rust binding: bare exceptions, and a panic is not even an Exception
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            raise SolverFailedError(f"CVXPY raised {type(error).__name__}: {error}") from error
        facts = model.solver_stats
        iterations = int(facts.num_iters or 0)
        if model.status not in _ANSWERS:
            raise SolverFailedError(
                f"CVXPY stopped with {model.status} after {iterations} iterations (tolerance {tolerance:g}).",
                details={"status": model.status, "iterations": iterations, "tolerance": tolerance},
            )
        return QuadraticSolution(
            x=read_only(x.value),
            z=read_only(_multipliers(constraints)),
            status=str(model.status),
            iterations=iterations,
            seconds=float(facts.solve_time or 0.0),
        )


def solve_tightly(model: Any, tolerance: float) -> None:
    """Solve a CVXPY problem with single-threaded Clarabel at one tolerance for gap and feasibility.

    Raises:
        AssertionError: The model does not obey the rules of disciplined (parametrised) convex programming.
    """
    assert model.is_dcp(dpp=True), "a convex model was to be built"
    with warnings.catch_warnings():
        # CVXPY warns of answers that the solver calls almost solved; here every answer is checked against the data
        warnings.simplefilter("ignore", UserWarning)
        model.solve(
            solver=cp.CLARABEL,
            direct_solve_method="qdldl",
            max_threads=1,
            tol_gap_abs=tolerance,
            tol_gap_rel=tolerance,
            tol_feas=tolerance,
        )


def _model(program: QuadraticProgram) -> tuple[Any, Any, list[Any]]:
    x = cp.Variable(len(program.q))
    rows = _matrix(program.A).tocsr()
    first, equalities, b = program.first_cone, program.equalities, program.b
    constraints = [rows[:equalities] @ x == b[:equalities], rows[equalities:first] @ x <= b[equalities:first]]
    for cone in program.cone_rows():
        slack = b[cone] - rows[cone] @ x
        constraints.append(cp.SOC(slack[0], slack[1:]))
    objective = 0.5 * _quadratic_form(x, program.P) + program.q @ x
    return cp.Problem(cp.Minimize(objective), constraints), x, constraints


def _quadratic_form(x: Any, P: SparseColumns) -> Any:
    upper = _matrix(P)
    diagonal = upper.diagonal()
    above = triu(upper, k=1)
    if not above.count_nonzero():
        return cp.sum_squares(cp.multiply(np.sqrt(diagonal), x))
    # semidefinite by the contract of the program; testing it would cost an eigenvalue problem for each solve
    return cp.quad_form(x, cp.psd_wrap(csc_array(above + above.T + diags_array(diagonal))))


def _multipliers(constraints: list[Any]) -> FloatArray:
    """Return (m,) multipliers in the order of the program's rows."""
    parts = [np.ravel(constraint.dual_value) for constraint in constraints[:2]]
    for constraint in constraints[2:]:
        bound, others = constraint.dual_value
        parts += [np.ravel(bound), np.ravel(others)]
    joined: FloatArray = np.concatenate([*parts, np.zeros(0)])
    return joined


def _matrix(columns: SparseColumns) -> Any:
    return csc_array((columns.data, columns.indices, columns.indptr), shape=columns.shape)


BACKEND: Final[QuadraticBackend] = CvxpyBackend()
