"""Files and executions booked by both ledgers: their tables, and the fold of the same facts, agree."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text

from prometheus.bookkeeping.fills import book_fills
from prometheus.bookkeeping.ledger import book_events
from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_sources import execution_events, opening_events
from prometheus.db.repositories.accounts import load_books
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from tests.integration.ledger_books import FRIDAY, MONDAY, TUESDAY, load_files
from tests.integration.test_ledger_fills import FILES, GROUPS

OPENED = date(2018, 6, 1)


@pytest.fixture
def both(database, tmp_path):
    """Accounts loaded from files, whose books are opened in the ledger too; the split of the week is left out."""
    files = {name: content for name, content in FILES.items() if name != "corporate_actions.csv"}
    load_files(database, tmp_path, files)
    with database.transaction() as connection:
        connection.execute(text("UPDATE accounts SET books_opened_on = '2018-06-01', books_as_of = '2018-06-01'"))
        for account in ("ACC-1", "ACC-2"):
            events = opening_events(account, load_books(connection, account), OPENED)
            booked = book_events(connection, account, events, OPENED, source=EventSource.OPENING)
            assert not booked.findings
    return database


def book(database, account, *fills: Fill, cancelled=(), day=FRIDAY):
    """Book executions by both ledgers in one transaction, and compare."""
    with database.transaction() as connection:
        book_fills(connection, account, fills, as_of=day, group_of=GROUPS, cancelled=cancelled)
        events = execution_events(account, fills, cancelled, told_on=day)
        booked = book_events(connection, account, events, day, source=EventSource.EXECUTION)
        assert not booked.findings
    with database.transaction() as connection:
        return rebuild_check(connection, account, with_tables=True).differences


def sale(name, day, quantity, price, *picks: tuple[str, str]):
    """A sale of AAA."""
    chosen = tuple(LotPick(lot, Decimal(part)) for lot, part in picks)
    return Fill(name, "AAA", Side.SELL, day, Decimal(quantity), Decimal(price), lot_picks=chosen)


def purchase(name, day, quantity, price, fee="0"):
    """A purchase of AAA."""
    return Fill(name, "AAA", Side.BUY, day, Decimal(quantity), Decimal(price), Decimal(fee), new_lot_id=f"N-{name}")


def test_executions_late_ones_and_cancellations_agree(both):
    """A loss, a late purchase that washes it, partial fills and a cancellation leave the same lots and cash."""
    assert book(both, "ACC-1", sale("e1", TUESDAY, 40, "15", ("L1", "40"))) == ()
    assert book(both, "ACC-1", purchase("b1", MONDAY, 10, "16", "1")) == ()
    assert book(both, "ACC-1", sale("e2", FRIDAY, 5, "22.125", ("L1", "5")), purchase("b2", FRIDAY, 3, "16.3333")) == ()
    assert book(both, "ACC-1", cancelled=["b1"]) == ()
    assert book(both, "ACC-1", sale("e1", TUESDAY, 40, "15", ("L1", "40"))) == ()
