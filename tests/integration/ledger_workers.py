"""Processes that book events of one household, for tests that let them meet or kill them."""

import multiprocessing
import time
from datetime import date, timedelta

from prometheus.bookkeeping.ledger import book_events
from prometheus.db.database import Database
from prometheus.db.repositories.ledger_events import EventSource
from tests.integration.ledger_households import book, buy, sell

FIRST = date(2024, 3, 4)
_SPAWN = multiprocessing.get_context("spawn")


def trades_of(account, days=12):
    """Return trades of an account, a purchase and then a sale at a loss on each of some days."""
    found = []
    for number in range(days):
        day = FIRST + timedelta(days=number)
        found.append(buy(f"{account} b{number}", day, "AAA", 10, 200 - number, account=account))
        found.append(sell(f"{account} s{number}", day + timedelta(days=1), "AAA", 5, 50, account=account))
    return found


def book_one_by_one(url, account):
    """Book an account's trades, each in a transaction of its own."""
    database = Database(url)
    for event in trades_of(account):
        book(database, event)
    database.close()


def book_and_wait(url, booked):
    """Book trades of two accounts, say so, and wait without a commit."""
    database = Database(url)
    events = [*trades_of("A"), *trades_of("B")]
    with database.transaction() as connection:
        book_events(connection, "SMITH", events, FIRST + timedelta(days=30), source=EventSource.EXECUTION)
        booked.set()
        time.sleep(600)


def event():
    """Return an event that a process can set and another wait for."""
    return _SPAWN.Event()


def start(function, *arguments: object):
    """Start a process and return it."""
    process = _SPAWN.Process(target=function, args=arguments)
    process.start()
    return process
