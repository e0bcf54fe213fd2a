"""A partial day: which names have a reason to trade, what else may move with them, and a day that has none."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from prometheus.decision.day_result import RebalancingNote
from prometheus.decision.partial_day import Reason, day_problem, worth_harvesting
from prometheus.decision.solve import solve_day
from prometheus.domain.lots import ShortPosition
from prometheus.domain.phases import RunStatus
from prometheus.domain.rebalancing import ReasonCode, Rebalancing, Scope
from prometheus.optimizer.problem.lot_order import lot_order
from prometheus.optimizer.standstill import NO_SOLVER
from tests.unit.decision.small_day import AS_OF, MATRICES, PARAMS, SNAPSHOT, loss_lock, lot, name, problem_of

AAA, BBB, CCC, DDD, EEE = range(5)
LAST = date(2024, 6, 24)
#: Nothing is beyond this trigger: A1 has lost 9.1 % of its basis, C1 16.7 %.
QUIET = replace(PARAMS, cash_max=0.25, harvest_min_share=0.5, rebalance="weekly")
HARVEST_C = replace(QUIET, harvest_min_share=0.1)


def day_of(params=QUIET, **changes: object):
    """Return what a partial day of the small account asks, some of its fields changed."""
    partial = {"rebalancing": Rebalancing.PARTIAL, "last_whole": LAST}
    return day_problem(replace(SNAPSHOT, **{**partial, **changes}), params, MATRICES)


def with_cash(amount):
    """Return the change of a snapshot's cash."""
    return {"cash": Decimal(amount)}


def test_a_day_without_a_reason_trades_nothing():
    """No loss beyond the trigger, cash in its range, nothing restricted: nothing may trade, proved without a solver."""
    day = day_of()
    assert (day.scope, day.reasons) == (Scope.NOTHING, ())
    assert not day.problem.can_buy.any()
    assert not day.problem.can_sell.any()
    solution = solve_day(day, QUIET, {"AAA": 1.0})
    assert solution.status is RunStatus.OPTIMAL
    assert solution.result.shares == {}
    assert solution.result.solver.backend == NO_SOLVER
    assert solution.result.certificate.gap_bps == solution.result.certificate.rounded_gap_bps == 0.0
    assert solution.result.target_weights == {"AAA": 0.2, "BBB": 0.3, "CCC": 0.3}
    assert solution.result.rebalancing == RebalancingNote(Rebalancing.PARTIAL, Scope.NOTHING, (), LAST, LAST)


def test_the_same_day_as_a_whole_one_trades():
    """A whole rebalancing is the problem as it always was, and counts as the last whole day once it is answered."""
    day = day_of(rebalancing=Rebalancing.WHOLE)
    assert day.problem is day.whole
    solution = solve_day(day, QUIET, None)
    assert solution.result.shares
    assert solution.result.rebalancing == RebalancingNote(Rebalancing.WHOLE, Scope.ALL, (), LAST, AS_OF)


def test_a_whole_day_without_an_answer_does_not_count():
    """Where no certified answer exists the last whole day stays what it was."""
    day = day_of(replace(QUIET, max_gap_bps=0.0, te_max=0.0001), rebalancing=Rebalancing.WHOLE)
    solution = solve_day(day, replace(QUIET, te_max=0.0001), None)
    assert solution.status is RunStatus.NON_OPTIMAL
    assert solution.result.rebalancing.whole_on == LAST


def test_a_loss_beyond_the_trigger_is_sold_and_replaced():
    """Only CCC may be sold, anything else may be bought for what that brings, and cash stays where it was."""
    day = day_of(HARVEST_C)
    assert day.reasons == (Reason(ReasonCode.HARVEST, ("CCC",)),)
    assert day.scope is Scope.REASONS
    assert np.flatnonzero(day.problem.can_sell).tolist() == [CCC]
    assert day.problem.can_buy.all()
    assert day.problem.cash_min == day.whole.cash
    result = solve_day(day, HARVEST_C, None).result
    sold = {ticker for ticker, shares in result.shares.items() if shares.startswith("-")}
    assert sold == {"CCC"}
    assert result.cash_after >= day.whole.cash


def test_a_name_gives_up_the_lots_of_its_losses_only():
    """Of a loss lot before a gain lot only the first may be sold on a partial day."""
    lots = (*SNAPSHOT.lots[:-1], lot("C1", "CCC", "1000", "14000", date(2024, 2, 1)), lot("C2", "CCC", "2000", "8000"))
    day = day_of(HARVEST_C, lots=lots)
    assert day.problem.lower[CCC] == pytest.approx(day.whole.holdings()[CCC] - 0.1)
    result = solve_day(day, HARVEST_C, None).result
    assert -1000 <= int(result.shares["CCC"]) < 0


def test_a_short_position_that_is_called_back_is_covered_on_any_day():
    """Nobody lends EEE any more: that is a reason by itself, and it is bought even where cash is short."""
    short = ShortPosition("s1", "EEE", date(2024, 3, 1), Decimal(100), Decimal("2600.00"))
    params = replace(QUIET, long_max=1.2, max_active_weight=0.5)
    lent = {"shorts": (short,), "borrow_rates": {"EEE": Decimal("0.01")}}
    quiet = day_of(params, **lent)
    assert (quiet.scope, quiet.reasons) == (Scope.NOTHING, ())
    still = solve_day(quiet, params, None)
    assert still.result.terms["borrow"] == pytest.approx(0.01 * 2500 / 97_500)
    day = day_of(params, **{**lent, "borrow_rates": {}})
    assert day.reasons == (Reason(ReasonCode.RESTRICTED, ("EEE",)),)
    solution = solve_day(day, params, None)
    assert solution.status is RunStatus.OPTIMAL
    assert int(solution.result.shares["EEE"]) >= 100
    poor = day_of(replace(params, cash_min=0.3, cash_max=0.4), **{**lent, "borrow_rates": {}})
    assert np.flatnonzero(poor.problem.can_buy).tolist() == [EEE]


@pytest.mark.parametrize(
    ("changes", "params"),
    [
        ({"loss_sale_locks": (loss_lock("C1"),)}, HARVEST_C),
        ({}, replace(HARVEST_C, no_sell=("CCC",))),
        ({}, replace(HARVEST_C, tax_weight=0.0)),
        (
            {"sheltered": True, "rates": replace(SNAPSHOT.rates, st=Decimal(0), lt=Decimal(0), niit=Decimal(0))},
            HARVEST_C,
        ),
        # a round trip of 2 x 500 bps costs more than the 0.408 x 20 % of tax it saves
        ({}, replace(HARVEST_C, cost_bps=500.0)),
        # 2,448 of tax less 30 of trading cost is worth two orders of 1,200 and not of 1,210
        ({}, replace(HARVEST_C, order_cost=1210.0)),
    ],
    ids=["washed", "restricted", "harvesting off", "sheltered", "dearer than it saves", "dearer than its orders"],
)
def test_a_loss_that_cannot_or_need_not_be_harvested_is_no_reason(changes, params):
    """Beyond the trigger is not enough: the lot must be sellable and its tax worth both trades."""
    assert day_of(params, **changes).scope is Scope.NOTHING


def test_a_loss_that_pays_for_its_two_orders_is_a_reason():
    """The tax of C1 less its trading cost is 2,418: enough for two orders of 1,200 each."""
    assert day_of(replace(HARVEST_C, order_cost=1200.0)).scope is Scope.REASONS


def test_a_sale_too_small_to_be_placed_is_no_reason():
    """A loss lot below the minimum trade is left, unless selling it closes the position."""
    lots = (*SNAPSHOT.lots[:-1], lot("C1", "CCC", "5", "100"), lot("C2", "CCC", "2995", "9000"))
    params = replace(HARVEST_C, min_trade=51.0)
    assert day_of(params, lots=lots).scope is Scope.NOTHING
    assert day_of(replace(params, min_trade=50.0), lots=lots).scope is Scope.REASONS
    assert day_of(params, lots=lots[:-1], cash=Decimal(20_000)).scope is Scope.REASONS


def test_lots_in_selling_order_are_weighed_together():
    """FIFO sells the gain before the loss: harvesting is worth it only where the loss outweighs that gain's tax."""
    old = lot("C0", "CCC", "1000", "9000", date(2020, 1, 2))
    young = lot("C1", "CCC", "2000", "24000", date(2024, 2, 1))
    problem = problem_of(params=HARVEST_C, lots=(*SNAPSHOT.lots[:-1], old, young), lot_method="FIFO")
    assert worth_harvesting(problem, lot_order(problem))[CCC] == pytest.approx(0.3)
    dear = replace(old, cost_basis=Decimal(1000), adjusted_basis=Decimal(1000))
    deep = replace(young, quantity=Decimal(100), cost_basis=Decimal(1200), adjusted_basis=Decimal(1200))
    problem = problem_of(params=HARVEST_C, lots=(*SNAPSHOT.lots[:-1], dear, deep), lot_method="FIFO")
    assert not worth_harvesting(problem, lot_order(problem)).any()


def test_a_restricted_name_is_sold_and_nothing_else():
    """A name never to be held goes out; no other is sold, and what it brings is invested no further than the range."""
    params = replace(QUIET, never_hold=("CCC",))
    day = day_of(params)
    assert day.reasons == (Reason(ReasonCode.RESTRICTED, ("CCC",)),)
    assert np.flatnonzero(day.problem.can_sell).tolist() == [CCC]
    result = solve_day(day, params, None).result
    assert result.shares["CCC"] == "-3000"
    assert {ticker for ticker, shares in result.shares.items() if shares.startswith("-")} == {"CCC"}
    assert day.problem.cash_min <= result.cash_after <= day.problem.cash_max


def test_a_restricted_name_that_may_not_be_sold_is_no_reason():
    """Without a price of the day, or locked as a whole, it waits."""
    params = replace(QUIET, never_hold=("CCC",))
    names = (*SNAPSHOT.universe[:2], name("CCC", "10", benchmark=2, risk=2, price_date=LAST), *SNAPSHOT.universe[3:])
    assert day_of(params, universe=names).scope is Scope.NOTHING
    assert day_of(params, loss_sale_locks=(loss_lock("C1"),)).scope is Scope.NOTHING


def test_spare_cash_is_invested_and_nothing_sold():
    """Cash above its range opens purchases; they may use the whole range."""
    params = replace(QUIET, cash_max=0.05)
    day = day_of(params)
    assert day.reasons == (Reason(ReasonCode.CASH_HIGH),)
    assert not day.problem.can_sell.any()
    assert day.problem.cash_min == day.whole.cash_min
    result = solve_day(day, params, None).result
    assert all(not shares.startswith("-") for shares in result.shares.values())
    assert result.cash_after <= 0.05


@pytest.mark.parametrize(
    ("params", "scope"),
    [
        ({"cash_max": 0.1995, "min_trade": 51.0}, Scope.NOTHING),
        ({"cash_max": 0.1995, "min_trade": 49.0}, Scope.REASONS),
        ({"cash_min": 0.2005, "min_trade": 51.0}, Scope.NOTHING),
        ({"cash_min": 0.2005, "min_trade": 49.0}, Scope.REASONS),
    ],
)
def test_cash_that_no_order_can_mend_is_no_reason(params, scope):
    """Cash of 20,000 that misses its range by 50 waits where the smallest order is larger."""
    day = day_of(replace(QUIET, **params))
    assert day.scope is scope
    if scope is Scope.NOTHING:
        assert solve_day(day, QUIET, None).status is RunStatus.OPTIMAL


def test_an_overdrawn_account_raises_cash_at_once():
    """Negative cash is a reason however small it is."""
    day = day_of(replace(QUIET, min_trade=1000.0), cash=Decimal("-3.00"))
    assert [reason.code for reason in day.reasons] == [ReasonCode.CASH_LOW]


def test_missing_cash_is_raised_and_nothing_bought():
    """Cash below its range opens every sale and no purchase, whatever else is worth trading."""
    params = replace(HARVEST_C, cash_min=0.22)
    day = day_of(params)
    assert [reason.code for reason in day.reasons] == [ReasonCode.CASH_LOW, ReasonCode.HARVEST]
    assert day.problem.can_sell.all()
    assert not day.problem.can_buy.any()
    result = solve_day(day, params, None).result
    assert all(shares.startswith("-") for shares in result.shares.values())
    assert result.cash_after >= 0.22


def test_cash_that_a_restricted_sale_brings_needs_no_other_sale():
    """Where the forced sale fills the range again, no other name is sold for it."""
    params = replace(QUIET, cash_min=0.21, cash_max=0.3, never_hold=("CCC",))
    day = day_of(params)
    assert [reason.code for reason in day.reasons] == [ReasonCode.RESTRICTED, ReasonCode.CASH_LOW]
    assert np.flatnonzero(day.problem.can_sell).tolist() == [CCC]
    assert solve_day(day, params, None).status is RunStatus.OPTIMAL


@pytest.mark.parametrize(
    ("change", "subject"),
    [({"sector_active_max": 0.1}, "sector:Energy"), ({"te_max": 0.01}, "tracking error"), ({"max_names": 2}, "names")],
)
def test_a_broken_limit_opens_every_name(change, subject):
    """A limit that joins the names and that trading nothing breaks is mended by all of them."""
    day = day_of(replace(QUIET, cash_max=0.5, **change))
    (reason,) = day.reasons
    assert reason.code is ReasonCode.LIMIT
    assert subject in reason.subjects[0]
    assert day.scope is Scope.ALL
    assert day.problem is day.whole


def test_limits_that_hold_are_no_reason():
    """Limits that are on and kept by the holdings change nothing."""
    params = replace(QUIET, te_max=0.5, turnover_max=0.1, max_names=3, sector_active_max=0.3, tax_budget=0.0)
    assert day_of(params).scope is Scope.NOTHING


def test_a_weight_outside_its_own_bound_waits():
    """Bounds of single names are widened to the holding, on a partial day as on a whole one."""
    assert day_of(replace(QUIET, max_weight=0.25)).scope is Scope.NOTHING


def test_names_that_cannot_meet_the_rules_alone_are_helped_by_all():
    """Where a restricted sale breaks the tracking error and its proceeds cannot mend it, every name may trade."""
    params = replace(QUIET, never_hold=("CCC",), no_buy=("DDD",), te_max=0.106)
    day = day_of(params)
    assert day.scope is Scope.REASONS
    solution = solve_day(day, params, None)
    assert solution.status is RunStatus.OPTIMAL
    assert [failure.code for failure in solution.result.failures] == ["INFEASIBLE"]
    assert solution.result.rebalancing.scope == "ALL"
    assert solution.result.rebalancing.whole_on == LAST
