import numpy as np
import pytest

from prometheus.optimizer.problem.asset_functions import separable_cost, true_pieces
from prometheus.optimizer.problem.envelope import arcs, convex_envelope
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.trade_range import trade_range
from tests.long_form import short_form
from tests.unit.optimizer.problems import random_problem
from tests.unit.optimizer.small import small_problem


def _parts(problem):
    order = lot_order(problem)
    cost = separable_cost(problem, order)
    pieces = true_pieces(cost, trade_range(problem, order))
    return cost, pieces, convex_envelope(pieces, cost, problem.cost_rate)


def _value(cost, convex, asset, grid):
    """Evaluate an asset's convex pieces on a grid, starting from the true cost at the left end."""
    mine = np.flatnonzero(convex.asset == asset)
    trades = np.zeros(len(cost.curvature))
    trades[asset] = convex.low[asset]
    value = np.full(len(grid), cost(trades)[asset])
    for p in mine:
        t = np.clip(grid - convex.left[p], 0, convex.right[p] - convex.left[p])
        value += convex.slope[p] * t + convex.curvature[p] * t * t
    return value


def _hull(grid, values):
    """Return the lower convex hull of sampled values, by the monotone chain."""
    hull = []
    for point in zip(grid, values, strict=True):
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (point[0] - hull[-2][0]) >= (point[1] - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append(point)
    x, y = np.array(hull).T
    return np.interp(grid, x, y)


@pytest.mark.parametrize("lot_method", ["LEAST_TAX_FIRST", "HIFO", "FIFO"])
@pytest.mark.parametrize(("seed", "order_cost"), short_form([(0, 0.0), (1, 1e-3), (1, 0.0), (2, 0.0)], 2))
def test_envelope_equals_the_hull_of_a_dense_grid(lot_method, seed, order_cost):
    """The closed-form envelope is the convex hull of the true cost, for any lot order and cost of an order."""
    problem = random_problem(
        seed, names=12, lots_a_name=5, lot_method=lot_method, loss_share=0.6, order_cost=order_cost
    )
    cost, _, convex = _parts(problem)
    for i in range(problem.size):
        if convex.high[i] - convex.low[i] < 1e-9:
            continue
        ends = convex.left[convex.asset == i]
        grid = np.union1d(np.linspace(convex.low[i], convex.high[i], 2001), np.append(ends, 0.0))
        grid = grid[(grid >= convex.low[i]) & (grid <= convex.high[i])]
        true = np.array([cost.of_asset(i, float(u)) for u in grid])
        assert _value(cost, convex, i, grid) == pytest.approx(_hull(grid, true), abs=2e-9)


@pytest.mark.parametrize("lot_method", ["HIFO", "FIFO"])
def test_marginal_cost_rises_and_pieces_leave_no_gap(lot_method):
    """Pieces follow each other without a gap and their marginal cost never falls, so a solver fills them in order."""
    problem = random_problem(11, names=80, lots_a_name=6, lot_method=lot_method)
    _, _, convex = _parts(problem)
    same = np.diff(convex.asset) == 0
    end = convex.slope + 2 * convex.curvature * (convex.right - convex.left)
    assert (convex.slope[1:][same] - end[:-1][same] > -1e-9).all()
    assert np.abs(convex.left[1:][same] - convex.right[:-1][same]).max() <= 3e-12
    assert (convex.right > convex.left).all()


def test_a_loss_beyond_the_round_trip_opens_a_tangent_across_zero():
    """A loss worth more than twice the cost makes the cost non-convex at zero, and the tangent spans zero."""
    problem = small_problem([0.3, 0.7], [(0, 2000.0, -0.01), (1, 6000.0, 0.05)])
    _, pieces, convex = _parts(problem)
    tangents = convex.branch_left != convex.branch_right
    assert convex.asset[tangents].tolist() == [0]
    assert convex.left[tangents][0] < 0 < convex.right[tangents][0]
    assert convex.curvature[tangents][0] == 0
    assert pieces.branch.max() == 2


def test_a_loss_below_the_round_trip_keeps_the_cost_convex():
    """A loss smaller than buying it back costs needs no tangent."""
    problem = small_problem([0.3, 0.7], [(0, 2000.0, -0.0009), (1, 6000.0, 0.05)])
    _, pieces, convex = _parts(problem)
    assert (convex.branch_left == convex.branch_right).all()
    assert pieces.branch.max() == 1


def test_order_decides_convexity_whatever_the_flag_says():
    """A lot order with falling marginal tax is hulled even if the problem calls itself convex."""
    problem = small_problem([0.5, 0.5], [(0, 2000.0, 0.2), (0, 2000.0, 0.01), (1, 4000.0, 0.1)])
    assert problem.lot_order_is_convex
    _, pieces, convex = _parts(problem)
    assert pieces.branch[pieces.asset == 0].max() > 0
    assert (convex.branch_left != convex.branch_right).any()


def test_names_without_a_choice_keep_a_single_point():
    """An asset that may neither be bought nor sold, or whose sale is forced, has exactly one trade."""
    problem = small_problem(
        [0.5, 0.5],
        [(0, 4000.0, -0.1), (1, 5000.0, 0.1)],
        can_buy=np.array([True, False]),
        can_sell=np.array([True, False]),
        upper=np.array([0.0, 1.0]),
        cash_max=1.0,
    )
    cost, pieces, convex = _parts(problem)
    assert len(convex.asset) == 0
    assert pieces.left.tolist() == pieces.right.tolist() == [pytest.approx(-0.4), 0.0]
    assert pieces.loses.tolist() == [True, False]
    forced = cost(convex.low)
    q = cost.curvature[0]
    assert forced[0] == pytest.approx(q * 0.25 + 0.4 * (0.0005 - 0.1))
    assert q * (cost.active[0] - 0.4) ** 2 + pieces.offset[0] == pytest.approx(forced[0])


def test_one_branch_is_its_own_envelope():
    """Pieces of one branch for each asset come back as they are, with the trading cost in their cash."""
    problem = random_problem(5, names=30)
    cost, pieces, _ = _parts(problem)
    chosen = pieces.on_branches(pieces.branch[pieces.first])
    convex = arcs(chosen, cost, problem.cost_rate)
    assert (convex.branch_left == convex.branch_right).all()
    buys = convex.left >= 0
    assert convex.cash[buys] == pytest.approx(1 + problem.cost_rate[convex.asset[buys]])
    assert convex.cash[~buys] == pytest.approx(1 - problem.cost_rate[convex.asset[~buys]])


def test_cost_of_one_name_agrees_with_the_cost_of_all():
    """The two ways to evaluate an asset's cost give the same number."""
    problem = random_problem(6, names=30, lot_method="FIFO")
    cost, _, convex = _parts(problem)
    trades = np.random.default_rng(0).uniform(convex.low, convex.high)
    assert [cost.of_asset(i, float(u)) for i, u in enumerate(trades)] == pytest.approx(cost(trades), abs=1e-15)
