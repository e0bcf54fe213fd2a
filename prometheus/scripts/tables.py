"""Tables for people."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

#: Wider than any line that a person wrote; tables are only as wide as their content.
_UNBOUNDED: Final = 1_000_000


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None, right: Sequence[str] = ()
) -> None:
    """Print a table to standard output; in a pipe it is as wide as its content, never cut.

    Args:
        header: Column names.
        rows: One value for each column; None prints as nothing.
        title: A line above.
        right: Names of columns whose values stand flush right.
    """
    import click
    from rich.console import Console
    from rich.table import Table

    # What travels through a pipe is read by a program or searched: it must not be cut at 80 columns, not even where a
    # shell or a test runner has exported the width of some terminal.
    width = None if sys.stdout.isatty() else _UNBOUNDED
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=width is not None)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    # A value is text: brackets in an error message are no instructions to the printer.
    console = Console(width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)
    with console.capture() as text:
        console.print(table)
    # rich ends the process with exit code 1 where the reader of a pipe went away; the boundary knows better.
    click.echo(text.get(), nl=False)
