from datetime import date
from decimal import Decimal

from prometheus.accounting.acb import pool_id, pool_lots

# Rule 14: one pooled adjusted cost base for identical property. Source: Income Tax Act (Canada) s. 47(1).


def test_lots_of_a_security_become_one_pool(make_lot):
    """A security's lots merge into one with summed shares and bases, dated from the earliest purchase."""
    (pool,) = pool_lots(
        [
            make_lot("L2", "2017-03-01", 50, "600.05", adjusted="610.05"),
            make_lot("L1", "2016-02-01", "100.5", "1000.01"),
        ]
    )
    assert pool.lot_id == "ACB-XYZ"
    assert pool.acquired_on == pool.holding_period_start == date(2016, 2, 1)
    assert pool.quantity == Decimal("150.5")
    assert (pool.cost_basis, pool.adjusted_basis) == (Decimal("1600.06"), Decimal("1610.06"))


def test_each_security_has_its_own_pool(make_lot):
    """Pools come one for each ticker, in the order of tickers, whatever the order of the lots."""
    lots = [make_lot("a", "2016-01-04", 1, "10", ticker="ZZ"), make_lot("b", "2016-01-04", 2, "20", ticker="AA")]
    assert [pool.lot_id for pool in pool_lots(lots)] == [pool_id("AA"), pool_id("ZZ")]


def test_pooling_twice_changes_nothing(make_lot):
    """A pool is its own pool."""
    once = pool_lots([make_lot("a", "2016-01-04", 1, "10"), make_lot("b", "2017-01-04", 2, "20")])
    assert pool_lots(once) == once
    assert pool_lots([]) == ()
