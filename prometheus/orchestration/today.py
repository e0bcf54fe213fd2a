"""The operator's day in one value: phases of each region, ages of its data, undelivered messages. Writes nothing.

'prometheus today' prints it, 'prometheus run-daily' ends with it, and HTTP will answer with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from prometheus.bookkeeping.open_orders import OpenOrder, open_orders
from prometheus.db.database import Connection, Database
from prometheus.db.repositories.day_status import (
    AccountStatus,
    account_statuses,
    accounts_by_region,
    inputs_changed_at,
    newest_days,
)
from prometheus.db.repositories.engine_flags import read_switch
from prometheus.db.repositories.engine_health import OutboxFacts, outbox_facts
from prometheus.db.repositories.ledger_inputs import late_actions
from prometheus.db.repositories.market_data import read_one_state
from prometheus.db.repositories.unfinished_runs import UnfinishedRun, Wait, unfinished_runs
from prometheus.domain.attention import remedy_of_hold
from prometheus.domain.engine_run import RunError
from prometheus.domain.phases import Phase, RunStatus
from prometheus.foundation.errors import UnknownAccountError
from prometheus.foundation.ids import run_label
from prometheus.foundation.trading_calendar import EXCHANGE_OF_REGION, TradingCalendar
from prometheus.pipeline.data_ages import DataAge, data_ages
from prometheus.pipeline.engine_config import EngineConfig

#: Ends of a run that are nobody's failure and that nothing can change.
ENDED: Final = frozenset({"CANCELLED", "SUPERSEDED"})
#: Later than any hold.
_NOW_AND_EVER: Final = datetime.max.replace(tzinfo=UTC)
_GROUP_OF: Final[Mapping[Wait, str]] = {
    Wait.DATA: "waiting",
    Wait.HELD: "held",
    Wait.RETRY: "retried",
    Wait.BEHIND: "behind",
    Wait.PAUSED: "paused",
    Wait.WORKED_ON: "in_work",
    Wait.DUE: "in_work",
}


@dataclass(frozen=True, slots=True)
class RunNote:
    """A run, or an account without one, that a line of the report is about.

    Attributes:
        account_id: The account.
        as_of: The day; an earlier one than the report's where that day comes first.
        code: Of the hold or failure, else None.
        message: Its sentence, or the reason of a pause.
        remedy: Command that ends it, None where there is none or something was stored since.
        mended: Data, a risk model, a strategy or a row of the journal were stored since it was held; the next
            tick tries again.
        hopeless: It was reset before and failed the same way again.
        due_at: When it is tried again, where it failed and is.
        wait: Why it does not move, where it is unfinished.
    """

    account_id: str
    as_of: date
    code: str | None = None
    message: str | None = None
    remedy: str | None = None
    mended: bool = False
    hopeless: bool = False
    due_at: datetime | None = None
    wait: Wait | None = None


@dataclass(frozen=True, slots=True)
class RegionDay:
    """A region's day; PERSISTED runs and the groups from ``held`` on are disjoint and make up ``expected``.

    Attributes:
        region: The region.
        as_of: The day.
        session: Whether its exchange traded; where not, there is nothing to expect.
        expected: Accounts of the region.
        persisted: Runs that are PERSISTED.
        without_orders: Those of them that trade nothing.
        non_optimal: Those of them without a certified answer, by account.
        why_non_optimal: Command that says why, for the first of those; None where there is none.
        held: Runs that cannot go on.
        failed: Runs that failed.
        ended: Runs cancelled or superseded, and accounts whose books are past the day.
        retried: Runs that failed and are tried again later.
        behind: Runs that wait for an earlier day of their account.
        in_work: Runs that a worker has, or that the next tick takes.
        waiting: Runs not marked ready.
        not_created: Accounts without a run.
        paused: Paused accounts whose run is not PERSISTED.
    """

    region: str
    as_of: date
    session: bool = True
    expected: int = 0
    persisted: int = 0
    without_orders: int = 0
    non_optimal: tuple[str, ...] = ()
    why_non_optimal: str | None = None
    held: tuple[RunNote, ...] = ()
    failed: tuple[RunNote, ...] = ()
    ended: tuple[RunNote, ...] = ()
    retried: tuple[RunNote, ...] = ()
    behind: tuple[RunNote, ...] = ()
    in_work: tuple[RunNote, ...] = ()
    waiting: tuple[str, ...] = ()
    not_created: tuple[str, ...] = ()
    paused: tuple[RunNote, ...] = ()


@dataclass(frozen=True, slots=True)
class Today:
    """What an operator asks before the session.

    Attributes:
        now: The database's clock.
        chosen: The day asked for, None where each region's newest closed session was taken.
        frozen: Reason of the kill switch where it is on, else None.
        frozen_here: RUNNER_FLAG_FROZEN is set for this process.
        regions: Each region's day.
        earlier: Runs in work of earlier days, which keep later days of their accounts waiting; oldest first.
        earlier_waiting: How many runs of earlier days were never marked ready, by day; oldest first.
        cap: Unfinished runs that an account may have.
        orders: Orders of earlier days that are neither filled nor settled.
        ages: How old the data are, judged for the day.
        outbox: Messages that reached nobody.
        newest_prices: Newest day with prices; None where there are none.
        frozen_since: When the kill switch was thrown, where it is on.
    """

    now: datetime
    chosen: date | None
    frozen: str | None
    frozen_here: bool
    regions: tuple[RegionDay, ...]
    earlier: tuple[RunNote, ...]
    earlier_waiting: Mapping[date, int]
    cap: int
    orders: tuple[OpenOrder, ...]
    ages: tuple[DataAge, ...]
    outbox: OutboxFacts
    newest_prices: date | None
    frozen_since: datetime | None = None


def newest_closed_session(region: str, now: datetime) -> date:
    """Return the newest session of a region's exchange that has closed by an instant."""
    calendar = TradingCalendar.for_region(region)
    day = calendar.previous_trading_day(now.astimezone(UTC).date() + timedelta(days=1))
    while calendar.close_utc(day) > now:
        day = calendar.previous_trading_day(day)
    return day


def days_of(
    connection: Connection, *, as_of: date | None, regions: Sequence[str] = ()
) -> tuple[tuple[str, date, bool], ...]:
    """Return each region with accounts, its day, and whether that is a session of it.

    Args:
        connection: A transaction.
        as_of: The day; None for each region's newest closed session.
        regions: Only these.

    Raises:
        UnknownAccountError: There is no such region, or it has no accounts.
        NotASessionError: The day is no session of any region meant, or of one that was named.
    """
    present = accounts_by_region(connection)
    for region in regions:
        if region not in EXCHANGE_OF_REGION:
            raise UnknownAccountError(f"There is no region {region}; known are {', '.join(EXCHANGE_OF_REGION)}.")
        if region not in present:
            raise UnknownAccountError(
                f"Region {region} has no accounts. 'prometheus ingest DIR' loads accounts from a file."
            )
    now = newest_days(connection).now
    meant = list(dict.fromkeys(regions)) or list(present)
    if as_of is None:
        return tuple((region, newest_closed_session(region, now), True) for region in meant)
    sessions = tuple((region, as_of, TradingCalendar.for_region(region).is_trading_day(as_of)) for region in meant)
    closed = [region for region, _, session in sessions if not session]
    if closed and (regions or len(closed) == len(sessions)):
        TradingCalendar.for_region(closed[0]).require_session(as_of)
    return sessions


def read_today(
    database: Database,
    config: EngineConfig,
    *,
    as_of: date | None = None,
    regions: Sequence[str] = (),
    undelivered_minutes: int = 15,
) -> Today:
    """Return the day's report, read in one state of the database.

    Args:
        database: The database.
        config: Limits of ages and of unfinished runs.
        as_of: The day; None for each region's newest session whose close has passed.
        regions: Only these; none for all that have accounts.
        undelivered_minutes: Age of a message that counts as undelivered.

    Raises:
        UnknownAccountError: There is no such region, or it has no accounts.
        NotASessionError: The day is no session of any region meant, or of one that was named.
    """
    with database.transaction() as connection:
        read_one_state(connection)
        switch = read_switch(connection)
        days = days_of(connection, as_of=as_of, regions=regions)
        newest = newest_days(connection)
        meant = {region: day for region, day, session in days if session}
        unfinished = unfinished_runs(connection, through=max(meant.values())) if meant else ()
        orders = open_orders(connection, through=max(meant.values()) - timedelta(days=1)) if meant else ()
        ages = _ages(connection, meant, config)
        changes = _changes(connection, unfinished, orders, ages)
        notes = {(run.account_id, run.as_of_date): _note(run, changes.get(run.run_id)) for run in unfinished}
        earlier = [run for run in unfinished if run.as_of_date < meant.get(run.region, date.min)]
        waiting: dict[date, int] = {}
        for run in earlier:
            if run.wait is Wait.DATA:
                waiting[run.as_of_date] = waiting.get(run.as_of_date, 0) + 1
        return Today(
            now=newest.now,
            chosen=as_of,
            frozen=(switch.reason or "no reason given") if switch.frozen else None,
            frozen_here=config.frozen_by_environment,
            regions=tuple(
                _region_day(connection, region, day, notes) if session else RegionDay(region, day, session=False)
                for region, day, session in days
            ),
            earlier=tuple(
                notes[run.account_id, run.as_of_date]
                for run in earlier
                if run.wait not in {Wait.DATA, Wait.PAUSED, Wait.BEHIND}
            ),
            earlier_waiting=waiting,
            cap=config.max_active_runs,
            orders=orders,
            ages=ages,
            outbox=outbox_facts(connection, undelivered_minutes=undelivered_minutes),
            newest_prices=newest.prices,
            frozen_since=switch.changed_at if switch.frozen else None,
        )


def _region_day(
    connection: Connection, region: str, as_of: date, notes: Mapping[tuple[str, date], RunNote]
) -> RegionDay:
    groups: dict[str, list[RunNote]] = {}
    statuses = account_statuses(connection, as_of=as_of, region=region)
    for one in statuses:
        note = notes.get((one.account_id, as_of), RunNote(one.account_id, as_of))
        group = _group(one, note.wait)
        if group == "paused":
            note = RunNote(one.account_id, as_of, message=one.paused)
        elif group in {"failed", "ended"}:
            note = _failure(one, as_of)
        groups.setdefault(group, []).append(note)

    def told(group: str) -> tuple[RunNote, ...]:
        return tuple(groups.get(group, ()))

    persisted = [one for one in statuses if one.phase is Phase.PERSISTED]
    non_optimal = [one for one in persisted if one.status is RunStatus.NON_OPTIMAL]
    commands = [f"prometheus runs show {one.account_id} {run_label(one.run_seq or 0)}" for one in non_optimal]
    return RegionDay(
        region=region,
        as_of=as_of,
        expected=len(statuses),
        persisted=len(persisted),
        without_orders=sum(one.trades == 0 for one in persisted),
        non_optimal=tuple(one.account_id for one in non_optimal),
        why_non_optimal=next(iter(commands), None),
        held=told("held"),
        failed=told("failed"),
        ended=told("ended"),
        retried=told("retried"),
        behind=told("behind"),
        in_work=told("in_work"),
        waiting=tuple(note.account_id for note in told("waiting")),
        not_created=tuple(note.account_id for note in told("not_created")),
        paused=told("paused"),
    )


def _group(one: AccountStatus, wait: Wait | None) -> str:
    if one.phase is Phase.PERSISTED:
        return "persisted"
    if one.phase is Phase.FAILED:
        return "ended" if one.error is not None and one.error.code in ENDED else "failed"
    if one.phase is None and one.paused is None:
        return "ended" if one.overtaken else "not_created"
    return "paused" if wait is None else _GROUP_OF[wait]


def _changes(
    connection: Connection, unfinished: Sequence[UnfinishedRun], orders: Sequence[OpenOrder], ages: Sequence[DataAge]
) -> Mapping[int, datetime]:
    """Return, by run that is held, when anything that it may wait for was stored last."""
    held = [run for run in unfinished if run.wait is Wait.HELD]
    if not held:
        return {}
    changed_at = inputs_changed_at(connection, [run.account_id for run in held])
    late = late_actions(connection) if any(run.code == "ACTIONS_NOT_BOOKED" for run in held) else {}
    changes = {}
    for run in held:
        changed = changed_at.get(run.account_id)
        # These can be asked themselves: repairing them may store nothing of the above, and other files repair nothing.
        if any(age.code == run.code for age in ages):
            changed = _NOW_AND_EVER if all(age.usable for age in ages if age.code == run.code) else None
        elif run.code == "ACTIONS_NOT_BOOKED":
            changed = None if run.account_id in late else _NOW_AND_EVER
        elif run.code == "UNSETTLED_ORDERS":
            mine = [order for order in orders if order.account_id == run.account_id]
            changed = None if any(order.as_of_date < run.as_of_date for order in mine) else _NOW_AND_EVER
        if changed is not None:
            changes[run.run_id] = changed
    return changes


def _note(run: UnfinishedRun, changed: datetime | None) -> RunNote:
    held = run.wait is Wait.HELD
    mended = held and changed is not None and changed > run.since
    remedy = remedy_of_hold(run.code, account_id=run.account_id, as_of=run.as_of_date.isoformat()) if held else None
    return RunNote(
        account_id=run.account_id,
        as_of=run.as_of_date,
        code=run.code,
        message=run.message if run.wait is not Wait.BEHIND else f"{run.behind} of the account comes first.",
        remedy=None if mended else remedy,
        mended=mended,
        due_at=run.next_attempt_at if run.wait is Wait.RETRY else None,
        wait=run.wait,
    )


def _failure(one: AccountStatus, as_of: date) -> RunNote:
    error = one.error or RunError(code="SUPERSEDED", message="The account's books are past the day.")
    return RunNote(
        account_id=one.account_id,
        as_of=as_of,
        code=error.code,
        message=error.message,
        hopeless=one.reset_from is not None and one.reset_from == error.code,
    )


def _ages(connection: Connection, days: Mapping[str, date], config: EngineConfig) -> tuple[DataAge, ...]:
    """Return the ages for the days of the regions, each kind and name once, judged for the latest, kind by kind."""
    ages: dict[tuple[str, str], DataAge] = {}
    for region, day in sorted(days.items(), key=lambda one: one[1]):
        for age in data_ages(connection, day, config, region=region):
            ages[age.kind, age.name] = age
    kinds = list(dict.fromkeys(kind for kind, _ in ages))
    return tuple(sorted(ages.values(), key=lambda age: (kinds.index(age.kind), age.name)))
