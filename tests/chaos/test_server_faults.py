"""A server that stops, connections that break at the worst moment, a network that swallows everything."""

import os
import random
import signal
import time
import uuid

import pytest

from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database, Timeouts
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.embedded.watch import postmaster_pid
from prometheus.foundation.errors import DatabaseError, DatabaseUnavailableError
from prometheus.orchestration.advance_all import advance_all
from prometheus.pipeline.engine_config import EngineConfig
from tests.chaos.checkers import check_all_persisted, check_liveness, check_safety
from tests.chaos.processes import (
    LONG_LEASE,
    RAISED,
    Gate,
    advance,
    before_solving,
    frequent_heartbeats,
    wait_for,
    wait_for_lease_end,
    workers,
)
from tests.chaos.proxy import Proxy
from tests.integration.engine_fleet import MONDAY, TUESDAY, Fleet, add_account, write_fleet

#: Accounts of the crowded day, each with two days, and how often its server is stopped: 200 runs in ``make chaos``.
CROWD, STOPS = (100, 10) if "CHAOS_MOMENTS" in os.environ else (25, 3)


def _crowd(fleet, count):
    """Replace the fleet by ``count`` small accounts that own cash alone."""
    fleet.sql("UPDATE accounts SET region = 'ELSEWHERE'")
    with fleet.database.transaction() as connection:
        for number in range(count):
            add_account(connection, f"P-{number:03d}", lots=())


def _ticks(url, owner, until_done=40):
    """Return the body of a host whose timer calls the engine again and again, whatever became of the last call."""

    def body():
        for call in range(until_done):
            try:
                if advance(url, f"{owner}-{call}", lease_ttl=3, batch=4) == 0 and call:
                    return
            except DatabaseError:
                time.sleep(0.3)

    return body


@pytest.fixture
def proxy(server):
    """A proxy before the session's server."""
    opened = Proxy(server.socket_dir)
    yield opened
    opened.close()


def test_a_connection_cut_at_commit_loses_and_doubles_nothing(fleet, proxy):
    """Where COMMIT reached the server and its answer did not come back, every effect is there once all the same."""
    _crowd(fleet, 6)
    for day in (MONDAY, TUESDAY):
        fleet.ready(day)
    url = proxy.url(fleet.url)
    for number in range(30):
        proxy.cut_at_commit = 1
        with workers(lambda number=number: _ignore(lambda: advance(url, f"cut-{number}", batch=2))) as (worker,):
            worker.wait()
        if set(fleet.phases().values()) == {"PERSISTED"}:
            break
        fleet.set_clock(f"{10 * (number + 1)} minutes")
    proxy.cut_at_commit = 0

    assert proxy.cuts >= 5, "the proxy cut too few commits to prove anything"
    check_liveness(fleet)
    check_safety(fleet)
    check_all_persisted(fleet)


def test_a_black_hole_ends_the_call_and_not_the_run(fleet, proxy):
    """Packets that vanish do not hang a worker beyond its timeouts, and the next tick finishes its run."""
    fleet.ready(MONDAY, "ACC-1")
    url = proxy.url(fleet.url) + "&tcp_user_timeout=2000&keepalives_idle=1&keepalives_interval=1&connect_timeout=2"
    gate = Gate()

    def swallowed():
        before_solving(gate.wait)
        return advance(url, "swallowed", accounts=["ACC-1"], lease_ttl=2)

    with workers(swallowed) as (worker,):
        wait_for(lambda: fleet.run("ACC-1").phase == "SNAPSHOT_BUILT", "the worker to reach its solve")
        proxy.black_hole = True
        gate.open()
        # The proxy still acknowledges at the TCP level, so only the lease can end this worker's claim.
        wait_for_lease_end(fleet)
        fleet.advance(owner="rescuer")
        assert fleet.run("ACC-1").phase == "PERSISTED"
        proxy.black_hole = False
        worker.wait()
    assert fleet.one("SELECT count(*) FROM runs") == 1
    check_safety(fleet)
    check_all_persisted(fleet)


@pytest.mark.parametrize("workers_of_call", [0, 1])
def test_a_network_that_swallows_everything_ends_the_call_by_itself(fleet, proxy, monkeypatch, workers_of_call):
    """Where connections stay open and nothing answers, the call ends at its own limit, parent and worker alike."""
    fleet.ready(MONDAY, "ACC-1")
    monkeypatch.setattr("prometheus.db.patience._LEAST_GRACE_SECONDS", 0.5)
    gate = Gate()

    def swallowed():
        before_solving(gate.wait)
        database = Database(proxy.url(fleet.url) + "&connect_timeout=2", timeouts=Timeouts(statement=2.0))
        config = EngineConfig(owner="swallowed", lease_ttl=3)
        try:
            advance_all(database, config, database.sibling, workers=workers_of_call)
        except DatabaseUnavailableError:
            return 0
        return 1

    with workers(swallowed) as (worker,):
        wait_for(lambda: fleet.run("ACC-1").phase == "SNAPSHOT_BUILT", "the worker to reach its solve")
        proxy.black_hole = True
        gate.open()
        # A statement, a release and a new connection may each run into their limit; without limits it never ends.
        assert worker.wait() == 0
    proxy.black_hole = False
    fleet.set_clock("10 minutes")
    check_liveness(fleet)
    check_safety(fleet)
    check_all_persisted(fleet)


@pytest.mark.parametrize("workers_of_call", [0, 1])
def test_a_heartbeat_whose_connection_is_ended_by_the_server_goes_on(fleet, monkeypatch, workers_of_call):
    """pg_terminate_backend on every other connection of a worker costs a tick, not the run."""
    fleet.ready(MONDAY, "ACC-1")
    frequent_heartbeats(monkeypatch)
    gate = Gate()

    def slow():
        before_solving(gate.spin)
        url = fleet.url + "&application_name=victim"
        return advance(url, "victim", accounts=["ACC-1"], lease_ttl=LONG_LEASE, workers=workers_of_call)

    end_idle = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'victim' AND state = 'idle'
    """
    with workers(slow) as (worker,):
        wait_for(lambda: fleet.run("ACC-1").phase == "SNAPSHOT_BUILT", "the worker to reach its solve")
        for _ in range(3):
            wait_for(lambda: fleet.sql(end_idle), "an idle connection of the worker")
            ended_at = fleet.one("SELECT engine_now()")
            wait_for(lambda at=ended_at: fleet.run("ACC-1").heartbeat_at > at, "a heartbeat over a new connection")
        gate.open()
        assert worker.wait() == 0
    assert fleet.run("ACC-1").phase == "PERSISTED"
    assert "TAKE_OVER" not in fleet.kinds("ACC-1")
    check_safety(fleet)


def test_a_server_without_free_connections_loses_nothing(fleet):
    """While the server refuses connections a tick ends with our error; afterwards the day goes on."""
    fleet.ready(MONDAY)
    name = fleet.one("SELECT current_database()")
    fleet.sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')

    def refused():
        try:
            advance(fleet.url, "refused")
        except DatabaseError:
            return 0
        return 1

    with workers(refused) as (worker,):
        assert worker.wait() == 0
    fleet.sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
    check_liveness(fleet)
    check_safety(fleet)
    check_all_persisted(fleet)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_server_stopped_at_random_moments_of_a_crowded_day(open_tmp, chaos_seed):
    """Immediate stops of the server during a day of many runs lose no run and double no effect."""
    draw = random.Random(chaos_seed)
    home = open_tmp / f"home-{uuid.uuid4().hex[:8]}"
    # Durable, as in production: what was committed before the stop must be there after it.
    server = EmbeddedServer(home, linger_seconds=0.5)
    url = server.ensure_running()
    database = Database(url)
    upgrade_database(database)
    write_fleet(database)
    database.close()
    fleet = Fleet(url)
    try:
        _crowd(fleet, CROWD)
        for day in (MONDAY, TUESDAY):
            fleet.ready(day)
        # A short lease may be lost to a slow machine as often as to a stop: no attempt is to be the last one.
        fleet.sql("UPDATE engine_runs SET max_attempts = 1000")
        fleet.close()
        with workers(_ticks(url, "host-a"), _ticks(url, "host-b")) as running:
            for _ in range(STOPS):
                time.sleep(draw.uniform(0.2, 1.0))
                _stop_immediately(home)
                server.ensure_running()
            ends = [worker.wait(1200) for worker in running]
        assert RAISED not in ends, "a stopped server is a DatabaseError, nothing else"
        fleet = Fleet(url)
        fleet.set_clock("10 minutes")
        check_liveness(fleet)
        check_safety(fleet)
        check_all_persisted(fleet)
        assert fleet.one("SELECT count(*) FROM runs") == 2 * CROWD
    finally:
        fleet.close()
        release(home)


def _stop_immediately(home):
    """Stop the server as a crash does: without a checkpoint, every connection cut."""
    pid = postmaster_pid(str(home / "data"))
    if pid is not None:
        os.kill(pid, signal.SIGQUIT)
        wait_for(lambda: postmaster_pid(str(home / "data")) is None, "the server to stop")


def _ignore(act):
    try:
        return act()
    except DatabaseError:
        return 0
