"""Convex pieces solved by a back-end: of all of them, or of those that the optimal prices can reach."""

from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import CertificateRejectedError, SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticSolution
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.dual.price_guess import guessed_prices
from prometheus.optimizer.problem.envelope import ConvexPieces
from prometheus.optimizer.problem.rebalance_problem import FloatArray
from prometheus.optimizer.search.assembly import AssembledProgram, CouplingRows, assemble
from prometheus.optimizer.search.screening import KeptPieces

#: Largest residual of the solver's answer in the program's own rows that is accepted (fraction of NAV).
RESIDUAL_TOLERANCE = 1e-7
#: A multiplier of the cash range below this is rounding noise of the solver.
_NO_PRICE = 1e-9
#: Programs of some of the pieces that are solved before the one of all pieces.
_MAX_SCREENED = 3
#: More than this part of the pieces are not worth leaving the others out.
_WORTHWHILE = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedAnswer:
    """An optimum over convex pieces.

    Attributes:
        trades: (N,) u.
        dual: Its prices.
        solution: What the back-end said.
        pieces: How many pieces its program had.
    """

    trades: FloatArray
    dual: DualPoint
    solution: QuadraticSolution
    pieces: int


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """A back-end and the tolerance it is asked for."""

    backend: QuadraticBackend
    tolerance: float

    def solve(self, pieces: ConvexPieces, priced: Lagrangian) -> RelaxedAnswer:
        """Solve the program of all pieces.

        Args:
            pieces: Convex pieces of every asset.
            priced: The problem they belong to.

        Raises:
            SolverFailedError: The back-end failed.
            CertificateRejectedError: Its answer breaks the program's own rows.
        """
        coupling = None
        if priced.rows.any:
            linear = priced.cost.row_buy[: priced.rows.linear]
            coupling = CouplingRows(priced.rows, linear, lambda trades: priced.cost.row_use(trades).sum(axis=1))
        assembled = assemble(
            pieces, priced.risk, priced.cost.active, priced.cost_rate, priced.risk_aversion, priced.cash, coupling
        )
        solution = self.backend.solve(assembled.program, self.tolerance)
        violation = assembled.program.violation(solution.x)
        if not violation <= RESIDUAL_TOLERANCE:
            raise CertificateRejectedError(
                f"{self.backend.name} answered {solution.status}, but its point breaks the program's rows by "
                f"{violation:.3g} of NAV; at most {RESIDUAL_TOLERANCE:g} is accepted.",
                details={"violation": violation, "status": solution.status},
            )
        trades = assembled.trades(solution.x)
        return RelaxedAnswer(trades, _dual(priced, assembled, solution, trades), solution, len(pieces.asset))

    def solve_screened(self, pieces: ConvexPieces, priced: Lagrangian, near: DualPoint | None) -> RelaxedAnswer:
        """Solve the same program, built of the pieces next to the optimal prices wherever that can be told.

        Args:
            pieces: Convex pieces of every asset.
            priced: The problem they belong to.
            near: Prices that are known to be near the optimal ones; None to guess them, which is not done where there
                is a tracking-error limit or specific returns are linked: the guess knows neither.

        Raises:
            SolverFailedError: The back-end failed.
            CertificateRejectedError: Its answer breaks the program's own rows.
        """
        blind = near is None and (np.isfinite(priced.rows.te_max) or bool(priced.risk.links))
        if blind or not len(pieces.asset):
            return self.solve(pieces, priced)
        kept = KeptPieces.near(pieces, priced, guessed_prices(pieces, priced) if near is None else near)
        for _ in range(_MAX_SCREENED):
            if kept.count > _WORTHWHILE * len(pieces.asset) or not kept.can_meet_cash(pieces, priced):
                break
            try:
                answer = self.solve(kept.cut(pieces), priced)
            except SolverFailedError:
                # the limits may not be reachable on the pieces kept; what all of them allow is asked next
                break
            if kept.are_enough(pieces, priced, answer.dual):
                return answer
            kept = kept.joined(KeptPieces.near(pieces, priced, answer.dual))
        return self.solve(pieces, priced)


def _dual(
    priced: Lagrangian, assembled: AssembledProgram, solution: QuadraticSolution, trades: FloatArray
) -> DualPoint:
    price = assembled.cash_price(solution.z)
    exposures = priced.risk.exposures(priced.cost.active + trades)
    price = price if abs(price) > _NO_PRICE else 0.0
    if not priced.rows.any:
        return DualPoint(exposures, price)
    rows = assembled.row_prices(solution.z, priced.cost.rows)
    rows[np.abs(rows) <= _NO_PRICE] = 0.0
    return DualPoint(exposures, price, rows, assembled.risk_price(solution.z))
