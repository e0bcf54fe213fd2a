"""Workers as processes of their own, forked after the imports, that can be killed, stopped and made to misbehave."""

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from prometheus.db import database
from prometheus.db.database import Database
from prometheus.domain.engine_run import Lease
from prometheus.orchestration.advance_all import advance_all
from prometheus.pipeline import tasks
from prometheus.pipeline.engine_config import EngineConfig

#: How long any of these processes may take before the test fails: a hang is a defect. No test relies on less; where a
#: guard was removed on purpose, guards.py waits for less.
DEADLINE_SECONDS = float(os.environ.get("CHAOS_DEADLINE", "400"))
#: Exit code of a worker that ended with an exception.
RAISED = 70


class Worker:
    """A forked process that runs ``body`` and ends; it dies with the test at the latest."""

    def __init__(self, body: Callable[[], object]) -> None:
        self.pid = os.fork()
        if self.pid:
            return
        code = RAISED
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            answer = body()
            code = answer if isinstance(answer, int) else 0
        except BaseException:  # noqa: BLE001 -- whatever it was, this process ends here
            traceback.print_exc()
        finally:
            os._exit(code)

    def send(self, which: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, which)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Wait for the end; return the exit code, or the negative number of the signal that ended it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        raise AssertionError(f"process {self.pid} still runs after {seconds} s")

    def wait_stopped(self, open_transactions: Callable[[], int] = lambda: 0) -> None:
        """Wait until the process has stopped itself (SIGSTOP).

        Args:
            open_transactions: How many transactions others have open. A heartbeat may have been in one, whose locks
                would hold up everybody else, so the process goes on a moment and stops again while there are any.
        """
        wait_for(lambda: self._state() == "T", "the worker to stop")
        while open_transactions():
            _STOP_AGAIN.value = 1
            self.send(signal.SIGCONT)
            wait_for(lambda: not _STOP_AGAIN.value and self._state() == "T", "the worker to stop again")

    def ended(self) -> bool:
        """Return True once the process is over, however it ended."""
        return not self.pid or self._state() == "Z"

    def try_to_send(self, which: signal.Signals) -> None:
        """Send a signal where the process still runs."""
        if not self.ended():
            self.send(which)

    def kill_at_once(self) -> None:
        """Send SIGKILL; ``wait`` tells how it ended."""
        self.try_to_send(signal.SIGKILL)

    def kill(self) -> None:
        """Make sure that it is gone."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            self.pid = 0

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def workers(*bodies: Callable[[], object]) -> Iterator[list[Worker]]:
    """Run workers side by side; none of them outlives the block."""
    running: list[Worker] = []
    try:
        running += [Worker(body) for body in bodies]
        yield running
    finally:
        for worker in running:
            worker.kill()


def wait_for(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)


def advance(url: str, owner: str, *, accounts: list[str] | None = None, workers: int = 0, **settings: object) -> int:
    """Run one tick of a worker with a database of its own; return the number of runs it could not finish."""
    own = Database(url)
    config = EngineConfig(**{"owner": owner, "retry_base_seconds": 0.0, **settings})
    summary = advance_all(own, config, own.sibling, account_ids=accounts, workers=workers)
    own.close()
    return min(len(summary.problems), RAISED - 1)


@dataclass
class Points:
    """Counts the moments at which a process touches the database, and kills it with SIGKILL at one of them.

    A moment is just before a statement is sent, just before a COMMIT, and just after a COMMIT was answered. With
    ``of_worker`` the moments are those of the first process that this one forks, and nobody after it is killed.
    What is sent because time has passed is no moment: its number would depend on how fast the machine is.
    """

    die_at: int | None = None
    of_worker: bool = False
    seen: int = 0
    home: int = 0
    thread: int = 0
    #: Shared with forked processes: the worker whose moments count, and how many of them began.
    shared: Any = field(default_factory=lambda: multiprocessing.Array("q", 2, lock=False))

    def touch(self) -> None:
        """Count one moment."""
        pid = os.getpid()
        # The thread that keeps the leases sends a heartbeat after so many seconds.
        if (pid != self.home) is not self.of_worker or threading.get_ident() != self.thread:
            return
        if self.of_worker:
            self.shared[0] = self.shared[0] or pid
            if self.shared[0] != pid:
                return
        self.seen += 1
        self.shared[1] = self.seen
        if self.seen - 1 == self.die_at:
            os.kill(pid, signal.SIGKILL)

    def install(self) -> None:
        """Count every statement and COMMIT of this process from now on."""
        self.home, self.thread = os.getpid(), threading.get_ident()
        # A pooled connection that was idle for a second is asked whether it lives, by a statement more.
        database._IDLE_SECONDS = math.inf
        execute, many, commit = psycopg.Cursor.execute, psycopg.Cursor.executemany, psycopg.Connection.commit

        def counted(statement: Callable[..., object]) -> Callable[..., object]:
            def run(*arguments: object, **options: object) -> object:
                self.touch()
                return statement(*arguments, **options)

            return run

        def committed(connection: psycopg.Connection) -> None:
            self.touch()
            commit(connection)
            self.touch()

        psycopg.Cursor.execute = counted(execute)
        psycopg.Cursor.executemany = counted(many)
        psycopg.Connection.commit = committed


def before_solving(act: Callable[[], object], *, accounts: tuple[str, ...] | None = None) -> None:
    """Have this process do something each time it is about to solve (for some accounts only)."""
    solve = tasks.TASKS[tasks.Phase.SNAPSHOT_BUILT]

    def meddled(context: tasks.TaskContext, lease: tasks.Lease) -> object:
        if accounts is None or lease.account_id in accounts:
            act()
        return solve(context, lease)

    tasks.TASKS[tasks.Phase.SNAPSHOT_BUILT] = meddled


#: Whether the process that is woken is to stop once more; see ``Worker.wait_stopped``.
_STOP_AGAIN = multiprocessing.RawValue("b", 0)


def stop_myself() -> None:
    """Stop this whole process until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)
    while _STOP_AGAIN.value:
        time.sleep(0.05)
        _STOP_AGAIN.value = 0
        os.kill(os.getpid(), signal.SIGSTOP)


class Gate:
    """What forked processes and the test open for each other, and wait for."""

    def __init__(self) -> None:
        self._opened = multiprocessing.RawValue("b", 0)

    def open(self) -> None:
        """Let everybody pass."""
        self._opened.value = 1

    def is_open(self) -> bool:
        """Return whether somebody opened it."""
        return bool(self._opened.value)

    def wait(self) -> None:
        """Sleep until it is open."""
        while not self.is_open():
            time.sleep(0.005)

    def spin(self) -> None:
        """Keep one core busy in pure Python until it is open, never letting go of the interpreter willingly."""
        while not self._opened.value:
            sum(range(1000))


def wait_for_lease_end(fleet: Any, account: str = "ACC-1") -> None:
    """Wait until the lease of an account's run has run out by the database's clock."""
    ended = """
        SELECT count(*) FROM engine_runs
        WHERE account_id = :account AND owner_instance IS NOT NULL AND lease_expires_at <= engine_now()
    """
    wait_for(lambda: fleet.one(ended, account=account) > 0, f"the lease of {account} to run out")


#: Lease, in seconds, for ``claims_while_leases_pass``: so long that no machine is too slow to renew it in time.
LONG_LEASE = 1200


def frequent_heartbeats(monkeypatch: Any) -> None:
    """Have owners of ``LONG_LEASE`` send heartbeats several times a second."""
    monkeypatch.setattr("prometheus.pipeline.lease_keeper._BEATS_PER_LEASE", 4 * LONG_LEASE)


def claims_while_leases_pass(fleet: Any, account: str = "ACC-1") -> list[Lease]:
    """Put the database's clock forward by two of an owner's leases; return what a rival could claim meanwhile.

    It goes on by half a lease once the owner was heard at the time before: an owner that is late keeps the test
    waiting, one that sends nothing loses its run.
    """
    claimed: list[Lease] = []
    for step in range(1, 5):
        fleet.set_clock(f"{step * LONG_LEASE // 2} seconds")
        moved = fleet.one("SELECT engine_now()")
        claimed += fleet.claim(owner="rival", ttl=LONG_LEASE)
        wait_for(lambda moved=moved: fleet.run(account).heartbeat_at >= moved, "a heartbeat of the run's owner")
        claimed += fleet.claim(owner="rival", ttl=LONG_LEASE)
    return claimed


def in_thread(act: Callable[[], object]) -> threading.Thread:
    """Start something beside the test."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread
