"""The optimizer's own first steps for a problem, and what the independent reference says of its answer's stretches."""

import numpy as np

from prometheus.optimizer.backends.cvxpy_reference import ReferenceAnswer, solve_sides
from prometheus.optimizer.certificate import Lagrangian, branch_of
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.asset_functions import separable_cost
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from prometheus.optimizer.problem.trade_range import trade_range


def lagrangian_of(problem: RebalanceProblem) -> Lagrangian:
    """Return what the optimizer makes of a problem before it solves anything."""
    order = lot_order(problem)
    return Lagrangian.of_problem(
        problem, factor_risk(problem), separable_cost(problem, order), trade_range(problem, order)
    )


def reference_on_stretches(problem: RebalanceProblem, whole: Lagrangian, trades: np.ndarray) -> ReferenceAnswer:
    """Return the independent reference's optimum on the sides and branches that some trades chose."""
    pieces = whole.pieces
    chosen = branch_of(pieces, trades)
    least = np.array([pieces.left[pieces.branch == branch].min() for branch in chosen])
    most = np.array([pieces.right[pieces.branch == branch].max() for branch in chosen])
    side = np.where(np.abs(trades) > 1e-11, np.sign(trades), 0).astype(np.int64)
    return solve_sides(problem, side, between=(least, most))
