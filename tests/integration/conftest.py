"""Little fleets, each written once into a template for all workers and cloned for each test or module.

The engine's tests write theirs straight into the tables; the commands' is loaded, and taken through days, by commands.
"""

import logging

import pytest
import structlog

from tests.conftest import clone_of, made_once
from tests.integration.audited_fleet import trade_and_fill
from tests.integration.commands_fleet import load_fleet, refresh_risk, trade
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
        opened = Fleet(url)
        yield opened
        opened.close()
    structlog.configure(**logging_before)


def _stage(server, name, act, template):
    """Return the name of a database that is a template and what one function did to it, by its URL."""
    return made_once(server, name, lambda database: act(database.url), template)


@pytest.fixture(scope="session")
def market_template(server, template_database, tmp_path_factory):
    """Name of a database with the commands' market and fleet."""
    return _stage(
        server, "commands_market", lambda url: load_fleet(url, tmp_path_factory.mktemp("fleet")), template_database
    )


@pytest.fixture(scope="session")
def loaded_template(server, market_template):
    """Name of the same with a risk model."""
    return _stage(server, "commands_loaded", refresh_risk, market_template)


@pytest.fixture(scope="session")
def traded_template(server, loaded_template):
    """Name of the same with two days PERSISTED."""
    return _stage(server, "commands_traded", trade, loaded_template)


@pytest.fixture(scope="session")
def audited_template(server, loaded_template):
    """Name of a database with three days PERSISTED and filled, ten runs in all."""
    return _stage(server, "commands_audited", trade_and_fill, loaded_template)
