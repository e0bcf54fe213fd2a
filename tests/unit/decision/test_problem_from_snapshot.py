"""From a snapshot to the optimizer's problem: weights, bounds, who may trade, and what a sale costs in tax."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest

from prometheus.decision.problem_from_snapshot import Matrices, _cash_range
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.strategy import StrategyParams
from tests.unit.decision.small_day import (
    AS_OF,
    MATRICES,
    PARAMS,
    SNAPSHOT,
    buy_lock,
    loss_lock,
    lot,
    name,
    problem_of,
)

AAA, BBB, CCC, DDD, EEE = range(5)
#: Of an account whose range of cash is looked at alone.
NAV = 1_000_000.0
STEPS = np.array([5e-5, 2e-4])


def by_lot(problem, values):
    """Return an array over lots by lot identifier."""
    return dict(zip(problem.lot_id, values, strict=True))


def renamed(index, **changes: object):
    """Return the universe with one name changed."""
    names = list(SNAPSHOT.universe)
    names[index] = replace(names[index], **changes)
    return tuple(names)


def test_holdings_and_cash_add_to_one():
    """Weights are fractions of cash plus every lot at its price, and they add to one."""
    problem = problem_of()
    assert problem.nav == 100_000.0
    np.testing.assert_allclose(problem.holdings(), [0.2, 0.3, 0.3, 0.0, 0.0], rtol=1e-15)
    assert problem.cash == 0.2
    assert problem.holdings().sum() + problem.cash == pytest.approx(1.0, abs=1e-15)


def test_a_sale_costs_the_rate_times_the_gain_per_price():
    """Tax per unit of weight sold is the term's rate, surtax included, times gain per share over price."""
    tax = by_lot(problem_of(), problem_of().lot_tax)
    assert tax == {
        "A1": pytest.approx(0.408 * -4 / 40),
        "A2": pytest.approx(0.238 * 10 / 40),
        "B1": pytest.approx(0.238 * 2 / 20),
        "C1": pytest.approx(0.408 * -2 / 10),
    }
    assert by_lot(problem_of(), problem_of().lot_is_loss) == {"A1": True, "A2": False, "B1": False, "C1": True}


def test_trading_cost_is_the_same_rate_both_ways():
    """The cost rate is the parameter's basis points for every name."""
    problem = problem_of(params=replace(PARAMS, cost_bps=7.5))
    np.testing.assert_allclose(problem.cost_rate, np.full(5, 0.00075), rtol=1e-15)


def test_locked_group_is_not_bought():
    """A buy-lock stops purchases of every name of its group, and of no other; sales stay open."""
    problem = problem_of(universe=renamed(DDD, group="AAA"), buy_locks=(buy_lock("AAA"),))
    assert problem.can_buy.tolist() == [False, True, True, False, True]
    assert problem.can_sell.all()
    assert problem.group[DDD] == problem.group[AAA]
    assert len(set(problem.group.tolist())) == 4


def test_washed_loss_is_locked_under_forbid_and_worthless_under_allow():
    """A lot whose loss would be washed may not be sold under forbid; under allow it may, and saves no tax."""
    locks = (loss_lock("A1"),)
    forbidden = problem_of(loss_sale_locks=locks)
    assert by_lot(forbidden, forbidden.lot_locked) == {"A1": True, "A2": False, "B1": False, "C1": False}
    assert by_lot(forbidden, forbidden.lot_tax)["A1"] == pytest.approx(0.408 * -4 / 40)
    allowed = problem_of(params=replace(PARAMS, loss_sale_policy="allow"), loss_sale_locks=locks)
    assert not allowed.lot_locked.any()
    assert by_lot(allowed, allowed.lot_tax)["A1"] == 0.0
    assert by_lot(allowed, allowed.lot_tax)["C1"] < 0


def test_restricted_names_keep_their_side():
    """no_buy closes purchases and no_sell sales of exactly the names listed."""
    problem = problem_of(params=replace(PARAMS, no_buy=("AAA", "EEE"), no_sell=("BBB",)))
    assert problem.can_buy.tolist() == [False, True, True, True, False]
    assert problem.can_sell.tolist() == [True, False, True, True, True]


def test_name_without_the_day_s_price_is_not_traded():
    """A name valued at an earlier close can be neither bought nor sold."""
    problem = problem_of(universe=renamed(BBB, price_date=AS_OF - timedelta(days=1)))
    assert problem.can_buy.tolist() == [True, False, True, True, True]
    assert problem.can_sell.tolist() == [True, False, True, True, True]


@pytest.mark.parametrize(
    "params", [replace(PARAMS, never_hold=("CCC",)), replace(PARAMS, never_hold_sub_industries=("Coal",))]
)
def test_name_never_to_be_held_is_sold_out(params):
    """By ticker or by sub-industry: no purchase, and the upper bound is nothing."""
    problem = problem_of(params=params)
    assert problem.can_buy.tolist() == [True, True, False, True, True]
    assert (problem.lower[CCC], problem.upper[CCC]) == (0.0, 0.0)


def test_locked_lots_of_a_name_never_to_be_held_stay():
    """What a lock forbids to sell is left: the upper bound of the name is its locked lots."""
    lots = (*SNAPSHOT.lots, lot("C2", "CCC", "100", "900"))
    problem = problem_of(params=replace(PARAMS, never_hold=("CCC",)), lots=lots, loss_sale_locks=(loss_lock("C1"),))
    assert problem.upper[CCC] == pytest.approx(30_000 / 101_000)
    assert problem.lower[CCC] <= problem.upper[CCC] < problem.holdings()[CCC]


def test_name_never_to_be_held_that_cannot_be_sold_stays_whole():
    """Where the name has no price today its bound is what is held, so that the problem has an answer."""
    problem = problem_of(
        params=replace(PARAMS, never_hold=("CCC",)), universe=renamed(CCC, price_date=date(2024, 6, 27))
    )
    assert problem.upper[CCC] == problem.holdings()[CCC]


def test_bounds_are_the_tighter_of_weight_and_active_weight():
    """The upper bound is the lesser of both limits, the lower one the benchmark less the active limit."""
    problem = problem_of(params=replace(PARAMS, max_weight=0.4, max_active_weight=0.1), lots=())
    np.testing.assert_allclose(problem.upper, [0.35, 0.35, 0.35, 0.35, 0.1], rtol=1e-12)
    np.testing.assert_allclose(problem.lower, np.zeros(5))
    capped = problem_of(params=replace(PARAMS, max_weight=0.3, max_active_weight=0.1), lots=())
    np.testing.assert_allclose(capped.upper, [0.3, 0.3, 0.3, 0.3, 0.1], rtol=1e-12)


def test_bounds_are_widened_to_where_a_holding_stands():
    """A holding outside its limits is not forced back: the bound moves to it, so it may only move inwards."""
    problem = problem_of(params=replace(PARAMS, max_active_weight=0.02))
    # benchmark 0.25 each: AAA holds 0.2 (below 0.23), BBB and CCC 0.3 (above 0.27), DDD nothing
    np.testing.assert_allclose(problem.lower, [0.2, 0.23, 0.23, 0.0, 0.0], rtol=1e-12)
    np.testing.assert_allclose(problem.upper, [0.27, 0.3, 0.3, 0.27, 0.02], rtol=1e-12)
    assert (problem.lower <= problem.holdings()).all()
    assert (problem.holdings() <= problem.upper).all()


def test_tilt_rewards_the_calmer_name():
    """The tilt is bps per standard deviation of volatility: higher for calmer names, zero on average and when off."""
    problem = problem_of(params=replace(PARAMS, low_volatility_tilt=20.0))
    variance = [
        float(row @ np.diag([0.04, 0.01]) @ row + own)
        for row, own in zip(MATRICES.loadings.astype(float), MATRICES.specific_variance.astype(float), strict=True)
    ]
    order = np.argsort(variance)
    assert (np.diff(problem.tilt[order]) < 0).all()
    assert problem.tilt.mean() == pytest.approx(0.0, abs=1e-15)
    assert problem.tilt.std() == pytest.approx(20e-4)
    assert not problem_of().tilt.any()


def test_tilt_of_equally_volatile_names_is_nothing():
    """Where no name is calmer than another there is nothing to reward."""
    equal = Matrices(np.ones((5, 2), dtype=np.float32), np.full(5, 0.25, dtype=np.float32), np.full(4, 0.25))
    assert not problem_of(params=replace(PARAMS, low_volatility_tilt=20.0), matrices=equal).tilt.any()


def test_highest_basis_first_is_flagged_where_it_is_not_cheapest_first():
    """With two rates HIFO may sell a dearer lot first; only then is the order flagged as not convex."""
    assert problem_of().lot_order_is_convex
    # 31 a share short-term: 0.408 x 9; 30 a share long-term: 0.238 x 10, which is cheaper but comes second
    lots = (lot("S", "AAA", "100", "3100", date(2024, 5, 1)), lot("L", "AAA", "100", "3000"))
    problem = problem_of(lots=lots)
    assert problem.lot_id == ("S", "L")
    assert problem.lot_rank.tolist() == [0, 1]
    assert not problem.lot_order_is_convex
    assert problem_of(lots=lots, lot_method=LotMethod.LEAST_TAX_FIRST).lot_order_is_convex
    one_rate = TaxRates(st=Decimal("0.3"), lt=Decimal("0.3"))
    assert problem_of(lots=lots, rates=one_rate).lot_order_is_convex


def test_locked_lot_does_not_spoil_the_order():
    """A lot that cannot be sold is skipped by the order, so it cannot make it non-convex."""
    lots = (lot("S", "AAA", "100", "3100", date(2024, 5, 1)), lot("L", "AAA", "100", "3000"))
    assert problem_of(lots=lots, loss_sale_locks=(loss_lock("S"),)).lot_order_is_convex


def test_first_in_first_out_keeps_the_order_of_purchase():
    """Under FIFO the oldest lot has the first rank whatever it costs in tax, and that is flagged."""
    problem = problem_of(lot_method=LotMethod.FIFO)
    assert problem.lot_id == ("A2", "A1", "B1", "C1")
    assert problem.lot_rank.tolist() == [0, 1, 0, 0]
    assert not problem.lot_order_is_convex


def test_pooled_account_has_one_lot_a_name_at_the_average_rate():
    """Under ACB a name is one pool with one effective rate, whenever its shares were bought."""
    pools = (lot("ACB-AAA", "AAA", "500", "17800.00"), lot("ACB-CCC", "CCC", "3000", "36000.00", date(2024, 6, 20)))
    problem = problem_of(
        lots=pools,
        tax_regime=TaxRegime.CA,
        lot_method=LotMethod.ACB,
        rates=TaxRates(st=Decimal("0.25"), lt=Decimal("0.25")),
    )
    assert problem.lot_id == ("ACB-AAA", "ACB-CCC")
    assert by_lot(problem, problem.lot_tax) == {
        "ACB-AAA": pytest.approx(0.25 * (40 - 35.6) / 40),
        "ACB-CCC": pytest.approx(0.25 * -2 / 10),
    }
    assert problem.lot_order_is_convex


def test_name_the_model_does_not_know_gets_the_market_s_row():
    """An unknown name has the mean loadings and the ninth decile of specific variance of those known."""
    problem = problem_of(universe=renamed(BBB, risk_index=-1))
    np.testing.assert_allclose(problem.loadings[BBB], MATRICES.loadings.astype(float).mean(axis=0), rtol=1e-15)
    assert problem.specific_variance[BBB] == pytest.approx(
        np.quantile(MATRICES.specific_variance.astype(float), 0.9), rel=1e-15
    )
    np.testing.assert_array_equal(problem.loadings[CCC], MATRICES.loadings[2].astype(float))


def test_constituent_without_a_price_is_shared_out():
    """A constituent left out of the universe leaves its weight to the others in proportion."""
    universe = (*SNAPSHOT.universe[:3], SNAPSHOT.universe[4])
    weights = np.array([0.5, 0.2, 0.1, 0.2])
    problem = problem_of(universe=universe, matrices=replace(MATRICES, benchmark_weights=weights))
    np.testing.assert_allclose(problem.benchmark_weights, [0.5 / 0.8, 0.2 / 0.8, 0.1 / 0.8, 0.0], rtol=1e-15)
    assert problem.benchmark_weights.sum() == pytest.approx(1.0, abs=1e-15)


def test_universe_without_a_constituent_has_no_benchmark():
    """Where no name is a constituent the benchmark weights are zero, not a division by zero."""
    universe = tuple(replace(entry, benchmark_index=-1) for entry in SNAPSHOT.universe)
    assert not problem_of(universe=universe).benchmark_weights.any()


def test_shares_step_follows_the_account():
    """Whole shares or ten-thousandths, as the account trades."""
    assert problem_of().share_step.tolist() == [1.0] * 5
    assert problem_of(fractional_shares=True).share_step.tolist() == [0.0001] * 5


def test_account_of_cash_alone_has_a_problem():
    """Without a single lot every array over lots is empty, and all is cash."""
    problem = problem_of(lots=())
    assert problem.lot_id == ()
    assert len(problem.lot_tax) == len(problem.lot_rank) == 0
    assert problem.cash == 1.0
    assert problem.nav == 20_000.0
    assert problem.min_trade == 0.0


def test_arrays_cannot_be_written():
    """What was handed to the optimizer stays as it was."""
    problem = problem_of(universe=(*SNAPSHOT.universe, name("FFF", "3")))
    for array in (problem.prices, problem.lower, problem.lot_tax, problem.can_buy):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_limits_are_off_by_default():
    """Parameters at the end of their range ask for no limit at all."""
    problem = problem_of()
    assert problem.row_names == ()
    assert (problem.te_max, problem.turnover_max, problem.gain_max) == (np.inf, np.inf, np.inf)
    assert problem.max_names is None
    assert len(problem.lot_gain) == 0


def test_sectors_and_factors_get_active_bounds():
    """Every sector and every factor has a row around the benchmark's own value."""
    problem = problem_of(params=replace(PARAMS, sector_active_max=0.03, factor_active_max=0.5))
    sectors = sorted({one.sector for one in SNAPSHOT.universe})
    factors = problem.loadings.shape[1]
    assert problem.row_names == (*(f"sector:{s}" for s in sectors), *(f"factor:{k + 1}" for k in range(factors)))
    first = [one.sector == sectors[0] for one in SNAPSHOT.universe]
    assert problem.row_matrix[0].tolist() == [float(inside) for inside in first]
    benchmark = problem.row_matrix @ problem.benchmark_weights
    half = np.array([0.03] * len(sectors) + [0.5] * factors)
    np.testing.assert_allclose(problem.row_upper, benchmark + half, rtol=0, atol=1e-15)
    np.testing.assert_allclose(problem.row_lower, benchmark - half, rtol=0, atol=1e-15)


def test_the_year_s_gains_count_against_the_year_s_budget():
    """The run may realise the smaller of its own budget and of what the year has left."""
    params = replace(PARAMS, tax_budget=0.05, tax_budget_ytd=0.06, te_max=0.02, turnover_max=0.2, max_names=4)
    assert problem_of(params=params).gain_max == 0.05
    spent = problem_of(params=params, realized_this_year=Decimal(2000))
    assert spent.gain_max == pytest.approx(0.04)
    assert (spent.te_max, spent.turnover_max, spent.max_names) == (0.02, 0.2, 4)
    assert by_lot(spent, spent.lot_gain)["A2"] == pytest.approx(10 / 40)
    assert by_lot(spent, spent.lot_gain)["C1"] == pytest.approx(-2 / 10)


def test_an_extension_lets_lent_names_go_below_zero():
    """Names with a borrow rate may fall to their active bound or the sum of shorts; the others stay long only."""
    snapshot = replace(SNAPSHOT, borrow_rates={"AAA": Decimal("0.01"), "DDD": Decimal("0.02"), "EEE": Decimal("0.5")})
    params = replace(PARAMS, long_max=1.1, max_active_weight=0.5, never_hold=("EEE",))
    problem = problem_of(snapshot, params)
    assert (problem.short_max, problem.long_max) == (pytest.approx(0.1), 1.1)
    assert problem.borrow_rate.tolist() == [0.01, np.inf, np.inf, 0.02, 0.5]
    assert problem.lower.tolist() == pytest.approx([-0.1, 0.0, 0.0, -0.1, 0.0])
    plain = problem_of(snapshot, replace(params, long_max=1.0))
    assert (plain.short_max, plain.long_max, len(plain.borrow_rate)) == (0.0, np.inf, 0)
    assert plain.lower.min() == 0.0


def test_an_order_costs_the_larger_of_an_amount_and_of_a_share_of_nav():
    """The amount is in base currency, the share in bps of NAV; without either orders cost nothing."""
    nav = float(SNAPSHOT.nav())
    assert problem_of().order_cost == 0.0
    assert problem_of(params=replace(PARAMS, order_cost=2.0)).order_cost == pytest.approx(2.0 / nav)
    assert problem_of(params=replace(PARAMS, order_cost=2.0, order_cost_bps=50.0)).order_cost == pytest.approx(0.005)
    assert problem_of(params=replace(PARAMS, order_cost=nav / 100, order_cost_bps=50.0)).order_cost == 0.01


def _range(cash, cash_min, cash_max, steps=STEPS):
    params = StrategyParams(cash_min=cash_min, cash_max=cash_max)
    found = _cash_range(params, cash, lines=1000, nav=NAV, step_values=steps)
    return found.least, found.most


def _rounded_range(cash, cash_min, cash_max, steps=STEPS):
    params = StrategyParams(cash_min=cash_min, cash_max=cash_max)
    found = _cash_range(params, cash, lines=1000, nav=NAV, step_values=steps)
    return found.rounded_least, found.rounded_most


def test_cent_reserve_is_added_to_the_minimum():
    """A cent for each ledger line is kept above the minimum, so that rounding never overdraws the account."""
    least, most = _range(0.02, cash_min=0.01, cash_max=0.05)
    assert least == pytest.approx(0.01 + 1000 * 0.01 / NAV)
    assert most == 0.05


def test_account_inside_the_reserve_is_not_made_to_sell():
    """Cash between the minimum and the reserve is enough: with no trade the range is met."""
    least, _ = _range(0.010004, cash_min=0.01, cash_max=0.05)
    assert least == 0.010004


def test_account_below_the_minimum_must_raise_cash():
    """An account poorer than its minimum is asked for the minimum, not for what it happens to have."""
    least, _ = _range(0.001, cash_min=0.01, cash_max=0.05)
    assert least > 0.01


def test_range_is_never_narrower_than_two_of_the_cheapest_shares():
    """A small account in whole shares gets a range that some number of shares can hit."""
    least, most = _range(0.5, cash_min=0.0, cash_max=0.0001, steps=np.array([0.01, 0.03]))
    assert most == pytest.approx(least + 0.02)


def test_rounded_trades_keep_the_cents_clear_of_both_ends():
    """Whoever trades keeps the reserve of cents, even where doing nothing needs none of it."""
    least, most = _rounded_range(0.010004, cash_min=0.01, cash_max=0.05)
    assert least == pytest.approx(0.01 + 1000 * 0.01 / NAV, abs=1e-11)
    assert most == pytest.approx(0.05 - 1000 * 0.01 / NAV, abs=1e-11)


def test_rounded_range_is_never_empty():
    """Where the range is as narrow as the cents it is left as it is: some list must be able to meet it."""
    least, most = _rounded_range(0.0, cash_min=0.0, cash_max=0.0)
    assert least < most <= least + 2 * STEPS.min() + 1e-11
