import itertools

import numpy as np
import pytest

from prometheus.foundation.errors import CertificateRejectedError, InfeasibleProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.verification import reject, violations_of_weights
from tests.unit.optimizer.brute_force import best_objective
from tests.unit.optimizer.limits import binding
from tests.unit.optimizer.problems import changed, random_problem


def _five(seed):
    return random_problem(
        seed,
        names=5,
        factors=2,
        lots_a_name=1.5,
        group_share=0.0,
        lock_share=0.0,
        fractional=True,
        min_trade=0.0,
        lower=np.zeros(5),
        upper=np.ones(5),
    )


@pytest.mark.parametrize("seed", range(6))
def test_at_most_so_many_names_against_every_choice_of_them(seed):
    """The bound holds against the best of every choice of three assets of five, and the answer is close to it."""
    free = _five(seed)
    held = free.holdings()
    best = np.inf
    for kept in itertools.combinations(range(5), 3):
        upper = np.zeros(5)
        upper[list(kept)] = 1.0
        best = min(best, best_objective(changed(free, upper=upper)))
    result = rebalance(changed(free, max_names=3))
    assert (result.rounded_weights > 1e-9).sum() <= 3
    certificate = result.certificate
    assert certificate.lower_bound <= best + 1e-8
    assert certificate.objective >= best - 1e-8
    assert certificate.objective <= best + 0.5 * abs(best) + 1e-4
    assert certificate.lower_bound >= rebalance(free).certificate.lower_bound - 1e-9
    assert held.shape == (5,)


@pytest.mark.parametrize("seed", range(4))
def test_crumbs_count_as_not_held_without_an_order(seed):
    """Positions below what counts as held need no order to be given up, and the bound does not charge them one."""
    free = _five(seed)
    crumbs = np.isin(free.lot_asset, (1, 3))
    part = np.where(crumbs, 2e-10 / free.lot_weight, 1.0)
    weight = free.lot_weight * part
    lots = {"lot_shares": free.lot_shares * part, "lot_weight": weight}
    free = changed(free, **lots, cash=1.0 - float(weight.sum()), cash_min=0.0, cash_max=1.0, order_cost=1e-3)
    certificate = rebalance(changed(free, max_names=3)).certificate
    assert certificate.lower_bound <= certificate.objective + 1e-9


def test_a_hundred_names_are_cut_to_thirty():
    """The number is met after rounding to whole shares, at a finite gap, with other limits still kept."""
    problem = binding(random_problem(61, names=100), ("turnover",), -0.5)
    result = rebalance(changed(problem, max_names=30))
    assert (result.rounded_weights > 0).sum() <= 30
    assert result.turnover <= problem.turnover_max + 1e-9
    assert 0 <= result.certificate.gap_bps < np.inf
    assert result.certificate.rounded_lower_bound >= result.certificate.lower_bound


def test_names_that_cannot_be_sold_count():
    """Where more assets are locked in than the number allows, the refusal says how many must stay."""
    problem = random_problem(62, names=30)
    locked = changed(problem, can_sell=np.zeros(30, dtype=bool), max_names=3)
    with pytest.raises(InfeasibleProblemError, match="at most 3 assets may be held") as refused:
        rebalance(locked)
    assert refused.value.details["reachable"] == (problem.holdings() > 0).sum()


def test_verification_counts_the_names():
    """Too many assets held are rejected from the problem data."""
    problem = random_problem(63, names=30)
    with pytest.raises(CertificateRejectedError, match="number of names"):
        reject(problem, violations_of_weights(changed(problem, max_names=2), np.zeros(30)), "trades")


def test_a_number_that_does_not_bind_changes_nothing():
    """Where the limit allows every asset the trades are those without the limit, bit for bit."""
    problem = random_problem(64, names=40)
    free, limited = rebalance(problem), rebalance(changed(problem, max_names=40))
    assert free.trades.tobytes() == limited.trades.tobytes()
    assert free.shares.tobytes() == limited.shares.tobytes()
