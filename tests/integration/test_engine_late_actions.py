"""Corporate actions that come or change after the books have passed them: never silent, booked when asked for."""

from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger import book_executed
from prometheus.domain.books import Fill
from prometheus.domain.lots import Side
from prometheus.domain.money import plain_text
from prometheus.ingestion.ingest import IngestOptions, ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.orchestration.advance_all import Outcome
from prometheus.orchestration.health import HealthLimits, engine_health
from tests.integration.engine_fleet import MONDAY, THURSDAY, TUESDAY, WEDNESDAY

PERSISTED, HELD = {Outcome.PERSISTED: 1}, {Outcome.HELD: 1}


@pytest.fixture
def worked(fleet):
    """ACC-1 through Wednesday, by the engine."""
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        fleet.ready(day, "ACC-1")
        assert fleet.advance().outcomes == PERSISTED
    return fleet


def act(fleet, tmp_path, *lines: str):
    """Load a file of actions as a vendor sends it, and return the codes of its findings."""
    path = tmp_path / "actions.csv"
    path.write_text("date,ticker,type,value,other_ticker,basis_fraction\n" + "\n".join(lines) + "\n")
    report = ingest_file(fleet.database, path, FileKind.ACTIONS, options=IngestOptions(today=THURSDAY))
    assert report.loaded, list(report.findings)
    return {finding.code for finding in report.findings}


def findings(fleet):
    """Return the messages of engine_health about actions."""
    return [found.message for found in engine_health(fleet.database, HealthLimits()) if "ACTIONS" in found.code]


def refold(fleet):
    """Book what came late, as the command does."""
    return fleet.command("ledger", "refold")


def test_a_split_that_comes_late_holds_the_next_day_until_it_is_booked(worked, tmp_path):
    """A missed split is told by the load, monitoring and the held day; once it is booked the day goes on."""
    fleet, before = worked, worked.shares()
    assert findings(fleet) == []
    assert act(fleet, tmp_path, f"{TUESDAY},AAA,split,2,,") == {"BOOKS_HAVE_PASSED"}
    (said,) = findings(fleet)
    assert "first ACC-1: split of 2 of AAA on 2024-06-25" in said
    fleet.ready(THURSDAY, "ACC-1")
    assert fleet.advance().outcomes == HELD
    assert ("ACC-1", "ACTIONS_NOT_BOOKED") in fleet.alerts()
    (alert,) = fleet.sql("SELECT message FROM alerts WHERE code = 'ACTIONS_NOT_BOOKED'")
    assert f"{plain_text(before)} shares of AAA are booked, {plain_text(2 * before)} are due" in alert.message
    assert "Run 'prometheus ledger refold --account ACC-1'" in alert.message
    assert fleet.shares() == before
    assert refold(fleet).exit_code == 0
    assert (fleet.shares(), findings(fleet), fleet.differences()) == (2 * before, [], [])
    assert fleet.advance().outcomes == PERSISTED
    assert fleet.differences() == []


def test_a_corrected_dividend_changes_cash_when_booked(worked, tmp_path):
    """What was credited is reversed and credited anew."""
    fleet = worked
    act(fleet, tmp_path, f"{THURSDAY},BBB,dividend,1,,")
    fleet.ready(THURSDAY, "ACC-1")
    assert fleet.advance().outcomes == PERSISTED
    assert findings(fleet) == []
    held, cash = fleet.shares("BBB"), fleet.one("SELECT cash FROM accounts WHERE account_id = 'ACC-1'")
    assert act(fleet, tmp_path, f"{THURSDAY},BBB,dividend,1.5,,") == {"BOOKS_HAVE_PASSED"}
    assert refold(fleet).exit_code == 0
    assert fleet.one("SELECT cash FROM accounts WHERE account_id = 'ACC-1'") == cash + held * Decimal("0.5")
    assert [row.cash for row in fleet.postings("DIVIDEND")] == [held, -held, held * Decimal("1.5")]
    assert fleet.differences() == []


def test_a_late_action_that_moves_no_shares_is_flagged(worked, tmp_path):
    """A late dividend does not hold the next day; its snapshot says what is missing, and so does monitoring."""
    fleet = worked
    act(fleet, tmp_path, f"{TUESDAY},BBB,dividend,1,,")
    fleet.ready(THURSDAY, "ACC-1")
    assert fleet.advance().outcomes == PERSISTED
    assert ("ACC-1", "ACTIONS_NOT_BOOKED") in fleet.alerts()
    (run,) = fleet.sql("SELECT snapshot FROM runs WHERE as_of_date = :day", day=THURSDAY)
    (flag,) = [flag for flag in run.snapshot["flags"] if flag[0] == "ACTIONS_NOT_BOOKED"]
    assert "dividend of 1 of BBB on 2024-06-25: cash changes by 500.00" in flag[1]
    assert len(findings(fleet)) == 1


def test_an_action_of_shares_sold_before_is_looked_at_once(worked, tmp_path):
    """The next day sees that nothing would change, and nobody is told any more."""
    fleet = worked
    trades = [
        Fill(f"{side} FFF", "FFF", side, day, Decimal(5), Decimal(90), new_lot_id="F" if side is Side.BUY else None)
        for side, day in ((Side.BUY, MONDAY), (Side.SELL, TUESDAY))
    ]
    with fleet.database.transaction() as connection:
        book_executed(connection, "ACC-1", trades, through=WEDNESDAY)
    act(fleet, tmp_path, f"{WEDNESDAY},FFF,split,3,,")
    assert len(findings(fleet)) == 1
    fleet.ready(THURSDAY, "ACC-1")
    assert fleet.advance().outcomes == PERSISTED
    assert findings(fleet) == []
    assert fleet.differences() == []


def test_actions_of_the_opening_day_are_in_the_opening_lots(worked, tmp_path):
    """Lots are handed over after the actions of the first day: one that comes late for it concerns nobody."""
    fleet, before = worked, worked.shares()
    assert act(fleet, tmp_path, f"{MONDAY},AAA,split,2,,") == set()
    fleet.ready(THURSDAY, "ACC-1")
    assert fleet.advance().outcomes == PERSISTED
    assert fleet.shares() == before
