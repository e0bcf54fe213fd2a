"""Kill switch, cancel and reapers against everything that may happen at the same moment."""

import random
import signal
import time

import psycopg
import pytest
from click.testing import CliRunner

from prometheus.db.claims import claim_batch
from prometheus.db.reaper import reap
from prometheus.pipeline import state
from prometheus.scripts import engine
from tests.chaos.checkers import check_all_persisted, check_liveness, check_safety
from tests.chaos.processes import (
    DEADLINE_SECONDS,
    Gate,
    advance,
    before_solving,
    in_thread,
    stop_myself,
    wait_for,
    wait_for_lease_end,
    workers,
)
from tests.integration.engine_fleet import MONDAY, TUESDAY, Fleet, add_account

#: Accounts of a crowd.
CROWD = 24


@pytest.fixture
def crowd(fleet):
    """A crowd of small accounts with two days to do."""
    fleet.sql("UPDATE accounts SET region = 'ELSEWHERE'")
    with fleet.database.transaction() as connection:
        for number in range(CROWD):
            add_account(connection, f"P-{number:03d}", lots=())
    for day in (MONDAY, TUESDAY):
        fleet.ready(day)
    return fleet


def _worker(fleet, number, **settings: object):
    return lambda: advance(fleet.url, f"worker-{number}", **settings)


def _worker_behind(gate, fleet, number):
    """Return the body of a worker that solves the first day of the last account only once the gate is open."""

    def body():
        before_solving(gate.wait, accounts=(f"P-{CROWD - 1:03d}",))
        return advance(fleet.url, f"worker-{number}")

    return body


def test_nothing_commits_after_freeze_returned(crowd, chaos_seed):
    """Frozen while three workers commit, the fleet does nothing once the command has returned, then goes on."""
    draw = random.Random(chaos_seed)
    gate = Gate()
    with workers(*(_worker_behind(gate, crowd, number) for number in range(3))) as running:
        wait_for(lambda: crowd.one("SELECT count(*) FROM runs") > 0, "the first commit")
        time.sleep(draw.uniform(0.0, 0.3))
        assert _engine(crowd, "freeze", "--reason", "a drill").exit_code == 0
        at_freeze = _commits(crowd)
        records = crowd.one("SELECT count(*) FROM runs")
        gate.open()
        for worker in running:
            assert worker.wait() == 0
    assert _commits(crowd) == at_freeze
    assert crowd.one("SELECT count(*) FROM runs") == records
    assert set(crowd.phases().values()) != {"PERSISTED"}, "the switch came too late to stop anything"
    assert crowd.advance().frozen is not None
    assert _commits(crowd) == at_freeze

    assert _engine(crowd, "unfreeze").exit_code == 0
    check_liveness(crowd)
    check_safety(crowd)
    check_all_persisted(crowd)


def test_the_environment_freezes_its_own_process_alone(crowd):
    """A process with RUNNER_FLAG_FROZEN does nothing while another one finishes the day."""
    with workers(_worker(crowd, 1, frozen_by_environment=True)) as (frozen,):
        assert frozen.wait() == 0
    assert crowd.one("SELECT count(*) FROM runs") == 0
    assert set(crowd.phases().values()) == {"DATA_READY"}
    check_liveness(crowd)
    check_all_persisted(crowd)


def test_cancels_at_random_moments_end_every_run_in_one_true_state(crowd, chaos_seed):
    """Cancelled while it waits, is claimed, commits or is done, a run ends PERSISTED or CANCELLED and stays that."""
    draw = random.Random(chaos_seed)
    reported = {}
    with workers(*(_worker(crowd, number) for number in range(2))) as running:
        wait_for(lambda: crowd.one("SELECT count(*) FROM runs") > 0, "the first commit")
        for number in draw.sample(range(CROWD), 10):
            account = f"P-{number:03d}"
            time.sleep(draw.uniform(0.0, 0.05))
            reported[account] = _cancel(crowd, account)
        for worker in running:
            worker.wait()
    first = {account: crowd.run(account, MONDAY).phase for account in reported}
    check_liveness(crowd)
    for account, counts in reported.items():
        run = crowd.run(account, MONDAY)
        assert run.phase in {"PERSISTED", "FAILED"}
        if first[account] in {"PERSISTED", "FAILED"}:
            assert run.phase == first[account], "a terminal run stays what it was"
        if run.phase == "FAILED":
            assert run.error.code == "CANCELLED"
        if "PERSISTED" in counts:
            assert run.phase == "PERSISTED", "what was reported as done was done"
        before = crowd.dump(events=True)
        _cancel(crowd, account)
        assert crowd.dump(events=True) == before, "a second cancel of a terminal run changes nothing"
    check_safety(crowd)


def test_a_stuck_workers_run_can_be_cancelled(fleet):
    """Cancelling a run whose worker is suspended returns at once, and the run ends once the lease has run out."""
    fleet.ready(MONDAY, "ACC-1")

    def stalls():
        before_solving(stop_myself)
        return advance(fleet.url, "stuck", accounts=["ACC-1"], lease_ttl=1)

    with workers(stalls) as (stuck,):
        stuck.wait_stopped(fleet.open_transactions)
        _cancel(fleet, "ACC-1")
        assert fleet.run("ACC-1").cancel_requested_at is not None
        wait_for_lease_end(fleet)
        fleet.advance()
        run = fleet.run("ACC-1")
        assert (run.phase, run.error.code) == ("FAILED", "CANCELLED")
        stuck.send(signal.SIGCONT)
        assert stuck.wait() == 0
    assert fleet.run("ACC-1").error.code == "CANCELLED"
    assert fleet.one("SELECT count(*) FROM runs") == 0
    check_safety(fleet)


def test_reapers_at_once_make_one_transition_and_one_event(crowd):
    """Four reapers that look at the same lost runs at the same moment end each of them once, with one alert."""
    with crowd.database.transaction() as connection:
        claim_batch(connection, owner="lost", ttl=1, batch=CROWD)
    crowd.sql("UPDATE engine_runs SET attempt = max_attempts WHERE owner_instance = 'lost'")
    crowd.set_clock("10 minutes")
    crowd.sql("UPDATE accounts SET paused = true")
    with workers(*(_worker(crowd, number) for number in range(4))) as running:
        for worker in running:
            worker.wait()
    failed = crowd.sql("SELECT run_id FROM engine_runs WHERE error ->> 'code' = 'WORKER_LOST'")
    assert len(failed) == CROWD
    events = crowd.sql("SELECT run_id, count(*) AS times FROM engine_run_events WHERE to_phase = 'FAILED' GROUP BY 1")
    assert {row.times for row in events} == {1}
    assert crowd.one("SELECT count(*) FROM alerts WHERE code = 'WORKER_LOST'") == CROWD
    check_safety(crowd)


@pytest.mark.parametrize("rival", ["completes", "is claimed anew"])
def test_a_run_that_moves_between_the_reapers_look_and_its_update_is_left_alone(fleet, rival):
    """A completion or a new claim that is under way when a reaper looks wins: the run is never failed afterwards."""
    fleet.ready(MONDAY, "ACC-1")
    (lease,) = fleet.claim(owner="slow", ttl=300)
    fleet.sql("UPDATE engine_runs SET attempt = max_attempts WHERE account_id = 'ACC-1'")
    fleet.set_clock("10 minutes")
    change = {
        "completes": "UPDATE engine_runs SET phase = 'FAILED', error = '{\"code\": \"OTHER\"}', owner_instance = NULL, "
        "lease_expires_at = NULL, phase_completed_at = engine_now() WHERE run_id = %s",
        "is claimed anew": "UPDATE engine_runs SET lease_token = lease_token + 1, owner_instance = 'new', attempt = 1, "
        "lease_expires_at = engine_now() + interval '5 minutes' WHERE run_id = %s",
    }[rival]
    with psycopg.connect(fleet.url.replace("postgresql+psycopg", "postgresql")) as other:
        other.execute(change, [lease.run_id])

        def look():
            with fleet.database.transaction() as connection:
                reaped.extend(reap(connection, ttl=300, deadline_seconds=3600))

        reaped: list = []
        reaper = in_thread(look)
        # It passes over what is locked; if it waited for it, it would be seen to wait.
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_for(lambda: not reaper.is_alive() or fleet.one(waiting) > 0, "the reaper to look")
        other.commit()
        reaper.join(DEADLINE_SECONDS)
        assert not reaper.is_alive()
    run = fleet.run("ACC-1")
    assert reaped == []
    assert (run.error and run.error.code) == ("OTHER" if rival == "completes" else None)
    assert fleet.one("SELECT count(*) FROM engine_run_events WHERE to_phase = 'FAILED'") == 0


def test_fifty_ensure_calls_at_once_make_one_row(fleet):
    """Fifty identical requests at the same moment leave one run of the day."""

    def ensure():
        return Fleet(fleet.url).ensure(MONDAY, "ACC-1") is None

    with workers(*([ensure] * 50)) as running:
        assert {worker.wait() for worker in running} == {0}
    assert fleet.one("SELECT count(*) FROM engine_runs") == 1
    check_safety(fleet)


def test_readers_and_writers_do_not_wait_for_each_other(fleet):
    """A long writing transaction does not hold up monitoring, and a long report does not hold up the engine."""
    fleet.ready(MONDAY)
    plain = fleet.url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(plain) as writer:
        writer.execute("UPDATE engine_runs SET updated_at = updated_at")
        writer.execute("UPDATE accounts SET name = name")
        with psycopg.connect(plain, options="-c lock_timeout=300") as reader:
            assert reader.execute("SELECT count(*) FROM engine_runs JOIN accounts USING (account_id)").fetchone() == (
                2,
            )
        writer.rollback()
    with psycopg.connect(plain) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seen = report.execute("SELECT count(*) FROM runs").fetchone()
        fleet.advance()
        assert fleet.one("SELECT count(*) FROM runs") == 2
        assert report.execute("SELECT count(*) FROM runs").fetchone() == seen
    check_all_persisted(fleet)


def _commits(fleet):
    return fleet.one("SELECT count(*) FROM engine_run_events WHERE kind = 'TRANSITION'")


def _cancel(fleet, account):
    return state.cancel(fleet.database, fleet.scope(MONDAY, account), reason="a drill")


def _engine(fleet, *arguments: str):
    return CliRunner().invoke(engine.command, list(arguments), env={"PROMETHEUS_DATABASE_URL": fleet.url})
