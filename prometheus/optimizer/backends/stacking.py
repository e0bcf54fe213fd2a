"""Many accounts as one block-diagonal quadratic program, and its answer cut back into theirs.

One account is too small to keep a GPU busy; a fleet's programs side by side are one program with many independent
blocks. The rows are sorted into the order that every back-end expects: all equations, then all inequalities, then all
cones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticProgram, QuadraticSolution, SparseColumns
from prometheus.optimizer.problem.rebalance_problem import IntArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class StackedProgram:
    """Several programs side by side.

    Attributes:
        program: The block-diagonal program.
        parts: The single programs, in order.
        rows: For each part, the rows of ``program`` that are its rows.
    """

    program: QuadraticProgram
    parts: tuple[QuadraticProgram, ...]
    rows: tuple[IntArray, ...]

    def split(self, solution: QuadraticSolution) -> tuple[QuadraticSolution, ...]:
        """Return each part's share of an answer to the whole; status, iterations and time are the whole's.

        Args:
            solution: An answer with the lengths of ``program``.

        Raises:
            InvalidProblemError: The answer has other lengths.
        """
        wanted = (len(self.program.q), len(self.program.b))
        if (len(solution.x), len(solution.z)) != wanted:
            raise InvalidProblemError(
                f"the answer has {len(solution.x)} variables and {len(solution.z)} multipliers, the stacked program "
                f"{wanted[0]} and {wanted[1]}."
            )
        ends = np.cumsum([len(part.q) for part in self.parts])
        return tuple(
            QuadraticSolution(
                x=read_only(solution.x[end - len(part.q) : end]),
                z=read_only(solution.z[rows]),
                status=solution.status,
                iterations=solution.iterations,
                seconds=solution.seconds,
            )
            for part, rows, end in zip(self.parts, self.rows, ends, strict=True)
        )


def stack(programs: Sequence[QuadraticProgram]) -> StackedProgram:
    """Put programs side by side into one whose optimum is all of theirs.

    Args:
        programs: At least one; they may differ in size, rows and cones.

    Raises:
        InvalidProblemError: There is no program.
    """
    if not programs:
        raise InvalidProblemError("there is no program to stack.")
    equalities = [part.equalities for part in programs]
    inequalities = [part.first_cone - part.equalities for part in programs]
    in_cones = [sum(part.second_order) for part in programs]
    # where each part's equations, inequalities and cones begin in the whole
    starts = _starts(equalities, inequalities, in_cones)
    rows = tuple(
        np.concatenate([np.arange(begin, begin + count) for begin, count in zip(start, counts, strict=True)])
        for start, counts in zip(starts, zip(equalities, inequalities, in_cones, strict=True), strict=True)
    )
    b = np.empty(sum(len(part.b) for part in programs))
    for part, at in zip(programs, rows, strict=True):
        b[at] = part.b
    columns = np.cumsum([0, *(len(part.q) for part in programs)])
    program = QuadraticProgram(
        P=_side_by_side(programs, lambda k: programs[k].P.indices + columns[k], lambda part: part.P, int(columns[-1])),
        q=np.concatenate([part.q for part in programs]),
        A=_side_by_side(programs, lambda k: rows[k][programs[k].A.indices], lambda part: part.A, len(b)),
        b=b,
        equalities=sum(equalities),
        second_order=tuple(size for part in programs for size in part.second_order),
    )
    return StackedProgram(program, tuple(programs), rows)


def solve_stacked(
    backend: QuadraticBackend, programs: Sequence[QuadraticProgram], tolerance: float
) -> tuple[QuadraticSolution, ...]:
    """Solve programs as one and return their answers in order.

    Feasibility and gap are met by the whole, so that a single part may be a little further off than ``tolerance``;
    judge each part by its own program.

    Args:
        backend: The solver.
        programs: At least one program.
        tolerance: The solver's tolerance.

    Raises:
        InvalidProblemError: There is no program.
        SolverFailedError: The solver has no answer; one infeasible part leaves all of them without.
    """
    stacked = stack(programs)
    return stacked.split(backend.solve(stacked.program, tolerance))


def _starts(*kinds: list[int]) -> list[tuple[int, ...]]:
    """Return for each part where its rows of each kind begin, the kinds one after the other."""
    flat = np.cumsum([0, *(count for kind in kinds for count in kind)])[:-1].reshape(len(kinds), -1)
    return [tuple(int(begin) for begin in part) for part in flat.T]


def _side_by_side(
    programs: Sequence[QuadraticProgram],
    indices: Callable[[int], IntArray],
    matrix: Callable[[QuadraticProgram], SparseColumns],
    rows: int,
) -> SparseColumns:
    """Return matrices side by side, their row numbers already moved to the whole's."""
    parts = [matrix(part) for part in programs]
    ends = np.cumsum([0, *(len(part.data) for part in parts)])
    return SparseColumns(
        data=np.concatenate([part.data for part in parts]),
        indices=np.concatenate([indices(k) for k in range(len(parts))]),
        indptr=np.concatenate([[0], *(part.indptr[1:] + end for part, end in zip(parts, ends, strict=False))]),
        shape=(rows, sum(part.shape[1] for part in parts)),
    )
