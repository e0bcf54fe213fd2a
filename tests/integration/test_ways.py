"""How many modules a reader crosses: from a command to the first snapshot, and from a fill to its lots."""

import sys
from decimal import Decimal

import pytest

from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.ledger.book import Book
from prometheus.pipeline import tasks
from tests.conftest import REPOSITORY, clone_of
from tests.integration.commands_fleet import AS_OF, call
from tests.integration.engine_fleet import MONDAY, TUESDAY
from tests.integration.ledger_books import booking
from tests.integration.test_trades import executed, exported, loaded, written

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
FROM_A_FILE = ("scripts/ingest", "ingestion/ingest", "ingestion/executions", "bookkeeping/order_executions")
WASH_SALES = "ledger/regimes/wash_sales"
TO_LOTS = (
    "bookkeeping/ledger",
    "bookkeeping/ledger_work",
    "ledger/fold",
    "ledger/regimes/us",
    WASH_SALES,
    "ledger/book",
)
TO_LOTS_WITHOUT_WASH = tuple(name for name in TO_LOTS if name != WASH_SALES)
TO_POOLS = tuple(name.replace("/us", "/canada") for name in TO_LOTS_WITHOUT_WASH)


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
    """Notes how a function was reached, call by call."""
    ways = []

    def watch(owner, name, module):
        original = getattr(owner, name)

        def noting(*arguments: object, **named: object):
            ways.append((*way_to_here(), module))
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, noting)
        return ways

    return watch


@pytest.fixture
def snapshots(server, loaded_template, reached):
    """Runs commands one after the other upon a fleet that has data, and returns the way to the first snapshot."""
    ways = reached(tasks, "build_snapshot", "decision/build_snapshot")

    def run(*commands: tuple[str, ...]):
        with clone_of(server, loaded_template) as url:
            for words in commands:
                call(url, *words)
        return ways[0]

    return run


DAY = ("--as-of", AS_OF.isoformat(), "--region", "US")


def test_six_modules_from_a_tick_to_the_first_snapshot(snapshots):
    """``run_engine_state --advance-all`` in one process reaches the first snapshot over six modules of ours."""
    ready = ("run-engine-state", *DAY, "--ensure", "--data-ready")
    assert snapshots(ready, ("run-engine-state", "--advance-all", "--workers", "0")) == TO_A_SNAPSHOT


def test_the_day_in_one_command_is_no_longer(snapshots):
    """``run-daily`` begins with its own module and goes the same way from there on."""
    assert snapshots(("run-daily", *DAY, "--workers", "0")) == ("scripts/run_daily", *TO_A_SNAPSHOT[1:])


@pytest.mark.parametrize(
    ("account", "picks", "ways_there"),
    [("ACC-1", (LotPick("L2", Decimal(10)),), {TO_LOTS, TO_LOTS_WITHOUT_WASH}), ("ACC-3", (), {TO_POOLS})],
    ids=["US", "CA"],
)
def test_six_modules_at_most_from_a_fill_to_its_lots(fleet, reached, account, picks, ways_there):
    """A purchase and a sale at a loss reach every lot that they change over six modules of ours at most."""
    ways = reached(Book, "change", "ledger/book")
    booking(fleet.database)(
        account,
        Fill("B1", "AAA", Side.BUY, MONDAY, Decimal(5), Decimal(1)),
        Fill("S1", "AAA", Side.SELL, TUESDAY, Decimal(10), Decimal(1), lot_picks=picks),
    )
    # The books open on the way, and the test has them checked afterwards.
    assert {way for way in ways if way[0] == TO_LOTS[0] and "ledger/arrivals" not in way} == ways_there


def test_a_file_comes_to_its_fills_over_four_modules(fleet, reached, tmp_path):
    """``ingest FILE --kind executions`` has four modules before the ledger's."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    path = written(tmp_path / "executions.csv", [executed(row) for row in exported(fleet)])
    ways = reached(Book, "change", "ledger/book")
    assert loaded(fleet, path)["inserted"] > 0
    assert (*FROM_A_FILE, *TO_LOTS_WITHOUT_WASH) in ways
    assert {way[: len(FROM_A_FILE)] for way in ways} == {FROM_A_FILE}


def test_the_document_names_them():
    """docs/specs/architecture.md lists both ways as they are."""
    text = (REPOSITORY / "docs/specs/architecture.md").read_text(encoding="utf-8")
    for way in (TO_A_SNAPSHOT, TO_LOTS):
        for number, name in enumerate(way, 1):
            assert f"{number}. `{name}`" in text
    assert ", ".join(f"`{name}`" for name in FROM_A_FILE[:-1]) in text
