"""Clocks that are wrong: the hosts', which do not count, and the database's, which does."""

import os
import signal
import time

import pytest

from prometheus.pipeline.advance import Outcome
from tests.chaos.checkers import check_all_persisted, check_liveness, check_safety
from tests.chaos.processes import advance, before_solving, stop_myself, workers
from tests.integration.engine_fleet import MONDAY


@pytest.mark.parametrize("hours", [1, -1], ids=["an hour ahead", "an hour behind"])
def test_a_host_clock_that_is_wrong_changes_nothing(fleet, hours):
    """A worker whose host's clock is an hour off takes over nothing that lives and leaves no trace of its time."""
    fleet.ready(MONDAY, region="US")
    (lease,) = fleet.claim(batch=1, owner="rival")

    def wrong_host():
        real_time, real_ns = time.time, time.time_ns
        time.time = lambda: real_time() + 3600 * hours
        time.time_ns = lambda: real_ns() + 3600 * hours * 10**9
        return advance(fleet.url, "wrong-clock")

    with workers(wrong_host) as (worker,):
        assert worker.wait() == 0

    assert fleet.run(lease.account_id).lease_token == lease.token, "the rival's live lease was respected"
    assert fleet.run(lease.account_id).phase == "DATA_READY"
    other = next(account for account in ("ACC-1", "ACC-2") if account != lease.account_id)
    assert fleet.run(other).phase == "PERSISTED"
    written = fleet.sql("""
        SELECT recorded_at FROM engine_run_events UNION ALL SELECT recorded_at FROM runs
        UNION ALL SELECT lease_expires_at - interval '300 seconds' FROM engine_runs WHERE lease_expires_at IS NOT NULL
    """)
    (now,) = fleet.sql("SELECT clock_timestamp() AS now")
    assert all(abs((row.recorded_at - now.now).total_seconds()) < 600 for row in written)
    check_safety(fleet)


def test_a_database_clock_an_hour_ahead_takes_over_but_doubles_nothing(fleet):
    """When the database's clock jumps forward, a live worker's run is taken over once, and its own commit refused."""
    fleet.ready(MONDAY, "ACC-1")

    def stalls():
        before_solving(stop_myself)
        return advance(fleet.url, "overtaken", accounts=["ACC-1"])

    with workers(stalls) as (worker,):
        worker.wait_stopped(fleet.open_transactions)
        fleet.set_clock("1 hour")
        fleet.advance(owner="successor")
        assert fleet.run("ACC-1").phase == "PERSISTED"
        worker.send(signal.SIGCONT)
        assert worker.wait() == 0
    assert fleet.one("SELECT count(*) FROM runs") == 1
    check_safety(fleet)
    check_all_persisted(fleet)


def test_a_database_clock_that_steps_back_after_an_owners_death_still_recovers(fleet):
    """A dead worker's lease that ends hours ahead, because the clock stepped back, does not lock its run."""
    fleet.ready(MONDAY, "ACC-1")
    fleet.set_clock("3 hours")

    def dies():
        before_solving(lambda: os.kill(os.getpid(), signal.SIGKILL))
        return advance(fleet.url, "dead", accounts=["ACC-1"])

    with workers(dies) as (worker,):
        assert worker.wait() == -signal.SIGKILL
    fleet.set_clock("0")
    check_liveness(fleet)
    check_safety(fleet)
    check_all_persisted(fleet)


def test_a_database_clock_that_steps_back_puts_nothing_off(fleet):
    """After a step back of an hour a dead worker's run, one that waits for its retry and a fresh one go on at once."""
    fleet.ready(region="US")
    fleet.ready(region="CA")

    def dies():
        before_solving(lambda: os.kill(os.getpid(), signal.SIGKILL))
        return advance(fleet.url, "dead", accounts=["ACC-1"])

    with workers(dies) as (worker,):
        assert worker.wait() == -signal.SIGKILL
    fleet.on_insert("staged_snapshots", "RAISE EXCEPTION 'no'")
    with workers(lambda: advance(fleet.url, "fails", accounts=["ACC-2"], retry_base_seconds=1.0)) as (worker,):
        worker.wait()
    fleet.leave_alone("staged_snapshots")
    assert fleet.kinds("ACC-2")[-1] == "RETRY"
    fleet.set_clock("-1 hour")

    assert fleet.advance().outcomes == {Outcome.PERSISTED: 3}
    check_safety(fleet)
    check_all_persisted(fleet)
