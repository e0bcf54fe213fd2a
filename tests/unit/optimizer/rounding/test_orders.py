import numpy as np
import pytest

from prometheus.optimizer import rebalance
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.problem.share_grid import share_grid
from prometheus.optimizer.rounding.orders import settled_orders, without_new_assets
from prometheus.optimizer.rounding.round_trades import one_side
from prometheus.optimizer.rounding.state import RoundingModel
from tests.unit.optimizer.lagrangians import lagrangian_of
from tests.unit.optimizer.problems import random_problem
from tests.unit.optimizer.small import small_problem


def _settled(problem, steps, wishes):
    whole = lagrangian_of(problem)
    trades = np.array(steps) * problem.share_step * problem.prices / problem.nav
    grid = share_grid(problem, whole.cost.order, one_side(whole.limits, trades))
    model = RoundingModel(problem, whole.risk, whole.cost, grid, whole.cash, whole.rows)
    prices = DualPoint(whole.risk.exposures(whole.cost.active + trades), 0.0)
    return settled_orders(model, np.array(steps), np.array(wishes), prices).tolist()


def _underweight(**changes: object):
    """Return a problem whose first asset is a hundredth underweight: buying that is worth about 0.85 bps."""
    return small_problem([0.5, 0.5], [(0, 4900.0, 0.1), (1, 5000.0, 0.1)], **changes)


def test_an_order_that_is_not_worth_its_cost_is_dropped_whole():
    """A purchase of 90 shares stays where an order costs 0.1 bps and goes where it costs 2 bps."""
    steps = [90.0, 0.0]
    assert _settled(_underweight(order_cost=1e-5), steps, [0.0, 0.0])[0] > 50
    assert _settled(_underweight(order_cost=2e-4), steps, [0.0, 0.0]) == [0.0, 0.0]


def test_an_order_that_the_prices_wish_for_is_placed():
    """An asset without a trade gets the order it would have at the prices, if that is worth its cost."""
    rest, wishes = [0.0, 0.0], [0.0095, 0.0]
    placed = _settled(_underweight(order_cost=1e-5), rest, wishes)
    assert 50 < placed[0] < 100
    assert placed[1] == 0.0
    assert _settled(_underweight(order_cost=2e-4), rest, wishes) == rest


def test_two_orders_that_pay_for_each_other_are_dropped_together():
    """Where the cash range is full neither order can be dropped alone; both can."""
    problem = _underweight(order_cost=1e-3, cash_min=0.0099, cash_max=0.0101)
    assert _settled(problem, [40.0, -40.0], [0.0, 0.0]) == [0.0, 0.0]


def test_no_order_adds_a_name_where_names_are_counted():
    """With a limit on the number of assets those that are not held after trading stay so, sold out or never bought."""
    problem = small_problem(
        [0.5, 0.3, 0.2], [(0, 5000.0, 0.1), (2, 300.0, 0.1)], order_cost=1e-5, cash_max=1.0, max_names=1
    )
    whole = lagrangian_of(problem)
    limits = without_new_assets(whole.limits, whole.cost.order, problem.holdings(), np.array([0.0, 0.0, -0.03]))
    assert limits.low.tolist() == [-0.5, 0.0, pytest.approx(-0.03)]
    assert limits.high[1:].tolist() == [0.0, pytest.approx(-0.03)]
    assert limits.high[0] > 0
    result = rebalance(problem)
    assert np.count_nonzero(result.rounded_weights > 1e-9) == 1


@pytest.mark.parametrize("nav", [2e4, 2e5])
def test_no_placed_order_of_an_account_in_whole_shares_is_worth_dropping(nav):
    """After rounding no single order can be taken out of the list with a gain."""
    problem = random_problem(17, names=60, nav=nav, order_cost=5e-5, cash_range=(0.0, 0.2), min_trade=0.0)
    result = rebalance(problem)
    whole = lagrangian_of(problem)
    held = problem.holdings()
    trades = result.rounded_weights - held
    objective = whole.objective(trades)
    for i in np.flatnonzero(trades):
        without = trades.copy()
        without[i] = 0.0
        cash = problem.cash - without.sum() - (problem.cost_rate * np.abs(without)).sum()
        legal = problem.cash_min <= cash <= problem.cash_max and problem.lower[i] <= held[i] <= problem.upper[i]
        assert not legal or whole.objective(without) >= objective - 2e-9
