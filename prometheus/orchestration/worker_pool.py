"""Worker processes of one advance_all, and the parent that keeps their leases alive while they compute.

The parent only listens and sends heartbeats, so a long solve in a worker's interpreter cannot delay them. Workers are
forked and share the pages that the parent has loaded, until one of them writes to a page.
"""

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import Any, Final

from prometheus.db.claims import Waiting
from prometheus.db.database import Database, limit_lock_waits
from prometheus.db.leases import finish_cancel, heartbeat, release_lease
from prometheus.domain.engine_run import Lease, Outcome
from prometheus.foundation.errors import (
    DatabaseError,
    EngineError,
    PrometheusError,
)
from prometheus.foundation.logging import Logger
from prometheus.optimizer.backends.base import backend_named
from prometheus.orchestration.worker import WorkScope, WorkShare, work_forked
from prometheus.pipeline.advance import report_failure
from prometheus.pipeline.lease_keeper import beat_pause
from prometheus.pipeline.tasks import TaskContext

_log = Logger(__name__)
#: Longest wait of the parent: its largest delay in noticing a signal or a heartbeat that is due.
_TICK_SECONDS: Final = 0.2
#: Time in which a worker that was told to stop, or whose run was lost, must notice by itself.
_GRACE_SECONDS: Final = 5.0
#: Most workers that may die without a run before the pool stops starting others.
_UNEXPLAINED_DEATHS: Final = 3
#: How long the return of a run may wait for a commit under way.
_RELEASE_WAIT_SECONDS: Final = 1.0
#: Imported before workers are forked, so that it happens once.
_USUAL_SOLVER: Final = "CLARABEL"
_FORK: Final = multiprocessing.get_context("fork")


@dataclass(slots=True)
class _Worker:
    """One child: its leases, the run it works on, and since when (monotonic seconds)."""

    process: ForkProcess
    pipe: Pipe
    leases: dict[int, Lease] = field(default_factory=dict)
    current: Lease | None = None
    since: float = 0.0
    #: When the parent told it to abandon its run, and why.
    warned: float | None = None
    finished: bool = False


def work_in_pool(
    context: TaskContext,
    scope: WorkScope,
    open_database: Callable[[], Database],
    waiting: Sequence[Waiting],
    workers: int,
    *,
    note: Callable[[Lease, Outcome, str], None],
    on_beat: Callable[[], bool],
    must_stop: Callable[[], bool],
) -> None:
    """Claim and advance the runs of a scope in several processes.

    Args:
        context: Database, configuration, shared inputs.
        scope: What may be claimed, and until when.
        open_database: Opens the heartbeat's own database.
        waiting: Waiting runs by day, at least one; the first day's inputs are read before workers are forked.
        workers: Most processes.
        note: Called with the end of each run's advance.
        on_beat: Called with each heartbeat; recovers what is stale and returns True where it ended a run.
        must_stop: True once the process was told to end.

    Raises:
        DatabaseUnavailableError: The database is gone.
    """
    backend_named(_USUAL_SOLVER)
    context.shared.load_ahead(waiting[0].as_of, waiting[0].benchmarks)
    runs = sum(day.runs for day in waiting)
    scope = replace(scope, share=WorkShare(runs, workers))
    pool = WorkerPool(context, scope, open_database, on_outcome=note, on_beat=on_beat, must_stop=must_stop)
    pool.run(min(workers, runs))


class WorkerPool:
    """Forks workers over one scope, keeps their leases, and cleans up after those that die or hang.

    Args:
        context: Database, configuration, and the shared inputs to fork with.
        scope: What may be claimed.
        open_database: Opens the heartbeat's own database.
        on_outcome: Called with the end of each run's advance.
        on_beat: Called with each heartbeat; recovers what is stale and returns True where it ended a run.
        must_stop: True once the process was told to end.
    """

    def __init__(
        self,
        context: TaskContext,
        scope: WorkScope,
        open_database: Callable[[], Database],
        *,
        on_outcome: Callable[[Lease, Outcome, str], None],
        on_beat: Callable[[], bool],
        must_stop: Callable[[], bool],
    ) -> None:
        self._context = context
        self._config = context.config
        self._scope = scope
        self._open_database = open_database
        self._on_outcome = on_outcome
        self._on_beat = on_beat
        self._must_stop = must_stop
        self._workers: list[_Worker] = []
        self._unexplained = 0
        self._told_to_stop: float | None = None
        self._error: PrometheusError | None = None

    def run(self, workers: int) -> None:
        """Fork this many workers and return when the last of them is done.

        Raises:
            DatabaseUnavailableError: A worker lost the database.
        """
        database = self._open_database()
        pause = beat_pause(self._config.lease_ttl)
        # Objects made so far are frozen (gc.freeze), so the children's garbage collectors do not copy their pages.
        gc.collect()
        gc.freeze()
        try:
            for _ in range(workers):
                self._fork()
            next_beat = time.monotonic() + pause
            while self._workers:
                self._listen()
                if time.monotonic() >= next_beat:
                    self._beat(database)
                    next_beat = time.monotonic() + pause
                self._watch(pause)
        finally:
            for worker in list(self._workers):
                self._finish(worker)
                self._release(worker, "The process ended.")
            gc.unfreeze()
            database.close()
        if self._error is not None:
            raise self._error

    def _fork(self) -> None:
        """Start a worker; where the machine cannot start another, the running ones go on without it.

        Raises:
            EngineError: There is not one worker, and none can be started (NO_WORKERS).
        """
        try:
            ours, theirs = _FORK.Pipe()
            process = _FORK.Process(
                target=work_forked, args=(theirs, self._context, self._scope, os.getpid()), name="worker", daemon=True
            )
            process.start()
        except OSError as error:
            if self._workers:
                _log.warning("worker not started", reason=str(error), workers=len(self._workers))
                return
            raise EngineError(
                f"No worker process can be started: {error.strerror or error}. Raise the limits of this user (files, "
                "processes, memory), or compute in the process itself with --workers 0.",
                code="NO_WORKERS",
            ) from error
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _listen(self) -> None:
        by_pipe: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(by_pipe), _TICK_SECONDS):
            worker = by_pipe[pipe]
            try:
                while worker.pipe.poll():
                    self._hear(worker, worker.pipe.recv())
            except (EOFError, OSError):
                self._workers.remove(worker)
                worker.process.join()
                worker.pipe.close()
                if worker.finished:
                    # It ended with an error: its runs are given back.
                    self._release(worker, "Its worker ended.")
                else:
                    self._died(worker)

    def _hear(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        match message:
            case ("hold", leases):
                worker.leases.update({lease.run_id: lease for lease in leases})
            case ("begin", lease):
                worker.current, worker.since, worker.warned = lease, time.monotonic(), None
                worker.leases[lease.run_id] = lease
            case ("ended", lease, outcome, reason):
                worker.leases.pop(lease.run_id, None)
                if worker.current is not None and worker.current.run_id == lease.run_id:
                    worker.current = None
                self._on_outcome(lease, outcome, reason)
            case ("done", error):
                worker.finished = True
                self._error = self._error or error

    def _died(self, worker: _Worker) -> None:
        """Charge the run that a dead worker had begun, and give its other runs back."""
        lease = worker.current
        self._release(worker, "Its worker died.", but=lease)
        if lease is None:
            self._unexplained += 1
        else:
            error = EngineError(
                f"The worker of run {lease.run_id} of {lease.account_id} died in {lease.phase} "
                f"({_ending(worker.process.exitcode)}).",
                code="WORKER_LOST",
            )
            _log.error("worker died", run_id=lease.run_id, account=lease.account_id, phase=lease.phase.value,
                       lease_token=lease.token, ending=_ending(worker.process.exitcode))  # fmt: skip
            self._on_outcome(lease, *self._reported(lease, error))
        self._replace_worker()

    def _reported(self, lease: Lease, error: EngineError) -> tuple[Outcome, str]:
        """Charge a run with its worker's end; where the database cannot record it now, the lease expires."""
        try:
            return report_failure(self._context.database, self._config, lease, error)
        except DatabaseError as failure:
            _log.warning("a worker's end was not reported", run_id=lease.run_id, reason=failure.message)
            return Outcome.LOST, f"{error.message} It could not be written down: {failure.message}"

    def _replace_worker(self) -> None:
        if self._told_to_stop is None and self._unexplained < _UNEXPLAINED_DEATHS and not self._scope.spent():
            self._fork()

    def _beat(self, database: Database) -> None:
        # Leases first, since recovery may wait for a lock. Where it ended runs, one of them may be ours: check again.
        self._keep_leases(database)
        try:
            ended = self._on_beat()
        except DatabaseError as error:
            _log.warning("recovery failed", reason=error.message)
            return
        if ended:
            self._keep_leases(database)

    def _keep_leases(self, database: Database) -> None:
        leases = [lease for worker in self._workers for lease in worker.leases.values()]
        try:
            with database.transaction() as connection:
                lost, cancelled = heartbeat(connection, leases, ttl=self._config.lease_ttl)
        except DatabaseError as error:
            # The leases may expire now; the fence at the commit decides.
            _log.warning("heartbeat failed", reason=error.message)
            return
        for worker in self._workers:
            for run_id in (lost | cancelled) & worker.leases.keys():
                _send(worker, ("lost" if run_id in lost else "cancelled", run_id))
                if worker.current is not None and worker.current.run_id == run_id:
                    worker.warned = worker.warned or time.monotonic()

    def _watch(self, pause: float) -> None:
        now = time.monotonic()
        if self._told_to_stop is None and self._must_stop():
            self._told_to_stop = now
            for worker in self._workers:
                _send(worker, ("stop",))
        for worker in list(self._workers):
            if self._told_to_stop is not None and now - self._told_to_stop > _GRACE_SECONDS:
                self._finish(worker)
                self._release(worker, "The process was told to end.")
            elif worker.warned is not None and now - worker.warned > _GRACE_SECONDS:
                self._abandon(worker)
            elif worker.current is not None and now - worker.since > pause and len(worker.leases) > 1:
                # Runs that wait behind a long solve are given to another worker.
                self._release(worker, "Its worker is busy with another run.", but=worker.current)
                worker.leases = {worker.current.run_id: worker.current}

    def _abandon(self, worker: _Worker) -> None:
        """End a worker that computes a run that is not ours any more or that was cancelled."""
        lease = worker.current
        self._finish(worker)
        self._release(worker, "Its worker was ended.", but=lease)
        if lease is not None:
            try:
                with self._context.database.transaction() as connection:
                    limit_lock_waits(connection, _RELEASE_WAIT_SECONDS)
                    cancelled = finish_cancel(connection, lease)
            except DatabaseError as error:
                # The reaper ends it once the lease has expired.
                _log.warning("a cancelled run was not ended yet", run_id=lease.run_id, reason=error.message)
                cancelled = False
            self._on_outcome(
                lease, Outcome.CANCELLED if cancelled else Outcome.LOST, "Its worker was ended while it computed."
            )
        self._replace_worker()

    def _finish(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()

    def _release(self, worker: _Worker, why: str, *, but: Lease | None = None) -> None:
        left = [lease for lease in worker.leases.values() if but is None or lease.run_id != but.run_id]
        try:
            with self._context.database.transaction() as connection:
                # A row in the middle of a commit is skipped: heartbeats must not wait for it.
                limit_lock_waits(connection, _RELEASE_WAIT_SECONDS)
                for lease in sorted(left, key=lambda one: one.run_id):
                    release_lease(connection, lease, kind="RELEASE", details={"message": why}, at_once=True)
        except DatabaseError as error:
            _log.warning("leases were not given back and have to run out", reason=error.message)


def _send(worker: _Worker, message: tuple[Any, ...]) -> None:
    try:
        worker.pipe.send(message)
    except OSError:
        # It has just ended; the next read of its pipe shows it.
        _log.debug("worker is gone", pid=worker.process.pid)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
