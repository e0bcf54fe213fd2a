"""A loaded copy of the real market and fleet, and the commands an operator runs on it."""

import json
import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import structlog
from click.testing import CliRunner

AS_OF = date(2018, 6, 1)


@dataclass(frozen=True)
class Day:
    """The fleet's persisted day: every run as the command prints it, and the files it came from."""

    url: str
    runs: dict
    market: object
    fleet: dict


def command(url: str, name: str, *arguments: str, exit_code: int = 0) -> str:
    """Run one of the package's commands on a database and return what it printed; it must end with the exit code."""
    from prometheus.scripts import main, run_engine_state, show_engine_runs

    entry = {
        "prometheus": main.main,
        "run_engine_state": run_engine_state.command,
        "show_engine_runs": show_engine_runs.command,
    }[name]
    logging_before = structlog.get_config()
    result = CliRunner().invoke(entry, list(arguments), env={"PROMETHEUS_DATABASE_URL": url})
    # The command has pointed the log at the runner's stream, which is closed by now.
    structlog.configure(**logging_before)
    assert result.exit_code == exit_code, f"{name} {' '.join(arguments)}: {result.output}"
    return result.stdout


def printed_run(url, account_id):
    """Return an account's first run as the command prints it."""
    text = command(url, "prometheus", "runs", "show", account_id, "RUN-001", "--format", "json")
    return json.loads(text, parse_float=Decimal)


def copy_of(admin, server, template):
    """Clone a database that nobody is connected to and return its name."""
    name = f"fleet_{uuid.uuid4().hex[:16]}"
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER prometheus STRATEGY file_copy")
    return name


def run_the_day(url: str, *regions: str) -> None:
    """Take the accounts of some regions through the day."""
    for region in regions:
        command(url, "run_engine_state", "--as-of", AS_OF.isoformat(), "--region", region, "--ensure", "--data-ready")
    command(url, "run_engine_state", "--advance-all")
