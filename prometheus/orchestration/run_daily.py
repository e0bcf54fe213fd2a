"""The day before its tick: create the runs, mark the data ready or say why not.

It calls the same functions as the separate commands, in the same order; a second call changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from prometheus.db.database import Database
from prometheus.db.repositories.day_status import newest_days
from prometheus.db.repositories.engine_runs import list_runs
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import RequestError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.orchestration.today import days_of
from prometheus.pipeline.data_ages import DataAge, data_ages
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.state import prepare, resolve_scope


@dataclass(frozen=True, slots=True)
class PreparedRegion:
    """Preparation of a region before its runs are advanced.

    Attributes:
        region: The region.
        as_of: Its day.
        session: Whether its exchange traded; where not, nothing was done.
        created: Runs created.
        ready: Runs marked ready.
        superseded: Accounts whose day ended because a later one was worked on already.
        refused: Data that are missing or too old, so that nothing was marked ready; empty where all are usable.
    """

    region: str
    as_of: date
    session: bool = True
    created: int = 0
    ready: int = 0
    superseded: tuple[str, ...] = ()
    refused: tuple[DataAge, ...] = ()


def prepare_day(
    database: Database,
    config: EngineConfig,
    *,
    as_of: date | None,
    regions: Sequence[str],
    on_prepared: Callable[[PreparedRegion], None] = lambda _: None,
) -> tuple[PreparedRegion, ...]:
    """Make the runs of the fleet's day and mark them ready as far as its data allow; ``advance_all`` does the rest.

    Args:
        database: The database.
        config: Limits of ages and of unfinished runs.
        as_of: The day; None for each region's newest session whose close has passed.
        regions: Only these; none for all that have accounts.
        on_prepared: Called for each region as soon as it is prepared.

    Raises:
        RequestError: There is no account (NO_ACCOUNTS), the session has not closed yet (SESSION_OPEN), the day is none
            or a region is unknown: nothing is written. Or an account has too many unfinished runs: nothing is written
            for its region.
    """
    with database.transaction() as connection:
        days = days_of(connection, as_of=as_of, regions=regions)
        now = newest_days(connection).now
    if not days:
        raise RequestError(
            "There is no account yet. 'prometheus ingest DIR' loads market and fleet.", code="NO_ACCOUNTS"
        )
    for region, day, session in days:
        close = TradingCalendar.for_region(region).close_utc(day) if session else now
        if close > now:
            raise RequestError(
                f"The session {day} of region {region} closes at {close:%Y-%m-%d %H:%M} UTC, which has not come: its "
                "prices cannot be complete. Wait, or give an earlier --as-of.",
                code="SESSION_OPEN",
            )
    prepared = []
    for region, day, session in days:
        done = _prepare(database, config, region, day) if session else PreparedRegion(region, day, session=False)
        on_prepared(done)
        prepared.append(done)
    return tuple(prepared)


def _prepare(database: Database, config: EngineConfig, region: str, day: date) -> PreparedRegion:
    scope = resolve_scope(database, as_of=day, region=region, account_id=None)
    created = prepare(database, scope, config, ensure=True, data_ready=False).created
    with database.transaction() as connection:
        waiting = list_runs(connection, as_of=day, region=region, phase=Phase.WAITING_FOR_DATA, limit=1)
        # Runs that were marked ready before have their data already and are not changed.
        ages = data_ages(connection, day, config, region=region) if waiting else ()
    refused = tuple(age for age in ages if not age.usable)
    if refused or not waiting:
        return PreparedRegion(region, day, created=created, refused=refused)
    done = prepare(database, scope, config, ensure=False, data_ready=True)
    return PreparedRegion(region, day, created=created, ready=done.ready, superseded=done.superseded)
