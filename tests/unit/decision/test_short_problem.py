"""Short positions of a snapshot in the optimizer's problem: tax of covering, bounds, locks, positions called back."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest

from prometheus.domain.lots import RecentTrade, ShortPosition, Side
from tests.unit.decision.small_day import AS_OF, PARAMS, SNAPSHOT, buy_lock, problem_of

DDD = 3
OLD = AS_OF - timedelta(days=100)
LENT = {"DDD": Decimal("0.02"), "EEE": Decimal("0.5")}
#: DDD is at 50: a gain of 10 and a loss of 5 a share; cash holds the proceeds.
GAIN = ShortPosition("S1", "DDD", OLD, Decimal(100), Decimal("6000.00"))
LOSS = ShortPosition("S2", "DDD", OLD, Decimal(200), Decimal("9000.00"), was_held_long=True)
EXTENDED = replace(PARAMS, long_max=1.3, max_active_weight=0.5)


def short_day(*shorts: ShortPosition, **changes: object):
    """Return the small day with short positions, whose proceeds are in its cash."""
    proceeds = sum((short.proceeds for short in shorts), Decimal(0))
    values = {"borrow_rates": LENT, "cash": SNAPSHOT.cash + proceeds, "shorts": shorts, **changes}
    return replace(SNAPSHOT, **values)


def sale(days: int) -> RecentTrade:
    """Return a sale of DDD so many days before the day."""
    return RecentTrade("DDD", AS_OF - timedelta(days=days), Side.SELL, Decimal(1))


def test_holdings_are_lots_less_what_is_owed_and_add_up_with_cash():
    """Net asset value counts what is short at its price, and weights and cash add to one."""
    day = short_day(GAIN, LOSS)
    assert day.nav() == SNAPSHOT.nav() + Decimal(15000) - 300 * 50
    problem = problem_of(day, EXTENDED)
    assert problem.holdings()[DDD] == pytest.approx(-15000 / 100_000)
    assert problem.holdings().sum() + problem.cash == pytest.approx(1.0, abs=1e-15)
    assert problem.short_id == ("S1", "S2")
    assert problem.short_shares.tolist() == [100, 200]


def test_covering_is_taxed_as_short_term_but_for_a_loss_beside_old_shares():
    """A gain has the short-term rate; a loss of shares sold beside a lot held for a year has the long-term one."""
    problem = problem_of(short_day(GAIN, LOSS), replace(EXTENDED, tax_budget=0.05))
    assert problem.cover_tax.tolist() == pytest.approx([0.408 * 10 / 50, 0.238 * -5 / 50])
    assert problem.cover_gain.tolist() == pytest.approx([10 / 50, -5 / 50])
    assert len(problem_of(short_day(GAIN), EXTENDED).cover_gain) == 0


@pytest.mark.parametrize(
    ("day", "counts"),
    [
        (short_day(replace(LOSS, lot_id="S3", sold_on=AS_OF - timedelta(days=3)), LOSS), [True, False]),
        (short_day(LOSS), [True]),
        (
            short_day(LOSS, recent_trades=(RecentTrade("DDD", AS_OF - timedelta(days=30), Side.SELL, Decimal(1)),)),
            [False],
        ),
        (
            short_day(LOSS, recent_trades=(RecentTrade("DDD", AS_OF - timedelta(days=31), Side.SELL, Decimal(1)),)),
            [True],
        ),
    ],
)
def test_a_loss_near_another_short_sale_counts_as_nothing(day, counts):
    """A loss on a cover within thirty days of another short sale or a sale of the group saves no tax."""
    assert (problem_of(day, EXTENDED).cover_tax < 0).tolist() == counts


def test_a_lock_lets_a_cover_go_as_far_as_nothing_held():
    """A group that must not be bought after a loss may be covered, and no more."""
    problem = problem_of(short_day(GAIN, buy_locks=(buy_lock("DDD"),)), EXTENDED)
    assert problem.can_buy[DDD]
    assert problem.upper[DDD] == 0.0
    assert not problem_of(short_day(GAIN), replace(EXTENDED, no_buy=("DDD",))).can_buy[DDD]


@pytest.mark.parametrize(
    ("day", "params"),
    [
        (short_day(GAIN, borrow_rates={"EEE": Decimal("0.5")}), EXTENDED),
        (short_day(GAIN), replace(EXTENDED, never_hold=("DDD",))),
    ],
)
def test_what_is_called_back_or_barred_is_covered(day, params):
    """A position that nobody lends any more, or whose name must not be held, is bounded at nothing."""
    problem = problem_of(day, params)
    assert problem.lower[DDD] == 0.0
    assert problem.can_buy[DDD]
    assert np.isfinite(problem.borrow_rate[DDD])


def test_what_cannot_be_covered_stays():
    """Without a price of the day, the sum of shorts has a place for it whatever the strategy says."""
    names = tuple(
        replace(name, price_date=date(2024, 1, 2)) if name.ticker == "DDD" else name for name in SNAPSHOT.universe
    )
    problem = problem_of(short_day(GAIN, universe=names), replace(PARAMS, max_names=3))
    assert problem.lower[DDD] == problem.holdings()[DDD] == pytest.approx(-0.05, rel=0.1)
    assert not problem.can_buy[DDD]
    assert problem.short_max == pytest.approx(-problem.holdings()[DDD])
    assert problem.max_names is None
    covered = problem_of(short_day(GAIN), PARAMS)
    assert covered.short_max == 0.0
    assert covered.can_buy[DDD]
