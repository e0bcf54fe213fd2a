"""Take one claimed run as far as it goes, and write down how it ended."""

import hashlib
import json
import traceback
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

import structlog

from prometheus.db.database import Connection
from prometheus.db.leases import commit_phase, finish_cancel, release_lease, schedule_retry
from prometheus.db.repositories.engine_events import raise_alert
from prometheus.db.repositories.engine_runs import get_run
from prometheus.domain.engine_run import Lease
from prometheus.domain.phases import Phase
from prometheus.foundation.canonical import canonical_json
from prometheus.foundation.errors import (
    DatabaseUnavailableError,
    EngineFrozenError,
    PhaseHeldError,
    PrometheusError,
    RunCancelledError,
    StaleLeaseError,
)
from prometheus.pipeline.tasks import TASKS, TaskContext

_log = structlog.get_logger(__name__)
#: Holds that pass by themselves when somebody else's transaction is done: no alert, nothing for a person to do.
_PASSING: Final = frozenset({"BOOKS_MOVED", "ORDER"})
#: Failures that no further attempt can mend.
_FINAL: Final = frozenset({"SUPERSEDED"})
#: An error's own words may hold a whole statement with its parameters; what a person reads ends here.
_LONGEST_MESSAGE: Final = 2000


class Outcome(StrEnum):
    """How an advance ended."""

    PERSISTED = "PERSISTED"
    HELD = "HELD"
    DEFERRED = "DEFERRED"
    FROZEN = "FROZEN"
    CANCELLED = "CANCELLED"
    LOST = "LOST"
    RETRY = "RETRY"
    FAILED = "FAILED"


def advance_run(
    context: TaskContext, lease: Lease, on_phase: Callable[[Lease], None] | None = None
) -> tuple[Outcome, str]:
    """Run phase after phase until the run ends, waits or fails; one account's exception never leaves this function.

    Args:
        context: Database, configuration, shared inputs.
        lease: A claim on the run.
        on_phase: Called with the lease before each phase; raises StaleLeaseError or RunCancelledError to stop.

    Returns:
        The outcome, and a sentence where it is not PERSISTED.

    Raises:
        DatabaseUnavailableError: The database is gone; the lease runs out and another heartbeat continues.
    """
    log = _log.bind(run_id=lease.run_id, account=lease.account_id, as_of=str(lease.as_of_date), token=lease.token)
    while lease.phase in TASKS:
        try:
            if on_phase is not None:
                on_phase(lease)
            reached = TASKS[lease.phase](context, lease)
        except PhaseHeldError as error:
            return _hold(context, lease, error)
        except EngineFrozenError as error:
            _release(context, lease, "KILL_SWITCH", error)
            return Outcome.FROZEN, error.message
        except RunCancelledError as error:
            return _cancel(context, lease, error)
        except StaleLeaseError as error:
            log.warning("lease lost", phase=lease.phase.value)
            return Outcome.LOST, error.message
        except DatabaseUnavailableError:
            # Perhaps lost during COMMIT, with the outcome unknown: the row tells.
            reached = _reread(context, lease)
            if reached is lease.phase:
                raise
        except Exception as error:
            # Whatever one account does, the fleet goes on.
            log.exception("phase failed", phase=lease.phase.value)
            return _fail(context, lease, error)
        log.debug("phase done", phase=reached.value)
        lease = replace(lease, phase=reached, attempt=1)
    log.info("run done", phase=lease.phase.value)
    return Outcome(lease.phase.value), ""


def _hold(context: TaskContext, lease: Lease, error: PhaseHeldError) -> tuple[Outcome, str]:
    passing = error.code in _PASSING
    with context.database.transaction() as connection:
        details = {"code": error.code, "message": error.message}
        if release_lease(connection, lease, kind="HOLD", details=details) and not passing:
            _alert(connection, lease, error.code, error.message)
    return Outcome.DEFERRED if passing else Outcome.HELD, error.message


def _cancel(context: TaskContext, lease: Lease, error: RunCancelledError) -> tuple[Outcome, str]:
    with context.database.transaction() as connection:
        finish_cancel(connection, lease)
    return Outcome.CANCELLED, error.message


def _release(context: TaskContext, lease: Lease, kind: str, error: PrometheusError) -> None:
    with context.database.transaction() as connection:
        release_lease(connection, lease, kind=kind, details={"code": error.code, "message": error.message})


def _reread(context: TaskContext, lease: Lease) -> Phase:
    """Return the phase the run has now, if it is still ours.

    Raises:
        DatabaseUnavailableError: It is still gone.
    """
    with context.database.transaction() as connection:
        run = get_run(connection, lease.run_id)
    ours = run.lease_token == lease.token and run.owner_instance in {lease.owner, None}
    return run.phase if ours else lease.phase


def _fail(context: TaskContext, lease: Lease, error: Exception) -> tuple[Outcome, str]:
    details = _error_json(lease, error)
    try:
        with context.database.transaction() as connection:
            if lease.attempt < lease.max_attempts and details["code"] not in _FINAL:
                kept = schedule_retry(connection, lease, error=details, base_seconds=context.config.retry_base_seconds)
                return (Outcome.RETRY if kept else Outcome.LOST), details["message"]
            commit_phase(connection, lease, Phase.FAILED, ttl=context.config.lease_ttl, error=details)
            _alert(connection, lease, "RUN_FAILED", details["message"])
    except StaleLeaseError as lost:
        return Outcome.LOST, lost.message
    except RunCancelledError as cancelled:
        return _cancel(context, lease, cancelled)
    except EngineFrozenError as frozen:
        _release(context, lease, "KILL_SWITCH", frozen)
        return Outcome.FROZEN, frozen.message
    return Outcome.FAILED, details["message"]


def _error_json(lease: Lease, error: Exception) -> dict[str, Any]:
    trace = "".join(traceback.format_exception(error))
    known = error if isinstance(error, PrometheusError) else None
    message = known.message if known else f"{type(error).__name__}: {error}"
    return {
        "code": known.code if known else "EXCEPTION",
        "message": _storable(message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + " ..."),
        "previous_phase": lease.phase.value,
        "attempt": lease.attempt,
        "traceback_sha256": hashlib.sha256(trace.encode(errors="replace")).hexdigest(),
        **({"details": _storable(known.details)} if known and known.details else {}),
    }


def _storable(value: Any) -> Any:
    """Return what jsonb can hold of a value: a failure is written down whatever its words are made of."""
    try:
        text = canonical_json(value)
    except TypeError:
        text = canonical_json(repr(value))
    # jsonb knows no zero character, UTF-8 no half of a surrogate pair.
    return json.loads(text.replace("\\u0000", "\\ufffd").encode(errors="replace"))


def _alert(connection: Connection, lease: Lease, code: str, message: str) -> None:
    raise_alert(
        connection,
        run_id=lease.run_id,
        account_id=lease.account_id,
        as_of=lease.as_of_date,
        code=code,
        message=message,
    )
