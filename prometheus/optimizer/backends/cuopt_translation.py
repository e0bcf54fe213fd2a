"""Translation of a quadratic program into NVIDIA cuOpt's form, and of its answer into ours; cuOpt is not imported here.

Differences from our form: the objective is x'Qx + c'x without the half, Q and the rows are given by rows (CSR) with
32-bit indices, a row has a lower and an upper bound, and so has every variable. Rows that touch a single variable
become its bounds, which a barrier method treats far better than rows. Second-order cones are left out: cuOpt's support
for them is beta and returns no multipliers, and where the optimum without them happens to lie inside them it is the
optimum with them; the caller checks.

Source: docs/specs/backends.md.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, triu
from scipy.sparse.csgraph import connected_components

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.backends.base import QuadraticProgram, SparseColumns
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray

Index32 = NDArray[np.int32]
RowTypes = NDArray[np.str_]

#: The largest number of entries that 32-bit indices can count.
_MOST_ENTRIES: Final = 2**31 - 1
#: A negative eigenvalue smaller than this fraction of the largest entry is rounding.
_CONVEX: Final = -1e-10
#: Factors by which a solver's row prices may differ from ours; reports differ, so the data decide.
_PRICE_SCALES: Final = (-1.0, -2.0, -0.5, 1.0, 2.0, 0.5)
#: cuOpt refuses a tolerance above a tenth.
_LOOSEST: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class CuoptModel:
    """minimise x' Q x + c' x  subject to  row_lower <= A x <= row_upper,  lower <= x <= upper.

    Attributes:
        row_values: (nonzeros,) values of A by rows.
        row_indices: (nonzeros,) variable of each value.
        row_offsets: (rows + 1,) where each row starts.
        row_lower: (rows,) least value of each row; minus infinity on an inequality.
        row_upper: (rows,) greatest value; on an equation the same.
        row_types: (rows,) "E" or "L"; cuOpt's own slack report reads them unchecked.
        quadratic_values: (entries,) values of Q = P / 2, full and symmetric, by rows.
        quadratic_indices: (entries,) column of each value.
        quadratic_offsets: (n + 1,) where each row starts.
        linear: (n,) c.
        lower: (n,) least value of each variable, infinite where there is none.
        upper: (n,) greatest value.
    """

    row_values: FloatArray
    row_indices: Index32
    row_offsets: Index32
    row_lower: FloatArray
    row_upper: FloatArray
    row_types: RowTypes
    quadratic_values: FloatArray
    quadratic_indices: Index32
    quadratic_offsets: Index32
    linear: FloatArray
    lower: FloatArray
    upper: FloatArray

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, as they travel to the worker process."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def fill(self, data_model: Any) -> None:
        """Copy the arrays into a ``cuopt.linear_programming.DataModel``."""
        data_model.set_csr_constraint_matrix(self.row_values, self.row_indices, self.row_offsets)
        data_model.set_constraint_bounds(self.row_upper)
        data_model.set_row_types(self.row_types)
        data_model.set_constraint_lower_bounds(self.row_lower)
        data_model.set_constraint_upper_bounds(self.row_upper)
        data_model.set_objective_coefficients(self.linear)
        if len(self.quadratic_values):
            data_model.set_quadratic_objective_matrix(
                self.quadratic_values, self.quadratic_indices, self.quadratic_offsets
            )
        data_model.set_variable_lower_bounds(self.lower)
        data_model.set_variable_upper_bounds(self.upper)


@dataclass(frozen=True, slots=True, eq=False)
class Translation:
    """A model, and what is needed to read its answer.

    Attributes:
        model: What cuOpt is given.
        program: The program that it translates.
        kept: Rows of the program that are rows of the model, in order.
        lower_row: (n,) row of the program that gives the variable's lower bound, -1 where there is none.
        upper_row: (n,) row that gives its upper bound.
        padded: Whether the model has an additional variable and row because the program had no row to keep.
    """

    model: CuoptModel
    program: QuadraticProgram
    kept: IntArray
    lower_row: IntArray
    upper_row: IntArray
    padded: bool

    def point(self, primal: FloatArray) -> FloatArray:
        """Return the program's x from cuOpt's primal vector; one of another length is returned as it is."""
        return primal[:-1] if self.padded and len(primal) == len(self.model.linear) else primal

    def multipliers(self, x: FloatArray, prices: FloatArray) -> FloatArray:
        """Return (m,) multipliers for the program's rows at ``x``, from the prices that cuOpt gave its rows.

        Sign and size of the prices are chosen by which makes ``x`` look most optimal (their convention is not
        documented, and an open report has the prices of quadratic programs at half their size); the multipliers of
        the bounds follow from stationarity. Prices that cannot be used count as zero, and so do those of cones.

        Args:
            x: (n,) the point.
            prices: (rows,) what cuOpt calls the dual solution; may be empty or hold NaN.
        """
        program, model = self.program, self.model
        rows = program.A
        column = np.repeat(np.arange(rows.shape[1]), np.diff(rows.indptr))
        gradient = _gradient(program, x)
        usable = prices[: len(self.kept)]
        candidates = [np.zeros(len(program.b))]
        if len(usable) == len(self.kept) and np.isfinite(usable).all():
            for scale in _PRICE_SCALES:
                z = np.zeros(len(program.b))
                z[self.kept] = scale * usable
                z[program.equalities :] = np.maximum(z[program.equalities :], 0.0)
                candidates.append(z)
        best, least, reduced = candidates[0], np.inf, gradient
        n = len(x)
        for z in candidates:
            slope = gradient + np.bincount(column, weights=rows.data * z[rows.indices], minlength=n)
            # how far a step down the slope, cut off at the bounds, would move the point: zero at an optimum
            moved = x - np.minimum(np.maximum(x - slope, model.lower[:n]), model.upper[:n])
            error = float((moved * moved).sum())
            if error < least:
                best, least, reduced = z, error, slope
        best[self.upper_row[self.upper_row >= 0]] = np.maximum(-reduced, 0.0)[self.upper_row >= 0]
        best[self.lower_row[self.lower_row >= 0]] = np.maximum(reduced, 0.0)[self.lower_row >= 0]
        coefficient = self._bound_coefficients()
        best[coefficient > 0] /= coefficient[coefficient > 0]
        return best

    def _bound_coefficients(self) -> FloatArray:
        """Return (m,) size of the single entry of each row that became a bound, zero elsewhere."""
        sizes = np.bincount(self.program.A.indices, weights=np.abs(self.program.A.data), minlength=len(self.program.b))
        sizes[self.kept] = 0.0
        return sizes.astype(np.float64)


def translate(program: QuadraticProgram) -> Translation:
    """State a program in cuOpt's form, its second-order cones left out.

    Raises:
        InvalidProblemError: P is not positive semidefinite, or there are more entries than 32-bit indices can count.
    """
    entries = max(len(program.A.data), 2 * len(program.P.data))
    if entries > _MOST_ENTRIES:
        raise InvalidProblemError(f"the program has {entries} entries; cuOpt counts them in 32 bits. Stack fewer.")
    require_convex(program.P)
    n, first = len(program.q), program.first_cone
    rows = _matrix(program.A).tocsr()[:first]
    rows.sum_duplicates()
    counts = np.diff(rows.indptr)
    single = np.flatnonzero((counts == 1) & (np.arange(first) >= program.equalities))
    kept = np.setdiff1d(np.arange(first), single)
    lower, lower_row, upper, upper_row = _bounds(program, rows, single)

    matrix = rows[kept]
    upper_limit = program.b[kept]
    equation = kept < program.equalities
    quadratic = _full(program.P)
    offsets, linear = quadratic.indptr, program.q
    padded = not len(kept)
    if padded:
        # a quadratic program without rows has crashed cuOpt: one more variable, held at zero by one row
        matrix = csr_array((np.ones(1), ([0], [n])), shape=(1, n + 1))
        upper_limit, equation = np.zeros(1), np.ones(1, dtype=bool)
        offsets, linear = np.append(offsets, offsets[-1]), np.append(linear, 0.0)
        lower, upper = np.append(lower, -1.0), np.append(upper, 1.0)
    model = CuoptModel(
        row_values=matrix.data.astype(np.float64),
        row_indices=matrix.indices.astype(np.int32),
        row_offsets=matrix.indptr.astype(np.int32),
        row_lower=np.where(equation, upper_limit, -np.inf),
        row_upper=upper_limit.astype(np.float64),
        row_types=np.where(equation, "E", "L"),
        quadratic_values=quadratic.data / 2.0,
        quadratic_indices=quadratic.indices.astype(np.int32),
        quadratic_offsets=offsets.astype(np.int32),
        linear=linear.astype(np.float64),
        lower=lower,
        upper=upper,
    )
    return Translation(model, program, kept, lower_row, upper_row, padded)


def settings(tolerance: float, time_limit: float) -> dict[str, int | float]:
    """Return cuOpt's parameters by name: the barrier method alone, no output, deterministic, the given tolerance.

    cuOpt's default tolerances are 1e-4, and it accepts as optimal what meets them. Switches are whole numbers, because
    some parameters read True as text and refuse it.

    Args:
        tolerance: For feasibility and gap.
        time_limit: Seconds.
    """
    tight = min(tolerance, _LOOSEST)
    limits = (f"{kind}_{what}_tolerance" for kind in ("absolute", "relative") for what in ("primal", "dual", "gap"))
    return {
        "method": 3,
        "presolve": 0,
        "crossover": 0,
        "log_to_console": 0,
        "cudss_deterministic": 1,
        "time_limit": time_limit,
        **dict.fromkeys(limits, tight),
    }


def require_convex(P: SparseColumns) -> None:
    """Refuse a quadratic form that is not convex; cuOpt does not check it.

    Raises:
        InvalidProblemError: A block of P has a negative eigenvalue.
    """
    full = _full(P)
    allowed = _CONVEX * float(np.abs(P.data).max(initial=0.0))
    diagonal = full.diagonal()
    above = np.asarray(abs(full).sum(axis=1)).ravel() - np.abs(diagonal)
    suspect = diagonal - above < allowed
    if not suspect.any():
        # every row's diagonal outweighs the rest of it: positive semidefinite
        return
    _, block = connected_components(full, directed=False)
    for label in np.unique(block[suspect]):
        members = np.flatnonzero(block == label)
        least = float(np.linalg.eigvalsh(full[members][:, members].toarray())[0])
        if least < allowed:
            raise InvalidProblemError(
                f"the quadratic form is not convex: variable {members[0]} belongs to a block with eigenvalue "
                f"{least:.3g}."
            )


def _bounds(
    program: QuadraticProgram, rows: Any, single: IntArray
) -> tuple[FloatArray, IntArray, FloatArray, IntArray]:
    """Return each variable's tightest bounds from rows with one entry, and the rows they come from."""
    n = len(program.q)
    at = rows.indptr[single]
    variable, value = rows.indices[at], rows.data[at]
    limit = program.b[single] / value

    def tightest(chosen: BoolArray, sign: float) -> tuple[FloatArray, IntArray]:
        bound, row = np.full(n, np.inf), np.full(n, -1, dtype=np.int64)
        who, far, which = variable[chosen], sign * limit[chosen], single[chosen]
        by = np.lexsort((which, far, who))
        head = np.ones(len(by), dtype=bool)
        head[1:] = np.diff(who[by]) > 0
        pick = by[head]
        bound[who[pick]], row[who[pick]] = far[pick], which[pick]
        return sign * bound, row

    return (*tightest(value < 0, -1.0), *tightest(value > 0, 1.0))


def _gradient(program: QuadraticProgram, x: FloatArray) -> FloatArray:
    gradient: FloatArray = _full(program.P) @ x + program.q
    return gradient


def _full(P: SparseColumns) -> Any:
    """Return the full symmetric matrix of an upper triangle, by rows."""
    upper = _matrix(P)
    above = triu(upper, k=1)
    full = csr_array(above + above.T + diags_array(upper.diagonal()))
    full.eliminate_zeros()
    full.sort_indices()
    return full


def _matrix(columns: SparseColumns) -> Any:
    return csr_array(
        (columns.data, (columns.indices, np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr)))),
        shape=columns.shape,
    )
