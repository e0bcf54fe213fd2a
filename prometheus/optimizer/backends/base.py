"""One quadratic program in, one solution out: the boundary behind which every solver stands."""

from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

import numpy as np

from prometheus.foundation.errors import BackendUnavailableError
from prometheus.optimizer.problem import FloatArray, IntArray


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
    """minimise x' P x / 2 + q' x  subject to  A x = b in the first rows, A x <= b in the others.

    Attributes:
        P: (n, n) the upper triangle of a symmetric positive semidefinite matrix.
        q: (n,) linear cost.
        A: (m, n) constraint rows.
        b: (m,) right-hand sides.
        equalities: How many of the rows, from the first, are equations.
    """

    P: SparseColumns
    q: FloatArray
    A: SparseColumns
    b: FloatArray
    equalities: int

    def violation(self, x: FloatArray) -> float:
        """Return the largest violation of a row at ``x``; infinite where ``x`` is not finite."""
        if not np.isfinite(x).all():
            return float("inf")
        excess = self.A.times(x) - self.b
        excess[: self.equalities] = np.abs(excess[: self.equalities])
        return float(excess.max(initial=0.0))


@dataclass(frozen=True, slots=True, eq=False)
class QuadraticSolution:
    """What a solver answered.

    Attributes:
        x: (n,) primal point.
        z: (m,) multipliers with P x + q + A' z = 0; non-negative on inequality rows.
        status: The solver's own word.
        iterations: Its iterations.
        seconds: Its own time.
        fallback: Why another solver than the one asked for had to answer; empty where none had to.
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
    "STRUCTURED": "prometheus.optimizer.structured",
}


def backend_named(name: str) -> QuadraticBackend:
    """Return the back-end called ``name``.

    Raises:
        BackendUnavailableError: No such back-end, or its solver is not installed.
    """
    if name not in _MODULES:
        raise BackendUnavailableError(f"there is no solver back-end {name!r}; known are {', '.join(sorted(_MODULES))}.")
    try:
        module = import_module(_MODULES[name])
    except ImportError as error:
        raise BackendUnavailableError(f"the solver of back-end {name} is not installed: {error}.") from error
    return cast("QuadraticBackend", module.BACKEND)
