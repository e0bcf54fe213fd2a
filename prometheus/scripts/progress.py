"""Progress on a terminal, silence in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from prometheus.foundation.logging import StandardError


@contextmanager
def counting(what: str, total: int | None = None, *, threads: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar with a count on a terminal's standard error; do nothing where that is not a terminal.

    Args:
        what: What is being done.
        total: How many there are, None where nobody knows.
        threads: False where the process forks meanwhile: then the bar moves only when something is counted.

    Yields:
        A function to call with how many more are done.
    """
    # This very stream: rich puts one of its own in the place of standard error while a bar is shown.
    stream = StandardError(sys.stderr)
    if not stream.isatty():
        yield _unseen
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=Console(file=cast("IO[str]", stream)), transient=True, auto_refresh=threads
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, advance=done, refresh=not threads)


def _unseen(done: int) -> None:
    """Count for nobody."""
