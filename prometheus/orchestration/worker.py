"""A worker: claims runs and advances them until nothing is eligible, the time is spent or it is told to end."""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol

from prometheus.db.claims import claim_batch
from prometheus.domain.engine_run import Lease, Outcome
from prometheus.pipeline.advance import Watch, advance_batch
from prometheus.pipeline.tasks import TaskContext

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
