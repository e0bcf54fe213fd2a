"""Households in the database: losses and purchases of one taxpayer meet across accounts, in any order."""

import threading
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text

from prometheus.bookkeeping.ledger import book_executed
from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.bookkeeping.ledger_view import read_books, recent_trades_of
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from tests.integration.ledger_books import (
    FRIDAY,
    MONDAY,
    TUESDAY,
    booking,
    differences,
    load_files,
    lots_held,
    open_all,
    posted,
)

HEADER = (
    "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
    "fractional_shares,tags,household,account_type\n"
)
FILES = {
    "securities.csv": "ticker,name,sector,sub_industry,group\nAAA,Alpha,Energy,,TWINS\nAAB,Alpha B,Energy,,TWINS\n",
    "prices.csv": "date,ticker,close,volume\n2018-05-31,AAA,10,1\n2018-05-31,AAB,10,1\n",
    "benchmark.csv": "date,ticker,weight\n2018-05-31,AAA,0.5\n2018-05-31,AAB,0.5\n",
    "accounts.csv": HEADER
    + "A,One,US,USD,US,HIFO,SP500,0.37,0.2,0,10000,true,,SMITH,\n"
    + "B,Two,US,USD,US,HIFO,SP500,0.37,0.2,0,10000,true,,SMITH,\n"
    + "IRA,Three,US,USD,US,HIFO,SP500,0,0,0,10000,true,,SMITH,IRA\n"
    + "OTHER,Four,US,USD,US,HIFO,SP500,0.37,0.2,0,10000,true,,,\n"
    + "CA,Five,CA,CAD,CA,ACB,SP500,0.25,0.25,0,10000,true,,ROY,\n"
    + "CB,Six,CA,CAD,CA,ACB,SP500,0.25,0.25,0,10000,true,,ROY,\n"
    + "TFSA,Seven,CA,CAD,CA,ACB,SP500,0.25,0.25,0,10000,true,,ROY,TFSA\n",
    "lots.csv": (
        "account_id,lot_id,ticker,acquired_on,quantity,cost_basis\n"
        "A,L1,AAA,2017-01-03,100,2000\nB,L1,AAA,2017-01-03,100,1500\n"
        "CA,L1,AAA,2017-01-03,100,2000\nCB,L1,AAA,2017-01-03,100,1000\nOTHER,L1,AAA,2017-01-03,100,2000\n"
    ),
}
DAY_30, DAY_31 = date(2018, 7, 4), date(2018, 7, 5)


@pytest.fixture
def fleet(database, tmp_path):
    """Two households, American and Canadian, each with a sheltered account, and an account by itself."""
    load_files(database, tmp_path, FILES)
    open_all(database, date(2018, 5, 31))
    return database


@pytest.fixture
def book(fleet):
    """Books fills of an account; afterwards the books of every household must be those of its events."""
    return booking(fleet)


def sale(name, day, quantity, price, lot="L1", ticker="AAA"):
    """A sale; of the pool where no lot is named."""
    picks = (LotPick(lot, Decimal(quantity)),) if lot else ()
    return Fill(name, ticker, Side.SELL, day, Decimal(quantity), Decimal(price), lot_picks=picks)


def purchase(name, day, quantity, price, ticker="AAA"):
    """A purchase."""
    return Fill(name, ticker, Side.BUY, day, Decimal(quantity), Decimal(price), new_lot_id=f"N-{name}")


def rows(database, account, *kinds: str):
    """Return kind, lot, adjusted basis and realised gain of an account's postings of some kinds; "-" for reversals."""
    return [
        ("-" if row.reverses else row.kind.value, row.lot_id, row.adjusted_basis, row.realized_gain)
        for row in posted(database, account, *kinds)
    ]


def gains(database, account, *kinds: str):
    """Return the sum of the realised gains of an account's postings of some kinds, reversals among them."""
    return sum(row.realized_gain for row in posted(database, account, *kinds))


ALL = ("WASH_SALE", "CARRIED_LOSS", "SUPERFICIAL_LOSS", "LOSS_FINAL")


def test_a_purchase_in_another_account_washes_a_loss(fleet, book):
    """The loss is taken back in the account of the sale, and its basis rises where the replacement shares are."""
    book("A", sale("e1", MONDAY, 40, "15"))
    book("B", purchase("b1", FRIDAY, 10, "16", "AAB"))
    # A lost 200 on 40 shares; ten of the group replace ten of them
    assert lots_held(fleet, "B")["N-b1"] == (10, 210)
    assert rows(fleet, "A", *ALL) == [("WASH_SALE", None, 0, 50)]
    assert rows(fleet, "B", *ALL) == [("CARRIED_LOSS", "N-b1", 50, 0)]


def test_a_loss_after_a_purchase_in_another_account_is_washed(fleet, book):
    """The window looks back as well; part of a lot that replaces becomes a lot of its own in the other account."""
    book("B", purchase("b1", MONDAY, 50, "16"))
    book("A", sale("e1", FRIDAY, 40, "15"))
    assert lots_held(fleet, "B") == {"L1": (100, 1500), "N-b1": (10, 160), "N-b1~W1-e1": (40, 840)}
    assert rows(fleet, "A", *ALL) == [("WASH_SALE", None, 0, 200)]


def test_a_replacement_share_is_used_once_in_the_household(fleet, book):
    """What has replaced shares of one account replaces none of another."""
    book("IRA", purchase("i1", MONDAY, 5, "16"))
    book("A", purchase("a1", MONDAY, 30, "16"))
    book("B", sale("e1", TUESDAY, 20, "10"))
    book("A", sale("e2", FRIDAY, 40, "15"))
    # B lost 100 on 20: 20 shares of N-a1, the earlier by account; A lost 200 on 40: 5 of the IRA are left, and no
    # others but its own purchase's remaining 10, which is another lot of A
    assert rows(fleet, "B", *ALL) == [("WASH_SALE", None, 0, 100)]
    assert [found[3] for found in rows(fleet, "A", "WASH_SALE")] == [50, 25]


def test_a_purchase_in_an_ira_disallows_for_good(fleet, book):
    """Nobody's basis rises, and what the IRA sells at a loss is no loss (Rev. Rul. 2008-5)."""
    book("A", sale("e1", MONDAY, 40, "15"))
    book("IRA", purchase("i1", TUESDAY, 40, "16"))
    assert lots_held(fleet, "IRA") == {"N-i1": (40, 640)}
    assert rows(fleet, "A", *ALL) == [("WASH_SALE", None, 0, 200)]
    book("IRA", sale("i2", FRIDAY, 40, "1", "N-i1"))
    book("B", purchase("b1", FRIDAY, 10, "16"))
    assert lots_held(fleet, "B")["N-b1"] == (10, 160)


def test_an_account_by_itself_washes_with_nobody(fleet, book):
    """Accounts without a household, and other households, do not meet."""
    book("OTHER", sale("e1", MONDAY, 40, "15"))
    book("A", purchase("b1", FRIDAY, 10, "16"))
    assert rows(fleet, "OTHER", *ALL) == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_the_order_in_which_accounts_are_booked_does_not_matter(fleet, book, order):
    """Whichever account reports first, the books come out as one; what stood in the way is taken back by reversal."""
    days = [
        ("A", sale("e1", MONDAY, 40, "15")),
        ("B", sale("e2", TUESDAY, 30, "12")),
        ("B", purchase("b1", FRIDAY, 50, "16", "AAB")),
    ]
    for i in order:
        book(days[i][0], days[i][1], as_of=FRIDAY)
    # 200 lost on 40 in A first, then 90 on 30 in B: the fifty bought wash 40 of A and 10 of B
    assert lots_held(fleet, "B") == {"L1": (70, 1050), "N-b1~W1-e1": (40, 840), "N-b1": (10, 190)}
    assert gains(fleet, "A", "WASH_SALE") == 200
    assert gains(fleet, "B", "WASH_SALE", "SELL") == 30 - 90


def test_a_cancelled_purchase_gives_another_account_its_loss_back(fleet, book):
    """The rows of both accounts are taken back by reversal; nothing is deleted or altered."""
    book("A", sale("e1", MONDAY, 40, "15"))
    book("B", purchase("b1", FRIDAY, 10, "16"))
    before = posted(fleet, "A")
    assert book("B", as_of=FRIDAY, cancelled=["b1"]) == 1
    assert lots_held(fleet, "B") == {"L1": (100, 1500)}
    assert posted(fleet, "A")[: len(before)] == before
    assert [(kind, gain) for kind, _, _, gain in rows(fleet, "A", *ALL)] == [("WASH_SALE", 50), ("-", -50)]


def test_two_workers_book_one_household_at_once(fleet, database_url):
    """Both accounts booked at the same moment, over and over: no deadlock, and no adjustment is lost."""
    failures = []

    def work(account, make):
        try:
            for number in range(6):
                with fleet.transaction() as connection:
                    connection.execute(text("SET LOCAL lock_timeout = '300s'"))
                    book_executed(connection, account, [make(number)], through=FRIDAY)
        except Exception as error:  # noqa: BLE001 -- what a thread raises has to reach the test
            failures.append(error)

    workers = [
        threading.Thread(target=work, args=("A", lambda n: sale(f"s{n}", MONDAY, 5, "15"))),
        threading.Thread(target=work, args=("B", lambda n: purchase(f"b{n}", TUESDAY, 5, "16", "AAB"))),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(400)
    assert failures == []
    assert differences(fleet) == []
    # 30 shares sold at a loss of 5 each, 30 bought at 16: every loss is carried
    bought = {name: found for name, found in lots_held(fleet, "B").items() if name.startswith("N-")}
    assert sum(found[1] for found in bought.values()) == 30 * 16 + 150
    assert gains(fleet, "A", "SELL", "WASH_SALE") == 0


def test_locks_see_the_household(fleet, book):
    """A loss in one account locks purchases in the other; a purchase there is known here, with its account."""
    book("A", sale("e1", MONDAY, 40, "15"))
    book("B", purchase("b1", TUESDAY, 10, "9", "AAB"))
    with fleet.transaction() as connection:
        household = open_household(connection, "SMITH")
        state = read_books(connection, "SMITH").state
    seen_by_a, seen_by_b = (recent_trades_of(state, name, FRIDAY, household.terms) for name in "AB")
    (loss,) = [t for t in seen_by_b if t.side is Side.SELL]
    assert (loss.account, loss.ticker, loss.realized_gain, loss.washed_quantity) == ("A", "AAA", -200, 10)
    (purchased,) = [t for t in seen_by_a if t.account]
    assert (purchased.account, purchased.lot_id, purchased.quantity, purchased.unreplaced) == ("B", None, 10, 0)


# ------------------------------------------------------------ Canada


def test_a_canadian_owner_has_one_cost(fleet, book):
    """Each share costs the same in every taxable account; a purchase in one moves cost to the other."""
    book("CA", purchase("p1", MONDAY, 100, "6"))
    # 300 shares for 3,600: 12 each
    assert lots_held(fleet, "CA") == {"ACB-AAA": (200, 2400)}
    assert lots_held(fleet, "CB") == {"ACB-AAA": (100, 1200)}


def test_a_loss_is_denied_for_what_the_household_holds_on_day_30(fleet, book):
    """Sold out by day 30 in both accounts, the loss denied provisionally counts after all."""
    book("CA", purchase("p1", date(2018, 6, 1), 50, "15"))
    # 250 shares for 3,750: 15 each; 50 sold at 10 lose 250, superficial while shares are held
    book("CA", sale("e1", MONDAY, 50, "10", None))
    assert rows(fleet, "CA", *ALL) == [("SUPERFICIAL_LOSS", None, 0, 250), ("CARRIED_LOSS", "ACB-AAA", 250, 0)]
    book("CA", sale("e2", FRIDAY, 100, "10", None))
    book("CB", sale("e3", FRIDAY, 100, "10", None))
    assert book("TFSA", as_of=DAY_30) == 0
    assert rows(fleet, "CA", "LOSS_FINAL") == []
    # The windows are settled by the first fold after them.
    book("TFSA", purchase("t1", date(2018, 7, 20), 1, "5", "AAB"))
    assert gains(fleet, "CA", "SUPERFICIAL_LOSS", "SELL") == -250 - 500
    assert gains(fleet, "CB", "SUPERFICIAL_LOSS", "SELL") == -500
    assert rows(fleet, "CA", "LOSS_FINAL") != []


def test_a_loss_with_nothing_bought_around_becomes_final_with_one_row(fleet, book):
    """The first fold after day 30 adds the posting that says so, and denies nothing."""
    book("CA", sale("e1", MONDAY, 50, "1", None))
    book("TFSA", purchase("t1", date(2018, 7, 20), 1, "5", "AAB"))
    (final,) = posted(fleet, "CA", "LOSS_FINAL")
    assert final.loss is not None
    assert (final.loss.day, final.loss.amount, final.realized_gain) == (MONDAY, 0, 0)
    assert posted(fleet, "CA", "SUPERFICIAL_LOSS") == []


def test_a_registered_plan_denies_for_good(fleet, book):
    """What a TFSA buys and holds on day 30 denies the loss, and no pool carries it."""
    book("CA", sale("e1", MONDAY, 100, "5", None))
    book("CB", sale("e2", MONDAY, 100, "5", None))
    book("TFSA", purchase("t1", TUESDAY, 20, "5"))
    assert lots_held(fleet, "TFSA") == {"ACB-AAA": (20, 100)}
    book("TFSA", purchase("t2", DAY_31, 1, "5", "AAB"))
    # each account lost 1,000 on 100 shares (cost 15): 20 shares of each loss are denied
    for account in ("CA", "CB"):
        assert gains(fleet, account, "SUPERFICIAL_LOSS") == 200
