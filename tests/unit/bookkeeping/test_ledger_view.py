"""What a decision sees of past trades: what is washed of a loss, what of a purchase can replace still."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger_view import recent_trades_of
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import Side
from tests.unit.ledger.told import Told

DAY = date(2018, 6, 1)
WASHED = """
    2017-01-03,A,X,BUY,100,1000,old
    2018-06-01,A,X,SELL,100,750,old,,,s1
    2018-06-06,A,X,BUY,40,320,new
"""


def trades_of(text, as_of, **settings: object):
    """Book a history and return the trades of its account that may lock something on a day."""
    told = Told(text, **settings)
    return recent_trades_of(told.state, "A", as_of, told.terms)


def test_trades_know_what_is_washed():
    """Of a loss of 250 on 100 shares 100 are washed by the 40 bought back, which have all served."""
    sale, purchase = sorted(trades_of(WASHED, date(2018, 6, 30)), key=lambda trade: trade.trade_date)
    assert (sale.side, sale.quantity, sale.realized_gain) == (Side.SELL, 100, -250)
    assert (sale.washed_quantity, sale.disallowed_loss) == (40, 100)
    assert (sale.acquired_on, sale.holding_period_start, sale.execution_id) == (*[date(2017, 1, 3)] * 2, "s1")
    assert (purchase.side, purchase.quantity, purchase.unreplaced, purchase.lot_id) == (Side.BUY, 40, 0, "new")


@pytest.mark.parametrize(
    ("as_of", "sides"),
    [
        (date(2018, 7, 1), {Side.SELL, Side.BUY}),
        (date(2018, 7, 2), {Side.BUY}),
        (date(2018, 7, 6), {Side.BUY}),
        (date(2018, 7, 7), set()),
    ],
)
def test_trades_are_seen_for_thirty_days(as_of, sides):
    """The sale of 1 June is seen through 1 July, the purchase of 6 June through 6 July."""
    assert {trade.side for trade in trades_of(WASHED, as_of)} == sides


def test_trades_still_to_come_are_not_seen():
    """Books that are through 6 June tell of 1 June without the purchase of the 6th."""
    assert [trade.side for trade in trades_of(WASHED, DAY)] == [Side.SELL]


def test_a_part_that_served_leaves_the_rest_of_its_purchase():
    """Of a purchase of forty ten have served: thirty are left to replace."""
    trades = trades_of(
        """
        2017-01-03,A,X,BUY,10,1000,old
        2018-06-01,A,X,SELL,10,900,old
        2018-06-01,A,X,BUY,40,3600,new
        """,
        DAY,
    )
    assert [trade.unreplaced for trade in trades if trade.side is Side.BUY] == [30]


def test_a_lot_that_served_whole_is_used_up():
    """Of 25 bought 15 are sold again and 10 serve: none is left, though fewer served than were bought."""
    trades = trades_of(
        """
        2017-01-03,A,X,BUY,10,1000,old
        2018-05-20,A,X,BUY,25,2000,new
        2018-06-01,A,X,SELL,15,1350,new
        2018-06-01,A,X,SELL,10,900,old
        """,
        DAY,
    )
    assert [trade.unreplaced for trade in trades if trade.side is Side.BUY] == [0]
    assert [trade.disallowed_loss for trade in trades if trade.side is Side.SELL] == [100]


def test_a_superficial_loss_uses_up_no_purchase():
    """Canada looks at each disposition by itself: of 240 lost 60 are denied, and the purchase of ten stays whole."""
    trades = trades_of(
        """
        2015-01-05,A,X,BUY,90,1000
        2018-05-20,A,X,BUY,10,100,,,,b
        2018-06-01,A,X,SELL,40,200
        """,
        DAY,
        regime=TaxRegime.CA,
    )
    bought, sold = sorted(trades, key=lambda trade: trade.trade_date)
    assert (bought.execution_id, bought.unreplaced) == ("b", 10)
    assert (sold.realized_gain, sold.washed_quantity, sold.disallowed_loss) == (-240, 10, 60)


def test_an_opening_lot_is_the_purchase_it_was():
    """A lot taken over counts as bought on its own date, not on that of the opening."""
    opened = "2018-06-01,A,X,OPEN,3,10,a,2018-05-20"
    (purchase,) = trades_of(opened, DAY)
    assert (purchase.trade_date, purchase.quantity) == (date(2018, 5, 20), 3)
    assert trades_of(opened, date(2018, 6, 20)) == ()


def test_trades_follow_splits():
    """Twenty sold are thirty after 3:2: twelve are washed by the eight bought before it, ten by a purchase after it."""
    trades = trades_of(
        """
        2017-01-03,A,X,BUY,20,2000,old
        2017-01-03,A,X,BUY,5,1,keep
        2018-06-01,A,X,SELL,20,1800,old
        2018-06-02,A,X,BUY,8,720,n1
        2018-06-04,A,X,SPLIT,1.5
        2018-06-05,A,X,BUY,10,600,n2
        """,
        date(2018, 6, 6),
    )
    sold, first, second = sorted(trades, key=lambda trade: trade.trade_date)
    assert (sold.quantity, sold.washed_quantity, sold.disallowed_loss) == (30, 22, Decimal("146.67"))
    assert (first.quantity, first.unreplaced) == (12, 0)
    assert (second.quantity, second.unreplaced) == (10, 0)
