"""The ledger's own CSV format, read into events and the terms that the rows state."""

from collections.abc import Sequence
from typing import Final

from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.builders import event_of
from prometheus.ledger.files.columns import COLUMNS, OPTIONAL, REQUIRED
from prometheus.ledger.files.event_file import EventFile, ReadRow, put_together
from prometheus.ledger.files.file_terms import statement_of
from prometheus.ledger.files.findings import RefusedRowError, RowFinding
from prometheus.ledger.files.records import Record, filled_values, records_of

LAYOUT: Final = "own format"
_OTHER_SIGNS: Final = ";\t|"


def read_own_format(text: str) -> EventFile:
    """Read CSV text with the columns date,account,ticker,action,quantity,amount and any of the optional ones.

    Rows are numbered as lines of the file. Empty lines are passed over, before the header too. A row that cannot be
    read is a finding; the rest is read as if it were not there.

    Raises:
        FileRefusedError: The text has no header, or the header lacks a column or has one that is not known.

    Source: docs/specs/broker_files.md, "The own format".
    """
    return read_own_records(list(records_of(text)))


def read_own_records(records: Sequence[Record]) -> EventFile:
    """Read the records of a file in the own format; the first is the header. Errors as for ``read_own_format``."""
    names = [name.lower() for name in records[0].cells] if records else []
    _check_header(names)
    rows: list[ReadRow] = []
    findings: list[RowFinding] = []
    for record in records[1:]:
        try:
            values = filled_values(record, names)
            event = event_of(values)
            rows.append(ReadRow(record.last, event, statement_of(record.last, event.trade_date, values)))
        except RefusedRowError as error:
            findings.append(error.in_row(record.last))
    return put_together(LAYOUT, rows, findings, len(records) - 1)


def is_own_format(cells: Sequence[str]) -> bool:
    """Return whether a record is a complete header of the own format, whatever else is in it."""
    return {cell.lower() for cell in cells} >= set(REQUIRED)


def split_cells(cells: Sequence[str]) -> Sequence[str]:
    """Return the names of a header whose signs between values are not commas; any other header as it is."""
    signs = [sign for sign in _OTHER_SIGNS if sign in cells[0]]
    return cells[0].split(signs[0]) if len(cells) == 1 and signs else cells


def is_own_header(cells: Sequence[str]) -> bool:
    """Return whether a record is meant as the header of the own format, complete or not."""
    names = {cell.lower() for cell in cells}
    return len(names & set(REQUIRED)) >= len(REQUIRED) - 2 or (len(names) > 1 and names <= set(COLUMNS))


def _check_header(names: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing and len(names) == 1 and any(sign in names[0] for sign in _OTHER_SIGNS):
        raise FileRefusedError(
            "The values of the header are not separated by commas; save the file as CSV with commas, or with quotes "
            "around values that contain them.",
            code="NOT_COMMAS",
        )
    if missing:
        raise FileRefusedError(
            f"The header lacks {', '.join(missing)}; the columns are {','.join(REQUIRED)} and, where needed, "
            f"{', '.join(OPTIONAL)}.",
            code="MISSING_COLUMN",
        )
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown or len(set(names)) < len(names):
        what = f"the columns {', '.join(unknown)}" if unknown else "a column twice"
        raise FileRefusedError(f"The header has {what}; known are {', '.join(COLUMNS)}.", code="UNKNOWN_COLUMN")
