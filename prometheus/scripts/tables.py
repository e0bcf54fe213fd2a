"""Output of commands for people: tables, facts and sentences as wide as the terminal; in a pipe never cut or wrapped.

A terminal gets no line that is longer than itself. Where a table does not fit, the least important columns are left out
and named; where it still does not fit, each row is printed as a block of lines. Long texts are printed below their row.
In a pipe every row is one line with every column, whatever COLUMNS says, for programs and searches.
"""

import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import click

#: A terminal that is narrower, or reports no width, is treated as this wide.
_NARROWEST: Final = 40
_GAP: Final = 2
_BELOW: Final = "    "


def width_of(stream: TextIO | None) -> int | None:
    """Return how many characters a line of a stream may have; None where it is no terminal."""
    if stream is None or not stream.isatty():
        return None
    return max(shutil.get_terminal_size((80, 24)).columns, _NARROWEST)


def may_decorate(stream: TextIO | None) -> bool:
    """Return whether bold type and colours may be used: on a terminal that knows them, where NO_COLOR is not set."""
    if stream is None or not stream.isatty():
        return False
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str = "", *, err: bool = False, indent: str = "", hanging: str | None = None) -> None:
    """Print a sentence, on a terminal broken between words at its width.

    Args:
        text: The text; its line ends are kept.
        err: On standard error.
        indent: In front of the first line.
        hanging: In front of the further lines; ``indent`` where None.
    """
    width = width_of(sys.stderr if err else sys.stdout)
    for line in text.split("\n"):
        for piece in _wrapped(line, width, indent, indent if hanging is None else hanging):
            click.echo(piece, err=err)


def say_markdown(text: str) -> None:
    """Print Markdown, on a terminal broken between words below the text of its list item."""
    for line in text.splitlines():
        marker = re.match(r"\s*(?:- )?", line)
        assert marker is not None  # it matches the empty text, too
        say(line[marker.end() :], indent=marker[0], hanging=" " * marker.end())


def short_time(instant: datetime | str | None) -> str | None:
    """Return an instant as a table shows it: to the second, in UTC. CSV and JSON have it in full."""
    if instant is None:
        return None
    known = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return f"{known.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print names and values in two columns, the values broken between words on a terminal; None prints as nothing."""
    told = [(name, "" if value is None else str(value)) for name, value in facts]
    if not told:
        return
    column = max(_length(name) for name, _ in told) + _GAP
    for name, value in told:
        say(value, indent=_padded(name, column), hanging=" " * column)


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
    below: Sequence[str] = (),
    elsewhere: str = "a pipe has them",
) -> None:
    """Print a table to standard output.

    Args:
        header: Column names.
        rows: One value for each column; None prints as nothing.
        title: A line above.
        right: Names of columns whose values are flush right.
        optional: Names of columns that a narrow terminal may leave out, the first to go first.
        below: Names of columns whose texts a terminal shows below their row instead of in it.
        elsewhere: Where the columns left out are shown.
    """
    cells = [["" if value is None else _one_line(str(value)) for value in row] for row in rows]
    width = width_of(sys.stdout)
    if title is not None:
        say(title)
    if width is None:
        _print_lines(list(header), cells, right)
        return
    chosen, left_out = _fitting(header, cells, width, optional, below)
    shown = [name for name in header if name in chosen]
    texts = [[(name, row[header.index(name)]) for name in header if name in below] for row in cells]
    kept = [[row[header.index(name)] for name in shown] for row in cells]
    if _table_width(shown, kept) > width:
        _print_blocks(header, cells)
        return
    _print_lines(shown, kept, right, texts=texts)
    if left_out:
        say(f"({', '.join(left_out)}: no space here; {elsewhere}.)")


def _fitting(
    header: Sequence[str], cells: Sequence[Sequence[str]], width: int, optional: Sequence[str], below: Sequence[str]
) -> tuple[set[str], list[str]]:
    """Return the columns that a terminal shows in its table, and those left out although they hold something."""
    filled = {name for at, name in enumerate(header) if not cells or any(row[at] for row in cells)}
    chosen = {name for name in header if name in filled and name not in below}
    left_out: list[str] = []
    for name in optional:
        shown = [column for column in header if column in chosen]
        if _table_width(shown, [[row[header.index(column)] for column in shown] for row in cells]) <= width:
            break
        if name in chosen:
            chosen.discard(name)
            left_out.append(name)
    return chosen, [name for name in header if name in left_out]


def _table_width(header: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    return sum(_widths(header, cells)) + _GAP * max(len(header) - 1, 0)


def _widths(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max([_length(name), *(_length(row[at]) for row in cells)]) for at, name in enumerate(header)]


def _print_lines(
    header: Sequence[str],
    cells: Sequence[Sequence[str]],
    right: Sequence[str],
    *,
    texts: Sequence[Sequence[tuple[str, str]]] = (),
) -> None:
    widths = _widths(header, cells)

    def line(values: Sequence[str]) -> str:
        padded = (
            _padded(value, width, flush_right=name in right)
            for name, value, width in zip(header, values, widths, strict=True)
        )
        return (" " * _GAP).join(padded).rstrip()

    click.echo(click.style(line(header), bold=True) if may_decorate(sys.stdout) else line(header))
    for at, row in enumerate(cells):
        click.echo(line(row))
        for _, text in texts[at] if texts else ():
            if text:
                say(text, indent=_BELOW)


def _print_blocks(header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of name and value, for a terminal that no table fits into."""
    for at, row in enumerate(cells):
        if at:
            click.echo()
        print_facts((name, value) for name, value in zip(header, row, strict=True) if value)


def _wrapped(line: str, width: int | None, indent: str, hanging: str) -> list[str]:
    if width is None or _length(indent + line) <= width:
        return [(indent + line).rstrip() if width is not None else indent + line]
    return textwrap.wrap(
        line,
        width,
        initial_indent=indent,
        subsequent_indent=hanging,
        # Paths, digests and commands are not broken: people copy them.
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [indent.rstrip()]


def _one_line(text: str) -> str:
    """Return a value as one line of printable text, without control characters for a terminal."""
    joined = " / ".join(part.strip() for part in re.split(r"[\r\n]+", text) if part.strip())
    return "".join(" " if sign == "\t" else sign if sign.isprintable() else "?" for sign in joined)


def _length(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _padded(text: str, width: int, *, flush_right: bool = False) -> str:
    space = " " * (width - _length(text))
    return space + text if flush_right else text + space
