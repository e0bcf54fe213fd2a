"""Worker processes: who keeps their leases, what happens when they die, hang or are told to end."""

import os
import signal
import time
from pathlib import Path

import pytest

from prometheus.db.reaper import reap
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import DatabaseUnavailableError
from prometheus.orchestration.advance_all import advance_all
from prometheus.pipeline import tasks
from prometheus.pipeline.advance import Outcome
from tests.chaos.processes import DEADLINE_SECONDS, LONG_LEASE, Gate, frequent_heartbeats, wait_for
from tests.integration.engine_fleet import FRIDAY, MONDAY, TUESDAY, add_account, killed_at_exit


@pytest.fixture
def pool(fleet):
    """A function that runs one tick with worker processes."""

    def run(workers=2, *, must_stop=lambda: False, budget=None, **settings: object):
        return advance_all(
            fleet.database,
            fleet.config(**settings),
            fleet.database.sibling,
            workers=workers,
            must_stop=must_stop,
            time_budget_seconds=budget,
        )

    return run


def before_task(monkeypatch, phase, action):
    """Have something happen in the worker each time a phase's computation begins."""
    real = tasks.TASKS[phase]

    def meddled(context, lease):
        action(lease)
        return real(context, lease)

    monkeypatch.setitem(tasks.TASKS, phase, meddled)


def test_workers_finish_the_day(fleet, pool):
    """Two workers over two days of three accounts end with the same rows as one process would."""
    for day in (MONDAY, TUESDAY):
        fleet.ready(day)
        fleet.ready(day, region="CA")
    assert pool().outcomes == {Outcome.PERSISTED: 6}
    rows = fleet.sql("SELECT account_id, run_seq, as_of_date FROM runs ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [
        (f"ACC-{number}", seq, day) for number in (1, 2, 3) for seq, day in ((1, MONDAY), (2, TUESDAY))
    ]


def test_run_that_kills_its_worker_stops_at_its_limit(fleet, pool, monkeypatch):
    """A run that kills its worker every time fails with an alert after its attempts, and no other is touched."""
    fleet.ready()
    fleet.sql("UPDATE engine_runs SET max_attempts = 2")
    poison = fleet.run("ACC-1").run_id
    before_task(
        monkeypatch,
        Phase.SNAPSHOT_BUILT,
        lambda lease: os.kill(os.getpid(), signal.SIGKILL) if lease.run_id == poison else None,
    )
    first = pool()
    assert first.outcomes == {Outcome.RETRY: 1, Outcome.PERSISTED: 1}
    assert fleet.run("ACC-1").error.code == "WORKER_LOST"
    assert fleet.run("ACC-2").attempt == 1
    assert pool().outcomes == {Outcome.FAILED: 1}
    assert fleet.run("ACC-1").error.previous_phase == "SNAPSHOT_BUILT"
    assert fleet.alerts() == [("ACC-1", "RUN_FAILED")]


def test_run_tried_before_is_claimed_alone(fleet):
    """Fresh runs are claimed together; one that was tried before waits for them and comes alone."""
    fleet.ready()
    fleet.ready(region="CA")
    fleet.sql("UPDATE engine_runs SET attempt = 1 WHERE account_id IN ('ACC-1', 'ACC-2')")
    claimed = [[lease.account_id for lease in fleet.claim()] for _ in range(4)]
    assert claimed == [["ACC-3"], ["ACC-1"], ["ACC-2"], []]


def test_solve_that_holds_the_interpreter_does_not_starve_the_heartbeat(fleet, pool, monkeypatch):
    """A phase two leases long, in one call that never lets another thread run, keeps its lease and is not lost."""
    fleet.ready(account_id="ACC-1")
    frequent_heartbeats(monkeypatch)
    before_task(monkeypatch, Phase.SNAPSHOT_BUILT, lambda _: signal.raise_signal(signal.SIGSTOP))
    # A stopped process is the strictest solve there is: not one instruction of its interpreter runs.
    stolen, moved = [], [fleet.one("SELECT engine_now()")]

    def must_stop():
        run = fleet.run()
        if run.phase != "SNAPSHOT_BUILT":
            return False
        stolen.extend(fleet.claim(ttl=LONG_LEASE, owner="rival:1"))
        with fleet.database.transaction() as connection:
            assert reap(connection, ttl=LONG_LEASE, deadline_seconds=3600) == ()
        # Half a lease passes after each heartbeat, so that a slow machine only makes it take longer.
        if len(moved) <= 4 and run.heartbeat_at >= moved[-1]:
            fleet.set_clock(f"{len(moved) * LONG_LEASE // 2} seconds")
            moved.append(fleet.one("SELECT engine_now()"))
        elif len(moved) > 4 and run.heartbeat_at >= moved[-1]:
            for pid in _children(os.getpid()):
                os.kill(pid, signal.SIGCONT)
        return False

    assert pool(1, must_stop=must_stop, lease_ttl=LONG_LEASE).outcomes == {Outcome.PERSISTED: 1}
    assert stolen == []
    assert len(moved) == 5, "two leases passed"


def _children(parent):
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _hang():
    time.sleep(3000)


def test_cancelled_solve_is_ended(fleet, pool, monkeypatch):
    """A cancel ends even a solve that never looks up: its worker is ended, the run is CANCELLED, others go on."""
    fleet.ready()
    mine = fleet.run("ACC-1").run_id
    before_task(monkeypatch, Phase.SNAPSHOT_BUILT, lambda lease: _hang() if lease.run_id == mine else None)
    monkeypatch.setattr("prometheus.orchestration.worker_pool._GRACE_SECONDS", 0.5)
    frequent_heartbeats(monkeypatch)
    asked = []

    def cancel():
        if not asked and fleet.run("ACC-1").phase == "SNAPSHOT_BUILT":
            asked.append(fleet.invoke("--as-of", MONDAY, "--account", "ACC-1", "--cancel").exit_code)
        return False

    # One at a time: what waits behind a long phase is given back, also where the phase is long on a slow machine.
    done = pool(1, must_stop=cancel, lease_ttl=LONG_LEASE, batch=1)
    assert done.outcomes == {Outcome.CANCELLED: 1, Outcome.PERSISTED: 1}
    assert fleet.run("ACC-1").error.code == "CANCELLED"


def test_hanging_phase_meets_its_deadline(fleet, pool, monkeypatch):
    """A phase that hangs is failed at its deadline by its own process, and what waited behind it is done."""
    fleet.ready()
    mine = fleet.run("ACC-1").run_id
    hanging, late = Gate(), []

    def hang(lease):
        if lease.run_id == mine:
            hanging.open()
            _hang()

    def past_its_deadline():
        if hanging.is_open() and not late:
            late.append(mine)
            fleet.sql(
                "UPDATE engine_runs SET phase_started_at = phase_started_at - interval '2 hours' WHERE run_id = :run",
                run=mine,
            )
        return False

    before_task(monkeypatch, Phase.DATA_READY, hang)
    monkeypatch.setattr("prometheus.orchestration.worker_pool._GRACE_SECONDS", 0.5)
    frequent_heartbeats(monkeypatch)
    summary = pool(1, must_stop=past_its_deadline, lease_ttl=LONG_LEASE, phase_deadline_seconds=3600)
    assert summary.outcomes == {Outcome.LOST: 1, Outcome.PERSISTED: 1}
    assert fleet.run("ACC-1").error.code == "PHASE_DEADLINE"
    assert fleet.alerts() == [("ACC-1", "PHASE_DEADLINE")]


def test_stop_gives_runs_back_uncharged(fleet, pool, monkeypatch):
    """A process told to end gives back what it holds in its phase, without an attempt, and the next goes on."""
    fleet.ready()
    before_task(monkeypatch, Phase.SNAPSHOT_BUILT, lambda _: _hang())
    monkeypatch.setattr("prometheus.orchestration.worker_pool._GRACE_SECONDS", 0.5)
    summary = pool(must_stop=lambda: "SNAPSHOT_BUILT" in fleet.phases().values())
    assert summary.stopped
    rows = fleet.sql("SELECT owner_instance, attempt FROM engine_runs")
    assert [tuple(row) for row in rows] == [(None, 0)] * 2
    assert fleet.kinds()[-1] == "RELEASE"
    monkeypatch.undo()
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2}


def test_spent_budget_ends_the_workers(fleet, pool):
    """Workers begin with nothing once the time budget is spent."""
    fleet.ready()
    assert pool(budget=0.0).outcomes == {}
    assert set(fleet.phases().values()) == {"DATA_READY"}


def test_worker_that_lost_the_database_gives_back_what_it_had_not_begun(fleet, pool, monkeypatch):
    """A worker that ends because its connection broke leaves no lease behind where the database answers again."""
    fleet.ready()
    before_task(monkeypatch, Phase.DATA_READY, _lose_the_database)
    with pytest.raises(DatabaseUnavailableError):
        pool(1)
    rows = fleet.sql("SELECT owner_instance, attempt FROM engine_runs")
    assert [tuple(row) for row in rows] == [(None, 0)] * 2
    monkeypatch.undo()
    assert pool(1).outcomes == {Outcome.PERSISTED: 2}


def _lose_the_database(_):
    raise DatabaseUnavailableError("gone")


def test_day_whose_shared_inputs_are_unreadable_stops_no_other(fleet, pool):
    """A risk model whose matrix cannot be read is each run's own failure, not the end of the call."""
    fleet.ready()
    fleet.sql("ALTER TABLE blobs DISABLE TRIGGER USER")
    fleet.sql("UPDATE blobs SET data = substring(data FROM 1 FOR 10)")
    done = pool(1)
    assert done.outcomes == {Outcome.RETRY: 2}
    assert fleet.one("SELECT count(*) FROM engine_runs WHERE error IS NOT NULL") == 2


@pytest.mark.slow
def test_sigterm_is_an_exit_code_and_loses_nothing(fleet):
    """SIGTERM ends the command with 143 at once; nothing stays claimed, and the next tick finishes the day."""
    with fleet.database.transaction() as connection:
        for number in range(8):
            add_account(connection, f"T-{number:02d}")
    for day in (MONDAY, FRIDAY):
        fleet.ready(day)
    # Records that take their time, so that the signal comes before the last of them also where this test is slow.
    fleet.on_insert("runs", "PERFORM pg_sleep(0.25)")
    with killed_at_exit(fleet.spawn("--advance-all", "--workers", "2")) as process:
        wait_for(lambda: "PERSISTED" in fleet.phases().values(), "the first record")
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=DEADLINE_SECONDS)
    fleet.leave_alone("runs")
    assert (process.returncode, "told to end" in out) == (143, True), errors
    assert fleet.one("SELECT count(*) FROM engine_runs WHERE owner_instance IS NOT NULL") == 0
    assert "DATA_READY" in fleet.phases().values()
    assert fleet.one("SELECT max(attempt) FROM engine_runs WHERE phase = 'DATA_READY'") == 0
    fleet.advance()
    assert set(fleet.phases().values()) == {"PERSISTED"}


def test_worker_without_parent_ends(fleet):
    """When the parent is killed its workers die with it, and the runs are taken over after the lease."""
    fleet.ready()
    # They wait for the database for longer than this test does.
    fleet.on_insert("staged_solutions", "PERFORM pg_sleep(3000)")
    recording = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    with killed_at_exit(fleet.spawn("--advance-all", "--workers", "2", RUN_HEARTBEAT_STALE_SECONDS="2")) as process:
        wait_for(lambda: len(fleet.sql(recording)) == 2, "both workers to record a solution")
        workers = _children(process.pid)
        process.kill()
        process.wait()
    assert len(workers) == 2
    wait_for(lambda: not any(_runs(pid) for pid in workers), "the workers to end")
    for row in fleet.sql(recording):
        fleet.sql("SELECT pg_terminate_backend(:pid)", pid=row.pid)
    fleet.leave_alone("staged_solutions")
    assert set(fleet.phases().values()) == {"SNAPSHOT_BUILT"}
    fleet.set_clock("1 minute")
    fleet.advance()
    assert set(fleet.phases().values()) == {"PERSISTED"}
