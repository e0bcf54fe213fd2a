"""Processes that book accounts of one household at once, and processes that die while they book."""

import time

import pytest

from prometheus.bookkeeping.ledger_checks import rebuild_check
from tests.integration.ledger_households import add_household, add_securities, book, cash, count, lot, sums_of_postings
from tests.integration.ledger_workers import book_and_wait, book_one_by_one, event, start, trades_of

OPENING = (lot("L1", "AAA", 100, 2000), cash(10_000), cash(10_000, account="B"))


@pytest.fixture
def smith(database):
    """A household of three accounts, two of which trade."""
    add_household(database)
    add_securities(database, ["AAA"])
    book(database, *OPENING)
    return database


@pytest.fixture
def expected(cloned):
    """Sums of the postings of all trades, booked in one go in a database of its own."""
    from prometheus.db.database import Database

    with cloned() as url:
        alone = Database(url)
        add_household(alone)
        add_securities(alone, ["AAA"])
        book(alone, *OPENING)
        book(alone, *trades_of("A"), *trades_of("B"))
        found = sums_of_postings(alone)
        alone.close()
    return found


def agrees(database):
    """Return whether everything stored is what the events give."""
    with database.transaction() as connection:
        return rebuild_check(connection, "SMITH").differences == ()


def test_two_workers_book_two_accounts_of_one_household(smith, database_url, expected):
    """Two processes wait for each other at each booking; nothing is lost or doubled, whoever comes first."""
    workers = [start(book_one_by_one, database_url, account) for account in ("A", "B")]
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert count(smith, "ledger_events") == len(OPENING) + len(trades_of("A")) + len(trades_of("B"))
    assert sums_of_postings(smith) == expected
    assert agrees(smith)


def test_a_killed_worker_leaves_nothing_half_written(smith, database_url, expected):
    """Killed before its commit a worker has written nothing, and the next one books everything."""
    before = [count(smith, table) for table in ("ledger_events", "ledger_postings", "ledger_states")]
    booked = event()
    worker = start(book_and_wait, database_url, booked)
    assert booked.wait(60)
    worker.kill()
    worker.join(60)
    assert [count(smith, table) for table in ("ledger_events", "ledger_postings", "ledger_states")] == before
    assert agrees(smith)
    book(smith, *trades_of("A"), *trades_of("B"))
    assert sums_of_postings(smith) == expected


def test_workers_killed_at_any_time(smith, database_url, expected):
    """Processes killed between and within bookings leave whole bookings; the rest is booked by telling all again."""
    for account in ("A", "B"):
        before = count(smith, "ledger_events")
        worker = start(book_one_by_one, database_url, account)
        deadline = time.monotonic() + 60
        while count(smith, "ledger_events") < before + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        worker.kill()
        worker.join(60)
        assert agrees(smith)
    again = book(smith, *trades_of("A"), *trades_of("B"))
    assert again.known == count(smith, "ledger_events") - len(OPENING) - len(again.events)
    assert again.known >= 6
    assert sums_of_postings(smith) == expected
    assert agrees(smith)
