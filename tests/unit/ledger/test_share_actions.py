"""What splits, spin-offs, distributions and fractions do to lots."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.ledger import events as ev
from prometheus.ledger.events import Buy, StockDistribution
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.terms import AccountTerms, Terms
from tests.unit.ledger.told import Told, events_of


def test_a_split_moves_no_basis_and_no_date():
    """26 U.S.C. 307(a); Reg. 1.307-1: 10 shares for 100 are 30 shares for 100, bought on the same day."""
    told = Told("2018-01-02,A,X,BUY,10,100,L\n2019-06-03,A,X,SPLIT,3")
    lot = told.lot("L")
    assert (lot.quantity, lot.adjusted_basis, lot.holding_period_start) == (30, 100, date(2018, 1, 2))


def test_thirds_come_back_whole():
    """Ten shares 1:3 and then 3:1 are ten again, and all ten can be sold."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,L
        2019-06-03,A,X,SPLIT,1:3
        2019-07-03,A,X,SPLIT,3:1
        2019-08-05,A,X,SELL,10,150
        """
    )
    assert (told.recognized, told.lots) == (50, {})


def test_lots_of_a_position_are_rounded_from_their_running_total():
    """Three lots of ten 1:3 are 3.333333333, 3.333333334 and 3.333333333: the position is ten and can be sold."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,a
        2018-01-03,A,X,BUY,10,100,b
        2018-01-04,A,X,BUY,10,100,c
        2019-06-03,A,X,SPLIT,1:3
        """
    )
    assert [lot.quantity for lot in told.lots.values()] == [
        Decimal("3.333333333"),
        Decimal("3.333333334"),
        Decimal("3.333333333"),
    ]
    assert {lot.exact for lot in told.lots.values()} == {Fraction(10, 3)}
    assert told.state.quantity_of("A", "X") == 10


def test_a_window_across_thirds_leaves_no_sliver():
    """Ten sold at a loss, 1:3, bought back and 3:1: the whole loss is disallowed and one lot carries it."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-04,A,X,SPLIT,1:3
        2019-06-05,A,X,SPLIT,3:1
        2019-06-06,A,X,BUY,10,90,new
        """
    )
    assert [(lot.quantity, lot.adjusted_basis) for lot in told.lots.values()] == [(10, 110)]


def test_cash_in_lieu_is_a_sale():
    """Rev. Rul. 66-365: 1 for 10 of 25 shares leaves 2.5; half a share of basis 250 x 0.5/2.5 = 50 is sold for 60."""
    told = Told("2018-01-02,A,X,BUY,25,250,L\n2019-06-03,A,X,SPLIT,1:10,60")
    assert (told.lot("L").quantity, told.basis("L")) == (2, 200)
    (sale,) = told.sales
    assert (sale.posting.kind, sale.posting.quantity, sale.realized_gain) == ("CASH_IN_LIEU", Decimal("-0.5"), 10)


def test_cash_for_no_fraction_is_refused():
    """Ten shares 2:1 are twenty: cash in lieu of a fraction contradicts that, and the row is refused by name."""
    told = Told("2024-01-02,A,XYZ,BUY,10,1000,L\n2024-06-03,A,XYZ,SPLIT,2:1,50", sound=False)
    assert (told.codes, told.lot("L").quantity, told.state.cash) == (["NO_FRACTION"], 10, {"A": -1000})


def test_whole_share_accounts_are_paid_their_fraction_at_the_price():
    """1 for 10 of 25 shares at 30: half a share is 15; an account that holds fractions keeps it."""
    events = events_of(
        """
        2018-01-02,A,X,BUY,25,250,L
        2018-01-02,B,X,BUY,25,250,L
        2019-06-03,*,X,SPLIT,1:10,,,,30
        """
    )
    told = Told(events, terms=Terms(accounts={"A": AccountTerms(is_fractional=False)}))
    assert [(sale.account, sale.posting.cash) for sale in told.sales] == [("A", 15)]
    assert (told.lot("L").quantity, told.lot("L", "B").quantity) == (2, Decimal("2.5"))


@pytest.mark.parametrize(("account", "codes"), [("*", ["NO_PRICE"]), ("A", [])])
def test_a_fraction_that_has_no_price_stays_with_a_remark(account, codes):
    """1 for 10 of 25 shares without a price: half a share is left; a broker's own listing pays it by another event."""
    events = events_of(f"2018-01-02,A,X,BUY,25,250,L\n2019-06-03,{account},X,SPLIT,1:10")
    told = Told(events, terms=Terms(accounts={"A": AccountTerms(is_fractional=False)}), sound=False)
    assert [(found.code, found.refused) for found in told.findings] == [(code, False) for code in codes]
    assert (told.lot("L").quantity, told.basis("L"), told.sales) == (Decimal("2.5"), 250, [])


def test_a_lot_that_a_split_leaves_nothing_of_is_refused():
    """A ratio that takes a lot below the smallest share is a finding."""
    told = Told("2018-01-02,A,X,BUY,0.000000001,100,L\n2019-06-03,A,X,SPLIT,1:10", sound=False)
    assert told.codes == ["VANISHING_LOT"]


def test_too_many_shares_are_refused():
    """A split that makes more than a million million shares is a slip."""
    told = Told("2018-01-02,A,X,BUY,900000000000,100,L\n2019-06-03,A,X,SPLIT,10", sound=False)
    assert (told.codes, told.lot("L").quantity) == (["TOO_LARGE"], 900000000000)


def test_a_spin_off_shares_the_basis_out():
    """26 U.S.C. 358: a quarter of 1,000 goes to the child's ten shares, with the parent's dates."""
    told = Told("2018-01-02,A,P,BUY,20,1000,p\n2019-06-03,A,P,SPINOFF,0.5,,,C,0.25")
    child = told.lot("p~S-C")
    assert (told.basis("p"), child.adjusted_basis, child.quantity) == (750, 250, 10)
    assert (child.acquired_on, child.origin) == (date(2018, 1, 2), told.lot("p").origin)


def test_two_children_of_a_day_take_their_parts_of_the_same_basis():
    """20 % and 30 % of 1,000 are 200 and 300."""
    told = Told(
        """
        2018-01-02,A,P,BUY,20,1000,p
        2019-06-03,A,P,SPINOFF,1,,,C,0.2
        2019-06-03,A,P,SPINOFF,1,,,D,0.3
        """
    )
    assert (told.basis("p"), told.basis("p~S-C"), told.basis("p~S-D")) == (500, 200, 300)


def test_children_that_take_the_whole_basis_are_refused():
    """Of 60 % and 50 % on one day the second has no basis left to take."""
    told = Told(
        """
        2018-01-02,A,P,BUY,20,1000,p
        2019-06-03,A,P,SPINOFF,1,,,C,0.6
        2019-06-03,A,P,SPINOFF,1,,,D,0.5
        """,
        sound=False,
    )
    assert told.codes == ["BAD_BASIS_FRACTION"]


def test_a_spin_off_pays_the_fraction_in_cash():
    """Five shares of the child for two of five: 2.5, of which half is paid 12 for a basis of 50."""
    told = Told("2018-01-02,A,P,BUY,5,1000,p\n2019-06-03,A,P,SPINOFF,0.5,12,,C,0.25")
    assert (told.lot("p~S-C").quantity, told.sales[0].realized_gain) == (2, 12 - 50)


def test_a_second_spin_off_of_a_child_makes_lots_of_its_own():
    """The child's lots of the first day keep their names."""
    told = Told(
        """
        2018-01-02,A,P,BUY,20,1000,p
        2019-06-03,A,P,SPINOFF,1,,,C,0.2
        2019-07-03,A,P,SPINOFF,1,,,C,0.2
        """
    )
    assert {key.lot_id for key in told.lots} == {"p", "p~S-C", "p~S2-C"}


def test_receiving_a_child_is_no_purchase():
    """26 U.S.C. 1091(a) asks for a purchase or taxable exchange: a child's shares replace nothing."""
    told = Told(
        """
        2018-01-02,A,C,BUY,10,100,old
        2018-01-02,A,P,BUY,10,1000,p
        2019-06-03,A,C,SELL,10,80,old
        2019-06-10,A,P,SPINOFF,1,,,C,0.25
        """
    )
    assert told.disallowed == 0


@pytest.mark.parametrize(("value", "basis", "gain"), [(25, 800, 50), (5, 952, 2)])
def test_a_distribution_takes_its_part_of_the_basis(value, basis, gain):
    """Value 25 beside a close of 100: 25/125 of 1,000 leaves with ten shares' 250, a gain of 50."""
    events = [
        Buy(
            account="A",
            event_id="b",
            trade_date=date(2018, 1, 2),
            ticker="X",
            quantity=Decimal(10),
            amount=Decimal(1000),
            lot_id="L",
        ),
        StockDistribution(
            account="",
            event_id="d",
            trade_date=date(2019, 6, 3),
            ticker="X",
            value=Decimal(value),
            close=Decimal(100) if value == 25 else Decimal("99.17"),
        ),
    ]
    told = Told(events)
    row = told.sales[0].posting
    assert (row.kind, row.cash, row.term) == (PostingKind.STOCK_DISTRIBUTION, value * 10, "LONG")
    assert (round(told.basis("L")), round(row.realized_gain)) == (basis, gain)


def test_rows_of_a_split_say_when_it_settles():
    """A split of lots and of a short position: each row has its ticker, lot, shares and the event's settlement date."""
    events = events_of(
        """
        2019-01-02,A,X,BUY,10,100,L
        2019-01-03,A,Y,SHORT,6,90,P
        2019-06-03,*,X,SPLIT,2
        2019-06-03,*,Y,SPLIT,2
        """
    )
    events = [replace(each, settle_date=date(2019, 6, 5)) if isinstance(each, ev.Split) else each for each in events]
    rows = [row for row in Told(events).postings if row.kind is PostingKind.SPLIT]
    assert [(row.ticker, row.lot_id, row.quantity) for row in rows] == [("X", "L", 10), ("Y", "P", -6)]
    assert rows[0].settle_date == date(2019, 6, 5)
    assert [row.acquired_on for row in rows] == [date(2019, 1, 2), date(2019, 1, 3)]


def test_a_fraction_is_paid_in_the_base_currency():
    """Half a share at 20 euros, 1.10 each: 11.00 in cash for an account of whole shares."""
    split = ev.Split(
        account="A",
        event_id="s",
        trade_date=date(2019, 6, 3),
        ticker="X",
        ratio=Fraction(1, 2),
        fraction_price=Decimal(20),
        currency="EUR",
        rate=Decimal("1.10"),
    )
    bought = events_of("2019-01-02,A,X,BUY,3,30,L")
    told = Told([*bought, split], terms=Terms(accounts={"A": AccountTerms(is_fractional=False)}))
    assert (told.state.cash["A"], told.lot("L").quantity) == (Decimal(-19), 1)


def test_distributions_of_a_day_take_their_parts_of_the_same_price():
    """10 and 25 a share beside a close of 100: 10/135 of 1,350 is 100, then 25/125 of 1,250 is 250; 1,000 is left."""
    worth = [
        StockDistribution(
            account="",
            event_id=f"{ticker}{value}",
            trade_date=date(2019, 6, 3),
            ticker=ticker,
            value=Decimal(value),
            close=Decimal(100),
        )
        for ticker, value in (("X", 25), ("X", 10), ("Y", 50))
    ]
    told = Told([*events_of("2018-01-02,A,X,BUY,10,1350,L\n2018-01-02,A,Y,BUY,10,1500,Y"), *worth])
    assert [(sale.posting.adjusted_basis, sale.realized_gain) for sale in told.sales] == [
        (-100, 0),
        (-250, 0),
        (-500, 0),
    ]
    assert (told.basis("L"), told.basis("Y")) == (1000, 1000)


def test_too_many_shares_of_a_child_are_refused():
    """Ten of the child for each of 900,000,000,000 shares of the parent is a slip."""
    told = Told("2018-01-02,A,P,BUY,900000000000,100,p\n2019-06-03,A,P,SPINOFF,10,,,C,0.25", sound=False)
    assert (told.codes, told.basis("p")) == (["TOO_LARGE"], 100)


def test_a_lot_too_small_for_a_share_of_the_child_keeps_its_basis():
    """A tenth of the smallest share is none: the small lot keeps its 8.00, the other one gives a quarter of 1,000."""
    told = Told(
        """
        2018-01-02,A,P,BUY,0.000000001,8,small
        2018-01-03,A,P,BUY,20,1000,p
        2019-06-03,A,P,SPINOFF,0.1,,,C,0.25
        """
    )
    assert (told.basis("small"), told.basis("p")) == (8, 750)
    assert [lot.key.lot_id for lot in told.lots.values() if lot.ticker == "C"] == ["p~S-C"]
