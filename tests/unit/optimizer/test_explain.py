import numpy as np
import pytest

from prometheus.optimizer import rebalance
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.problems import changed, random_problem
from tests.unit.optimizer.small import small_problem


def _parts(explanation):
    own = (explanation.active_risk, explanation.tax, explanation.trading_cost, explanation.tilt, explanation.cash)
    return sum(own) + sum(price for _, price in explanation.limits)


def _strictly_inside(problem, result):
    """Return True for assets whose trade before rounding is strictly inside its bounds, its side and one lot."""
    inside = np.zeros(problem.size, dtype=bool)
    held, margin = problem.holdings(), 1e-6
    for i in np.flatnonzero(np.abs(result.trades) > margin):
        trade, weight = result.trades[i], held[i] + result.trades[i]
        edges = [0.0]
        for j in sorted(np.flatnonzero(problem.lot_asset == i), key=lambda j: problem.lot_rank[j]):
            if not problem.lot_locked[j]:
                edges.append(edges[-1] - problem.lot_weight[j])
        off_edges = min(abs(trade - edge) for edge in edges) > margin
        inside[i] = off_edges and problem.lower[i] + margin < weight < problem.upper[i] - margin
    return inside


@pytest.mark.parametrize("kinds", [(), ("tracking error",), ("turnover",), ("sectors",), KINDS])
def test_marginal_parts_add_to_zero_strictly_inside_a_piece(kinds):
    """At the optimum risk, tax, cost, tilt and the prices of all limits balance for every free asset."""
    random = np.random.default_rng(5)
    problem = random_problem(51, names=100, tax_weight=0.3, group_share=0.0, tilt=random.normal(0, 1e-3, 100))
    if kinds:
        problem = binding(problem, kinds, 0.02, 51)
    result = rebalance(problem)
    inside = dict(zip(problem.tickers, _strictly_inside(problem, result), strict=True))
    free = [explanation for explanation in result.explanations if inside[explanation.ticker]]
    assert len(free) > 10
    for explanation in free:
        assert _parts(explanation) == pytest.approx(0.0, abs=1e-4)
        assert explanation.bound == pytest.approx(0.0, abs=1e-4)
    assert any(abs(explanation.bound) > 1.0 for explanation in result.explanations)
    for explanation in result.explanations:
        assert _parts(explanation) + explanation.bound == pytest.approx(0.0, abs=1e-9)


def test_every_placed_trade_is_explained_once():
    """Explanations name exactly the assets that trade after rounding, with their trades."""
    problem = random_problem(52, names=60)
    result = rebalance(problem)
    traded = np.flatnonzero(result.shares)
    assert [explanation.ticker for explanation in result.explanations] == [problem.tickers[i] for i in traded]
    for explanation, i in zip(result.explanations, traded, strict=True):
        assert explanation.trade == pytest.approx(result.rounded_weights[i] - problem.holdings()[i], abs=1e-15)


def test_a_limit_that_binds_appears_with_its_price():
    """Every trade has the price of the turnover limit, against the side of the trade."""
    problem = binding(random_problem(53, names=60), ("turnover",), 0.4)
    for explanation in rebalance(problem).explanations:
        ((name, price),) = explanation.limits
        assert name == "turnover"
        assert np.sign(price) == np.sign(explanation.trade)


def _reasons(problem):
    return {explanation.ticker: explanation.reason for explanation in rebalance(problem).explanations}


def test_a_loss_that_is_sold_is_a_harvest():
    """The reason of a loss sale says how large the loss is and what it saves."""
    problem = small_problem([0.5, 0.5], [(0, 5000.0, -0.1), (1, 5000.0, 0.1)], cash_max=0.6)
    problem = changed(problem, lot_gain=np.array([-0.4, 0.4]))
    assert _reasons(problem)["A"].startswith("harvest: loss of ")
    assert "harvest: tax saved" in _reasons(changed(problem, lot_gain=np.zeros(0)))["A"]


def test_an_overweight_that_is_sold_reduces_its_active_weight():
    """The reason of a sale without a loss names the active weight before and after."""
    reasons = _reasons(small_problem([0.5, 0.5], [(0, 7000.0, 0.0), (1, 3000.0, 0.0)]))
    assert reasons["A"].startswith("reduce active weight from +20.000%")
    assert reasons["B"].startswith("reduce active weight from -20.000%")


def test_a_sale_for_a_withdrawal_raises_cash():
    """Assets that go below their benchmark weight to pay out are sold to raise cash."""
    lots = [(0, 5000.0, 0.0), (1, 5000.0, 0.0)]
    reasons = _reasons(small_problem([0.5, 0.5], lots, cash_min=0.2, cash_max=0.3, loading=0.0))
    assert reasons["A"].startswith("raise cash")


def test_a_forced_trade_says_which_bound_forces_it():
    """A trade that a bound asks for is explained by that bound."""
    lots = [(0, 5000.0, 0.0), (1, 5000.0, 0.0)]
    down = _reasons(small_problem([0.5, 0.5], lots, upper=np.array([0.2, 1.0]), cash_max=0.5))
    assert down["A"] == "lower to its greatest weight 20.00%"
    up = _reasons(small_problem([0.5, 0.5], lots, lower=np.array([0.7, 0.0]), cash_max=0.5))
    assert up["A"] == "raise to its least weight 70.00%"


def test_a_rewarded_name_is_bought_for_its_tilt():
    """A purchase beyond the benchmark weight that only the tilt pays for says so."""
    lots = [(0, 5000.0, 0.0), (1, 5000.0, 0.0)]
    problem = small_problem([0.5, 0.5], lots, tilt=np.array([0.3, 0.0]), loading=0.0, lower=np.array([0.0, 0.0]))
    assert _reasons(problem)["A"].startswith("tilt")
