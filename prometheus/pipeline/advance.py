"""Take runs as far as they go, one by itself or several that were claimed, and write down how each ended."""

import hashlib
import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from prometheus.db.claims import claim_batch
from prometheus.db.database import Database, limit_lock_waits
from prometheus.db.leases import commit_phase, commit_phases, finish_cancel, release_lease, schedule_retry, why_refused
from prometheus.db.repositories.engine_runs import get_run
from prometheus.domain.attention import PASSING_HOLDS
from prometheus.domain.engine_run import EngineRun, Lease, Outcome, RunError
from prometheus.domain.phases import Phase
from prometheus.foundation.canonical import JsonObject, canonical_json
from prometheus.foundation.errors import (
    BackendUnavailableError,
    CollisionError,
    DatabaseError,
    DatabaseUnavailableError,
    EngineError,
    EngineFrozenError,
    PhaseHeldError,
    PrometheusError,
    RiskModelError,
    RunCancelledError,
    StaleLeaseError,
)
from prometheus.foundation.ids import owner_instance
from prometheus.foundation.logging import Logger
from prometheus.pipeline.effects import alert, record_together
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.lease_keeper import LeaseKeeper
from prometheus.pipeline.shared_inputs import SharedInputs
from prometheus.pipeline.tasks import TASKS, PhaseWork, TaskContext

_log = Logger(__name__)
#: Failures that no further attempt can repair, whatever class they are of.
_FINAL: Final = frozenset({"SUPERSEDED"})
#: What the surroundings are to blame for: another moment, another worker or another host may have it.
_OF_SURROUNDINGS: Final = (DatabaseError, EngineError, RiskModelError, BackendUnavailableError)
#: An error's own words may hold a whole statement with its parameters; what a person reads ends here.
_LONGEST_MESSAGE: Final = 2000
#: How long giving a run back may wait for whoever holds its row.
_RELEASE_WAIT_SECONDS: Final = 2.0


class Watch(Protocol):
    """What a batch tells whoever keeps its leases, and asks before each step."""

    def begin(self, lease: Lease) -> None:
        """Hear that work on a phase begins."""

    def check(self, lease: Lease) -> None:
        """Raise StaleLeaseError or RunCancelledError where work on the run must stop."""

    def must_stop(self) -> bool:
        """Return True where the process was told to end: nothing more is begun."""

    def spent(self) -> bool:
        """Return True where the time budget is spent: no further run is begun."""

    def ended(self, lease: Lease, outcome: Outcome, reason: str) -> None:
        """Hear how an advance ended."""


def advance_run(database: Database, run: EngineRun, config: EngineConfig | None = None) -> EngineRun:
    """Take one run as far as it goes, under a lease that is renewed meanwhile; return it as it stands then.

    A run that may not be worked on stays as it is: it waits for data, has ended, is another worker's, comes after an
    unfinished day of its account, waits for its next attempt, its account is paused or the engine is frozen. What goes
    wrong is written down with the run, as ``advance_all`` does: held, to be tried again, failed. Each call reads the
    day's market data anew; ``advance_all`` reads them once for all runs.

    Args:
        database: The database.
        run: The run, as it was read at any time.
        config: Identity and limits of this process; None for the defaults.

    Raises:
        DatabaseUnavailableError: The database is gone; the lease runs out and another worker continues.
    """
    config = config or EngineConfig(owner_instance())
    leases: Sequence[Lease] = ()
    if not config.frozen_by_environment:
        with database.transaction() as connection:
            leases = claim_batch(
                connection,
                owner=config.owner,
                ttl=config.lease_ttl,
                batch=1,
                as_of=run.as_of_date,
                account_ids=[run.account_id],
            )
    if leases:
        with LeaseKeeper(database.sibling, config.lease_ttl) as keeper:
            keeper.hold(leases)
            advance_batch(TaskContext(database, config, SharedInputs(database)), leases, _Alone(keeper))
    with database.transaction() as connection:
        return get_run(connection, run.run_id)


class _Alone:
    """Keeps the lease of a single run; nobody tells it to stop, and there is no budget of time."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        self.check = keeper.check
        self._keeper = keeper

    def begin(self, lease: Lease) -> None:
        """Nobody listens."""

    def must_stop(self) -> bool:
        return False

    def spent(self) -> bool:
        return False

    def ended(self, lease: Lease, outcome: Outcome, reason: str) -> None:  # noqa: ARG002 -- the row says it
        self._keeper.drop(lease)


def advance_batch(context: TaskContext, leases: Sequence[Lease], watch: Watch) -> None:
    """Take claimed runs through phase after phase until each ends, waits or fails; transitions are committed together.

    One account's exception never leaves this function, and where one run's record fails the others' are written
    without it. Runs that computed while the first of them waits longer than ``config.commit_within_seconds`` are
    committed before the next is begun.

    Args:
        context: Database, configuration, shared inputs.
        leases: Claims on the runs, of one owner.
        watch: Who keeps the leases.

    Raises:
        DatabaseUnavailableError: The database is gone; the leases run out and another heartbeat continues.
    """
    unfinished, begun = list(leases), False
    context.accounts.expect(lease for lease in leases if lease.phase is Phase.DATA_READY)
    try:
        while unfinished:
            unfinished, begun = _one_phase(context, unfinished, watch, begun=begun), True
    finally:
        for lease in leases:
            context.days.pop(lease.run_id, None)


def _one_phase(context: TaskContext, leases: Sequence[Lease], watch: Watch, *, begun: bool) -> list[Lease]:
    """Take each run one phase on; return those that have another before them."""
    ready: list[tuple[Lease, PhaseWork]] = []
    advanced: list[Lease] = []
    opened = time.monotonic()
    for lease in leases:
        if watch.must_stop() or (not begun and watch.spent()):
            why = "The process was told to end." if watch.must_stop() else "The time budget was spent."
            _release(context, lease, "RELEASE", {"message": why}, at_once=True)
            watch.ended(lease, Outcome.RELEASED, why)
            continue
        work = _compute(context, lease, watch)
        if work is not None:
            ready.append((lease, work))
        if ready and time.monotonic() - opened > context.config.commit_within_seconds:
            advanced += _commit(context, ready, watch)
            ready, opened = [], time.monotonic()
    if ready:
        advanced += _commit(context, ready, watch)
    return advanced


def _compute(context: TaskContext, lease: Lease, watch: Watch) -> PhaseWork | None:
    log = _bound(lease)
    try:
        watch.begin(lease)
        watch.check(lease)
        log.debug("phase begins")
        return TASKS[lease.phase](context, lease)
    except DatabaseUnavailableError as error:
        if not isinstance(error, CollisionError):
            raise
        watch.ended(lease, *_ended_by(context, lease, error))
    except Exception as error:  # noqa: BLE001 -- whatever one account does, the fleet goes on
        watch.ended(lease, *_ended_by(context, lease, error))
    return None


def _commit(context: TaskContext, ready: Sequence[tuple[Lease, PhaseWork]], watch: Watch) -> list[Lease]:
    """Commit what was computed, together; where that fails, one by one. Return the runs that have another phase."""
    try:
        moved = _commit_together(context, ready)
    except DatabaseUnavailableError as error:
        if isinstance(error, CollisionError):
            if len(ready) > 1:
                return [lease for step in ready for lease in _commit(context, [step], watch)]
            watch.ended(ready[0][0], *_ended_by(context, ready[0][0], error))
            return []
        # Perhaps lost during COMMIT, with the outcome unknown: the rows tell.
        moved = {lease.run_id for lease, work in ready if _reread(context, lease) is work.to_phase}
        if len(moved) < len(ready):
            raise
    except Exception as error:  # noqa: BLE001 -- whatever one account does, the fleet goes on
        if len(ready) > 1:
            return [lease for step in ready for lease in _commit(context, [step], watch)]
        watch.ended(ready[0][0], *_ended_by(context, ready[0][0], error))
        return []
    advanced = []
    for lease, work in ready:
        if lease.run_id not in moved:
            with context.database.transaction() as connection:
                refused = why_refused(connection, lease)
            watch.ended(lease, *_ended_by(context, lease, refused))
            continue
        _bound(lease).debug("phase done", reached=work.to_phase.value)
        lease = replace(lease, phase=work.to_phase, attempt=1)  # noqa: PLW2901 -- the run as it stands now
        if lease.phase in TASKS:
            advanced.append(lease)
        else:
            _bound(lease).info("run done")
            watch.ended(lease, Outcome(lease.phase.value), "")
    return advanced


def _commit_together(context: TaskContext, ready: Sequence[tuple[Lease, PhaseWork]]) -> set[int]:
    steps = [(lease, work.to_phase) for lease, work in ready]
    with context.database.transaction() as connection:
        moved = commit_phases(connection, steps, ttl=context.config.lease_ttl)
        record_together(
            connection,
            [work.effects for lease, work in ready if lease.run_id in moved and work.effects is not None],
        )
    return set(moved)


def _ended_by(context: TaskContext, lease: Lease, error: Exception) -> tuple[Outcome, str]:
    """Write down how an error ends an advance; return the outcome and a sentence."""
    try:
        return _written_down(context, lease, error)
    except CollisionError as held:
        _bound(lease).warning("run waits for its lease to end: its row is held", reason=held.message)
        return Outcome.DEFERRED, held.message


def _written_down(context: TaskContext, lease: Lease, error: Exception) -> tuple[Outcome, str]:
    match error:
        case CollisionError():
            return _give_way(context, lease, error)
        case PhaseHeldError():
            return _hold(context, lease, error)
        case EngineFrozenError():
            _release(context, lease, "KILL_SWITCH", {"code": error.code, "message": error.message})
            return Outcome.FROZEN, error.message
        case RunCancelledError():
            return _cancel(context, lease, error)
        case StaleLeaseError():
            _bound(lease).warning("lease lost")
            return Outcome.LOST, error.message
        case _:
            _bound(lease).error("phase failed", exc_info=error)
            return report_failure(context.database, context.config, lease, error)


def _bound(lease: Lease) -> Any:
    return _log.bind(
        run_id=lease.run_id,
        account=lease.account_id,
        as_of=lease.as_of_date.isoformat(),
        phase=lease.phase.value,
        lease_token=lease.token,
        attempt=lease.attempt,
    )


def _give_way(context: TaskContext, lease: Lease, error: CollisionError) -> tuple[Outcome, str]:
    """Give a run back whose transaction another one was in the way of: nobody's fault, and no charge."""
    _release(context, lease, "HOLD", {"code": error.code, "message": error.message})
    return Outcome.DEFERRED, error.message


def _hold(context: TaskContext, lease: Lease, error: PhaseHeldError) -> tuple[Outcome, str]:
    passing = error.code in PASSING_HOLDS
    with context.database.transaction() as connection:
        details = {"code": error.code, "message": error.message}
        if release_lease(connection, lease, kind="HOLD", details=details) and not passing:
            alert(connection, lease, error.code, error.message)
    return Outcome.DEFERRED if passing else Outcome.HELD, error.message


def _cancel(context: TaskContext, lease: Lease, error: RunCancelledError) -> tuple[Outcome, str]:
    with context.database.transaction() as connection:
        finish_cancel(connection, lease)
    return Outcome.CANCELLED, error.message


def _release(context: TaskContext, lease: Lease, kind: str, details: JsonObject, *, at_once: bool = False) -> None:
    try:
        with context.database.transaction() as connection:
            limit_lock_waits(connection, _RELEASE_WAIT_SECONDS)
            release_lease(connection, lease, kind=kind, details=details, at_once=at_once)
    except CollisionError as held:
        # Somebody keeps hold of the run's own row: its lease runs out, and others are not kept waiting for it.
        _bound(lease).warning("run was not given back and waits for its lease to end", reason=held.message)


def _reread(context: TaskContext, lease: Lease) -> Phase:
    """Return the phase the run has now, if it is still ours.

    Raises:
        DatabaseUnavailableError: It is still gone.
    """
    with context.database.transaction() as connection:
        run = get_run(connection, lease.run_id)
    ours = run.lease_token == lease.token and run.owner_instance in {lease.owner, None}
    return run.phase if ours else lease.phase


def report_failure(database: Database, config: EngineConfig, lease: Lease, error: Exception) -> tuple[Outcome, str]:
    """Have a failed phase tried again later; fail the run where no attempt is left or none can repair it.

    Args:
        database: The database.
        config: Base of the delay, length of the lease.
        lease: The claim under which the phase failed.
        error: What happened.

    Returns:
        The outcome and a sentence for the summary; LOST where the run is somebody else's by now.
    """
    failure = _run_error(lease, error)
    try:
        with database.transaction() as connection:
            if lease.attempt < lease.max_attempts and _may_heal(error, failure.code):
                kept = schedule_retry(connection, lease, error=failure, base_seconds=config.retry_base_seconds)
                return (Outcome.RETRY if kept else Outcome.LOST), failure.message
            commit_phase(connection, lease, Phase.FAILED, ttl=config.lease_ttl, error=failure)
            alert(connection, lease, "RUN_FAILED", failure.message)
    except StaleLeaseError as lost:
        return Outcome.LOST, lost.message
    except RunCancelledError as cancelled:
        with database.transaction() as connection:
            finish_cancel(connection, lease)
        return Outcome.CANCELLED, cancelled.message
    except EngineFrozenError as frozen:
        with database.transaction() as connection:
            release_lease(connection, lease, kind="KILL_SWITCH", details={"code": frozen.code})
        return Outcome.FROZEN, frozen.message
    return Outcome.FAILED, failure.message


def _may_heal(error: Exception, code: str) -> bool:
    """Return whether another attempt may end otherwise.

    An exception of no kind of ours may be anything, so it is tried again. One that says of the inputs that they cannot
    be worked with (configuration, an invalid problem, a rule of the ledger) says the same at every attempt.
    """
    if code in _FINAL:
        return False
    return not isinstance(error, PrometheusError) or error.retryable or isinstance(error, _OF_SURROUNDINGS)


def _run_error(lease: Lease, error: Exception) -> RunError:
    trace = "".join(traceback.format_exception(error))
    known = error if isinstance(error, PrometheusError) else None
    message = known.message if known else f"{type(error).__name__}: {error}"
    return RunError(
        code=known.code if known else "EXCEPTION",
        message=_storable(message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + " ..."),
        previous_phase=lease.phase.value,
        attempt=lease.attempt,
        traceback_sha256=hashlib.sha256(trace.encode(errors="replace")).hexdigest(),
        details=_storable(known.details) if known and known.details else None,
    )


def _storable(value: Any) -> Any:
    """Return what jsonb can hold of a value: a failure is written down whatever its words are made of."""
    try:
        text = canonical_json(value)
    except TypeError:
        text = canonical_json(repr(value))
    # jsonb knows no zero character, UTF-8 no half of a surrogate pair.
    return json.loads(text.replace("\\u0000", "\\ufffd").encode(errors="replace"))
