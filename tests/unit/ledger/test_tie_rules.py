"""Each tie rule changes what its text says, and nothing else does; docs/specs/ledger.md has the sources."""

from datetime import date

import pytest

from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.tie_rules import DEFAULT_TIES, tie_rules
from tests.unit.ledger.told import Told

TWO_LOSSES = """
    2018-01-02,A,X,BUY,10,100,early,,,e0
    2018-02-02,A,X,BUY,10,200,late,,,e1
    2019-06-03,A,X,SELL,10,80,late,,,e2
    2019-06-03,A,X,SELL,10,79,early,,,e3
    2019-06-10,A,X,BUY,10,90,new,,,e4
"""
BEFORE_THE_SOLD = """
    2019-05-20,A,X,BUY,10,90,before
    2019-05-24,A,X,BUY,10,100,sold
    2019-06-03,A,X,SELL,10,80,sold
"""
SAME_DAY = """
    2019-05-20,A,X,BUY,10,100,sold
    2019-05-20,A,X,BUY,10,90,twin
    2019-06-03,A,X,SELL,10,80,sold
"""
OTHER_ACCOUNT = """
    2018-01-02,A,X,BUY,10,100,old
    2019-06-03,A,X,SELL,10,80,old
    2019-06-10,B,X,BUY,10,90,new
"""


def bases(text, **choices: str):
    """Book a history under tie rules and return the adjusted bases of the lots held."""
    told = Told(text, ties=tie_rules(choices))
    return {key.lot_id: lot.adjusted_basis for key, lot in told.lots.items()}


@pytest.mark.parametrize(("choice", "basis"), [("BY_ACQUISITION", 111), ("BY_EXECUTION", 210)])
def test_same_day_losses(choice, basis):
    """The loss of 21 on the lot acquired first, or that of 120 which the broker executed first, meets the purchase."""
    assert bases(TWO_LOSSES, same_day_losses=choice) == {"new": basis}


@pytest.mark.parametrize(("choice", "expected"), [("EARLIEST_FIRST", "a"), ("LATEST_FIRST", "b")])
def test_replacement_order(choice, expected):
    """The loss of 20 goes to the purchase of the earlier day, or to that of the later."""
    text = """
        2018-01-02,A,X,BUY,10,100,old
        2019-05-20,A,X,BUY,10,90,a
        2019-05-21,A,X,BUY,10,90,b
        2019-06-03,A,X,SELL,10,80,old
    """
    assert bases(text, replacement_order=choice) == {"a": 90, "b": 90} | {expected: 110}


@pytest.mark.parametrize("choice", ["SALES_FIRST", "PURCHASES_FIRST"])
def test_same_day_trades_meet_in_either_order(choice):
    """Whether the day's purchase is booked before or after the sale, it replaces five of the ten sold: 120 x 5/10."""
    text = """
        2018-01-02,A,X,BUY,10,200,old
        2019-06-03,A,X,SELL,10,80
        2019-06-03,A,X,BUY,5,60,new
    """
    assert bases(text, same_day_trades=choice) == {"new": 120}


@pytest.mark.parametrize(("choice", "start"), [("DAYS_HELD", date(2018, 1, 9)), ("ACQUISITION_DATE", date(2018, 1, 2))])
def test_tacking(choice, start):
    """The week between sale and purchase is left out of the replacement's holding period, or counted in."""
    told = Told(OTHER_ACCOUNT.replace(",B,", ",A,"), ties=tie_rules({"tacking": choice}))
    assert told.lot("new").holding_period_start == start


@pytest.mark.parametrize(("choice", "sold"), [("LOT_ID", "a"), ("SMALLEST_FIRST", "b"), ("LARGEST_FIRST", "a")])
def test_equal_lots(choice, sold):
    """Of two lots of one day FIFO sells the one first in name, or the smaller, or the larger."""
    text = "2018-01-02,A,X,BUY,10,100,a\n2018-01-02,A,X,BUY,5,60,b\n2019-06-03,A,X,SELL,5,80"
    told = Told(text, ties=tie_rules({"equal_lots": choice}))
    assert [sale.lot_id for sale in told.sales] == [sold]


@pytest.mark.parametrize(("choice", "basis"), [("HOUSEHOLD", 110), ("ACCOUNT", 90), ("FORM_1099B", 90)])
def test_scope(choice, basis):
    """The household's rule looks at account B; what A's broker reports on Form 1099-B does not."""
    assert bases(OTHER_ACCOUNT, scope=choice) == {"new": basis}


@pytest.mark.parametrize(("choice", "basis"), [("true", 110), ("false", 90)])
def test_earlier_purchases_replace(choice, basis):
    """A purchase before that of the shares sold, but inside the window, replaces them or does not."""
    assert bases(BEFORE_THE_SOLD, earlier_purchases_replace=choice) == {"before": basis}


@pytest.mark.parametrize(("choice", "basis"), [("true", 110), ("false", 90)])
def test_same_day_purchases_replace(choice, basis):
    """Another lot bought on the day of the sold one replaces it or counts as the same purchase."""
    assert bases(SAME_DAY, same_day_purchases_replace=choice) == {"twin": basis}


def test_no_choice_is_the_default():
    """Rules not named keep the reading of the specification."""
    assert tie_rules({}) == DEFAULT_TIES


@pytest.mark.parametrize(
    ("choices", "said"), [({"tacks": "x"}, "there are same_day_losses"), ({"scope": "x"}, "one of household, account")]
)
def test_unknown_rules_are_refused(choices, said):
    """A rule or choice that nobody knows is refused with those there are."""
    with pytest.raises(ConfigurationError, match=said):
        tie_rules(choices)


@pytest.mark.parametrize(
    ("choice", "recognized", "disallowed"), [("ACCOUNT", [20, -30], 0), ("FORM_1099B", [-10, 0], 30)]
)
def test_to_the_letter_shares_sold_again_replace(choice, recognized, disallowed):
    """Bought in the window and sold at a gain of 20 before the loss of 30: a form lets that sale carry the loss."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-05-20,A,X,BUY,10,60,new
        2019-05-27,A,X,SELL,10,80,new
        2019-06-03,A,X,SELL,10,70,old
        """,
        ties=tie_rules({"scope": choice}),
    )
    carried = {row.loss.resold: row.realized_gain for row in told.postings if row.loss and row.loss.resold}
    gains = [
        sale.recognized_gain + carried.get(sale.posting.event, 0) * (sale.realized_gain > 0) for sale in told.sales
    ]
    assert (gains, told.disallowed) == (recognized, disallowed)


def test_to_the_letter_held_and_sold_shares_of_a_purchase_both_replace():
    """Of ten bought six are sold again: the loss on ten meets the four that are held and the six that were sold."""
    told = Told(
        """
        2018-01-02,A,X,BUY,10,100,old
        2019-05-20,A,X,BUY,10,60,new
        2019-05-27,A,X,SELL,6,48,new
        2019-06-03,A,X,SELL,10,70,old
        """,
        ties=tie_rules({"scope": "FORM_1099B"}),
    )
    assert told.disallowed == 30
    assert [(lot.quantity, lot.adjusted_basis) for lot in told.lots.values()] == [(4, 24 + 12)]
    assert sum(row.realized_gain for row in told.postings) == 48 + 70 - 100 - 36 + 12
