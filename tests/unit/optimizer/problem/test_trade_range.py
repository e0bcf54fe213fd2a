import numpy as np
import pytest

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.trade_range import trade_range
from tests.unit.optimizer.small import small_problem

HELD = [(0, 4000.0, 0.1), (1, 5000.0, 0.1)]


def _range(problem):
    return trade_range(problem, lot_order(problem))


def _refusal(problem):
    with pytest.raises(InfeasibleProblemError) as refused:
        _range(problem)
    return refused.value


def test_range_is_bounds_less_holdings_and_never_more_than_the_lots_hold():
    """A sale ends at the lower bound or where the lots end, a purchase at the upper bound."""
    problem = small_problem([0.5, 0.5], HELD, lower=np.array([0.3, 0.0]), upper=np.array([0.45, 1.0]))
    limits = _range(problem)
    assert limits.low == pytest.approx([-0.1, -0.5])
    assert limits.high[0] == pytest.approx(0.05)
    assert limits.group.tolist() == [-1, -1]


def test_a_purchase_cannot_exceed_what_all_sales_would_raise():
    """An open upper bound is cut to the cash that could be there."""
    limits = _range(small_problem([0.5, 0.5], HELD, upper=np.array([np.inf, np.inf])))
    assert np.isfinite(limits.high).all()
    assert (limits.high <= 1.0).all()


def test_a_holding_above_its_upper_bound_must_be_sold():
    """An asset that must not be held at all has only one possible trade."""
    limits = _range(small_problem([0.5, 0.5], HELD, upper=np.array([0.0, 1.0])))
    assert limits.low[0] == limits.high[0] == pytest.approx(-0.4)


def test_a_name_below_its_lower_bound_must_be_bought():
    """A lower bound above the holding forces a purchase."""
    limits = _range(small_problem([0.5, 0.5], [(1, 5000.0, 0.1)], lower=np.array([0.2, 0.0])))
    assert limits.low[0] == pytest.approx(0.2)


def test_unsellable_name_above_its_bound_is_named():
    """An asset outside its bounds that may not be sold is a conflict with a name and a distance, not a violation."""
    error = _refusal(small_problem([0.5, 0.5], HELD, upper=np.array([0.25, 1.0]), can_sell=np.array([False, True])))
    assert "A weighs 40.0000% of NAV" in error.message
    assert "may not be sold" in error.message
    assert error.details["constraint"] == "upper:A"
    assert error.details["violation"] == pytest.approx(0.15)
    assert error.details["reachable"] == pytest.approx(0.4)


def test_locked_lots_that_keep_a_name_above_its_bound_are_named():
    """Locked lots bound what can be sold, and the message says how much that is."""
    problem = small_problem([0.5, 0.5], HELD, upper=np.array([0.25, 0.1]), lot_locked=np.array([True, True]))
    error = _refusal(problem)
    assert error.message.startswith("B weighs")
    assert "(1 more assets likewise)" in error.message
    assert error.details["tickers"] == ["A", "B"]


def test_unbuyable_name_below_its_bound_is_named():
    """A buy-locked asset below its lower bound cannot be brought up, and the message says so."""
    error = _refusal(small_problem([0.5, 0.5], HELD, lower=np.array([0.5, 0.0]), can_buy=np.array([False, True])))
    assert "it may not be bought" in error.message
    assert error.details == {
        "constraint": "lower:A",
        "required": 0.5,
        "reachable": pytest.approx(0.4),
        "violation": pytest.approx(0.1),
        "tickers": ["A"],
    }


def test_cash_floor_out_of_reach_because_of_locks_says_the_most_reachable():
    """When locks leave too little to sell, the message has the most cash that can be reached and what is missing."""
    problem = small_problem([0.5, 0.5], HELD, cash_min=0.6, cash_max=0.7, can_sell=np.array([True, False]))
    error = _refusal(problem)
    assert error.details["constraint"] == "cash_min"
    assert error.details["reachable"] == pytest.approx(0.1 + 0.4 * (1 - 0.0005))
    assert error.details["violation"] == pytest.approx(0.6 - 0.1 - 0.4 * (1 - 0.0005))
    assert "1 assets may not be sold" in error.message


def test_cash_ceiling_out_of_reach_because_of_buy_locks_says_the_least_reachable():
    """When nothing may be bought, the message has the least cash that can be reached."""
    problem = small_problem([0.5, 0.5], HELD, cash_max=0.05, can_buy=np.zeros(2, dtype=bool))
    error = _refusal(problem)
    assert error.details["constraint"] == "cash_max"
    assert error.details["reachable"] == pytest.approx(0.1)
    assert "least reachable is 10.0000%" in error.message
    assert error.message.endswith("being bought: max_weight, max_active_weight, no_buy, wash-sale locks.")


def test_forced_loss_sale_forbids_purchases_in_its_group():
    """Where the bounds force a loss sale, no asset of the group may be bought."""
    problem = small_problem(
        [0.5, 0.5], [(0, 4000.0, -0.1)], upper=np.array([0.2, 1.0]), group=np.array([7, 7]), cash_max=1.0
    )
    limits = _range(problem)
    assert limits.high.tolist() == [pytest.approx(-0.2), 0.0]
    assert limits.group.tolist() == [-1, -1]


def test_forced_purchase_forbids_loss_sales_in_its_group():
    """Where the bounds force a purchase, no loss of the group may be sold."""
    problem = small_problem(
        [0.5, 0.5], [(0, 4000.0, -0.1)], lower=np.array([0.0, 0.1]), group=np.array([7, 7]), cash_max=1
    )
    assert _range(problem).low.tolist() == [0.0, pytest.approx(0.1)]


def test_forced_purchase_beside_forced_loss_sale_is_named():
    """Bounds that force a wash sale between two assets of a group are refused by name."""
    problem = small_problem(
        [0.5, 0.5], [(0, 4000.0, -0.1)], lower=np.array([0.0, 0.1]), upper=np.array([0.2, 1.0]), group=np.array([7, 7])
    )
    error = _refusal(problem)
    assert error.details["constraint"] == "same-day group rule"
    assert error.details["tickers"] == ["A", "B"]


def test_a_group_needs_a_decision_only_if_it_can_break_the_rule():
    """Two assets of a group are undecided when one can lose and one can be bought, else not."""
    lots = [(0, 2000.0, -0.1), (2, 2000.0, 0.1)]
    problem = small_problem([0.25] * 4, lots, group=np.array([1, 1, 2, 2]), cash_max=1.0)
    limits = _range(problem)
    assert limits.group.tolist() == [0, 0, -1, -1]
    no_purchase, no_loss = limits.split_group(0, lot_order(problem).loss_start)
    assert no_purchase.high[:2].tolist() == [0.0, 0.0]
    assert no_loss.low[0] == 0.0
    assert no_loss.high[1] > 0
    assert no_purchase.group.tolist() == no_loss.group.tolist() == [-1] * 4
