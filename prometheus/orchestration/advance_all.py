"""What timers call: recover what is stale, then claim and advance runs until nothing is eligible."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import structlog

from prometheus.db.database import Database
from prometheus.db.leases import claim_batch, reap, record_kill_switch, release_lease
from prometheus.db.repositories.engine_events import raise_alert
from prometheus.db.repositories.engine_flags import read_switch
from prometheus.domain.engine_run import Lease
from prometheus.orchestration.lease_keeper import LeaseKeeper
from prometheus.pipeline.advance import Outcome, advance_run
from prometheus.pipeline.day_inputs import SharedInputs
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.tasks import TaskContext

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class AdvanceSummary:
    """What one call did.

    ``outcomes`` counts runs by how their advance ended, ``problems`` has a sentence for each run that a person should
    look at, ``frozen`` the reason where the kill switch is on.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    reaped: int = 0
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
    time_budget_seconds: float | None = None,
    on_outcome: Callable[[Lease, Outcome], None] | None = None,
) -> AdvanceSummary:
    """Advance every eligible run; many processes may do so at once, on many hosts.

    Args:
        database: The database.
        config: Identity and limits of this process.
        open_database: Opens the heartbeat's own database.
        as_of: Only this day.
        account_ids: Only these accounts.
        time_budget_seconds: Begin with no further run once this is spent, and give claimed ones back; None for no
            limit.
        on_outcome: Told about each run as it ends; for progress display.
    """
    started = time.monotonic()
    summary = AdvanceSummary()
    context = TaskContext(database, config, SharedInputs(database))
    _recover(database, config, summary)
    summary.frozen = _frozen(database, config)
    if summary.frozen is not None:
        summary.seconds = time.monotonic() - started
        return summary
    # A run that was given back is not tried again in this call: what it waits for will not come meanwhile.
    given_back: list[int] = []
    with LeaseKeeper(open_database, config.lease_ttl) as keeper:
        while time_budget_seconds is None or time.monotonic() - started < time_budget_seconds:
            with database.transaction() as connection:
                leases = claim_batch(
                    connection,
                    owner=config.owner,
                    ttl=config.lease_ttl,
                    batch=config.batch,
                    skip=given_back,
                    as_of=as_of,
                    account_ids=account_ids,
                )
            if not leases:
                break
            keeper.hold(leases)
            context.shared.forget_if_changed()
            for lease in leases:
                if time_budget_seconds is not None and time.monotonic() - started >= time_budget_seconds:
                    _give_back(database, lease)
                    keeper.drop(lease)
                    continue
                outcome, reason = advance_run(context, lease, keeper.check)
                keeper.drop(lease)
                if outcome is not Outcome.PERSISTED:
                    given_back.append(lease.run_id)
                _note(summary, lease, outcome, reason)
                if on_outcome is not None:
                    on_outcome(lease, outcome)
    summary.seconds = time.monotonic() - started
    return summary


def _recover(database: Database, config: EngineConfig, summary: AdvanceSummary) -> None:
    with database.transaction() as connection:
        for run_id, account_id, day, error in reap(
            connection, ttl=config.lease_ttl, deadline_seconds=config.phase_deadline_seconds
        ):
            summary.reaped += 1
            if error["code"] == "CANCELLED":
                continue
            summary.problems.append(f"{account_id} {day}: {error['code']}: {error['message']}")
            raise_alert(
                connection,
                run_id=run_id,
                account_id=account_id,
                as_of=day,
                code=error["code"],
                message=error["message"],
            )


def _give_back(database: Database, lease: Lease) -> None:
    with database.transaction() as connection:
        release_lease(connection, lease, kind="RELEASE", details={"message": "The time budget was spent."})


def _frozen(database: Database, config: EngineConfig) -> str | None:
    with database.transaction() as connection:
        switch = read_switch(connection)
        reason = "RUNNER_FLAG_FROZEN is set for this process" if config.frozen_by_environment else None
        if switch.frozen:
            reason = switch.reason or "no reason given"
        if reason is not None:
            record_kill_switch(connection, reason)
    return reason


def _note(summary: AdvanceSummary, lease: Lease, outcome: Outcome, reason: str) -> None:
    summary.outcomes[outcome] += 1
    if outcome in {Outcome.FAILED, Outcome.HELD, Outcome.RETRY}:
        summary.problems.append(f"{lease.account_id} {lease.as_of_date}: {outcome}: {reason}")
        _log.warning("run needs attention", account=lease.account_id, outcome=outcome.value, reason=reason)
