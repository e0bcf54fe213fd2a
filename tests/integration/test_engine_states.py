"""What operators may do to runs: ensure, ready, cancel, reset, freeze; refused requests write nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from prometheus.db.database import Database, Timeouts
from prometheus.db.leases import commit_phase, finish_cancel, heartbeat
from prometheus.db.repositories.engine_flags import read_switch, set_switch
from prometheus.decision.solve import solve_day
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import (
    ActiveRunCapError,
    EngineFrozenError,
    NoDataError,
    NotASessionError,
    RequestError,
    RunCancelledError,
    UnknownAccountError,
)
from prometheus.orchestration.advance_all import Outcome
from prometheus.pipeline import state
from prometheus.pipeline.advance import advance_batch
from prometheus.pipeline.shared_inputs import SharedInputs
from prometheus.pipeline.tasks import TaskContext
from tests.integration.embedded_processes import DEADLINE_SECONDS, wait_for
from tests.integration.engine_fleet import (
    FRIDAY,
    HOLIDAY,
    MONDAY,
    SATURDAY,
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    WITHOUT_PRICES,
    Heard,
)

REPOSITORY = Path(__file__).resolve().parents[2]
REFUSED = {
    "no data": (["--as-of", WITHOUT_PRICES, "--region", "US", "--ensure", "--data-ready"], "NO_DATA"),
    "unknown account": (["--as-of", MONDAY, "--account", "ACC-9", "--ensure"], "UNKNOWN_ACCOUNT"),
    "unknown region": (["--as-of", MONDAY, "--region", "MARS", "--ensure"], "UNKNOWN_ACCOUNT"),
    "weekend": (["--as-of", SATURDAY, "--region", "US", "--ensure"], "NOT_A_SESSION"),
    "holiday": (["--as-of", HOLIDAY, "--account", "ACC-1", "--ensure", "--data-ready"], "NOT_A_SESSION"),
    "no run": (["--as-of", MONDAY, "--region", "US", "--data-ready"], "NO_RUN"),
    "nothing to cancel": (["--as-of", MONDAY, "--region", "US", "--cancel"], "NO_RUN"),
    "nothing to reset": (["--as-of", MONDAY, "--region", "US", "--reset", "--reason", "x"], "NO_RUN"),
}
MISUSED = [
    [],
    ["--ensure"],
    ["--as-of", MONDAY, "--ensure"],
    ["--as-of", MONDAY, "--region", "US", "--account", "ACC-1", "--ensure"],
    ["--as-of", MONDAY, "--region", "US", "--reset"],
    ["--as-of", MONDAY, "--region", "US", "--reset", "--reason", " "],
    ["--as-of", "2024-6-x", "--region", "US", "--ensure"],
]


@pytest.mark.parametrize("case", REFUSED)
def test_refused_request_writes_nothing(fleet, case):
    """A request that cannot be met ends with exit code 2, one sentence with its code, and not one row changed."""
    arguments, code = REFUSED[case]
    before = fleet.dump(heartbeats=True, events=True)
    done = fleet.invoke(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f"[{code}]")
    assert fleet.dump(heartbeats=True, events=True) == before


def test_refused_request_raises_its_own_error(fleet):
    """Below the command line each refusal is a typed error."""
    with pytest.raises(UnknownAccountError):
        fleet.scope(account_id="ACC-9")
    with pytest.raises(NotASessionError):
        fleet.scope(SATURDAY)
    with pytest.raises(NoDataError):
        fleet.ready(WITHOUT_PRICES)
    with pytest.raises(RequestError, match="no run"):
        state.prepare(fleet.database, fleet.scope(), fleet.config(), ensure=False, data_ready=True)


@pytest.mark.parametrize("arguments", MISUSED, ids=lambda arguments: " ".join(map(str, arguments)) or "bare")
def test_misuse_writes_nothing(fleet, arguments):
    """A call that does not say what to do to which runs is a usage error."""
    before = fleet.dump(heartbeats=True, events=True)
    assert fleet.invoke(*arguments).exit_code == 2
    assert fleet.dump(heartbeats=True, events=True) == before


def test_database_that_is_gone_is_one_sentence(fleet):
    """Without a database the tick ends with exit code 1 and one sentence."""
    done = fleet.invoke("--advance-all", PROMETHEUS_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: The database cannot be reached")
    assert line.endswith("[DATABASE_UNAVAILABLE]")


def test_fifty_ensures_at_once_make_one_row(fleet):
    """However many ask at once for an account's day, one of them creates it."""
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda _: fleet.ensure(account_id="ACC-1").created, range(50)))
    assert sorted(created) == [0] * 49 + [1]
    assert fleet.phases() == {("ACC-1", MONDAY): "WAITING_FOR_DATA"}
    assert fleet.kinds() == ["CREATED"]


def test_cap_holds_however_many_ask(fleet):
    """Of five days asked for at once an account with a limit of two gets two."""

    def ask(day):
        try:
            return fleet.ensure(day, "ACC-1", max_active_runs=2).created
        except ActiveRunCapError:
            return 0

    with ThreadPoolExecutor(5) as pool:
        created = list(pool.map(ask, (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)))
    assert sum(created) == len(fleet.phases()) == 2


def test_refusal_by_the_cap_changes_nothing(fleet):
    """One account over its limit refuses the whole request, for every account; its own days pass."""
    for day in (MONDAY, TUESDAY):
        fleet.ensure(day, "ACC-1")
    before = fleet.dump(heartbeats=True, events=True)
    with pytest.raises(ActiveRunCapError, match="ACC-1"):
        fleet.ensure(WEDNESDAY, max_active_runs=2)
    done = fleet.invoke(
        "--as-of", WEDNESDAY, "--region", "US", "--ensure", "--data-ready", MAX_ACTIVE_RUNS_PER_ACCOUNT="2"
    )
    assert (done.exit_code, "[ACTIVE_RUN_CAP]" in done.stderr) == (2, True)
    assert fleet.ensure(TUESDAY, "ACC-1", max_active_runs=2).created == 0
    assert fleet.dump(heartbeats=True, events=True) == before


def test_waiting_run_is_not_advanced(fleet):
    """A run whose data are not marked ready stays where it is, and nothing needs a person."""
    fleet.ensure()
    summary = fleet.advance()
    assert summary.outcomes == {}
    assert not summary.needs_a_person
    assert set(fleet.phases().values()) == {"WAITING_FOR_DATA"}


def test_day_two_waits_for_day_one(fleet):
    """While the first day retries, the second is not touched; then they follow in order in one tick."""
    fleet.ready(MONDAY, "ACC-1")
    fleet.ready(TUESDAY, "ACC-1")
    fleet.on_insert("staged_solutions", "RAISE EXCEPTION 'no'")
    assert fleet.advance(retry_base_seconds=1000.0).outcomes == {Outcome.RETRY: 1}
    assert fleet.kinds(day=TUESDAY) == ["CREATED", "TRANSITION"]
    fleet.leave_alone("staged_solutions")
    assert fleet.advance().outcomes == {}
    fleet.set_clock("2 hours")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2}
    assert [tuple(row) for row in fleet.sql("SELECT run_seq, as_of_date FROM runs ORDER BY 1")] == [
        (1, MONDAY),
        (2, TUESDAY),
    ]


def test_day_overtaken_by_a_later_one_is_superseded(fleet):
    """Marking a day ready after a later one was traded ends it as SUPERSEDED, says so, and cannot be reset."""
    fleet.ensure(MONDAY, "ACC-1")
    fleet.ready(TUESDAY, "ACC-1")
    fleet.advance()
    done = fleet.invoke("--as-of", MONDAY, "--account", "ACC-1", "--data-ready")
    assert done.exit_code == 0
    assert "SUPERSEDED" in done.stdout
    run = fleet.run()
    assert (run.phase, run.error.code, run.error.previous_phase) == ("FAILED", "SUPERSEDED", "WAITING_FOR_DATA")
    assert fleet.kinds() == ["CREATED", "SUPERSEDED"]
    before = fleet.dump(heartbeats=True, events=True)
    fleet.invoke("--as-of", MONDAY, "--account", "ACC-1", "--reset", "--reason", "again")
    assert fleet.dump(heartbeats=True, events=True) == before


def test_unclaimed_run_is_cancelled_at_once(fleet):
    """Cancelling a run nobody works on ends it as FAILED with code CANCELLED; a second time changes nothing."""
    fleet.ready()
    assert state.cancel(fleet.database, fleet.scope(), reason="wrong prices") == {"CANCELLED": 2}
    run = fleet.run()
    assert (run.phase, run.error.code, run.error.previous_phase) == ("FAILED", "CANCELLED", "DATA_READY")
    assert run.error.message == "wrong prices"
    before = fleet.dump(heartbeats=True, events=True)
    assert state.cancel(fleet.database, fleet.scope(), reason="again") == {"FAILED": 2}
    assert fleet.dump(heartbeats=True, events=True) == before
    assert fleet.advance().outcomes == {}


def test_owner_of_a_cancelled_run_sees_it(fleet):
    """A claimed run is flagged: its next heartbeat and its next commit tell the owner, who ends it."""
    fleet.ready(account_id="ACC-1")
    (lease,) = fleet.claim()
    scope = fleet.scope(account_id="ACC-1")
    assert state.cancel(fleet.database, scope, reason="x") == {"REQUESTED": 1}
    assert state.cancel(fleet.database, scope, reason="x") == {"REQUESTED": 1}
    assert fleet.kinds().count("CANCEL_REQUESTED") == 1
    assert fleet.run().phase == "DATA_READY"
    with fleet.database.transaction() as connection:
        assert heartbeat(connection, [lease], ttl=300) == (frozenset(), frozenset({lease.run_id}))
    with pytest.raises(RunCancelledError), fleet.database.transaction() as connection:
        commit_phase(connection, lease, Phase.SNAPSHOT_BUILT, ttl=300)
    with fleet.database.transaction() as connection:
        assert finish_cancel(connection, lease)
    assert (fleet.run().phase, fleet.run().error.code) == ("FAILED", "CANCELLED")


def test_cancel_during_a_phase_does_not_wait_for_it(fleet):
    """A cancel that comes while a phase is computed returns at once; the worker's commit ends the run."""
    fleet.ready(account_id="ACC-1")
    # The phase waits for the cancel here: a cancel that waited for the phase, or for any lock of it, would fail.
    hurried = Database(fleet.url, timeouts=Timeouts(lock=0.3))

    def solve_and_be_cancelled(day, params, targets):
        assert state.cancel(hurried, fleet.scope(account_id="ACC-1"), reason="x") == {"REQUESTED": 1}
        return solve_day(day, params, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prometheus.pipeline.tasks.solve_day", solve_and_be_cancelled)
        assert fleet.advance().outcomes == {Outcome.CANCELLED: 1}
    hurried.close()
    run = fleet.run()
    assert (run.phase, run.error.code, run.error.previous_phase) == ("FAILED", "CANCELLED", "SNAPSHOT_BUILT")
    assert fleet.one("SELECT count(*) FROM staged_solutions") == 0


def test_cancelled_run_of_a_dead_worker_is_ended_by_the_next_heartbeat(fleet):
    """Where the owner never answers, the tick after its lease ends the run."""
    fleet.ready(account_id="ACC-1")
    fleet.claim()
    state.cancel(fleet.database, fleet.scope(account_id="ACC-1"), reason="x")
    assert fleet.advance().reaped == 0
    fleet.set_clock("301 seconds")
    assert fleet.advance().reaped == 1
    assert (fleet.run().phase, fleet.run().error.code) == ("FAILED", "CANCELLED")


def test_cancel_never_downgrades_a_persisted_run(fleet):
    """Cancelling a PERSISTED run reports that phase and changes nothing."""
    fleet.ready()
    fleet.advance()
    before = fleet.dump(heartbeats=True, events=True)
    done = fleet.invoke("--as-of", MONDAY, "--region", "US", "--cancel")
    assert done.exit_code == 0
    assert "2 PERSISTED" in done.stdout
    assert fleet.dump(heartbeats=True, events=True) == before


def test_reset_reopens_only_failed_runs_and_is_audited(fleet):
    """A reset re-opens FAILED runs alone, keeps reason, error and alerts in their history, and they run again."""
    fleet.ready()
    run_id = fleet.run("ACC-1").run_id
    fleet.sql("UPDATE engine_runs SET max_attempts = 1")
    fleet.on_insert("staged_solutions", "RAISE EXCEPTION 'no'", f"NEW.run_id = {run_id}")
    assert fleet.advance().outcomes == {Outcome.FAILED: 1, Outcome.PERSISTED: 1}
    assert fleet.alerts() == [("ACC-1", "RUN_FAILED")]
    persisted = fleet.sql("SELECT * FROM engine_runs WHERE account_id = 'ACC-2'")
    done = fleet.invoke("--as-of", MONDAY, "--region", "US", "--reset", "--reason", "disk replaced")
    assert done.exit_code == 0
    run = fleet.run("ACC-1")
    assert (run.phase, run.attempt, run.error) == ("DATA_READY", 0, None)
    assert fleet.sql("SELECT * FROM engine_runs WHERE account_id = 'ACC-2'") == persisted
    (event,) = fleet.sql("SELECT * FROM engine_run_events WHERE kind = 'RESET'")
    assert (event.run_id, event.from_phase, event.to_phase) == (run_id, "FAILED", "DATA_READY")
    assert event.details["reason"] == "disk replaced"
    assert event.details["error"]["code"] == "EXCEPTION"
    assert list(event.details["alerts"]) == ["RUN_FAILED"]
    assert fleet.alerts() == []
    fleet.leave_alone("staged_solutions")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}


def test_freeze_waits_for_a_commit_in_flight(fleet):
    """The switch is set only after commits under way have ended; no commit passes once it is."""
    fleet.ready()
    first, second = fleet.claim()
    switched = threading.Event()

    def freeze():
        with fleet.database.transaction() as connection:
            assert set_switch(connection, frozen=True, reason="test")
        switched.set()

    setter = threading.Thread(target=freeze)
    with fleet.database.transaction() as connection:
        commit_phase(connection, first, Phase.SNAPSHOT_BUILT, ttl=300)
        setter.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_for(lambda: fleet.one(waiting), "the switch to wait")
        assert not switched.is_set()
    setter.join(DEADLINE_SECONDS)
    assert switched.is_set()
    assert fleet.run(first.account_id).phase == "SNAPSHOT_BUILT"
    with pytest.raises(EngineFrozenError), fleet.database.transaction() as connection:
        commit_phase(connection, second, Phase.SNAPSHOT_BUILT, ttl=300)
    assert fleet.run(second.account_id).phase == "DATA_READY"


def test_frozen_fleet_stands_still_and_goes_on(fleet):
    """Frozen in the middle of a day nothing more is claimed or committed and no record is written; then it goes on."""
    fleet.ready()

    def solve_while_frozen(day, params, targets):
        with fleet.database.transaction() as connection:
            set_switch(connection, frozen=True, reason="drill")
        return solve_day(day, params, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prometheus.pipeline.tasks.solve_day", solve_while_frozen)
        summary = fleet.advance()
    assert set(summary.outcomes) == {Outcome.FROZEN}
    assert not summary.needs_a_person
    assert fleet.one("SELECT count(*) FROM runs") == 0
    assert fleet.run("ACC-1").phase == "SNAPSHOT_BUILT"
    assert fleet.run("ACC-1").attempt == 0
    before = fleet.dump()
    events = fleet.one("SELECT count(*) FROM engine_run_events WHERE kind = 'KILL_SWITCH'")
    for _ in range(3):
        again = fleet.advance()
        assert again.frozen == "drill"
        assert again.outcomes == {}
    assert fleet.dump() == before
    assert fleet.one("SELECT count(*) FROM engine_run_events WHERE kind = 'KILL_SWITCH'") == events == 2
    with fleet.database.transaction() as connection:
        assert set_switch(connection, frozen=False, reason=None)
        assert not set_switch(connection, frozen=False, reason=None)
        assert not read_switch(connection).frozen
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2}
    assert [row.run_seq for row in fleet.sql("SELECT run_seq FROM runs")] == [1, 1]


def test_environment_freezes_the_process(fleet):
    """RUNNER_FLAG_FROZEN stops a process before it claims: no row moves, one KILL_SWITCH event for each run."""
    fleet.ready()
    before = fleet.dump(heartbeats=True)
    for _ in range(3):
        done = fleet.invoke("--advance-all", RUNNER_FLAG_FROZEN="true")
        assert done.exit_code == 0
        assert "FROZEN" in done.stdout
    assert fleet.dump(heartbeats=True) == before
    assert fleet.kinds() == ["CREATED", "TRANSITION", "KILL_SWITCH"]
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2}


def test_environment_freezes_every_solve(fleet):
    """A process that sees the flag only at an account's solve gives the run back in its phase, uncharged."""
    fleet.ready(account_id="ACC-1")
    (lease,) = fleet.claim()
    context = TaskContext(fleet.database, fleet.config(frozen_by_environment=True), SharedInputs(fleet.database))
    heard = Heard()
    advance_batch(context, [lease], heard)
    assert heard.outcomes == [Outcome.FROZEN]
    run = fleet.run()
    assert (run.phase, run.attempt, run.owner_instance) == ("SNAPSHOT_BUILT", 0, None)
    assert fleet.one("SELECT count(*) FROM runs") == 0


def test_paused_account_is_left_out(fleet):
    """A paused account's run waits while the others go on, and follows when the pause ends."""
    fleet.ready()
    fleet.sql("UPDATE accounts SET paused = true WHERE account_id = 'ACC-1'")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert fleet.run("ACC-1").phase == "DATA_READY"
    with fleet.database.transaction() as connection:
        connection.execute(text("UPDATE accounts SET paused = false"))
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
