"""STRUCTURED: stage 1 by the dual Newton method of structured_dual, with CLARABEL behind it.

The pieces of the envelopes already have the form that method wants, so no matrix is assembled. Its answer counts only
as far as its own duality gap goes, recomputed without the proximal terms: a gap or a residual that is not tight, or a
program that is not made of pieces, goes to CLARABEL, and the answer says so.
"""

import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from prometheus.optimizer.backends.base import (
    QuadraticBackend,
    QuadraticProgram,
    QuadraticSolution,
    backend_named,
)
from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.envelope import ConvexPieces
from prometheus.optimizer.problem import FloatArray, read_only
from prometheus.optimizer.structured_dual import SeparableProgram, climb_dual

#: Largest duality gap of stage 1 that is accepted (objective per unit of NAV: 0.0001 bps).
TIGHT_GAP: Final = 1e-8
#: Largest violation of a row that is accepted (fraction of NAV).
TIGHT_RESIDUAL: Final = 1e-9
_VERSION: Final = "1"
_BPS: Final = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class PiecesProgram:
    """A program made of convex pieces, and how to read its answer.

    Attributes:
        pieces: Convex pieces of every name.
        program: The same with the exposures and the cash range.
        limited: True where the problem has limits besides cash, which ``program`` leaves out.
    """

    pieces: ConvexPieces
    program: SeparableProgram
    limited: bool

    def trades(self, x: FloatArray) -> FloatArray:
        """Return (N,) the trades u of (P,) amounts, clipped to their range."""
        pieces = self.pieces
        moved = np.bincount(pieces.asset, weights=x, minlength=pieces.size)
        return np.minimum(np.maximum(pieces.low + moved, pieces.low), pieces.high)

    def cash_price(self, z: FloatArray) -> float:
        """Return eta, the multiplier of one unit of cash used: positive where cash is scarce."""
        return float(z[0])

    def row_prices(self, z: FloatArray, rows: int) -> FloatArray:  # noqa: ARG002 - as AssembledProgram
        """Return (R,) the multipliers of the limits besides cash: there are none in this program."""
        return np.zeros(rows)

    def risk_price(self, z: FloatArray) -> float:  # noqa: ARG002 - as AssembledProgram
        """Return the multiplier of a tracking-error limit: there is none in this program."""
        return 0.0


class StructuredBackend:
    """The dual Newton method for pieces; CLARABEL for any other program and wherever the method is not tight."""

    name = "STRUCTURED"

    def version(self) -> str:
        """Return the method's version and that of the solver behind it."""
        return f"{_VERSION} (CLARABEL {backend_named('CLARABEL').version()})"

    def solve(self, program: QuadraticProgram, tolerance: float) -> QuadraticSolution:
        """Solve a general program with CLARABEL.

        Raises:
            SolverFailedError: CLARABEL failed.
        """
        solution = backend_named("CLARABEL").solve(program, tolerance)
        return replace(solution, fallback="not a program of pieces")

    def solve_pieces(self, program: PiecesProgram, start: FloatArray) -> QuadraticSolution:
        """Solve a program of pieces; ``fallback`` is set where the answer is not tight and must not be used.

        Args:
            program: The program.
            start: (K,) a guess of the optimal exposures.

        Returns:
            x: (P,) amounts; z: the rows' prices, cash first.
        """
        began = time.perf_counter()
        if program.limited:
            nothing = np.zeros(0)
            why = "limits besides cash are not among STRUCTURED's rows"
            return QuadraticSolution(nothing, nothing, "Declined", 0, 0.0, fallback=why)
        answer = climb_dual(program.program, start, np.zeros(len(program.program.use)))
        tight = answer.gap <= TIGHT_GAP and answer.residual <= TIGHT_RESIDUAL
        return QuadraticSolution(
            x=read_only(answer.amounts),
            z=read_only(answer.row_prices),
            status="Solved" if tight else "Stalled",
            iterations=answer.steps,
            seconds=time.perf_counter() - began,
            fallback=""
            if tight
            else f"STRUCTURED left a gap of {_BPS * answer.gap:.3g} bps and a residual of {answer.residual:.3g}",
        )


def pieces_program(pieces: ConvexPieces, priced: Lagrangian) -> PiecesProgram:
    """State  min g ||y||^2 + sum of the pieces' costs  over the pieces' ranges and the cash range.

    Args:
        pieces: Convex pieces of every name.
        priced: The problem they come from.
    """
    low, risk = pieces.low, priced.risk
    return PiecesProgram(
        pieces,
        SeparableProgram(
            loadings=np.ascontiguousarray(risk.loadings.T),
            base=risk.exposures(priced.cost.active + low),
            risk_aversion=priced.risk_aversion,
            asset=pieces.asset,
            slope=pieces.slope,
            curvature=pieces.curvature,
            length=pieces.right - pieces.left,
            stiffness=2 * priced.cost.curvature,
            rates=pieces.cash[None, :],
            use=np.array([float((low + priced.cost_rate * np.abs(low)).sum())]),
            least=np.array([priced.cash.least]),
            most=np.array([priced.cash.most]),
        ),
        limited=priced.rows.any,
    )


STRUCTURED: Final = StructuredBackend()
BACKEND: Final[QuadraticBackend] = STRUCTURED
