"""``prometheus runs``: the engine's decisions, account by account."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Literal

import click

from prometheus.scripts.boundary import DATE, Group, format_option, say_more_rows
from prometheus.scripts.export_run import command as export


@click.group("runs", cls=Group)
def command() -> None:
    """List persisted runs, show one with its trades, lots and proof, write its problem file."""


command.add_command(export)


@command.command("list")
@click.argument("account_id", required=False)
@click.option("--as-of", type=DATE, help="Only runs of this day, YYYY-MM-DD.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest so many.")
@format_option("table", "json", default="table")
def list_(account_id: str | None, as_of: datetime | None, limit: int, output: Literal["table", "json"]) -> None:
    """List persisted runs by day and account, of one account where given.

    \b
    Example:
      prometheus runs list ACC-001
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.runs import list_persisted
    from prometheus.scripts.run_output import print_summaries, summary_row

    with open_database(load_settings()) as database, database.transaction() as connection:
        if account_id is not None:
            accounts_of(connection, account_ids=[account_id])
        runs = list_persisted(
            connection, account_id=account_id, as_of=None if as_of is None else as_of.date(), limit=limit + 1
        )
    rows = [summary_row(run) for run in runs[-limit:]]
    if len(runs) > limit:
        say_more_rows(limit, "runs")
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    else:
        print_summaries(rows)


@command.command()
@click.argument("account_id")
@click.argument("run")
@format_option("table", "json", default="table")
@click.option("--details", is_flag=True, help="Every trade by lot, why each was made, and every flag.")
def show(account_id: str, run: str, output: Literal["table", "json"], *, details: bool) -> None:
    """Show one run: what was decided, its proof, flags and largest trades; with --details every trade by lot, and why.

    \b
    Examples:
      prometheus runs show ACC-001 RUN-001
      prometheus runs show ACC-001 RUN-001 --details
    """
    from prometheus.audit.recorded_run import readable_run
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.runs import load_run
    from prometheus.foundation.ids import parse_run_label
    from prometheus.scripts.run_output import print_run

    with open_database(load_settings()) as database, database.transaction() as connection:
        accounts_of(connection, account_ids=[account_id])
        record, trades = load_run(connection, account_id, parse_run_label(run))
    if output == "json":
        click.echo(json.dumps(readable_run(record, trades), indent=2))
    else:
        print_run(record, trades, details=details)


@command.command()
@click.argument("account_id")
@click.argument("as_of", type=DATE)
@format_option("table", "json", default="table")
def history(account_id: str, as_of: datetime, output: Literal["table", "json"]) -> None:
    """Show everything that ever happened to an account's day: claims, transitions, holds, failures, resets.

    \b
    Example:
      prometheus runs history ACC-001 2018-06-01
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.engine_events import list_events
    from prometheus.db.repositories.engine_runs import list_runs
    from prometheus.foundation.canonical import to_jsonable
    from prometheus.foundation.errors import RequestError
    from prometheus.scripts.run_output import print_events

    with open_database(load_settings()) as database, database.transaction() as connection:
        accounts_of(connection, account_ids=[account_id])
        runs = list_runs(connection, as_of=as_of.date(), account_id=account_id)
        if not runs:
            raise RequestError(
                f"Account {account_id} has no engine run for {as_of:%Y-%m-%d}. See 'show_engine_runs --account "
                f"{account_id}'.",
                code="NO_RUN",
            )
        events = list_events(connection, runs[0].run_id)
    if output == "json":
        click.echo(json.dumps([to_jsonable(asdict(event)) for event in events], indent=2))
        return
    print_events(events)
