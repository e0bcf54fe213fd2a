"""Reading untrusted files within limits of memory and time."""

from collections.abc import Iterator
from typing import IO, AnyStr, Final, Protocol

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
