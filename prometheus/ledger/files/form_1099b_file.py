"""A broker's Form 1099-B as a CSV file that a person types in or exports, read into the rows of the form."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.lots import Term
from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.files.records import records_of, values_of
from prometheus.ledger.files.values import read_day, read_number, read_yes
from prometheus.ledger.reports.form_1099b import Row1099B

REQUIRED: Final = ("account", "security", "quantity", "sold_on", "proceeds")
OPTIONAL: Final = ("acquired_on", "basis", "disallowed", "term", "covered")
_DATES: Final = ("%Y-%m-%d", "%m/%d/%Y")
_VARIOUS: Final = frozenset({"", "VARIOUS"})
_TERMS: Final[Mapping[str, Term]] = {
    "": Term.NONE,
    "SHORT": Term.SHORT,
    "SHORT-TERM": Term.SHORT,
    "LONG": Term.LONG,
    "LONG-TERM": Term.LONG,
}


def read_form_1099b(text: str) -> tuple[Row1099B, ...]:
    """Read a form from CSV with the columns account,security,quantity,sold_on,proceeds and any of the optional ones.

    A form with a row that cannot be read is refused as a whole: compared without it, the row would be missing.

    Args:
        text: The file. Dates are YYYY-MM-DD or MM/DD/YYYY, ``acquired_on`` may be VARIOUS or empty, ``security`` is a
            ticker or a CUSIP number, ``term`` SHORT, LONG or empty, ``covered`` yes or no (yes where empty).

    Raises:
        FileRefusedError: MISSING_COLUMN, UNKNOWN_COLUMN, or BAD_ROWS with the first row and its defect.

    Source: Form 1099-B boxes 1a to 1g, 2 and 12.
    """
    records = list(records_of(text))
    names = [name.lower() for name in records[0].cells] if records else []
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise FileRefusedError(
            f"The header lacks {', '.join(missing)}; the columns are {','.join(REQUIRED)} and, where known, "
            f"{', '.join(OPTIONAL)}.",
            code="MISSING_COLUMN",
        )
    unknown = [name for name in names if name not in {*REQUIRED, *OPTIONAL}]
    if unknown:
        raise FileRefusedError(
            f"The column '{unknown[0]}' is not known; known are {', '.join((*REQUIRED, *OPTIONAL))}.",
            code="UNKNOWN_COLUMN",
        )
    rows = []
    for record in records[1:]:
        try:
            rows.append(_row(values_of(record, names)))
        except RefusedRowError as error:
            raise FileRefusedError(f"Form 1099-B, {error.in_row(record.last)}", code="BAD_ROWS") from None
    return tuple(rows)


def _row(values: Mapping[str, str]) -> Row1099B:
    for name in ("account", "security"):
        if not values[name]:
            raise RefusedRowError("NO_VALUE", f"The row has no {name}.", f"Fill in the {name}.")
    term = values.get("term", "").upper()
    if term not in _TERMS:
        raise RefusedRowError("BAD_TERM", f"'{term}' is no term.", "Write SHORT, LONG, or nothing.")
    acquired, covered = values.get("acquired_on", ""), values.get("covered", "")
    return Row1099B(
        account=values["account"],
        security=values["security"].upper(),
        quantity=_number(values, "quantity"),
        acquired_on=None if acquired.upper() in _VARIOUS else _day(values, "acquired_on"),
        sold_on=_day(values, "sold_on"),
        proceeds=_number(values, "proceeds"),
        basis=read_number(values.get("basis", ""), "basis"),
        disallowed=read_number(values.get("disallowed", ""), "disallowed") or Decimal(0),
        term=_TERMS[term],
        is_covered=read_yes(covered, "covered") if covered else True,
    )


def _day(values: Mapping[str, str], column: str) -> date:
    return read_day(values[column], column, _DATES)


def _number(values: Mapping[str, str], column: str) -> Decimal:
    number = read_number(values[column], column)
    if number is None or number < 0:
        raise RefusedRowError(
            "BAD_NUMBER", f"The {column} is empty or negative.", "Fill it in as the form shows it, without a sign."
        )
    return number
