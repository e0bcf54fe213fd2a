"""The judgement of monitoring: what about the fleet needs a person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from prometheus.db.database import Connection, Database
from prometheus.db.repositories.due_tasks import DueTaskState, list_due_tasks
from prometheus.db.repositories.engine_health import FleetFacts, fleet_facts, waiting_for_orders
from prometheus.domain.orders import OpenOrder
from prometheus.foundation.ids import run_label
from prometheus.foundation.trading_calendar import EXCHANGE_OF_REGION, TradingCalendar
from prometheus.pipeline.data_ages import judge_ages
from prometheus.pipeline.engine_config import AgeLimits

#: A due task may be late by a few heartbeats before anybody is told.
_LATE_MINUTES: Final = 60


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """When a number becomes a finding.

    Attributes:
        phase_minutes: Age in DATA_READY, SNAPSHOT_BUILT or SOLVED.
        waiting_minutes: Age in WAITING_FOR_DATA.
        failure_rate: Share of the ended runs that may fail, 0 to 1.
        rate_hours: Window in which runs are counted.
        silent_minutes: Since any host began a heartbeat.
        risk_model_hours: Age of the newest risk model.
        undelivered_minutes: Age of a message that no receiver has taken yet.
        ages: How old other data of the newest day may be.
    """

    phase_minutes: int = 120
    waiting_minutes: int = 24 * 60
    failure_rate: float = 0.05
    rate_hours: int = 24
    silent_minutes: float = 15.0
    risk_model_hours: float = 36.0
    undelivered_minutes: int = 15
    ages: AgeLimits = field(default_factory=AgeLimits)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs a person: a stable code, a sentence, and how many things it concerns."""

    code: str
    message: str
    count: int = 1


def engine_health(database: Database, limits: HealthLimits) -> tuple[Finding, ...]:
    """Return what is wrong with the fleet; empty where it is healthy. Nothing is written."""
    # The ledger is read late: an idle tick does without it.
    from prometheus.db.repositories.ledger_inputs import late_actions  # noqa: PLC0415

    with database.transaction() as connection:
        facts = fleet_facts(
            connection,
            phase_minutes=limits.phase_minutes,
            waiting_minutes=limits.waiting_minutes,
            rate_hours=limits.rate_hours,
            undelivered_minutes=limits.undelivered_minutes,
        )
        facts = replace(facts, late_actions=late_actions(connection), unsettled=_waited_for(connection))
        tasks = list_due_tasks(connection)
    return judge(facts, tasks, limits)


def _waited_for(connection: Connection) -> tuple[OpenOrder, ...]:
    """Return the open orders that a later day of their account waits for."""
    waiting = waiting_for_orders(connection)
    if not waiting:
        return ()
    # Read late for the same reason.
    from prometheus.bookkeeping.open_orders import open_orders  # noqa: PLC0415

    orders = open_orders(connection, through=max(waiting.values()), account_ids=sorted(waiting))
    return tuple(order for order in orders if order.as_of_date < waiting[order.account_id])


def judge(facts: FleetFacts, tasks: Sequence[DueTaskState], limits: HealthLimits) -> tuple[Finding, ...]:
    """Return the findings in order of urgency."""
    findings: list[Finding] = []
    if not facts.has_accounts:
        findings.append(
            Finding(
                "EMPTY_DATABASE",
                "The database has no accounts. Is it the right one? PROMETHEUS_HOME or PROMETHEUS_DATABASE_URL may be "
                "mistyped; a new one gets them with 'prometheus ingest'.",
            )
        )
    if facts.frozen is not None:
        findings.append(
            Finding("FROZEN", f"The engine is frozen: {facts.frozen}. 'prometheus engine unfreeze' lets it go on.")
        )
    if facts.silent_minutes is None:
        if facts.has_accounts:
            findings.append(Finding("NO_HEARTBEAT", "No host has ever called run_engine_state --advance-all."))
    elif facts.silent_minutes > limits.silent_minutes:
        findings.append(
            Finding(
                "NO_HEARTBEAT",
                f"No host has called run_engine_state --advance-all for {facts.silent_minutes:.0f} minutes (the limit "
                f"is {limits.silent_minutes:g}).",
            )
        )
    if facts.expired:
        first = facts.expired[0]
        findings.append(
            Finding(
                "EXPIRED_LEASES",
                f"{facts.expired_total} claimed run(s) without heartbeat, first {first.account_id} of "
                f"{first.as_of_date} (owner {first.owner}). The next --advance-all takes them over.",
                facts.expired_total,
            )
        )
    if facts.stuck:
        oldest = facts.stuck[0]
        findings.append(
            Finding(
                "STUCK_RUNS",
                f"{facts.stuck_total} run(s) stuck, oldest {oldest.account_id} of {oldest.as_of_date} in "
                f"{oldest.phase} for {oldest.minutes:.0f} minutes. Why: 'prometheus runs history {oldest.account_id} "
                f"{oldest.as_of_date}'.",
                facts.stuck_total,
            )
        )
    if facts.ended and facts.failed > limits.failure_rate * facts.ended:
        findings.append(
            Finding(
                "FAILURE_RATE",
                f"{facts.failed} of {facts.ended} runs that ended in the last {limits.rate_hours} hours failed (the "
                f"limit is {limits.failure_rate:.0%}). Which: 'show_engine_runs --phase FAILED'.",
                facts.failed,
            )
        )
    if facts.late_actions:
        from prometheus.bookkeeping.late_actions import (  # noqa: PLC0415 -- the ledger, which an idle tick does without
            action_words,
        )

        account_id, actions = next(iter(facts.late_actions.items()))
        findings.append(
            Finding(
                "ACTIONS_NOT_BOOKED",
                f"Corporate actions came or changed after the books of {len(facts.late_actions)} account(s) had "
                f"passed their day, first {account_id}: {action_words(actions[0])}. 'prometheus ledger refold "
                "--dry-run' says what they change; without --dry-run it books them.",
                len(facts.late_actions),
            )
        )
    findings.extend(_left_out(facts))
    if facts.has_accounts:
        findings.extend(_stale_risk(facts, limits))
        findings.extend(_stale_data(facts, limits))
        findings.extend(_unsettled(facts))
    findings.extend(_undelivered(facts, limits))
    for task in tasks:
        late = (facts.now - task.next_due_at).total_seconds() / 60
        if task.error is not None:
            findings.append(
                Finding("DUE_TASK_FAILED", f"{task.name}: {task.error['code']}: {task.error['message']}", task.attempt)
            )
        elif late > _LATE_MINUTES:
            findings.append(Finding("DUE_TASK_LATE", f"{task.name} has been due for {late:.0f} minutes."))
    return tuple(findings)


def _left_out(facts: FleetFacts) -> tuple[Finding, ...]:
    """Return what is said of accounts that no heartbeat works on: without a run of the newest day, or paused."""
    findings = []
    # Where the day is no session of an account's region it has no run by right; nor has it in a region that is none.
    lacking = [
        one
        for one in facts.without_run
        if one.region in EXCHANGE_OF_REGION and TradingCalendar.for_region(one.region).is_trading_day(one.as_of_date)
    ]
    if lacking:
        first = lacking[0]
        findings.append(
            Finding(
                "NO_RUN_OF_THE_DAY",
                f"{len(lacking)} account(s) have no run of {first.as_of_date}, first {first.account_id} (region "
                f"{first.region}). 'prometheus run-daily --as-of {first.as_of_date}' creates them.",
                len(lacking),
            )
        )
    if facts.paused:
        account_id, reason = facts.paused[0]
        findings.append(
            Finding(
                "PAUSED_ACCOUNTS",
                f"{facts.paused_total} account(s) are paused and not rebalanced, first {account_id}: {reason}. "
                f"'prometheus engine resume {account_id}' lets it go on.",
                facts.paused_total,
            )
        )
    return tuple(findings)


def _undelivered(facts: FleetFacts, limits: HealthLimits) -> tuple[Finding, ...]:
    outbox, findings = facts.outbox, []
    why = "" if outbox.error is None else f" The oldest says: {outbox.error}"
    if outbox.given_up:
        findings.append(
            Finding(
                "UNDELIVERED_ALERTS",
                f"{outbox.given_up} message(s) were given up and reached nobody. Repair the receiver, then 'prometheus "
                f"engine outbox --retry'.{why}",
                outbox.given_up,
            )
        )
    if outbox.late:
        findings.append(
            Finding(
                "OUTBOX_STUCK",
                f"{outbox.late} message(s) have waited for more than {limits.undelivered_minutes} minutes (or were "
                f"written by a clock as far ahead), the oldest for {outbox.oldest_minutes:.0f}.{why}",
                outbox.late,
            )
        )
    return tuple(findings)


def _stale_data(facts: FleetFacts, limits: HealthLimits) -> Iterator[Finding]:
    """Judge the data of the newest day; prices that have not come yet are no finding, and risk has one of its own."""
    if facts.dates is None or facts.day is None:
        return
    for age in judge_ages(facts.dates, facts.day, limits.ages, limits.risk_model_hours):
        if age.reason and age.code not in {"NO_DATA", "STALE_RISK"}:
            yield Finding(age.code, f"{age.reason} {age.remedy}")


def _unsettled(facts: FleetFacts) -> Iterator[Finding]:
    if facts.unsettled:
        first = facts.unsettled[0]
        accounts = {order.account_id for order in facts.unsettled}
        yield Finding(
            "UNSETTLED_ORDERS",
            f"{len(facts.unsettled)} order(s) of {len(accounts)} account(s) are neither filled nor settled, first "
            f"{first.account_id} {run_label(first.run_seq)} of {first.as_of_date}, and a later day waits for them. "
            "Load the executions, or end the rest with 'prometheus trades settle'; 'prometheus trades list' shows "
            "them.",
            len(accounts),
        )


def _stale_risk(facts: FleetFacts, limits: HealthLimits) -> tuple[Finding, ...]:
    if facts.risk_age_hours is None:
        return (Finding("STALE_RISK", "There is no risk model. Run 'prometheus risk refresh'."),)
    if facts.risk_age_hours > limits.risk_model_hours:
        return (
            Finding(
                "STALE_RISK",
                f"The newest risk model was built {facts.risk_age_hours:.1f} hours ago (the limit is "
                f"{limits.risk_model_hours:g}).",
            ),
        )
    return ()
