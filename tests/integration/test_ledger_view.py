"""What a decision sees of a household's books: lots, cash, and the trades that lock names."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.bookkeeping.ledger_view import books_of, read_books, recent_trades_of
from prometheus.decision.wash_locks import buy_locks, loss_sale_locks
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import Side
from tests.integration.ledger_households import SMITH, add_household, add_securities, book, buy, cash, lot, sell

MONDAY, TUESDAY = date(2024, 3, 4), date(2024, 3, 5)
GROUPS = {"AAA": "TWINS", "AAB": "TWINS", "BBB": "BBB"}


@pytest.fixture
def smith(database):
    """A household that sold at a loss in one account, of which a part is washed, and bought in all three."""
    add_household(database)
    add_securities(database, ["BBB"], {"AAA": "TWINS", "AAB": "TWINS"})
    book(
        database,
        lot("L1", "AAA", 100, 2000),
        lot("L2", "BBB", 10, 200, account="B"),
        *(cash(10_000, account=account) for account in SMITH),
        sell("s1", MONDAY, "AAA", 40, 600),
        buy("b1", TUESDAY, "AAB", 10, 100, account="B"),
        buy("b2", TUESDAY, "BBB", 5, 50, account="B"),
        sell("s2", TUESDAY + timedelta(days=1), "BBB", 11, 330, account="B"),
        buy("b3", TUESDAY, "BBB", 7, 70, account="IRA"),
    )
    return database


def read(database):
    """Return the household's books and terms."""
    with database.transaction() as connection:
        return read_books(connection, "SMITH"), open_household(connection, "SMITH").terms


def test_books_of_an_account(smith):
    """Lots and cash of one account, as every part of the engine knows them."""
    found, _ = read(smith)
    books = books_of(found.state, "B")
    # ten shares of the loss of 200 on 40 went to b1: 100 + 50
    assert [(one.lot_id, one.ticker, one.quantity, one.adjusted_basis) for one in books.lots] == [
        ("b1", "AAB", 10, 150), ("b2", "BBB", 4, 40),
    ]  # fmt: skip
    assert books.cash == 10_000 - 150 + 330
    assert books_of(found.state, "nobody").cash == 0
    assert found.through == TUESDAY + timedelta(days=1)


def test_the_mark_of_books_moves_with_them(smith):
    """Who has read the books sees by the newest posting whether they moved since."""
    before, _ = read(smith)
    book(smith, through=TUESDAY + timedelta(days=9))
    assert read(smith)[0].newest_posting == before.newest_posting
    book(smith, buy("b9", TUESDAY + timedelta(days=9), "BBB", 1, 10))
    assert read(smith)[0].newest_posting > before.newest_posting
    with smith.transaction() as connection:
        assert read_books(connection, "SMITH", lock=True).newest_posting == read(smith)[0].newest_posting


def test_books_that_were_never_opened(database):
    """A household without events has no books, and no day."""
    add_household(database)
    found, terms = read(database)
    assert (found.through, found.newest_posting, books_of(found.state, "A").lots) == (None, 0, ())
    assert recent_trades_of(found.state, "A", MONDAY, terms) == ()


def test_trades_that_lock(smith):
    """Own trades come first and name their lots; those of others name their account, and how much can replace there."""
    found, terms = read(smith)
    day = TUESDAY + timedelta(days=1)
    trades = recent_trades_of(found.state, "A", day, terms)
    own, *others = trades
    assert (own.side, own.lot_id, own.account, own.realized_gain, own.quantity) == (Side.SELL, "L1", "", -200, 40)
    assert (own.washed_quantity, own.disallowed_loss, own.execution_id) == (10, 50, "s1")
    assert [(one.account, one.ticker, one.quantity, one.unreplaced, one.lot_id) for one in others] == [
        # b1 has replaced already, of b2 one share is sold, and the IRA counts whole.
        ("B", "AAB", 10, 0, None), ("B", "BBB", 5, 4, None), ("IRA", "BBB", 7, 7, None),
    ]  # fmt: skip
    seen_from_b = recent_trades_of(found.state, "B", day, terms)
    assert [(one.account, one.lot_id) for one in seen_from_b] == [
        ("", "b1"), ("", "b2"), ("A", "A:L1"), ("IRA", None),
    ]  # fmt: skip


def test_the_locks_of_the_day(smith):
    """The loss locks its group against purchases for thirty days, and the purchases elsewhere lock losses."""
    found, terms = read(smith)
    day = TUESDAY + timedelta(days=2)
    trades = recent_trades_of(found.state, "A", day, terms)
    assert {group: lock.last_locked_day for group, lock in buy_locks(trades, day, GROUPS).items()} == {
        "TWINS": MONDAY + timedelta(days=30)
    }
    lots = books_of(found.state, "B").lots
    locks = loss_sale_locks(
        lots, recent_trades_of(found.state, "B", day, terms), day, {"AAB": Decimal(1), "BBB": Decimal(1)}, GROUPS,
        TaxRegime.US,
    )  # fmt: skip
    assert {name: [one.account for one in lock.purchases] for name, lock in locks.items()} == {"b2": ["IRA"]}
    assert recent_trades_of(found.state, "A", MONDAY + timedelta(days=31), terms)[0].side is Side.BUY
    assert recent_trades_of(found.state, "A", MONDAY + timedelta(days=40), terms) == ()
