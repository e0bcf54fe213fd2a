"""How many modules a reader crosses: from a command to the first snapshot, and from a fill to its lots."""

import sys

import pytest

from prometheus.ledger.book import Book
from prometheus.pipeline import tasks
from tests.conftest import REPOSITORY, clone_of
from tests.integration.commands_fleet import AS_OF, call
from tests.integration.test_ledger_fills import book, fleet, sale  # noqa: F401 -- fixtures

#: Every command is called through it, and it calls none of ours.
BOUNDARY = "scripts/boundary"
TO_A_SNAPSHOT = (
    "scripts/run_engine_state",
    "orchestration/advance_all",
    "orchestration/worker",
    "pipeline/advance",
    "pipeline/tasks",
    "decision/build_snapshot",
)
TO_LOTS = (
    "bookkeeping/executions",
    "bookkeeping/ledger",
    "bookkeeping/ledger_work",
    "ledger/fold",
    "ledger/regimes/us",
    "ledger/book",
)


def way_to_here():
    """Return our modules among the callers of a function, outermost first, each once."""
    names, frame = [], sys._getframe(2)
    while frame is not None:
        package, _, name = frame.f_globals.get("__name__", "").partition(".")
        if package == "prometheus":
            names.append(name.replace(".", "/"))
        frame = frame.f_back
    return [name for name in dict.fromkeys(reversed(names)) if name != BOUNDARY]


@pytest.fixture
def reached(monkeypatch):
    """Notes how a function was reached when it is called first."""
    ways = []

    def watch(owner, name, module):
        original = getattr(owner, name)

        def noting(*arguments: object, **named: object):
            ways.append((*way_to_here(), module))
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, noting)
        return ways

    return watch


def test_six_modules_from_a_tick_to_the_first_snapshot(server, loaded_template, reached):
    """``run_engine_state --advance-all`` in one process reaches the first snapshot over six modules of ours."""
    ways = reached(tasks, "build_snapshot", "decision/build_snapshot")
    with clone_of(server, loaded_template) as url:
        day = ("--as-of", AS_OF.isoformat(), "--region", "US")
        call(url, "run-engine-state", *day, "--ensure", "--data-ready")
        call(url, "run-engine-state", "--advance-all", "--workers", "0")
    assert ways[0] == TO_A_SNAPSHOT


def test_six_modules_from_a_fill_to_its_lots(book, reached):  # noqa: F811 -- the fixture
    """An execution reaches the lot that it sells over six modules of ours."""
    ways = reached(Book, "change", "ledger/book")
    assert book(sale("F1", AS_OF.replace(month=6, day=4), 10, 15)) == 1
    assert TO_LOTS in ways


def test_the_document_names_them():
    """docs/specs/architecture.md lists both ways as they are."""
    text = (REPOSITORY / "docs/specs/architecture.md").read_text(encoding="utf-8")
    for way in (TO_A_SNAPSHOT, TO_LOTS):
        for number, name in enumerate(way, 1):
            assert f"{number}. `{name}`" in text
