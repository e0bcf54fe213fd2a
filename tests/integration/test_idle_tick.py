"""The modules that a timer's tick loads where it finds nothing to do; its time is measured by bench/idle_tick.py."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.long_form import short_form

#: Runs a command as its entry point does, and says which modules were loaded.
LOADED = """
import importlib, json, sys
module, *arguments = sys.argv[1:]
command = importlib.import_module(module).command
try:
    command.main(arguments)
except SystemExit as end:
    print(json.dumps({"code": end.code, "modules": sorted(sys.modules)}))
"""
#: What an idle tick does without: the optimizer and all that computes, the calendar's pandas, the ORM, the logger.
HEAVY = {
    "numba", "llvmlite", "numpy", "scipy", "pandas", "polars", "cvxpy", "clarabel", "exchange_calendars", "alembic",
    "sqlalchemy.orm", "pydantic", "structlog", "rich", "prometheus.optimizer", "prometheus.risk",
    "prometheus.pipeline.tasks",
}  # fmt: skip


def loaded_by(url, module, *arguments: str):
    """Run a command in a process of its own; return its exit code, its modules and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, module, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    *printed, facts = done.stdout.splitlines()
    return json.loads(facts)["code"], set(json.loads(facts)["modules"]), printed


def test_a_tick_that_finds_nothing_loads_neither_optimizer_nor_numba(fleet):
    """With accounts, a risk model and nothing to advance, a tick loads nothing that computes."""
    fleet.advance()
    code, modules, printed = loaded_by(fleet.url, "prometheus.scripts.run_engine_state", "--advance-all")
    assert (code, printed[0].endswith("nothing to do")) == (0, True)
    assert not HEAVY & modules


def test_creating_runs_loads_no_optimizer(fleet):
    """--ensure needs the calendar, and neither optimizer nor its compiled loops."""
    code, modules, printed = loaded_by(
        fleet.url, "prometheus.scripts.run_engine_state", "--as-of", "2024-06-24", "--account", "ACC-1", "--ensure"
    )
    assert code == 0, printed
    assert "exchange_calendars" in modules
    assert not {"numba", "prometheus.optimizer", "scipy"} & modules


@pytest.mark.parametrize("arguments", short_form([["--workers", "1"], ["--workers", "0"]], 1))
def test_a_tick_with_a_run_loads_the_optimizer_before_it_works(fleet, arguments):
    """The first run that waits brings the optimizer into the process, from which workers are forked, and persists."""
    fleet.ready(account_id="ACC-1")
    code, modules, printed = loaded_by(fleet.url, "prometheus.scripts.run_engine_state", "--advance-all", *arguments)
    assert code == 0, printed
    assert printed[0].endswith("1 PERSISTED")
    assert {"numba", "prometheus.optimizer.solve", "clarabel"} <= modules
