"""The engine's little fleet: written once into a template, cloned for each test."""

import logging
import uuid

import psycopg
import pytest
import structlog

from prometheus.db.database import Database
from tests.integration.engine_fleet import Fleet, write_fleet


@pytest.fixture(scope="session")
def fleet_template(server, template_database):
    """Name of a database with the fleet and its risk model, made once by whichever worker comes first."""
    name = "prometheus_fleet"
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(2)")
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            admin.execute(f"CREATE DATABASE {name}_building TEMPLATE {template_database} OWNER prometheus")
            building = Database(server.url(f"{name}_building"))
            write_fleet(building)
            building.close()
            admin.execute(f"ALTER DATABASE {name}_building RENAME TO {name}")
        admin.execute("SELECT pg_advisory_unlock(2)")
    return name


@pytest.fixture
def fleet(server, fleet_template):
    """The fleet in a database of its own, no run yet; dropped after the test."""
    name = f"fleet_{uuid.uuid4().hex[:16]}"
    logging_before = structlog.get_config()
    # The default draws every traceback with its variables, which takes seconds.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {fleet_template} OWNER prometheus STRATEGY file_copy")
        found = Fleet(server.url(name))
        yield found
        found.close()
        structlog.configure(**logging_before)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
