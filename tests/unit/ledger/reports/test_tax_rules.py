"""Every numbered rule and every public vector, from a file as a person would write it. Sources stand in each test."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRegime
from prometheus.ledger.reports.amounts import FilingStatus, loss_limit
from prometheus.ledger.reports.returns import Carryover, Return, YearInput
from prometheus.ledger.reports.schedule_d import schedule_d
from tests.unit.ledger.told_file import Told

# ---------------------------------------------------------------- the ten vectors


def test_vector_1_publication_550():
    """IRS Pub. 550: 1,000 - 750 = 250 is disallowed, and 800 + 250 = 1,050 is the basis of the new shares."""
    told = Told(
        """
        2019-03-01,A,X,BUY,100,1000,old
        2019-11-01,A,X,SELL,100,750,old
        2019-11-20,A,X,BUY,100,800,new
        """
    )
    assert (told.disallowed, told.basis("new")) == (250, 1050)


def test_vector_2_partial_replacement_before_the_sale():
    """Loss 1,000 on 100; 75 replaced: 10 a share, 500 to the first lot (3,250), 250 to the second (1,375)."""
    told = Told(
        """
        2013-09-26,A,X,BUY,100,5000,L1
        2013-12-19,A,X,BUY,50,2750,L2
        2013-12-27,A,X,BUY,25,1125,L3
        2014-01-09,A,X,SELL,100,4000,L1
        """
    )
    assert (told.disallowed, told.recognized) == (750, -250)
    assert (told.basis("L2"), told.basis("L3")) == (3250, 1375)


def test_vector_3_more_replacements_than_shares_sold():
    """100 sold at a loss of 1,000 are replaced by the first two purchases of 50, 500 each, and no others."""
    told = Told(
        """
        2013-06-03,A,X,BUY,100,5000,L0
        2014-02-06,A,X,SELL,100,4000,L0
        2014-02-11,A,X,BUY,50,2000,L1
        2014-02-12,A,X,BUY,50,2000,L2
        2014-02-13,A,X,BUY,50,2000,L3
        2014-02-14,A,X,BUY,50,2000,L4
        """
    )
    assert [told.basis(f"L{i}") for i in range(1, 5)] == [2500, 2500, 2000, 2000]


def test_vector_4_gains_stand_beside_a_washed_loss():
    """Sold at 125: 158 loses 33 x 100 = 3,300, washed by 100 of the 250 bought; gains of 2,500 and 3,000 stand."""
    told = Told(
        """
        2013-02-01,A,X,BUY,100,15800,high
        2013-03-01,A,X,BUY,100,10000,mid
        2013-04-01,A,X,BUY,100,9500,low
        2013-12-27,A,X,SELL,300,37500,high=100;mid=100;low=100
        2014-01-09,A,X,BUY,250,30000,new
        """
    )
    assert {sale.lot_id: sale.gain for sale in told.sales} == {"high": 0, "mid": 2500, "low": 3000}
    assert told.disallowed == 3300
    washed = [lot for (_, name), lot in told.lots.items() if name.startswith("new~W")]
    assert [(lot.quantity, lot.adjusted_basis) for lot in washed] == [(100, 15300)]
    assert (told.lots["A", "new"].quantity, told.basis("new")) == (150, 18000)


@pytest.mark.parametrize(("price", "basis"), [(90, 110), (70, 90)])
def test_vector_5_regulation_1_1091_2(price, basis):
    """Reg. 1.1091-2(a): 100 sold for 80; bought again at 90 the basis is 90 + 20 = 110, at 70 it is 70 + 20 = 90."""
    told = Told(
        f"""
        1935-06-03,A,X,BUY,1,100,old
        1955-01-15,A,X,SELL,1,80,old
        1955-02-01,A,X,BUY,1,{price},new
        """
    )
    assert told.basis("new") == basis


def test_vector_6_an_ira_takes_the_loss_for_good():
    """Rev. Rul. 2008-5: 1,000 - 600 = 400 is denied because the IRA buys, and neither IRA lot nor other basis rises."""
    told = Told(
        """
        2007-03-01,A,X,BUY,100,1000,old
        2007-12-20,A,X,SELL,100,600,old
        2007-12-21,R,X,BUY,100,610,inside,,IRA
        """
    )
    assert (told.disallowed, told.recognized) == (400, 0)
    assert [found.is_permanent for found in told.sales[0].replacements] == [True]
    assert told.basis("inside", "R") == 610
    assert told.lots["R", "inside"].holding_period_start == date(2007, 12, 21)


def test_vector_7_a_lot_does_not_replace_itself():
    """200 bought for 10,000 cost 50 each; 100 sold for 4,000 lose 5,000 - 4,000 = 1,000, all of it allowed."""
    told = Told(
        """
        2019-06-01,A,X,BUY,200,10000,one
        2019-06-12,A,X,SELL,100,4000,one
        """
    )
    assert (told.disallowed, told.recognized, told.basis("one")) == (0, -1000, 5000)


def test_vector_8_it_456r():
    """IT-456R par. 12: of 20 sold 15 are reacquired and 45 held on day 30: 15/20 of 100 = 75 is denied."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,A,X,BUY,15,90
        """,
        regime=TaxRegime.CA,
    )
    assert (told.disallowed, told.recognized) == (75, -25)
    # 500 - 200 sold + 90 bought + 75 denied
    assert told.basis("ACB-X", "owner") == 465


def test_vector_9_a_canadian_pool():
    """302/100 x 99 = 298.98; 198 - 298.98 = -100.98; 25/99 of it is 25.50; 3.02 + 57 + 25.50 = 85.52 on 26 shares."""
    start = date(2019, 1, 2)
    told = Told(
        f"""
        {start},A,X,BUY,100,302
        {start + timedelta(50)},A,X,SELL,99,198
        {start + timedelta(51)},A,X,BUY,25,57
        """,
        regime=TaxRegime.CA,
    )
    assert told.sales[0].realized_gain == Decimal("-100.98")
    assert (told.disallowed, told.recognized) == (Decimal("25.50"), Decimal("-75.48"))
    assert (told.lots["owner", "ACB-X"].quantity, told.basis("ACB-X", "owner")) == (26, Decimal("85.52"))


@pytest.mark.parametrize(("sold", "term"), [("2013-09-19", "SHORT"), ("2013-09-20", "LONG")])
def test_vector_10_long_term(sold, term):
    """26 U.S.C. 1222(3): bought 19 September 2012, the first day counted is the 20th; a year is over on 20 Sep 2013."""
    told = Told(f"2012-09-19,A,X,BUY,1,100,L\n{sold},A,X,SELL,1,90,L")
    assert told.sales[0].term == term


# ---------------------------------------------------------------- the rules


@pytest.mark.parametrize("gap", [-31, -30, 30, 31])
def test_rule_1_day_30_is_inside(gap):
    """Reg. 1.1091-1(a): the period begins 30 days before the sale and ends 30 days after; day 31 is outside."""
    sale = date(2019, 6, 14)
    told = Told(
        f"""
        2018-01-02,A,X,BUY,10,100,old
        {sale},A,X,SELL,10,80,old
        {sale + timedelta(gap)},A,X,BUY,10,85,new
        """
    )
    assert told.disallowed == (20 if abs(gap) <= 30 else 0)


def test_rule_2_a_gain_is_never_reduced():
    """Pub. 550, Wash Sales: the loss of 20 is disallowed, the gain of 30 on the same day stays 30."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,loser
        2018-01-03,A,X,BUY,10,50,winner
        2019-06-14,A,X,SELL,10,80,loser
        2019-06-14,A,X,SELL,10,80,winner
        2019-06-20,A,X,BUY,20,160,new
        """
    )
    assert {sale.lot_id: sale.gain for sale in told.sales} == {"loser": 0, "winner": 30}


def test_rule_3_losses_and_purchases_meet_in_order_of_time():
    """Reg. 1.1091-1(b)-(d): the loss of the 3rd takes the purchase of the 10th, that of the 4th the one of the 11th."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,a
        2018-01-03,A,X,BUY,10,200,b
        2019-06-03,A,X,SELL,10,80,a
        2019-06-04,A,X,SELL,10,80,b
        2019-06-10,A,X,BUY,10,80,first
        2019-06-11,A,X,BUY,10,80,second
        """
    )
    assert (told.basis("first"), told.basis("second")) == (100, 200)


def test_rule_4_a_replacement_share_serves_once():
    """Reg. 1.1091-1(e): ten shares replace ten; the second loss of 120 finds none left and stands."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,a
        2018-01-03,A,X,BUY,10,200,b
        2019-06-03,A,X,SELL,10,80,a
        2019-06-04,A,X,SELL,10,80,b
        2019-06-10,A,X,BUY,10,80,new
        """
    )
    assert {sale.lot_id: sale.disallowed_loss for sale in told.sales} == {"a": 20, "b": 0}


def test_rule_4_lots_are_split_at_the_boundary():
    """Reg. 1.1091-1(c), (d): of 10 bought for 80 only 4 replace; they become a lot of 32 + 8 = 40 and 6 keep 48."""
    told = Told(
        """
        2018-01-02,A,X,BUY,4,40,old
        2019-06-03,A,X,SELL,4,32,old
        2019-06-10,A,X,BUY,10,80,new
        """
    )
    assert sorted((lot.quantity, lot.adjusted_basis) for lot in told.lots.values()) == [(4, 40), (6, 48)]


def test_rule_5_another_lot_of_the_days_before_replaces():
    """Reg. 1.1091-1(a) with Rev. Rul. 56-602: the sold lot's own purchase does not replace, another does."""
    told = Told(
        """
        2019-05-20,A,X,BUY,10,100,own
        2019-05-24,A,X,BUY,10,90,other
        2019-06-03,A,X,SELL,10,80,own
        """
    )
    assert (told.disallowed, told.basis("other")) == (20, 110)


def test_rule_6_days_held_are_added():
    """26 U.S.C. 1223(3): held from 2 January to 3 June (152 days); the replacement of 10 June counts from 9 January."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-10,A,X,BUY,10,90,new
        """
    )
    assert told.lots["A", "new"].holding_period_start == date(2019, 6, 10) - timedelta(152) == date(2019, 1, 9)


@pytest.mark.parametrize(("sold", "term"), [("2012-02-29", "SHORT"), ("2012-03-01", "LONG")])
def test_rule_7_the_29th_of_february(sold, term):
    """Rev. Rul. 66-7: bought on the last day of February 2011, long-term from the first day of the 13th month after."""
    told = Told(f"2011-02-28,A,X,BUY,1,100,L\n{sold},A,X,SELL,1,90,L")
    assert told.sales[0].term == term


def test_rule_8_a_group_is_one_security():
    """26 U.S.C. 1091(a), "substantially identical", as policy input: buying Y of the same group washes a loss in X."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old,TWINS
        2019-06-03,A,X,SELL,10,80,old
        2019-06-10,A,Y,BUY,10,90,new,TWINS
        """
    )
    assert (told.disallowed, told.basis("new")) == (20, 110)


def test_rule_9_another_account_of_the_household():
    """Pub. 550 (you or your spouse): account B buys, so A's loss of 20 is disallowed and B's lot carries it."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,L
        2019-06-03,A,X,SELL,10,80,L
        2019-06-10,B,X,BUY,10,90,L
        """
    )
    assert (told.disallowed, told.basis("L", "B")) == (20, 110)
    assert told.lots["B", "L"].holding_period_start == date(2019, 6, 10) - (date(2019, 6, 3) - date(2018, 1, 2))


@pytest.mark.parametrize(
    ("as_of", "until"), [("2020-01-19", date(2020, 1, 19)), ("2020-01-20", None), ("2019-12-31", date(2020, 1, 19))]
)
def test_rule_10_a_loss_is_provisional_for_30_days(as_of, until):
    """Reg. 1.1091-1(a): a loss of 20 December can be washed through 19 January, so the year end does not settle it."""
    told = Told("2018-01-02,A,X,BUY,10,100,L\n2019-12-20,A,X,SELL,10,80,L", as_of=date.fromisoformat(as_of))
    assert told.sales[0].provisional_until == until


def test_rule_10_a_purchase_in_january_washes_a_loss_of_december():
    """Reg. 1.1091-1(a): bought on 15 January, the loss of 20 December belongs to no year; a washed loss is final."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,L
        2019-12-20,A,X,SELL,10,80,L
        2020-01-15,A,X,BUY,10,85,new
        """
    )
    assert (told.recognized, told.sales[0].provisional_until) == (0, None)


def netted(short, long, carried=(0, 0)):
    """Net the gains of a year that are told by term, with losses carried in."""
    inputs = YearInput(short_term_elsewhere=Decimal(short), long_term_elsewhere=Decimal(long))
    return schedule_d(Return("A", ("A",)), 2020, (), Carryover(*map(Decimal, carried)), inputs)


def test_rule_11_terms_net_and_the_rest_is_carried_on():
    """26 U.S.C. 1211(b), 1212(b): -1,000 short and -5,000 long; 3,000 against income use the short loss first."""
    year = netted(-1000, -5000)
    # -1,000 + 3,000 = 2,000 counts as a short-term gain, which leaves 5,000 - 2,000 of the long-term loss
    assert (year.line_21, year.carried_out) == (3000, Carryover(Decimal(0), Decimal(3000)))


@pytest.mark.parametrize(
    ("short", "long", "carried", "against", "out"),
    [
        (500, 200, (0, 0), 0, (0, 0)),
        (-500, 200, (0, 0), 300, (0, 0)),
        (-5000, 1000, (0, 0), 3000, (1000, 0)),
        (4000, -9000, (0, 0), 3000, (0, 2000)),
        (0, 0, (2000, 4000), 3000, (0, 3000)),
        (1000, 0, (5000, 0), 3000, (1000, 0)),
        (-100, -100, (0, 0), 200, (0, 0)),
    ],
)
def test_rule_11_cases(short, long, carried, against, out):
    """26 U.S.C. 1222(5)-(8), 1211(b), 1212(b): what income absorbs and what is carried on are the net loss."""
    year = netted(short, long, carried)
    assert (year.line_21, year.carried_out) == (against, Carryover(*map(Decimal, out)))
    assert year.line_21 + sum(out) == max(-year.line_16, 0)


def test_rule_11_married_filing_separately():
    """26 U.S.C. 1211(b)(1): 3,000, and 1,500 for a married person who files a separate return."""
    assert loss_limit(2020, FilingStatus.SEPARATE) == 1500


def test_rule_12_a_reinvested_dividend_is_a_purchase():
    """Pub. 550, Reinvestment rights: two shares bought with a dividend replace two of the ten sold: 20 x 2/10 = 4."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-10,A,X,REINVEST,2,17,drip
        """
    )
    assert (told.disallowed, told.basis("drip")) == (4, 21)


def test_rule_13_a_split_moves_no_basis_and_no_date():
    """26 U.S.C. 307(a); Reg. 1.307-1: 10 shares for 100 are 30 shares for 100, bought on the same day."""
    told = Told("2018-01-02,A,X,BUY,10,100,L\n2019-06-03,A,X,SPLIT,3,")
    lot = told.lots["A", "L"]
    assert (lot.quantity, lot.adjusted_basis, lot.holding_period_start) == (30, 100, date(2018, 1, 2))


def test_rule_13_cash_in_lieu_is_a_sale():
    """Rev. Rul. 66-365: 1 for 10 of 25 shares leaves 2.5; half a share of basis 250 x 0.5/2.5 = 50 is sold for 60."""
    told = Told("2018-01-02,A,X,BUY,25,250,L\n2019-06-03,A,X,SPLIT,1:10,60")
    assert (told.lots["A", "L"].quantity, told.basis("L")) == (2, 200)
    assert [(sale.key.kind, sale.quantity, sale.realized_gain) for sale in told.sales] == [
        ("CASH_IN_LIEU", Decimal("0.5"), 10)
    ]


def test_rule_14_one_pool_over_all_taxable_accounts():
    """ITA s. 47(1): 10 for 100 in one account and 30 for 500 in another are 40 for 600; 10 sold anywhere cost 150."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-03-04,B,X,BUY,30,500
        2019-09-03,A,X,SELL,10,155
        """,
        regime=TaxRegime.CA,
    )
    assert (told.sales[0].basis, told.sales[0].realized_gain, told.sales[0].term) == (150, 5, "NONE")
    assert (told.lots["owner", "ACB-X"].quantity, told.basis("ACB-X", "owner")) == (30, 450)
    assert told.positions == {("B", "X"): 30}


def test_rule_15_nothing_held_on_day_30_is_no_superficial_loss():
    """ITA s. 54 "superficial loss": 15 bought back but sold again before day 30, so nothing is denied."""
    told = Told(
        """
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,50,400
        2019-06-10,A,X,BUY,15,90
        2019-07-03,A,X,SELL,15,100
        """,
        regime=TaxRegime.CA,
    )
    assert told.disallowed == 0


@pytest.mark.parametrize(("sold_again", "denied"), [("2019-07-03", 50), ("2019-07-04", 75)])
def test_rule_15_what_is_held_at_the_end_limits_the_denial(sold_again, denied):
    """ITA s. 54: sold 20, bought 15, held on day 30 (3 July): 10 after a sale that day, 45 before one on 4 July."""
    told = Told(
        f"""
        2019-01-02,A,X,BUY,50,500
        2019-06-03,A,X,SELL,20,100
        2019-06-10,A,X,BUY,15,90
        {sold_again},A,X,SELL,35,900
        """,
        regime=TaxRegime.CA,
    )
    # a loss of 100 on 20: min(20, 15, 10)/20 = 50, or min(20, 15, 45)/20 = 75
    assert told.sales[0].disallowed_loss == denied


def test_rule_15_a_plan_of_the_owner_takes_the_loss_for_good():
    """ITA ss. 251.1, 54: an RRSP is affiliated with its owner; what only it holds on day 30 gives the owner no cost."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100
        2019-06-03,A,X,SELL,10,80
        2019-06-10,P,X,BUY,10,90,,,RRSP
        """,
        regime=TaxRegime.CA,
    )
    assert (told.disallowed, told.recognized) == (20, 0)
    assert [found.is_permanent for found in told.sales[0].replacements] == [True]
    assert told.basis("ACB-X", "P") == 90
