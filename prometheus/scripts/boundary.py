"""The process boundary: the only place where an error becomes an exit code."""

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from prometheus.foundation.errors import PrometheusError

DATE = click.DateTime(formats=["%Y-%m-%d"])
workers_option = click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that work side by side."
)


class Command(click.Command):
    """A click command whose typed errors end the process with one sentence and the error's exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        return guarded(lambda: super(Command, self).invoke(ctx))


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        return guarded(lambda: super(Group, self).invoke(ctx))


def guarded(run: Callable[[], Any]) -> Any:
    """Call ``run`` and turn a typed error into its sentence on standard error and its exit code."""
    from prometheus.bootstrap.settings import load_settings
    from prometheus.foundation.logging import configure_logging

    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
        return run()
    except PrometheusError as error:
        click.echo(f"error: {error.message} [{error.code}]", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader went away (head, less): not our failure. Keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
