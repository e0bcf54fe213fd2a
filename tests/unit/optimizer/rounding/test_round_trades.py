import numpy as np
import pytest

from prometheus.foundation.errors import InfeasibleProblemError
from prometheus.optimizer import rebalance
from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.problem.share_grid import share_grid
from prometheus.optimizer.problem.trade_range import trade_range
from tests.unit.optimizer.legality import broken_rules
from tests.unit.optimizer.problems import changed, random_problem
from tests.unit.optimizer.small import small_problem


def _grid(problem):
    order = lot_order(problem)
    return share_grid(problem, order, trade_range(problem, order))


def test_neighbours_jump_over_trades_below_the_minimum():
    """From no trade the next amounts are the smallest that may be placed, and from there back to none."""
    grid = _grid(small_problem([1.0], [(0, 5000.0, 0.1)], min_trade=0.00045))
    zero = np.zeros(1)
    assert grid.smallest.tolist() == [5.0]
    assert grid.above(zero).tolist() == [5.0]
    assert grid.below(zero).tolist() == [-5.0]
    assert grid.below(np.array([5.0])).tolist() == [0.0]
    assert grid.above(np.array([-5.0])).tolist() == [0.0]


def test_fractional_residue_of_a_whole_share_account_can_be_sold_out():
    """A position of 10.5 shares is sold in whole shares, or whole: never 11, and 10.5 in one piece."""
    grid = _grid(small_problem([1.0], [(0, 10.5, 0.1)], nav=1000.0, cash_max=1.0))
    assert grid.first.tolist() == [-10.0]
    assert grid.sell_out.tolist() == [True]
    assert grid.below(np.array([-10.0])).tolist() == [-np.inf]
    assert np.isnan(grid.below(np.array([-np.inf]))).all()
    assert grid.above(np.array([-np.inf])).tolist() == [-10.0]
    assert grid.weight(np.array([-np.inf])) == pytest.approx([-0.105])
    assert grid.nearest(np.array([-0.1049])).tolist() == [-np.inf]


def test_whole_position_has_one_way_to_be_sold_out():
    """Where the position is a whole number of steps the last step is the sell-out itself."""
    grid = _grid(small_problem([1.0], [(0, 10.0, 0.1)], nav=1000.0, cash_max=1.0))
    assert grid.first.tolist() == [-9.0]
    assert grid.below(np.array([-9.0])).tolist() == [-np.inf]


def test_a_position_with_locked_lots_cannot_be_sold_out():
    """What is left of a position beside locked lots is sold in whole steps only."""
    problem = small_problem(
        [1.0], [(0, 10.5, 0.1), (0, 3.0, 0.2)], nav=1000.0, cash_max=1.0, lot_locked=np.array([False, True])
    )
    grid = _grid(problem)
    assert not grid.sell_out[0]
    assert grid.first.tolist() == [-10.0]


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_of_one_name_are_those_of_all_names(seed):
    """Asset by name, from any number of steps and from the sell-out, neighbours and weights are those of the arrays."""
    problem = random_problem(seed, names=60, min_trade=400.0, fractional=bool(seed % 2))
    grid, random = _grid(problem), np.random.default_rng(seed)
    from_zero = np.where(random.random(60) < 0.5, 0.0, grid.smallest * random.choice([-1.0, 1.0], 60))
    for steps in (from_zero, from_zero + random.integers(-3, 4, 60), grid.first, grid.last, np.full(60, -np.inf)):
        below, above, weight = grid.below(steps), grid.above(steps), grid.weight(steps)
        for i, at in enumerate(steps.tolist()):
            np.testing.assert_array_equal(grid.neighbours_of(i, at), (below[i], above[i]))
            assert grid.weight_of(i, at) == weight[i]


def test_shifting_stops_at_the_range_and_in_the_gap():
    """A longer step ends at the bound, at zero, or at the smallest trade, never in between."""
    grid = _grid(small_problem([1.0], [(0, 50.0, 0.1)], nav=1000.0, min_trade=0.045, cash_max=1.0))
    start = np.array([20.0])
    assert grid.shifted(start, np.array([-12.0])).tolist() == [8.0]
    assert grid.shifted(start, np.array([-18.0])).tolist() == [19.0]
    assert grid.shifted(np.zeros(1), np.array([3.0])).tolist() == [5.0]
    assert grid.shifted(np.zeros(1), np.array([1e6])).tolist() == [grid.last[0]]
    assert grid.shifted(np.array([-48.0]), np.array([-9.0])).tolist() == [-49.0]


def test_bounds_narrower_than_a_share_are_named():
    """A forced trade for which no whole share fits is refused with the asset and the step."""
    problem = small_problem(
        [1.0], [(0, 90.0, 0.1)], nav=1000.0, lower=np.array([0.894]), upper=np.array([0.896]), cash_max=1.0
    )
    with pytest.raises(InfeasibleProblemError, match="no whole step of 1 shares") as refused:
        rebalance(problem)
    assert refused.value.details["constraint"] == "share step:A"


def test_cash_range_narrower_than_any_share_is_named():
    """A whole-share account whose cash range no combination of shares reaches is told by how much it is missed."""
    problem = small_problem([1.0], price=70.0, nav=1000.0, cash_min=0.01, cash_max=0.012)
    with pytest.raises(InfeasibleProblemError, match="whole steps of shares cannot bring cash") as refused:
        rebalance(problem)
    assert refused.value.details["violation"] > 0


def test_two_names_together_reach_cash_that_no_single_step_can():
    """One asset's share down and another's up meet a range that is narrower than either share."""
    problem = small_problem(
        [0.5, 0.5], prices=np.array([70.0, 81.0]), nav=1000.0, cash_min=0.0829, cash_max=0.0835, cost_rate=np.zeros(2)
    )
    result = rebalance(problem)
    assert result.shares.tolist() == [5.0, 7.0]
    assert result.cash_after == pytest.approx(0.083)


def test_trades_below_the_minimum_are_dropped():
    """Every trade that is kept is at least the minimum, in a problem whose optimum has smaller ones."""
    problem = random_problem(3, names=80, min_trade=2_000.0)
    result = rebalance(problem)
    traded = result.shares != 0
    notional = np.abs(result.shares * problem.prices)
    assert notional[traded].min() >= 2_000.0 - 1e-6
    assert (np.abs(result.trades[~traded]) > 1e-6).any()


def test_forced_sale_below_the_minimum_is_kept():
    """An asset that must go goes, however small."""
    problem = small_problem(
        [0.0, 1.0], [(0, 3.7, 0.1), (1, 8000.0, 0.1)], upper=np.array([0.0, 1.0]), min_trade=0.01, cash_max=0.3
    )
    result = rebalance(problem)
    assert result.shares[0] == -3.7
    assert result.rounded_weights[0] == 0.0


def test_liquidation_leaves_no_dust_beside_a_loss_sale():
    """Section 13: selling a fractional position out leaves 0 shares, not 0.0008 that would wash the loss."""
    problem = small_problem(
        [0.0, 1.0],
        [(0, 12.34567, -0.2), (0, 3.00008, -0.1), (1, 8000.0, 0.1)],
        upper=np.array([0.0, 1.0]),
        share_step=np.full(2, 1e-4),
        cash_max=0.3,
    )
    result = rebalance(problem)
    assert result.lot_shares_sold[:2].tolist() == [12.34567, 3.00008]
    assert result.shares[0] == pytest.approx(-15.34575, abs=1e-12)
    assert result.rounded_weights[0] == 0.0


@pytest.mark.parametrize("lot_method", ["HIFO", "FIFO"])
@pytest.mark.parametrize("seed", range(3))
def test_rounding_never_oversells_nor_goes_short(seed, lot_method):
    """Section 13: no lot gives more than it holds and no weight falls below zero, with fractional residues about."""
    problem = random_problem(seed, names=60, nav=30_000.0, lot_method=lot_method, min_trade=0.0)
    result = rebalance(problem)
    assert (result.lot_shares_sold <= problem.lot_shares).all()
    assert (result.lot_shares_sold >= 0).all()
    assert (result.rounded_weights >= 0).all()
    sold = np.bincount(problem.lot_asset, weights=result.lot_shares_sold, minlength=problem.size)
    assert sold == pytest.approx(np.maximum(-result.shares, 0.0), abs=1e-8)


def test_names_keep_their_side():
    """Rounding moves no asset from a purchase to a sale or back."""
    result = rebalance(random_problem(4, names=80, nav=50_000.0))
    clear = np.abs(result.trades) > 1e-9
    assert (np.sign(result.shares[clear]) * np.sign(result.trades[clear]) >= 0).all()


def test_pairs_of_steps_improve_where_a_limit_stops_single_ones(monkeypatch):
    """With cash at its limit one asset's step up pays for another's down: never worse, often better."""
    problems = [
        random_problem(seed, names=60, nav=100_000.0, lot_method="HIFO", cash_range=(0.002, 0.004)) for seed in range(6)
    ]
    paired = [rebalance(problem) for problem in problems]
    assert [broken_rules(*one) for one in zip(problems, paired, strict=True)] == [[]] * len(problems)
    monkeypatch.setattr("prometheus.optimizer.rounding.round_trades._MAX_EXCHANGES", 0)
    alone = [rebalance(problem).certificate.rounded_objective for problem in problems]
    better = [single - pair.certificate.rounded_objective for single, pair in zip(alone, paired, strict=True)]
    assert min(better) >= -1e-12
    assert max(better) > 1e-7


@pytest.mark.parametrize("seed", range(8))
def test_no_rounded_list_is_worse_than_no_trade(seed):
    """With shares of a tenth of the account and a narrow cash range the list is legal and never worse than nothing."""
    problem = random_problem(seed, names=5, nav=1_000.0, min_trade=0.0, cash_range=(0.0, 1.0), lock_share=0.3)
    result = rebalance(problem)
    assert broken_rules(problem, result) == []
    held = problem.active(problem.holdings())
    resting = problem.risk_aversion * FactorRisk(
        problem.loadings @ np.linalg.cholesky(problem.factor_covariance), problem.specific_variance
    ).variance(held) - float(problem.tilt @ problem.holdings())
    assert result.certificate.rounded_objective <= resting + 1e-12


def test_an_unequal_pair_reaches_the_cash_range():
    """One share of a dear asset is paid for by ten of a cheap one where no single steps or equal pairs lead in."""
    problem = small_problem(
        [0.0, 1.0], [(1, 101.0, 0.0)], prices=np.array([264.69, 19.91]), nav=2116.32, min_trade=100 / 2116.32,
        cash_min=0.010028, cash_max=0.028844, cost_rate=np.full(2, 0.01), upper=np.array([0.3, 0.9502]),
        lower=np.array([0.0, 0.7]),
    )  # fmt: skip
    result = rebalance(problem)
    assert broken_rules(problem, result) == []
    assert result.shares.tolist() == [1.0, -10.0]


def test_a_share_worth_more_than_the_account_does_not_spoil_the_rest():
    """The weight of an asset that no single share fits goes to the others by a search, not by single steps."""
    ordinary = random_problem(1, names=30, nav=100_000.0, min_trade=0.0, group_share=0.0)
    prices = ordinary.prices.copy()
    dear = int(np.argmax(np.where(ordinary.holdings() == 0, ordinary.benchmark_weights, -1.0)))
    prices[dear] = 250_000.0
    result = rebalance(changed(ordinary, prices=prices))
    assert result.shares[dear] == 0
    assert result.coarse_names[0][0] == ordinary.tickers[dear]
    assert result.certificate.rounded_gap_bps <= result.certificate.rounding_allowance_bps + 1.0
