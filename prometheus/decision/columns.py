"""A column of a stored document as one text: its values parted by spaces, what repeats as value*times.

A list of a few hundred numbers costs a database many times the bytes of its digits; as a text it costs the digits, and
it is written, hashed and read at once. A column with a value that holds a space or an asterisk stays a list.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Final

_SPAN: Final = re.compile(r"(\d+)\.\.(\d+)")


def packed(values: Sequence[str], *, repeats: bool = False) -> str | list[str]:
    """Return values as one text, or as the list they are where they hold what parts or counts values.

    Args:
        values: Texts; an empty text stands for no value.
        repeats: Whether neighbours are often alike.
    """
    text = " ".join(values)
    if not values or "*" in text or text.count(" ") != len(values) - 1:
        return list(values)
    if not repeats:
        return text
    counted = ((value, len(list(alike))) for value, alike in groupby(values))
    return " ".join(value if count == 1 else f"{value}*{count}" for value, count in counted)


def unpacked(stored: str | Sequence[str]) -> list[str]:
    """Return the values of a packed column."""
    if not isinstance(stored, str):
        return list(stored)
    values: list[str] = []
    for part in stored.split(" "):
        value, repeated, count = part.partition("*")
        if repeated:
            values.extend([value] * int(count))
        else:
            values.append(value)
    return values


def packed_positions(positions: Iterable[int]) -> str | list[str]:
    """Return positions as one text; a stretch that rises by one is written first..last."""
    stretches: list[list[int]] = []
    for position in positions:
        if stretches and position >= 0 and stretches[-1][-1] == position - 1 and stretches[-1][0] >= 0:
            stretches[-1][-1] = position
        else:
            stretches.append([position, position])
    return packed([f"{a}..{b}" if b > a else str(a) for a, b in stretches], repeats=True)


def unpacked_positions(stored: str | Sequence[str | int]) -> list[int]:
    """Return the positions of a packed column, or of one that was stored as numbers."""
    return list(_positions(unpacked(stored) if isinstance(stored, str) else map(str, stored)))


def _positions(parts: Iterable[str]) -> Iterator[int]:
    for part in parts:
        stretch = _SPAN.fullmatch(part)
        if stretch is None:
            yield int(part)
        else:
            yield from range(int(stretch[1]), int(stretch[2]) + 1)


def packed_names(names: Sequence[str]) -> dict[str, str | list[str]]:
    """Return a column of few different names: each name once, and which of them stands where."""
    known = {name: str(i) for i, name in enumerate(sorted(set(names)))}
    return {"names": list(known), "index": packed([known[name] for name in names], repeats=True)}


def unpacked_names(stored: Mapping[str, str | Sequence[str]] | Sequence[str]) -> list[str]:
    """Return the names of such a column, or of one that was stored as a list."""
    if not isinstance(stored, Mapping):
        return list(stored)
    names = stored["names"]
    return [names[int(i)] for i in unpacked(stored["index"])]


def plain(value: Decimal) -> str:
    """Return a decimal without trailing zeros and without an exponent."""
    return format(value.normalize(), "f")
