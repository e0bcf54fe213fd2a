"""The problem with one branch for each asset, solved exactly on its dual.

With the sides fixed every asset has a closed-form answer to given prices and the dual has a continuous gradient:
Newton's method (dual/climb.py) meets the conditions to rounding error in a few steps from the prices of an
earlier solve. Where it does not get there it says so, and the caller asks a back-end instead.
"""

from dataclasses import dataclass

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.dual.climb import STALLED, climb_with_sides
from prometheus.optimizer.dual.coupled_dual import CoupledDual, Response
from prometheus.optimizer.dual.joint_terms import JointTerms
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class FixedSidesAnswer:
    """Optimal trades of a problem with fixed sides.

    Attributes:
        trades: (N,) u.
        dual: The prices that support them.
        response: The answers of every branch to these prices, where Newton's method found them.
    """

    trades: FloatArray
    dual: DualPoint
    response: Response | None = None


def solve_fixed_sides(
    lagrangian: Lagrangian, start: DualPoint, priced: CoupledDual | None = None, branch: IntArray | None = None
) -> FixedSidesAnswer | None:
    """Solve the convex problem of one branch for each asset.

    Args:
        lagrangian: The true problem, on one branch of each asset or on several.
        start: Prices to start from.
        priced: Its dual, where it is known.
        branch: (N,) the branch of each asset in the dual's numbering; None where there is but one.

    Returns:
        The optimum, or None where Newton's method did not reach it (as where there is none).
    """
    if priced is None:
        priced = CoupledDual(lagrangian, JointTerms.of(lagrangian))
    if branch is None:
        branch = priced.first_branch
    if not priced.can_meet_cash(branch):
        return None
    joint = priced.joint
    prices = joint.prices(start, lagrangian.risk_aversion, lagrangian.cost.rows)
    response = climb_with_sides(priced, branch, prices)
    if not response.residual <= STALLED:
        return None
    dual = joint.dual_point(response.prices, lagrangian.risk_aversion)
    return FixedSidesAnswer(response.trade[branch], dual, response)
