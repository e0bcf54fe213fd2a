"""Workers as processes of their own, forked after the imports, that can be killed, stopped and made to misbehave."""

import contextlib
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

from prometheus.db.database import Database
from prometheus.orchestration.advance_all import advance_all
from prometheus.pipeline import tasks
from prometheus.pipeline.engine_config import EngineConfig
from tests.measured import stop_measuring

#: How long any of these processes may take before the test fails: a hang is a defect.
DEADLINE_SECONDS = 150.0
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
            stop_measuring()
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

    def wait_stopped(self, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until the process has stopped itself (SIGSTOP)."""
        wait_for(lambda: self._state() == "T", "the worker to stop", seconds)

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
    """Run one heartbeat of a worker with a database of its own; return the number of runs it could not finish."""
    database = Database(url)
    config = EngineConfig(**{"owner": owner, "retry_base_seconds": 0.0, **settings})
    summary = advance_all(database, config, database.sibling, account_ids=accounts, workers=workers)
    database.close()
    return min(len(summary.problems), RAISED - 1)


@dataclass
class Points:
    """Counts the moments at which a process touches the database, and kills it with SIGKILL at one of them.

    A moment is just before a statement is sent, just before a COMMIT, and just after a COMMIT was answered. With
    ``of_worker`` the moments are those of the first process that this one forks, and nobody after it is killed.
    """

    die_at: int | None = None
    of_worker: bool = False
    seen: int = 0
    home: int = 0
    #: Shared with forked processes: the worker whose moments count, and how many were seen.
    shared: Any = field(default_factory=lambda: multiprocessing.Array("q", 2, lock=False))

    def touch(self) -> None:
        """Count one moment."""
        pid = os.getpid()
        if (pid != self.home) is not self.of_worker:
            return
        if self.of_worker:
            self.shared[0] = self.shared[0] or pid
            if self.shared[0] != pid:
                return
        if self.seen == self.die_at:
            os.kill(pid, signal.SIGKILL)
        self.seen += 1
        self.shared[1] = self.seen

    def install(self) -> None:
        """Count every statement and COMMIT of this process from now on."""
        self.home = os.getpid()
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


def stop_myself() -> None:
    """Stop this whole process until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def spin(seconds: float) -> None:
    """Keep one core busy in pure Python, never letting go of the interpreter willingly."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


def in_thread(act: Callable[[], object]) -> threading.Thread:
    """Start something beside the test."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread
