"""Each tie rule changes what its text says, and nothing else does; docs/specs/accounting.md has the sources."""

from datetime import date

import pytest

from prometheus.accounting.tie_rules import DEFAULT_TIES, tie_rules
from prometheus.foundation.errors import ConfigurationError
from tests.unit.accounting.told import Told

TWO_LOSSES = """
    2018-01-02,A,X,BUY,10,100,early
    2018-02-02,A,X,BUY,10,200,late
    2019-06-03,A,X,SELL,10,80,late
    2019-06-03,A,X,SELL,10,79,early
    2019-06-10,A,X,BUY,10,90,new
"""
TWO_PURCHASES = """
    2018-01-02,A,X,BUY,10,100,old
    2019-06-03,A,X,SELL,10,80,old
    2019-06-03,A,X,BUY,10,90,first
    2019-06-03,A,X,BUY,10,95,second
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
DAY_TRADE = """
    2018-01-02,A,X,BUY,10,200,old
    2019-06-03,A,X,SELL,10,80
    2019-06-03,A,X,BUY,5,60,new
"""


def lots(text, **choices: str):
    """Book a history under tie rules and return the adjusted bases of the lots held."""
    told = Told(text, ties=tie_rules(choices))
    return {name: lot.adjusted_basis for (_, name), lot in told.lots.items()}


@pytest.mark.parametrize(("choice", "basis"), [("BY_ACQUISITION", 111), ("BY_EXECUTION", 210)])
def test_same_day_losses(choice, basis):
    """The loss of 21 on the lot acquired first, or that of 120 which the broker executed first, meets the purchase."""
    from prometheus.accounting.entry_file import read_entries
    from prometheus.accounting.household import book_entries
    from prometheus.accounting.household_ledger import HouseholdSettings

    rows = [line.strip() for line in TWO_LOSSES.strip().splitlines()]
    header = "date,account,ticker,action,quantity,amount,lot_id,entry_id"
    text = "\n".join([header, *(f"{row},e{number}" for number, row in enumerate(rows))])
    books = book_entries(read_entries(text).entries, HouseholdSettings(ties=tie_rules({"same_day_losses": choice})))
    assert [lot.adjusted_basis for lot in books.lots["A"]] == [basis]


@pytest.mark.parametrize(("choice", "expected"), [("EARLIEST_FIRST", "a"), ("LATEST_FIRST", "b")])
def test_replacement_order(choice, expected):
    """The loss of 20 goes to the purchase of the earlier day, or to that of the later."""
    text = """
        2018-01-02,A,X,BUY,10,100,old
        2019-05-20,A,X,BUY,10,90,a
        2019-05-21,A,X,BUY,10,90,b
        2019-06-03,A,X,SELL,10,80,old
    """
    assert lots(text, replacement_order=choice) == {"a": 90, "b": 90} | {expected: 110}


@pytest.mark.parametrize(
    ("choice", "sold", "held"),
    [("SALES_FIRST", [("old", 10)], {"new": 120}), ("PURCHASES_FIRST", [("old", 10)], {"new": 120})],
)
def test_same_day_trades_meet_in_either_order(choice, sold, held):
    """Whether the day's purchase is booked before or after the sale, it replaces five of the ten sold: 120 x 5/10."""
    told = Told(DAY_TRADE, ties=tie_rules({"same_day_trades": choice}))
    assert [(sale.lot_id, sale.quantity) for sale in told.sales] == sold
    assert {name: lot.adjusted_basis for (_, name), lot in told.lots.items()} == held


@pytest.mark.parametrize(("choice", "basis"), [("SALES_FIRST", 100), ("PURCHASES_FIRST", 150)])
def test_same_day_trades_decide_a_canadian_cost(choice, basis):
    """Ten for 100 are sold on the day ten more are bought for 200: they cost 100, or the average of 300/20 each."""
    from prometheus.domain.accounts import TaxRegime

    text = "2019-01-02,A,X,BUY,10,100\n2019-06-03,A,X,SELL,10,300\n2019-06-03,A,X,BUY,10,200"
    told = Told(text, ties=tie_rules({"same_day_trades": choice}), regime=TaxRegime.CA)
    assert told.sales[0].basis == basis


@pytest.mark.parametrize(("choice", "start"), [("DAYS_HELD", date(2018, 1, 9)), ("ACQUISITION_DATE", date(2018, 1, 2))])
def test_tacking(choice, start):
    """The week between sale and purchase is left out of the replacement's holding period, or counted in."""
    text = OTHER_ACCOUNT.replace(",B,", ",A,")
    told = Told(text, ties=tie_rules({"tacking": choice}))
    assert told.lots["A", "new"].holding_period_start == start


@pytest.mark.parametrize(("choice", "sold"), [("LOT_ID", "a"), ("SMALLEST_FIRST", "b"), ("LARGEST_FIRST", "a")])
def test_equal_lots(choice, sold):
    """Of two lots of one day FIFO sells the one first in name, or the smaller, or the larger."""
    text = "2018-01-02,A,X,BUY,10,100,a\n2018-01-02,A,X,BUY,5,60,b\n2019-06-03,A,X,SELL,5,80"
    told = Told(text, ties=tie_rules({"equal_lots": choice}))
    assert [sale.lot_id for sale in told.sales] == [sold]


@pytest.mark.parametrize(("choice", "basis"), [("HOUSEHOLD", 110), ("ACCOUNT", 90)])
def test_scope(choice, basis):
    """The household's rule looks at account B; what A's broker reports on Form 1099-B does not."""
    assert lots(OTHER_ACCOUNT, scope=choice) == {"new": basis}


@pytest.mark.parametrize(("choice", "basis"), [("true", 110), ("false", 90)])
def test_earlier_purchases_replace(choice, basis):
    """A purchase before that of the shares sold, but inside the window, replaces them or does not."""
    assert lots(BEFORE_THE_SOLD, earlier_purchases_replace=choice) == {"before": basis}


@pytest.mark.parametrize(("choice", "basis"), [("true", 110), ("false", 90)])
def test_same_day_purchases_replace(choice, basis):
    """Another lot bought on the day of the sold one replaces it or counts as the same purchase."""
    assert lots(SAME_DAY, same_day_purchases_replace=choice) == {"twin": basis}


def test_two_purchases_of_a_day_serve_in_the_order_of_their_names():
    """Among purchases of one day the first in name serves first."""
    assert lots(TWO_PURCHASES) == {"first": 110, "second": 95}


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
