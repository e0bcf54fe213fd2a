"""Files: untrusted ones are read within limits of memory and time, and CSV is written in one form.

That form is RFC 4180 with the line ends of every other output, so that ``cut``, ``join`` and ``diff`` see no carriage
return: header first, quoted where needed.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, AnyStr, Final, Protocol, TextIO

#: Largest content that is read as a whole, packed or not: some four million rows of prices.
MAX_BYTES: Final = 256 * 2**20
_CHUNK: Final = 1 << 20


class TooLargeError(ValueError):
    """A file, or a line of one, is larger than the limit."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} is larger than {limit // 2**20:,} MiB")


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""
        ...


def read_at_most(stream: Readable, limit: int = MAX_BYTES) -> bytes:
    """Return the rest of a stream.

    Raises:
        TooLargeError: It has more bytes than ``limit``; no more than those were read.
    """
    parts, size = [], 0
    while part := stream.read(_CHUNK):
        size += len(part)
        if size > limit:
            raise TooLargeError("The file", limit)
        parts.append(part)
    return b"".join(parts)


def lines_of(stream: IO[AnyStr], limit: int = MAX_BYTES) -> Iterator[AnyStr]:
    """Yield the lines of a stream.

    Raises:
        TooLargeError: A line has more characters than ``limit``; no more than those were read.
    """
    while line := stream.readline(limit + 1):
        if len(line) > limit:
            raise TooLargeError("A line", limit)
        yield line


def write_csv(handle: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows to an open text file whose line ends are not translated (``newline=""``).

    Args:
        handle: Where to write.
        columns: Names in the header; a row has a value for each, None is an empty field.
        rows: What to write; a value's own line ends stay as they are, inside quotes.
    """
    writer = csv.DictWriter(handle, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as :func:`write_csv` writes them."""
    text = io.StringIO(newline="")
    write_csv(text, columns, rows)
    return text.getvalue()
