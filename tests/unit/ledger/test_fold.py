"""The fold: days, the order within a day, refused events, purchases and sales with the cents of each line."""

import gc
from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import Term
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import Sell
from prometheus.ledger.fold import advance, fold, without_collector
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.state import EMPTY
from prometheus.ledger.terms import Terms
from tests.unit.ledger.told import Told, events_of, terms_of


def test_days_follow_each_other():
    """A day that the books are past is refused, and so are two days in one call of advance."""
    terms = terms_of()
    state = Told("2019-06-03,A,X,BUY,10,100,L").state
    assert state.through == date(2019, 6, 3)
    with pytest.raises(AccountingError, match="refold from an earlier checkpoint"):
        advance(state, events_of("2019-06-03,A,X,BUY,10,100,M"), terms)
    with pytest.raises(AccountingError, match="use fold"):
        advance(EMPTY, events_of("2019-06-03,A,X,BUY,1,1\n2019-06-04,A,X,BUY,1,1"), terms)


def test_a_day_without_events_changes_nothing():
    """Advancing by nothing returns the same state."""
    state = Told("2019-06-03,A,X,BUY,10,100,L").state
    assert advance(state, (), terms_of()) == (state, (), ())


def test_what_comes_in_and_goes():
    """Opening cash and lots, cash in, out and to another account."""
    told = Told(
        """
        2019-06-03,A,,OPEN,,1000
        2019-06-04,A,,TRANSFER_IN,,500
        2019-06-05,A,,TRANSFER_OUT,,200
        2019-06-05,A,,TRANSFER_OUT,,300,,B
        """
    )
    assert told.state.cash == {"A": 1000, "B": 300}


def test_progress_is_told_by_day():
    """The caller hears how many events each day had."""
    heard = []
    fold(
        events_of("2019-06-03,A,X,BUY,1,1\n2019-06-03,A,Y,BUY,1,1\n2019-06-04,A,X,BUY,1,1"),
        Terms(),
        on_day=heard.append,
    )
    assert heard == [2, 1]


def test_refused_events_leave_the_rest_as_it_is():
    """Of a sale too many nothing is booked, and the day's other trades are."""
    told = Told("2019-06-03,A,X,BUY,10,100,L\n2019-06-03,A,X,SELL,20,100\n2019-06-03,A,X,SELL,4,100", sound=False)
    assert (told.codes, told.lot("L").quantity) == (["OVERSOLD"], 6)
    assert str(told.findings[0]).endswith("[OVERSOLD]")


def test_a_state_answers_what_is_held():
    """Positions and pools of taxpayers are read off the lots."""
    state = Told("2019-06-03,A,X,BUY,10,100,L\n2019-06-03,B,X,BUY,5,80,M").state
    assert state.quantity_of("A", "X") == 10
    assert [lot.lot_id for lot in state.lots_of("B", "X")] == ["M"]
    assert state.pools({"A": "me", "B": "me"}) == {("me", "X"): (15, 180)}
    assert state.pools({"A": "me"}) == {("me", "X"): (10, 100)}


def test_every_regime_has_its_rules_or_none():
    """Terms of the United States are booked; the default terms are theirs."""
    assert Terms().regime is TaxRegime.US


def sale(picks, amount, *, fee="0", name="s", day=date(2018, 6, 1)):
    """Return a sale of lots named ``L=10;M=1``, for an amount after commission."""
    (event,) = events_of(f"{day},A,X,SELL,1,{amount},{picks}")
    return Sell(
        account="A",
        event_id=name,
        trade_date=day,
        ticker="X",
        quantity=sum(pick.quantity for pick in event.picks),
        amount=event.amount,
        fee=Decimal(fee),
        picks=event.picks,
    )


def lines(told):
    """Return lot, gain and term of each line sold."""
    return [(line.lot_id, line.realized_gain, line.term) for line in told.sales]


def test_a_sale_takes_the_named_lots_and_shares_its_commission_out():
    """Fourteen at 20 less 1.40: 4 of b bring 79.60 for a basis of 120, 10 of a bring 199.00 for 100."""
    bought = events_of("2015-01-05,A,X,BUY,10,100,a\n2018-01-02,A,X,BUY,10,300,b")
    told = Told([*bought, sale("b=4;a=10", "278.60", fee="1.40")])
    assert lines(told) == [("b", Decimal("-40.40"), Term.SHORT), ("a", Decimal("99.00"), Term.LONG)]
    assert (told.lot("b").quantity, told.basis("b"), told.state.cash["A"]) == (6, 180, Decimal("-121.40"))


def test_a_sale_is_booked_lot_by_lot():
    """Eleven shares for 220.05: each lot has its line with proceeds, basis, gain and term in cents; the rest stays."""
    bought = events_of(
        """
        2015-01-05,A,X,BUY,10,100,long
        2018-01-02,A,X,BUY,3,100,short
        2018-01-03,A,X,BUY,5,100,kept
        """
    )
    told = Told([*bought, sale("long=10;short=1", "220.05")])
    rows = [(line.posting.cash, -line.posting.adjusted_basis) for line in told.sales]
    assert rows == [(Decimal("200.05"), 100), (Decimal("20.00"), Decimal("33.33"))]
    assert lines(told) == [("long", Decimal("100.05"), Term.LONG), ("short", Decimal("-13.33"), Term.SHORT)]
    left = {lot.lot_id: (lot.quantity, lot.adjusted_basis) for lot in told.lots.values()}
    assert left == {"short": (2, Decimal("66.67")), "kept": (5, 100)}
    assert sum(line.realized_gain for line in told.sales) == Decimal("86.72")


def test_a_commission_is_shared_out_exactly():
    """Three lots of a share at 12, with a commission of 1.00: the lines' parts follow the shares and add up to it."""
    bought = events_of("\n".join(f"2017-01-03,A,X,BUY,1,10,L{i}" for i in range(3)))
    told = Told([*bought, sale("L0=1;L1=1;L2=1", "35", fee="1.00")])
    fees = [line.posting.fee for line in told.sales]
    assert (fees, sum(line.posting.cash for line in told.sales)) == (
        [Decimal("0.33"), Decimal("0.34"), Decimal("0.33")],
        35,
    )


def test_a_sale_that_names_a_lot_of_the_day_is_booked_after_its_purchase():
    """Bought for 100 and sold for 90 on one day, whatever the events are called: a loss of 10 and nothing held."""
    told = Told("2018-06-01,A,X,SELL,10,90,lot,,,a\n2018-06-01,A,X,BUY,10,100,lot,,,b")
    assert (told.recognized, told.lots, told.state.cash["A"]) == (-10, {}, -10)
    assert [row.kind for row in told.postings] == [PostingKind.BUY, PostingKind.SELL]


def test_sales_of_the_day_come_before_its_purchases():
    """Ten sold for 200 pay for four bought at 50: the cash of the day is nothing, and the sale's row is first."""
    told = Told(
        """
        2015-01-05,A,,OPEN,,100
        2015-01-05,A,X,BUY,10,100,a
        2018-06-01,A,ABC,BUY,4,200,,,,e1
        2018-06-01,A,X,SELL,10,200,a,,,e2
        """
    )
    assert [row.kind for row in told.postings[2:]] == [PostingKind.SELL, PostingKind.BUY]
    assert told.state.cash.get("A", 0) == 0


def test_selling_everything_recent_leaves_no_residue():
    """Fractional lots sold by exact decimals leave no 0.0008 shares behind."""
    told = Told(
        """
        2018-05-20,A,X,BUY,33.3334,1000,a
        2018-05-21,A,X,BUY,66.6674,2000,b
        2018-05-22,A,X,BUY,0.0008,0.02,c
        2018-06-01,A,X,SELL,100.0016,2000.03
        """
    )
    assert told.lots == {}
    assert told.recognized == Decimal("2000.03") - Decimal("3000.02")


def test_no_more_is_sold_than_there_is():
    """A sale rounded up to a whole share of 33.3334 is refused instead of leaving a tiny short position."""
    told = Told("2017-01-03,A,X,BUY,33.3334,100,a\n2018-06-01,A,X,SELL,34,340", sound=False)
    assert (told.codes, told.lot("a").quantity) == (["OVERSOLD"], Decimal("33.3334"))


@pytest.mark.parametrize(("name", "shares", "code"), [("b", 1, "UNKNOWN_LOT"), ("a", "5.0001", "OVERSOLD")])
def test_a_lot_of_another_security_is_not_sold(name, shares, code):
    """Lot b is one of ABC, and lot a has five shares: neither sale of X is booked."""
    told = Told(
        f"""
        2017-01-03,A,X,BUY,5,5,a
        2017-01-03,A,ABC,BUY,5,5,b
        2018-06-01,A,X,SELL,{shares},10,{name}
        """,
        sound=False,
    )
    assert (told.codes, told.sales) == ([code], [])


@pytest.mark.parametrize(("count", "rests"), [(10, False), (1_000, True)])
def test_the_collector_rests_while_many_values_are_made(count, rests):
    """It is off inside for many values only, and on again afterwards, after an error too."""
    assert gc.isenabled()
    seen = []

    def fail():
        with without_collector(count):
            seen.append(gc.isenabled())
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert seen == [not rests]
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off():
    """Who has turned it off turns it on again himself."""
    gc.disable()
    try:
        with without_collector(1_000):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_others_have_frozen_stays_frozen():
    """Objects that the process keeps from the collector are not given back to it."""
    gc.freeze()
    try:
        with without_collector(1_000):
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
