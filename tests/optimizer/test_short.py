"""Long/short extension: borrow cost on the short side only, lots first, sums of longs and shorts kept."""

from dataclasses import replace

import numpy as np
import pytest

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.search.branching import search
from prometheus.optimizer.verification import violations_of_shares, violations_of_weights
from tests.unit.optimizer.brute_force import best_objective, judged
from tests.unit.optimizer.lagrangians import lagrangian_of, reference_on_stretches
from tests.unit.optimizer.linked_blocks import linked
from tests.unit.optimizer.problems import changed, random_problem, tiny_problem
from tests.unit.optimizer.short_accounts import extended
from tests.unit.optimizer.small import small_problem


def _pair(**changes: object):
    """Return an account of one asset worth shorting (A, 5 % held) and one worth holding (B)."""
    values = {
        "lower": np.array([-0.2, 0.0]),
        "upper": np.array([1.0, 2.0]),
        "tilt": np.array([-0.2, 0.0]),
        "short_max": 0.3,
        "long_max": 1.3,
        "borrow_rate": np.array([0.02, 0.01]),
        "risk_aversion": 1.0,
    }
    lots = [(0, 500.0, 0.05), (1, 9300.0, 0.1)]
    return small_problem([0.05, 0.95], lots, **{**values, **changes})


def test_borrow_is_charged_on_shorts_only():
    """The borrow term is rate times short weight; the rate of an asset held long costs nothing."""
    problem = _pair()
    result = rebalance(problem)
    short, long = result.rounded_weights
    assert short < -0.01
    assert long > 0.9
    assert result.terms.borrow == pytest.approx(0.02 * -short, rel=1e-12)
    terms = result.terms
    assert terms.total == pytest.approx(
        terms.active_risk + terms.trading_cost + terms.tax + terms.tilt + terms.borrow, rel=1e-12
    )
    assert result.certificate.gap_bps == pytest.approx(0.0, abs=1e-4)
    dear = rebalance(changed(problem, borrow_rate=np.array([0.02, 5.0])))
    assert dear.rounded_weights == pytest.approx(result.rounded_weights, abs=1e-12)
    none = rebalance(changed(problem, borrow_rate=np.array([5.0, 0.01])))
    assert none.rounded_weights[0] >= 0
    assert none.terms.borrow == 0.0


def test_lots_are_sold_before_anything_is_borrowed():
    """An asset that ends short has given every lot, and what it sold beyond them belongs to no lot."""
    problem = extended(random_problem(4, names=60), 1.3, 4)
    result = rebalance(problem)
    short = np.flatnonzero(result.rounded_weights < -1e-9)
    assert len(short)
    held = problem.holdings()
    assert (held[short] > 0).any()
    for i in short:
        mine = problem.lot_asset == i
        assert result.lot_shares_sold[mine] == pytest.approx(problem.lot_shares[mine])
        sold = -result.shares[i] - problem.lot_shares[mine].sum()
        assert sold * problem.prices[i] / problem.nav == pytest.approx(-result.rounded_weights[i], abs=1e-12)
        assert not (problem.lot_locked[mine] & (problem.lot_shares[mine] > 0)).any()
        assert np.isfinite(problem.borrow_rate[i])


@pytest.mark.parametrize("seed", range(6))
def test_a_long_only_account_never_goes_short_by_rounding(seed):
    """Bounds below zero and rewards for selling do not make a long-only account short, whole shares or not."""
    problem = extended(random_problem(seed, names=40, fractional=bool(seed % 2), nav=1e5), 1.3, seed)
    result = rebalance(changed(problem, short_max=0.0, long_max=float("inf")))
    assert (result.rounded_weights >= 0).all()
    by_name = np.bincount(problem.lot_asset, weights=problem.lot_shares, minlength=40)
    assert (result.shares >= -by_name).all()
    assert result.terms.borrow == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_sums_of_longs_and_shorts_are_kept(seed):
    """Both sums hold after rounding, with a small gap, linked assets or not."""
    long_max = (1.02, 1.1, 1.3)[seed % 3]
    problem = extended(random_problem(seed, names=80, fractional=bool(seed % 2)), long_max, seed)
    problem = linked(problem, 3, seed) if seed % 2 else problem
    result = rebalance(problem)
    weights = result.rounded_weights
    assert -weights[weights < 0].sum() <= long_max - 1 + 1e-9
    assert weights[weights > 0].sum() <= long_max + 1e-9
    assert (weights >= problem.lower - 1e-9).all()
    assert -1e-6 <= result.certificate.gap_bps < 0.5
    assert result.certificate.max_violation <= 1e-9
    assert (weights < -1e-6).any()


def test_nothing_beats_the_bound_and_nearly_every_answer_is_the_best_there_is():
    """Against every combination of sides, lots and short positions of four assets, FIFO and binding sums included."""
    verdicts = []
    for seed in range(24):
        problem = tiny_problem(
            seed,
            least_room=0.1,
            most=1.2,
            lock_share=0.1,
            cash_range=(0.0, 0.2),
            tax_weight=(1.0, 0.1)[seed % 2],
        )
        problem = extended(problem, (1.05, 1.3)[seed % 2], seed, depth=0.15)
        problem = changed(problem, borrow_rate=np.where(np.isfinite(problem.borrow_rate), problem.borrow_rate, 0.01))
        # short parts are whole steps; the oracle's are not
        step = problem.share_step * problem.prices / problem.nav
        problem = changed(problem, lower=-np.floor(-problem.lower / step + 1e-9) * step)
        # what a fraction of a step in the lots forbids is not in the oracle
        steps = np.bincount(problem.lot_asset, problem.lot_shares, 4) / problem.share_step
        if (np.abs(steps - np.round(steps)) > 1e-6).any():
            continue
        verdicts.append(judged(problem, best_objective(problem), slack=1e-7, reached=2e-6))
    solved, optimal = len(verdicts) - verdicts.count(None), verdicts.count(True)
    assert solved >= 10
    assert optimal >= 0.85 * solved


@pytest.mark.parametrize("seed", range(5))
def test_no_better_trades_on_the_sides_that_the_two_stages_chose(seed):
    """What the two stages answer is the independent reference's optimum on the stretches they chose."""
    method = ("FIFO", "HIFO", "LEAST_TAX_FIRST")[seed % 3]
    problem = random_problem(seed, names=30, lot_method=method, fractional=True, group_share=0.1)
    problem = extended(problem, 1.2, seed)
    step = problem.share_step * problem.prices / problem.nav
    uneven = np.bincount(problem.lot_asset, problem.lot_shares / problem.share_step[problem.lot_asset], 30) % 1.0
    lower = np.where(problem.lower < 0, -np.floor(-problem.lower / step + 1e-9) * step, problem.lower)
    problem = changed(problem, lower=np.where(np.minimum(uneven, 1 - uneven) > 1e-6, np.maximum(lower, 0.0), lower))
    lagrangian = lagrangian_of(problem)
    best = search(lagrangian, backend_named("CLARABEL"), problem.tolerance)
    assert (problem.holdings() + best.trades < -1e-6).any()
    reference = reference_on_stretches(problem, lagrangian, best.trades)
    constant = float((problem.tilt * problem.holdings()).sum())
    assert best.objective - constant == pytest.approx(reference.objective, abs=1e-8)


def test_explanations_name_the_borrow_cost_and_the_sum_of_shorts():
    """An asset that ends short says so with its borrow slope, and has the price of the sum of shorts."""
    problem = extended(random_problem(6, names=80), 1.05, 6)
    result = rebalance(problem)
    short = [one for one in result.explanations if one.borrow]
    assert short
    for one in short:
        i = problem.tickers.index(one.ticker)
        assert one.borrow == pytest.approx(-1e4 * problem.borrow_rate[i])
        assert dict(one.limits)["sum of shorts"] < 0
        parts = (one.active_risk, one.tax, one.trading_cost, one.tilt, one.cash, one.borrow)
        assert sum(parts) + sum(price for _, price in one.limits) + one.bound == pytest.approx(0.0, abs=1e-9)
        assert one.tax == 0.0
    assert any(one.reason.startswith("sell short to -") for one in short)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"short_max": 0.0}, "oversold"),
        ({"borrow_rate": np.array([np.inf, 0.01])}, "short without a borrow rate"),
        ({"lot_locked": np.array([True, False])}, "short beside a locked lot"),
        ({"short_max": 0.01}, "sum of shorts"),
        ({"long_max": 0.5}, "sum of longs"),
        ({"lower": np.array([-0.01, 0.0])}, "bounds"),
    ],
)
def test_every_broken_rule_of_a_short_position_is_found(changes, rule):
    """A sale of 5 % lots and 3 % beyond is legal, and each rule it could break is reported by its name."""
    problem = _pair(cash_max=1.0)
    trades, shares, lots = np.array([-0.08, 0.0]), np.array([-800.0, 0.0]), np.array([500.0, 0.0])
    assert violations_of_weights(problem, trades) == []
    assert violations_of_shares(problem, shares, lots) == []
    broken = replace(problem, **changes)
    assert rule in {one.rule for one in violations_of_weights(broken, trades)}
    expected = {"oversold": "lots do not add up to the sale"}.get(rule, rule)
    assert expected in {one.rule for one in violations_of_shares(broken, shares, lots)}


def test_a_short_beside_unsold_lots_is_found():
    """Selling short what the lots still hold breaks the rule that lots are sold first."""
    problem = _pair(cash_max=1.0)
    violations = violations_of_shares(problem, np.array([-800.0, 0.0]), np.array([400.0, 0.0]))
    assert "short before its lots are sold" in {one.rule for one in violations}


def test_lots_that_are_no_whole_steps_keep_a_name_from_going_short():
    """A residue of a share is sold out alone; only then can the asset be borrowed in whole shares."""
    lots = [(0, 500.5, 0.05), (1, 9300.0, 0.1)]
    values = {"tilt": np.array([-0.2, 0.0]), "borrow_rate": np.zeros(2), "short_max": 0.3, "long_max": 1.3}
    problem = small_problem([0.05, 0.95], lots, lower=np.array([-0.2, 0.0]), **values)
    result = rebalance(problem)
    assert result.rounded_weights[0] == 0.0
    assert result.shares[0] == -500.5


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"short_max": -0.1}, "short_max"),
        ({"long_max": 0.0}, "long_max"),
        ({"borrow_rate": np.array([-0.1, 0.0])}, "borrow_rate"),
        ({"borrow_rate": np.zeros(0)}, "borrow_rate has shape"),
        ({"max_names": 2}, "max_names cannot be combined"),
    ],
)
def test_extensions_that_make_no_sense_are_refused(changes, complaint):
    """Negative sums and rates, missing rates and a count of assets beside shorts are refused by name."""
    with pytest.raises(InvalidProblemError, match=complaint):
        _pair(**changes)
