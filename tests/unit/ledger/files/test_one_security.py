"""A security has one symbol and one morning, whoever tells of them; and what is denied is reported by where it went."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRegime
from prometheus.ledger.files.book_file import FileSettings, book_file
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_rows import form_rows
from prometheus.ledger.reports.request import ReportRequest, household_report
from tests.unit.ledger.told_file import positions

HEADER = "date,account,ticker,action,quantity,amount,lot_id,group,account_type,acquired_on,other_ticker\n"


def told(text, regime=TaxRegime.US):
    """Book a history."""
    rows = "\n".join(line.strip() for line in text.strip().splitlines())
    return book_file(HEADER + rows + "\n", FileSettings(regime=regime))


def sale_lines_of(booked):
    """Return the dispositions of a history."""
    return disposition_lines(booked.books.postings, booked.books.terms, as_of=booked.books.as_of)


def outcome(booked):
    """Return lots and losses without the names that rows have."""
    lots = {(lot.ticker, lot.acquired_on, lot.quantity, lot.adjusted_basis) for lot in booked.books.state.lots.values()}
    return lots, [(line.sold_on, line.realized_gain, line.disallowed_loss) for line in sale_lines_of(booked)]


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
    assert listed.left_out == ()
    assert sum(line.disallowed_loss for line in sale_lines_of(listed)) > 0
    for text in (after.format("NEW"), after.format("OLD"), after.format("OLD") + later):
        books = told(before + text, regime)
        assert books.left_out == ()
        assert outcome(books) == outcome(listed)


def test_a_former_symbol_means_another_company_to_whoever_never_held_the_first():
    """An account without the shares buys the old symbol after the change: that is a security of its own."""
    books = told("2019-01-02,A,OLD,BUY,10,100\n2019-06-04,A,OLD,RENAME,,,,,,,NEW\n2019-06-10,B,OLD,BUY,5,50")
    assert positions(books.books) == {("A", "NEW"): 10, ("B", "OLD"): 5}


def test_a_split_on_the_opening_day_is_in_the_opening_lots():
    """Lots handed over on a day are those after its actions, as in the database; the row is refused with a remedy."""
    books = told("2019-06-03,A,X,OPEN,20,100,a,,,2018-01-02\n2019-06-03,A,X,SPLIT,2,")
    assert [(found.row, found.code) for found in books.findings] == [(3, "ON_OPENING_DAY")]
    assert positions(books.books) == {("A", "X"): 20}


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
    assert sum(lot.adjusted_basis for lot in books.books.state.lots.values()) == basis


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
    assert sorted((line.quantity, line.proceeds) for line in sale_lines_of(books)) == [(1, 5), (3, 3)]


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
    assert [(part.shares, part.amount, part.is_permanent) for part in sale.replacements] == [
        (4, 8, False),
        (6, 12, True),
    ]
    (row,) = form_rows([household_report(books.books, ReportRequest())], TaxRegime.CA).rows
    assert row[11:15] == (20, 8, 12, 0)
    assert sale.sold_on == date(2019, 6, 3)
    assert sum(lot.adjusted_basis for lot in books.books.state.lots.values() if lot.account == "A") == Decimal(48)
