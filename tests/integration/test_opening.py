"""Books opened in the ledger: lots and cash as they were handed over, once, on the account's first day."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text

from prometheus.bookkeeping.ledger import book_executed, open_books
from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.db.repositories.account_books import books_to_open
from prometheus.db.repositories.ingest_reference import lock_accounts
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.foundation.errors import AccountingError
from tests.integration.engine_fleet import FRIDAY, MONDAY, TUESDAY
from tests.integration.ledger_households import count


def opened(fleet, account="ACC-1"):
    """Return an account's books in the ledger, and the day through which they are."""
    with fleet.database.transaction() as connection:
        books = read_books(connection, account)
    return books_of(books.state, account), books.through


def test_the_first_snapshot_opens_the_books(fleet):
    """The lots and the cash of the first day are those that were handed over; the second day opens nothing."""
    with fleet.database.transaction() as connection:
        given = books_to_open(connection, ["ACC-1"])["ACC-1"]
    fleet.ready(MONDAY, "ACC-1")
    fleet.advance()
    books, through = opened(fleet)
    assert (sorted(books.lots, key=lambda lot: lot.lot_id), books.cash, through) == (
        sorted(given.lots, key=lambda lot: lot.lot_id), given.cash, MONDAY,
    )  # fmt: skip
    assert fleet.one("SELECT count(*) FROM ledger_events WHERE source = 'OPENING'") == len(given.lots) + 1
    fleet.ready(TUESDAY, "ACC-1")
    fleet.advance()
    assert fleet.one("SELECT count(*) FROM ledger_events WHERE source = 'OPENING'") == len(given.lots) + 1


def test_books_open_once_and_with_the_first_execution_at_the_latest(fleet):
    """An account without a day yet opens with its first execution; opening it again does nothing."""
    sale = Fill("x1", "AAA", Side.SELL, TUESDAY, Decimal(100), Decimal(50), lot_picks=(LotPick("L1", Decimal(100)),))
    with fleet.database.transaction() as connection:
        assert not book_executed(connection, "ACC-1", [sale], through=FRIDAY).findings
    events = count(fleet.database, "ledger_events")
    with fleet.database.transaction() as connection:
        open_books(connection, ["ACC-1"], FRIDAY)
    assert count(fleet.database, "ledger_events") == events
    books, through = opened(fleet)
    assert {lot.lot_id: lot.quantity for lot in books.lots} == {"L1": 300, "L2": 300, "L3": 500}
    assert (books.cash, through) == (25_000, FRIDAY)


def test_accounts_of_a_household_open_on_different_days(fleet):
    """An account that opens before the books of its household brings its lots on its own day, and all agrees."""
    fleet.sql("UPDATE accounts SET household = 'SMITH' WHERE account_id IN ('ACC-1', 'ACC-2')")
    with fleet.database.transaction() as connection:
        open_books(connection, ["ACC-1"], FRIDAY)
        open_books(connection, ["ACC-1", "ACC-2", "ACC-3"], TUESDAY)
    assert fleet.sql(
        "SELECT account_id, trade_date, count(*) FROM ledger_events GROUP BY 1, 2 ORDER BY 1"
    ) == [("ACC-1", FRIDAY, 4), ("ACC-2", TUESDAY, 4), ("ACC-3", TUESDAY, 4)]  # fmt: skip
    with fleet.database.transaction() as connection:
        assert rebuild_check(connection, "SMITH", with_cash=True).differences == ()


def test_a_lot_that_cannot_be_booked_is_refused_with_its_name(fleet):
    """A lot called as only the ledger calls its own parts opens no books."""
    fleet.sql(
        "INSERT INTO opening_lots SELECT 'ACC-1', 'L1~W-1', security_id, DATE '2023-01-03', 1, 1 "
        "FROM securities WHERE ticker = 'AAA'"
    )
    with (
        pytest.raises(AccountingError, match="opening:L1~W-1") as refused,
        fleet.database.transaction() as connection,
    ):
        open_books(connection, ["ACC-1"], date(2024, 6, 21))
    assert refused.value.code == "BAD_LOT_ID"
    assert count(fleet.database, "ledger_events") == 0


def test_a_load_locks_whole_households(fleet):
    """Whoever loads a file for one account has the others of its household, so no booking waits in a circle."""
    fleet.sql("UPDATE accounts SET household = 'SMITH' WHERE account_id IN ('ACC-1', 'ACC-2')")
    free = text("SELECT account_id FROM accounts ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED")
    with fleet.database.transaction() as connection:
        assert [one.account_id for one in lock_accounts(connection, ["ACC-2"])] == ["ACC-2"]
        with fleet.database.transaction() as other:
            assert list(other.execute(free).scalars()) == ["ACC-3"]
