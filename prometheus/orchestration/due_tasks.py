"""Recurring work of the fleet: the tasks, and their due times by the trading calendar."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Final

from prometheus.db.database import Database
from prometheus.db.repositories.due_tasks import (
    DueClaim,
    add_due_task,
    claim_due_task,
    due_names,
    fail_due_task,
    finish_due_task,
    skip_due_task,
)
from prometheus.db.repositories.engine_events import raise_fleet_alert
from prometheus.db.repositories.market_data import newest_price_date
from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import CollisionError, DatabaseUnavailableError, PrometheusError
from prometheus.foundation.logging import Logger
from prometheus.foundation.trading_calendar import LAST_DAY, TradingCalendar
from prometheus.orchestration.health import Finding, HealthLimits, engine_health
from prometheus.pipeline.engine_config import EngineConfig

_log = Logger(__name__)
#: Region whose sessions the schedule follows.
_REGION: Final = "US"
_MAX_ATTEMPTS: Final = 5
#: A task that takes longer may be taken over by another host; then its own report is refused.
_LEASE_SECONDS: Final = 900
#: A model younger than this fraction of the largest accepted age need not be built again.
_FRESH_SHARE: Final = 1 / 3
_AFTER_CLOSE: Final = timedelta(hours=1)
#: Time of the close that is assumed for a day without session.
_USUAL_EVENING: Final = time(22, 0, tzinfo=UTC)
_SWEEP_ON_SESSIONS: Final = timedelta(minutes=15)
_SWEEP_OTHERWISE: Final = timedelta(hours=1)
#: The calendar must reach at least this far ahead.
_CALENDAR_AHEAD: Final = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class DueContext:
    """Arguments of a due task; ``now`` is the database's clock at its claim."""

    database: Database
    config: EngineConfig
    limits: HealthLimits
    now: datetime
    previous: JsonObject


@dataclass(frozen=True, slots=True)
class Done:
    """Result of a task, and alerts that are raised in the transaction that records it."""

    result: JsonObject
    alerts: tuple[Finding, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class DueTask:
    """A kind of recurring work.

    ``next_due`` gives the first instant after another at which it is due; ``run`` does it. Its own writes must be
    repeatable: a worker may die between its work and its report.
    """

    next_due: Callable[[datetime], datetime]
    run: Callable[[DueContext], Done]


def nightly(after: datetime) -> datetime:
    """Return the next evening, weekends and holidays included: an hour after the close, else 22:00 UTC."""
    return next(due for due in _evenings(after) if due > after)


def _evenings(after: datetime) -> Iterator[datetime]:
    calendar = TradingCalendar.for_region(_REGION)
    day = after.astimezone(UTC).date()
    while True:
        session = calendar.is_trading_day(day)
        yield calendar.close_utc(day) + _AFTER_CLOSE if session else datetime.combine(day, _USUAL_EVENING)
        day += timedelta(days=1)


def next_sweep(after: datetime) -> datetime:
    """Return the next time of the sweep: every quarter of an hour on sessions, every hour on other days."""
    on_session = TradingCalendar.for_region(_REGION).is_trading_day(after.astimezone(UTC).date())
    return after + (_SWEEP_ON_SESSIONS if on_session else _SWEEP_OTHERWISE)


def refresh_risk(context: DueContext) -> Done:
    """Build the risk model of the newest day with prices; on a weekend that of the last session, newly stamped."""
    from prometheus.orchestration.risk_refresh import (  # noqa: PLC0415 -- numpy and scipy, which an idle tick does without
        refresh_risk_model,
    )

    with context.database.transaction() as connection:
        as_of = newest_price_date(connection, context.now.date())
    if as_of is None:
        return Done({"skipped": "there are no prices yet"})
    done = refresh_risk_model(
        context.database,
        as_of=as_of,
        region=_REGION,
        reuse_within_hours=context.config.risk_model_max_age_hours * _FRESH_SHARE,
    )
    return Done({"risk_model_id": done.risk_model_id, "as_of": as_of.isoformat(), "reused": done.reused})


def top_up_calendar(context: DueContext) -> Done:
    """Check that the calendars reach far enough ahead; they are computed, so there is nothing to store.

    Raises:
        PrometheusError: They end within 400 days (CALENDAR_ENDS): install a newer version in time.
    """
    if LAST_DAY - context.now.date() < _CALENDAR_AHEAD:
        raise PrometheusError(
            f"The trading calendars end on {LAST_DAY}; install a newer version.", code="CALENDAR_ENDS"
        )
    return Done({"through": LAST_DAY.isoformat()})


def sweep(context: DueContext) -> Done:
    """Check the fleet's health and raise one alert for each code of a finding that is new since the last time."""
    # A pause was made by a person: engine_health goes on reporting it, but it raises no alert.
    findings = [one for one in engine_health(context.database, context.limits) if one.code != "PAUSED_ACCOUNTS"]
    previous = context.previous.get("findings", ())
    known = set(previous) if isinstance(previous, Sequence) else set()
    fresh: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.code not in known:
            fresh.setdefault(finding.code, []).append(finding)
    return Done(
        {"findings": sorted({finding.code for finding in findings})}, tuple(_as_one(same) for same in fresh.values())
    )


def _as_one(same: Sequence[Finding]) -> Finding:
    """Return findings of one code as one: an outage makes every recurring task late, and wakes a person once."""
    first, *others = same
    if not others:
        return first
    message = f"{first.message} 'engine_health' shows {len(others)} more of this kind."
    return Finding(first.code, message, sum(one.count for one in same))


def anchor_chains(context: DueContext) -> Done:
    """Take the audit anchor through the newest day with a run and send it outside; once for each state."""
    from prometheus.orchestration.anchors import newest_day, take_anchor  # noqa: PLC0415 -- the ORM, which an idle tick does without

    as_of = newest_day(context.database)
    if as_of is None:
        return Done({"skipped": "there are no runs yet"})
    taken = take_anchor(context.database, as_of)
    return Done({"as_of": as_of.isoformat(), "digest": taken.digest, "accounts": taken.accounts, "added": taken.added})


#: Every recurring task by name. A new one gets its row at the next tick.
DUE_TASKS: Final[Mapping[str, DueTask]] = {
    "audit-anchor": DueTask(nightly, anchor_chains),
    "calendar-top-up": DueTask(nightly, top_up_calendar),
    "monitoring-sweep": DueTask(next_sweep, sweep),
    "risk-refresh": DueTask(nightly, refresh_risk),
}


def run_due_tasks(
    database: Database,
    config: EngineConfig,
    *,
    now: datetime,
    limits: HealthLimits,
    must_stop: Callable[[], bool] = lambda: False,
) -> tuple[str, ...]:
    """Do what is due and free, each task once; return a sentence for each that failed.

    Args:
        database: The database.
        config: Identity of this process, base of the delays.
        now: The database's clock, for tasks that have no row yet.
        limits: Limits of the monitoring sweep.
        must_stop: True once the process was told to end.

    Raises:
        DatabaseUnavailableError: The database is gone.
    """
    with database.transaction() as connection:
        known, due = due_names(connection)
        for name in sorted(DUE_TASKS.keys() - known):
            add_due_task(connection, name, DUE_TASKS[name].next_due(now))
    left = set(due & DUE_TASKS.keys())
    problems = []
    while left and not must_stop():
        with database.transaction() as connection:
            claim = claim_due_task(connection, owner=config.owner, names=sorted(left), lease_seconds=_LEASE_SECONDS)
        if claim is None:
            break
        left.discard(claim.name)
        problem = _do(database, config, limits, claim)
        if problem is not None:
            problems.append(problem)
    return tuple(problems)


def _do(database: Database, config: EngineConfig, limits: HealthLimits, claim: DueClaim) -> str | None:
    task = DUE_TASKS[claim.name]
    regular = task.next_due(claim.now)
    log = _log.bind(task=claim.name, lease_token=claim.token, attempt=claim.attempt)
    try:
        _require_attempts_left(claim)
        done = task.run(DueContext(database, config, limits, claim.now, claim.previous))
    except Exception as error:
        if isinstance(error, DatabaseUnavailableError) and not isinstance(error, CollisionError):
            raise
        known = error if isinstance(error, PrometheusError) else None
        details = {
            "code": known.code if known else "EXCEPTION",
            "message": known.message if known else f"{type(error).__name__}: {error}"[:2000].replace("\x00", "?"),
        }
        log.exception("due task failed")
        with database.transaction() as connection:
            if claim.attempt >= _MAX_ATTEMPTS:
                if skip_due_task(connection, claim, due=regular, error=details):
                    raise_fleet_alert(connection, code="DUE_TASK_FAILED", message=f"{claim.name}: {details['message']}")
            else:
                delay = timedelta(seconds=config.retry_base_seconds * 2 ** (claim.attempt - 1))
                fail_due_task(connection, claim, due=min(claim.now + delay, regular), error=details)
        return f"{claim.name}: {details['code']}: {details['message']}"
    with database.transaction() as connection:
        if not finish_due_task(connection, claim, due=regular, result=done.result):
            log.warning("due task was taken over")
            return None
        for alert in done.alerts:
            raise_fleet_alert(connection, code=alert.code, message=alert.message)
    log.info("due task done", **done.result)
    return None


def _require_attempts_left(claim: DueClaim) -> None:
    if claim.attempt > _MAX_ATTEMPTS:
        # Every attempt ended with its worker, which could not report it.
        raise PrometheusError(f"{_MAX_ATTEMPTS} attempts ended without a result.", code="WORKER_LOST")
