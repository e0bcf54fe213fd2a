"""Every numbered US rule and every public vector; the sources stand in each test."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.ledger.postings import PostingKind
from prometheus.ledger.terms import AssetClass
from prometheus.ledger.tie_rules import tie_rules
from tests.unit.ledger.told import Told

# ---------------------------------------------------------------- the public vectors


def test_vector_1_publication_550():
    """IRS Pub. 550: 1,000 - 750 = 250 is disallowed, and 800 + 250 = 1,050 is the basis of the new shares."""
    told = Told(
        """
        2019-03-01,A,X,BUY,100,1000,old
        2019-11-01,A,X,SELL,100,750,old
        2019-11-20,A,X,BUY,100,800,new
        """
    )
    assert (told.disallowed, told.basis("new"), told.lot("new").cost_basis) == (250, 1050, 800)


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
    assert {sale.lot_id: sale.recognized_gain for sale in told.sales} == {"high": 0, "mid": 2500, "low": 3000}
    assert told.disallowed == 3300
    washed = [lot for (_, name), lot in told.lots.items() if name.startswith("new~W")]
    assert [(lot.quantity, lot.adjusted_basis) for lot in washed] == [(100, 15300)]
    assert (told.lot("new").quantity, told.basis("new")) == (150, 18000)


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
        2007-12-21,R,X,BUY,100,610,inside
        """,
        sheltered={"R"},
    )
    assert (told.disallowed, told.recognized) == (400, 0)
    assert [row.loss.is_permanent for row in told.sales[0].disallowances] == [True]
    assert told.basis("inside", "R") == 610
    assert told.lot("inside", "R").holding_period_start == date(2007, 12, 21)


def test_vector_7_a_lot_does_not_replace_itself():
    """200 bought for 10,000 cost 50 each; 100 sold for 4,000 lose 5,000 - 4,000 = 1,000, all of it allowed."""
    told = Told("2019-06-01,A,X,BUY,200,10000,one\n2019-06-12,A,X,SELL,100,4000,one")
    assert (told.disallowed, told.recognized, told.basis("one")) == (0, -1000, 5000)


@pytest.mark.parametrize(("sold", "term"), [("2013-09-19", "SHORT"), ("2013-09-20", "LONG")])
def test_vector_10_long_term(sold, term):
    """26 U.S.C. 1222(3): bought 19 September 2012, the first day counted is the 20th; a year is over on 20 Sep 2013."""
    told = Told(f"2012-09-19,A,X,BUY,1,100,L\n{sold},A,X,SELL,1,90,L")
    assert told.sales[0].term == term


# ---------------------------------------------------------------- the rules


@pytest.mark.parametrize("gap", [-31, -30, 0, 30, 31])
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
    assert {sale.lot_id: sale.recognized_gain for sale in told.sales} == {"loser": 0, "winner": 30}


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
    """Reg. 1.1091-1(e): ten shares replace ten; the second loss of 120 meets none that is left and stands."""
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


def test_rule_4_shares_that_replaced_before_the_books_open_do_not_serve_again():
    """Reg. 1.1091-1(e): of an opening lot of 100 all, or 60, have replaced; none, or 40, are left: 2,000 x 40/100."""
    text = """
        2025-01-01,A,X,OPEN,100,10000,L0,2023-05-01
        2025-01-01,A,X,OPEN,100,10100,L2,2024-12-20,{}
        2025-01-10,A,X,SELL,100,8000,L0
    """
    assert [Told(text.format(n)).disallowed for n in ("", "100", "60")] == [2000, 0, 800]


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
    assert told.lot("new").holding_period_start == date(2019, 6, 10) - timedelta(152) == date(2019, 1, 9)


def test_rule_6_a_tacked_lot_is_long_term_and_its_line_shows_both_dates():
    """26 U.S.C. 1223(3): bought 20 December, sold 1 June, 284 days held before: LONG, and the row says since when."""
    told = Told(
        """
        2024-03-01,A,X,BUY,100,10000,old
        2024-12-10,A,X,SELL,100,8000,old
        2024-12-20,A,X,BUY,100,8100,new
        2025-06-01,A,X,SELL,100,9000,new
        """
    )
    row = told.sales[1].posting
    assert (row.term, row.acquired_on) == ("LONG", date(2024, 12, 20))
    assert row.holding_period_start == date(2024, 12, 20) - (date(2024, 12, 10) - date(2024, 3, 1))


@pytest.mark.parametrize(("sold", "term"), [("2012-02-29", "SHORT"), ("2012-03-01", "LONG")])
def test_rule_7_the_29th_of_february(sold, term):
    """Rev. Rul. 66-7: bought on the last day of February 2011, long-term from the first day of the 13th month after."""
    told = Told(f"2011-02-28,A,X,BUY,1,100,L\n{sold},A,X,SELL,1,90,L")
    assert told.sales[0].term == term


def test_rule_8_a_group_is_one_security():
    """26 U.S.C. 1091(a), "substantially identical", as policy input: buying Y of the same group washes a loss in X."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-10,A,Y,BUY,10,90,new
        """,
        groups={"X": "TWINS", "Y": "TWINS"},
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
    assert told.lot("L", "B").holding_period_start == date(2019, 6, 10) - (date(2019, 6, 3) - date(2018, 1, 2))
    kinds = {(row.account, row.kind): row.realized_gain for row in told.postings[-2:]}
    assert kinds == {("A", PostingKind.WASH_SALE): 20, ("B", PostingKind.CARRIED_LOSS): 0}


def test_rule_10_a_purchase_in_january_washes_a_loss_of_december():
    """Reg. 1.1091-1(a): bought on 15 January, the loss of 20 December is disallowed in the old year."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,L
        2019-12-20,A,X,SELL,10,80,L
        2020-01-15,A,X,BUY,10,85,new
        """
    )
    (row,) = told.sales[0].disallowances
    assert (told.recognized, row.day, row.tax_date) == (0, date(2020, 1, 15), date(2019, 12, 20))


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


def test_digital_assets_do_not_wash():
    """26 U.S.C. 1091(a) covers stock and securities: the same trades in a digital asset leave the loss allowed."""
    text = """
        2018-01-02,A,COIN,BUY,10,100,old
        2019-06-03,A,COIN,SELL,10,80,old
        2019-06-10,A,COIN,BUY,10,90,new
    """
    told = Told(text, asset_classes={"COIN": AssetClass.DIGITAL_ASSET})
    assert (told.disallowed, told.recognized, told.basis("new")) == (0, -20, 90)


# ---------------------------------------------------------------- chains, shelters, transfers


def test_chained_washes_carry_a_loss_through_three_lots():
    """Each replacement is sold at a loss again: 20 goes to b, 20 + 15 to c, and the chain's periods add up."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,a
        2018-06-01,A,X,SELL,10,80,a
        2018-06-11,A,X,BUY,10,85,b
        2018-06-21,A,X,SELL,10,70,b
        2018-07-01,A,X,BUY,10,72,c
        """
    )
    assert [sale.realized_gain for sale in told.sales] == [-20, -35]
    assert told.basis("c") == 72 + 35
    assert told.lot("c").holding_period_start == date(2018, 7, 1) - timedelta(150 + 10)


def test_a_sheltered_account_has_no_taxable_sale():
    """What an IRA loses meets nothing: the purchase in A keeps its basis."""
    told = Told(
        """
        2018-01-02,R,X,BUY,10,100,r
        2019-06-03,R,X,SELL,10,80,r
        2019-06-10,A,X,BUY,10,90,new
        """,
        sheltered={"R"},
    )
    assert (told.disallowed, told.recognized, told.basis("new")) == (0, 0, 90)


def test_shares_bought_and_sold_by_an_ira_still_deny_the_loss():
    """Rev. Rul. 2008-5 looks at the purchase; no lot has to carry the loss, so it need not be held any more."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-05-20,R,X,BUY,10,90,in
        2019-05-22,R,X,SELL,10,95,in
        2019-06-03,A,X,SELL,10,80,old
        """,
        sheltered={"R"},
    )
    assert told.disallowed == 20


def test_an_ira_share_denies_once():
    """Reg. 1.1091-1(e): ten shares of the IRA deny the first loss of ten, the second meets none."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,a
        2018-01-03,A,X,BUY,10,100,b
        2019-05-20,R,X,BUY,10,90,in
        2019-06-03,A,X,SELL,10,80,a
        2019-06-04,A,X,SELL,10,70,b
        """,
        sheltered={"R"},
    )
    assert [sale.disallowed_loss for sale in told.sales] == [20, 0]


@pytest.mark.parametrize("account", ["A", "Z"])
@pytest.mark.parametrize(("choice", "recognized", "basis"), [("TAXABLE_FIRST", 0, 1020), ("SHELTERED_FIRST", 0, 720)])
def test_a_sheltered_and_a_taxable_purchase_of_one_day_are_a_stated_choice(account, choice, recognized, basis):
    """No source orders two purchases of one day: the tie rule decides, whatever the names, and a finding says so."""
    told = Told(
        f"""
        2024-01-02,{account},X,BUY,10,1000,old
        2024-06-03,{account},X,SELL,10,700,old
        2024-06-10,{account},X,BUY,10,720,new
        2024-06-10,I,X,BUY,10,720,in
        """,
        sheltered={"I"},
        ties=tie_rules({"same_day_shelter": choice}),
        sound=False,
    )
    assert told.codes == ["SAME_DAY_SHELTER"]
    assert not told.findings[0].refused
    assert (told.recognized, told.basis("new", account)) == (recognized, basis)


@pytest.mark.parametrize("choice", ["TAXABLE_FIRST", "SHELTERED_FIRST"])
def test_the_choice_holds_for_purchases_before_the_loss_too(choice):
    """Both bought ten days before the loss, the tie rule decides in the same way."""
    told = Told(
        """
        2024-01-02,A,X,BUY,10,1000,old
        2024-05-24,I,X,BUY,10,720,in
        2024-05-24,A,X,BUY,10,720,new
        2024-06-03,A,X,SELL,10,700,old
        """,
        sheltered={"I"},
        ties=tie_rules({"same_day_shelter": choice}),
        sound=False,
    )
    assert told.codes == ["SAME_DAY_SHELTER"]
    assert told.basis("new") == (1020 if choice == "TAXABLE_FIRST" else 720)


def test_no_remark_where_the_loss_needs_both_purchases():
    """Twenty sold, ten bought by each of a taxable account and an IRA: nothing is left to choose."""
    told = Told(
        """
        2024-01-02,A,X,BUY,20,2000,old
        2024-06-03,A,X,SELL,20,1400,old
        2024-06-10,A,X,BUY,10,720,new
        2024-06-10,I,X,BUY,10,720,in
        """,
        sheltered={"I"},
    )
    assert told.disallowed == 600


def test_lots_of_one_name_in_two_accounts_are_two_lots():
    """Accounts name their lots without regard to each other."""
    told = Told("2018-01-02,A,X,BUY,10,100,L\n2018-01-02,B,X,BUY,5,60,L")
    assert {key: lot.quantity for key, lot in told.lots.items()} == {("A", "L"): 10, ("B", "L"): 5}


def test_a_lot_name_is_used_once_while_it_is_held():
    """A second purchase under the name of a lot that is held is refused."""
    told = Told("2018-01-02,A,X,BUY,10,100,L\n2018-02-02,A,Y,BUY,5,60,L", sound=False)
    assert told.codes == ["LOT_EXISTS"]


def test_a_transfer_keeps_basis_dates_and_the_purchase():
    """A lot bought in A and moved to B still replaces what A sells at a loss, and carries the loss in B."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-05-20,A,X,BUY,10,90,new
        2019-05-21,A,X,TRANSFER_OUT,10,,new,B
        2019-06-03,A,X,SELL,10,80,old
        """
    )
    lot = told.lot("new", "B")
    assert (told.disallowed, lot.adjusted_basis, lot.acquired_on) == (20, 110, date(2019, 5, 20))


def test_a_part_that_is_transferred_can_still_serve():
    """Six of ten go to B; the loss of ten meets the four that stay and the six that went."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-05-20,A,X,BUY,10,90,new
        2019-05-21,A,X,TRANSFER_OUT,6,,new,B
        2019-06-03,A,X,SELL,10,80,old
        """
    )
    assert told.disallowed == 20
    assert {key.account: lot.adjusted_basis for key, lot in told.lots.items()} == {"A": 44, "B": 66}


def test_shares_that_leave_the_household_take_their_basis_along():
    """Five of ten leave: half of the basis goes, and nothing is realised."""
    told = Told("2018-01-02,A,X,BUY,10,101,L\n2019-05-21,A,X,TRANSFER_OUT,5,,L")
    assert (told.basis("L"), told.sales) == (Decimal("50.50"), [])


def test_shares_do_not_pass_into_a_shelter_untaxed():
    """A transfer between a taxable account and an IRA is refused."""
    told = Told("2018-01-02,A,X,BUY,10,101,L\n2019-05-21,A,X,TRANSFER_OUT,5,,L,R", sheltered={"R"}, sound=False)
    assert told.codes == ["TRANSFER_ACROSS_SHELTER"]


def test_a_lot_that_comes_late_is_the_purchase_it_was():
    """Bought elsewhere within the window and transferred in two months later, it takes the loss that is still open."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-08-20,A,X,TRANSFER_IN,10,90,moved,2019-06-20
        """
    )
    assert (told.disallowed, told.basis("moved")) == (20, 110)


def test_a_named_lot_includes_what_a_wash_sale_split_off_it():
    """Of a lot of ten four were washed; a sale of the ten by the lot's name sells both parts."""
    told = Told(
        """
        2018-01-02,A,X,BUY,4,40,old
        2019-06-03,A,X,SELL,4,32,old
        2019-06-10,A,X,BUY,10,80,new
        2019-08-20,A,X,SELL,10,100,new
        """
    )
    assert sum(sale.realized_gain for sale in told.sales[1:]) == 100 - 88
    assert told.lots == {}


@pytest.mark.parametrize(
    ("lot", "code"), [("nobody", "UNKNOWN_LOT"), ("L=4;L~W1-x=4", "UNKNOWN_LOT"), ("", "OVERSOLD"), ("L", "OVERSOLD")]
)
def test_sales_that_cannot_be_are_refused(lot, code):
    """Lots that are not held, and more shares than there are, are findings that leave the books as they were."""
    told = Told(f"2018-01-02,A,X,BUY,6,60,L\n2019-06-03,A,X,SELL,8,80,{lot}", sound=False)
    assert (told.codes, told.lot("L").quantity) == ([code], 6)


def test_a_sale_of_the_day_s_purchase_waits_for_it():
    """A sale of more than is held at the start of the day is booked after the day's purchases."""
    told = Told(
        """
        2018-01-02,A,X,SELL,10,90
        2018-01-02,A,X,BUY,10,100,L
        """
    )
    assert (told.recognized, told.lots) == (-10, {})


def test_the_loss_of_another_loss_lot_does_not_change_what_is_sold():
    """Cents: 3 shares for 100.00 are sold one by one; parts and rest add up to the whole basis."""
    told = Told(
        """
        2018-01-02,A,X,BUY,3,100,L
        2019-02-01,A,X,SELL,1,33
        2019-04-02,A,X,SELL,1,33
        2019-06-03,A,X,SELL,1,33
        """
    )
    assert [sale.realized_gain for sale in told.sales] == [Decimal("-0.33"), Decimal("-0.34"), Decimal("-0.33")]


def test_a_purchase_that_met_a_loss_can_move_on_the_same_day():
    """Cash in lieu is a loss that meets a purchase of A; that lot goes to B later on the day, under another key."""
    told = Told(
        """
        2018-01-02,A,X,BUY,25,2500,old
        2019-05-20,A,X,BUY,10,900,new
        2019-05-20,I,X,BUY,100,900,in
        2019-06-03,*,X,SPLIT,1:10
        2019-06-03,A,X,SPLIT,1:10,30
        2019-06-03,A,X,TRANSFER_OUT,1,,new,B
        """,
        sheltered={"I"},
    )
    assert told.disallowed == 470
    assert sum(lot.adjusted_basis for key, lot in told.lots.items() if key.account == "B") == 900 + 470
