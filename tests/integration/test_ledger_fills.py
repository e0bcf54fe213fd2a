"""Executions in the database: each once, late ones in their place, cancelled ones reversed."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.foundation.errors import AccountingError
from prometheus.ingestion.ingest import IngestOptions, ingest_file
from prometheus.ingestion.kinds import FileKind
from tests.integration.ledger_books import (
    FRIDAY,
    MONDAY,
    TUESDAY,
    booking,
    books_held,
    load_files,
    lots_held,
    open_all,
    posted,
)

ACTIONS = "corporate_actions.csv"

FILES = {
    "securities.csv": "ticker,name,sector,sub_industry\nAAA,Alpha,Energy,\nBBB,Beta,Energy,\n",
    "prices.csv": "date,ticker,close,volume\n2018-05-31,AAA,10,1\n2018-06-06,AAA,5,1\n2018-06-06,BBB,20,1\n",
    "benchmark.csv": "date,ticker,weight\n2018-05-31,AAA,0.5\n2018-05-31,BBB,0.5\n",
    ACTIONS: "date,ticker,type,value\n2018-06-06,AAA,split,2\n2018-06-06,AAA,dividend,0.5\n",
    "accounts.csv": (
        "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
        "fractional_shares,tags\n"
        "ACC-1,One,US,USD,US,HIFO,SP500,0.37,0.2,0,10000,true,\n"
        "ACC-2,Two,CA,CAD,CA,ACB,SP500,0.25,0.25,0,10000,true,\n"
    ),
    "lots.csv": (
        "account_id,lot_id,ticker,acquired_on,quantity,cost_basis\n"
        "ACC-1,L1,AAA,2017-01-03,100,2000\nACC-2,L1,AAA,2017-01-03,100,2000\n"
    ),
}


@pytest.fixture
def fleet(database, tmp_path):
    """Two accounts with a lot and cash each, their books open; the week's actions are those of one test."""
    load_files(database, tmp_path, {name: text for name, text in FILES.items() if name != ACTIONS})
    open_all(database, date(2018, 6, 1))
    return database


@pytest.fixture
def book(fleet):
    """Books fills of an account and returns how many were new; the books must be those of the events afterwards."""
    book = booking(fleet)
    return lambda *fills, account="ACC-1", **options: book(account, *fills, **options)


def sale(name, day, quantity, price, *picks: tuple[str, str]):
    """A sale of AAA."""
    chosen = tuple(LotPick(lot, Decimal(part)) for lot, part in picks)
    return Fill(name, "AAA", Side.SELL, day, Decimal(quantity), Decimal(price), lot_picks=chosen)


def purchase(name, day, quantity, price, fee="0"):
    """A purchase of AAA."""
    return Fill(name, "AAA", Side.BUY, day, Decimal(quantity), Decimal(price), Decimal(fee), new_lot_id=f"N-{name}")


def lots(database, account="ACC-1"):
    """Return shares and adjusted basis of the lots held."""
    return lots_held(database, account)


def test_partial_fills_at_several_prices(fleet, book):
    """Three executions of one order are three sales, each at its own price, out of one lot."""
    count = book(
        sale("e1", MONDAY, 30, "21", ("L1", "30")),
        sale("e2", MONDAY, 30, "22", ("L1", "30")),
        sale("e3", MONDAY, 10, "23.5", ("L1", "10")),
    )
    assert count == 3
    assert lots(fleet) == {"L1": (30, 600)}
    assert books_held(fleet, "ACC-1").cash == 10_000 + 630 + 660 + 235


def test_a_fill_that_comes_twice_is_booked_once(fleet, book):
    """The same execution again, alone or among new ones, changes nothing; with other content it is refused."""
    first = sale("e1", MONDAY, 30, "21", ("L1", "30"))
    assert [book(first), book(first), book(first, purchase("b1", TUESDAY, 5, "20"))] == [1, 0, 1]
    with pytest.raises(AccountingError) as refused:
        book(sale("e1", MONDAY, 31, "21", ("L1", "31")))
    assert refused.value.code == "EVENT_DIFFERS"
    assert lots(fleet)["L1"] == (70, 1400)


def test_a_late_fill_finds_its_place(fleet, book):
    """A purchase of Monday that arrives on Friday washes Tuesday's loss, as it would have on Monday."""
    book(sale("e1", TUESDAY, 40, "15", ("L1", "40")))
    assert book(purchase("b1", MONDAY, 10, "16"), as_of=FRIDAY) == 1
    # the loss is 200 on 40; ten shares replace ten: 160 + 50
    assert lots(fleet) == {"L1": (60, 1200), "N-b1": (10, 210)}


def test_a_late_fill_goes_through_the_split_it_missed(fleet, book, tmp_path):
    """Bought on Monday, reported on Friday, ten shares are twenty since Wednesday's split, with its dividend."""
    (tmp_path / ACTIONS).write_text(FILES[ACTIONS])
    options = IngestOptions(today=date(2018, 6, 10))
    assert ingest_file(fleet, tmp_path / ACTIONS, FileKind.ACTIONS, options=options).loaded
    book(as_of=FRIDAY)
    assert lots(fleet) == {"L1": (200, 2000)}
    book(purchase("b1", MONDAY, 10, "16"), as_of=FRIDAY)
    assert lots(fleet) == {"L1": (200, 2000), "N-b1": (20, 160)}
    # 10,000 - 160, and 0.5 for each of 220 shares after the split
    assert books_held(fleet, "ACC-1").cash == 10_000 - 160 + 110


def test_a_cancelled_fill_is_taken_back_once(fleet, book):
    """The purchase that washed a loss is cancelled: the loss counts again; cancelling twice changes nothing more."""
    book(sale("e1", MONDAY, 40, "15", ("L1", "40")))
    book(purchase("b1", TUESDAY, 10, "16"))
    assert lots(fleet)["N-b1"] == (10, 210)
    assert book(cancelled=["b1"]) == 1
    assert lots(fleet) == {"L1": (60, 1200)}
    assert book(cancelled=["b1"]) == 0
    assert book(purchase("b1", TUESDAY, 10, "16")) == 0, "a cancelled execution does not come back by itself"
    with pytest.raises(AccountingError, match="names no event of ACC-1"):
        book(cancelled=["never"])


def test_postings_only_grow(fleet, book):
    """A cancellation appends postings that say what they reverse; none that was written is altered."""
    book(purchase("b1", TUESDAY, 10, "16"))
    before = posted(fleet, "ACC-1")
    book(cancelled=["b1"])
    after = posted(fleet, "ACC-1")
    assert after[: len(before)] == before
    assert [(row.kind, row.reverses is not None, row.cash) for row in after[len(before) :]] == [("BUY", True, 160)]


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\\b", "\\N", "W1~", 'a"b', "é中"])
def test_odd_names_come_through(fleet, book, name):
    """A lot called with a tab, a line break, a backslash, a quote or letters of any script is booked like another."""
    fill = Fill("b1", "AAA", Side.BUY, MONDAY, Decimal(1), Decimal(5), new_lot_id=name)
    assert book(fill) == 1
    assert lots(fleet)[name] == (1, 5)


def test_a_cancelled_purchase_that_was_sold_is_refused(book):
    """Where a later sale needs the shares the cancellation is refused, and says which sale."""
    book(purchase("b1", MONDAY, 10, "16"))
    book(sale("e1", TUESDAY, 10, "17", ("N-b1", "10")))
    with pytest.raises(AccountingError) as refused:
        book(cancelled=["b1"])
    assert refused.value.code == "LOTS_GONE"
