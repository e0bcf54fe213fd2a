"""CSV text as records with their lines, and the defects that a record has whatever its columns mean."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.findings import RefusedRowError

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Record(NamedTuple):
    """One record of a CSV text.

    Attributes:
        first: Line on which it begins, counted from 1.
        last: Line on which it ends; another one where a quoted value goes over lines.
        cells: Its values without blanks around them.
        raw: Its values as they are written.
    """

    first: int
    last: int
    cells: tuple[str, ...]
    raw: tuple[str, ...]


def records_of(text: str, delimiter: str = ",") -> Iterator[Record]:
    """Yield the records of a CSV text that hold any value; a byte order mark is passed over.

    Args:
        text: The text.
        delimiter: Sign between values.

    Raises:
        FileRefusedError: UNCLOSED_QUOTE: a value is longer than any value can be.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter)
    line = 0
    try:
        for raw in reader:
            first, line = line + 1, reader.line_num
            cells = tuple([value.strip() for value in raw])
            if any(cells):
                yield Record(first, line, cells, tuple(raw))
    except csv.Error as error:
        raise FileRefusedError(
            f"A value that begins after line {line} is longer than any value can be; close its quote, or remove it.",
            code="UNCLOSED_QUOTE",
            details={"line": line + 1},
        ) from error


def values_of(record: Record, names: Sequence[str]) -> dict[str, str]:
    """Return the values of a record by column; columns without a value are empty. Errors as for ``filled_values``."""
    return {**dict.fromkeys(names, ""), **filled_values(record, names)}


def filled_values(record: Record, names: Sequence[str]) -> dict[str, str]:
    """Return the values of a record by column; columns without a value are left out.

    Args:
        record: The record.
        names: Columns in their order.

    Raises:
        RefusedRowError: UNCLOSED_QUOTE, BAD_TEXT or TOO_MANY_VALUES.
    """
    cells = record.cells
    if not "".join(record.raw).isprintable():  # told at once of nearly every row
        _check_text(record)
    if len(cells) > len(names) and any(cells[len(names) :]):
        raise RefusedRowError("TOO_MANY_VALUES", "The row has more values than columns.", "Quote values with commas.")
    return {name: value for name, value in zip(names, cells, strict=False) if value}


def _check_text(record: Record) -> None:
    if any("\n" in value or "\r" in value for value in record.raw):
        raise RefusedRowError(
            "UNCLOSED_QUOTE",
            f"A value goes on from line {record.first} to line {record.last}, so that the rows between are not read.",
            f"Close the quote in line {record.first}, or remove it.",
        )
    if not all(is_printable(value) for value in record.cells):
        raise RefusedRowError("BAD_TEXT", "A value has characters that cannot be printed.", "Remove them.")


def is_printable(text: str) -> bool:
    """Return whether a text is free of characters that no name and no number has."""
    return _CONTROL.search(text) is None
