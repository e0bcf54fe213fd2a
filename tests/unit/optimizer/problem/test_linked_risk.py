from dataclasses import replace

import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer import rebalance, tracking_error
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.certificate import DualPoint
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.linked_risk import block_of
from prometheus.optimizer.problem.rebalance_problem import SpecificBlock
from prometheus.optimizer.search.branching import search
from prometheus.optimizer.verification import violations_of_weights
from tests.unit.optimizer.brute_force import best_objective, judged
from tests.unit.optimizer.lagrangians import lagrangian_of, reference_on_stretches
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.linked_blocks import dense_covariance, linked
from tests.unit.optimizer.problems import changed, random_problem, tiny_problem


@pytest.mark.parametrize(("blocks", "twins"), [(1, 0.0), (4, 0.0), (4, 0.999)])
def test_split_adds_up_to_the_dense_covariance_and_leaves_no_negative_variance(blocks, twins):
    """Factors, links and what is split off are Sigma again, and much of the specific variance is split off."""
    problem = linked(random_problem(1, names=50), blocks, twins=twins)
    risk, sigma = factor_risk(problem), dense_covariance(problem)
    active = np.random.default_rng(0).normal(size=(20, 50))
    for one in active:
        assert risk.variance(one) == pytest.approx(one @ sigma @ one, rel=1e-12)
        shared = sigma - np.diag(risk.specific_variance)
        assert risk.price(risk.exposures(one)) == pytest.approx(shared @ one, rel=1e-10)
    assert risk.shared_variance() + risk.specific_variance == pytest.approx(np.diag(sigma))
    assert risk.shared_covariance(np.array([3, 40, 3])) == pytest.approx(shared[np.ix_([3, 40, 3], [3, 40, 3])])
    for i in (0, 17):
        unit = np.zeros(50)
        unit[i] = 0.3
        assert risk.exposures_of(i, 0.3) == pytest.approx(risk.exposures(unit))
    part = risk.specific_variance / problem.specific_variance
    assert (part > 0).all()
    assert part.mean() > 0.5
    for link in risk.links:
        assert np.linalg.eigvalsh(link.remainder)[0] > -1e-15


def test_tracking_error_and_terms_are_those_of_the_dense_covariance():
    """Both tracking errors, the risk term and the verified limit come from the true Sigma."""
    problem = linked(random_problem(2, names=60), 3)
    result, sigma = rebalance(problem), dense_covariance(problem)
    for weights, error in (
        (problem.holdings(), result.tracking_error_before),
        (result.rounded_weights, result.tracking_error_after),
    ):
        active = weights - problem.benchmark_weights
        assert error == pytest.approx(np.sqrt(active @ sigma @ active), rel=1e-10)
        assert tracking_error(problem, weights) == pytest.approx(error, rel=1e-10)
    assert result.terms.active_risk == pytest.approx(10 * result.tracking_error_after**2)
    before = changed(problem, te_max=0.9 * result.tracking_error_before)
    broken = {one.rule: one.amount for one in violations_of_weights(before, np.zeros(60))}
    assert broken["tracking error"] == pytest.approx(0.1 * result.tracking_error_before, rel=1e-9)


def test_blocks_of_unlinked_names_change_nothing():
    """A block without correlations states the diagonal problem: the same trades to the solver's tolerance."""
    problem = random_problem(3, names=50)
    blocks = (block_of(np.arange(50), np.diag(problem.specific_variance)),)
    plain, stated = rebalance(problem), rebalance(changed(problem, specific_blocks=blocks))
    assert stated.trades == pytest.approx(plain.trades, abs=1e-5)
    assert stated.certificate.objective == pytest.approx(plain.certificate.objective, rel=1e-6)


@pytest.mark.parametrize("blocks", [1, 2])
def test_nothing_beats_the_bound_and_nearly_every_answer_is_the_best_there_is(blocks):
    """Against every combination of sides and lots of four linked assets, with and without a tracking-error limit."""
    verdicts = []
    for seed in range(16):
        problem = linked(tiny_problem(seed), blocks, seed)
        if seed % 2:
            problem = binding(problem, ("tracking error",), 0.05, seed)
        verdicts.append(judged(problem, best_objective(problem), slack=1e-7, reached=2e-6))
    solved, optimal = len(verdicts) - verdicts.count(None), verdicts.count(True)
    assert solved >= 10
    assert optimal >= 0.9 * solved


@pytest.mark.parametrize("backend", ["CLARABEL", "CVXPY", "STRUCTURED"])
@pytest.mark.parametrize("seed", range(4))
def test_no_better_trades_on_the_sides_that_the_two_stages_chose(seed, backend):
    """What the two stages answer is the independent reference's optimum on the stretches they chose."""
    method = ("FIFO", "HIFO", "LEAST_TAX_FIRST")[seed % 3]
    problem = linked(random_problem(seed, names=30, lot_method=method, group_share=0.2), (1, 3)[seed % 2], seed)
    lagrangian = lagrangian_of(problem)
    best = search(lagrangian, backend_named(backend), problem.tolerance)
    reference = reference_on_stretches(problem, lagrangian, best.trades)
    assert best.objective == pytest.approx(reference.objective, rel=1e-7)
    assert best.trades == pytest.approx(reference.trades, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_any_prices_give_a_valid_bound(seed):
    """The bound at prices that nobody solved for lies below the objective of an answer."""
    problem = linked(random_problem(seed, names=30), (1, 4)[seed % 2], seed)
    if seed % 3 == 0:
        problem = binding(problem, ("tracking error",), 0.05, seed)
    lagrangian, objective = lagrangian_of(problem), rebalance(problem).certificate.objective
    random = np.random.default_rng(seed)
    for _ in range(20):
        exposures = random.normal(0, 0.01, lagrangian.risk.size)
        dual = DualPoint(exposures, random.normal(0, 1e-3), risk_price=(seed % 3 == 0) * random.gamma(1.0, 2.0))
        assert lagrangian.bound(dual, lagrangian.minima(dual)) <= objective + 1e-12


@pytest.mark.parametrize("blocks", [1, 6])
def test_accounts_of_linked_names_are_certified(blocks):
    """The gap of linked accounts stays below a twentieth of a basis point before rounding."""
    gaps = [rebalance(linked(random_problem(seed, names=120), blocks, seed)).certificate.gap_bps for seed in range(3)]
    assert max(gaps) < 0.05


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS])
def test_limits_bind_are_certified_and_kept_after_rounding(kinds):
    """Every limit beside linked assets is kept, with a certified answer, whole shares included."""
    problem = binding(linked(random_problem(8, names=60), 3, 8), kinds, 0.02, 8)
    result = rebalance(problem)
    assert result.certificate.max_violation <= 1e-9
    assert result.tracking_error_after <= problem.te_max + 1e-9
    assert result.turnover <= problem.turnover_max + 1e-9
    assert -1e-6 <= result.certificate.gap_bps < 0.5


def test_explanations_balance_with_links():
    """The slope of the active risk in an explanation is that of the true Sigma."""
    problem = linked(random_problem(9, names=60, group_share=0.0), 3)
    result, sigma = rebalance(problem), dense_covariance(problem)
    slope = 2 * 10 * sigma @ (result.target_weights - problem.benchmark_weights)
    assert result.explanations
    for one in result.explanations:
        assert one.active_risk == pytest.approx(1e4 * slope[problem.tickers.index(one.ticker)], abs=1e-9)
    assert sum(abs(one.bound) < 1e-4 for one in result.explanations) > 5


def _broken(names, covariance):
    return (SpecificBlock(np.array(names), np.array(covariance, dtype=float)),)


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        (_broken([1, 0], [[0.04, 0.0], [0.0, 0.04]]), "ascending"),
        (_broken([0, 9], [[0.04, 0.0], [0.0, 0.04]]), "there are 4 assets"),
        (2 * _broken([0], [[0.04]]), "in an earlier block"),
        (_broken([0, 1], [[0.04]]), r"must be \(2, 2\)"),
        (_broken([0], [[np.nan]]), "finite"),
        (_broken([0, 1], [[0.04, 0.01], [0.02, 0.04]]), "not symmetric"),
        (_broken([0, 1], [[0.04, 0.01], [0.01, 0.05]]), "another variance for N0001"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(blocks, complaint):
    """Order, range, overlap, shape, NaN, asymmetry and another diagonal are refused with the block."""
    problem = random_problem(1, names=4, specific_variance=np.full(4, 0.04))
    with pytest.raises(InvalidProblemError, match=complaint):
        changed(problem, specific_blocks=blocks)


def test_names_that_are_exactly_alike_are_refused_with_advice():
    """A correlation of one leaves nothing to split off; the message says what to write instead."""
    problem = random_problem(1, names=4, specific_variance=np.full(4, 0.04))
    blocks = _broken([0, 1], [[0.04, 0.04], [0.04, 0.04]])
    with pytest.raises(InvalidProblemError, match=r"N0000 is not positive definite.*0\.999"):
        rebalance(changed(problem, specific_blocks=blocks))


def test_stage_two_falls_back_to_the_solver_beside_links(monkeypatch):
    """Where Newton's method gives up, the back-end's own stage 2 is as good."""
    problem = linked(random_problem(5, names=40), 2)
    expected = rebalance(problem).certificate.objective
    monkeypatch.setattr("prometheus.optimizer.search.two_stage.solve_fixed_sides", lambda *_: None)
    certificate = rebalance(problem).certificate
    assert certificate.objective == pytest.approx(expected, abs=2e-6)
    assert certificate.lower_bound <= expected + 1e-9


def test_trades_that_forget_the_links_are_worse_than_the_bound_by_what_they_forgot():
    """The optimum of the problem without its links costs more under the true Sigma than the certified answer."""
    problem = linked(random_problem(6, names=40, cash_range=(0.0, 1.0)), 1)
    forgotten = rebalance(replace(problem, specific_blocks=()))
    true = rebalance(problem)
    active = forgotten.target_weights - problem.benchmark_weights
    objective = forgotten.certificate.objective + 10 * float(
        active @ (dense_covariance(problem) - dense_covariance(replace(problem, specific_blocks=()))) @ active
    )
    assert true.certificate.lower_bound <= objective + 1e-12
    assert objective > true.certificate.objective + 1e-6
