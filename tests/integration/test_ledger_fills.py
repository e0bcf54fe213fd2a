"""Executions in the database, and the tax report of what they leave."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text

from prometheus.db.repositories.accounts import journal_since, load_books
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.foundation.errors import AccountingError
from tests.integration.ledger_books import FRIDAY, MONDAY, TUESDAY, booking, load_files, lots_held

FILES = {
    "securities.csv": "ticker,name,sector,sub_industry\nAAA,Alpha,Energy,\nBBB,Beta,Energy,\n",
    "prices.csv": "date,ticker,close,volume\n2018-05-31,AAA,10,1\n2018-06-06,AAA,5,1\n2018-06-06,BBB,20,1\n",
    "benchmark.csv": "date,ticker,weight\n2018-05-31,AAA,0.5\n2018-05-31,BBB,0.5\n",
    "corporate_actions.csv": "date,ticker,type,value\n2018-06-06,AAA,split,2\n2018-06-06,AAA,dividend,0.5\n",
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
GROUPS = {"AAA": "AAA", "BBB": "BBB"}


@pytest.fixture
def fleet(database, tmp_path):
    """Two accounts with a lot and cash each."""
    load_files(database, tmp_path, FILES)
    with database.transaction() as connection:
        # The books are moved on by hand, without the mornings between: their actions are looked at, and left alone.
        connection.execute(text("UPDATE accounts SET actions_seen = (SELECT max(change_id) FROM corporate_actions)"))
    return database


@pytest.fixture
def book(fleet):
    """Books fills of an account and returns how many were new; the tables must equal the journal afterwards."""
    book = booking(fleet, GROUPS)
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
    with fleet.transaction() as connection:
        assert load_books(connection, "ACC-1").cash == 10_000 + 630 + 660 + 235


def test_a_fill_that_comes_twice_is_booked_once(fleet, book):
    """The same execution again, alone or among new ones, changes nothing; with other content it is refused."""
    first = sale("e1", MONDAY, 30, "21", ("L1", "30"))
    assert [book(first), book(first), book(first, purchase("b1", TUESDAY, 5, "20"))] == [1, 0, 1]
    with pytest.raises(AccountingError) as refused:
        book(sale("e1", MONDAY, 31, "21", ("L1", "31")))
    assert refused.value.code == "EXECUTION_DIFFERS"
    assert lots(fleet)["L1"] == (70, 1400)


def test_a_late_fill_finds_its_place(fleet, book):
    """A purchase of Monday that arrives on Friday washes Tuesday's loss, as it would have on Monday."""
    book(sale("e1", TUESDAY, 40, "15", ("L1", "40")))
    assert book(purchase("b1", MONDAY, 10, "16"), as_of=FRIDAY) == 1
    # the loss is 200 on 40; ten shares replace ten: 160 + 50
    assert lots(fleet) == {"L1": (60, 1200), "N-b1": (10, 210)}


def test_a_late_fill_goes_through_the_split_it_missed(fleet, book):
    """Bought on Monday, reported on Friday, ten shares are twenty since Wednesday's split, with its dividend."""
    with fleet.transaction() as connection:
        connection.execute(text("UPDATE accounts SET books_as_of = '2018-06-04'"))
    with fleet.transaction() as connection:
        from prometheus.accounting.corporate_actions import apply_corporate_actions
        from prometheus.db.repositories.accounts import save_books
        from prometheus.db.repositories.market_data import closes_on, corporate_actions
        from prometheus.domain.accounts import TaxRegime

        before = load_books(connection, "ACC-1")
        actions = corporate_actions(connection, after=MONDAY, through=FRIDAY)
        after, rows = apply_corporate_actions(
            before,
            actions,
            closes=closes_on(connection, [(action.ticker, action.ex_date) for action in actions]),
            regime=TaxRegime.US,
            fractional=True,
        )
        save_books(connection, "ACC-1", before=before, after=after, transactions=rows, books_as_of=FRIDAY)
    book(purchase("b1", MONDAY, 10, "16"), as_of=FRIDAY)
    assert lots(fleet) == {"L1": (200, 2000), "N-b1": (20, 160)}
    with fleet.transaction() as connection:
        # 10,000 - 160, and 0.5 for each of 220 shares after the split
        assert load_books(connection, "ACC-1").cash == 10_000 - 160 + 110


def test_a_cancelled_fill_is_taken_back_once(fleet, book):
    """The purchase that washed a loss is cancelled: the loss counts again; cancelling twice changes nothing more."""
    book(sale("e1", MONDAY, 40, "15", ("L1", "40")))
    book(purchase("b1", TUESDAY, 10, "16"))
    assert lots(fleet)["N-b1"] == (10, 210)
    assert book(cancelled=["b1"]) == 1
    assert lots(fleet) == {"L1": (60, 1200)}
    assert book(cancelled=["b1"]) == 0
    assert book(purchase("b1", TUESDAY, 10, "16")) == 0, "a cancelled execution does not come back by itself"
    with pytest.raises(AccountingError, match="is not in the journal"):
        book(cancelled=["never"])


def test_the_journal_only_grows(fleet, book):
    """A cancellation appends rows that say what they take back; none that was written is altered."""
    book(purchase("b1", TUESDAY, 10, "16"))
    with fleet.transaction() as connection:
        before = journal_since(connection, "ACC-1", date.min)
    book(cancelled=["b1"])
    with fleet.transaction() as connection:
        after = journal_since(connection, "ACC-1", date.min)
    assert after[: len(before)] == before
    assert [(row.txn_type, row.details["reverses"], row.amount) for row in after[len(before) :]] == [
        ("REVERSAL", "BUY", 160)
    ]


def test_a_cancelled_purchase_that_was_sold_is_refused(book):
    """Where a later sale needs the shares the cancellation is refused, and says which sale."""
    book(purchase("b1", MONDAY, 10, "16"))
    book(sale("e1", TUESDAY, 10, "17", ("N-b1", "10")))
    with pytest.raises(AccountingError) as refused:
        book(cancelled=["b1"])
    assert refused.value.code == "LOTS_GONE"
