"""``prometheus demo``: the whole job on synthetic data."""

import sys
from typing import TYPE_CHECKING

import click

from prometheus.scripts.boundary import Command, StopSignals
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from prometheus.bootstrap.settings import Settings
    from prometheus.db.database import Database


@click.command(
    "demo",
    cls=Command,
    interrupted="Interrupted: what was finished stays. 'prometheus demo' goes on where it stopped.",
)
def command() -> None:
    """Run a synthetic fleet of 20 accounts through three sessions, from files to filled trades.

    Everything goes through the real engine on a real PostgreSQL; run it again and it says that there is nothing to do.

    Exit codes: 0 all 60 runs are PERSISTED, 1 some are not, 2 the database holds another fleet.
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.simulation.demo import demo_is_complete

    settings = load_settings()
    with open_database(settings) as database:
        complete = demo_is_complete(database)
        if complete:
            say("The demo is complete: all its runs are PERSISTED and filled. There is nothing to do.")
        else:
            complete = _run(database, settings)
        _report(database)
    if not complete:
        sys.exit(1)


def _run(database: "Database", settings: "Settings") -> bool:
    from datetime import UTC, datetime

    from prometheus.bootstrap.engine import tick_of
    from prometheus.orchestration.advance_all import advance_all
    from prometheus.scripts.ingest import ingest_progress
    from prometheus.scripts.progress import counting
    from prometheus.simulation.corporate_events import DEMO_SESSIONS
    from prometheus.simulation.demo import demo_is_complete, load_demo
    from prometheus.simulation.sessions import run_session

    with ingest_progress() as progress:
        load_demo(database, today=datetime.now(UTC).date(), progress=progress, say=say)
    tick = tick_of(settings)

    stop = StopSignals()

    def advance() -> None:
        with counting("advancing runs") as count, stop.heard():
            summary = advance_all(
                database,
                tick.config,
                database.sibling,
                limits=tick.limits,
                outbox=tick.outbox,
                on_outcome=lambda *_: count(1),
                must_stop=lambda: stop.received is not None,
            )
        stop.leave_if_told()
        for problem in summary.problems:
            say(f"  {problem}")
        say(f"  advanced {sum(summary.outcomes.values())} runs in {summary.seconds:.1f} s")

    for session in DEMO_SESSIONS:
        say(f"Session {session}")
        run_session(database, session, tick.config, advance=advance, say=say)
    return demo_is_complete(database)


def _report(database: "Database") -> None:
    from prometheus.db.repositories.engine_runs import list_runs
    from prometheus.db.repositories.runs import list_persisted
    from prometheus.scripts.run_output import print_summaries, summary_row
    from prometheus.scripts.tables import print_table
    from prometheus.simulation.corporate_events import DEMO_SESSIONS

    with database.transaction() as connection:
        runs = list_runs(connection)
        persisted = list_persisted(connection)
    counts: dict[tuple[str, str, str], int] = {}
    for run in runs:
        key = (run.as_of_date.isoformat(), run.region, run.phase.value)
        counts[key] = counts.get(key, 0) + 1
    say("\nEngine runs")
    print_table(("as_of", "region", "phase", "runs"), [(*key, count) for key, count in sorted(counts.items())])
    say("\nDecisions (risk and turnover in percent, money in the account's currency)")
    print_summaries([summary_row(run) for run in persisted])
    say("\nWhere to look next")
    for line in (
        "prometheus today --as-of {session}    each region's day, ages of data, what to do next",
        "prometheus runs show ACC-001 RUN-002    one decision: trades, gains, tax, proof",
        "prometheus runs list ACC-001            an account's history",
        "show_engine_runs --format table         the phase of every run",
        "prometheus strategy show                parameters, and what each tag changes",
    ):
        say("  " + line.format(session=DEMO_SESSIONS[-1]))
