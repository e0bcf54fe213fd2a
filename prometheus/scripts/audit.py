"""``prometheus audit``: anchors, archives, run files, and the rehearsals over many sessions."""

from datetime import datetime
from pathlib import Path

import click

from prometheus.scripts.boundary import DATE, Group
from prometheus.scripts.rehearsal import real, year
from prometheus.scripts.tables import say


@click.group("audit", cls=Group)
def command() -> None:
    """Anchor the day's chains, archive old runs, export runs, rehearse a year with its replay."""


command.add_command(year)
command.add_command(real)


@command.command()
@click.option("--as-of", type=DATE, required=True, help="Runs through this day, YYYY-MM-DD.")
def anchor(as_of: datetime) -> None:
    """Store and print one digest over the last run of every account through a day.

    Keep it outside the database: publish it, e-mail it, print it. Somebody who can alter the database can alter the
    stored anchor too, but not your copy; 'prometheus verify-audit --anchor' compares the two.

    Exit codes: 0 printed, 2 there is no run yet.

    \b
    Example:
      prometheus audit anchor --as-of 2018-06-29
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.orchestration.anchors import take_anchor

    with open_database(load_settings()) as database:
        taken = take_anchor(database, as_of.date())
    say(f"{taken.as_of}={taken.digest}")
    state = "stored" if taken.added else "stored before"
    say(f"{taken.accounts} accounts; {state}. Check: prometheus verify-audit --anchor DATE=DIGEST", err=True)


@command.command()
@click.option("--before", type=DATE, required=True, help="Only runs of earlier days, YYYY-MM-DD.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="New file, .jsonl or .gz.")
@click.option("--reason", required=True, help="Why; recorded with the archive.")
def archive(before: datetime, out: Path, reason: str) -> None:
    """Move old runs into a file; their hashes stay, and 'prometheus verify-audit' still passes.

    Needs the owner of the tables: the engine's role may not remove anything. Of each account the newest run before the
    day stays. The file is a run file: 'prometheus replay --file' replays it. Keep it: the database does not.

    Exit codes: 0 archived, 1 the login does not own the tables, 2 nothing to archive.

    \b
    Example:
      prometheus audit archive --before 2018-01-01 --out 2017.jsonl --reason WHY
    """
    from prometheus.audit.archive import archivable, archive_runs
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.scripts.progress import counting

    with (
        open_database(load_settings(), as_owner=True) as database,
        counting("archiving runs", len(archivable(database, before.date()))) as count,
    ):
        done = archive_runs(database, before=before.date(), path=out, reason=reason, on_run=lambda: count(1))
    say(f"Archive {done.archive_id}: {done.runs} runs in {out}, SHA-256 {done.file_sha256}")


@command.command()
def archives() -> None:
    """List the archives: files of runs that are no longer in the database, and why."""
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories import audit_trail
    from prometheus.scripts.tables import print_table

    with open_database(load_settings()) as database, database.transaction() as connection:
        stored = audit_trail.archives(connection)
    print_table(
        ("no", "archived at", "before", "runs", "file", "sha256", "reason"),
        [
            (
                one.archive_id,
                one.recorded_at.strftime("%Y-%m-%d %H:%M"),
                one.before_date,
                one.runs,
                one.file_name,
                one.file_sha256.hex(),
                one.reason,
            )
            for one in stored
        ],
        right=("no", "runs"),
        optional=("archived at",),
        below=("file", "sha256", "reason"),
    )


@command.command()
@click.argument("account_id", required=False)
@click.argument("run", required=False)
@click.option("--from", "first", type=DATE, help="First day, YYYY-MM-DD.")
@click.option("--to", "last", type=DATE, help="Last day, YYYY-MM-DD.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File, .jsonl or .gz.")
def export(account_id: str | None, run: str | None, first: datetime | None, last: datetime | None, out: Path) -> None:
    """Write runs with all their inputs into a file that 'prometheus replay --file' replays without a database.

    Exit codes: 0 written, 2 there is no such run.

    \b
    Example:
      prometheus audit export ACC-001 RUN-001 --out run.jsonl
    """
    from prometheus.audit.replay_range import runs_of_period
    from prometheus.audit.run_file import write_runs
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.foundation.errors import RequestError
    from prometheus.foundation.ids import parse_run_label
    from prometheus.scripts.progress import counting

    begin, end = (None if day is None else day.date() for day in (first, last))
    number = None if run is None else parse_run_label(run)
    with open_database(load_settings()) as database:
        if account_id is not None:
            with database.transaction() as connection:
                accounts_of(connection, account_ids=[account_id])
        keys = runs_of_period(database, first=begin, last=end, account_id=account_id)
        keys = tuple(key for key in keys if number is None or key.run_seq == number)
        if not keys:
            raise RequestError(f"Account {account_id} has no run {run}, or it was archived.", code="UNKNOWN_RUN")
        if not out.absolute().parent.is_dir():
            raise RequestError(f"The directory '{out.absolute().parent}' does not exist.")
        with counting("exporting runs", len(keys)) as count:
            write_runs(database, keys, out, on_run=lambda: count(1))
    say(f"{len(keys)} runs in {out}")
