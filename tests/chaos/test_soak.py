"""Everything at once for a while: what the timers of two hosts live through in a bad year, in seconds.

CHAOS_SECONDS sets how long (``make chaos``: ten minutes), CHAOS_SEED repeats a run's faults.
"""

import os
import random
import signal
import time
import uuid

import pytest

from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.embedded.watch import postmaster_pid
from prometheus.foundation.errors import PrometheusError
from prometheus.pipeline import state
from tests.chaos.checkers import check_all_told, check_liveness, check_safety
from tests.chaos.processes import RAISED, Worker, advance, wait_for
from tests.integration.engine_fleet import WEEK, Fleet, add_account, write_fleet

SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))
ACCOUNTS = 12
HOSTS = 3
TTL = 2


class Siege:
    """A fleet, some hosts whose timers never rest, and faults drawn from a seed."""

    def __init__(self, home, seed: int) -> None:
        self.draw = random.Random(seed)
        self.home = home
        self.server = EmbeddedServer(home, linger_seconds=0.5)
        self.url = self.server.ensure_running()
        self.hosts: dict[int, Worker] = {}
        self.days = list(WEEK)
        self.calls = 0
        self.faults: list[str] = []
        self.codes: list[int] = []

    def fleet(self) -> Fleet:
        """Return the fleet by fresh connections."""
        return Fleet(self.url)

    def keep_hosts_busy(self) -> None:
        """Start a tick on every host that has none."""
        for host in range(HOSTS):
            worker = self.hosts.get(host)
            if worker is not None and not worker.ended():
                continue
            if worker is not None:
                self.codes.append(worker.wait())
            self.calls += 1
            self.hosts[host] = Worker(lambda owner=f"host-{host}-{self.calls}": self._tick(owner))

    def _tick(self, owner: str) -> int:
        try:
            advance(self.url, owner, lease_ttl=TTL, batch=3, risk_model_max_age_hours=1e6)
        except PrometheusError:
            # The database was gone, which the timer's next call will find out for itself.
            return 0
        return 0

    def strike(self) -> None:
        """Do one of the things that happen."""
        fault = self.draw.choice(
            [self._kill, self._kill, self._pause, self._pause, self._stop_server, self._terminate, self._freeze,
             self._cancel_and_reset, self._jump]
        )  # fmt: skip
        self.faults.append(fault.__name__)
        try:
            fault()
        except PrometheusError:
            self.faults[-1] += " (refused)"

    def make_peace(self) -> None:
        """End every fault: nothing is suspended, nothing is frozen, the server runs, the clock is right."""
        for worker in self.hosts.values():
            worker.kill()
        self.hosts.clear()
        self.server.ensure_running()
        self._with_fleet(lambda fleet: (fleet.set_clock("2 hours"), self._unfreeze(fleet)))

    def _kill(self) -> None:
        self.hosts[self.draw.randrange(HOSTS)].kill_at_once()

    def _pause(self) -> None:
        worker = self.hosts[self.draw.randrange(HOSTS)]
        worker.try_to_send(signal.SIGSTOP)
        time.sleep(self.draw.choice([0.2, TTL + 0.5]))
        worker.try_to_send(signal.SIGCONT)

    def _stop_server(self) -> None:
        pid = postmaster_pid(str(self.home / "data"))
        if pid is not None:
            os.kill(pid, signal.SIGQUIT)
            wait_for(lambda: postmaster_pid(str(self.home / "data")) is None, "the server to stop")
        self.server.ensure_running()

    def _terminate(self) -> None:
        self._with_fleet(
            lambda fleet: fleet.sql("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < 0.5
            """)
        )

    def _freeze(self) -> None:
        def act(fleet: Fleet) -> None:
            fleet.sql("UPDATE engine_flags SET frozen = true, reason = 'a drill'")
            time.sleep(0.2)
            self._unfreeze(fleet)

        self._with_fleet(act)

    def _unfreeze(self, fleet: Fleet) -> None:
        fleet.sql("UPDATE engine_flags SET frozen = false, reason = NULL")

    def _cancel_and_reset(self) -> None:
        day, account = self.draw.choice(self.days), f"P-{self.draw.randrange(ACCOUNTS):03d}"

        def act(fleet: Fleet) -> None:
            scope = fleet.scope(day, account)
            state.cancel(fleet.database, scope, reason="a drill")
            time.sleep(0.1)
            state.reset(fleet.database, scope, fleet.config(), reason="the drill is over")
            state.prepare(fleet.database, scope, fleet.config(), ensure=True, data_ready=True)

        self._with_fleet(act)

    def _jump(self) -> None:
        offset = self.draw.choice(["1 hour", "-1 hour", "0", "10 seconds"])
        self._with_fleet(lambda fleet: fleet.set_clock(offset))

    def _with_fleet(self, act) -> None:
        fleet = self.fleet()
        try:
            act(fleet)
        finally:
            fleet.close()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_a_siege_of_random_faults_breaks_no_promise(open_tmp, chaos_seed):
    """Under random kills, pauses, stops, jumps and switches every promise holds, and afterwards all work ends."""
    home = open_tmp / f"home-{uuid.uuid4().hex[:8]}"
    siege = Siege(home, chaos_seed)
    database = Database(siege.url)
    upgrade_database(database)
    write_fleet(database)
    database.close()
    fleet = siege.fleet()
    try:
        fleet.sql("UPDATE accounts SET region = 'ELSEWHERE'")
        with fleet.database.transaction() as connection:
            for number in range(ACCOUNTS):
                add_account(connection, f"P-{number:03d}", lots=())
        for day in siege.days:
            fleet.ready(day)
        fleet.sql("UPDATE engine_runs SET max_attempts = 40")
        fleet.close()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            siege.keep_hosts_busy()
            time.sleep(siege.draw.uniform(0.05, 0.6))
            siege.strike()
        siege.make_peace()
        print(f"{len(siege.faults)} faults, {siege.calls} ticks: {sorted(set(siege.faults))}")  # noqa: T201 -- shown by make chaos
        assert RAISED not in siege.codes, "a tick ended with an error that is not ours"
        fleet = siege.fleet()
        check_safety(fleet)
        check_liveness(fleet)
        check_safety(fleet)
        check_all_told(fleet)
        codes = fleet.sql("SELECT DISTINCT error ->> 'code' AS code FROM engine_runs WHERE phase = 'FAILED'")
        # A cancelled day that a later one overtook stays cancelled or superseded; nothing else may be lost.
        assert {row.code for row in codes} <= {"CANCELLED", "SUPERSEDED"}
        assert fleet.one("SELECT count(*) FROM runs") >= ACCOUNTS
    finally:
        for worker in siege.hosts.values():
            worker.kill()
        fleet.close()
        release(home)
