import itertools

import numpy as np
import pytest

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.certificate import DualPoint, Lagrangian, branch_of
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.asset_functions import separable_cost
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.share_grid import share_grid
from prometheus.optimizer.problem.trade_range import trade_range
from prometheus.optimizer.solve import _book, _objective_terms, _weights_after
from prometheus.optimizer.verification import violations_of_shares
from tests.unit.optimizer.brute_force import best_objective
from tests.unit.optimizer.problems import changed, random_problem
from tests.unit.optimizer.small import small_problem

TINY = {"names": 4, "factors": 2, "lots_a_name": 2.0, "group_share": 0.4, "min_trade": 0.0, "fractional": True}


def _lagrangian(problem):
    order = lot_order(problem)
    limits = trade_range(problem, order)
    lagrangian = Lagrangian.of_problem(problem, factor_risk(problem), separable_cost(problem, order), limits)
    return lagrangian, share_grid(problem, order, limits)


def _bound(lagrangian, dual):
    return lagrangian.bound(dual, lagrangian.minima(dual))


@pytest.mark.parametrize("lot_method", ["LEAST_TAX_FIRST", "HIFO", "FIFO"])
@pytest.mark.parametrize("seed", range(3))
def test_any_dual_vector_gives_a_valid_bound(seed, lot_method):
    """However wrong the prices, the bound stays below the best objective that enumeration finds."""
    problem = random_problem(seed, **TINY, lot_method=lot_method, upper=np.ones(4), lower=np.zeros(4))
    best = best_objective(problem) + float(problem.tilt @ problem.holdings())
    lagrangian, _ = _lagrangian(problem)
    random = np.random.default_rng(seed)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        dual = DualPoint(random.normal(size=2) * scale, float(random.normal() * scale))
        assert _bound(lagrangian, dual) <= best + 1e-9


def test_bound_is_tight_at_the_optimum_of_a_convex_problem():
    """Without losses the problem is convex and the certificate leaves no gap."""
    certificate = rebalance(random_problem(3, names=50, loss_share=0.0)).certificate
    assert -1e-9 <= certificate.gap_bps < 1e-6


def test_forbidding_the_group_rule_to_be_broken_raises_the_bound():
    """A group whose free optimum would break the rule gets the better of its two legal sides, which bounds tighter."""
    problem = random_problem(8, names=30, group_share=0.6)
    lagrangian, _ = _lagrangian(problem)
    dual = DualPoint(np.zeros(6), 0.0)
    minima = lagrangian.minima(dual)
    free = lagrangian.bound(dual, minima) - float(np.minimum(*lagrangian.group_values(minima)).sum())
    free += float(minima.value[lagrangian.limits.group >= 0].sum())
    assert lagrangian.bound(dual, minima) > free + 1e-6


def _few_shares(seed):
    """Return a problem of three assets in which only some thousand combinations of whole shares can be traded."""
    random = np.random.default_rng(seed)
    prices = np.round(random.uniform(60, 150, 3), 2)
    lots = [
        (i, round(float(random.integers(1, 4) + (0.37 if random.random() < 0.3 else 0)), 2), float(tax))
        for i in range(3)
        for tax in np.sort(random.uniform(-0.15, 0.1, random.integers(0, 3)))[:: random.choice([-1, 1])]
    ]
    nav = 1_200.0
    return small_problem(
        random.dirichlet(np.ones(3) * 3).tolist(),
        lots,
        prices=prices,
        nav=nav,
        group=np.array([0, 0, 1]) if seed % 2 else np.arange(3),
        cash_max=0.3,
        min_trade=float(random.choice([0.0, 0.1])),
        can_buy=random.random(3) > 0.1,
        lot_locked=random.random(len(lots)) < 0.15,
    )


@pytest.mark.parametrize(("seed", "order_cost"), [*((seed, 0.0) for seed in range(8)), (1, 2e-3), (2, 1e-3), (6, 5e-3)])
def test_rounded_bound_holds_over_every_whole_share_trade_list(seed, order_cost):
    """No trade list in whole shares that passes verification beats the rounded bound, orders with and without a cost.

    Every combination of the tradable amounts of three assets is tried, the exact sell-out among them.
    """
    problem = changed(_few_shares(seed), order_cost=order_cost)
    order, risk, held = lot_order(problem), factor_risk(problem), problem.holdings()
    amounts = []
    for i in range(3):
        sellable = float(order.shares[order.asset == i].sum())
        buys = range(1, int(problem.nav / problem.prices[i]) + 1) if problem.can_buy[i] else range(0)
        amounts.append([*range(-int(sellable), 1), *buys, *([-np.inf] if sellable > int(sellable) else [])])
    best = np.inf
    for steps in itertools.product(*amounts):
        cash = problem.cash - sum(max(n, -1e9) * p for n, p in zip(steps, problem.prices, strict=True)) / problem.nav
        if -np.inf not in steps and not -0.05 < cash < 0.35:
            continue
        shares, sold = _book(problem, order, np.array(steps, dtype=float))
        if any(violation.amount > 1e-9 for violation in violations_of_shares(problem, shares, sold)):
            continue
        weights = _weights_after(problem, shares, sold)
        best = min(best, _objective_terms(problem, risk, weights, weights - held, sold).total)
    try:
        certificate = rebalance(problem).certificate
    except InfeasibleProblemError:
        assert not np.isfinite(best)
        return
    assert certificate.rounded_lower_bound <= best + 1e-9
    assert certificate.rounded_objective >= best - 1e-9
    assert certificate.rounded_lower_bound >= certificate.lower_bound - 1e-12


def test_minima_over_steps_are_never_below_the_continuous_ones():
    """Allowing fewer trades cannot lower an asset's least value, and each least value is reached by a legal amount."""
    problem = random_problem(9, names=40, nav=50_000.0, lot_method="FIFO")
    lagrangian, grid = _lagrangian(problem)
    dual = DualPoint(np.random.default_rng(1).normal(size=6) * 0.01, 0.002)
    free, stepped = lagrangian.minima(dual), lagrangian.rounded_minima(dual, grid)
    assert (stepped.value >= free.value - 1e-15).all()
    steps = stepped.trade / grid.step
    whole = np.abs(steps - np.round(steps)) < 1e-6
    out = np.abs(stepped.trade + grid.all) < 1e-15
    assert (whole | out).all()
    traded = stepped.trade != 0
    assert (np.abs(stepped.trade[traded]) >= problem.min_trade - 1e-12).all()


def test_branch_of_a_shared_end_is_the_left_one():
    """A trade at which two branches meet counts for the left one."""
    lagrangian, _ = _lagrangian(random_problem(10, names=20))
    pieces = lagrangian.pieces
    local = branch_of(pieces, np.zeros(20)) - pieces.branch[pieces.first]
    both = (lagrangian.limits.low < 0) & (lagrangian.limits.high > 0)
    assert (local[both] == 0).all()
