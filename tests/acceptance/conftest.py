"""One ingest of the real market for all acceptance tests of a process."""

import psycopg
import pytest

from tests.acceptance.independent_check import read_fleet, read_market
from tests.acceptance.loaded_market import AS_OF, Day, command, copy_of, printed_run, run_the_day


@pytest.fixture(scope="session")
def admin(server):
    """Return a connection that may create and drop databases."""
    with psycopg.connect(
        host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        yield connection


@pytest.fixture(scope="session")
def loaded(server, template_database, admin, shared_data):
    """Return the name of a database with the market, the fleet and the day's risk model; no run yet."""
    name = copy_of(admin, server, template_database)
    url = server.url(name)
    command(url, "prometheus", "ingest", str(shared_data / "market"))
    command(url, "prometheus", "ingest", str(shared_data / "fleet"))
    command(url, "prometheus", "risk", "refresh", "--as-of", AS_OF.isoformat())
    yield name
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def day(server, admin, loaded, shared_data):
    """Return the fleet's day, run by the commands an operator uses."""
    name = copy_of(admin, server, loaded)
    url = server.url(name)
    run_the_day(url, "US", "CA")
    fleet = read_fleet(shared_data / "fleet")
    yield Day(
        url=url,
        runs={account_id: printed_run(url, account_id) for account_id in fleet},
        market=read_market(shared_data / "market", AS_OF),
        fleet=fleet,
    )
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
