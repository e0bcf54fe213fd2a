"""``prometheus audit year`` and ``audit real``: run a fleet through many sessions, then replay every run."""

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from prometheus.scripts.boundary import DATE, Command, StopSignals, workers_option
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from prometheus.bootstrap.engine import Tick
    from prometheus.bootstrap.settings import Settings
    from prometheus.db.database import Database

#: Days of a real market's files before the first session: the risk model needs about two years.
_HISTORY: Final = timedelta(days=3 * 365)


@click.command("year", cls=Command)
@click.option("--sessions", type=int, default=252, show_default=True, help="How many sessions, at most 300.")
@click.option("--accounts", type=int, default=20, show_default=True, help="How many accounts, at most 20.")
@workers_option
@click.option("--replay/--no-replay", default=True, show_default=True, help="Replay every run afterwards.")
def year(sessions: int, accounts: int, workers: int, *, replay: bool) -> None:
    """Take the synthetic fleet through a year of the real engine, then replay every run and check every chain.

    Needs a database of its own. Interrupted, it goes on where it stopped; give the same numbers again.

    Exit codes: 0 all runs are PERSISTED and agree, 1 some are not or do not, 2 the database holds another fleet.

    \b
    Example:
      PROMETHEUS_HOME=/var/lib/prometheus-audit prometheus audit year --sessions 252 --workers 2
    """
    from datetime import UTC, datetime

    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.scripts.ingest import ingest_progress
    from prometheus.simulation.demo import load_demo
    from prometheus.simulation.sessions import AUDIT_PURPOSE, audit_accounts, audit_sessions, sessions_left

    settings = load_settings()
    days, members = audit_sessions(sessions), audit_accounts(accounts)
    with open_database(settings) as database:
        _refuse_other_length(database, days)
        if sessions_left(database, days, len(members)) == days:
            with ingest_progress() as progress:
                load_demo(
                    database,
                    today=datetime.now(UTC).date(),
                    progress=progress,
                    say=say,
                    first=days[0],
                    purpose=AUDIT_PURPOSE,
                )
        _run_sessions(database, settings, days, members, workers)
        _report(database, days, members, workers, replay=replay)


@click.command("real", cls=Command)
@click.argument("market", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("fleet", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--first", type=DATE, required=True, help="First session, YYYY-MM-DD.")
@click.option("--sessions", type=click.IntRange(1, 300), default=21, show_default=True, help="How many sessions.")
@click.option("--account", "chosen", multiple=True, help="Only this account; may be given several times.")
@workers_option
@click.option("--replay/--no-replay", default=True, show_default=True, help="Replay every run afterwards.")
def real(
    market: Path, fleet: Path, first: datetime, sessions: int, chosen: tuple[str, ...], workers: int, *, replay: bool
) -> None:
    """Take a real fleet through consecutive sessions, each day's files loaded only when it comes, and replay every run.

    MARKET and FLEET are folders as 'prometheus ingest' takes them. Trades are filled at the close. Needs a database of
    its own; interrupted, it goes on where it stopped.

    Exit codes: 0 all runs are PERSISTED and agree, 1 some are not or do not, 2 a file or a request cannot be used.

    \b
    Example:
      PROMETHEUS_HOME=/var/lib/prometheus-audit prometheus audit real data/market data/fleet --first 2018-06-01
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.foundation.errors import RequestError
    from prometheus.simulation.market_slices import MarketSlices
    from prometheus.simulation.sessions import common_sessions

    settings, start = load_settings(), first.date()
    days = common_sessions(start, start + timedelta(days=2 * sessions + 14))[:sessions]
    if days[0] != start:
        raise RequestError(f"{start} is not a session of both exchanges; the next one is {days[0]}.")
    with open_database(settings) as database:
        slices = MarketSlices(market, since=start - _HISTORY)
        with _temporary() as folder:
            slices.write_through(days[0], folder)
            for name in ("accounts.csv", "lots.csv"):
                (folder / name).write_bytes((fleet / name).read_bytes())
            _ingest(database, folder)
        with database.transaction() as connection:
            members = chosen or tuple(account.account_id for account in accounts_of(connection))
        after = {day: before for before, day in pairwise(days)}

        def before_session(day: date) -> None:
            if day in after:
                with _temporary() as folder:
                    if slices.write_between(after[day], day, folder):
                        _ingest(database, folder)

        _run_sessions(database, settings, days, members, workers, before_session)
        _report(database, days, members, workers, replay=replay)


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="prometheus-audit-") as name:
        yield Path(name)


def _ingest(database: "Database", folder: Path) -> None:
    from datetime import UTC, datetime

    from prometheus.foundation.errors import RequestError
    from prometheus.ingestion.ingest import ingest_directory
    from prometheus.ingestion.reports import IngestOptions

    for report in ingest_directory(database, folder, options=IngestOptions(today=datetime.now(UTC).date())):
        if not report.loaded:
            reason = next(iter(report.findings.leading(1))).reason
            raise RequestError(f"{report.file} was refused: {reason}", code="FILE_REFUSED")


def _refuse_other_length(database: "Database", days: Sequence[date]) -> None:
    from prometheus.db.repositories.runs import runs_between
    from prometheus.foundation.errors import RequestError

    with database.transaction() as connection:
        stored = runs_between(connection)
    strangers = {day for _, _, day in stored} - set(days)
    if strangers:
        raise RequestError(
            f"This database has runs of {min(strangers)}, which is no session of this year. Give the same --sessions "
            "again, or another PROMETHEUS_HOME.",
            code="OTHER_YEAR",
        )


def _run_sessions(
    database: "Database",
    settings: "Settings",
    days: Sequence[date],
    members: Collection[str],
    workers: int,
    before_session: Callable[[date], None] = lambda _: None,
) -> None:
    from prometheus.bootstrap.engine import tick_of
    from prometheus.scripts.progress import counting
    from prometheus.simulation.sessions import run_session, sessions_left

    left = sessions_left(database, days, len(members))
    if len(left) < len(days):
        say(f"{len(days) - len(left)} of {len(days)} sessions are done already.")
    tick = tick_of(settings)
    began, runs = time.monotonic(), 0
    advance = _heartbeat(database, tick, workers)
    with counting("sessions", len(left), threads=False) as count:
        for number, session in enumerate(left, start=1):
            before_session(session)
            done = run_session(database, session, tick.config, advance=advance, say=_silent, account_ids=members)
            runs += done.persisted
            count(1)
            elapsed = time.monotonic() - began
            if number % 21 == 0 or number == len(left):
                say(f"{session}: {number} of {len(left)} sessions, {runs} runs, {elapsed:.0f} s")
    if runs:
        seconds = time.monotonic() - began
        say(f"Ran {runs} runs in {seconds:.1f} s with {workers} workers: {runs / seconds:.1f} runs a second")


def _heartbeat(database: "Database", tick: "Tick", workers: int) -> Callable[[], None]:
    """Return a function that runs one tick of the engine and prints on standard error what needs a person."""
    from prometheus.orchestration.advance_all import advance_all

    stop = StopSignals()

    def beat() -> None:
        with stop.heard():
            summary = advance_all(
                database,
                tick.config,
                database.sibling,
                limits=tick.limits,
                outbox=tick.outbox,
                workers=workers if workers > 1 else 0,
                must_stop=lambda: stop.received is not None,
            )
        stop.leave_if_told()
        for problem in summary.problems:
            say(f"  {problem}", err=True)

    return beat


def _silent(line: str) -> None:
    """Print nothing: hundreds of sessions have a progress bar instead."""


def _report(
    database: "Database", days: Sequence[date], members: Collection[str], workers: int, *, replay: bool
) -> None:
    import sys

    from prometheus.db.repositories.engine_health import database_bytes
    from prometheus.scripts.replay import replay_and_report
    from prometheus.scripts.verify_audit import verify_and_report

    expected = len(days) * len(members)
    with database.transaction() as connection:
        size = database_bytes(connection)
    persisted = size.runs
    say(f"{persisted} of {expected} runs PERSISTED")
    if persisted:
        say(
            f"Database: {size.total / 1e6:.1f} MB, {size.total / persisted / 1e3:.1f} kB a run with everything; "
            f"the record alone (runs, trades, matrices) {size.record / persisted / 1e3:.1f} kB"
        )
    good = persisted == expected
    if replay:
        good = replay_and_report(database, first=days[0], last=days[-1], workers=workers) and good
    good = verify_and_report(database) and good
    if not good:
        sys.exit(1)
