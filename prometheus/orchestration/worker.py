"""A worker: claims runs and advances them until nothing is eligible, the time is spent or it is told to end.

It loads the optimizer and its compiled loops, so a tick imports it only where a run waits.
"""

import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from multiprocessing.connection import Connection as Pipe
from typing import Final, Protocol

from prometheus.db.claims import claim_batch
from prometheus.db.database import Database
from prometheus.domain.engine_run import Lease, Outcome
from prometheus.foundation.errors import EngineError, PrometheusError, RunCancelledError, StaleLeaseError
from prometheus.foundation.logging import Logger
from prometheus.pipeline.account_inputs import AccountReader
from prometheus.pipeline.advance import Watch, advance_batch
from prometheus.pipeline.lease_keeper import LeaseKeeper
from prometheus.pipeline.tasks import TaskContext

_log = Logger(__name__)
_PR_SET_PDEATHSIG: Final = 1
#: Seconds of a batch: long enough to share its statements among many runs.
_BATCH_SECONDS: Final = 1.0
_FIRST_BATCH: Final = 2


class WorkShare:
    """Number of runs left for the workers of one call, so that one large batch does not leave others without work.

    The number is an estimate, shared by all of them without a lock: a worker may be killed at any moment, and runs may
    come and go. The estimate only bounds the size of a batch.

    Args:
        runs: Runs that waited when the call began.
        workers: Number of workers.
    """

    def __init__(self, runs: int, workers: int) -> None:
        self._left = multiprocessing.RawValue("q", runs)
        self._parts = 2 * workers

    def portion(self, size: int) -> int:
        """Return how many runs to claim, at most ``size``: half of an equal part of what is left."""
        left = self._left.value
        return size if left <= 0 else min(size, -(-left // self._parts))

    def took(self, runs: int) -> None:
        """Count runs that were claimed."""
        self._left.value -= runs


@dataclass(frozen=True, slots=True)
class WorkScope:
    """The runs that a worker may claim.

    Attributes:
        as_of: Only this day.
        account_ids: Only these accounts.
        horizon: Database instant at which the call began: runs given back later wait for the next call.
        deadline: Instant of ``time.monotonic`` after which no further run is begun; None for no limit.
        share: What is left for all workers of the call; None where there is only one.
    """

    as_of: date | None = None
    account_ids: tuple[str, ...] | None = None
    horizon: datetime | None = None
    deadline: float | None = None
    share: WorkShare | None = None

    def spent(self) -> bool:
        """Return True once the time budget is used up."""
        return self.deadline is not None and time.monotonic() >= self.deadline


class LeaseMonitor(Watch, Protocol):
    """Keeps a worker's leases alive and is told how its runs end."""

    def hold(self, leases: Sequence[Lease]) -> None:
        """Keep these leases alive from now on."""


def work_here(
    context: TaskContext,
    scope: WorkScope,
    open_database: Callable[[], Database],
    *,
    note: Callable[[Lease, Outcome, str], None],
    must_stop: Callable[[], bool],
) -> None:
    """Claim and advance batch after batch in this process, whose thread keeps the leases.

    Args:
        context: Database, configuration, shared inputs.
        scope: What may be claimed, and until when.
        open_database: Opens the heartbeat's own database.
        note: Called with the end of each run's advance.
        must_stop: True once the process was told to end.

    Raises:
        DatabaseUnavailableError: The database is gone.
    """
    with LeaseKeeper(open_database, context.config.lease_ttl) as keeper:
        work(context, scope, _OwnMonitor(keeper, scope, note, must_stop))


def work(context: TaskContext, scope: WorkScope, monitor: LeaseMonitor) -> None:
    """Claim and advance batch after batch.

    Args:
        context: Database, configuration, shared inputs.
        scope: What may be claimed, and until when.
        monitor: Keeper of the leases.

    Raises:
        DatabaseUnavailableError: The database is gone.
    """
    size = _FIRST_BATCH
    # A run that was given back is not tried again in this call: its inputs will not arrive meanwhile.
    given_back = _GivenBack(monitor)
    while not scope.spent() and not monitor.must_stop():
        started = time.monotonic()
        wanted = min(size, context.config.batch)
        with context.database.transaction() as connection:
            leases = claim_batch(
                connection,
                owner=context.config.owner,
                ttl=context.config.lease_ttl,
                batch=wanted if scope.share is None else scope.share.portion(wanted),
                skip=given_back.run_ids,
                as_of=scope.as_of,
                account_ids=scope.account_ids,
                horizon=scope.horizon,
            )
        if not leases:
            return
        if scope.share is not None:
            scope.share.took(len(leases))
        monitor.hold(leases)
        context.shared.forget_if_changed()
        advance_batch(context, leases, given_back)
        took = time.monotonic() - started
        if took < _BATCH_SECONDS / 2:
            size = min(2 * size, context.config.batch)
        elif took > 2 * _BATCH_SECONDS:
            size = max(size // 2, 1)


class _GivenBack:
    """Passes everything on to the monitor, and records the runs that ended other than PERSISTED."""

    def __init__(self, monitor: LeaseMonitor) -> None:
        self._monitor = monitor
        self.run_ids: list[int] = []

    def begin(self, lease: Lease) -> None:
        self._monitor.begin(lease)

    def check(self, lease: Lease) -> None:
        self._monitor.check(lease)

    def must_stop(self) -> bool:
        return self._monitor.must_stop()

    def spent(self) -> bool:
        return self._monitor.spent()

    def ended(self, lease: Lease, outcome: Outcome, reason: str) -> None:
        if outcome is not Outcome.PERSISTED:
            self.run_ids.append(lease.run_id)
        self._monitor.ended(lease, outcome, reason)


class _OwnMonitor:
    """Keeps the leases of a worker in this process."""

    def __init__(
        self,
        keeper: LeaseKeeper,
        scope: WorkScope,
        note: Callable[[Lease, Outcome, str], None],
        must_stop: Callable[[], bool],
    ) -> None:
        self.hold = keeper.hold
        self.check = keeper.check
        self.spent = scope.spent
        self.must_stop = must_stop
        self._keeper = keeper
        self._note = note

    def begin(self, lease: Lease) -> None:
        """Do nothing."""

    def ended(self, lease: Lease, outcome: Outcome, reason: str) -> None:
        self._keeper.drop(lease)
        self._note(lease, outcome, reason)


class _ParentMonitor:
    """Passes everything on to the parent of a forked worker, which keeps the leases."""

    def __init__(self, pipe: Pipe, scope: WorkScope) -> None:
        self._pipe = pipe
        self._scope = scope
        self._stop = False
        self._lost: set[int] = set()
        self._cancelled: set[int] = set()

    def hold(self, leases: Sequence[Lease]) -> None:
        self._lost.clear()
        self._cancelled.clear()
        self._pipe.send(("hold", tuple(leases)))

    def begin(self, lease: Lease) -> None:
        self._pipe.send(("begin", lease))

    def ended(self, lease: Lease, outcome: Outcome, reason: str) -> None:
        self._pipe.send(("ended", lease, outcome, reason))

    def spent(self) -> bool:
        return self._scope.spent()

    def must_stop(self) -> bool:
        self._read()
        return self._stop

    def check(self, lease: Lease) -> None:
        self._read()
        if lease.run_id in self._lost:
            raise StaleLeaseError(f"The lease on run {lease.run_id} of {lease.account_id} was lost.")
        if lease.run_id in self._cancelled:
            raise RunCancelledError(f"Run {lease.run_id} of {lease.account_id} was cancelled by an operator.")

    def _read(self) -> None:
        try:
            while self._pipe.poll():
                match self._pipe.recv():
                    case ("stop",):
                        self._stop = True
                    case ("lost", run_id):
                        self._lost.add(run_id)
                    case ("cancelled", run_id):
                        self._cancelled.add(run_id)
        except (EOFError, OSError):
            # The parent is gone, so the leases are no longer renewed.
            self._stop = True


def work_forked(pipe: Pipe, context: TaskContext, scope: WorkScope, parent: int) -> None:
    """Claim and advance batch after batch in a process that a pool forked; the last message is ("done", error).

    Args:
        pipe: To the parent.
        context: As it was before the fork; its database is opened anew.
        scope: What may be claimed, and until when.
        parent: Process id of the parent.
    """
    # Only the parent handles signals and tells its workers; if it dies they must not go on without heartbeats.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    database = context.database.after_fork()
    context.shared.use(database)
    error: PrometheusError | None = None
    try:
        work(replace(context, database=database, days={}, accounts=AccountReader()), scope, _ParentMonitor(pipe, scope))
    except PrometheusError as failure:
        error = type(failure)(failure.message, code=failure.code)
    except Exception as failure:  # noqa: BLE001 -- the parent is told, and ends with it
        _log.exception("worker failed")
        error = EngineError(f"A worker failed: {type(failure).__name__}: {failure}", code="WORKER_FAILED")
    database.close()
    pipe.send(("done", error))
    pipe.close()
