"""One tick, as timers call it: recover stale runs, do due tasks, then claim and advance runs until none is eligible."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from prometheus.db.claims import Waiting, look_for_work
from prometheus.db.database import Database, limit_lock_waits
from prometheus.db.kill_switch import record_kill_switch
from prometheus.db.reaper import reap
from prometheus.db.repositories.engine_events import raise_alert
from prometheus.db.repositories.engine_flags import read_switch
from prometheus.db.repositories.engine_health import record_host
from prometheus.domain.engine_run import Lease, Outcome
from prometheus.foundation.errors import CollisionError
from prometheus.foundation.logging import Logger
from prometheus.orchestration.due_tasks import run_due_tasks
from prometheus.orchestration.health import HealthLimits
from prometheus.orchestration.outbox.delivery import OutboxConfig, deliver_due
from prometheus.pipeline.engine_config import EngineConfig

_log = Logger(__name__)
#: How long recovery waits for a locked row.
_RECOVERY_WAIT_SECONDS = 2.0


@dataclass(slots=True)
class AdvanceSummary:
    """Result of one call.

    ``outcomes`` counts runs by how their advance ended, ``problems`` has a sentence for each run that a person should
    look at, ``given_back`` counts runs claimed but not begun, ``stopped`` is True where the process was told to end,
    ``frozen`` is the reason where the kill switch is on; ``delivered`` and ``undelivered`` count messages of the outbox
    that were delivered, and that a receiver did not take.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    reaped: int = 0
    given_back: int = 0
    delivered: int = 0
    undelivered: int = 0
    stopped: bool = False
    frozen: str | None = None
    seconds: float = 0.0

    @property
    def needs_a_person(self) -> bool:
        """Return True where a run failed or waits for somebody."""
        return bool(self.problems)


def advance_all(
    database: Database,
    config: EngineConfig,
    open_database: Callable[[], Database],
    *,
    as_of: date | None = None,
    account_ids: Sequence[str] | None = None,
    workers: int = 0,
    time_budget_seconds: float | None = None,
    on_outcome: Callable[[Lease, Outcome], None] | None = None,
    must_stop: Callable[[], bool] = lambda: False,
    limits: HealthLimits | None = None,
    outbox: OutboxConfig | None = None,
) -> AdvanceSummary:
    """Advance every eligible run; many processes may do so at once, on many hosts.

    Alerts are delivered before and after the work on runs, also while the fleet is frozen: they concern people, not
    trades. Receivers that hang do not fail the runs and delay them by a bounded time: the first round begins no further
    message after one time limit, and the last message may take that long again, and a moment, at each receiver.

    Args:
        database: The database.
        config: Identity and limits of this process.
        open_database: Opens the heartbeat's own database.
        as_of: Only this day.
        account_ids: Only these accounts.
        workers: Processes to compute in, while this one keeps the leases. 0: compute in this process and keep the
            leases in a thread, which a solver that holds the interpreter can starve. The process must have no other
            threads where it forks.
        time_budget_seconds: Begin with no further run once this is spent, and give claimed ones back; None for no
            limit. Loading the optimizer, at the first run of a process, does not count.
        on_outcome: Called as each run ends; for progress display.
        must_stop: Called repeatedly; once true, claimed runs are given back uncharged and the call returns.
        limits: Limits of the monitoring sweep; None for the defaults.
        outbox: Receivers of the outbox; None for the log alone.
    """
    outbox = outbox or OutboxConfig()
    started = time.monotonic()
    summary = AdvanceSummary()
    recover(database, config, summary)
    summary.frozen, now = _begin(database, config)
    waiting: tuple[Waiting, ...] = ()
    horizon = now
    if summary.frozen is None:
        summary.problems.extend(
            run_due_tasks(database, config, now=now, limits=limits or HealthLimits(), must_stop=must_stop)
        )
    _deliver(database, config, outbox, summary, must_stop, seconds=outbox.timeout_seconds)
    if summary.frozen is None:
        waiting, horizon = _look(database, config, as_of, account_ids)
    if waiting and not must_stop():
        loading = time.monotonic()
        # Imported only here: the modules that work on runs take seconds to load, and most ticks have no runs.
        from prometheus.orchestration.worker import WorkScope, work_here  # noqa: PLC0415 -- as said above
        from prometheus.orchestration.worker_pool import work_in_pool  # noqa: PLC0415 -- likewise
        from prometheus.pipeline.shared_inputs import SharedInputs  # noqa: PLC0415 -- likewise
        from prometheus.pipeline.tasks import TaskContext  # noqa: PLC0415 -- likewise

        loaded = time.monotonic() - loading

        def note(lease: Lease, outcome: Outcome, reason: str) -> None:
            _note(summary, lease, outcome, reason)
            if on_outcome is not None and outcome is not Outcome.RELEASED:
                on_outcome(lease, outcome)

        context = TaskContext(database, config, SharedInputs(database))
        scope = WorkScope(
            as_of=as_of,
            account_ids=None if account_ids is None else tuple(account_ids),
            horizon=horizon,
            deadline=None if time_budget_seconds is None else started + loaded + time_budget_seconds,
        )
        if workers == 0:
            work_here(context, scope, open_database, note=note, must_stop=must_stop)
        else:
            work_in_pool(
                context,
                scope,
                open_database,
                waiting,
                workers,
                note=note,
                on_beat=lambda: _tend(database, config, summary),
                must_stop=must_stop,
            )
        _deliver(database, config, outbox, summary, must_stop)
    summary.stopped = must_stop()
    summary.seconds = time.monotonic() - started
    return summary


def recover(database: Database, config: EngineConfig, summary: AdvanceSummary) -> bool:
    """Fail what may not be tried again, with an alert for each, and end what was cancelled; True where a run ended.

    A run whose row or account is locked is left to the next tick, alone. Where the switch or anything else is locked,
    the whole recovery is left to the next tick: the fleet does not wait.
    """
    before = summary.reaped
    try:
        _recover(database, config, summary)
    except CollisionError as error:
        _log.warning("recovery was put off", reason=error.message)
    return summary.reaped > before


def _recover(database: Database, config: EngineConfig, summary: AdvanceSummary) -> None:
    problems = []
    with database.transaction() as connection:
        limit_lock_waits(connection, _RECOVERY_WAIT_SECONDS)
        reaped = reap(
            connection,
            ttl=config.lease_ttl,
            deadline_seconds=config.phase_deadline_seconds,
            frozen=config.frozen_by_environment,
        )
        for run in reaped:
            if run.error.code == "CANCELLED":
                continue
            problems.append(f"{run.account_id} {run.as_of}: {run.error.code}: {run.error.message}")
            raise_alert(
                connection,
                run_id=run.run_id,
                account_id=run.account_id,
                as_of=run.as_of,
                code=run.error.code,
                message=run.error.message,
            )
    summary.reaped += len(reaped)
    summary.problems.extend(problems)


def _tend(database: Database, config: EngineConfig, summary: AdvanceSummary) -> bool:
    """Record that the host is alive while workers compute, and recover stale runs; True where a run ended."""
    with database.transaction() as connection:
        limit_lock_waits(connection, _RECOVERY_WAIT_SECONDS)
        record_host(connection, config.owner)
    return recover(database, config, summary)


def _deliver(
    database: Database,
    config: EngineConfig,
    outbox: OutboxConfig,
    summary: AdvanceSummary,
    must_stop: Callable[[], bool],
    *,
    seconds: float | None = None,
) -> None:
    try:
        done = deliver_due(database, outbox, config.owner, must_stop=must_stop, seconds=seconds)
    except Exception:  # noqa: BLE001 -- said below
        # Runs go on whatever fails in a delivery; where the database is gone, their own statements fail.
        _log.exception("deliveries were broken off")
        return
    summary.delivered += done.delivered
    summary.undelivered += done.failed
    summary.problems.extend(done.given_up)


def _begin(database: Database, config: EngineConfig) -> tuple[str | None, datetime]:
    """Record that the host is alive; return why the fleet is frozen, or None, and the database's clock."""
    with database.transaction() as connection:
        record_host(connection, config.owner)
        switch = read_switch(connection)
        reason = "RUNNER_FLAG_FROZEN is set for this process" if config.frozen_by_environment else None
        if switch.frozen:
            reason = switch.reason or "no reason given"
        if reason is not None:
            record_kill_switch(connection, reason)
        return reason, switch.seen_at


def _look(
    database: Database, config: EngineConfig, as_of: date | None, account_ids: Sequence[str] | None
) -> tuple[tuple[Waiting, ...], datetime]:
    with database.transaction() as connection:
        waiting = look_for_work(connection, ttl=config.lease_ttl, as_of=as_of, account_ids=account_ids)
        return waiting, read_switch(connection).seen_at


def _note(summary: AdvanceSummary, lease: Lease, outcome: Outcome, reason: str) -> None:
    if outcome is Outcome.RELEASED:
        summary.given_back += 1
        return
    summary.outcomes[outcome] += 1
    if outcome in {Outcome.FAILED, Outcome.HELD, Outcome.RETRY}:
        summary.problems.append(f"{lease.account_id} {lease.as_of_date}: {outcome}: {reason}")
        _log.warning(
            "run needs attention",
            run_id=lease.run_id,
            account=lease.account_id,
            phase=lease.phase.value,
            lease_token=lease.token,
            outcome=outcome.value,
            reason=reason,
        )
