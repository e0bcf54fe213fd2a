"""STRUCTURED: stage 1 on the dual of the true problem itself, with CLARABEL behind it.

The dual of coupled_dual.py has the same maximum as the envelope's quadratic program, whatever limits join the assets,
so neither an envelope nor a matrix is built. Its answer is accepted only where its own duality gap and residual are
tight. Otherwise, and for a program that is not a problem's stage 1, CLARABEL solves, and the answer says so.
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
    check_vector,
)
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.dual.climb import ClimbAnswer, climb
from prometheus.optimizer.dual.coupled_dual import CoupledDual, MixingWeights, Response
from prometheus.optimizer.dual.decisions import RestingPlaces, least_part
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.problem.rebalance_problem import FloatArray, read_only

#: Largest duality gap of stage 1 that is accepted (objective per unit of NAV: 0.001 bps).
TIGHT_GAP: Final = 1e-7
#: Largest violation of a row that is accepted (fraction of NAV).
TIGHT_RESIDUAL: Final = 1e-8
_VERSION: Final = "2"
_BPS: Final = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class StructuredAnswer:
    """The optimum of stage 1.

    Attributes:
        relaxed: (N,) trades, on the convex envelope.
        dual: Their prices.
        places: Their positions on the envelope.
        mixing: Mixing weights of the assets' branches.
        solution: x: (N,) the trades; z: (size,) the prices of exposures, rows and tracking error; ``fallback`` is set
            where the answer is not tight and must not be used.
    """

    relaxed: FloatArray
    dual: DualPoint
    places: RestingPlaces
    mixing: MixingWeights
    solution: QuadraticSolution


class StructuredBackend:
    """The dual Newton method for stage 1; CLARABEL for any other program and wherever the method is not tight."""

    name = "STRUCTURED"

    def version(self) -> str:
        """Return the version of the method and of the solver behind it."""
        return f"{_VERSION} (CLARABEL {backend_named('CLARABEL').version()})"

    def solve(self, program: QuadraticProgram, tolerance: float) -> QuadraticSolution:
        """Solve a general program with CLARABEL, saying so in ``fallback``."""
        answer = backend_named("CLARABEL").solve(program, tolerance)
        return replace(answer, fallback="not a program of pieces")

    def stage_one(
        self, lagrangian: Lagrangian, joint: JointTerms, start: DualPoint, known: MixingWeights | None = None
    ) -> StructuredAnswer:
        """Solve stage 1 of a problem.

        Args:
            lagrangian: The problem with every branch of each asset.
            joint: ``JointTerms.of`` it.
            start: A guess of its prices.
            known: Mixing weights that go with them, of a problem that this is a part of.

        Raises:
            CertificateRejectedError: The answer is empty or not finite.
        """
        began = time.perf_counter()
        dual = CoupledDual(lagrangian, joint)
        prices = joint.prices(start, lagrangian.risk_aversion, lagrangian.cost.rows)
        answer = climb(dual, prices, known)
        if known is not None and not _is_tight(answer):
            answer = climb(dual, prices)
        response = answer.response
        residual = response.residual
        mixed = np.bincount(dual.owner, weights=response.mixing * response.trade, minlength=dual.asset_count)
        relaxed = mixed.astype(np.float64)
        tight = _is_tight(answer)
        why = f"STRUCTURED left a gap of {_BPS * answer.gap:.3g} bps and a residual of {residual:.3g}"
        solution = QuadraticSolution(
            x=read_only(relaxed),
            z=read_only(response.prices),
            status="Solved" if tight else "Stalled",
            iterations=answer.steps,
            seconds=time.perf_counter() - began,
            fallback="" if tight else why,
        )
        if tight:
            check_vector(self.name, solution.status, "point", relaxed, (dual.asset_count,))
            check_vector(self.name, solution.status, "list of multipliers", response.prices, (joint.size,))
        return StructuredAnswer(
            relaxed,
            joint.dual_point(response.prices, lagrangian.risk_aversion),
            _resting_places(dual, response, relaxed),
            dual.mixing_weights(response),
            solution,
        )


def _is_tight(answer: ClimbAnswer) -> bool:
    return answer.gap <= TIGHT_GAP and answer.response.residual <= TIGHT_RESIDUAL


def _resting_places(dual: CoupledDual, response: Response, relaxed: FloatArray) -> RestingPlaces:
    """Derive the positions from the branches' mixing weights."""
    branch = np.zeros(dual.asset_count, dtype=np.int64)
    several, mixing = dual.several, response.mixing[response.right]
    left, right = response.left - dual.first_branch[several], response.right - dual.first_branch[several]
    branch[several] = np.where(mixing > 0.5, right, left)
    jump = response.trade[response.right] - response.trade[response.left]
    least = least_part(dual.lagrangian.pieces)
    between = ((mixing > least) & (mixing < 1 - least)).nonzero()[0]
    between = between[np.argsort(-jump[between], kind="stable")]
    asset = several[between]
    ends = np.stack([response.trade[response.left[between]], response.trade[response.right[between]]], axis=1)
    return RestingPlaces(
        branch=branch,
        asset=asset,
        jump=ends - relaxed[asset][:, None],
        ends=np.stack([left[between], right[between]], axis=1),
    )


STRUCTURED: Final = StructuredBackend()
BACKEND: Final[QuadraticBackend] = STRUCTURED
