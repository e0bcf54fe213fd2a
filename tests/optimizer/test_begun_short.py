"""Accounts that are short already: covering is a part of the trade, its tax and the borrowing it saves weighed."""

import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.search.branching import search
from tests.unit.optimizer.brute_force import best_objective, judged
from tests.unit.optimizer.lagrangians import lagrangian_of, reference_on_stretches
from tests.unit.optimizer.legality import broken_rules
from tests.unit.optimizer.problems import changed, random_problem, tiny_problem
from tests.unit.optimizer.short_accounts import begun_short, extended
from tests.unit.optimizer.small import small_problem


def _short_a(**changes: object):
    """Return an account that is short 10 % of A, in two lots, and holds B; the benchmark has 5 % of A."""
    values = {
        "lower": np.array([-0.2, 0.0]),
        "upper": np.array([1.0, 2.0]),
        "short_max": 0.3,
        "long_max": 1.3,
        "borrow_rate": np.array([0.02, 0.01]),
        "cash": 0.15,
        "short_asset": np.array([0, 0]),
        "short_id": ("S1", "S2"),
        "short_shares": np.array([400.0, 600.0]),
        "short_weight": np.array([0.04, 0.06]),
        "cover_tax": np.array([0.0, 0.0]),
    }
    return small_problem([0.05, 0.95], [(1, 9500.0, 0.0)], **{**values, **changes})


def test_a_purchase_covers_first_and_then_opens_a_long_position():
    """Bought up to its benchmark weight the asset is flat on the way: no borrowing is left, and the weights add up."""
    problem = _short_a()
    result = rebalance(problem)
    assert not broken_rules(problem, result)
    assert result.shares[0] > 1000
    assert result.rounded_weights[0] == pytest.approx((result.shares[0] - 1000) * 10 / 100_000, abs=1e-15)
    assert result.terms.borrow == 0.0
    assert result.certificate.gap_bps == pytest.approx(0.0, abs=1e-4)


def test_an_account_that_rests_pays_for_its_short_positions():
    """Without a trade the objective has a year's borrowing of what is short, and no tax."""
    nobody = np.zeros(2, dtype=bool)
    result = rebalance(_short_a(can_buy=nobody, can_sell=nobody, cash_max=0.2))
    assert result.terms.borrow == pytest.approx(0.02 * 0.1, rel=1e-12)
    assert result.terms.tax == 0.0
    assert result.rounded_weights == pytest.approx([-0.1, 0.95])


def test_a_gain_of_covering_is_taxed_and_a_loss_is_worth_its_tax():
    """A cover whose gain is taxed highly is put off; one that loses is harvested at its lot, the earliest first."""
    dear = rebalance(_short_a(cover_tax=np.array([0.5, 0.5]), cash_max=0.2))
    assert dear.shares[0] == 0
    # the first lot has a usable loss, the second a gain: as much is bought as the first one owes
    first = rebalance(_short_a(cover_tax=np.array([-0.3, 0.5]), cash_max=0.2))
    assert first.shares[0] == 400
    assert first.terms.tax == pytest.approx(-0.3 * 0.04, rel=1e-12)
    assert first.terms.borrow == pytest.approx(0.02 * 0.06, rel=1e-12)


def test_explanations_say_what_is_covered():
    """A cover has the slopes of its lot's tax and of the borrowing it saves, and they add to zero with the bound."""
    result = rebalance(_short_a(cover_tax=np.array([-0.3, 0.5]), cash_max=0.2))
    one = next(one for one in result.explanations if one.ticker == "A")
    assert one.reason.startswith("cover -10.000% of NAV to -6.000%")
    assert one.borrow == pytest.approx(-1e4 * 0.02)
    assert one.tax == pytest.approx(-1e4 * 0.3)
    parts = (one.active_risk, one.tax, one.trading_cost, one.tilt, one.cash, one.borrow, one.bound)
    assert sum(parts) + sum(price for _, price in one.limits) == pytest.approx(0.0, abs=1e-9)
    wholly = rebalance(_short_a())
    assert "cover -10.000% of NAV wholly" in next(o.reason for o in wholly.explanations if o.ticker == "A")


def test_a_long_only_strategy_covers_everything():
    """Where no short position may remain, all of them are covered on the day."""
    problem = _short_a(short_max=0.0, long_max=float("inf"), lower=np.array([0.0, 0.0]), cover_tax=np.array([0.5, 0.5]))
    result = rebalance(problem)
    assert not broken_rules(problem, result)
    assert result.rounded_weights[0] >= 0.0
    assert result.shares[0] >= 1000


def test_more_may_be_sold_short_down_to_the_bound():
    """An asset that is short already goes shorter by whole steps, and never below its least weight."""
    problem = _short_a(tilt=np.array([-0.5, 0.0]), lower=np.array([-0.15005, 0.0]), cash_max=1.0, risk_aversion=1.0)
    result = rebalance(problem)
    assert not broken_rules(problem, result)
    assert result.shares[0] == -500
    assert result.rounded_weights[0] == pytest.approx(-0.15)


def test_a_budget_of_gains_counts_what_covering_realises():
    """With room for a part of the gain only, that part is covered."""
    gains = np.array([0.5, 0.5])
    problem = _short_a(cover_gain=gains, gain_max=0.01, lot_gain=np.zeros(1), cash_max=0.2)
    result = rebalance(problem)
    assert not broken_rules(problem, result)
    assert 0 < result.shares[0] <= 200


def _tiny(seed: int, **more: object):
    problem = tiny_problem(seed, least_room=0.15, most=1.2, lock_share=0.1, cash_range=(0.0, 0.3), **more)
    problem = extended(problem, (1.05, 1.3)[seed % 2], seed, depth=0.15)
    problem = changed(problem, borrow_rate=np.where(np.isfinite(problem.borrow_rate), problem.borrow_rate, 0.01))
    problem = begun_short(problem, seed, count=1 + seed % 2, depth=0.03 + 0.03 * (seed % 2))
    step = problem.share_step * problem.prices / problem.nav
    return changed(problem, lower=-np.floor(-problem.lower / step + 1e-9) * step)


def test_nothing_beats_the_bound_and_nearly_every_answer_is_the_best_there_is():
    """Against every combination of sides, lots, covers and short positions of four assets."""
    verdicts = []
    for seed in range(40):
        problem = _tiny(seed, tax_weight=(1.0, 0.1)[seed % 2])
        steps = np.bincount(problem.lot_asset, problem.lot_shares, 4) / problem.share_step
        if (np.abs(steps - np.round(steps)) > 1e-6).any():
            # what a fraction of a step in the lots forbids is not in the oracle
            continue
        if seed % 3 == 0:
            problem = changed(problem, order_cost=2e-4)
        if seed % 5 == 0:
            problem = changed(problem, gain_max=0.01, lot_gain=np.sign(problem.lot_tax) * 0.2)
        verdicts.append(judged(problem, best_objective(problem), slack=1e-7, reached=2e-6))
    solved, optimal = len(verdicts) - verdicts.count(None), verdicts.count(True)
    assert solved >= 12
    assert optimal >= 0.85 * solved


@pytest.mark.parametrize("backend", ["CLARABEL", "STRUCTURED"])
@pytest.mark.parametrize("seed", range(6))
def test_every_answer_is_legal_and_its_gap_is_small(seed, backend):
    """Sixty assets, a tenth of them short already, in fractions and in whole shares."""
    problem = random_problem(seed, names=60, fractional=bool(seed % 2), group_share=0.1)
    problem = begun_short(extended(problem, 1.3, seed), seed, count=6, depth=0.015)
    problem = changed(problem, cash_max=max(problem.cash_max, 0.1))
    result = rebalance(problem, backend=backend)
    assert not broken_rules(problem, result)
    assert -1e-6 <= result.certificate.gap_bps < 0.5
    assert result.certificate.rounded_objective == pytest.approx(result.terms.total)
    assert result.certificate.rounded_gap_bps >= -1e-6
    assert (result.shares[problem.short_asset] > 0).any()


@pytest.mark.parametrize("seed", range(6))
def test_no_better_trades_on_the_sides_that_the_two_stages_chose(seed):
    """What the two stages answer is the independent reference's optimum on the stretches they chose."""
    problem = random_problem(seed, names=30, lot_method=("FIFO", "HIFO")[seed % 2], fractional=True)
    problem = begun_short(extended(problem, 1.2, seed), seed, count=6, depth=0.015)
    step = problem.share_step * problem.prices / problem.nav
    uneven = np.bincount(problem.lot_asset, problem.lot_shares / problem.share_step[problem.lot_asset], 30) % 1.0
    lower = -np.floor(-problem.lower / step + 1e-9) * step
    lower = np.where(np.minimum(uneven, 1 - uneven) > 1e-6, np.maximum(lower, 0.0), lower)
    problem = changed(problem, lower=np.minimum(lower, problem.holdings()), cash_max=0.3)
    lagrangian = lagrangian_of(problem)
    best = search(lagrangian, backend_named("CLARABEL"), problem.tolerance)
    covers = best.trades[problem.short_asset] > 1e-6
    assert covers.any()
    reference = reference_on_stretches(problem, lagrangian, best.trades)
    borrowed = float(problem.borrow_rate[problem.short_asset] @ problem.short_weight)
    assert best.objective - float(problem.tilt @ problem.holdings()) + borrowed == pytest.approx(
        reference.objective, abs=1e-8
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"short_asset": np.array([1, 1])}, "B has lots and short lots"),
        ({"short_asset": np.array([0, 2])}, "ascending indices"),
        ({"short_shares": np.array([0.0, 600.0])}, "short_shares must be positive"),
        ({"cover_tax": np.zeros(1)}, "cover_tax has shape"),
        ({"borrow_rate": np.array([np.inf, 0.01])}, "A is short and has no finite borrow_rate"),
        ({"short_weight": np.array([0.05, 0.06])}, "short lot S1 has weight"),
        ({"max_names": 2}, "max_names cannot be combined"),
        ({"cash": 0.05}, "less what is short"),
    ],
)
def test_short_lots_that_make_no_sense_are_refused(changes, complaint):
    """Each contradiction is named."""
    with pytest.raises(InvalidProblemError, match=complaint):
        rebalance(_short_a(**changes))
