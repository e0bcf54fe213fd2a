from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.certificate import Lagrangian
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.asset_functions import separable_cost
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.trade_range import trade_range
from prometheus.optimizer.search.row_reach import out_of_reach
from tests.unit.optimizer.brute_force import best_objective
from tests.unit.optimizer.limits import realised, with_gains
from tests.unit.optimizer.problems import changed, random_problem


def _refusal(problem):
    order = lot_order(problem)
    cost, limits = separable_cost(problem, order), trade_range(problem, order)
    return out_of_reach(problem, Lagrangian.of_problem(problem, factor_risk(problem), cost, limits))


def _fifo(seed, names, **changes: Any):
    return with_gains(
        random_problem(seed, names=names, lot_method="FIFO", fractional=True, min_trade=0.0, **changes), seed
    )


@pytest.mark.parametrize("seed", range(4))
def test_gains_that_no_lot_order_gives_are_refused_with_the_least_that_can_be(seed):
    """Just below what the refusal calls reachable it refuses again, just above it no longer does."""
    problem = _fifo(seed, 120)
    free = realised(problem, rebalance(problem).trades)
    with pytest.raises(InfeasibleProblemError) as refused:
        rebalance(changed(problem, gain_max=free - 0.5 * abs(free)))
    details = refused.value.details
    assert details["constraint"] == "realised gain at most"
    assert details["violation"] == pytest.approx(details["reachable"] - details["required"])
    least = details["reachable"]
    assert free - 0.5 * abs(free) < least <= free
    assert _refusal(changed(problem, gain_max=least - 1e-6)) is not None
    assert _refusal(changed(problem, gain_max=free)) is None


def test_no_refused_limit_has_an_answer():
    """What is refused has no legal trades among all sides and lots of four assets, cash and groups included."""
    refused = answered = 0
    for seed in range(30):
        problem = _fifo(
            seed, 4, factors=2, lots_a_name=2.0, group_share=0.5, cash_range=(0.0, 0.01 if seed % 2 else 1.0)
        )
        random = np.random.default_rng(seed)
        try:
            free = realised(problem, rebalance(problem).trades)
        except InfeasibleProblemError:
            continue
        limited = changed(problem, gain_max=free - random.uniform(0.0, 0.02))
        if seed % 3 == 0:
            limited = changed(problem, turnover_max=random.uniform(0.0, 0.1))
        if _refusal(limited) is not None:
            assert not np.isfinite(best_objective(limited))
            refused += 1
        else:
            answered += bool(np.isfinite(best_objective(limited)))
    assert refused >= 5
    assert answered >= 5


def test_cash_that_must_be_raised_counts():
    """A gain that the cash to be raised forces is known, although no sale would have to realise any without it."""
    problem = _fifo(3, 60, group_share=0.0, loss_share=0.0, cash_range=(0.3, 1.0))
    refused = _refusal(changed(problem, gain_max=0.0))
    assert refused is not None
    assert refused.details["reachable"] > 0
    assert _refusal(changed(problem, gain_max=0.0, cash_min=0.0)) is None
    assert _refusal(replace(problem, gain_max=float("inf"))) is None
