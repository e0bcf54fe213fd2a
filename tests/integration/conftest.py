"""The engine's little fleet: written once into a template, cloned for each test."""

import logging

import pytest
import structlog

from tests.conftest import clone_of, made_once
from tests.integration.engine_fleet import Fleet, write_fleet


@pytest.fixture(scope="session")
def fleet_template(server, template_database):
    """Name of a database with the fleet and its risk model, to clone."""
    return made_once(server, "prometheus_fleet", write_fleet, template_database)


@pytest.fixture
def fleet(server, fleet_template):
    """The fleet in a database of its own, no run yet; dropped after the test."""
    logging_before = structlog.get_config()
    # The default draws every traceback with its variables, which takes seconds.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with clone_of(server, fleet_template) as url:
        found = Fleet(url)
        yield found
        found.close()
    structlog.configure(**logging_before)
