"""Corporate actions that come or change after the books have passed them: never silent, booked when asked for."""

import pytest

from prometheus.bookkeeping.journal import prove_tables
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


def shares(fleet, ticker="AAA"):
    """Return the shares that ACC-1 holds of a security."""
    return fleet.one(
        "SELECT coalesce(sum(quantity), 0) FROM tax_lots JOIN securities USING (security_id) "
        "WHERE account_id = 'ACC-1' AND ticker = :ticker",
        ticker=ticker,
    )


def findings(fleet):
    """Return the messages of engine_health about actions."""
    return [found.message for found in engine_health(fleet.database, HealthLimits()) if "ACTIONS" in found.code]


def is_proved(fleet):
    """Return whether tables, journal and market agree for every account."""
    with fleet.database.transaction() as connection:
        return not any(proof.differences for proof in prove_tables(connection))


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
    fleet.sql(
        "INSERT INTO transactions (account_id, txn_type, trade_date, security_id, quantity, amount, basis, "
        "realized_gain, term, details) SELECT 'ACC-1', 'DIVIDEND', '2024-06-03', security_id, 0, 0, 0, 0, 'NONE', '{}' "
        "FROM securities WHERE ticker = 'FFF'"
    )
    act(fleet, tmp_path, f"{TUESDAY},FFF,split,3,,")
    assert len(findings(fleet)) == 1
    fleet.ready(THURSDAY, "ACC-1")
    assert fleet.advance().outcomes == PERSISTED
    assert findings(fleet) == []
    assert is_proved(fleet)


def test_actions_of_the_opening_day_are_in_the_opening_lots(worked, tmp_path):
    """Lots are handed over after the actions of the first day: one that comes late for it concerns nobody."""
    fleet, before = worked, shares(worked)
    assert act(fleet, tmp_path, f"{MONDAY},AAA,split,2,,") == set()
    fleet.ready(THURSDAY, "ACC-1")
    assert fleet.advance().outcomes == PERSISTED
    assert shares(fleet) == before
