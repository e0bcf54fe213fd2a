"""What happens to the process itself: readers that go away, terminals that hang up, limits, and suspended processes."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prometheus.db.database import Database
from prometheus.foundation.errors import EngineError
from prometheus.orchestration.advance_all import advance_all
from prometheus.orchestration.worker_pool import WorkerPool
from prometheus.pipeline.advance import Outcome
from prometheus.scripts.run_engine_state import StopSignals
from tests.chaos.checkers import check_all_persisted, check_liveness, check_safety
from tests.chaos.processes import (
    DEADLINE_SECONDS,
    LONG_LEASE,
    Gate,
    before_solving,
    claims_while_leases_pass,
    frequent_heartbeats,
    wait_for,
    workers,
)
from tests.integration.engine_fleet import MONDAY
from tests.long_form import short_form


@pytest.mark.parametrize("workers_of_call", short_form(["1", "0"], 1))
def test_a_reader_that_goes_away_stops_nothing(fleet, workers_of_call):
    """With both outputs closed at the other end (``| head``) the day is finished, and the exit code tells of it."""
    fleet.ready()
    fleet.sql("UPDATE engine_runs SET max_attempts = 1")
    fleet.on_insert("runs", "RAISE EXCEPTION 'no'", "NEW.account_id = 'ACC-1'")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "prometheus.scripts.run_engine_state", "--advance-all", "--workers", workers_of_call],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": fleet.url, "PROMETHEUS_LOG_LEVEL": "DEBUG"},
        stdout=writing,
        stderr=writing,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    os.close(writing)
    assert done.returncode == 1
    assert fleet.run("ACC-1").error.code == "EXCEPTION"
    assert fleet.run("ACC-2").phase == "PERSISTED"


def test_a_person_that_stopped_reading_decides_no_exit_code(fleet):
    """With standard error closed at the other end a cancel that has something to say there ends with its own code."""
    fleet.ready()
    fleet.claim(batch=1, account_ids=["ACC-1"])
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "prometheus.scripts.run_engine_state", "--as-of", str(MONDAY)]
    done = subprocess.run(
        [*command, "--account", "ACC-1", "--cancel", "--reason", "x"],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": fleet.url},
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "run_engine_state: cancel: 1 REQUESTED\n")


def test_a_terminal_that_hangs_up_is_a_request_to_stop():
    """SIGHUP is remembered like SIGTERM; where it was ignored before (nohup) it stays ignored."""
    stop = StopSignals()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with stop.heard():
            signal.raise_signal(signal.SIGHUP)
        assert stop.received == signal.SIGHUP
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stop = StopSignals()
        with stop.heard():
            signal.raise_signal(signal.SIGHUP)
        assert stop.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("spare", [0, 3], ids=["no pipe", "no process"])
def test_a_process_without_room_for_workers_says_so(fleet, spare):
    """Where no worker can be started the call ends with a sentence that names the way out, and claims nothing."""
    fleet.ready()

    def cramped():
        database, run = Database(fleet.url, pool_size=1), WorkerPool.run

        def run_cramped(pool, count):
            _leave_descriptors(spare)
            run(pool, count)

        WorkerPool.run = run_cramped
        try:
            advance_all(database, fleet.config(), database.sibling, workers=2)
        except EngineError as error:
            return 0 if error.code == "NO_WORKERS" and "--workers 0" in error.message else 2
        return 1

    with workers(cramped) as (worker,):
        assert worker.wait() == 0
    assert fleet.one("SELECT count(*) FROM engine_runs WHERE owner_instance IS NOT NULL") == 0
    check_liveness(fleet)


def _leave_descriptors(spare):
    """Let this process open so many more files and no other."""
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    kept = [os.dup(0)]
    while kept[-1] < highest:
        kept.append(os.dup(0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (kept[-1] + 1 + spare, most))


def _stop_between_transactions(fleet, pids):
    """Stop processes while none of them has a transaction open, whose locks would hold up everybody else."""
    while True:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: all(Path(f"/proc/{pid}/stat").read_text().split()[2] == "T" for pid in pids), "them to stop")
        if fleet.open_transactions() == 0:
            return
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)


@pytest.mark.parametrize("stopped", ["the parent", "parent and worker", "the worker"])
def test_a_pool_that_stands_still_for_longer_than_its_lease_doubles_nothing(fleet, monkeypatch, stopped):
    """Parent, worker or both under SIGSTOP beyond the lease: where nobody sent heartbeats the run is another's."""
    fleet.ready(MONDAY, "ACC-1")
    frequent_heartbeats(monkeypatch)
    # The worker alone ends its solve while its parent is suspended.
    gate = Gate()

    def pooled():
        before_solving(gate.wait)
        database = Database(fleet.url)
        summary = advance_all(database, fleet.config(owner="stale", lease_ttl=LONG_LEASE), database.sibling, workers=1)
        return len(summary.problems)

    with workers(pooled) as (parent,):
        wait_for(lambda: fleet.run("ACC-1").phase == "SNAPSHOT_BUILT", "the solve to begin")
        (child,) = (int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
        pids = {"the parent": [parent.pid], "the worker": [child]}.get(stopped, [parent.pid, child])
        _stop_between_transactions(fleet, pids)
        if stopped == "the parent":
            gate.open()
            wait_for(lambda: fleet.run("ACC-1").phase == "PERSISTED", "the worker to end the run")
        if stopped == "the worker":
            assert claims_while_leases_pass(fleet) == []
        else:
            fleet.set_clock(f"{LONG_LEASE + 1} seconds")
        successor = fleet.advance(owner="successor", lease_ttl=LONG_LEASE)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        gate.open()
        assert parent.wait() == 0
    if stopped == "parent and worker":
        assert successor.outcomes == {Outcome.PERSISTED: 1}
        assert fleet.kinds("ACC-1").count("TAKE_OVER") == 1
    if stopped == "the worker":
        assert successor.outcomes == {}
        assert fleet.run("ACC-1").lease_token == 1
    check_safety(fleet)
    check_all_persisted(fleet)
