"""The limits in conflict, and the least relaxation of each that removes the conflict.

A phase-1 problem over the ranges of the trades: every limit may be exceeded by a slack of its own, and the slacks are
minimised, first one limit at a time with all others hard, then together. Rows whose use is not convex in the trades
(realised gain under some lot orders) are counted as stage 1 counts them, never too high: a relaxation named here is the
least that can be enough.
"""

from dataclasses import dataclass, replace

import numpy as np

from prometheus.foundation.errors import InfeasibleProblemError, SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticProgram, SparseColumns
from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.problem.coupling import TRACKING_ERROR
from prometheus.optimizer.problem.envelope import convex_envelope
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray, RebalanceProblem
from prometheus.optimizer.search.assembly import AssembledProgram, CouplingRows, assemble

#: A slack below this is the solver's rounding noise.
_NO_SLACK = 1e-7


@dataclass(frozen=True, slots=True)
class _Limit:
    """One side of one limit: its row of the program and its name in messages."""

    name: str
    row: int
    required: float
    sign: float

    def conflict(self, slack: float) -> dict[str, str | float]:
        return {
            "constraint": self.name,
            "required": self.required,
            "reachable": self.required + self.sign * slack,
            "violation": slack,
        }


def conflicting_limits(
    problem: RebalanceProblem, lagrangian: Lagrangian, backend: QuadraticBackend
) -> InfeasibleProblemError | None:
    """Return the error that names the limits in conflict, None where the limits can be met.

    ``details`` are those of the limit with the least relaxation, ``details["conflicts"]`` lists every limit whose
    relaxation alone would do (``details["together"]`` False), or, where none would, the smallest joint one.
    """
    linear = lagrangian.cost.row_buy[: lagrangian.rows.linear]
    coupling = CouplingRows(lagrangian.rows, linear, lambda trades: lagrangian.cost.row_use(trades).sum(axis=1))
    assembled = assemble(
        convex_envelope(lagrangian.pieces, lagrangian.cost, lagrangian.cost_rate),
        lagrangian.risk,
        lagrangian.cost.active,
        lagrangian.cost_rate,
        lagrangian.risk_aversion,
        lagrangian.cash,
        coupling,
    )
    limits = _limits(problem, lagrangian, assembled)
    everything = _slacks(assembled.program, limits, backend, problem.tolerance)
    if everything is None or float(everything.sum()) <= _NO_SLACK:
        return None
    alone = []
    for limit in limits:
        slack = _slacks(assembled.program, [limit], backend, problem.tolerance)
        if slack is not None:
            alone.append(limit.conflict(float(slack[0])))
    conflicts = alone or [
        limit.conflict(float(slack)) for limit, slack in zip(limits, everything, strict=True) if slack > _NO_SLACK
    ]
    conflicts.sort(key=lambda item: item["violation"])
    listed = "; ".join(
        f"{item['constraint']} {item['required']:.4%} is unreachable, the nearest reachable is {item['reachable']:.4%}"
        for item in conflicts
    )
    how = "each of these relaxations alone would do" if alone else "these relaxations together would do"
    unbuyable, unsellable = int((~problem.can_buy).sum()), int((~problem.can_sell).sum())
    return InfeasibleProblemError(
        f"the limits conflict ({unbuyable} assets may not be bought, {unsellable} may not be sold): {listed}; {how}, "
        "everything else as it is.",
        details={**conflicts[0], "conflicts": conflicts, "together": not alone},
        missed=tuple((str(item["constraint"]), float(item["violation"])) for item in conflicts),
    )


def no_sides(problem: RebalanceProblem, lagrangian: Lagrangian) -> InfeasibleProblemError:
    """Return the error for limits that only fractions of a side could meet."""
    limits = [*lagrangian.rows.names, *([TRACKING_ERROR] if np.isfinite(problem.te_max) else [])] or ["the cash range"]
    return InfeasibleProblemError(
        f"no trades were found that meet {', '.join(limits)} together with the lot order and the group rules, although "
        "each limit can be met. Widen the tightest of them.",
        details={"constraint": ", ".join(limits), "required": 0.0, "reachable": 0.0, "violation": 0.0, "conflicts": []},
        missed=(),
    )


def _limits(problem: RebalanceProblem, lagrangian: Lagrangian, assembled: AssembledProgram) -> list[_Limit]:
    most, least = assembled.cash_rows
    limits = []
    if most is not None:
        limits.append(_Limit("cash_min", most, problem.cash_min, -1.0))
    if least is not None:
        limits.append(_Limit("cash_max", least, problem.cash_max, 1.0))
    rows = lagrangian.rows
    for at, (r, sign) in enumerate(assembled.sides, start=assembled.first_side):
        limit = float(rows.most[r] if sign > 0 else rows.least[r]) + float(rows.base[r])
        limits.append(_Limit(f"{rows.names[r]} {'at most' if sign > 0 else 'at least'}", at, limit, sign))
    if assembled.cone_row is not None:
        limits.append(_Limit(f"{TRACKING_ERROR} at most", assembled.cone_row, rows.te_max, 1.0))
    return limits


def _slacks(
    program: QuadraticProgram, limits: list[_Limit], backend: QuadraticBackend, tolerance: float
) -> FloatArray | None:
    """Return the smallest slacks of some limits with all others hard, None where there are none."""
    count, columns, rows = len(limits), program.A.shape[1], program.A.shape[0]
    first_cone = rows - sum(program.second_order)
    # the slacks' own signs come last among the inequalities, before the cone
    column_of = np.repeat(np.arange(columns), np.diff(program.A.indptr))
    row_of = np.where(program.A.indices >= first_cone, program.A.indices + count, program.A.indices)
    place = np.array([limit.row + (count if limit.row >= first_cone else 0) for limit in limits], dtype=np.int64)
    slack_column = columns + np.arange(count)
    matrix = _columns(
        np.concatenate([row_of, place, first_cone + np.arange(count)]),
        np.concatenate([column_of, slack_column, slack_column]),
        np.concatenate([program.A.data, -np.ones(2 * count)]),
        (rows + count, columns + count),
    )
    none = np.zeros(0, dtype=np.int64)
    phase_one = replace(
        program,
        P=_columns(none, none, np.zeros(0), (columns + count, columns + count)),
        q=np.concatenate([np.zeros(columns), np.ones(count)]),
        A=matrix,
        b=np.concatenate([program.b[:first_cone], np.zeros(count), program.b[first_cone:]]),
    )
    try:
        x = backend.solve(phase_one, tolerance).x
    except SolverFailedError:
        return None
    return np.maximum(x[columns:], 0.0)


def _columns(rows: IntArray, columns: IntArray, values: FloatArray, shape: tuple[int, int]) -> SparseColumns:
    by = np.lexsort((rows, columns))
    counts = np.bincount(columns, minlength=shape[1])
    return SparseColumns(values[by], rows[by], np.concatenate([[0], np.cumsum(counts)]), shape)
