"""The rehearsals in short: a few sessions of the synthetic and of the real fleet, every run replayed."""

import re

import pytest

from prometheus.db.database import Database
from prometheus.simulation.sessions import audit_sessions
from tests.acceptance.loaded_market import command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.mark.long
def test_short_year_is_run_replayed_and_verified(database_url):
    """Two sessions of three accounts are PERSISTED, replayed and verified; asked for again, nothing is left to do."""
    arguments = ("prometheus", "audit", "year", "--sessions", "2", "--accounts", "3")
    printed = command(database_url, *arguments)
    for part in (
        "2 of 2 sessions, 6 runs",
        "6 of 6 runs PERSISTED",
        "6 runs replayed: 6 agree, 0 mismatches; largest weight difference 0.0e+00",
        "20 chains, 6 runs, ",
        "nothing altered",
    ):
        assert part in printed
    assert re.search(r"[\d.]+ kB a run with everything", printed)
    again = command(database_url, *arguments)
    assert "2 of 2 sessions are done already." in again
    assert "6 runs replayed: 6 agree" in again


def test_year_of_another_length_is_refused(database_url):
    """A database that holds runs of other days, and a length that the market does not have, end with exit code 2."""
    command(database_url, "prometheus", "audit", "year", "--sessions", "0", exit_code=2)
    command(database_url, "prometheus", "audit", "year", "--accounts", "21", exit_code=2)


def test_year_has_so_many_sessions_of_both_exchanges():
    """The year has 252 days, in order, none of which is a holiday in New York or Toronto."""
    days = audit_sessions()
    assert len(set(days)) == 252
    assert list(days) == sorted(days)
    holidays = {"2024-10-14", "2024-11-28", "2024-12-25", "2024-12-26", "2025-05-19", "2025-07-01", "2025-07-04"}
    assert holidays.isdisjoint(day.isoformat() for day in days)


@pytest.mark.long
@pytest.mark.market_data
def test_real_fleet_learns_of_each_day_when_it_comes(database_url, shared_data):
    """Over a month's end two real accounts are PERSISTED and replayed, and the new benchmark came only on its day."""
    folders = (str(shared_data / "market"), str(shared_data / "fleet"))
    accounts = ("--account", "ACC-001", "--account", "ACC-007")
    printed = command(
        database_url, "prometheus", "audit", "real", *folders, "--first", "2018-06-28", "--sessions", "2", *accounts
    )
    assert "4 of 4 runs PERSISTED" in printed
    assert "4 runs replayed: 4 agree, 0 mismatches" in printed
    database = Database(database_url)
    with database.transaction() as connection:
        rows = connection.exec_driver_sql(
            "SELECT as_of_date::text, snapshot -> 'benchmark' ->> 'effective_date' FROM runs ORDER BY 1, 2"
        ).all()
        prices = connection.exec_driver_sql("SELECT max(price_date)::text FROM prices").scalar_one()
    database.close()
    assert [tuple(row) for row in rows] == [("2018-06-28", "2018-05-31")] * 2 + [("2018-06-29", "2018-06-29")] * 2
    assert prices == "2018-06-29"
