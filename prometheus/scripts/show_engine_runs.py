"""``show_engine_runs``: the phase of every run, as CSV for monitoring."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from prometheus.domain.phases import Phase
from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.files import csv_text
from prometheus.scripts.boundary import DATE, REGION, Command, OneOf, format_option, say_more_rows

if TYPE_CHECKING:
    from prometheus.domain.engine_run import EngineRun

COLUMNS: Final = (
    "as_of_date",
    "region",
    "account_id",
    "run_id",
    "phase",
    "attempt",
    "phase_entered_at",
    "phase_started_at",
    "phase_completed_at",
    "next_attempt_at",
    "owner_instance",
    "heartbeat_at",
    "lease_expires_at",
    "cancel_requested_at",
    "created_at",
    "updated_at",
    "error_code",
    "error_message",
)


@click.command("show-engine-runs", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--active", is_flag=True, help="Only runs that are neither PERSISTED nor FAILED.")
@click.option("--as-of", type=DATE, help="Only runs of this day, YYYY-MM-DD.")
@click.option("--region", type=REGION, help="Only runs of this region.")
@click.option("--account", "account_id", help="Only runs of this account.")
@click.option("--phase", type=OneOf(Phase), help="Only runs in this phase.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The latest so many rows.")
@format_option("csv", "table", "json", default="csv")
def command(
    active: bool,  # noqa: FBT001 -- click passes options by keyword
    as_of: datetime | None,
    region: str | None,
    account_id: str | None,
    phase: str | None,
    limit: int,
    output: Literal["csv", "table", "json"],
) -> None:
    """Print engine runs ordered by day, region, account and run. The header is always printed; times are ISO 8601.

    Exit codes: 0 printed, 2 there is no such account or region.

    \b
    Examples:
      show_engine_runs --active
      show_engine_runs --as-of 2018-06-01 --phase FAILED --format table
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.accounts import accounts_of
    from prometheus.db.repositories.engine_runs import list_runs
    from prometheus.domain.accounts import Region

    with open_database(load_settings()) as database, database.transaction() as connection:
        if account_id is not None:
            accounts_of(connection, account_ids=[account_id])
        if region is not None and region not in set(
            Region
        ):  # a region without accounts has no runs, which is not an error
            accounts_of(connection, region=region)
        runs = list_runs(
            connection,
            as_of=None if as_of is None else as_of.date(),
            region=region,
            account_id=account_id,
            phase=None if phase is None else Phase(phase),
            active_only=active,
            limit=limit + 1,
        )
    latest = runs[-limit:]
    if len(runs) > limit:
        say_more_rows(limit, "runs")
    if output == "csv":
        click.echo(csv_text(COLUMNS, map(_row, latest)), nl=False)
    elif output == "json":
        click.echo(json.dumps([_row(run) for run in latest], indent=2))
    else:
        _print_table(latest)


def _row(run: "EngineRun") -> JsonObject:
    error = run.error
    values = {
        "error_code": None if error is None else error.code,
        "error_message": None if error is None else error.message,
    }
    row = {name: values[name] if name in values else getattr(run, name) for name in COLUMNS}
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        # One format, whatever the time zone of the server or of this environment.
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, Phase) else value


def _print_table(runs: Sequence["EngineRun"]) -> None:
    from prometheus.scripts.tables import print_table, short_time

    shown = (
        "as_of_date",
        "region",
        "account_id",
        "phase",
        "attempt",
        "phase_entered_at",
        "error_code",
        "error_message",
    )
    print_table(
        shown,
        [
            [short_time(run.phase_entered_at) if name == "phase_entered_at" else row[name] for name in shown]
            for run, row in ((run, _row(run)) for run in runs)
        ],
        right=("attempt",),
        optional=("attempt", "region", "phase_entered_at"),
        below=("error_message",),
        elsewhere="--format csv has them",
    )


def main() -> None:
    """Console entry point."""
    command.main(prog_name="show_engine_runs")


if __name__ == "__main__":
    main()
