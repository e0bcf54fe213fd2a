r"""The form of CSV that this package writes: header first, quoted where needed (RFC 4180), line ends ``\n``.

Line ends are those of every other output, so that ``cut``, ``join`` and ``diff`` see no carriage return.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO


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
