from dataclasses import replace

import numpy as np
import pytest

from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.certificate import DualPoint, branch_of
from prometheus.optimizer.problem.envelope import arcs
from prometheus.optimizer.problem.semidefinite import solve_semidefinite
from prometheus.optimizer.problem.trade_range import CashRange
from prometheus.optimizer.search.assembly import assemble
from prometheus.optimizer.search.fixed_sides import solve_fixed_sides
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.problems import random_problem


def _convex(problem):
    lagrangian = lagrangian_of(problem)
    pieces = lagrangian.pieces
    priced = lagrangian.minima(DualPoint(np.zeros(problem.loadings.shape[1]), 0.0)).trade
    return lagrangian.on_branches(branch_of(pieces, priced) - pieces.branch[pieces.first])


@pytest.mark.parametrize("cash_range", [(0.0, 1.0), (0.0, 0.001), (0.05, 0.06), (0.03, 0.03)])
@pytest.mark.parametrize("seed", range(3))
def test_newton_agrees_with_the_solver(seed, cash_range):
    """With the sides fixed the K + 1 unknowns give the solver's optimum, with cash free, scarce, abundant or exact."""
    problem = random_problem(seed, names=60, lot_method="FIFO", cash_range=cash_range, group_share=0.0)
    convex = _convex(problem)
    if not convex.can_meet_cash():
        pytest.skip("the sides of this seed cannot meet the range")
    answer = solve_fixed_sides(convex, DualPoint(np.zeros(6), 0.0))
    assert answer is not None
    assembled = assemble(
        arcs(convex.pieces, convex.cost, convex.cost_rate),
        convex.risk,
        convex.cost.active,
        convex.cost_rate,
        convex.risk_aversion,
        convex.cash,
    )
    solver = backend_named("CLARABEL").solve(assembled.program, 1e-10)
    assert convex.objective(answer.trades) == pytest.approx(convex.objective(assembled.trades(solver.x)), abs=1e-8)
    # strong duality on the convex problem: the bound at the answer's own prices is its objective
    bound = convex.bound(answer.dual, convex.minima(answer.dual))
    assert bound == pytest.approx(convex.objective(answer.trades), abs=1e-10)


def test_unreachable_cash_is_said_and_not_forced():
    """Where the sides cannot meet the cash range there is no answer."""
    convex = _convex(random_problem(1, names=20))
    assert solve_fixed_sides(replace(convex, cash=CashRange(5.0, 6.0)), DualPoint(np.zeros(6), 0.0)) is None


def test_prices_far_off_do_not_matter():
    """Newton's method finds the same trades from absurd prices."""
    convex = _convex(random_problem(2, names=40))
    near = solve_fixed_sides(convex, DualPoint(np.zeros(6), 0.0))
    far = solve_fixed_sides(convex, DualPoint(np.full(6, 0.5), 0.3))
    assert near is not None
    assert far is not None
    assert far.trades == pytest.approx(near.trades, abs=1e-10)


def test_semidefinite_system_is_solved_along_its_range():
    """A singular system with a right-hand side in its range is solved, with zero along null directions."""
    half = np.random.default_rng(0).normal(size=(4, 2))
    matrix = half @ half.T
    right = matrix @ np.array([1.0, -2.0, 0.5, 3.0])
    assert matrix @ solve_semidefinite(matrix, right) == pytest.approx(right)
