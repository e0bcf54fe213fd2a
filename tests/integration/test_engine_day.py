"""The day of an account: three phases, each with its effects in one transaction, and written once."""

import signal
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy.exc import DBAPIError

from prometheus.bookkeeping.ledger import book_events
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.books import LotPick
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import DatabaseUnavailableError
from prometheus.ledger import events as ev
from prometheus.optimizer import rebalance
from prometheus.orchestration.advance_all import Outcome
from prometheus.orchestration.risk_refresh import refresh_risk_model
from prometheus.pipeline import advance, state
from tests.integration.embedded_processes import wait_for
from tests.integration.engine_fleet import MONDAY, NAMES, TUESDAY, WEDNESDAY, change_strategy, killed_at_exit
from tests.long_form import short_form

DAY_OF_A_RUN = ["CREATED", "TRANSITION", "CLAIM", "TRANSITION", "TRANSITION", "TRANSITION"]
#: What each phase writes first, the phase before, and where its own rows stand.
RECORDS = (
    ("staged_snapshots", "DATA_READY"),
    ("staged_solutions", "SNAPSHOT_BUILT"),
    ("runs", "SOLVED"),
)
BOOM = "RAISE EXCEPTION 'the disk of % is on fire', TG_TABLE_NAME"


def test_day_leaves_every_row(fleet):
    """From DATA_READY to PERSISTED a run leaves its record, its trades and one event for each edge, and no staging."""
    fleet.ready()
    summary = fleet.advance()
    assert summary.outcomes == {Outcome.PERSISTED: 2}
    run = fleet.run()
    assert (run.phase, run.error, run.owner_instance, run.lease_expires_at) == ("PERSISTED", None, None, None)
    assert run.phase_completed_at is not None
    assert fleet.kinds() == DAY_OF_A_RUN
    rows = fleet.sql("SELECT * FROM runs ORDER BY account_id")
    assert [(row.account_id, row.run_id, row.run_seq, row.status) for row in rows] == [
        ("ACC-1", fleet.run("ACC-1").run_id, 1, "OPTIMAL"),
        ("ACC-2", fleet.run("ACC-2").run_id, 1, "OPTIMAL"),
    ]
    assert all(row.snapshot["universe"]["ticker"] == " ".join(NAMES) for row in rows)
    assert all(row.result["certificate"]["gap_bps"] <= 5 for row in rows)
    for row in rows:
        trades = fleet.sql("SELECT * FROM run_trades WHERE run_id = :run ORDER BY trade_no", run=row.run_id)
        assert [trade.trade_no for trade in trades] == list(range(1, len(trades) + 1))
        assert {trade.side for trade in trades} == {"BUY", "SELL"}
        assert all(trade.lot_id for trade in trades)
    assert fleet.one("SELECT count(*) FROM staged_snapshots") == fleet.one("SELECT count(*) FROM staged_solutions") == 0
    assert fleet.one("SELECT books_as_of FROM accounts WHERE account_id = 'ACC-1'") == MONDAY


def test_days_are_numbered_in_order_and_chained(fleet):
    """The runs of an account count 1, 2, 3 by day, each with the hash of the one before, however they were readied."""
    for day in (WEDNESDAY, MONDAY, TUESDAY):
        fleet.ready(day, "ACC-1")
    fleet.advance()
    rows = fleet.sql("SELECT as_of_date, run_seq, prev_hash, run_hash FROM runs ORDER BY run_seq")
    assert [(row.as_of_date, row.run_seq) for row in rows] == [(MONDAY, 1), (TUESDAY, 2), (WEDNESDAY, 3)]
    assert [row.prev_hash for row in rows] == [None, rows[0].run_hash, rows[1].run_hash]
    assert fleet.one("SELECT last_run_seq FROM accounts WHERE account_id = 'ACC-1'") == 3


@pytest.mark.parametrize(("table", "phase"), RECORDS, ids=[table for table, _ in RECORDS])
def test_failed_record_leaves_neither_transition_nor_effect(fleet, table, phase):
    """Where the record of a phase fails, the phase is unchanged and nothing of it was written; others go on."""
    fleet.ready()
    mine = fleet.run("ACC-1").run_id
    fleet.on_insert(table, BOOM, f"NEW.run_id = {mine}")
    summary = fleet.advance(retry_base_seconds=1000.0)
    assert summary.outcomes == {Outcome.RETRY: 1, Outcome.PERSISTED: 1}
    assert summary.needs_a_person
    run = fleet.run("ACC-1")
    assert (run.phase, run.attempt, run.owner_instance) == (phase, 1, None)
    assert run.error.code == "EXCEPTION"
    assert run.error.previous_phase == phase
    assert "is on fire" in run.error.message
    assert len(run.error.traceback_sha256) == 64
    assert 700 < (run.next_attempt_at - run.updated_at).total_seconds() < 1300
    assert fleet.one(f"SELECT count(*) FROM {table} WHERE run_id = :run", run=mine) == 0
    assert fleet.one("SELECT count(*) FROM run_trades WHERE run_id = :run", run=mine) == 0
    assert fleet.one("SELECT last_run_seq FROM accounts WHERE account_id = 'ACC-1'") == 0
    if table == "staged_snapshots":
        assert fleet.one("SELECT books_as_of FROM accounts WHERE account_id = 'ACC-1'") is None
    before = DAY_OF_A_RUN[: 3 + [name for name, _ in RECORDS].index(table)]
    assert fleet.kinds() == [*before, "RETRY"]
    assert fleet.run("ACC-2").phase == "PERSISTED"

    fleet.leave_alone(table)
    assert fleet.advance().outcomes == {}
    fleet.set_clock("2 hours")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert fleet.run("ACC-1").error is None
    assert fleet.one("SELECT run_seq FROM runs WHERE run_id = :run", run=mine) == 1


@pytest.mark.parametrize(("table", "phase"), RECORDS, ids=[table for table, _ in RECORDS])
def test_attempts_are_limited(fleet, table, phase):
    """A phase that fails every time ends the run as FAILED after its last attempt, with one alert and its reason."""
    fleet.ready()
    run_id = fleet.run().run_id
    fleet.on_insert(table, BOOM, f"NEW.run_id = {run_id}")
    outcomes = [next(iter(set(fleet.advance().outcomes) - {Outcome.PERSISTED}), None) for _ in range(6)]
    assert outcomes == [Outcome.RETRY] * 4 + [Outcome.FAILED, None]
    run = fleet.run()
    assert (run.phase, run.attempt, run.owner_instance) == ("FAILED", 5, None)
    assert {name: getattr(run.error, name) for name in ("code", "previous_phase", "attempt")} == {
        "code": "EXCEPTION",
        "previous_phase": phase,
        "attempt": 5,
    }
    assert fleet.alerts() == [("ACC-1", "RUN_FAILED")]
    assert fleet.kinds().count("RETRY") == 4
    assert fleet.run("ACC-2").phase == "PERSISTED"


@pytest.mark.parametrize(("table", "phase"), short_form(RECORDS[::-1], 1))
def test_killed_worker_is_replaced_when_its_lease_ends(fleet, table, phase):
    """A process killed in the middle of a record leaves nothing of it; after the lease another one ends the day."""
    fleet.ready(account_id="ACC-1")
    fleet.on_insert(table, "PERFORM pg_sleep(3000)")
    with killed_at_exit(fleet.spawn("--advance-all", RUN_HEARTBEAT_STALE_SECONDS="1000")) as process:
        sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        asleep = wait_for(lambda: fleet.sql(sleeping) or process.poll() is not None, "the record", pause=0.05)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.wait()
    fleet.sql("SELECT pg_terminate_backend(:pid)", pid=asleep[0].pid)
    fleet.leave_alone(table)
    run = fleet.run()
    assert (run.phase, run.lease_token) == (phase, 1)
    assert run.owner_instance is not None
    assert fleet.advance(lease_ttl=1000).outcomes == {}

    fleet.set_clock("1001 seconds")
    assert fleet.advance(lease_ttl=1000).outcomes == {Outcome.PERSISTED: 1}
    assert fleet.run().lease_token == 2
    assert fleet.kinds().count("TRANSITION") == 4
    assert fleet.kinds().count("TAKE_OVER") == 1
    assert fleet.one("SELECT count(*) FROM runs") == 1


@pytest.mark.parametrize("table", ["runs", "run_trades"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET run_id = run_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_record_is_immutable(fleet, table, statement):
    """The database refuses to change or remove a persisted run or a trade of it."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    before = fleet.dump(heartbeats=True, events=True)
    with pytest.raises(DBAPIError, match="append-only"):
        fleet.sql(statement.format(table))
    assert fleet.dump(heartbeats=True, events=True) == before


def test_repeated_commands_change_nothing(fleet):
    """After the day every command of it may be given again and no row of any table changes."""
    for region in ("US", "CA"):
        fleet.ready(region=region)
    fleet.advance()
    assert set(fleet.phases().values()) == {"PERSISTED"}
    before = fleet.dump()
    for region in ("US", "CA"):
        for flags in (("--ensure",), ("--data-ready",), ("--ensure", "--data-ready", "--advance-all")):
            assert fleet.invoke("--as-of", MONDAY, "--region", region, *flags).exit_code == 0
    assert fleet.invoke("--advance-all").exit_code == 0
    assert fleet.dump() == before


def test_commands_repeated_half_way_change_nothing(fleet):
    """A run on its way keeps its phase, its staged rows and its lease when its day is ensured and readied again."""
    fleet.ready()
    fleet.on_insert("runs", BOOM)
    fleet.advance(retry_base_seconds=1000.0)
    assert set(fleet.phases().values()) == {"SOLVED"}
    before = fleet.dump(heartbeats=True, events=True)
    assert fleet.ensure() == state.Prepared(0, 0, ())
    assert fleet.ready() == state.Prepared(0, 0, ())
    assert fleet.dump(heartbeats=True, events=True) == before


def test_run_that_stands_is_not_written_again(fleet):
    """Where the record exists already, the phase catches up with it; the record stays as it is."""
    fleet.ready(account_id="ACC-1")
    fleet.on_insert("runs", BOOM)
    fleet.advance()
    fleet.leave_alone("runs")
    # Another writer puts the record there before this run's own attempt: made from a copy of the day in this test.
    fleet.sql("UPDATE accounts SET last_run_seq = 1 WHERE account_id = 'ACC-1'")
    fleet.sql("""
        INSERT INTO runs (run_id, account_id, run_seq, as_of_date, status, solver, solver_tolerance, solver_status,
            iterations, code_version, library_versions, timings, strategy_id, strategy_version, risk_model_id,
            loadings_sha256, specific_variance_sha256, snapshot, params_snapshot, result, flags, digests, run_hash)
        SELECT run.run_id, account_id, 1, run.as_of_date, 'OPTIMAL', 'X', 1, 'Solved', 1, 'x', '{}', '{}', 'x', 1,
            risk_model_id, loadings_sha256, specific_variance_sha256, '{}', '{}', '{}', '[]', '{}', 'x'
        FROM engine_runs AS run, risk_models
    """)
    before = fleet.dump()
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    after = fleet.dump()
    assert after["runs"] == before["runs"]
    assert after["run_trades"] == []
    assert fleet.run().phase == "PERSISTED"


def test_trades_without_fills_are_flagged_the_next_day(fleet):
    """A day after unfilled trades starts from the old lots, says so on the run, and raises one alert for it."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    fleet.ready(TUESDAY, "ACC-1")
    fleet.advance()
    first, second = fleet.sql("SELECT flags, snapshot FROM runs ORDER BY run_seq")
    assert first.flags == []
    ((code, message),) = second.flags
    assert code == "UNFILLED_TRADES"
    assert f"RUN-001 of {MONDAY}" in message
    assert second.snapshot["lots"] == first.snapshot["lots"]
    assert fleet.alerts() == [("ACC-1", "UNFILLED_TRADES")]


def test_gains_of_the_year_count_against_the_year_s_budget(fleet):
    """A budget of the calendar year is what the journal's sales since January leave of it; last year's do not count."""
    with fleet.database.transaction() as connection:
        change_strategy(connection, tax_budget_ytd=0.0, tax_weight=0.0)
    fleet.open_books(date(2023, 12, 1), "ACC-2")
    head = {"account": "ACC-2", "trade_date": date(2023, 12, 1)}
    events: list[ev.Event] = [ev.CashTransfer(**head, event_id="out", amount=Decimal(-150_000))]
    for day, gain in ((date(2023, 12, 29), -40_000), (date(2024, 1, 2), -4_000), (date(2024, 2, 1), 9_000)):
        lot = {"ticker": "FFF", "quantity": Decimal(10)}
        events += [
            ev.TransferIn(
                **head, **lot, event_id=f"in {day}", cost_basis=Decimal(50_000 - gain), acquired_on=date(2020, 1, 2),
                lot_id=f"G{day}",
            ),
            ev.Sell(
                account="ACC-2", **lot, event_id=f"x{day}", trade_date=day, amount=Decimal(50_000),
                picks=(LotPick(f"G{day}", Decimal(10)),),
            ),
        ]  # fmt: skip
    with fleet.database.transaction() as connection:
        booked = book_events(connection, "ACC-2", events, date(2024, 2, 1), source=EventSource.FILE)
        assert [finding for finding in booked.findings if finding.refused] == []
    fleet.ready()
    fleet.advance()
    rows = fleet.sql("SELECT account_id, snapshot, result FROM runs ORDER BY account_id")
    assert [row.result["failures"] for row in rows] == [[], []]
    before = [Decimal(row.snapshot["realized_this_year"]) for row in rows]
    gains = [sum(Decimal(row.result["settlement"][f"realized_gain_{t}"]) for t in ("short", "long")) for row in rows]
    assert before == [0, 5_000]
    # with nothing to make up for, the second account would realise a small gain
    assert gains[1] <= -5_000 + Decimal("0.05")
    assert gains[0] <= Decimal("0.05")


def test_missing_price_is_carried_forward_over_a_split(fleet):
    """A held name without a price is valued at the last one divided by the split since, flagged, and not traded."""
    fleet.sql(
        "DELETE FROM prices USING securities s WHERE s.security_id = prices.security_id AND ticker = 'AAA' "
        "AND price_date = :day",
        day=TUESDAY,
    )
    fleet.sql(
        "INSERT INTO corporate_actions SELECT security_id, :day, 'split', 2 FROM securities WHERE ticker = 'AAA'",
        day=TUESDAY,
    )
    fleet.open_books(MONDAY)
    with fleet.database.transaction() as connection:
        change_strategy(connection, max_missing_price_share=0.2)
    monday = fleet.one(
        "SELECT close FROM prices JOIN securities USING (security_id) WHERE ticker = 'AAA' AND price_date = :day",
        day=MONDAY,
    )
    fleet.ready(TUESDAY, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    (run,) = fleet.sql("SELECT snapshot, flags FROM runs")
    name = Snapshot.from_json(run.snapshot).universe[0]
    assert (name.ticker, name.price) == ("AAA", monday / 2)
    ((code, message),) = run.flags
    assert code == "MISSING_PRICE"
    assert str(MONDAY) in message
    assert ("ACC-1", "MISSING_PRICE") in fleet.alerts()
    assert fleet.shares("AAA") == 2 * 700
    assert fleet.one("SELECT count(*) FROM run_trades WHERE ticker = 'AAA'") == 0
    assert fleet.one("SELECT count(*) FROM run_trades") > 0


def test_too_many_missing_prices_hold_the_day(fleet):
    """More names without a price than the strategy allows hold the phase until the prices are there."""
    fleet.sql("CREATE TABLE kept AS SELECT * FROM prices WHERE price_date = :day", day=TUESDAY)
    fleet.sql(
        "DELETE FROM prices USING securities s WHERE s.security_id = prices.security_id AND ticker < 'CCC' "
        "AND price_date = :day",
        day=TUESDAY,
    )
    fleet.ready(TUESDAY, "ACC-1")
    assert fleet.advance().outcomes == fleet.advance().outcomes == {Outcome.HELD: 1}
    run = fleet.run(day=TUESDAY)
    assert (run.phase, run.attempt, run.error) == ("DATA_READY", 0, None)
    assert fleet.alerts() == [("ACC-1", "MISSING_PRICES")]
    fleet.sql("INSERT INTO prices SELECT * FROM kept ON CONFLICT DO NOTHING")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}


def test_stale_risk_model_holds_the_day(fleet):
    """A model 37 hours old holds the phase: one alert over two ticks, no attempt charged; a refresh lets it go."""
    fleet.ready(account_id="ACC-1")
    fleet.set_clock("37 hours")
    assert fleet.advance().outcomes == fleet.advance().outcomes == {Outcome.HELD: 1}
    run = fleet.run()
    assert (run.phase, run.attempt, run.error, run.owner_instance) == ("DATA_READY", 0, None, None)
    assert fleet.alerts() == [("ACC-1", "STALE_RISK")]
    assert fleet.kinds() == ["CREATED", "TRANSITION", "CLAIM", "HOLD", "CLAIM", "HOLD"]
    assert fleet.one("SELECT count(*) FROM staged_snapshots") == 0
    refresh_risk_model(fleet.database, as_of=MONDAY)
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert fleet.one("SELECT risk_model_id FROM runs") == 2


def test_model_just_within_its_age_is_used(fleet):
    """A model 35 hours old holds nothing."""
    fleet.ready(account_id="ACC-1")
    fleet.set_clock("35 hours")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}


def test_missing_risk_model_holds_the_day(fleet):
    """A day before the first model is held with the alert STALE_RISK."""
    friday_before = date(2024, 6, 21)
    fleet.ready(friday_before, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.HELD: 1}
    assert fleet.alerts() == [("ACC-1", "STALE_RISK")]
    assert fleet.run(day=friday_before).attempt == 0


def _rebalance_with_a_gap(problem, *, backend):
    result = rebalance(problem, backend=backend)
    return replace(result, certificate=replace(result.certificate, gap_bps=1.0))


@pytest.mark.parametrize(
    ("params", "code"),
    [({"max_gap_bps": 0.5}, "GAP_TOO_WIDE"), ({"max_weight": 0.01, "max_active_weight": 0.0}, "INFEASIBLE")],
    ids=["certificate", "infeasible"],
)
def test_no_certified_answer_keeps_the_previous_targets(fleet, monkeypatch, params, code):
    """Without a certified answer the day is PERSISTED as NON_OPTIMAL: previous targets, no trades, one alert."""
    # Six names are solved to the last digit; the certificate is made to prove one basis point less.
    monkeypatch.setattr("prometheus.decision.solve.rebalance", _rebalance_with_a_gap)
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    with fleet.database.transaction() as connection:
        change_strategy(connection, **params)
    fleet.ready(TUESDAY, "ACC-1")
    fleet.ready(TUESDAY, "ACC-2")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2}
    rows = {(row.account_id, row.run_seq): row for row in fleet.sql("SELECT * FROM runs")}
    first, second, day_one = rows["ACC-1", 1], rows["ACC-1", 2], rows["ACC-2", 1]
    assert (first.status, second.status, day_one.status) == ("OPTIMAL", "NON_OPTIMAL", "NON_OPTIMAL")
    assert second.result["target_weights"] == first.result["target_weights"]
    assert set(day_one.result["target_weights"]) == {"AAA", "BBB"}
    assert second.solver_status == code
    for row in (second, day_one):
        assert fleet.one("SELECT count(*) FROM run_trades WHERE run_id = :run", run=row.run_id) == 0
        assert row.gap_bps is None
    assert [alert for alert in fleet.alerts() if alert[1] == "NON_OPTIMAL"] == [
        ("ACC-1", "NON_OPTIMAL"),
        ("ACC-2", "NON_OPTIMAL"),
    ]


@pytest.mark.parametrize("committed", [True, False])
def test_lost_answer_to_a_commit_is_looked_up(fleet, monkeypatch, committed):
    """Where the connection breaks at a commit the row tells: the run goes on if it passed, else the tick ends."""
    real = advance._commit_together

    def commit_and_lose_the_answer(context, ready):
        solved = ready[0][1].to_phase is Phase.SOLVED
        if committed or not solved:
            moved = real(context, ready)
        if solved:
            raise DatabaseUnavailableError("The database connection broke.")
        return moved

    monkeypatch.setattr(advance, "_commit_together", commit_and_lose_the_answer)
    fleet.ready(account_id="ACC-1")
    if committed:
        assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
        assert fleet.kinds() == DAY_OF_A_RUN
    else:
        with pytest.raises(DatabaseUnavailableError):
            fleet.advance()
        run = fleet.run()
        assert (run.phase, run.error) == ("SNAPSHOT_BUILT", None)
        assert run.owner_instance is not None
