"""The demo: a synthetic fleet through three days of the engine, every step repeatable."""

import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.engine_flags import database_purpose, set_database_purpose
from prometheus.db.repositories.engine_runs import list_runs
from prometheus.db.repositories.runs import unfilled_days
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import RequestError
from prometheus.ingestion.ingest import ingest_directory
from prometheus.ingestion.reports import IngestOptions, Progress
from prometheus.simulation.corporate_events import DEMO_SESSIONS
from prometheus.simulation.demo_files import write_demo_files

PURPOSE: Final = "demo"
_REGIONS: Final = ("US", "CA")


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


def load_demo(
    database: Database,
    *,
    today: date,
    progress: Progress,
    say: Callable[[str], None],
    first: date = DEMO_SESSIONS[0],
    purpose: str = PURPOSE,
) -> None:
    """Write the synthetic files and ingest them; the accounts start before the session ``first``.

    Raises:
        RequestError: The database holds a fleet that is not the demo's, or a file was refused.
    """
    with database.transaction() as connection:
        if database_purpose(connection) != purpose and accounts_of(connection):
            raise RequestError(
                f"This database holds a fleet that is not the {purpose}'s. Give the {purpose} a place of its own with "
                "PROMETHEUS_HOME=DIR.",
                code="NOT_A_DEMO_DATABASE",
            )
        set_database_purpose(connection, purpose)
    with tempfile.TemporaryDirectory(prefix="prometheus-demo-") as folder:
        say("Making a synthetic market and fleet (deterministic, seed 7)")
        write_demo_files(Path(folder), first=first)
        reports = ingest_directory(
            database, Path(folder), options=IngestOptions(today=today, allow_demo=True), progress=progress
        )
    refused = [report for report in reports if not report.loaded]
    if refused:
        raise RequestError(f"The demo's own {refused[0].file} was refused.", code="DEMO_REFUSED")
    for report in reports:
        say(f"  {report.kind.value}: {report.inserted} new rows, {report.unchanged} unchanged")
