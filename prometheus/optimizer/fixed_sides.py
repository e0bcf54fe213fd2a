"""The problem with one branch for each name, solved exactly on its dual.

With the sides fixed every name has a closed-form answer to given prices and the dual has a continuous gradient:
Newton's method (structured_climb.py) meets the conditions to rounding error in a few steps from the prices of an
earlier solve. Where it does not get there it says so, and the caller asks a back-end instead.
"""

from dataclasses import dataclass

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem import FloatArray
from prometheus.optimizer.structured_climb import STALLED, climb
from prometheus.optimizer.structured_dual import CoupledDual, JointTerms


@dataclass(frozen=True, slots=True, eq=False)
class FixedSidesAnswer:
    """Optimal trades of a problem with fixed sides.

    Attributes:
        trades: (N,) u.
        dual: The prices that support them.
    """

    trades: FloatArray
    dual: DualPoint


def solve_fixed_sides(
    lagrangian: Lagrangian, start: DualPoint, joint: JointTerms | None = None
) -> FixedSidesAnswer | None:
    """Solve the convex problem on the Lagrangian's pieces, one branch for each name.

    Args:
        lagrangian: The true problem restricted to one branch for each name.
        start: Prices to start from.
        joint: ``JointTerms.of`` the problem, where they are known.

    Returns:
        The optimum, or None where Newton's method did not reach it (as where there is none).
    """
    joint = JointTerms.of(lagrangian) if joint is None else joint
    prices = joint.prices(start, lagrangian.risk_aversion, lagrangian.cost.rows)
    response = climb(CoupledDual(lagrangian, joint), prices).response
    if not response.residual <= STALLED:
        return None
    return FixedSidesAnswer(response.trade, joint.dual_point(response.prices, lagrangian.risk_aversion))
