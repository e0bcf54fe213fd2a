"""Read a file of JSON lines into a table of text as of a CSV file: one object a line, whose names are the columns."""

import json
from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.reading import LINE, TextTable, checked_header, decoded, refusal

_LOT: Final = frozenset({"lot_id", "quantity"})


class _NotALineError(Exception):
    """The reason why a line is not one object."""


def read_json_lines(content: bytes, findings: FindingCollector) -> TextTable:
    """Read JSON lines: UTF-8, an object a line; numbers stay the text they came as, null and absent are empty.

    A list of ``{"lot_id": ..., "quantity": ...}`` becomes ``LOT=SHARES;LOT=SHARES``. Lines that are no such object
    become findings and are left out; blank lines are ignored.

    Args:
        content: The decompressed bytes.
        findings: Gets a finding for each bad line.

    Raises:
        FileRefusedError: The file is empty, not UTF-8, holds NUL bytes, has no line or an unusable name.
    """
    rows: list[dict[str, str | None]] = []
    lines: list[int] = []
    read = 0
    for number, line in enumerate(decoded(content).split("\n"), start=1):
        if not line.strip():
            continue
        read += 1
        try:
            rows.append(_row(line))
        except _NotALineError as error:
            findings.add("BAD_JSON", f"The line {error}; write one object of keys and values a line.", line=number)
            continue
        lines.append(number)
    if not read:
        raise refusal("NO_ROWS", "The file has no rows; ask for a new copy.")
    names = checked_header(list(dict.fromkeys(name for row in rows for name in row)))
    columns = {name: [row.get(name) for row in rows] for name in names}
    frame = pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))
    return TextTable(frame.with_columns(pl.Series(LINE, lines, dtype=pl.Int64)), read)


def _row(line: str) -> dict[str, str | None]:
    try:
        document = json.loads(line, object_pairs_hook=_once, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise _NotALineError(f"is not JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise _NotALineError("is not an object")
    return {str(name).strip().lower(): _text(value) for name, value in document.items()}


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise _NotALineError(f"has the name '{name}' twice")
        document[name] = value
    return document


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip() or None
        case list():
            if all(isinstance(part, dict) and part.keys() == _LOT for part in value):
                return ";".join(f"{_text(part['lot_id'])}={_text(part['quantity'])}" for part in value) or None
    return json.dumps(value)
