"""Parts of one purchase that come out alike are one lot; parts that differ in anything stay apart."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.domain.lots import Term
from prometheus.ledger.checkpoints import from_bytes, to_bytes
from prometheus.ledger.fold import advance, fold
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.tie_rules import tie_rules
from tests.unit.ledger.told import Told, events_of, terms_of

TWO_SALES = """
    2019-01-02,A,X,BUY,100,1000,old
    2019-06-03,A,X,BUY,60,540,new
    2019-06-10,A,X,SELL,20,160,old,,,s1
    2019-06-10,A,X,SELL,30,{amount},old,,,s2
    """


def lots_of(told):
    """Return shares, cost, basis and start of each lot by name."""
    return {
        lot.key.lot_id: (lot.quantity, lot.cost_basis, lot.adjusted_basis, lot.holding_period_start.isoformat())
        for lot in told.lots.values()
    }


def test_equal_washed_parts_are_one_lot():
    """Two sales of one day at 8 wash 20 and 30 of 60 shares: one part of 50 that cost 9 and stands at 11 a share."""
    told = Told(TWO_SALES.format(amount=240))
    assert lots_of(told) == {
        "old": (50, 500, 500, "2019-01-02"),
        "new": (10, 90, 90, "2019-06-03"),
        "new~W1-s1": (50, 450, 550, "2018-12-26"),
    }
    carried = [(row.lot_id, row.adjusted_basis) for row in told.postings if row.kind is PostingKind.CARRIED_LOSS]
    assert carried == [("new~W1-s1", 40), ("new~W1-s1", 60)]
    moved = [(row.lot_id, row.quantity, row.former) for row in told.postings if row.kind is PostingKind.LOT_SPLIT]
    assert moved == [
        ("new", -20, None),
        ("new~W1-s1", 20, ("A", "new")),
        ("new", -30, None),
        ("new~W1-s1", 30, ("A", "new")),
    ]


def test_parts_of_another_basis_stay_apart():
    """At 8 and at 7.99 a share the parts cost 11.00 and 11.01: two lots, for one sale of both would mix the two."""
    told = Told(TWO_SALES.format(amount="239.70"))
    assert lots_of(told)["new~W1-s1"] == (20, 180, 220, "2018-12-26")
    assert lots_of(told)["new~W1-s2"] == (30, 270, Decimal("330.30"), "2018-12-26")


def test_a_lot_that_serves_whole_takes_its_like_in():
    """The last 10 shares serve under their own name; the part that stands at 11 a share too joins them."""
    told = Told(TWO_SALES.format(amount=240) + "2019-06-10,A,X,SELL,10,80,old,,,s3")
    assert lots_of(told) == {
        "old": (40, 400, 400, "2019-01-02"),
        "new": (60, 540, 660, "2018-12-26"),
    }


def test_bases_are_equal_to_the_cent():
    """Of 3 shares for 10.00 one part has 3.33 and the other 6.67: taking one out of the sum gives the same cents."""
    told = Told(
        """
        2019-01-02,A,X,BUY,3,30,old
        2019-06-03,A,X,BUY,4,13.33,new
        2019-06-10,A,X,SELL,1,9,old,,,s1
        2019-06-10,A,X,SELL,2,18,old,,,s2
        """
    )
    assert lots_of(told) == {
        "new": (1, Decimal("3.33"), Decimal("3.33"), "2019-06-03"),
        "new~W1-s1": (3, 10, 13, "2018-12-26"),
    }


def test_parts_of_another_start_stay_apart():
    """Lots of 2 January and 3 January sold on one day lengthen holding periods by other days: two lots."""
    told = Told(
        """
        2019-01-02,A,X,BUY,20,200,o1
        2019-01-03,A,X,BUY,20,200,o2
        2019-06-03,A,X,BUY,60,540,new
        2019-06-10,A,X,SELL,40,320,,,,s
        """
    )
    assert lots_of(told) == {
        "new": (20, 180, 180, "2019-06-03"),
        "new~W1-s": (20, 180, 220, "2018-12-26"),
        "new~W2-s": (20, 180, 220, "2018-12-27"),
    }


@pytest.mark.parametrize(("account", "ticker"), [("B", "X"), ("A", "Y")])
def test_what_the_broker_does_not_see_stays_apart(account, ticker):
    """A loss of another account or security is nothing that A's broker carries for X: the part is a lot of its own."""
    told = Told(
        f"""
        2019-01-02,A,X,BUY,20,200,old
        2019-01-02,{account},{ticker},BUY,20,200,other
        2019-06-03,A,X,BUY,60,540,new
        2019-06-10,A,X,SELL,20,160,old,,,s1
        2019-06-11,{account},{ticker},SELL,10,80,other,,,s2
        2019-06-11,{account},{ticker},SELL,10,80,other,,,s3
        """,
        groups={"X": "G", "Y": "G"},
    )
    apart = {name: lot[0] for name, lot in lots_of(told).items()}
    assert apart == {"new": 20, "new~W1-s1": 20, "new~W1-s2": 10, "new~W1-s3": 10}
    unseen = {lot.key.lot_id for lot in told.lots.values() if lot.is_unseen}
    assert unseen == {"new~W1-s2", "new~W1-s3"}


def test_what_was_unseen_once_stays_so():
    """A sale of shares that carry B's loss loses more than A's broker sees, and so does what replaces them."""
    told = Told(
        """
        2019-01-02,B,X,BUY,10,100,other
        2019-06-03,A,X,BUY,10,90,n1
        2019-06-10,B,X,SELL,10,80,other,,,s1
        2019-06-20,A,X,BUY,10,90,n2
        2019-06-21,A,X,SELL,10,80,n1,,,s2
        """
    )
    assert told.lot("n2").is_unseen
    assert told.lot("n2").adjusted_basis == 120


def test_a_part_that_has_replaced_nothing_is_not_joined():
    """Shares moved to B can serve still: one that has served for 0.00 of a cent's loss does not go back to them."""
    told = Told(
        """
        2019-06-01,B,X,BUY,29,261,first
        2019-06-03,A,X,BUY,60,540,new
        2019-06-04,A,X,TRANSFER_OUT,10,,new,B
        2019-06-05,B,X,BUY,30,270.01,late
        2019-06-06,B,X,SELL,30,270,late,,,s
        """,
        ties=tie_rules({"scope": "ACCOUNT", "tacking": "ACQUISITION_DATE"}),
    )
    assert lots_of(told)["new~T1"] == (9, 81, 81, "2019-06-03")
    assert lots_of(told)["new~T1~W1-s"] == (1, 9, 9, "2019-06-03")


def test_a_book_read_from_bytes_joins_the_same_parts():
    """Where holding periods begin with the sold shares', sales of two days make one part, through stored bytes too."""
    terms = terms_of(ties=tie_rules({"tacking": "ACQUISITION_DATE"}))
    events = events_of(TWO_SALES.format(amount=240).replace("2019-06-10,A,X,SELL,30", "2019-06-11,A,X,SELL,30"))
    whole = fold(events, terms).state
    assert whole.lots["A", "new~W1-s1"].quantity == 50
    state = from_bytes(to_bytes(fold(events[:-1], terms).state))
    assert to_bytes(advance(state, events[-1:], terms).state) == to_bytes(whole)


def test_read_literally_parts_join_too():
    """Under the form's reading the parts that have served join, and the others stay under the purchase's name."""
    told = Told(TWO_SALES.format(amount=240), ties=tie_rules({"scope": "FORM_1099B"}))
    assert lots_of(told)["new~W1-s1"][0] == 50


def test_rows_that_carry_a_loss_name_it():
    """Every row of a disallowed loss names the loss, its lot and shares, and the purchase; so do parts that join."""
    told = Told(TWO_SALES.format(amount=240))
    links = [row.loss for row in told.postings if row.kind in {PostingKind.WASH_SALE, PostingKind.CARRIED_LOSS}]
    assert [(link.event.event_id, link.shares, link.amount) for link in links] == [
        ("s1", 20, 40),
        ("s1", 20, 40),
        ("s2", 30, 60),
        ("s2", 30, 60),
    ]
    assert {(link.lot, link.purchase.event_id, link.replacement) for link in links} == {
        (("A", "old"), "e002", ("A", "new~W1-s1"))
    }


def test_what_is_lost_for_good_is_told_of_the_loss():
    """Of 20.00 on 10 shares an IRA takes 4 shares for good, 8.00, and 3 shares carry 6.00; 3 stay open."""
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100,old
        2019-06-03,IRA,X,BUY,4,36,i
        2019-06-10,A,X,SELL,10,80,old,,,s
        2019-06-11,A,X,BUY,3,27,n
        """,
        sheltered=("IRA",),
    )
    (loss,) = told.state.losses
    assert (loss.open_quantity, loss.disallowed, loss.denied_for_good) == (3, 14, 8)


def test_shares_sold_again_carry_a_loss_in_the_shares_of_after_a_split():
    """10 shares bought and sold again are 20 after 2:1; the loss of 10 later ones takes half of them, and says which.

    The gain of the resale is less by the loss, with the term and the tax date of that sale.
    """
    told = Told(
        """
        2019-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,BUY,10,90,new
        2019-06-04,A,X,SELL,10,95,new,,,r
        2019-06-05,A,X,SPLIT,2
        2019-06-10,A,X,SELL,10,40,old,,,s
        """,
        ties=tie_rules({"scope": "FORM_1099B"}),
    )
    rows = [row for row in told.postings if row.loss is not None]
    assert [(row.kind.value, row.ticker, row.realized_gain, row.tax_date.isoformat()) for row in rows] == [
        ("WASH_SALE", "X", 10, "2019-06-10"),
        ("CARRIED_LOSS", "X", -10, "2019-06-04"),
    ]
    assert {(row.term, row.loss.shares, row.loss.resold.event_id) for row in rows} == {(Term.SHORT, 10, "r")}
    (purchase,) = told.state.purchases
    assert (purchase.quantity, purchase.unreplaced) == (20, 10)
    assert [(sold.event.event_id, sold.quantity) for sold in purchase.sold] == [("r", 10)]


def test_shares_of_a_plan_serve_until_all_have():
    """Ten shares of an IRA replace 4 and then 6 sold at a loss of 2.00 each: all 20.00 are gone for good."""
    told = Told(
        """
        2019-01-02,A,X,BUY,12,120,old
        2019-06-03,IRA,X,BUY,10,90,i
        2019-06-10,A,X,SELL,4,32,old,,,s1
        2019-06-11,A,X,SELL,8,64,old,,,s2
        """,
        sheltered=("IRA",),
    )
    assert [sale.disallowed_loss for sale in told.sales] == [8, 12]


@pytest.mark.parametrize(("choice", "disallowed"), [("true", 20), ("false", 0)])
def test_a_lot_that_comes_late_was_bought_before_the_shares_sold(choice, disallowed):
    """Bought on 20 May and here on 12 June, it replaces shares of 1 June only where earlier purchases do."""
    told = Told(
        """
        2019-06-01,A,X,BUY,10,100,old
        2019-06-10,A,X,SELL,10,80,old,,,s
        2019-06-12,A,X,TRANSFER_IN,10,90,late,2019-05-20
        """,
        ties=tie_rules({"earlier_purchases_replace": choice}),
    )
    assert told.disallowed == disallowed


def test_the_row_of_a_disallowed_loss_has_its_term_and_dates():
    """A short-term loss sold on 10 June and settled on the 12th is given back as a short-term amount of these days."""
    events = events_of("2019-01-02,A,X,BUY,10,100,old\n2019-06-03,A,X,BUY,10,90,new\n2019-06-10,A,X,SELL,10,80,old,,,s")
    events[-1] = replace(events[-1], settle_date=date(2019, 6, 12))
    (row,) = [row for row in Told(events).postings if row.kind is PostingKind.WASH_SALE]
    assert (row.realized_gain, row.term, row.settle_date, row.tax_date) == (
        20,
        Term.SHORT,
        date(2019, 6, 12),
        date(2019, 6, 10),
    )


def test_a_sliver_that_a_split_leaves_is_not_split_off():
    """A loss of 10 shares is 3.333333333 after 1:3; 3.333333334 bought back carry all of it as one lot."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-04,A,X,SPLIT,1:3
        2019-06-06,A,X,BUY,3.333333334,90,new
        """
    )
    assert [(lot.key.lot_id, lot.adjusted_basis) for lot in told.lots.values()] == [("new", 110)]


@pytest.mark.parametrize(
    ("order", "first", "codes"),
    [
        ("SHELTERED_FIRST", "A,X,SELL,5,60,new", []),
        ("SHELTERED_FIRST", "A,X,DIVIDEND,,1", ["SAME_DAY_SHELTER"]),
        ("TAXABLE_FIRST", "IRA,X,SELL,5,60,ira", ["SAME_DAY_SHELTER"]),
    ],
)
def test_a_tie_is_remarked_where_the_other_purchase_could_have_served(order, first, codes):
    """A's shares of the day serve only while they are held; those of a plan serve though they are sold."""
    told = Told(
        f"""
        2019-01-02,A,X,BUY,5,50,old
        2019-06-03,A,X,BUY,5,45,new
        2019-06-03,IRA,X,BUY,5,45,ira
        2019-06-04,{first}
        2019-06-10,A,X,SELL,5,40,old
        """,
        sheltered=("IRA",),
        ties=tie_rules({"same_day_shelter": order}),
        sound=False,
    )
    assert (told.codes, told.disallowed) == (codes, 10)


def test_a_part_of_one_share_that_can_serve_is_not_joined():
    """Of one share moved to B half serves: it does not go back to the other half, which can serve still."""
    told = Told(
        """
        2019-06-01,B,X,BUY,29.5,265.50,first
        2019-06-03,A,X,BUY,60,540,new
        2019-06-04,A,X,TRANSFER_OUT,1,,new,B
        2019-06-05,B,X,BUY,30,270.01,late
        2019-06-06,B,X,SELL,30,270,late,,,s
        """,
        ties=tie_rules({"scope": "ACCOUNT", "tacking": "ACQUISITION_DATE"}),
    )
    half = Decimal("0.5")
    assert lots_of(told)["new~T1"] == (half, 4.5, 4.5, "2019-06-03")
    assert lots_of(told)["new~T1~W1-s"] == (half, 4.5, 4.5, "2019-06-03")


# ---------------------------------------------------------------- who meets whom, and what each carries


def test_an_earlier_purchase_takes_a_loss_of_the_day():
    """Of 250 lost on 100 shares 40 bought 12 days before carry 100: 300 + 100; the row has the loss's term and day."""
    told = Told(
        """
        2017-01-03,A,X,BUY,100,1000,old
        2018-05-20,A,X,BUY,40,300,new
        2018-06-01,A,X,SELL,100,750,old
        """
    )
    assert (told.basis("new"), told.lot("new").cost_basis) == (400, 300)
    (row,) = told.sales[0].disallowances
    assert (row.realized_gain, row.term, row.loss.day) == (100, Term.LONG, date(2018, 6, 1))


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_shares_sold_on_the_day_of_the_loss_replace_nothing(names):
    """What is recent goes together with the loss lot, whatever the executions are called: no wash sale."""
    told = Told(
        f"""
        2017-01-03,A,X,BUY,100,1000,old
        2018-05-20,A,X,BUY,40,300,new
        2018-06-01,A,X,SELL,100,750,old,,,{names[0]}
        2018-06-01,A,X,SELL,40,300,new,,,{names[1]}
        """
    )
    assert (told.disallowed, told.lots) == (0, {})


def test_a_loss_is_washed_by_one_purchase_after_the_other():
    """100 sold, 60 bought twice: 60 and 40 shares serve, and the two purchases carry the whole loss of 250."""
    told = Told(
        """
        2017-01-03,A,X,BUY,100,1000,old
        2018-06-01,A,X,SELL,100,750,old
        2018-06-02,A,X,BUY,60,480,p1
        2018-06-03,A,X,BUY,60,480,p2
        """
    )
    assert [row.loss.shares for row in told.sales[0].disallowances] == [60, 40]
    assert sum(lot.adjusted_basis - lot.cost_basis for lot in told.lots.values()) == 250


def test_losses_are_met_in_the_order_of_disposition():
    """The earliest loss first, those of a day by acquisition (Reg. 1.1091-1(b)): 25 shares serve 10, 10 and 5."""
    told = Told(
        """
        2017-05-01,A,X,BUY,10,1000,sold-first
        2017-03-01,A,X,BUY,10,1000,a-bought-later
        2017-02-01,A,X,BUY,10,1000,z-bought-first
        2018-06-01,A,X,SELL,10,900,sold-first
        2018-06-04,A,X,SELL,20,1800,a-bought-later=10;z-bought-first=10
        2018-06-10,A,X,BUY,25,2250,new
        """
    )
    washed = {sale.lot_id: sum(row.loss.shares for row in sale.disallowances) for sale in told.sales}
    assert washed == {"sold-first": 10, "z-bought-first": 10, "a-bought-later": 5}


def test_a_replacement_share_is_used_once():
    """Losses of 100 and 200 on ten shares each, fifteen bought: 100 and half of 200; two more take two shares' loss."""
    text = """
        2017-01-03,A,X,BUY,10,1000,a
        2017-02-03,A,X,BUY,10,1100,b
        2018-06-01,A,X,SELL,20,1800,a=10;b=10,,,s1
        2018-06-10,A,X,BUY,15,1350,new
    """
    told = Told(text)
    assert [sale.disallowed_loss for sale in told.sales] == [100, 100]
    # The lot keeps its name for the part that served last, as no share of it is fresh.
    assert (told.lot("new~W1-s1").quantity, told.basis("new~W1-s1")) == (10, 1000)
    assert (told.lot("new").quantity, told.basis("new")) == (5, 550)
    again = Told(f"{text}\n2018-06-11,A,X,BUY,2,180,next")
    assert [sum(row.loss.shares for row in sale.disallowances) for sale in again.sales] == [10, 7]
    assert (again.lot("new"), again.basis("next")) == (told.lot("new"), 220)


def test_a_lot_that_served_whole_does_not_serve_again():
    """Of 25 bought 15 are sold and 10 replace a first loss; a second meets none (Reg. 1.1091-1(e))."""
    told = Told(
        """
        2017-01-03,A,X,BUY,10,1000,a
        2017-02-03,A,X,BUY,10,1000,b
        2018-05-20,A,X,BUY,25,2250,new
        2018-05-25,A,X,SELL,15,1350,new
        2018-06-01,A,X,SELL,20,1800,a=10;b=10
        """
    )
    assert {sale.lot_id: sale.disallowed_loss for sale in told.sales} == {"new": 0, "a": 100, "b": 0}
    assert [purchase.unreplaced for purchase in told.state.purchases] == [0]


def test_three_losses_split_a_lot_three_times():
    """Lots of three months, sold on one day, give three starts: parts numbered in the order of the matches."""
    told = Told(
        """
        2017-01-03,A,X,BUY,10,1000,L1
        2017-02-03,A,X,BUY,10,1000,L2
        2017-03-03,A,X,BUY,10,1000,L3
        2018-06-01,A,X,SELL,30,2700,L1=10;L2=10;L3=10,,,s1
        2018-06-10,A,X,BUY,40,3600,new
        """
    )
    assert {lot.lot_id: lot.quantity for lot in told.lots.values()} == {
        "new": 10,
        "new~W1-s1": 10,
        "new~W2-s1": 10,
        "new~W3-s1": 10,
    }


def test_a_chain_carries_days_and_losses_along():
    """100 after 60 days, bought back 20 days later; then 150 after 10 days: the last lot has 860 + 150 and 70 days."""
    text = """
        2018-01-10,A,X,BUY,10,1000,a
        2018-03-11,A,X,SELL,10,900,a
        2018-03-31,A,X,BUY,10,900,b
    """
    first = Told(text).lot("b")
    assert (first.acquired_on, first.holding_period_start) == (date(2018, 3, 31), date(2018, 3, 31) - timedelta(60))
    told = Told(f"{text}\n2018-04-10,A,X,SELL,10,850,b\n2018-04-20,A,X,BUY,10,860,c")
    assert (told.sales[1].realized_gain, told.basis("c")) == (-150, 1010)
    assert told.lot("c").holding_period_start == date(2018, 4, 20) - timedelta(70)


def test_rounding_neither_loses_nor_creates_loss():
    """Met share by share, a loss of 100.00 on 3 shares is disallowed in parts that add up to 100.00."""
    told = Told(
        """
        2017-01-03,A,X,BUY,3,400,old
        2018-06-01,A,X,SELL,3,300,old
        2018-06-10,A,X,BUY,1,100,n0
        2018-06-11,A,X,BUY,1,100,n1
        2018-06-12,A,X,BUY,1,100,n2
        """
    )
    parts = [row.realized_gain for row in told.sales[0].disallowances]
    assert parts == [Decimal("33.33"), Decimal("33.34"), Decimal("33.33")]
    assert sum(lot.adjusted_basis - lot.cost_basis for lot in told.lots.values()) == 100
