"""Read the bytes of a CSV file into a table of text with line numbers. Structure only: values are checked elsewhere."""

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from prometheus.foundation.errors import FileRefusedError
from prometheus.foundation.files import MAX_BYTES, TooLargeError, read_at_most
from prometheus.ingestion.finding_table import FindingCollector

#: Name of the column of line numbers; no column of a header may start like this.
LINE: Final = "#line"
_CHUNK: Final = 1 << 22
_PIECE: Final = 1 << 16
#: Content of a compressed file that is kept before its whole size is known.
_KEPT: Final = 64 * 2**20
#: A compressed file that unpacks to no more than this is read whatever its ratio; no larger table of text exceeds the
#: ratio.
_SMALL: Final = 16 * 2**20
_MAX_RATIO: Final = 200
#: Most columns of a header.
_MAX_COLUMNS: Final = 1000
#: A character that text files do not have; a file that has it is read line by line.
_NO_SEPARATOR: Final = "\x1f"
_GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class TextTable:
    """A file as text.

    Attributes:
        frame: One String column for each header name, and ``LINE`` (Int64), the line in the file on which the row
            starts. Surrounding blanks are removed; an empty field is null.
        rows_read: Data rows in the file, those with the wrong number of fields included (they are not in ``frame``).
    """

    frame: pl.DataFrame
    rows_read: int


def refusal(code: str, reason: str, *, line: int | None = None, value: str | None = None) -> FileRefusedError:
    """Return the error for a file that cannot be read as a whole; it becomes one fatal finding."""
    return FileRefusedError(reason, code=code, details={"line": line, "value": value})


def read_bytes(path: Path) -> bytes:
    """Return the bytes of the file as they are on disk.

    Raises:
        FileRefusedError: It cannot be opened or read, or is larger than ``MAX_BYTES``.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _too_large("The file is")
        with path.open("rb") as stream:
            return read_at_most(stream)
    except TooLargeError:
        raise _too_large("The file is") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise refusal(
            "UNREADABLE_FILE", f"The file cannot be read ({reason}); check the path and its rights."
        ) from None


def decompress(raw: bytes) -> bytes:
    """Return the content of a gzip file.

    No more is kept than ``_KEPT`` bytes until the whole of it is known to be within the limits.

    Raises:
        FileRefusedError: It is no gzip, is damaged, ends early, or unpacks to more than a data file does.
    """
    if not raw:
        raise refusal("EMPTY_FILE", "The file is empty; ask for a new copy.")
    if not raw.startswith(_GZIP_MAGIC):
        raise refusal("NOT_GZIP", "The name says gzip, the content does not; rename the file to .csv or compress it.")
    parts: list[bytes] = []
    size, kept = 0, True
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            while part := stream.read(_CHUNK):
                size += len(part)
                _check_size(size, len(raw))
                kept = size <= _KEPT
                parts = [*parts, part] if kept else []
            if not kept:
                stream.seek(0)
                return read_at_most(stream)
    except EOFError:
        line = _lines_before_the_end(raw) + 1
        raise refusal(
            "TRUNCATED_GZIP", "The compressed file ends early, on this line; transfer it again.", line=line
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise refusal("CORRUPT_GZIP", f"The compressed file is damaged ({error}); transfer it again.") from None
    return b"".join(parts)


def _check_size(size: int, packed: int) -> None:
    if size > MAX_BYTES:
        raise _too_large("The content of the compressed file is")
    if size > _SMALL and size > _MAX_RATIO * packed:
        raise refusal(
            "GZIP_BOMB",
            f"The compressed file unpacks to more than {_MAX_RATIO} times its size, which no data file does; ask for "
            "a new copy, or unpack it yourself and load the .csv.",
        )


def _too_large(what: str) -> FileRefusedError:
    return refusal(
        "FILE_TOO_LARGE",
        f"{what} larger than {MAX_BYTES // 2**20} MiB, the most that one load reads; split it (prices by date) and "
        "load the parts.",
    )


def _lines_before_the_end(raw: bytes) -> int:
    """Return the number of line ends in a gzip file that ends early, read piece by piece."""
    decoder, lines, rest, full = zlib.decompressobj(wbits=31), 0, io.BytesIO(raw), False
    while not decoder.eof:
        piece = decoder.unconsumed_tail
        if not piece and not full and not (piece := rest.read(_PIECE)):
            break
        part = decoder.decompress(piece, _CHUNK)
        lines, full = lines + part.count(b"\n"), len(part) == _CHUNK
    return lines


def read_csv(content: bytes, findings: FindingCollector) -> TextTable:
    """Read a CSV file: UTF-8 (with or without byte order mark), comma, header in line 1, double quotes.

    Rows with too few or too many fields become findings and are left out; lines that are blank altogether are ignored.

    Args:
        content: The decompressed bytes.
        findings: Gets a finding for each ragged row.

    Raises:
        FileRefusedError: The file is empty, not UTF-8, holds NUL bytes, an unclosed quote or an unusable header.
    """
    text = decoded(content)
    header = _header(text)
    frame = _read_quickly(content, text, header)
    rows_read = 0 if frame is None else frame.height
    if frame is None:
        frame, rows_read = _read_carefully(text, header, findings)
    if rows_read == 0:
        raise refusal("NO_ROWS", "The file has a header and no rows; ask for a new copy.", line=1)
    return TextTable(frame, rows_read)


def checked_header(names: list[str]) -> list[str]:
    """Return column names trimmed and in lower case.

    Raises:
        FileRefusedError: A column name is empty, starts with ``#`` or occurs twice.
    """
    if len(names) > _MAX_COLUMNS:
        raise refusal(
            "BAD_HEADER", f"Line 1 has {len(names):,} columns, more than {_MAX_COLUMNS:,}: it is no header.", line=1
        )
    columns = [name.strip().lower() for name in names]
    for position, column in enumerate(columns, start=1):
        if not column or column.startswith("#"):
            raise refusal(
                "BAD_COLUMN_NAME", f"Column {position} has no usable name in the header; name it.", line=1, value=column
            )
    for column in columns:
        if columns.count(column) > 1:
            raise refusal("DUPLICATED_COLUMN", f"The column '{column}' occurs twice; remove one.", line=1, value=column)
    return columns


def decoded(content: bytes) -> str:
    """Return the text of a file.

    Raises:
        FileRefusedError: It is empty, packed although its name does not say so, not UTF-8, or holds NUL bytes.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise refusal("EMPTY_FILE", "The file is empty; ask for a new copy.")
    if content.startswith(_GZIP_MAGIC):
        raise refusal("GZIP_WITHOUT_NAME", "The content is gzip, the name does not say so; rename it to .csv.gz.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        raise refusal(
            "NOT_UTF8", f"The byte {byte} is not UTF-8; save the file as UTF-8.", line=line, value=byte
        ) from None
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise refusal("NUL_BYTE", "The line holds a NUL byte: the file is damaged; transfer it again.", line=line)
    return text


def _header(text: str) -> list[str]:
    first = text[: text.find("\n")] if "\n" in text else text
    try:
        names = next(csv.reader([first.rstrip("\r")], strict=True))
    except (csv.Error, StopIteration):
        raise refusal("BAD_HEADER", "Line 1 is not a readable header; it must name the columns.", line=1) from None
    return checked_header(names)


def _read_quickly(content: bytes, text: str, header: list[str]) -> pl.DataFrame | None:
    """Read a file at full speed, or return None where some line is not complete and correctly quoted.

    The parser pads a line with too few fields, skips none, and reads bad quotes somehow. So its answer counts only
    where the lines are known to be good: without quotes the commas must add up (it refuses a line with too many), with
    quotes each line must match the grammar.
    """
    quoted = '"' in text
    if quoted and not _lines_are_well_quoted(content, len(header)):
        return None
    try:
        frame = pl.read_csv(
            content,
            has_header=False,
            skip_rows=1,
            new_columns=header,
            infer_schema=False,
            quote_char='"' if quoted else None,
        )
    except pl.exceptions.PolarsError:
        return None
    if frame.width != len(header):
        return None
    if not quoted and text.count(",") != (len(header) - 1) * (frame.height + 1):
        return None
    return _trimmed(frame).with_columns(pl.int_range(2, frame.height + 2, dtype=pl.Int64).alias(LINE))


def _lines_are_well_quoted(content: bytes, fields: int) -> bool:
    try:
        lines = pl.read_csv(
            content,
            has_header=False,
            separator=_NO_SEPARATOR,
            quote_char=None,
            new_columns=["line"],
            infer_schema=False,
        )
    except pl.exceptions.PolarsError:
        return False
    field = r'(?:[^",\r]*|"(?:[^"\r]|"")*")'
    grammar = f"^{field}(?:,{field}){{{fields - 1}}}$"
    return lines.width == 1 and lines.select(pl.col("line").str.contains(grammar).fill_null(value=False).all()).item()


def _read_carefully(text: str, header: list[str], findings: FindingCollector) -> tuple[pl.DataFrame, int]:
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows_read, start = 0, 1
    try:
        next(reader)
        start = reader.line_num + 1
        for row in reader:
            line, start = start, reader.line_num + 1
            if not row:
                continue
            if start - line > 1:
                raise refusal("UNCLOSED_QUOTE", "A quote opened on this line is not closed on it; close it.", line=line)
            rows_read += 1
            if len(row) != len(header):
                few = len(row) < len(header)
                findings.add(
                    "TOO_FEW_FIELDS" if few else "TOO_MANY_FIELDS",
                    f"The row has {len(row)} fields, the header {len(header)}; "
                    + ("complete it." if few else "quote values that hold a comma."),
                    line=line,
                )
                continue
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        if "field larger" in str(error) and '"' not in text.split("\n", start)[start - 1]:
            raise refusal(
                "FIELD_TOO_LONG",
                f"A field of this line has more than {csv.field_size_limit():,} characters; correct the line.",
                line=start,
            ) from None
        if "end of data" in str(error) or "field larger" in str(error):
            raise refusal(
                "UNCLOSED_QUOTE", "A quote opened on this line is not closed on it; close it.", line=start
            ) from None
        raise refusal(
            "BAD_QUOTE", f"The quotes of this line do not fit ({error}); double inner quotes.", line=start
        ) from None
    frame = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    return _trimmed(frame).with_columns(pl.Series(LINE, lines, dtype=pl.Int64)), rows_read


def _trimmed(frame: pl.DataFrame) -> pl.DataFrame:
    trimmed = pl.all().str.strip_chars()
    return frame.with_columns(pl.when(trimmed != "").then(trimmed).name.keep())
