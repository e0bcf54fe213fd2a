"""``prometheus``: one entry for people, with a command a file."""

import importlib
from typing import Final

import click

from prometheus import __version__
from prometheus.scripts.boundary import Group

#: Command to the module that defines it, imported when it is used, so that --help answers at once. It is called
#: ``command`` there, or by the name behind the colon.
_COMMANDS: Final = {
    "audit": "prometheus.scripts.audit",
    "backup": "prometheus.scripts.backup:backup_command",
    "compare-solvers": "prometheus.scripts.compare_solvers",
    "db": "prometheus.scripts.database",
    "demo": "prometheus.scripts.demo",
    "engine": "prometheus.scripts.engine",
    "engine-health": "prometheus.scripts.engine_health",
    "explain": "prometheus.scripts.explain",
    "ingest": "prometheus.scripts.ingest",
    "ledger": "prometheus.scripts.ledger",
    "optimize": "prometheus.scripts.optimize",
    "replay": "prometheus.scripts.replay",
    "restore": "prometheus.scripts.backup:restore_command",
    "risk": "prometheus.scripts.risk",
    "run-daily": "prometheus.scripts.run_daily",
    "run-engine-state": "prometheus.scripts.run_engine_state",
    "runs": "prometheus.scripts.runs",
    "show-engine-runs": "prometheus.scripts.show_engine_runs",
    "strategy": "prometheus.scripts.strategy",
    "today": "prometheus.scripts.today",
    "trades": "prometheus.scripts.trades",
    "verify-audit": "prometheus.scripts.verify_audit",
}


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or "command")
        return command


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="prometheus")
def main() -> None:
    """Rebalance a fleet of tax-managed portfolios, and prove every trade a year later.

    \b
    A day from files to trades:
      prometheus ingest DIR
      prometheus risk refresh --as-of 2018-06-01
      prometheus run-daily --as-of 2018-06-01
      prometheus today --as-of 2018-06-01
      prometheus runs show ACC-001 RUN-001

    \b
    Completion of commands and options by the shell (bash; zsh and fish likewise):
      eval "$(_PROMETHEUS_COMPLETE=bash_source prometheus)"

    Exit codes, where a command says nothing else: 0 done, 1 something failed or waits for a person, 2 the request
    cannot be met and nothing was written.
    """


if __name__ == "__main__":
    main()
