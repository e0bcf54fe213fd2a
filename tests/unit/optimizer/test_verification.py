from typing import Any

import numpy as np
import pytest

from prometheus.foundation.errors import CertificateRejectedError
from prometheus.optimizer import rebalance
from prometheus.optimizer.verification import reject, violations_of_shares, violations_of_weights
from tests.unit.optimizer.problems import random_problem
from tests.unit.optimizer.small import small_problem

LOTS = [(0, 1000.0, -0.1), (0, 1000.0, 0.0), (1, 4000.0, 0.1), (2, 3000.0, 0.1)]


def _problem(**changes: Any):
    return small_problem([0.3, 0.3, 0.4], LOTS, cash_max=0.9, **changes)


def _rules(problem, shares, lots):
    return {v.rule for v in violations_of_shares(problem, np.array(shares, float), np.array(lots, float))}


def test_a_correct_trade_list_breaks_nothing():
    """An honest list passes: part of a lot sold in order, another asset bought."""
    assert _rules(_problem(), [-1200, 500, 0], [1000, 200, 0, 0]) == set()


@pytest.mark.parametrize(
    ("changes", "shares", "lots", "rule"),
    [
        ({}, [-1001, 0, 0], [1001, 0, 0, 0], "oversold"),
        ({}, [1, 0, 0], [-1, 0, 0, 0], "oversold"),
        ({}, [-500, 0, 0], [0, 500, 0, 0], "lot order"),
        ({}, [-500, 0, 0], [400, 0, 0, 0], "lots do not add up to the sale"),
        ({}, [0, 0, 0], [400, 0, 0, 0], "lots do not add up to the sale"),
        ({}, [-500.5, 0, 0], [500.5, 0, 0, 0], "not a whole step"),
        ({"lot_locked": np.array([True, False, False, False])}, [-500, 0, 0], [500, 0, 0, 0], "locked lot sold"),
        ({"can_sell": np.array([False, True, True])}, [-500, 0, 0], [500, 0, 0, 0], "may not be sold"),
        ({"can_buy": np.array([False, True, True])}, [500, 0, 0], [0, 0, 0, 0], "may not be bought"),
        ({"upper": np.array([0.21, 1.0, 1.0])}, [500, 0, 0], [0, 0, 0, 0], "bounds"),
        ({"lower": np.array([0.19, 0.0, 0.0])}, [-500, 0, 0], [500, 0, 0, 0], "bounds"),
        ({"group": np.array([4, 4, 5])}, [-500, 100, 0], [500, 0, 0, 0], "bought in a group that sells a loss"),
        ({"cash_min": 0.2}, [500, 0, 0], [0, 0, 0, 0], "cash range"),
        ({"min_trade": 0.01}, [-99, 0, 0], [99, 0, 0, 0], "below the minimum trade"),
        ({}, [np.nan, 0, 0], [0, 0, 0, 0], "finite trades"),
    ],
)
def test_every_broken_rule_is_found(changes, shares, lots, rule):
    """A forged trade list is caught, and the rule it breaks is named."""
    assert rule in _rules(_problem(**changes), shares, lots)


def test_a_purchase_beside_a_gain_of_its_group_is_allowed():
    """Only losses wash: a gain sold in the group forbids nothing."""
    problem = _problem(group=np.array([4, 4, 5]), lot_rank=np.array([1, 0, 0, 0]))
    assert _rules(problem, [-500, 100, 0], [0, 500, 0, 0]) == set()


@pytest.mark.parametrize(
    ("changes", "trades", "rule"),
    [
        ({}, [-0.3, 0.0, 0.0], "oversold"),
        ({}, [np.inf, 0.0, 0.0], "finite trades"),
        ({"cash_max": 0.9, "cash_min": 0.2}, [0.05, 0.0, 0.0], "cash range"),
        ({"group": np.array([4, 4, 5])}, [-0.05, 0.01, 0.0], "bought in a group that sells a loss"),
        ({"upper": np.array([0.21, 1.0, 1.0])}, [0.05, 0.0, 0.0], "bounds"),
    ],
)
def test_weights_before_rounding_are_checked_too(changes, trades, rule):
    """The continuous answer goes through the same rules."""
    problem = small_problem([0.3, 0.3, 0.4], LOTS, **{"cash_max": 0.9, **changes})
    assert rule in {violation.rule for violation in violations_of_weights(problem, np.array(trades))}


def test_rejection_names_the_worst_rule_and_its_size():
    """The refusal says which rule is broken most, by whom and by how much money."""
    problem = _problem()
    violations = violations_of_shares(problem, np.array([-500.0, 0, 0]), np.array([0, 500.0, 0, 0]))
    with pytest.raises(CertificateRejectedError, match="rounded trades break the rule 'lot order' of L1") as refused:
        reject(problem, violations, "rounded trades")
    assert refused.value.details["violation"] == pytest.approx(0.05)


def test_rounding_noise_is_no_violation():
    """What lies below the tolerance is reported, not refused."""
    problem = _problem()
    violations = violations_of_weights(problem, np.array([0.0, 0.0, -0.3 - 1e-12]))
    assert 0 < reject(problem, violations, "trades") < 1e-9
    assert reject(problem, [], "trades") == 0.0


def test_moving_one_share_of_a_certified_answer_is_seen():
    """Every answer of the optimizer passes; one share more of any sold lot does not."""
    problem = random_problem(2, names=40)
    result = rebalance(problem)
    assert violations_of_shares(problem, result.shares, result.lot_shares_sold) == []
    forged = result.lot_shares_sold.copy()
    forged[np.argmax(forged)] += 1
    assert violations_of_shares(problem, result.shares, forged) != []
