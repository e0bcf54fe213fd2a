"""The optimizer and the independent reference on the same sides: where they differ, one of them is wrong."""

import ast
from dataclasses import replace
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest

from prometheus.foundation.errors import InfeasibleProblemError, InvalidProblemError, SolverFailedError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends import cvxpy_reference
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.backends.cvxpy import solve_tightly
from prometheus.optimizer.backends.cvxpy_reference import SidedModel, solve_sides
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.problem.envelope import arcs
from prometheus.optimizer.search.assembly import assemble
from prometheus.optimizer.search.branching import search
from prometheus.optimizer.search.fixed_sides import solve_fixed_sides
from tests.long_form import short_form
from tests.unit.optimizer.lagrangians import lagrangian_of, reference_on_stretches
from tests.unit.optimizer.problems import random_problem
from tests.unit.optimizer.small import small_problem

CASH_RANGES = [(0.0, 1.0), (0.002, 0.02), (0.05, 0.06), (0.03, 0.03)]
#: Agreement that acceptance asks for.
OBJECTIVE, WEIGHTS = 1e-7, 1e-6


def _agree(objective, trades, reference):
    assert objective == pytest.approx(reference.objective, rel=OBJECTIVE)
    assert trades == pytest.approx(reference.trades, abs=WEIGHTS)


@pytest.mark.parametrize("seed", short_form(range(100), 24))
def test_equal_sides_get_equal_trades(seed):
    """Newton's method, Clarabel directly, CVXPY and the reference find one optimum once every asset has its side."""
    problem = random_problem(
        seed,
        names=20 + seed % 40,
        factors=2 + seed % 7,
        fractional=bool(seed % 2),
        cash_range=CASH_RANGES[seed % 4],
        group_share=0.0,
        tilt=np.random.default_rng(seed).normal(0, 0.002, 20 + seed % 40),
    )
    lagrangian = lagrangian_of(problem)
    trades = search(lagrangian, backend_named("CLARABEL"), problem.tolerance).trades
    guess = np.random.default_rng(seed).choice([-1, 1], problem.size)
    side = np.where(np.abs(trades) > 1e-9, np.sign(trades), guess).astype(np.int64)
    reference = solve_sides(problem, side)

    limits = lagrangian.limits
    sided = lagrangian.within(
        replace(
            limits,
            low=np.where(side > 0, np.maximum(limits.low, 0.0), limits.low),
            high=np.where(side < 0, np.minimum(limits.high, 0.0), limits.high),
        )
    )
    convex = sided.on_branches(np.zeros(problem.size, dtype=np.int64))
    assert len(convex.pieces.asset) == len(sided.pieces.asset), "one convex run for each asset"
    constant = float((problem.tilt * problem.holdings()).sum())
    newton = solve_fixed_sides(convex, DualPoint(np.zeros(problem.loadings.shape[1]), 0.0))
    assert newton is not None
    _agree(convex.objective(newton.trades) - constant, newton.trades, reference)
    program = assemble(
        arcs(convex.pieces, convex.cost, convex.cost_rate),
        convex.risk,
        convex.cost.active,
        convex.cost_rate,
        convex.risk_aversion,
        convex.cash,
    )
    for name in ("CLARABEL", "CVXPY"):
        u = program.trades(backend_named(name).solve(program.program, 1e-11).x)
        _agree(convex.objective(u) - constant, u, reference)


@pytest.mark.parametrize("lot_method", ["FIFO", "HIFO", "LEAST_TAX_FIRST"])
@pytest.mark.parametrize("seed", short_form(range(12), 5))
def test_no_better_trades_on_the_sides_that_the_two_stages_chose(seed, lot_method):
    """With groups and any lot order, what two stages answer is the reference's optimum on the stretches they chose."""
    problem = random_problem(
        1000 + seed, names=40, lot_method=lot_method, group_share=0.2, cash_range=CASH_RANGES[seed % 4]
    )
    lagrangian = lagrangian_of(problem)
    best = search(lagrangian, backend_named("CLARABEL"), problem.tolerance)
    _agree(best.objective, best.trades, reference_on_stretches(problem, lagrangian, best.trades))


@pytest.mark.parametrize("seed", range(5))
def test_certified_bound_is_below_the_reference_on_any_sides(seed):
    """The certificate bounds the reference's optimum on sides that nobody chose for being good."""
    problem = random_problem(seed, names=30, cash_range=(0.0, 1.0), group_share=0.2)
    bound = rebalance(problem).certificate.lower_bound
    for trial in range(3):
        side = np.random.default_rng(seed + 100 * trial).choice([-1, 1], problem.size)
        assert solve_sides(problem, side).objective >= bound - 1e-9


def test_objective_is_the_sum_that_section_two_writes():
    """Risk, cost, tax and tilt of a sale of two lots add up to the number worked out by hand."""
    # 5 % held in lots of 3 % (tax 0.1 a unit) and 2 % (tax 0.2); cash beside it; everything must go
    problem = small_problem(
        [0.0, 0.0], [(0, 300.0, 0.1), (0, 200.0, 0.2)], upper=np.array([0.0, 0.0]), cash_max=1.0, tilt=np.ones(2)
    )
    answer = solve_sides(problem, [-1, 1])
    assert answer.trades == pytest.approx([-0.05, 0.0], abs=1e-9)
    assert answer.objective == pytest.approx(0.0005 * 0.05 + 0.1 * 0.03 + 0.2 * 0.02, abs=1e-9)


def test_falling_marginal_tax_is_replaced_by_its_hull():
    """A dear lot before a cheap one is taxed at the average of both until both are sold."""
    points = [(0.0, 0.0, 0.0), (1.0, 0.2, 0.5), (2.0, 0.1, 0.25), (3.0, 0.9, 2.25)]
    sale = cvxpy_reference._sale_between(points, 0.0, 2.5)
    assert sale.stretches == [pytest.approx((2.0, 0.05, 0.125)), pytest.approx((0.5, 0.8, 2.0))]
    later = cvxpy_reference._sale_between(points[:3], 1.0, 5.0)
    assert (later.forced, later.forced_tax, later.forced_gain) == (1.0, 0.2, 0.5)
    assert later.stretches == [pytest.approx((1.0, -0.1, -0.25))]


def test_no_loss_is_sold_in_a_group_that_may_be_bought():
    """With one asset of a pair on the buying side, the other sells its gains and leaves its loss alone."""
    lots = [(0, 1000.0, 0.0), (0, 1000.0, -0.2)]
    problem = small_problem([0.0, 0.5], lots, loading=0.1, group=np.array([0, 0]), cash_max=1.0)
    together = solve_sides(problem, [-1, 1])
    assert together.trades[0] == pytest.approx(-0.1, abs=1e-7)
    assert together.trades[1] > 0.01
    alone = solve_sides(problem, [-1, -1])
    assert alone.trades == pytest.approx([-0.2, 0.0], abs=1e-7)


def test_locked_lots_are_skipped_and_permissions_kept():
    """A locked lot stays, the next in order is sold, and an asset that may not be bought is not."""
    problem = small_problem(
        [0.0, 0.9],
        [(0, 1000.0, -0.2), (0, 500.0, -0.1)],
        loading=0.1,
        lot_locked=np.array([True, False]),
        can_buy=np.array([True, False]),
        cash_max=1.0,
    )
    assert solve_sides(problem, [-1, 1]).trades == pytest.approx([-0.05, 0.0], abs=1e-7)
    held = replace(problem, can_sell=np.array([False, True]))
    assert solve_sides(held, [-1, 1]).trades == pytest.approx([0.0, 0.0], abs=1e-7)


def test_a_name_without_a_side_is_not_traded():
    """Side zero keeps an asset where it is, even with nothing that could be sold anywhere."""
    problem = small_problem([0.5, 0.5], [(0, 1000.0, 0.0)], cash_max=1.0)
    assert solve_sides(problem, [0, 0]).trades == pytest.approx([0.0, 0.0], abs=1e-12)


def test_sides_that_cannot_meet_the_rules_are_infeasible():
    """Sides on which cash stays out of its range are refused with our error."""
    problem = small_problem([0.5, 0.5], [(0, 1000.0, 0.0)], cash_min=0.95, cash_max=1.0)
    with pytest.raises(InfeasibleProblemError, match="given sides"):
        solve_sides(problem, [1, 1])


@pytest.mark.parametrize("side", [[1], [1, 2], [0.5, 1]])
def test_sides_that_are_no_sides_are_refused(side):
    """One of -1, 0, +1 for each asset is needed."""
    with pytest.raises(InvalidProblemError, match="for each of the 2 assets"):
        solve_sides(small_problem([0.5, 0.5]), side)


def test_a_solver_that_gives_up_is_a_failure(monkeypatch):
    """A reference without an answer is an error, never an empty vector."""
    monkeypatch.setattr(cvxpy_reference, "solve_tightly", lambda *_: None)
    with pytest.raises(SolverFailedError, match="stopped with None"):
        solve_sides(small_problem([0.5, 0.5]), [1, 1])


def test_a_model_that_is_not_convex_is_refused():
    """What is handed to the solver obeys the rules of disciplined convex programming, or is not solved."""
    x = cp.Variable(2)
    with pytest.raises(AssertionError, match="convex"):
        solve_tightly(cp.Problem(cp.Maximize(cp.sum_squares(x))), 1e-9)


def test_every_rule_of_the_model_is_one_method():
    """The terms and rules named in the model exist and the objective is convex in its variables."""
    model = SidedModel(random_problem(1, names=12), np.tile([1, -1], 6), None)
    assert all(callable(getattr(model, name)) for name in (*SidedModel.TERMS, *SidedModel.RULES))
    assert model.objective().is_convex()


def test_the_reference_shares_no_code_with_what_it_checks():
    """Of the optimizer it imports the problem and the call of the solver, nothing else."""
    tree = ast.parse(Path(cvxpy_reference.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {module for module in modules if module and module.startswith("prometheus.optimizer")}
    assert ours == {"prometheus.optimizer.problem.rebalance_problem", "prometheus.optimizer.backends.cvxpy"}
