"""``engine_health``: whether the fleet needs a person, for monitoring."""

import json
import sys
from typing import Final, Literal

import click

from prometheus.domain.attention import FINDING_CODES
from prometheus.scripts.boundary import Command, format_option
from prometheus.scripts.tables import say

_HELP: Final = f"""Say what is wrong with the fleet: one line for each finding, with its code.

Findings: {", ".join(FINDING_CODES)}. Their limits are settings (PROMETHEUS_HEALTH_*); docs/runbook.md has cause and
remedy of each. Nothing is written, and no database is made where there is none.

\b
Example:
  engine_health --format json

Exit codes: 0 healthy, 1 findings (or the database is gone: as JSON a finding with the error's code), 2 misuse.
"""


@click.command("engine-health", cls=Command, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@format_option("text", "json", default="text")
@click.option("--silent-minutes", type=click.FloatRange(min=0, min_open=True), help="Longest time without a tick.")
def command(output: Literal["text", "json"], silent_minutes: float | None) -> None:
    """Print the findings."""
    from dataclasses import asdict, replace

    from prometheus.bootstrap.limits import health_limits
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.foundation.errors import DatabaseError
    from prometheus.orchestration.health import Finding, engine_health

    settings = load_settings()
    limits = health_limits(settings)
    if silent_minutes is not None:
        limits = replace(limits, silent_minutes=silent_minutes)
    try:
        with open_database(settings, create=False) as database:
            findings = engine_health(database, limits)
    except DatabaseError as error:
        # With --format json the answer is JSON in every case.
        if output != "json":
            raise
        findings = (Finding(error.code, error.message),)
    if settings.runner_flag_frozen:
        findings = (Finding("FROZEN", "RUNNER_FLAG_FROZEN is set here: processes that see it do nothing."), *findings)
    if output == "json":
        click.echo(json.dumps({"healthy": not findings, "findings": [asdict(one) for one in findings]}, indent=2))
    else:
        for finding in findings:
            say(f"{finding.code}: {finding.message}", hanging="  ")
        if not findings:
            click.echo("healthy")
    if findings:
        sys.exit(1)


def main() -> None:
    """Console entry point."""
    command.main(prog_name="engine_health")


if __name__ == "__main__":
    main()
