"""The interface of all solvers: one quadratic program in, one solution out."""

from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol

import numpy as np

from prometheus.foundation.errors import BackendUnavailableError, CertificateRejectedError
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SparseColumns:
    """A sparse matrix by columns (CSC); the row numbers of a column ascend.

    Attributes:
        data: (nonzeros,) values, column by column.
        indices: (nonzeros,) row of each value.
        indptr: (columns + 1,) where each column starts in ``data``.
        shape: Rows and columns.
    """

    data: FloatArray
    indices: IntArray
    indptr: IntArray
    shape: tuple[int, int]

    def times(self, vector: FloatArray) -> FloatArray:
        """Return the product with a (columns,) vector."""
        columns = np.repeat(np.arange(self.shape[1]), np.diff(self.indptr))
        product = np.bincount(self.indices, weights=self.data * vector[columns], minlength=self.shape[0])
        return product.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class QuadraticProgram:
    """minimise x' P x / 2 + q' x  subject to  A x = b in the first rows, A x <= b in the next, cones in the last.

    Attributes:
        P: (n, n) the upper triangle of a symmetric positive semidefinite matrix.
        q: (n,) linear cost.
        A: (m, n) constraint rows.
        b: (m,) right-hand sides.
        equalities: How many of the rows, from the first, are equations.
        second_order: Sizes of the blocks of rows, from the last inequality on, in which b - A x lies in a second-order
            cone: its first entry is at least the Euclidean norm of its others.
    """

    P: SparseColumns
    q: FloatArray
    A: SparseColumns
    b: FloatArray
    equalities: int
    second_order: tuple[int, ...] = ()

    @property
    def first_cone(self) -> int:
        """Return the row on which the cone blocks begin: equations and inequalities come before it."""
        return len(self.b) - sum(self.second_order)

    def cone_rows(self) -> list[slice]:
        """Return the rows of each cone block."""
        ends = self.first_cone + np.cumsum(np.array(self.second_order, dtype=np.int64))
        return [slice(int(end) - size, int(end)) for end, size in zip(ends, self.second_order, strict=True)]

    def violation(self, x: FloatArray) -> float:
        """Return the largest violation of a row or a cone at ``x``.

        Infinite where ``x`` is not finite or has another length than ``q``. A cone is violated by as much as the norm
        of its other entries exceeds its first.
        """
        if x.shape != self.q.shape or not np.isfinite(x).all():
            return float("inf")
        excess = self.A.times(x) - self.b
        excess[: self.equalities] = np.abs(excess[: self.equalities])
        worst = float(excess[: self.first_cone].max(initial=0.0))
        for rows in self.cone_rows():
            slack = -excess[rows]
            worst = max(worst, float(np.sqrt((slack[1:] * slack[1:]).sum()) - slack[0]))
        return worst


@dataclass(frozen=True, slots=True, eq=False)
class QuadraticSolution:
    """The answer of a solver.

    Attributes:
        x: (n,) primal point.
        z: (m,) multipliers with P x + q + A' z = 0; non-negative on inequality rows, in the cone on cone rows.
        status: The solver's own status.
        iterations: Its iterations.
        seconds: Its own time.
        fallback: Why another solver than the one asked for answered; empty where the one asked for did.
    """

    x: FloatArray
    z: FloatArray
    status: str
    iterations: int
    seconds: float
    fallback: str = ""


class QuadraticBackend(Protocol):
    """A solver of quadratic programs."""

    name: str

    def version(self) -> str:
        """Return the solver's version."""
        ...

    def solve(self, program: QuadraticProgram, tolerance: float) -> QuadraticSolution:
        """Solve ``program`` from scratch.

        Raises:
            SolverFailedError: The solver stopped without an answer it calls optimal, or raised an error of its own.
        """
        ...


#: Back-ends by name; a module is imported when its solver is first asked for. Each has a ``BACKEND``.
_MODULES: Final = {
    "CLARABEL": "prometheus.optimizer.backends.clarabel",
    "STRUCTURED": "prometheus.optimizer.dual.structured",
    "CUOPT": "prometheus.optimizer.backends.cuopt",
    "CVXPY": "prometheus.optimizer.backends.cvxpy",
}


def backend_names() -> tuple[str, ...]:
    """Return the names of the back-ends in alphabetical order, installed or not."""
    return tuple(sorted(_MODULES))


def backend_named(name: str) -> QuadraticBackend:
    """Return the back-end called ``name``, behind a check of the form of its answers.

    A back-end whose module has a ``check_available`` is asked first whether it can run on this machine.

    Raises:
        BackendUnavailableError: No such back-end, its solver is not installed, or it cannot run here.
    """
    if name not in _MODULES:
        raise BackendUnavailableError(f"there is no solver back-end {name!r}; known are {', '.join(backend_names())}.")
    try:
        module = import_module(_MODULES[name])
    except ImportError as error:
        raise BackendUnavailableError(f"the solver of back-end {name} is not installed: {error}.") from error
    if hasattr(module, "check_available"):
        module.check_available()
    return _CheckedBackend(module.BACKEND)


class _CheckedBackend:
    """A back-end whose answers are checked for their form: callers never see an empty, a cut or a NaN answer."""

    def __init__(self, backend: QuadraticBackend) -> None:
        self.name = backend.name
        self._backend = backend

    def version(self) -> str:
        return self._backend.version()

    def solve(self, program: QuadraticProgram, tolerance: float) -> QuadraticSolution:
        solution = self._backend.solve(program, tolerance)
        check_form(program, solution, self.name)
        return solution


def check_form(program: QuadraticProgram, solution: QuadraticSolution, name: str) -> None:
    """Refuse an answer that is not a pair of finite vectors of the program's lengths, whatever its status says.

    How far the point is from the rows and from the optimum is judged by the caller: ``QuadraticProgram.violation`` and
    the certificate.

    Raises:
        CertificateRejectedError: With code ``ANSWER_EMPTY``, ``ANSWER_WRONG_LENGTH`` or ``ANSWER_NOT_FINITE``.
    """
    check_vector(name, solution.status, "point", solution.x, program.q.shape)
    check_vector(name, solution.status, "list of multipliers", solution.z, program.b.shape)


def check_vector(name: str, status: str, what: str, values: FloatArray, wanted: tuple[int, ...]) -> None:
    """Refuse a vector that is empty, has another shape than ``wanted`` or is not finite.

    Args:
        name: Solver that gave it.
        status: What the solver said of it.
        what: What it is, for the message.
        values: The vector.
        wanted: Its shape.

    Raises:
        CertificateRejectedError: With code ``ANSWER_EMPTY``, ``ANSWER_WRONG_LENGTH`` or ``ANSWER_NOT_FINITE``.
    """
    if values.shape == wanted and np.isfinite(values).all():
        return
    if values.size == 0:
        code, how = "ANSWER_EMPTY", "has nothing in it"
    elif values.shape != wanted:
        code, how = "ANSWER_WRONG_LENGTH", f"has shape {values.shape}, expected {wanted}"
    else:
        at = int(np.argmin(np.isfinite(values)))
        code, how = "ANSWER_NOT_FINITE", f"holds {values[at]} at {at}"
    raise CertificateRejectedError(
        f"{name} answered {status}, but its {what} {how}.",
        code=code,
        details={"status": status, "what": what},
    )
