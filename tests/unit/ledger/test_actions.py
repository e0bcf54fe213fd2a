"""Whom a corporate action reaches, and the order of a day's actions."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.ledger.events import CashInLieu, Delisting, Merger
from prometheus.ledger.fold import advance
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.state import UnlistedAction
from tests.unit.ledger.told import Told, events_of, terms_of


def test_a_split_listed_for_one_account_is_of_the_security():
    """B holds and lists nothing: its shares are split too, with a remark; its 10 of 20 cost 500 and gain 100."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,10,1000
        2024-01-02,B,XYZ,BUY,10,1000
        2024-06-03,A,XYZ,SPLIT,2:1
        2024-06-10,B,XYZ,SELL,10,600
        """,
        sound=False,
    )
    assert [(found.code, found.refused) for found in told.findings] == [("NOT_LISTED", False)]
    assert (told.recognized, told.state.quantity_of("B", "XYZ")) == (100, 10)


def test_what_an_account_lists_later_says_nothing_new():
    """B lists the split a day after A: its shares are split once."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,10,1000
        2024-01-02,B,XYZ,BUY,10,1000
        2024-06-03,A,XYZ,SPLIT,2:1
        2024-06-04,B,XYZ,SPLIT,2:1
        2024-06-10,B,XYZ,SPLIT,2:1
        """,
        sound=False,
    )
    assert (told.state.quantity_of("A", "XYZ"), told.state.quantity_of("B", "XYZ")) == (40, 40)
    assert [found.event.event_id for found in told.findings] == ["e003", "e005"]


def test_different_terms_for_one_household_are_refused():
    """A lists 2:1 and B lists 3:1 for one day: neither is booked."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,10,1000
        2024-01-02,B,XYZ,BUY,10,1000
        2024-06-03,A,XYZ,SPLIT,2:1
        2024-06-03,B,XYZ,SPLIT,3:1
        """,
        sound=False,
    )
    assert told.codes == ["ACTION_DIFFERS"] * 2
    assert {lot.quantity for lot in told.lots.values()} == {10}


def test_an_action_of_the_market_reaches_every_holder():
    """One event for every account splits the shares of both, and pays each its dividend by the share."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,10,1000
        2024-01-02,B,XYZ,BUY,20,1000
        2024-06-03,*,XYZ,SPLIT,2:1
        2024-06-03,*,XYZ,DIVIDEND,,,,,0.5
        2024-06-03,*,ABC,SPLIT,2:1
        """
    )
    assert [lot.quantity for lot in told.lots.values()] == [20, 40]
    # paid for a share after the day's split
    assert told.state.cash == {"A": -1000 + 10, "B": -1000 + 20}


def test_own_cash_in_lieu_joins_the_market_s_split():
    """An account's own listing of a split that the market tells too adds what it was paid for its fraction."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,25,250,L
        2024-06-03,*,XYZ,SPLIT,1:10
        2024-06-03,A,XYZ,SPLIT,1:10,60
        """
    )
    assert (told.lot("L").quantity, told.sales[0].realized_gain) == (2, 10)


def test_an_action_of_nothing_held_is_refused():
    """A split of a security that the account does not hold is a finding, as is one of shares that come in that day."""
    told = Told(
        """
        2024-06-03,A,XYZ,SPLIT,2:1
        2024-06-03,A,ABC,SPLIT,2:1
        2024-06-03,A,ABC,OPEN,10,100,L
        """,
        sound=False,
    )
    assert told.codes == ["NOT_HELD", "ON_OPENING_DAY"]


def test_a_split_after_all_shares_are_sold_changes_the_window():
    """Ten sold at a loss, then split 2:1, then twenty bought back: the whole loss of 20 is disallowed."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,SELL,10,80,old
        2019-06-05,A,X,SPLIT,2:1
        2019-06-10,A,X,BUY,20,90,new
        """
    )
    assert (told.disallowed, told.lot("new").quantity, told.basis("new")) == (20, 20, 110)


def test_a_new_symbol_keeps_the_window():
    """Sold as OLD and bought back as NEW within thirty days is a wash sale."""
    told = Told(
        """
        2018-01-02,A,OLD,BUY,20,200,old
        2019-06-03,A,OLD,SELL,10,80,old
        2019-06-05,A,OLD,RENAME,,,,NEW
        2019-06-10,A,NEW,BUY,10,90,new
        """
    )
    assert (told.disallowed, told.lot("old").ticker) == (20, "NEW")
    assert told.sales[0].disallowances[0].loss.ticker == "OLD"


def test_a_new_symbol_stays_in_the_group_of_the_former():
    """A group is told for OLD only; after the symbol change NEW and its twin still wash each other."""
    told = Told(
        """
        2018-01-02,A,OLD,BUY,20,200,old
        2019-06-05,A,OLD,RENAME,,,,NEW
        2019-06-08,A,NEW,SELL,20,160,old
        2019-06-10,A,TWIN,BUY,20,190,new
        """,
        groups={"OLD": "G", "TWIN": "G"},
    )
    assert told.basis("new") == 230


def test_a_new_symbol_told_by_one_account_is_known_to_all():
    """B's shares change too; what B lists by the former symbol until it tells the change is read under the new."""
    told = Told(
        """
        2024-01-02,A,OLD,BUY,10,1000
        2024-01-02,B,OLD,BUY,10,1000,L
        2024-06-03,A,OLD,RENAME,,,,NEW
        2024-06-05,B,OLD,SELL,4,500,L
        2024-06-10,B,OLD,RENAME,,,,NEW
        2024-06-11,B,NEW,SELL,4,500,L
        """,
        sound=False,
    )
    assert [found.code for found in told.findings if found.refused] == []
    assert (told.lot("L", "B").ticker, told.lot("L", "B").quantity) == ("NEW", 2)


def test_two_securities_swap_their_symbols():
    """Symbol changes of one day happen at once."""
    told = Told(
        """
        2024-01-02,A,P,BUY,10,1000,p
        2024-01-02,A,Q,BUY,10,2000,q
        2024-06-03,A,P,RENAME,,,,Q
        2024-06-03,A,Q,RENAME,,,,P
        """
    )
    assert (told.lot("p").ticker, told.lot("q").ticker) == ("Q", "P")


def test_an_action_of_the_day_goes_by_the_new_symbol():
    """A split told under the former symbol on the day of the change is one of the same shares."""
    told = Told(
        """
        2024-01-02,A,OLD,BUY,10,1000,L
        2024-06-03,*,OLD,RENAME,,,,NEW
        2024-06-03,*,OLD,SPLIT,2:1
        """
    )
    assert (told.lot("L").ticker, told.lot("L").quantity) == ("NEW", 20)


def test_children_have_no_part_in_the_actions_of_their_first_day():
    """A split of the child on the day of the spin-off is of the child's former shares."""
    told = Told(
        """
        2024-01-02,A,P,BUY,10,1000,p
        2024-06-03,*,C,SPLIT,2:1
        2024-06-03,*,P,SPINOFF,1,,,C,0.25
        """
    )
    assert told.lot("p~S-C").quantity == 10


def test_a_loss_of_cash_in_lieu_meets_purchases_already_made():
    """Half a share of basis 500 is paid 30: the purchase of two weeks before meets the loss of 470."""
    told = Told(
        """
        2018-01-02,A,X,BUY,25,2500,old
        2019-05-20,A,X,BUY,10,900,new
        2019-06-03,A,X,SPLIT,1:10,30
        """
    )
    assert told.sales[0].posting.kind is PostingKind.CASH_IN_LIEU
    assert (told.sales[0].realized_gain, told.disallowed) == (-470, 470)


def test_a_delisting_waits_for_what_its_account_trades_that_day():
    """Six of ten are sold on the day, and the four left are worthless."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-06-03,A,X,DELIST,,0
        2019-06-03,A,X,SELL,6,6
        """
    )
    assert [sale.realized_gain for sale in told.sales] == [-54, -40]


@pytest.mark.parametrize(("shares", "codes", "gain"), [("5", ["OTHER_QUANTITY"], 0), ("10", [], -450), ("", [], -450)])
def test_a_delisting_ends_all_shares(shares, codes, gain):
    """A delisting of another number of shares than is held is refused."""
    told = Told(f"2024-01-02,A,XYZ,BUY,10,1000\n2024-06-03,A,XYZ,DELIST,{shares},550", sound=False)
    assert (told.codes, told.recognized) == (codes, gain)


def test_a_delisting_that_another_holder_does_not_list_is_remarked():
    """What B would be paid is not known: its shares stay, and a finding says so."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,10,1000
        2024-01-02,B,XYZ,BUY,10,1000
        2024-06-03,A,XYZ,DELIST,,0
        """,
        sound=False,
    )
    assert [(found.code, found.refused) for found in told.findings] == [("NOT_LISTED", False)]
    assert told.state.quantity_of("B", "XYZ") == 10


def test_actions_are_on_shares_held_before_the_day():
    """Shares bought on the ex-date are those after the split."""
    told = Told(
        """
        2024-01-02,A,XYZ,BUY,10,1000,old
        2024-06-03,A,XYZ,BUY,10,500,new
        2024-06-03,A,XYZ,SPLIT,2:1
        """
    )
    assert (told.lot("old").quantity, told.lot("new").quantity) == (20, 10)


def test_an_unlisted_action_is_remembered_from_day_to_day():
    """What B lists later says nothing new also where each day is booked by itself."""
    terms = terms_of()
    days = ["2024-01-02,A,XYZ,BUY,10,1000\n2024-01-02,B,XYZ,BUY,10,1000", "2024-06-03,A,XYZ,SPLIT,2:1"]
    state = Told(days[0]).state
    state = advance(state, events_of(days[1]), terms).state
    state, postings, findings = advance(state, events_of("2024-06-05,B,XYZ,SPLIT,2:1"), terms)
    assert (postings, findings, state.unlisted) == ((), (), ())
    assert state.quantity_of("B", "XYZ") == Decimal(20)


def test_an_exchange_comes_before_an_end():
    """A merger for 12 a share and a delisting for nothing on one day: the shares are paid, and none is left to end."""
    merger = Merger(account="A", event_id="m", trade_date=date(2019, 6, 3), ticker="X", cash_per_share=Decimal(12))
    events = events_of("2018-01-02,A,X,BUY,10,100\n2019-06-03,A,X,DELIST,,0,,,,a")
    told = Told([*events, merger], sound=False)
    assert (told.recognized, told.codes) == (20, ["NOT_HELD"])


def test_children_of_a_day_come_by_what_is_told_of_them():
    """The child C comes before D, whatever their events are called."""
    told = Told(
        """
        2018-01-02,A,P,BUY,20,1000,p
        2019-06-03,A,P,SPINOFF,1,,,C,0.2,z
        2019-06-03,A,P,SPINOFF,1,,,D,0.3,a
        """
    )
    assert [row.ticker for row in told.postings if row.kind is PostingKind.SPINOFF] == ["P", "C", "P", "D"]


def test_accounts_may_list_the_actions_of_a_day_in_any_order():
    """Two splits of one day are told by A as 2:1 and 3:1, by B as 3:1 and 2:1: they agree, ten shares are sixty."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,L
        2018-01-02,B,X,BUY,10,100,L
        2019-06-03,A,X,SPLIT,2,,,,,s1
        2019-06-03,A,X,SPLIT,3,,,,,s2
        2019-06-03,B,X,SPLIT,3,,,,,s1
        2019-06-03,B,X,SPLIT,2,,,,,s2
        """
    )
    assert (told.lot("L").quantity, told.lot("L", "B").quantity) == (60, 60)


@pytest.mark.parametrize(
    ("action", "said"), [("SPLIT,2", "it was booked there too"), ("DELIST,,0", "nothing was booked there")]
)
def test_a_remark_says_what_was_booked_for_who_does_not_list(action, said):
    """B lists nothing: a split changes its shares, a delisting does not."""
    told = Told(f"2024-01-02,A,X,BUY,10,1000\n2024-01-02,B,X,BUY,10,1000\n2024-06-03,A,X,{action}", sound=False)
    (finding,) = told.findings
    assert finding.message.endswith(f"of 2024-06-03; {said}.")


def test_cash_in_lieu_that_is_told_by_itself_is_a_sale():
    """Half of 10.5 shares of 1,050 is paid 60: a gain of 10, and ten shares of 1,000 are left."""
    paid = CashInLieu(
        account="A",
        event_id="c",
        trade_date=date(2019, 6, 3),
        ticker="X",
        quantity=Decimal("0.5"),
        amount=Decimal(60),
    )
    told = Told([*events_of("2018-01-02,A,X,BUY,10.5,1050,L"), paid])
    assert (told.recognized, told.lot("L").quantity, told.basis("L")) == (10, 10, 1000)


def test_capital_returned_on_shares_that_come_in_that_day_is_refused():
    """The shares of an opening lot are those after the day's actions."""
    told = Told("2024-06-03,A,X,ROC,,5\n2024-06-03,A,X,OPEN,10,100,L", sound=False)
    assert told.codes == ["ON_OPENING_DAY"]


def test_a_delisting_can_pay_by_the_share():
    """Ten shares of 100 end for 12 each: a gain of 20."""
    (bought,) = events_of("2018-01-02,A,X,BUY,10,100")
    ended = Delisting(account="A", event_id="d", trade_date=date(2019, 6, 3), ticker="X", per_share=Decimal(12))
    assert Told([bought, ended]).recognized == 20


def test_what_was_not_listed_is_remembered_by_its_terms():
    """B's split is kept with ticker, ratio and day; it names no other security."""
    told = Told("2024-01-02,A,X,BUY,1,1\n2024-01-02,B,X,BUY,1,1\n2024-06-03,A,X,SPLIT,2", sound=False)
    assert told.state.unlisted == (UnlistedAction("B", "Split", "X", "", Fraction(2), date(2024, 6, 3)),)
