"""Names of lots, and the orders of a book that follow what happens to its lots."""

from dataclasses import replace
from datetime import date

import pytest

from prometheus.domain.accounts import LotMethod
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.tie_rules import tie_rules
from tests.unit.ledger.told import Told, events_of


def test_parts_of_a_lot_are_numbered():
    """Three transfers out of one lot on one day make T1, T2 and T3."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100,L
        2019-06-03,A,X,TRANSFER_OUT,1,,L,B
        2019-06-03,A,X,TRANSFER_OUT,2,,L,B
        2019-06-03,A,X,TRANSFER_OUT,3,,L,B
        """
    )
    assert {key.lot_id: lot.quantity for key, lot in told.lots.items()} == {"L": 4, "L~T1": 1, "L~T2": 2, "L~T3": 3}


@pytest.mark.parametrize(("day", "codes"), [("2019-07-03", ["LOT_EXISTS"]), ("2019-07-04", [])])
def test_a_name_is_free_when_its_purchase_is_out_of_the_window(day, codes):
    """L was bought on 3 June and sold: on day 30 the purchase can still replace, a day later the name is free."""
    told = Told(f"2019-06-03,A,X,BUY,1,10,L\n2019-06-04,A,X,SELL,1,12,L\n{day},A,X,BUY,1,10,L", sound=False)
    assert told.codes == codes


def test_a_loss_that_a_lot_carries_moves_it_in_the_order_by_basis():
    """HIFO: the lot bought for 1,000 carries 200 of a loss, so that it is sold before the one of 1,100."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,1200,a
        2019-01-02,A,X,BUY,10,1100,b
        2019-06-03,A,X,SELL,10,1000
        2019-06-10,A,X,BUY,10,1000,c
        2019-09-03,A,X,SELL,10,1500
        """,
        method=LotMethod.HIFO,
    )
    assert [(sale.lot_id, sale.realized_gain) for sale in told.sales] == [("a", -200), ("c", 300)]


def test_a_part_that_is_sold_takes_nothing_in():
    """The part of 11 a share is sold before another one like it is made: that one is a lot of its own."""
    told = Told(
        """
        2019-01-02,A,X,BUY,100,1000,old
        2019-06-03,A,X,BUY,60,540,new
        2019-06-10,A,X,SELL,20,160,old,,,s1
        2019-06-11,A,X,SELL,20,400,new~W1-s1
        2019-06-12,A,X,SELL,20,160,old,,,s3
        """,
        ties=tie_rules({"tacking": "ACQUISITION_DATE"}),
    )
    assert {key.lot_id: (lot.quantity, lot.adjusted_basis) for key, lot in told.lots.items()} == {
        "old": (60, 600),
        "new": (20, 180),
        "new~W1-s3": (20, 220),
    }


def test_a_payment_says_when_it_settles():
    """The dividend of 3 June is paid on the 20th."""
    events = events_of("2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,DIVIDEND,,5")
    events[-1] = replace(events[-1], settle_date=date(2019, 6, 20))
    (row,) = [row for row in Told(events).postings if row.kind is PostingKind.DIVIDEND]
    assert (row.cash, row.settle_date) == (5, date(2019, 6, 20))
