"""A fixed cost of an order: in the pieces, the search, the certificate, the reference and the explanations."""

import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.certificate import DualPoint, branch_of
from tests.unit.optimizer.agreement import answers, solvable_problems, with_order_cost
from tests.unit.optimizer.brute_force import best_objective, judged
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.legality import broken_rules
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import changed, random_problem, tiny_problem
from tests.unit.optimizer.small import small_problem


@pytest.mark.parametrize("order_cost", [1e-5, 1e-3])
def test_nothing_beats_the_bound_and_the_answer_is_the_best_there_is(order_cost):
    """Against every combination of no trade, sides and lots of four assets; the bound holds and answers are optimal."""
    for seed in (1, 2, 3):
        problem = tiny_problem(seed, order_cost=order_cost)
        best = best_objective(problem)
        for backend in ("CLARABEL", "STRUCTURED"):
            assert judged(problem, best, slack=1e-8, reached=1e-7, backend=backend)


def test_a_sliver_that_must_be_traded_takes_the_name_whose_order_is_worth_most():
    """Cash a ten-millionth above its range forces an order, which the envelope gives for nothing: it is found."""
    problem = random_problem(
        13, names=3, factors=2, lots_a_name=2.0, fractional=True, min_trade=0.0, group_share=0.4, lock_share=0.1
    )
    problem = changed(problem, order_cost=1e-3, cash_min=0.002, cash_max=problem.cash - 1e-7, lower=np.zeros(3))
    certificate = rebalance(problem).certificate
    assert certificate.objective == pytest.approx(best_objective(problem), abs=1e-9)
    assert certificate.gap_bps <= 0.1


def test_no_trade_is_a_point_between_two_sides_that_cost_an_order():
    """The pieces of an asset that may rest: sales and purchases with the cost in their offset, a point without it."""
    problem = small_problem([0.3, 0.7], [(0, 2000.0, 0.1), (1, 6000.0, 0.05)], order_cost=0.001)
    free = lagrangian_of(changed(problem, order_cost=0.0))
    whole = lagrangian_of(problem)
    pieces = whole.pieces
    assert pieces.rests.tolist() == [False, True, False] * 2
    assert pieces.left[pieces.rests].tolist() == pieces.right[pieces.rests].tolist() == [0.0, 0.0]
    assert pieces.branch.tolist() == [0, 1, 2, 3, 4, 5]
    assert (pieces.offset[~pieces.rests] - free.pieces.offset).tolist() == pytest.approx([0.001] * 4)
    at_rest = np.zeros(2)
    assert branch_of(pieces, at_rest).tolist() == [1, 4]
    assert whole.cost(at_rest).tolist() == free.cost(at_rest).tolist()
    traded = np.array([-0.01, 0.01])
    assert whole.cost(traded) - free.cost(traded) == pytest.approx([0.001, 0.001], abs=1e-15)
    assert whole.cost.of_asset(0, 0.0) == free.cost.of_asset(0, 0.0)
    assert whole.cost.of_asset(0, 0.01) - free.cost.of_asset(0, 0.01) == pytest.approx(0.001, abs=1e-15)


def test_a_forced_trade_has_no_point_to_rest_on():
    """Where the bounds force a trade, or leave none, the cost is a constant and no branch is added."""
    problem = small_problem(
        [0.5, 0.3, 0.2],
        [(0, 4000.0, 0.1), (1, 3000.0, 0.1), (2, 2800.0, 0.1)],
        lower=np.array([0.45, 0.0, 0.28]),
        upper=np.array([1.0, 0.25, 0.28]),
        order_cost=0.001,
    )
    whole = lagrangian_of(problem)
    assert not whole.pieces.rests.any()
    minima = whole.minima(DualPoint(np.zeros(1), 0.0))
    free = lagrangian_of(changed(problem, order_cost=0.0)).minima(DualPoint(np.zeros(1), 0.0))
    assert minima.value - free.value == pytest.approx([0.001, 0.001, 0.0], abs=1e-15)


def test_a_split_leaves_no_trade_to_one_part():
    """Of the two parts of an asset between selling and resting one holds every sale, the other everything else."""
    whole = lagrangian_of(random_problem(3, names=10, order_cost=1e-4))
    name = int(np.flatnonzero((whole.limits.low < 0) & (whole.limits.high > 0))[0])
    sales, rest = (whole.within(part) for part in whole.limits.split_asset(name, 0.0, placed=0))
    mine = sales.pieces.asset == name
    assert not sales.pieces.rests[mine].any()
    assert rest.pieces.rests[rest.pieces.asset == name].sum() == 1
    nothing = DualPoint(np.zeros(6), 0.0)
    least = min(part.minima(nothing).value[name] for part in (sales, rest))
    assert least == whole.minima(nothing).value[name]


def test_on_the_same_orders_every_solver_has_the_same_optimum():
    """Back-ends and the independent reference agree on the trades and the cost of the orders, limits on."""
    for seed, free in solvable_problems(2, 5):
        problem = with_order_cost(free, seed)
        (_, objective, trades), *others = answers(problem)
        for _, theirs, moved in others:
            assert theirs == pytest.approx(objective, rel=1e-7)
            assert moved == pytest.approx(trades, abs=1e-6)


@pytest.mark.parametrize("backend", ["CLARABEL", "STRUCTURED", "CVXPY"])
def test_a_cost_of_orders_leaves_the_small_ones(backend):
    """Fewer orders, none of them worth less than its cost at the prices, small gaps, and every rule kept."""
    problem = random_problem(7, names=120, nav=5e6)
    free, result = rebalance(problem, backend=backend), rebalance(changed(problem, order_cost=2e-5), backend=backend)
    assert np.count_nonzero(result.shares) < 0.9 * np.count_nonzero(free.shares)
    assert broken_rules(problem, result) == []
    assert result.terms.orders == pytest.approx(2e-5 * np.count_nonzero(result.shares))
    assert result.terms.total - result.terms.orders >= free.terms.total - 1e-7
    assert result.certificate.gap_bps < 0.25
    assert result.certificate.rounded_gap_bps < 0.3
    # the same trades charged for their orders are no better
    assert result.terms.total <= free.terms.total + 2e-5 * np.count_nonzero(free.shares)


@pytest.mark.parametrize("laid_on", ["limits", "links"])
def test_it_goes_with_limits_and_links(laid_on):
    """Every limit at once, and linked specific returns: legal, certified, the bound below."""
    problem = random_problem(11, names=60, fractional=True)
    problem = binding(problem, KINDS, 0.02, 11) if laid_on == "limits" else linked(problem, 2)
    result = rebalance(changed(problem, order_cost=5e-5), backend="STRUCTURED")
    assert broken_rules(problem, result) == []
    assert -1e-6 <= result.certificate.gap_bps < 3
    assert -1e-6 <= result.certificate.rounded_gap_bps < 3


def test_explanations_tell_what_an_order_is_worth_and_which_it_held_back():
    """A trade says what it gains before its order's cost; the nearest idle assets say what kept them."""
    result = rebalance(random_problem(7, names=120, nav=5e6, order_cost=2e-5))
    idle = [one for one in result.explanations if one.trade == 0]
    placed = [one for one in result.explanations if one.trade != 0]
    assert len(placed) == np.count_nonzero(result.shares)
    assert 0 < len(idle) <= 10
    assert all("an order costs 0.200 bps" in one.reason and one.reason.startswith("not traded: ") for one in idle)
    assert sum("before the 0.200 bps of its order" in one.reason for one in placed) > 0.8 * len(placed)
    for one in result.explanations:
        parts = (one.active_risk, one.tax, one.trading_cost, one.tilt, one.cash, one.bound)
        assert sum(parts) + sum(price for _, price in one.limits) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("value", [-1e-9, float("inf"), float("nan")])
def test_a_cost_that_is_none_is_refused(value):
    """A negative or infinite cost of an order is no problem's."""
    with pytest.raises(InvalidProblemError, match="order_cost"):
        small_problem([1.0], order_cost=value)
