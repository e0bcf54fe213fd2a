"""A security has one symbol and one morning, whoever tells of them; and what is denied is reported by where it went."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.accounting.entry_file import read_entries
from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings
from prometheus.accounting.lot_report import sale_lines_of
from prometheus.accounting.tax_forms import schedule_3
from prometheus.domain.accounts import TaxRegime

HEADER = "date,account,ticker,action,quantity,amount,lot_id,group,account_type,acquired_on,other_ticker\n"


def told(text, regime=TaxRegime.US):
    """Book a history."""
    rows = "\n".join(line.strip() for line in text.strip().splitlines())
    found = read_entries(HEADER + rows + "\n")
    assert not found.findings, found.findings
    return book_entries(found.entries, HouseholdSettings(regime=regime, sheltered=found.sheltered))


def outcome(books):
    """Return lots and losses without the names that rows have."""
    lots = {
        (lot.ticker, lot.acquired_on, lot.quantity, lot.adjusted_basis) for lots in books.lots.values() for lot in lots
    }
    return lots, [(line.sold_on, line.realized_gain, line.disallowed_loss) for line in sale_lines_of(books)]


@pytest.mark.parametrize("regime", TaxRegime)
def test_a_new_symbol_is_the_same_however_it_is_learned(regime):
    """Listed by one account, by both, or by the second a week later under whose old symbol rows go on: same books."""
    before = """2019-01-02,A,OLD,BUY,10,100,a1
        2019-01-02,B,OLD,BUY,20,260,b1
        2019-06-03,B,OLD,SELL,10,80
        2019-06-04,A,OLD,RENAME,,,,,,,NEW
        """
    after = "2019-06-06,B,{0},SELL,5,45\n2019-06-10,A,NEW,BUY,10,90,a2\n2019-06-12,B,NEW,SELL,5,40\n"
    same_day, later = (f"2019-06-{day},B,OLD,RENAME,,,,,,,NEW\n" for day in ("04", "11"))
    listed = told(before + same_day + after.format("NEW"), regime)
    assert listed.findings == ()
    assert sum(line.disallowed_loss for line in sale_lines_of(listed)) > 0
    for text in (after.format("NEW"), after.format("OLD"), after.format("OLD") + later):
        books = told(before + text, regime)
        assert books.findings == ()
        assert outcome(books) == outcome(listed)


def test_a_former_symbol_means_another_company_to_whoever_never_held_the_first():
    """An account without the shares buys the old symbol after the change: that is a security of its own."""
    books = told("2019-01-02,A,OLD,BUY,10,100\n2019-06-04,A,OLD,RENAME,,,,,,,NEW\n2019-06-10,B,OLD,BUY,5,50")
    assert books.positions == {("A", "NEW"): 10, ("B", "OLD"): 5}


def test_a_split_on_the_opening_day_is_in_the_opening_lots():
    """Lots handed over on a day are those after its actions, as in the database; the row is refused with a remedy."""
    books = told("2019-06-03,A,X,OPEN,20,100,a,,,2018-01-02\n2019-06-03,A,X,SPLIT,2,")
    assert [(found.row, found.code) for found in books.findings] == [(3, "ON_OPENING_DAY")]
    assert books.positions == {("A", "X"): 20}


@pytest.mark.parametrize(
    ("event", "disallowed", "basis"),
    [
        # two old shares become half a one, paid 1.00: 20 lost on half a share, one half of b replaces all of it
        ("2019-06-10,A,X,SPLIT,0.25,1", 19, 25),
        # nothing is paid for two shares: 20 lost on two shares; one share of b replaces one of them
        ("2019-06-10,A,X,DELIST,,0", 10, 16),
    ],
)
def test_a_morning_loss_meets_purchases_already_made(event, disallowed, basis):
    """Cash in lieu and a delisting are sales: what was bought of the group in the thirty days before replaces them."""
    books = told(f"2018-01-02,A,X,BUY,2,20,a,G\n2019-06-03,A,Y,BUY,1,6,b,G\n{event}")
    (line,) = sale_lines_of(books)
    assert line.disallowed_loss == disallowed
    assert sum(lot.adjusted_basis for lot in books.lots["A"]) == basis


def test_a_morning_loss_comes_before_the_day_s_sales():
    """One share of b is all that can replace: the cash in lieu of the morning takes half, the day's sale the rest."""
    books = told(
        """2018-01-02,A,X,BUY,2,20,a,G
        2017-01-02,A,Z,BUY,1,30,z,G
        2019-06-03,A,Y,BUY,1,6,b,G
        2019-06-10,A,X,SPLIT,0.25,1
        2019-06-10,A,Z,SELL,1,10,z"""
    )
    assert {line.ticker: line.disallowed_loss for line in sale_lines_of(books)} == {"X": 19, "Z": 10}


def test_a_delisting_waits_for_what_its_account_trades_that_day():
    """Shares sold on the day of the delisting are sold first, and only what is left is disposed of."""
    books = told("2018-01-02,A,X,BUY,4,40,a\n2019-06-10,A,X,SELL,1,5\n2019-06-10,A,X,DELIST,,3")
    assert [(line.quantity, line.proceeds) for line in sale_lines_of(books)] == [(1, 5), (3, 3)]


def test_denied_parts_of_one_loss_are_reported_apart():
    """Of ten denied shares four go to the owner's cost (8), six are lost for good (12): the line names both."""
    books = told(
        """2019-01-02,A,X,BUY,10,100
        2019-06-03,A,X,SELL,10,80
        2019-06-10,A,X,BUY,4,40
        2019-06-11,P,X,BUY,6,60,,,TFSA""",
        TaxRegime.CA,
    )
    (sale,) = sale_lines_of(books)
    assert [(part.shares, part.amount, part.permanent) for part in sale.replacements] == [(4, 8, False), (6, 12, True)]
    (line,) = schedule_3([sale])
    assert (line.denied_loss, line.added_to_cost, line.denied_for_good, line.gain) == (20, 8, 12, 0)
    assert line.sold_on == date(2019, 6, 3)
    assert books.lots["owner"][0].adjusted_basis == Decimal(48)
