"""``show_engine_runs``: where every run stands, as CSV for monitoring."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from prometheus.domain.phases import Phase
from prometheus.scripts.boundary import DATE, Command

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
@click.option("--region", help="Only runs of this region.")
@click.option("--account", "account_id", help="Only runs of this account.")
@click.option("--phase", type=click.Choice([phase.value for phase in Phase]), help="Only runs in this phase.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The latest so many rows.")
@click.option("--format", "output", type=click.Choice(["csv", "table", "json"]), default="csv", show_default=True)
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

    \b
    Examples:
      show_engine_runs --active
      show_engine_runs --as-of 2018-06-01 --phase FAILED --format table
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.repositories.engine_runs import list_runs

    with open_database(load_settings()) as database, database.transaction() as connection:
        runs = list_runs(
            connection,
            as_of=None if as_of is None else as_of.date(),
            region=region,
            account_id=account_id,
            phase=None if phase is None else Phase(phase),
            active_only=active,
            limit=limit,
        )
    rows = [_row(run) for run in runs]
    if output == "csv":
        click.echo(_csv(rows), nl=False)
    elif output == "json":
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)


def _row(run: "EngineRun") -> dict[str, Any]:
    error = run.error or {}
    values = {"error_code": error.get("code"), "error_message": error.get("message")}
    row = {name: values[name] if name in values else getattr(run, name) for name in COLUMNS}
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        # One spelling, whatever time zone the server or this environment prefers.
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, Phase) else value


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return RFC 4180 text: quoted where needed, line ends CR LF, header first."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from prometheus.scripts.tables import print_table

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
    print_table(shown, [[row[name] for name in shown] for row in rows])


def main() -> None:
    """Console entry point."""
    command.main(prog_name="show_engine_runs")


if __name__ == "__main__":
    main()
