"""The demo: a synthetic fleet through three real days of the engine, every step repeatable."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.engine_flags import database_purpose, set_database_purpose
from prometheus.db.repositories.engine_runs import list_runs
from prometheus.db.repositories.risk_models import latest_risk_model
from prometheus.db.repositories.runs import unfilled_days
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import RequestError
from prometheus.ingestion.ingest import ingest_directory
from prometheus.ingestion.reports import IngestOptions, Progress
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.risk_refresh import refresh_risk_model
from prometheus.pipeline.state import prepare, resolve_scope
from prometheus.simulation.corporate_events import DEMO_SESSIONS
from prometheus.simulation.demo_files import write_demo_files
from prometheus.simulation.fills import fill_day

PURPOSE: Final = "demo"
_REGIONS: Final = ("US", "CA")


@dataclass(frozen=True, slots=True)
class DemoDay:
    """What one session did: runs advanced to PERSISTED now, and trades filled now."""

    session: date
    persisted: int
    filled: int


def demo_is_complete(database: Database) -> bool:
    """Return True where every account of the demo has every session PERSISTED and filled."""
    with database.transaction() as connection:
        if database_purpose(connection) != PURPOSE:
            return False
        accounts = accounts_of(connection)
        persisted = list_runs(connection, phase=Phase.PERSISTED)
        unfilled = [account_id for session in DEMO_SESSIONS for account_id in unfilled_days(connection, session)]
    expected = {(account.account_id, session) for account in accounts for session in DEMO_SESSIONS}
    return bool(accounts) and not unfilled and expected <= {(run.account_id, run.as_of_date) for run in persisted}


def load_demo(database: Database, *, today: date, progress: Progress, say: Callable[[str], None]) -> None:
    """Write the synthetic files and ingest them.

    Raises:
        RequestError: The database holds a fleet that is not the demo's, or a file was refused.
    """
    with database.transaction() as connection:
        if database_purpose(connection) != PURPOSE and accounts_of(connection):
            raise RequestError(
                "This database holds a fleet that is not the demo's. Give the demo a place of its own: "
                "PROMETHEUS_HOME=DIR prometheus demo",
                code="NOT_A_DEMO_DATABASE",
            )
        set_database_purpose(connection, PURPOSE)
    with tempfile.TemporaryDirectory(prefix="prometheus-demo-") as folder:
        say("Making a synthetic market and fleet (deterministic, seed 7)")
        write_demo_files(Path(folder))
        reports = ingest_directory(
            database, Path(folder), options=IngestOptions(today=today, allow_demo=True), progress=progress
        )
    refused = [report for report in reports if not report.loaded]
    if refused:
        raise RequestError(f"The demo's own {refused[0].file} was refused.", code="DEMO_REFUSED")
    for report in reports:
        say(f"  {report.kind.value}: {report.inserted} new rows, {report.unchanged} unchanged")


def run_demo_session(
    database: Database, session: date, config: EngineConfig, *, advance: Callable[[], None], say: Callable[[str], None]
) -> DemoDay:
    """Take the fleet through one session: risk model, ensure, data-ready, advance, fills at the close.

    Args:
        database: The demo's database.
        session: The day.
        config: The engine's configuration.
        advance: Runs one heartbeat of the engine.
        say: Told each step in a line.
    """
    with database.transaction() as connection:
        before = len(list_runs(connection, as_of=session, phase=Phase.PERSISTED))
        model = latest_risk_model(connection, session)
    if model is None or model.as_of_date != session or model.age_hours > config.risk_model_max_age_hours:
        done = refresh_risk_model(database, as_of=session)
        say(f"  risk model: {len(done.model.tickers)} names, {done.model.diagnostics.sessions} sessions")
    created = ready = 0
    for region in _REGIONS:
        scope = resolve_scope(database, as_of=session, region=region, account_id=None)
        prepared = prepare(database, scope, config, ensure=True, data_ready=True)
        created += prepared.created
        ready += prepared.ready
    say(f"  ensured {created} runs, marked {ready} ready")
    advance()
    with database.transaction() as connection:
        after = len(list_runs(connection, as_of=session, phase=Phase.PERSISTED))
    filled = fill_day(database, session)
    say(f"  {after - before} runs persisted, {filled} trades filled at the close")
    return DemoDay(session, after - before, filled)
