"""The market's actions as events, and what each does to the lots and the cash of a household, to the cent."""

from datetime import date
from decimal import Decimal
from itertools import permutations

import pytest

from prometheus.bookkeeping.ledger_market import event_of_action
from prometheus.bookkeeping.ledger_view import recent_trades_of
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import Term
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.events import OpeningCash, OpeningLot, Sell
from prometheus.ledger.fold import fold
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.terms import AccountTerms, Terms
from tests.unit.ledger.told import sums_of, sums_of_state

EX_DATE, LATER = date(2018, 6, 1), date(2018, 6, 4)
#: What moves basis from lot to lot; all other rows take it against cash and gain.
MOVES = {PostingKind.SPINOFF, PostingKind.SYMBOL_CHANGE}


def lot(lot_id, acquired_on, quantity, cost, *, ticker="XYZ", adjusted=None, start=None):
    """A lot of account A since its purchase; the adjusted basis is the cost unless given."""
    acquired = date.fromisoformat(acquired_on)
    return OpeningLot(
        account="A",
        event_id=lot_id,
        trade_date=acquired,
        ticker=ticker,
        quantity=Decimal(str(quantity)),
        cost_basis=Decimal(cost),
        adjusted_basis=None if adjusted is None else Decimal(adjusted),
        holding_period_start=None if start is None else date.fromisoformat(start),
    )


def action(kind, value, *, ticker="XYZ", on=EX_DATE, other="", fraction=None):
    """A corporate action."""
    return CorporateAction(ticker, on, kind, Decimal(value), other, None if fraction is None else Decimal(fraction))


def spin_off(ticker, child, ratio, fraction, on=EX_DATE):
    """Shares of a child for one of the parent, with a part of its basis."""
    return action(ActionType.SPINOFF, ratio, ticker=ticker, on=on, other=child, fraction=fraction)


def new_symbol(ticker, other, on=EX_DATE):
    """A security that goes on under another symbol."""
    return action(ActionType.SYMBOL_CHANGE, 1, ticker=ticker, on=on, other=other)


class Booked:
    """Lots and actions booked, whatever the order of the actions; findings are for the test to look at."""

    def __init__(self, events, *actions: CorporateAction, close="50", is_fractional=False, regime=TaxRegime.US) -> None:
        closes = {} if close is None else {(name, a.ex_date): Decimal(close) for a in actions for name in a.securities}
        self.terms = Terms(regime=regime, default=AccountTerms(is_fractional=is_fractional))
        told = [event_of_action(each, closes) for each in actions]
        folds = [fold([*events, *order], self.terms) for order in permutations(told)]
        self.state, self.postings, self.findings = folds[0]
        assert all(each == folds[0] for each in folds)
        assert sums_of(self.postings) == sums_of_state(self.state)
        opened = {each.key for each in events}
        #: What the actions did; POOL rows move cents between accounts and belong to no action.
        self.rows = [row for row in self.postings if row.event not in opened and row.kind is not PostingKind.POOL]
        for row in self.rows:
            assert row.lot is None or row.kind in MOVES or row.cash + row.adjusted_basis == row.realized_gain
        moved = [row for row in self.rows if row.kind in MOVES]
        assert sum(row.adjusted_basis for row in moved) == sum(row.cost_basis for row in moved) == 0

    @property
    def cash(self):
        """Return the cash of the account."""
        return self.state.cash.get("A", Decimal(0))

    @property
    def kinds(self):
        """Return what each row of the actions is."""
        return [row.kind for row in self.rows]

    @property
    def gain(self):
        """Return the gain that the actions realise."""
        return sum(row.realized_gain for row in self.rows)

    @property
    def lots(self):
        """Return ticker, shares and adjusted basis by name of a lot."""
        return {key.lot_id: (x.ticker, x.quantity, x.adjusted_basis) for key, x in self.state.lots.items()}


# ---------------------------------------------------------------- splits and fractions: Rev. Rul. 66-365


def test_a_split_changes_share_counts_only():
    """Seven new shares for one: quantity times seven; total bases and dates as before."""
    held = lot("a", "2017-01-03", 10, "5000", adjusted="5100", start="2016-05-02")
    booked = Booked([held], action(ActionType.SPLIT, "7.0"), close=None)
    (after,) = booked.state.lots.values()
    assert (after.quantity, after.cost_basis, after.adjusted_basis) == (70, 5000, 5100)
    assert (after.acquired_on, after.holding_period_start) == (date(2017, 1, 3), date(2016, 5, 2))
    assert (booked.cash, booked.kinds) == (0, [PostingKind.SPLIT])


def test_a_fraction_is_sold_at_the_close():
    """Three for two on 5 shares pays the half share in cash at the ex-date's close, as a sale with gain and term."""
    booked = Booked([lot("a", "2015-01-05", 5, "300")], action(ActionType.SPLIT, "1.5"), close="50.01")
    assert booked.lots == {"a": ("XYZ", 7, 280)}
    assert booked.cash == Decimal("25.00")  # 25.005 to the even cent
    sale = booked.rows[-1]
    assert (sale.kind, sale.quantity, sale.adjusted_basis) == (PostingKind.CASH_IN_LIEU, Decimal("-0.5"), -20)
    assert (sale.realized_gain, sale.term) == (5, Term.LONG)


def test_fractions_of_lots_that_make_a_share_are_kept():
    """The fraction is that of the whole position: two lots of 3 become 4.5 each and nothing is sold."""
    held = [lot("a", "2017-01-03", 3, "30"), lot("b", "2017-02-03", 3, "30")]
    booked = Booked(held, action(ActionType.SPLIT, "1.5"))
    assert booked.lots == {"a": ("XYZ", Decimal("4.5"), 30), "b": ("XYZ", Decimal("4.5"), 30)}
    assert (booked.cash, booked.kinds) == (0, [PostingKind.SPLIT] * 2)


def test_the_fraction_comes_out_of_the_earliest_lots():
    """One for three on 1 + 1 shares pays two thirds of a share at 90: both lots go, 30.00 for each, at no gain."""
    held = [lot("young", "2017-02-03", 1, "30"), lot("old", "2017-01-03", 1, "30")]
    booked = Booked(held, action(ActionType.SPLIT, "0.333333"), close="90")
    assert booked.lots == {}
    assert [(row.lot_id, row.quantity, row.cash) for row in booked.rows[2:]] == [
        ("old", Decimal("-0.333333333"), 30),
        ("young", Decimal("-0.333333334"), 30),
    ]
    assert (booked.cash, booked.gain) == (60, 0)


def test_thirds_of_a_position_that_is_whole_are_kept():
    """Three lots of 100 at 1 for 3 are a hundred shares together: an account of whole shares is paid nothing."""
    held = [lot(f"L{i}", f"2017-01-0{i}", 100, "900") for i in (3, 4, 5)]
    booked = Booked(held, action(ActionType.SPLIT, "0.333333"))
    assert booked.state.quantity_of("A", "XYZ") == 100
    assert booked.kinds == [PostingKind.SPLIT] * 3


def test_canada_pays_a_fraction_out_of_the_pool():
    """A fraction sold out of a Canadian position has the average cost of all of it, and no term (ITA s. 47(1))."""
    held = [lot("a", "2015-01-05", 3, "30"), lot("b", "2016-01-05", 2, "120")]
    booked = Booked(held, action(ActionType.SPLIT, "1.5"), regime=TaxRegime.CA)
    assert booked.kinds == [PostingKind.SPLIT, PostingKind.CASH_IN_LIEU]
    sale = booked.rows[-1]
    assert (sale.adjusted_basis, sale.realized_gain, sale.term) == (-10, 15, Term.NONE)
    assert booked.lots == {"ACB-XYZ": ("XYZ", 7, 140)}


# ---------------------------------------------------------------- what is paid and what is distributed


@pytest.mark.parametrize(
    ("kind", "value", "cash", "basis"),
    [
        (ActionType.SPLIT, "2", 0, 500),
        (ActionType.DIVIDEND, "1", 10, 500),
        (ActionType.SPINOFF_VALUE, "25", 250, Decimal("333.33")),
    ],
)
def test_shares_bought_on_the_ex_date_are_not_touched(kind, value, cash, basis):
    """A lot bought on the ex-date trades ex already: no split, no dividend, no distribution."""
    booked = Booked([lot("before", "2018-05-31", 10, "500"), lot("on", "2018-06-01", 10, "250")], action(kind, value))
    assert booked.lots["on"] == ("XYZ", 10, 250)
    assert booked.lots["before"] == ("XYZ", 20 if kind is ActionType.SPLIT else 10, basis)
    assert booked.cash == cash


@pytest.mark.parametrize("kind", [ActionType.DIVIDEND, ActionType.SPECIAL_DIVIDEND])
def test_dividends_are_cash(kind):
    """A dividend pays cash for the whole position, rounded once, and leaves lots alone."""
    held = [lot("a", "2017-01-03", "10.5", "100"), lot("b", "2017-01-04", "3", "100")]
    cash = OpeningCash(account="A", event_id="cash", trade_date=date(2017, 1, 3), amount=Decimal(1))
    booked = Booked([*held, cash], action(kind, "0.37"), close=None)
    assert booked.lots == {"a": ("XYZ", Decimal("10.5"), 100), "b": ("XYZ", 3, 100)}
    assert booked.cash == Decimal("6.00")  # 13.5 * 0.37 = 4.995, to the even cent
    (row,) = booked.rows
    assert (row.kind.value, row.lot, row.realized_gain) == (kind.value.upper(), None, 0)


@pytest.mark.parametrize("kind", [ActionType.SPINOFF_VALUE, ActionType.STOCK_DISTRIBUTION_VALUE])
def test_a_distribution_takes_its_part_of_both_bases(kind):
    """Worth 25 beside a close of 50, it takes a third of each basis, pays 25 a share; the gain is the difference."""
    booked = Booked([lot("a", "2015-01-05", 10, "300", adjusted="330")], action(kind, "25"))
    (kept,) = booked.state.lots.values()
    assert (kept.quantity, kept.cost_basis, kept.adjusted_basis) == (10, 200, 220)
    assert kept.holding_period_start == date(2015, 1, 5)
    (row,) = booked.rows
    assert (booked.cash, row.adjusted_basis, row.realized_gain, row.term) == (250, -110, 140, Term.LONG)


def test_a_price_factor_distributes_the_missing_part_of_the_price():
    """A factor of 1.5 at a close of 50 says that 25 a share were distributed; the share count does not change."""
    booked = Booked([lot("a", "2018-01-05", 10, "900")], action(ActionType.SPINOFF_PRICE_FACTOR, "1.5"))
    assert booked.lots == {"a": ("XYZ", 10, 600)}
    (row,) = booked.rows
    assert (booked.cash, row.realized_gain, row.term) == (250, -50, Term.SHORT)


def test_a_price_factor_below_one_consolidates_shares():
    """A factor of 0.955 would be a negative distribution; it is booked as 191 shares for 200, the fraction in cash."""
    held = lot("a", "2018-01-05", 100, "4000")
    booked = Booked([held], action(ActionType.SPINOFF_PRICE_FACTOR, "0.955"), close="48.90")
    assert booked.lots == {"a": ("XYZ", 95, Decimal("3979.06"))}
    assert booked.cash == Decimal("24.45")
    assert booked.kinds == [PostingKind.SPLIT, PostingKind.CASH_IN_LIEU]


def test_splits_come_before_what_is_paid_on_the_same_day():
    """A day's values are quoted for a share after its split, so the split comes first, however the rows arrive."""
    booked = Booked(
        [lot("a", "2017-01-03", 40, "1000")],
        action(ActionType.DIVIDEND, "1"),
        action(ActionType.SPLIT, "0.25"),
        action(ActionType.SPINOFF_VALUE, "30"),
        action(ActionType.STOCK_DISTRIBUTION_VALUE, "20"),
    )
    assert booked.kinds[0] is PostingKind.SPLIT
    assert booked.kinds[-1] is PostingKind.DIVIDEND
    # 10 shares with 30 + 20 distributed beside a close of 50: the basis goes 30 : 20 : 50
    assert sorted(row.adjusted_basis for row in booked.rows[1:3]) == [-300, -200]
    assert booked.lots == {"a": ("XYZ", 10, 500)}
    assert booked.cash == 300 + 200 + 10


def test_actions_of_days_follow_each_other():
    """Actions of several days are taken in the order of their ex-dates."""
    later = action(ActionType.DIVIDEND, "1", on=LATER)
    booked = Booked([lot("a", "2017-01-03", 10, "1000")], later, action(ActionType.SPLIT, "2"))
    assert booked.kinds == [PostingKind.SPLIT, PostingKind.DIVIDEND]
    assert booked.cash == 20


def test_securities_not_held_are_passed_over():
    """An action of a security the account does not hold books nothing, and is nothing to remark."""
    booked = Booked([lot("a", "2017-01-03", 10, "1000")], action(ActionType.SPINOFF_VALUE, "9", ticker="ABC"))
    assert (booked.rows, booked.findings, booked.cash) == ([], (), 0)


@pytest.mark.parametrize("kind", [ActionType.SPINOFF_VALUE, ActionType.DIVIDEND, ActionType.DELISTING])
def test_negative_values_are_refused(kind):
    """Nobody pays to be rid of a share."""
    booked = Booked([lot("a", "2017-01-03", 5, "100")], action(kind, "-1"))
    assert [(found.code, found.refused) for found in booked.findings] == [("BAD_PRICE", True)]
    assert (booked.rows, booked.lots) == ([], {"a": ("XYZ", 5, 100)})


@pytest.mark.parametrize("kind", [ActionType.SPLIT, ActionType.SPINOFF_PRICE_FACTOR])
@pytest.mark.parametrize("value", ["0", "-2"])
def test_a_factor_that_is_not_positive_is_refused(kind, value):
    """No number of shares becomes nothing or less."""
    with pytest.raises(ValueError, match=f"factor of {value}"):
        event_of_action(action(kind, value), {})


@pytest.mark.parametrize(("kind", "value"), [(ActionType.SPINOFF_VALUE, "1"), (ActionType.SPINOFF_PRICE_FACTOR, "1.1")])
def test_a_distribution_without_its_close_cannot_be_told(kind, value):
    """The close of the ex-date is needed, and named by ticker and day."""
    with pytest.raises(AccountingError, match="XYZ on 2018-06-01 needs the close") as refused:
        event_of_action(action(kind, value), {})
    assert refused.value.details == {"ticker": "XYZ", "day": "2018-06-01"}


# ---------------------------------------------------------------- spin-offs into a child, new symbols, ends


def test_a_spin_off_shares_the_basis_out():
    """One child for four, with 20 % of the basis: 1,000 becomes 800 and 200, and the child keeps the parent's dates."""
    booked = Booked(
        [lot("a", "2017-01-03", 100, "1000", ticker="PAR")], spin_off("PAR", "KID", "0.25", "0.2"), is_fractional=True
    )
    assert booked.lots == {"a": ("PAR", 100, 800), "a~S-KID": ("KID", 25, 200)}
    assert booked.state.lots["A", "a~S-KID"].acquired_on == date(2017, 1, 3)
    assert (booked.cash, booked.gain) == (0, 0)


def test_a_spun_off_fraction_is_sold_at_the_childs_close():
    """Whole shares only: 10 shares at 1 for 4 are two and a half; the half is sold at 50 for 25, of a basis of 20."""
    held = [lot("a", "2017-01-03", 10, "500", ticker="PAR")]
    booked = Booked(held, spin_off("PAR", "KID", "0.25", "0.2"))
    assert booked.lots == {"a": ("PAR", 10, 400), "a~S-KID": ("KID", 2, 80)}
    sale = booked.rows[-1]
    assert (sale.kind, sale.cash, sale.realized_gain, sale.term) == (PostingKind.CASH_IN_LIEU, 25, 5, Term.LONG)
    assert booked.cash == 25
    without = Booked(held, spin_off("PAR", "KID", "0.25", "0.2"), close=None)
    assert [found.code for found in without.findings] == ["NO_PRICE"]


def test_a_spin_off_counts_shares_after_the_days_split():
    """Two for one and a child for each share on one day: 10 shares have 20 children."""
    held = [lot("a", "2017-01-03", 10, "100", ticker="PAR")]
    booked = Booked(held, spin_off("PAR", "KID", "1", "0.5"), action(ActionType.SPLIT, "2", ticker="PAR"))
    assert booked.lots == {"a": ("PAR", 20, 50), "a~S-KID": ("KID", 20, 50)}


def test_children_are_paid_no_dividend_of_their_first_day():
    """Shares received in the morning get no dividend of that day, and take part in everything from the next on."""
    held = [lot("a", "2017-01-03", 10, "100", ticker="PAR")]
    paid = [action(ActionType.DIVIDEND, "1", ticker="KID", on=on) for on in (EX_DATE, LATER)]
    assert Booked(held, spin_off("PAR", "KID", "1", "0.5"), *paid).cash == 10


def test_a_second_spin_off_of_a_child_makes_lots_of_its_own():
    """The same child handed out twice gives two lots under different names."""
    held = [lot("a", "2017-01-03", 10, "100", ticker="PAR")]
    booked = Booked(held, spin_off("PAR", "KID", "1", "0.5"), spin_off("PAR", "KID", "1", "0.5", on=LATER))
    assert booked.lots == {"a": ("PAR", 10, 25), "a~S-KID": ("KID", 10, 50), "a~S2-KID": ("KID", 10, 25)}


def test_canada_spins_off_into_the_childs_pool():
    """Lots of parent and child are pools; the child's pool takes the part of the adjusted cost base."""
    held = [
        lot("a", "2017-01-03", 60, "600", ticker="PAR"),
        lot("b", "2017-01-03", 40, "400", ticker="PAR"),
        lot("k", "2017-01-03", 5, "10", ticker="KID"),
    ]
    booked = Booked(held, spin_off("PAR", "KID", "0.5", "0.2"), regime=TaxRegime.CA)
    assert booked.lots == {"ACB-PAR": ("PAR", 100, 800), "ACB-KID": ("KID", 55, 210)}


@pytest.mark.parametrize("ticker", ["OLD", "NEW"])
def test_a_new_symbol_changes_nothing_else(ticker):
    """Basis, dates and shares stay; a dividend of the day counts under the old symbol and under the new one."""
    held = [
        lot("a", "2017-01-03", 10, "100", ticker="OLD", adjusted="110"),
        lot("b", "2018-06-01", 5, "60", ticker="NEW"),
    ]
    booked = Booked(held, new_symbol("OLD", "NEW"), action(ActionType.DIVIDEND, "2", ticker=ticker))
    assert booked.lots == {"a": ("NEW", 10, 110), "b": ("NEW", 5, 60)}
    assert booked.cash == 20, "the lot bought on the ex-date has no dividend"


@pytest.mark.parametrize("regime", list(TaxRegime))
def test_three_securities_hand_their_symbols_on(regime):
    """Class A takes the symbol that class C gives up, on one day: all changes of a day happen at once."""
    held = [
        lot("a", "2017-01-03", 10, "100", ticker="UA"),
        lot("c", "2017-01-03", 20, "300", ticker="UA.C"),
        lot("x", "2017-01-03", 1, "7", ticker="XX"),
    ]
    changes = new_symbol("UA", "UAA"), new_symbol("UA.C", "UA"), new_symbol("XX", "UA.C")
    booked = Booked(held, *changes, regime=regime)
    assert sorted(booked.lots.values()) == [("UA", 20, 300), ("UA.C", 1, 7), ("UAA", 10, 100)]
    assert (booked.cash, booked.gain) == (0, 0)
    if regime is TaxRegime.CA:
        assert set(booked.lots) == {"ACB-UAA", "ACB-UA", "ACB-UA.C"}


def test_a_pool_merges_with_that_of_its_new_symbol():
    """Where the new symbol is held already, Canada has one pool of both afterwards."""
    held = [
        lot("a", "2017-01-03", 10, "100", ticker="OLD"),
        lot("b", "2017-01-03", 30, "500", ticker="NEW"),
        lot("c", "2017-01-03", 10, "60", ticker="NEW"),
    ]
    booked = Booked(held, new_symbol("OLD", "NEW"), regime=TaxRegime.CA)
    assert booked.lots == {"ACB-NEW": ("NEW", 50, 660)}


def test_a_delisting_for_cash_sells_every_lot():
    """12.50 a share for 10 and 5 shares: gains by lot, each with its term, and no lot is left."""
    held = [lot("a", "2017-01-03", 10, "100", ticker="END"), lot("b", "2018-03-01", 5, "70", ticker="END")]
    booked = Booked(held, action(ActionType.DELISTING, "12.5", ticker="END"))
    assert (booked.lots, booked.cash) == ({}, Decimal("187.50"))
    assert [(row.lot_id, row.realized_gain, row.term) for row in booked.rows] == [
        ("a", 25, Term.LONG),
        ("b", Decimal("-7.50"), Term.SHORT),
    ]


@pytest.mark.parametrize("regime", list(TaxRegime))
def test_a_worthless_security_is_a_loss_of_its_basis(regime):
    """Delisted at zero: the whole adjusted basis is lost, and the loss locks purchases like that of a sale."""
    held = lot("a", "2017-01-03", 10, "100", ticker="END", adjusted="120")
    booked = Booked([held], action(ActionType.DELISTING, "0", ticker="END"), regime=regime)
    assert (booked.lots, booked.cash, booked.gain) == ({}, 0, -120)
    (loss,) = recent_trades_of(booked.state, "A", LATER, booked.terms)
    assert (loss.ticker, loss.quantity, loss.realized_gain) == ("END", 10, -120)


def test_a_loss_of_a_security_sold_out_follows_its_symbol_and_splits():
    """Sold out at a loss, then renamed and split: the loss still locks the new symbol, in new shares."""
    sale = Sell(account="A", event_id="e", trade_date=EX_DATE, ticker="OLD", quantity=Decimal(10), amount=Decimal(50))
    changes = new_symbol("OLD", "NEW", on=LATER), action(ActionType.SPLIT, "2", ticker="NEW", on=LATER)
    booked = Booked([lot("a", "2017-01-03", 10, "100", ticker="OLD"), sale], *changes)
    assert booked.lots == {}
    (loss,) = recent_trades_of(booked.state, "A", date(2018, 6, 5), booked.terms)
    assert (loss.ticker, loss.quantity, loss.realized_gain) == ("NEW", 20, -50)


def test_trades_swap_their_symbols_at_once():
    """Each of two changes of a day turns each trade once, never twice."""
    held = [lot(name, "2018-05-25", 1, "10", ticker=name) for name in ("P", "Q")]
    booked = Booked(held, new_symbol("P", "Q"), new_symbol("Q", "P"))
    trades = recent_trades_of(booked.state, "A", LATER, booked.terms)
    assert [(trade.lot_id, trade.ticker) for trade in trades] == [("P", "Q"), ("Q", "P")]
