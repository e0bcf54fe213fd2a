"""Workers that stand still or compute for longer than their lease."""

import os
import signal

import pytest

from tests.chaos.checkers import check_all_persisted, check_safety
from tests.chaos.processes import (
    LONG_LEASE,
    Gate,
    advance,
    before_solving,
    claims_while_leases_pass,
    frequent_heartbeats,
    stop_myself,
    wait_for,
    wait_for_lease_end,
    workers,
)
from tests.integration.engine_fleet import MONDAY, WEEK

#: Lease, in seconds, of workers that are to lose it.
TTL = 1


def test_a_worker_stopped_for_longer_than_its_lease_commits_nothing_afterwards(fleet):
    """After SIGSTOP, take-over and SIGCONT the stale worker's results are refused and the other's stand."""
    fleet.ready(MONDAY, "ACC-1")

    def stalls():
        before_solving(stop_myself)
        return advance(fleet.url, "stale", accounts=["ACC-1"], lease_ttl=TTL)

    with workers(stalls) as (stale,):
        stale.wait_stopped(fleet.open_transactions)
        wait_for_lease_end(fleet)
        fleet.advance(owner="successor")
        assert fleet.run("ACC-1").phase == "PERSISTED"
        before = fleet.dump(heartbeats=True, events=True)
        stale.send(signal.SIGCONT)
        assert stale.wait() == 0, "a lost lease is nobody's failure"

    assert fleet.dump(heartbeats=True, events=True) == before, "commit, heartbeat and report of the stale worker"
    owners = fleet.sql(
        "SELECT DISTINCT owner_instance FROM engine_run_events WHERE to_phase IN ('SOLVED', 'PERSISTED')"
    )
    assert [row.owner_instance for row in owners] == ["successor"]
    assert "TAKE_OVER" in fleet.kinds("ACC-1")
    check_safety(fleet)


@pytest.mark.parametrize("ends", ["with a result", "with a failure"])
def test_a_stale_worker_neither_commits_nor_fails_its_successors_run(fleet, ends):
    """A worker that wakes up while another one works on its run neither moves it nor charges, delays or re-opens it."""
    fleet.ready(MONDAY, "ACC-1")

    def stalls():
        def act():
            stop_myself()
            if ends == "with a failure":
                raise ValueError("too late to matter")

        before_solving(act)
        return advance(fleet.url, "stale", accounts=["ACC-1"], lease_ttl=TTL)

    with workers(stalls) as (stale,):
        stale.wait_stopped(fleet.open_transactions)
        wait_for_lease_end(fleet)
        (lease,) = fleet.claim(owner="successor")
        before = fleet.dump(heartbeats=True, events=True)
        stale.send(signal.SIGCONT)
        stale.wait()

    assert fleet.dump(heartbeats=True, events=True) == before
    assert fleet.run("ACC-1").lease_token == lease.token


def test_a_phase_longer_than_the_lease_is_not_taken_over_while_its_worker_lives(fleet, monkeypatch):
    """A solve that keeps a core busy for two leases keeps its run: rivals get nothing, and no attempt is added."""
    fleet.ready(MONDAY, "ACC-1")
    frequent_heartbeats(monkeypatch)
    gate = Gate()

    def slow():
        before_solving(gate.spin)
        return advance(fleet.url, "slow", accounts=["ACC-1"], lease_ttl=LONG_LEASE)

    with workers(slow) as (worker,):
        wait_for(lambda: fleet.run("ACC-1").phase == "SNAPSHOT_BUILT", "the solve to begin")
        assert claims_while_leases_pass(fleet) == []
        gate.open()
        assert worker.wait() == 0

    assert fleet.kinds("ACC-1").count("TAKE_OVER") == 0
    assert fleet.run("ACC-1").lease_token == 1
    check_safety(fleet)
    assert fleet.run("ACC-1").phase == "PERSISTED"


def test_a_run_that_kills_its_worker_every_time_stops_and_blocks_nobody(fleet):
    """A poison run ends as FAILED with an alert after its last attempt; every other account is PERSISTED."""
    fleet.ready(MONDAY, region="US")
    fleet.ready(MONDAY, region="CA")

    def poisoned():
        before_solving(lambda: os.kill(os.getpid(), signal.SIGKILL), accounts=("ACC-1",))
        return advance(fleet.url, f"worker-{os.getpid()}")

    deaths, most = 0, fleet.run("ACC-1").max_attempts
    for _ in range(most + 3):
        with workers(poisoned) as (worker,):
            deaths += worker.wait() == -signal.SIGKILL
        offset = 10 * (deaths + 1)
        fleet.set_clock(f"{offset} minutes")

    run = fleet.run("ACC-1")
    assert deaths == most
    assert (run.phase, run.error.code) == ("FAILED", "WORKER_LOST")
    assert ("ACC-1", "WORKER_LOST") in fleet.alerts()
    assert fleet.phases() == {
        ("ACC-1", MONDAY): "FAILED", ("ACC-2", MONDAY): "PERSISTED", ("ACC-3", MONDAY): "PERSISTED",
    }  # fmt: skip
    check_safety(fleet)


def test_eight_workers_keep_the_days_of_an_account_in_order(fleet):
    """Five days of each account under eight workers at once are traded in order, each by whoever comes first."""
    for day in reversed(WEEK):
        for region in ("US", "CA"):
            fleet.ready(day, region=region)

    def worker(number):
        return lambda: advance(fleet.url, f"worker-{number}", batch=1, risk_model_max_age_hours=1e6)

    # How many calls it takes depends on who meets whom.
    for _ in range(12):
        with workers(*(worker(number) for number in range(8))) as running:
            for one in running:
                one.wait()
        if set(fleet.phases().values()) == {"PERSISTED"}:
            break
    check_safety(fleet)
    check_all_persisted(fleet)
