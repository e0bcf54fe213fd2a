"""The part of a tick that works on runs. It loads the optimizer and its compiled loops, so it is imported late.

Most ticks have nothing to do and import neither this module nor its imports. The imports happen before workers are
forked, so that they inherit the machine code.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from prometheus.db.claims import Waiting
from prometheus.db.database import Database
from prometheus.domain.engine_run import Lease, Outcome
from prometheus.foundation.errors import DatabaseUnavailableError
from prometheus.foundation.logging import Logger
from prometheus.optimizer.backends.base import backend_named
from prometheus.orchestration.worker import WorkScope, WorkShare, work
from prometheus.orchestration.worker_pool import WorkerPool
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.lease_keeper import LeaseKeeper
from prometheus.pipeline.shared_inputs import SharedInputs
from prometheus.pipeline.tasks import TaskContext

_log = Logger(__name__)
#: Imported before workers are forked, so that it happens once.
_USUAL_SOLVER = "CLARABEL"


def work_on_runs(
    database: Database,
    config: EngineConfig,
    open_database: Callable[[], Database],
    scope: WorkScope,
    waiting: Sequence[Waiting],
    *,
    workers: int,
    note: Callable[[Lease, Outcome, str], None],
    on_beat: Callable[[], bool],
    must_stop: Callable[[], bool],
) -> None:
    """Advance every run of a scope that can be claimed.

    Args:
        database: The database.
        config: Identity and limits of this process.
        open_database: Opens the heartbeat's own database.
        scope: What may be claimed.
        waiting: Waiting runs by day, at least one; the first day's inputs are read before workers are forked.
        workers: Processes to compute in; 0 for this one.
        note: Called with the end of each run's advance.
        on_beat: Called with each heartbeat of the workers; True where it ended a run.
        must_stop: True once the process was told to end.

    Raises:
        DatabaseUnavailableError: The database is gone.
    """
    context = TaskContext(database, config, SharedInputs(database))
    if workers == 0:
        with LeaseKeeper(open_database, config.lease_ttl) as keeper:
            work(context, scope, _OwnMonitor(keeper, scope, note, must_stop))
        return
    backend_named(_USUAL_SOLVER)
    _share(context, waiting[0])
    runs = sum(day.runs for day in waiting)
    pool = WorkerPool(
        context,
        replace(scope, share=WorkShare(runs, workers)),
        open_database,
        on_outcome=note,
        on_beat=on_beat,
        must_stop=must_stop,
    )
    pool.run(min(workers, runs))


def _share(context: TaskContext, first: Waiting) -> None:
    """Read the inputs that the first day's accounts share, so that forked workers have them."""
    try:
        context.shared.forget_if_changed()
        context.shared.load(first.as_of, first.benchmarks)
    except DatabaseUnavailableError:
        raise
    except Exception:  # noqa: BLE001 -- logged, and met again by each run that needs it
        # The failure is then recorded with the runs that need the inputs; other days go on.
        _log.exception("a day's shared inputs cannot be read", as_of=first.as_of.isoformat())


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
