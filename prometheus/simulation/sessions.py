"""One session of a simulated fleet through the real engine: risk model, ensure, data-ready, advance, fills."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.engine_runs import list_runs
from prometheus.db.repositories.risk_models import latest_risk_model
from prometheus.db.repositories.runs import unfilled_days
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import RequestError
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.orchestration.risk_refresh import refresh_risk_model
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.state import Scope, prepare
from prometheus.simulation.corporate_events import DEMO_SESSIONS
from prometheus.simulation.fills import fill_day
from prometheus.simulation.market import FIRST_SESSION

#: The audit's benchmark fleet: synthetic accounts through a year of sessions.
AUDIT_PURPOSE: Final = "audit"
AUDIT_ACCOUNTS: Final = 20
AUDIT_SESSIONS: Final = 252
#: The risk model needs the first 504 sessions; the rest of the market's history can be traded.
LONGEST_AUDIT: Final = 300


@dataclass(frozen=True, slots=True)
class SessionDone:
    """Result of one session: runs advanced to PERSISTED now, and trades filled now."""

    session: date
    persisted: int
    filled: int


def common_sessions(first: date, last: date, regions: Sequence[str] = ("US", "CA")) -> tuple[date, ...]:
    """Return the days on which the exchanges of all regions trade, so that every account has a run on each."""
    of_regions = [set(TradingCalendar.for_region(region).sessions_between(first, last)) for region in regions]
    return tuple(sorted(set.intersection(*of_regions)))


def audit_sessions(count: int = AUDIT_SESSIONS) -> tuple[date, ...]:
    """Return the last so many sessions of the synthetic market on which both exchanges are open.

    Raises:
        RequestError: More than the market's history allows.
    """
    if not 1 <= count <= LONGEST_AUDIT:
        raise RequestError(f"The synthetic market has between 1 and {LONGEST_AUDIT} sessions to trade, not {count}.")
    return common_sessions(FIRST_SESSION, DEMO_SESSIONS[-1])[-count:]


def audit_accounts(count: int = AUDIT_ACCOUNTS) -> tuple[str, ...]:
    """Return the first so many accounts of the synthetic fleet.

    Raises:
        RequestError: More than the fleet has.
    """
    if not 1 <= count <= AUDIT_ACCOUNTS:
        raise RequestError(f"The synthetic fleet has between 1 and {AUDIT_ACCOUNTS} accounts, not {count}.")
    return tuple(f"ACC-{number:03d}" for number in range(1, count + 1))


def run_session(
    database: Database,
    session: date,
    config: EngineConfig,
    *,
    advance: Callable[[], None],
    say: Callable[[str], None],
    account_ids: Collection[str] | None = None,
) -> SessionDone:
    """Take the fleet through one session; repeated, it does what is left to do.

    Args:
        database: The fleet's database.
        session: The day.
        config: The engine's configuration.
        advance: Runs one tick of the engine.
        say: Told each step in a line.
        account_ids: Accounts that take part; None for all.
    """
    with database.transaction() as connection:
        before = len(list_runs(connection, as_of=session, phase=Phase.PERSISTED))
        model = latest_risk_model(connection, session)
        accounts = [
            account for account in accounts_of(connection) if account_ids is None or account.account_id in account_ids
        ]
    if model is None or model.as_of_date != session or model.age_hours > config.risk_model_max_age_hours:
        done = refresh_risk_model(database, as_of=session)
        say(f"  risk model: {len(done.model.tickers)} assets, {done.model.diagnostics.sessions} sessions")
    created = ready = 0
    for region, members in groupby(sorted(accounts, key=lambda one: one.region.value), key=lambda one: one.region):
        TradingCalendar.for_region(region.value).require_session(session)
        prepared = prepare(database, Scope(session, tuple(members)), config, ensure=True, data_ready=True)
        created += prepared.created
        ready += prepared.ready
    say(f"  ensured {created} runs, marked {ready} ready")
    advance()
    with database.transaction() as connection:
        after = len(list_runs(connection, as_of=session, phase=Phase.PERSISTED))
    filled = fill_day(database, session)
    say(f"  {after - before} runs persisted, {filled} trades filled at the close")
    return SessionDone(session, after - before, filled)


def sessions_left(database: Database, sessions: Sequence[date], runs_each: int) -> tuple[date, ...]:
    """Return the sessions that are not PERSISTED and filled for so many accounts, in order."""
    with database.transaction() as connection:
        counts: dict[date, int] = {}
        for run in list_runs(connection, phase=Phase.PERSISTED):
            counts[run.as_of_date] = counts.get(run.as_of_date, 0) + 1
        unfilled = {session for session in sessions if counts.get(session) and unfilled_days(connection, session)}
    return tuple(session for session in sessions if counts.get(session, 0) < runs_each or session in unfilled)
