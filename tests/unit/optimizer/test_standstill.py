"""Nothing may trade: the one answer there is, with its exact certificate."""

import numpy as np
import pytest

from prometheus.foundation.errors import CertificateRejectedError, InvalidProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.standstill import NO_SOLVER, stand_still
from tests.unit.optimizer.problems import changed, random_problem


def closed(problem, **changes: object):
    """Return a problem in which nobody may trade, its cash range around its cash."""
    nobody = np.zeros(problem.size, dtype=np.bool_)
    free = {
        "can_buy": nobody,
        "can_sell": nobody,
        "cash_min": 0.0,
        "cash_max": 1.0,
        "lower": np.minimum(problem.lower, problem.holdings()),
        "upper": np.maximum(problem.upper, problem.holdings()),
    }
    return changed(problem, **{**free, **changes})


@pytest.mark.parametrize("backend", ["CLARABEL", "STRUCTURED"])
def test_it_is_the_answer_of_the_solvers(backend):
    """Objective, bound, weights and tracking error are those of a solver that is asked the same."""
    problem = closed(random_problem(3, names=12, factors=3))
    still, solved = stand_still(problem), rebalance(problem, backend=backend)
    assert not still.shares.any()
    assert not solved.shares.any()
    assert still.certificate.gap_bps == still.certificate.rounded_gap_bps == 0.0
    assert still.certificate.lower_bound == pytest.approx(solved.certificate.lower_bound, abs=1e-12)
    assert still.terms.total == pytest.approx(solved.terms.total, abs=1e-15)
    assert still.rounded_weights.tolist() == problem.holdings().tolist()
    assert still.tracking_error_after == pytest.approx(solved.tracking_error_after, abs=1e-15)
    assert still.cash_after == problem.cash
    assert (still.facts.backend, still.facts.iterations) == (NO_SOLVER, 0)


def test_a_name_that_may_trade_is_refused():
    """Where one asset may be bought, trading nothing is not the only answer."""
    problem = closed(random_problem(3, names=12, factors=3))
    can_buy = problem.can_buy.copy()
    can_buy[4] = True
    with pytest.raises(InvalidProblemError, match="some assets may be traded"):
        stand_still(changed(problem, can_buy=can_buy))


def test_a_rule_that_holdings_break_is_refused():
    """Cash outside its range is no answer, though nothing may trade."""
    problem = closed(random_problem(3, names=12, factors=3))
    with pytest.raises(CertificateRejectedError, match="cash range"):
        stand_still(changed(problem, cash_min=problem.cash + 0.01))
