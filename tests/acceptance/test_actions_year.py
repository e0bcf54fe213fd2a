"""The real fleet through 252 sessions of real corporate actions, on the database, with the tables proved."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from prometheus.accounting.corporate_actions import actions_concerning, apply_corporate_actions
from prometheus.accounting.replay import replay
from prometheus.bookkeeping.action_changes import actions_position
from prometheus.bookkeeping.journal import prove_tables
from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of, journal_since, load_books, save_books
from prometheus.db.repositories.market_data import closes_on, corporate_actions
from prometheus.domain.books import DISPOSITION_TYPES, TransactionType
from prometheus.foundation.trading_calendar import TradingCalendar
from tests.acceptance.loaded_market import AS_OF, copy_of
from tests.real_market import read_closes

pytestmark = [pytest.mark.market_data, pytest.mark.slow, pytest.mark.xdist_group("real_fleet")]

SESSIONS = TradingCalendar.for_region("US").sessions_between(AS_OF, date(2019, 6, 3))
#: Names whose lots a split, a spin-off or a price factor of the year changes, with the shares that one has become.
CHANGED = {
    "CNC": "2", "FAST": "2", "TJX": "2", "FMC": "1", "HON": "1", "HSIC": "1", "VFC": "1",
}  # fmt: skip
#: Actions of the year's first and last day that change no lots, with the cause.
NOT_BOOKED = {
    ("DXC", date(2018, 6, 1)): "the lots are handed over as of that day, after its spin-off",
    ("DD", date(2019, 4, 2)): "no account holds DD",
    ("DD", date(2019, 6, 3)): "no account holds DD; the data lack the spin-off of that day",
    ("ROL", date(2018, 12, 11)): "no account holds ROL",
    ("WRB", date(2019, 4, 3)): "no account holds WRB",
}


@pytest.fixture(scope="module")
def fleet(server, admin, loaded):
    """A copy of the loaded market and fleet whose books are open as of the first day."""
    name = copy_of(admin, server, loaded)
    database = Database(server.url(name))
    with database.transaction() as connection:
        for account in accounts_of(connection):
            books = load_books(connection, account.account_id)
            seen = {"books_as_of": AS_OF, "actions_seen": actions_position(connection)}
            save_books(connection, account.account_id, before=books, after=books, transactions=(), **seen)
    yield database
    database.close()
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def year(fleet):
    """Take every account's books through the year, in the database by months; return what they were before."""
    with fleet.transaction() as connection:
        before = {a.account_id: load_books(connection, a.account_id) for a in accounts_of(connection)}
    for through in (*SESSIONS[21::21], SESSIONS[-1]):
        with fleet.transaction() as connection:
            for account in accounts_of(connection):
                books = load_books(connection, account.account_id)
                actions = corporate_actions(connection, after=account.books_as_of, through=through)
                held = actions_concerning({lot.ticker for lot in books.lots}, actions)
                after, rows = apply_corporate_actions(
                    books,
                    held,
                    closes=closes_on(connection, [(action.ticker, action.ex_date) for action in held]),
                    regime=account.tax_regime,
                    fractional=account.fractional_shares,
                )
                save_books(
                    connection, account.account_id, before=books, after=after, transactions=rows, books_as_of=through
                )
    return before


@pytest.mark.long
def test_the_tables_equal_the_journal_after_a_year(fleet, year):
    """All 20 accounts' tables are what their journals replayed give, and every account has seen the last day."""
    assert len(SESSIONS) == 252
    with fleet.transaction() as connection:
        proofs = list(prove_tables(connection))
    assert len(proofs) == len(year) == 20
    assert {proof.account_id: proof.differences for proof in proofs if proof.differences} == {}
    with fleet.transaction() as connection:
        assert {account.books_as_of for account in accounts_of(connection)} == {SESSIONS[-1]}


@pytest.mark.long
def test_day_by_day_gives_what_month_by_month_gives(fleet, year, shared_data):
    """Booked on each of the 252 mornings from the vendor's files, lots, cash and rows are those of the database."""
    wanted = defaultdict(list)
    with fleet.transaction() as connection:
        accounts = accounts_of(connection)
        for action in corporate_actions(connection, after=AS_OF, through=SESSIONS[-1]):
            wanted[action.ex_date].append(action)
    by_ticker = read_closes(shared_data / "market", SESSIONS[1], SESSIONS[-1])
    closes = {(ticker, day): close for ticker, days in by_ticker.items() for day, (close, _) in days.items()}
    assert set(wanted) <= set(SESSIONS), "every ex-date is a session, with a price of its name"
    for account in accounts:
        books, journal = year[account.account_id], []
        for day in SESSIONS[1:]:
            books, rows = apply_corporate_actions(
                books, wanted[day], closes=closes, regime=account.tax_regime, fractional=account.fractional_shares
            )
            journal += rows
        with fleet.transaction() as connection:
            assert books == load_books(connection, account.account_id), account.account_id
            stored = journal_since(connection, account.account_id, date.min)
        assert stored[-len(journal) :] == tuple(journal), account.account_id
        assert replay(stored) == books


@pytest.mark.long
def test_the_year_changes_the_lots_it_should(fleet, year):
    """Names with a split or spin-off change shares or basis in every account that holds them, no other name does."""
    with fleet.transaction() as connection:
        actions = corporate_actions(connection, after=date(2018, 5, 31), through=SESSIONS[-1])
        after = {account_id: load_books(connection, account_id) for account_id in year}
        journals = {account_id: journal_since(connection, account_id, AS_OF) for account_id in year}
    of_lots = {(a.ticker, a.ex_date) for a in actions if a.action_type not in {"dividend", "special_dividend"}}
    assert {ticker for ticker, day in of_lots if (ticker, day) not in NOT_BOOKED} == CHANGED.keys()
    assert NOT_BOOKED.keys() < of_lots
    for account_id, before in year.items():
        for ticker in {lot.ticker for lot in before.lots}:
            old, new = before.lots_of(ticker), after[account_id].lots_of(ticker)
            shares = before.quantity_of(ticker) * Decimal(CHANGED.get(ticker, "1"))
            assert after[account_id].quantity_of(ticker) == shares
            basis = sum(lot.adjusted_basis for lot in new) - sum(lot.adjusted_basis for lot in old)
            spun_off = CHANGED.get(ticker) == "1"
            assert (basis < 0) is spun_off, (account_id, ticker)
            if ticker not in CHANGED:
                assert new == old
        rows = [row for row in journals[account_id] if row.txn_type is not TransactionType.OPENING]
        assert not [row for row in rows if row.txn_type in DISPOSITION_TYPES], "2 for 1 leaves no fraction"
        assert sum(row.amount + row.basis - row.realized_gain for row in rows if row.lot_id is not None) == 0
        paid = sum(row.amount for row in rows)
        assert after[account_id].cash - before.cash == paid > 0
