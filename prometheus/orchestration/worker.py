"""A worker: claims runs and advances them until nothing is eligible, the time is spent or it is told to end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol

from prometheus.db.leases import claim_batch
from prometheus.domain.engine_run import Lease
from prometheus.pipeline.advance import Outcome, Watch, advance_batch
from prometheus.pipeline.tasks import TaskContext

#: A batch that takes about this long is large enough to share its commits and small enough to share out the rest.
_BATCH_SECONDS: Final = 0.25
_FIRST_BATCH: Final = 2


@dataclass(frozen=True, slots=True)
class WorkScope:
    """What a worker may claim.

    Attributes:
        as_of: Only this day.
        account_ids: Only these accounts.
        horizon: Database instant at which the call began: what is given back later waits for the next call.
        deadline: Instant of ``time.monotonic`` after which no further run is begun; None for no limit.
    """

    as_of: date | None = None
    account_ids: tuple[str, ...] | None = None
    horizon: datetime | None = None
    deadline: float | None = None

    def spent(self) -> bool:
        """Return True once the time budget is used up."""
        return self.deadline is not None and time.monotonic() >= self.deadline


class LeaseDesk(Watch, Protocol):
    """Who keeps a worker's leases alive and hears what becomes of its runs."""

    def hold(self, leases: Sequence[Lease]) -> None:
        """Keep these leases alive from now on."""


def work(context: TaskContext, scope: WorkScope, desk: LeaseDesk) -> None:
    """Claim and advance batch after batch.

    Args:
        context: Database, configuration, shared inputs.
        scope: What may be claimed, and until when.
        desk: Keeper of the leases.

    Raises:
        DatabaseUnavailableError: The database is gone.
    """
    size = _FIRST_BATCH
    # A run that was given back is not tried again in this call: what it waits for will not come meanwhile.
    given_back = _GivenBack(desk)
    while not scope.spent() and not desk.must_stop():
        started = time.monotonic()
        with context.database.transaction() as connection:
            leases = claim_batch(
                connection,
                owner=context.config.owner,
                ttl=context.config.lease_ttl,
                batch=min(size, context.config.batch),
                skip=given_back.run_ids,
                as_of=scope.as_of,
                account_ids=scope.account_ids,
                horizon=scope.horizon,
            )
        if not leases:
            return
        desk.hold(leases)
        context.shared.forget_if_changed()
        advance_batch(context, leases, given_back)
        took = time.monotonic() - started
        if took < _BATCH_SECONDS / 2:
            size = min(2 * size, context.config.batch)
        elif took > 2 * _BATCH_SECONDS:
            size = max(size // 2, 1)


class _GivenBack:
    """Passes everything on to the desk, and remembers the runs that ended other than PERSISTED."""

    def __init__(self, desk: LeaseDesk) -> None:
        self._desk = desk
        self.run_ids: list[int] = []

    def begin(self, lease: Lease) -> None:
        self._desk.begin(lease)

    def check(self, lease: Lease) -> None:
        self._desk.check(lease)

    def must_stop(self) -> bool:
        return self._desk.must_stop()

    def spent(self) -> bool:
        return self._desk.spent()

    def ended(self, lease: Lease, outcome: Outcome, reason: str) -> None:
        if outcome is not Outcome.PERSISTED:
            self.run_ids.append(lease.run_id)
        self._desk.ended(lease, outcome, reason)
