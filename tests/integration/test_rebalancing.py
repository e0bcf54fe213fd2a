"""A week under the weekly calendar: one whole rebalancing, days without a reason to trade, and days that have one."""

import json
from datetime import date
from decimal import Decimal

import pytest

from prometheus.bookkeeping.account_columns import write_account_columns
from prometheus.bookkeeping.ledger import book_events
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.ledger.events import CashTransfer
from prometheus.orchestration.advance_all import Outcome
from prometheus.simulation.fills import fill_day
from tests.integration.engine_fleet import FRIDAY, MONDAY, NAMES, THURSDAY, TUESDAY, WEDNESDAY, change_strategy

WEEKLY = {"rebalance": "weekly", "harvest_min_share": 0.02, "harvest_sigma": 1.0}


def restrict(fleet, **params: object):
    """Store a new version of the fleet's strategy."""
    with fleet.database.transaction() as connection:
        change_strategy(connection, **params)


def day(fleet, as_of, *, filled=True, account_id="ACC-1"):
    """Take an account through a day; return what its result says of the rebalancing, and its status."""
    fleet.ready(as_of, account_id)
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    if filled:
        fill_day(fleet.database, as_of)
    row = fleet.sql("SELECT status, result, snapshot FROM runs WHERE as_of_date = :day", day=as_of)[0]
    kind = row.snapshot["rebalancing"]
    told = row.result["rebalancing"]
    assert (told["kind"], told["last_whole"]) == (kind["kind"], kind["last_whole"])
    return row.status, told["kind"], told["scope"], told["reasons"], told["whole_on"]


def traded(fleet, as_of):
    """Return side and ticker of a day's orders."""
    rows = fleet.sql(
        "SELECT DISTINCT side, ticker FROM run_trades JOIN runs USING (run_id) WHERE as_of_date = :day", day=as_of
    )
    return sorted((row.side, row.ticker) for row in rows)


def recorded(fleet, number):
    """Return the stored result of a run of ACC-1."""
    return fleet.one("SELECT result FROM runs WHERE account_id = 'ACC-1' AND run_seq = :number", number=number)


def test_a_week_of_the_calendar(fleet, tmp_path):
    """Monday is whole, Tuesday has nothing to do, a name restricted on Wednesday goes and nothing else; all replay."""
    restrict(fleet, **WEEKLY)
    monday = MONDAY.isoformat()
    assert day(fleet, MONDAY) == ("OPTIMAL", "WHOLE", "ALL", [], monday)
    assert len(traded(fleet, MONDAY)) > 3
    assert day(fleet, TUESDAY) == ("OPTIMAL", "PARTIAL", "NOTHING", [], monday)
    assert traded(fleet, TUESDAY) == []
    restrict(fleet, never_hold=["CCC"])
    assert day(fleet, WEDNESDAY) == ("OPTIMAL", "PARTIAL", "REASONS", [["RESTRICTED", "CCC"]], monday)
    assert [trade for trade in traded(fleet, WEDNESDAY) if trade[0] == "SELL"] == [("SELL", "CCC")]
    assert day(fleet, THURSDAY) == ("OPTIMAL", "PARTIAL", "NOTHING", [], monday)

    (quiet,) = fleet.sql("SELECT * FROM runs WHERE as_of_date = :day", day=TUESDAY)
    assert (quiet.solver, quiet.solver_status, quiet.gap_bps) == ("NONE", "nothing may trade", 0.0)
    assert quiet.objective == quiet.lower_bound
    shown = fleet.command("runs", "show", "ACC-1", "RUN-002").stdout
    assert f"no reason to trade; the last whole rebalancing was on {monday}" in shown
    assert "partial: restricted securities held: CCC" in fleet.command("runs", "show", "ACC-1", "RUN-003").stdout
    assert "whole, the account's first" in fleet.command("runs", "show", "ACC-1", "RUN-001").stdout
    assert "Rebalancing: no reason to trade" in fleet.command("explain", "ACC-1", "RUN-002").stdout
    listed = json.loads(fleet.command("runs", "list", "ACC-1", "--format", "json").stdout)
    assert [row["trades"] == 0 for row in listed] == [False, True, False, True]

    replayed = fleet.command("replay", "ACC-1", "--from", monday, "--to", FRIDAY.isoformat(), "--workers", "1")
    assert replayed.exit_code == 0, replayed.stdout
    other = fleet.command("replay", "ACC-1", "RUN-002", "--solver", "CVXPY")
    assert other.exit_code == 0, other.stdout
    assert fleet.command("verify-audit").exit_code == 0
    for run in ("RUN-001", "RUN-002", "RUN-003"):
        file, answer = tmp_path / f"{run}.json", tmp_path / f"{run}.result.json"
        assert fleet.command("runs", "export", "ACC-1", run, "--out", str(file)).exit_code == 0
        assert fleet.command("optimize", str(file), "--out", str(answer)).exit_code == 0
        mine, record = json.loads(answer.read_text()), recorded(fleet, int(run[-1]))
        assert mine["rebalancing"] == record["rebalancing"]
        assert mine["rounded_weights"] == pytest.approx(record["target_weights"], abs=1e-12)
        assert len(mine["trades"]) == record["settlement"]["trades"]


@pytest.mark.parametrize("how", ["no answer", "no fills"])
def test_a_whole_rebalancing_that_came_to_nothing_is_done_the_next_day(fleet, how):
    """Monday without a certified answer, or without a single fill, leaves the whole rebalancing to Tuesday."""
    restrict(fleet, **WEEKLY, **({"no_buy": NAMES} if how == "no answer" else {}))
    status, kind, *_, whole_on = day(fleet, MONDAY, filled=how == "no answer")
    assert (status, kind, whole_on) == (
        ("NON_OPTIMAL", "WHOLE", None) if how == "no answer" else ("OPTIMAL", "WHOLE", MONDAY.isoformat())
    )
    restrict(fleet, no_buy=[])
    assert day(fleet, TUESDAY) == ("OPTIMAL", "WHOLE", "ALL", [], TUESDAY.isoformat())
    assert day(fleet, WEDNESDAY)[1:3] == ("PARTIAL", "NOTHING")


def test_a_missed_monday_makes_the_first_session_of_the_week_whole(fleet):
    """The last whole day of a run recorded before the calendar is its own; the first day of a later week is whole."""
    day(fleet, MONDAY)
    restrict(fleet, **WEEKLY)
    assert day(fleet, WEDNESDAY)[1:] == ("PARTIAL", "NOTHING", [], MONDAY.isoformat())
    # as if that week had been the one before
    fleet.sql("ALTER TABLE runs DISABLE TRIGGER USER")
    earlier = date(2024, 6, 20)
    fleet.sql(
        "UPDATE runs SET result = jsonb_set(result, '{rebalancing,whole_on}', to_jsonb(cast(:day AS text)))",
        day=earlier.isoformat(),
    )
    fleet.sql("ALTER TABLE runs ENABLE TRIGGER USER")
    assert day(fleet, THURSDAY)[1:] == ("WHOLE", "ALL", [], THURSDAY.isoformat())


def test_money_that_comes_in_is_invested_on_a_partial_day(fleet):
    """Cash above its range is a reason: it buys, sells nothing, and the next day is quiet again."""
    restrict(fleet, **WEEKLY)
    day(fleet, MONDAY)
    wire = CashTransfer(account="ACC-1", event_id="wire-1", trade_date=MONDAY, amount=Decimal(20_000))
    with fleet.database.transaction() as connection:
        booked = book_events(connection, "ACC-1", [wire], MONDAY, source=EventSource.PERSON)
        write_account_columns(connection, booked.state, {})
    status, _, scope, reasons, _ = day(fleet, TUESDAY)
    assert (status, scope, reasons) == ("OPTIMAL", "REASONS", [["CASH_HIGH"]])
    assert {side for side, _ in traded(fleet, TUESDAY)} == {"BUY"}
    assert fleet.one("SELECT cash FROM accounts WHERE account_id = 'ACC-1'") < Decimal(3000)
    assert day(fleet, WEDNESDAY)[2] == "NOTHING"


def test_a_tag_demands_a_whole_rebalancing(fleet):
    """The shipped strategy has a tag that makes every day of an account a whole one until it is taken away."""
    restrict(fleet, **WEEKLY)
    assert day(fleet, MONDAY)[1] == "WHOLE"
    fleet.sql("UPDATE accounts SET tags = '{rebalance:daily}' WHERE account_id = 'ACC-1'")
    assert day(fleet, TUESDAY)[1:] == ("WHOLE", "ALL", [], TUESDAY.isoformat())
    fleet.sql("UPDATE accounts SET tags = '{}' WHERE account_id = 'ACC-1'")
    assert day(fleet, WEDNESDAY)[1:3] == ("PARTIAL", "NOTHING")
