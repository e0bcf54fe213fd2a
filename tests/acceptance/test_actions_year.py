"""The real fleet through 252 sessions of real corporate actions, on the database, with the books proved."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger import ex_date_processing, open_books
from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_terms import open_household
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.bookkeeping.ledger_work import changes_of, fold_in_parts
from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.ledger_events import events_after
from prometheus.db.repositories.ledger_postings import postings_after
from prometheus.db.repositories.market_data import corporate_actions
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.ledger.facts import effective_events
from prometheus.ledger.postings import DISPOSITIONS, PostingKind
from prometheus.ledger.state import EMPTY
from tests.acceptance.loaded_market import AS_OF, copy_of

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
        open_books(connection, account_ids(connection), AS_OF)
    yield database
    database.close()
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def account_ids(connection):
    """Return the accounts; each is a household by itself."""
    return [account.account_id for account in accounts_of(connection)]


def books(connection):
    """Return lots and cash by account."""
    return {account: books_of(read_books(connection, account).state, account) for account in account_ids(connection)}


@pytest.fixture(scope="module")
def year(fleet):
    """Take every account's books through the year, in the database by months; return what they were before."""
    with fleet.transaction() as connection:
        before = books(connection)
    for through in (*SESSIONS[21::21], SESSIONS[-1]):
        with fleet.transaction() as connection:
            for account in account_ids(connection):
                ex_date_processing(connection, account, through)
    return before


@pytest.mark.long
def test_the_books_are_those_of_the_events_after_a_year(fleet, year):
    """All 20 accounts' postings and states are what their events give, and every account has seen the last day."""
    assert len(SESSIONS) == 252
    with fleet.transaction() as connection:
        proofs = [rebuild_check(connection, account) for account in account_ids(connection)]
        assert {read_books(connection, account).through for account in account_ids(connection)} == {SESSIONS[-1]}
    assert len(proofs) == len(year) == 20
    assert {proof.household: proof.differences for proof in proofs if proof.differences} == {}


@pytest.mark.long
def test_day_by_day_gives_what_month_by_month_gives(fleet, year):
    """Folded on each of the 252 days, books and postings are those of the database."""
    assert len(year) == 20
    with fleet.transaction() as connection:
        for account in account_ids(connection):
            events, _ = effective_events(events_after(connection, account, [account], None))
            assert {event.trade_date for event in events} <= set(SESSIONS), "every ex-date is a session"
            terms = open_household(connection, account).terms
            parts = fold_in_parts(events, terms, EMPTY, SESSIONS)
            assert parts[-1].state == read_books(connection, account).state, account
            stored = postings_after(connection, [account], None)
            assert changes_of(stored, [one for part in parts for one in part.postings]) == ([], []), account


@pytest.mark.long
def test_the_year_changes_the_lots_it_should(fleet, year):
    """Names with a split or spin-off change shares or basis in every account that holds them, no other name does."""
    with fleet.transaction() as connection:
        actions = corporate_actions(connection, after=date(2018, 5, 31), through=SESSIONS[-1])
        after = books(connection)
        postings = {account_id: postings_after(connection, [account_id], None) for account_id in year}
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
        rows = [one.posting for one in postings[account_id] if one.posting.kind is not PostingKind.OPENING]
        sold = DISPOSITIONS - {PostingKind.STOCK_DISTRIBUTION}
        assert not [row for row in rows if row.kind in sold], "2 for 1 leaves no fraction"
        assert sum(row.cash + row.adjusted_basis - row.realized_gain for row in rows if row.lot_id is not None) == 0
        paid = sum(row.cash for row in rows)
        assert after[account_id].cash - before.cash == paid > 0
