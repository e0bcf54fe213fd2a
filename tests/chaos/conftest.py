"""The engine's little fleet, and a seed that is printed with every failure and can be given back."""

import logging
import os
import random

import pytest
import structlog

from tests.integration.conftest import fleet, fleet_template  # noqa: F401 -- the fixtures of the engine's own tests


@pytest.fixture
def chaos_seed(record_property):
    """Seed of the faults: CHAOS_SEED where it is set, else a new one; printed where a test fails."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    record_property("chaos_seed", seed)
    print(f"CHAOS_SEED={seed}")  # noqa: T201 -- pytest shows it with a failure
    return seed


@pytest.fixture(autouse=True)
def quiet_log():
    """Leave the log of hundreds of ticks out of the report; the event log in the database is what is checked."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
