"""Clarabel, an interior-point solver, with its matrices handed over directly."""

from typing import Any, Final

import clarabel
from scipy.sparse import csc_matrix

from prometheus.foundation.errors import SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticProgram, QuadraticSolution, SparseColumns
from prometheus.optimizer.problem.rebalance_problem import read_only

#: Statuses with which an answer goes on to be judged from the problem data; every other one is a failure.
_ANSWERS: Final = frozenset({"Solved", "AlmostSolved"})


class ClarabelBackend:
    """A fresh single-threaded solver for each program, so that equal programs get equal bits."""

    name = "CLARABEL"

    def version(self) -> str:
        """Return Clarabel's version."""
        return str(clarabel.__version__)

    def solve(self, program: QuadraticProgram, tolerance: float) -> QuadraticSolution:
        """Solve ``program`` from scratch.

        Raises:
            SolverFailedError: Clarabel stopped without an optimal answer or refused the data.
        """
        cones = [
            clarabel.ZeroConeT(program.equalities),
            clarabel.NonnegativeConeT(program.first_cone - program.equalities),
            *(clarabel.SecondOrderConeT(size) for size in program.second_order),
        ]
        try:
            solver = clarabel.DefaultSolver(
                _matrix(program.P), program.q, _matrix(program.A), program.b, cones, _settings(tolerance)
            )
            answer = solver.solve()
        # the binding raises bare exceptions, and a Rust panic is not even an Exception
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            raise SolverFailedError(f"CLARABEL raised {type(error).__name__}: {error}") from error
        status = str(answer.status)
        if status not in _ANSWERS:
            raise SolverFailedError(
                f"CLARABEL stopped with {status} after {answer.iterations} iterations (tolerance {tolerance:g}).",
                details={"status": status, "iterations": int(answer.iterations), "tolerance": tolerance},
            )
        return QuadraticSolution(
            x=read_only(answer.x),
            z=read_only(answer.z),
            status=status,
            iterations=int(answer.iterations),
            seconds=float(answer.solve_time),
        )


def _settings(tolerance: float) -> Any:
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    # with faer the number of threads changes the last bits, and 0 threads means all cores
    settings.direct_solve_method = "qdldl"
    settings.max_threads = 1
    settings.tol_gap_abs = tolerance
    settings.tol_gap_rel = tolerance
    settings.tol_feas = tolerance
    return settings


def _matrix(columns: SparseColumns) -> Any:
    return csc_matrix((columns.data, columns.indices, columns.indptr), shape=columns.shape)


BACKEND: Final[QuadraticBackend] = ClarabelBackend()
