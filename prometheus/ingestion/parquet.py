"""Read a Parquet file into a table of text as of a CSV file.

A damaged Parquet file makes the decoder panic, and some abort the process (a length field that asks for more memory
than there is). So a child process decodes the file; if it dies, the load reports that the file cannot be read.
"""

import io
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

import polars as pl

from prometheus.foundation.files import MAX_BYTES
from prometheus.ingestion.columns import Column, FieldType
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.reading import LINE, TextTable, checked_header, refusal

_TEXT: Final = (pl.String, pl.Categorical, pl.Enum)
_WHOLE: Final = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_FLOAT: Final = (pl.Float32, pl.Float64)

#: Program of the child: Parquet on its standard input, Arrow on its standard output. A few bytes can decode to
#: gigabytes (dictionaries, runs), so it decodes a part at a time, counts the size of the text, and stops at the limit;
#: a single value that is too large ends it at its own memory limit.
_DECODER: Final = """
import io, resource, sys
import polars
limit, memory, most_rows, step = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
raw = io.BytesIO(sys.stdin.buffer.read())
rows = polars.scan_parquet(raw).select(polars.len()).collect().item()
if rows > most_rows:
    sys.exit(3)
size, parts = 0, [polars.read_parquet(raw, n_rows=0)]
for start in range(0, rows, step):
    part = polars.scan_parquet(raw).slice(start, step).collect()
    for column in part:
        text = column.dtype.base_type() in (polars.String, polars.Categorical, polars.Enum)
        size += 8 * part.height + ((column.cast(polars.String).str.len_bytes().sum() or 0) if text else 0)
        if size > limit:
            sys.exit(3)
    parts.append(part)
polars.concat(parts).write_ipc(sys.stdout.buffer)
"""
#: Exit code of the child where a limit was reached.
_TOO_MUCH: Final = 3
#: Address space of the child.
_MEMORY: Final = 4 * 2**30
#: Rows that are read of one file, and decoded at a time.
_MOST_ROWS: Final = 10_000_000
_STEP: Final = 500_000

#: Column types accepted for each field type; text is checked like the text of a CSV file.
_ACCEPTED: Final[Mapping[FieldType, tuple[type[pl.DataType], ...]]] = {
    FieldType.TEXT: _TEXT,
    FieldType.CHOICE: _TEXT,
    FieldType.DATE: (*_TEXT, pl.Date, pl.Datetime),
    FieldType.NUMBER: (*_TEXT, *_WHOLE, *_FLOAT, pl.Decimal),
    FieldType.INTEGER: (*_TEXT, *_WHOLE, *_FLOAT, pl.Decimal),
    FieldType.BOOLEAN: (*_TEXT, *_WHOLE, pl.Boolean),
}


def read_parquet(raw: bytes, columns: Mapping[str, Column], findings: FindingCollector) -> TextTable:
    """Read a Parquet file; the line of a row is its number plus 1, as if there were a header.

    A column of floats has no text: each value is taken as the shortest decimal that reads back as the same float, which
    restores prices and amounts of up to 15 digits (single precision: 6), with a remark.

    Args:
        raw: The file.
        columns: The columns of the format, by name; others are left out.
        findings: Gets the remarks.

    Raises:
        FileRefusedError: No Parquet file, damaged, without rows, or a column has a type that cannot be right.
    """
    if not raw:
        raise refusal("EMPTY_FILE", "The file is empty; ask for a new copy.")
    frame = _decoded(raw)
    frame.columns = checked_header(frame.columns)
    if frame.is_empty():
        raise refusal("NO_ROWS", "The file has no rows; ask for a new copy.")
    texts = [
        _as_text(frame[name], columns[name], findings)
        if name in columns and columns[name].field_type is not FieldType.IGNORED
        else pl.Series(name, [None], dtype=pl.String).extend_constant(None, frame.height - 1)
        for name in frame.columns
    ]
    text = pl.DataFrame(texts)
    trimmed = pl.all().str.strip_chars()
    text = text.with_columns(pl.when(trimmed != "").then(trimmed).name.keep())
    lines = pl.int_range(2, frame.height + 2, dtype=pl.Int64).alias(LINE)
    return TextTable(text.with_columns(lines), frame.height)


def _decoded(raw: bytes) -> pl.DataFrame:
    # -I: the child's code does not depend on the working directory or the environment
    limits = map(str, (2 * MAX_BYTES, _MEMORY, _MOST_ROWS, _STEP))
    child = subprocess.run([sys.executable, "-I", "-c", _DECODER, *limits], input=raw, capture_output=True, check=False)
    if child.returncode == _TOO_MUCH:
        raise refusal(
            "FILE_TOO_LARGE",
            f"The content of the Parquet file is larger than one load reads ({MAX_BYTES // 2**20} MiB of text, "
            f"{_MOST_ROWS:,} rows); split it (prices by date) and load the parts.",
        )
    if child.returncode != 0:
        raise refusal("CORRUPT_PARQUET", "This is no readable Parquet file; write or transfer it again.")
    return pl.read_ipc(io.BytesIO(child.stdout))


def _as_text(values: pl.Series, column: Column, findings: FindingCollector) -> pl.Series:
    accepted = _ACCEPTED[column.field_type]
    base = values.dtype.base_type()
    if base is pl.Null:
        return values.cast(pl.String)
    if base not in accepted:
        raise refusal(
            "WRONG_TYPE",
            f"The column '{column.name}' has type {values.dtype}; a {column.field_type} cannot be read from that.",
            value=str(values.dtype),
        )
    if base in _FLOAT:
        findings.add(
            "FLOAT_COLUMN",
            f"'{column.name}' is stored as {values.dtype}; each value is taken as the shortest decimal that gives the "
            "same float. Write decimals or text to be exact.",
            column=column.name,
            fatal=False,
        )
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S%.f").str.strip_suffix("T00:00:00")
    return values.cast(pl.String)
