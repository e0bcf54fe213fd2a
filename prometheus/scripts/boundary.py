"""The process boundary: errors and Ctrl-C become exit codes; common options."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from prometheus.foundation.errors import PrometheusError
from prometheus.scripts.tables import say

#: Exit code of a command that Ctrl-C ended, as usual.
INTERRUPTED: Final = 128 + signal.SIGINT
#: Message on Ctrl-C of a command without a message of its own.
_INTERRUPTED: Final = (
    "Interrupted: what was finished stays, what was under way is undone. Give the command again to go on."
)

DATE = click.DateTime(formats=["%Y-%m-%d"])
workers_option = click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that work side by side."
)


class OneOf(click.Choice[str]):
    """A choice of words, in whatever case they are typed."""

    def __init__(self, words: "list[str] | tuple[str, ...] | type[StrEnum]") -> None:
        super().__init__([str(word) for word in words], case_sensitive=False)


# A generic type since click 8.3; at run time an earlier one will do.
if TYPE_CHECKING:
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType


class _Region(_Text):
    """A region in whatever case it is typed; the use case checks that it exists."""

    name = "region"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the region as the database spells it."""
        return str(value).strip().upper()

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 -- click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Offer the regions there are."""
        from prometheus.domain.accounts import Region

        return [CompletionItem(region.value) for region in Region if region.value.startswith(incomplete.upper())]


REGION = _Region()


def format_option(*formats: str, default: str) -> Callable[[Any], Any]:
    """Return the option ``--format``, given to the command as ``output``."""
    return click.option("--format", "output", type=OneOf(list(formats)), default=default, show_default=True)


def say_more_rows(limit: int, what: str) -> None:
    """Report on standard error that there are more rows than were printed; standard output has rows alone."""
    say(
        f"Only the newest {limit:,} {what} are shown, there are more: --limit {10 * limit} shows up to that many.",
        err=True,
    )


class Command(click.Command):
    """A click command whose typed errors end the process with one sentence and the error's exit code.

    Args:
        interrupted: Its message on Ctrl-C; None for a sentence that is true of every command.
    """

    def __init__(self, *arguments: Any, interrupted: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.interrupted = interrupted

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the command line."""
        with _ctrl_c(_INTERRUPTED):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _ctrl_c(self.interrupted or _INTERRUPTED):
            return guarded(lambda: super(Command, self).invoke(ctx))


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the command line."""
        with _ctrl_c(_INTERRUPTED):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        with _ctrl_c(_INTERRUPTED):
            return guarded(lambda: super(Group, self).invoke(ctx))


def guarded(run: Callable[[], Any]) -> Any:
    """Call ``run`` and turn a typed error into its sentence on standard error and its exit code."""
    from prometheus.bootstrap.settings import load_settings
    from prometheus.foundation.logging import configure_logging, default_level

    try:
        settings = load_settings()
        chosen = bool(os.environ.get("PROMETHEUS_LOG_LEVEL")) or settings.log_format == "json"
        configure_logging(settings.log_level if chosen else default_level(), settings.log_format)
        return run()
    except PrometheusError as error:
        say(f"error: {error.message} [{error.code}]", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader closed the pipe (head, less), which is not a failure. Keep the interpreter from reporting it at
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@contextmanager
def _ctrl_c(sentence: str) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        with contextlib.suppress(OSError):  # where standard error is closed
            say(("\n" if sys.stderr.isatty() else "") + sentence, err=True)
        sys.exit(INTERRUPTED)


class StopSignals:
    """Records that the process was told to end, instead of ending in the middle of a step."""

    #: The signal that told the process to end.
    STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self.received: int | None = None

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Record SIGTERM, SIGINT and SIGHUP while the block lasts; signals ignored before (nohup) stay ignored."""
        heard = [number for number in self.STOPS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._remember) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def leave_if_told(self) -> None:
        """End the process where it was told to; its exit code names the signal."""
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            sys.exit(128 + self.received)

    def _remember(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- the signature of a handler
        self.received = number
