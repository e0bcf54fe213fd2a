"""Which lots a sale takes."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.accounts import LotMethod, TaxRates
from prometheus.ledger.events import OpeningLot, Sell
from prometheus.ledger.selection import LOT_ORDERS
from tests.unit.ledger.told import Told, events_of

LOTS = """
    2018-01-02,A,X,BUY,10,1000,old
    2018-12-03,A,X,BUY,10,1500,dear
    2019-03-04,A,X,BUY,10,800,cheap
"""
RATES = TaxRates(Decimal("0.37"), Decimal("0.20"))


@pytest.mark.parametrize(
    ("method", "order"),
    [
        (LotMethod.FIFO, ["old", "dear"]),
        (LotMethod.HIFO, ["dear", "old"]),
        (LotMethod.LEAST_TAX_FIRST, ["dear", "old"]),
    ],
)
def test_the_method_orders_the_lots(method, order):
    """FIFO takes the earliest, HIFO the highest basis, LEAST_TAX_FIRST weighs each gain with its rate."""
    told = Told(f"{LOTS}\n2019-06-03,A,X,SELL,15,2100", method=method, rates=RATES)
    assert [sale.lot_id for sale in told.sales] == order


def test_least_tax_first_weighs_the_gain_with_its_rate():
    """At 200 a share a long gain of 100 at 20 % costs 20, a short one of 60 at 37 % costs 22.20: the long lot goes."""
    text = """
        2018-01-02,A,X,BUY,10,1000,long
        2019-03-04,A,X,BUY,10,1400,short
        2019-06-03,A,X,SELL,10,2000
    """
    assert [sale.lot_id for sale in Told(text, method=LotMethod.LEAST_TAX_FIRST, rates=RATES).sales] == ["long"]


def test_a_sale_can_have_a_method_of_its_own():
    """The method of the sale goes before that of the account."""
    sale = Sell(
        account="A",
        event_id="s",
        trade_date=date(2019, 6, 3),
        ticker="X",
        quantity=Decimal(5),
        amount=Decimal(700),
        method=LotMethod.HIFO,
    )
    told = Told([*events_of(LOTS), sale])
    assert [line.lot_id for line in told.sales] == ["dear"]
    assert [line.lot_id for line in Told([*events_of(LOTS), replace(sale, method=None)]).sales] == ["old"]


def test_commission_and_proceeds_are_shared_out_to_the_cent():
    """Three lots of one share for 100.00 with a fee of 0.01: the lines add up."""
    sale = Sell(
        account="A",
        event_id="s",
        trade_date=date(2019, 6, 3),
        ticker="X",
        quantity=Decimal(3),
        amount=Decimal(100),
        fee=Decimal("0.01"),
    )
    bought = "\n".join(f"2018-01-0{day},A,X,BUY,1,10,L{day}" for day in (2, 3, 4))
    told = Told([*events_of(bought), sale])
    assert [line.posting.cash for line in told.sales] == [Decimal("33.33"), Decimal("33.34"), Decimal("33.33")]
    assert sum(line.posting.fee for line in told.sales) == Decimal("0.01")


def test_a_lot_named_twice_by_part_and_whole_is_refused():
    """A lot's name stands for its washed part too, so naming both names the part twice."""
    told = Told(
        """
        2018-01-02,A,X,BUY,4,40,old
        2019-06-03,A,X,SELL,4,32,old,,,s
        2019-06-10,A,X,BUY,10,80,new
        2019-08-20,A,X,SELL,10,100,new=8;new~W1-s=2
        """,
        sound=False,
    )
    assert told.codes == ["LOT_NAMED_TWICE"]


@pytest.mark.parametrize("method", [LotMethod.FIFO, LotMethod.HIFO])
@pytest.mark.parametrize(
    ("named", "taken"),
    [
        ("new=5", {"new": 5}),
        ("new=6;new~W1-s=2", {"new": 6, "new~W1-s": 2}),
        ("new~W1-s=2;new=6", {"new": 6, "new~W1-s": 2}),
        ("new=8", {"new": 6, "new~W1-s": 2}),
    ],
)
def test_a_named_lot_gives_its_own_shares_before_those_of_its_parts(method, named, taken):
    """Six shares and a washed part of four: the part is taken where it is named, or where the lot has no more."""
    shares = sum(taken.values())
    told = Told(
        f"""
        2018-01-02,A,X,BUY,4,40,old
        2019-06-03,A,X,SELL,4,32,old,,,s
        2019-06-10,A,X,BUY,10,80,new
        2019-08-20,A,X,SELL,{shares},100,{named}
        """,
        method=method,
    )
    assert {line.lot_id: -line.posting.quantity for line in told.sales[1:]} == taken


@pytest.mark.parametrize("price", [60, 100, 130, 200])
def test_least_tax_first_is_the_order_of_the_taxes(price):
    """Whatever the price, no lot that is left would cost less tax a share than one that was sold."""
    bought = [
        f"{2018 + i % 2}-0{1 + i % 9}-02,A,X,BUY,{1 + i % 3},{(80 + 7 * (i * 5 % 13)) * (1 + i % 3)},L{i:02d}"
        for i in range(20)
    ]
    told = Told(
        [
            *events_of("\n".join(bought)),
            *events_of(f"2019-10-15,A,X,SELL,15,{15 * price},,,,sale"),
        ],
        method=LotMethod.LEAST_TAX_FIRST,
        rates=RATES,
    )

    def tax(row):
        rate = RATES.lt if row.term == "LONG" else RATES.st
        return rate * (price + row.adjusted_basis / -row.quantity)

    taxes = [tax(sale.posting) for sale in told.sales]
    assert taxes == sorted(taxes)
    left = [
        (RATES.lt if (date(2019, 10, 15) - lot.holding_period_start).days > 366 else RATES.st)
        * (price - lot.adjusted_basis / lot.quantity)
        for lot in told.lots.values()
        if lot.lot_id != told.sales[-1].lot_id and lot.adjusted_basis == lot.cost_basis
    ]
    assert min(left) >= taxes[-1]


@pytest.mark.parametrize("method", [LotMethod.FIFO, LotMethod.HIFO, LotMethod.LEAST_TAX_FIRST])
def test_a_named_lot_is_sold_under_every_method(method):
    """The sale names the second of three lots, which no method would take first: its basis of 110 counts."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,120,high
        2019-01-03,A,X,BUY,10,110,named
        2019-01-04,A,X,BUY,10,100,low
        2019-06-10,A,X,SELL,10,130,named
        """,
        method=method,
        rates=TaxRates(Decimal("0.4"), Decimal("0.2")),
    )
    assert [(sale.lot_id, sale.realized_gain) for sale in told.sales] == [("named", 20)]


def test_the_order_by_basis_follows_what_comes_and_goes_between_sales():
    """HIFO sells 130, then 150 and 140 that were bought since, last the 120 that was there from the start."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,1200,L120
        2018-01-02,A,X,BUY,10,1300,L130
        2018-03-01,A,X,SELL,10,1400
        2018-06-01,A,X,BUY,10,1500,L150
        2018-06-01,A,X,BUY,10,1400,L140
        2018-09-03,A,X,SELL,10,1600
        2018-12-03,A,X,SELL,15,2400
        """,
        method=LotMethod.HIFO,
    )
    assert [(sale.lot_id, sale.realized_gain) for sale in told.sales] == [
        ("L130", 100),
        ("L150", 100),
        ("L140", 200),
        ("L120", 200),
    ]


def test_parts_of_a_named_lot_come_in_the_order_of_the_method():
    """HIFO: the named lot's own 10 shares, then of its parts the one at 11.01; a dearer lot that is not named stays."""
    told = Told(
        """
        2019-01-02,A,X,BUY,100,1000,old
        2019-06-03,A,X,BUY,60,540,new
        2019-06-10,A,X,SELL,20,160,old,,,s1
        2019-06-10,A,X,SELL,30,239.70,old,,,s2
        2019-09-03,A,X,BUY,10,200,dear
        2019-11-04,A,X,SELL,30,900,new
        """,
        method=LotMethod.HIFO,
    )
    assert [(line.lot_id, -line.posting.quantity) for line in told.sales[2:]] == [("new", 10), ("new~W1-s2", 20)]


THREE = """
    2010-01-04,A,X,BUY,10,100,old-cheap
    2011-01-04,A,X,BUY,10,400,old-dear
    2018-05-01,A,X,BUY,10,410,young-dearer
"""
TOP_BRACKET = TaxRates(Decimal("0.37"), Decimal("0.20"), Decimal("0.038"))


def test_every_lot_method_has_an_order():
    """The table of orders covers every lot method there is."""
    assert set(LOT_ORDERS) == set(LotMethod)


@pytest.mark.parametrize(
    ("method", "price", "order"),
    [
        (LotMethod.HIFO, 450, ["young-dearer", "old-dear", "old-cheap"]),
        (LotMethod.FIFO, 450, ["old-cheap", "old-dear", "young-dearer"]),
        # At 45 the short gain of 4 costs 1.63 at 0.408, the long gain of 5 costs 1.19 at 0.238.
        (LotMethod.LEAST_TAX_FIRST, 45, ["old-dear", "young-dearer", "old-cheap"]),
        # At 30 the short loss of 11 at 0.408 saves more than the long loss of 10 at 0.238.
        (LotMethod.LEAST_TAX_FIRST, 30, ["young-dearer", "old-dear", "old-cheap"]),
    ],
)
def test_the_surtax_is_part_of_both_rates(method, price, order):
    """Two lots are sold whole and half of the third: the order is that of the method, with 3.8 % in both rates."""
    told = Told(f"{THREE}\n2018-06-01,A,X,SELL,25,{25 * price}", method=method, rates=TOP_BRACKET)
    assert [(sale.lot_id, -sale.posting.quantity) for sale in told.sales] == list(zip(order, (10, 10, 5), strict=True))


def test_hifo_looks_at_the_adjusted_basis():
    """A loss of 200 in the basis of 300 moves a lot of cost 100 before one of cost 200."""
    opened = [
        OpeningLot(
            account="A",
            event_id=name,
            trade_date=date(2017, 1, 3),
            ticker="X",
            quantity=Decimal(10),
            cost_basis=Decimal(cost),
            adjusted_basis=Decimal(adjusted),
        )
        for name, cost, adjusted in (("a", 100, 300), ("b", 200, 200))
    ]
    told = Told([*opened, *events_of("2018-06-01,A,X,SELL,10,450,,,,s")], method=LotMethod.HIFO)
    assert [sale.lot_id for sale in told.sales] == ["a"]


@pytest.mark.parametrize("method", [LotMethod.HIFO, LotMethod.FIFO, LotMethod.LEAST_TAX_FIRST])
@pytest.mark.parametrize("turn", [1, -1])
def test_ties_go_to_the_earlier_purchase_then_the_lesser_name(method, turn):
    """Lots of 3.33 a share are sold by acquired_on, then lot_id, whatever the order they are told in."""
    bought = ["2017-01-03,A,X,BUY,3,10,b", "2017-01-03,A,X,BUY,6,20,a", "2016-01-04,A,X,BUY,3,10,c"]
    sold = events_of("2018-06-01,A,X,SELL,12,600,,,,s")
    told = Told([*events_of("\n".join(bought))[::turn], *sold], method=method, rates=TOP_BRACKET)
    assert [sale.lot_id for sale in told.sales] == ["c", "a", "b"]


def test_the_last_lot_of_the_order_is_sold_in_part():
    """Twelve and a half shares are one lot of ten and 2.5 of the next."""
    told = Told(f"{THREE}\n2018-06-01,A,X,SELL,12.5,500")
    taken = [(sale.lot_id, -sale.posting.quantity) for sale in told.sales]
    assert taken == [("old-cheap", 10), ("old-dear", Decimal("2.5"))]
