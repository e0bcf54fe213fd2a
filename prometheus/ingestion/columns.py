"""Definitions of columns as data, and the vectorised check of a column of text against its definition.

A number keeps its text, which the database parses into NUMERIC. The check adds a float column ``#value:<name>``, which
rules compare and which is not stored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

import polars as pl

from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.reading import LINE

FIRST_DATE: Final = date(1900, 1, 1)
#: Identifiers of accounts, lots, benchmarks and strategies.
IDENTIFIER: Final = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}$"
# [0-9]: the class \d holds the digits of every script.
_PLAIN_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$"
_EXPONENT_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,3}$"
_ISO_DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_CONTROL: Final = r"[\x00-\x1f\x7f]"
_THOUSANDS: Final = re.compile(r"[+-]?[0-9]{1,3}([, '_][0-9]{3})+(\.[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_BOOLEANS: Final[Mapping[str, str]] = {"true": "true", "1": "true", "false": "false", "0": "false"}
#: Most characters of an amount, price or weight; the database refuses some thousand digits.
_MAX_LENGTH: Final = 64
#: Range of the exponent of an amount, price or weight.
_MAX_EXPONENT: Final = 30


class FieldType(StrEnum):
    """Type of a field."""

    TEXT = "text"
    DATE = "date"
    NUMBER = "number"
    INTEGER = "integer"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of a number.

    Attributes:
        code: Code of the finding.
        above: The value must be greater than this, or equal to it where ``closed``.
        below: The value must be less than this, or equal to it where ``closed``.
        closed: Whether the limits themselves are allowed.
        words: Text of the message instead of the limits.
    """

    code: str
    above: float = -float("inf")
    below: float = float("inf")
    closed: bool = True
    words: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a format.

    Attributes:
        name: As in the header.
        field_type: Its type.
        required: Whether the file must have it.
        empty_allowed: Whether a field may be empty (null after the check).
        decimals: Decimals that are stored (NUMBER).
        exact: Whether more decimals than that are refused, as in the ledger, or rounded with a remark.
        bounds: Checked in order; the first that fails is reported (NUMBER, INTEGER).
        choices: Allowed words (CHOICE).
        choice_code: Code of the finding for another word.
        pattern: Regular expression the whole text must match (TEXT).
        days_ahead: How far after today a date may lie (DATE).
    """

    name: str
    field_type: FieldType
    required: bool = True
    empty_allowed: bool = False
    decimals: int = 8
    exact: bool = False
    bounds: tuple[Bound, ...] = ()
    choices: tuple[str, ...] = ()
    choice_code: str = "UNKNOWN_CHOICE"
    pattern: str = r"^.{1,200}$"
    days_ahead: int = 0


def value_column(name: str) -> str:
    """Return the name of the float column of a number."""
    return f"#value:{name}"


def check_column(frame: pl.DataFrame, column: Column, today: date, findings: FindingCollector) -> pl.DataFrame:
    """Check one column and return the frame with it normalised.

    Dates become Date, booleans ``true``/``false``, numbers plain decimal text plus a float column; what is wrong
    becomes null and a fatal finding.

    Args:
        frame: Columns of text, with ``LINE``.
        column: Its definition.
        today: Latest date of things that have happened.
        findings: Gets one finding for each bad field.
    """
    if not column.empty_allowed and column.field_type is not FieldType.IGNORED:
        empty = frame.filter(pl.col(column.name).is_null())
        findings.add_rows(empty, "EMPTY_FIELD", f"'{column.name}' is empty; fill it in.", column=column.name)
    match column.field_type:
        case FieldType.TEXT:
            return _check_text(frame, column, findings)
        case FieldType.DATE:
            return _check_date(frame, column, today, findings)
        case FieldType.NUMBER | FieldType.INTEGER:
            return _check_number(frame, column, findings)
        case FieldType.CHOICE:
            bad = ~pl.col(column.name).is_in(column.choices)
            reason = f"'{column.name}' must be one of {', '.join(column.choices)}."
            return _refuse(frame, column, bad, column.choice_code, reason, findings)
        case FieldType.BOOLEAN:
            lower = pl.col(column.name).str.to_lowercase()
            bad = ~lower.is_in(list(_BOOLEANS))
            frame = _refuse(frame, column, bad, "BAD_BOOLEAN", f"'{column.name}' must be true or false.", findings)
            return frame.with_columns(lower.replace(dict(_BOOLEANS)).alias(column.name))
        case FieldType.IGNORED:
            return frame


def _refuse(
    frame: pl.DataFrame, column: Column, bad: pl.Expr, code: str, reason: str | pl.Expr, findings: FindingCollector
) -> pl.DataFrame:
    """Report the fields where ``bad`` holds and make them null; a null field is not bad."""
    rows = frame.filter(bad)
    if rows.is_empty():
        return frame
    findings.add_rows(rows, code, reason, column=column.name)
    return frame.with_columns(pl.when(~bad).then(pl.col(column.name)).alias(column.name))


def _check_text(frame: pl.DataFrame, column: Column, findings: FindingCollector) -> pl.DataFrame:
    # Distinct values only: a million rows have a few hundred tickers.
    distinct = frame.select(pl.col(column.name).unique()).drop_nulls()
    text = pl.col(column.name)
    wrong = distinct.filter(text.str.contains(_CONTROL) | ~text.str.contains(column.pattern))[column.name]
    if wrong.is_empty():
        return frame
    reason = f"'{column.name}' has characters or a length that no such name has; correct it."
    return _refuse(frame, column, text.is_in(wrong.implode()), "BAD_TEXT", reason, findings)


def _check_date(frame: pl.DataFrame, column: Column, today: date, findings: FindingCollector) -> pl.DataFrame:
    text = pl.col(column.name)
    parsed = text.str.to_date("%Y-%m-%d", strict=False)
    bad = text.is_not_null() & (parsed.is_null() | ~text.str.contains(_ISO_DATE))
    reason = f"'{column.name}' is not a date of the calendar written YYYY-MM-DD."
    frame = _refuse(frame, column, bad, "BAD_DATE", reason, findings).with_columns(parsed.alias(column.name))
    latest = today + timedelta(days=column.days_ahead)
    early = f"'{column.name}' lies before {FIRST_DATE}; correct the year."
    frame = _refuse(frame, column, pl.col(column.name) < FIRST_DATE, "DATE_TOO_EARLY", early, findings)
    late = f"'{column.name}' lies after {latest}, in the future; correct it or load the file on that day."
    return _refuse(frame, column, pl.col(column.name) > latest, "DATE_IN_FUTURE", late, findings)


def _check_number(frame: pl.DataFrame, column: Column, findings: FindingCollector) -> pl.DataFrame:
    name = column.name
    text = pl.col(name)
    long = f"'{name}' has more than {_MAX_LENGTH} characters; correct it."
    frame = _refuse(frame, column, text.str.len_bytes() > _MAX_LENGTH, "OUT_OF_RANGE", long, findings)
    plain = text.str.contains(_PLAIN_NUMBER)
    odd = frame.filter(~plain).select(LINE, name)
    if not odd.is_empty():
        frame = _spell_out(frame, odd, name)
        bad = frame.filter(~plain).select(LINE, name)
        bad = bad.with_columns(
            pl.Series("#code", [_number_code(value) for value in bad[name]], dtype=pl.String),
            pl.Series("#reason", [_number_reason(name, value) for value in bad[name]], dtype=pl.String),
        )
        for (code,), rows in bad.group_by("#code", maintain_order=True):
            findings.add_rows(rows, str(code), pl.col("#reason"), column=name)
        frame = frame.with_columns(pl.when(plain).then(text).alias(name))
    if column.field_type is FieldType.INTEGER:
        whole = f"'{name}' must be a whole number."
        frame = _refuse(frame, column, text.str.contains(r"\.0*[1-9]"), "NOT_A_WHOLE_NUMBER", whole, findings)
        frame = frame.with_columns(text.str.replace(r"\.0*$", ""))
    else:
        frame = _check_decimals(frame, column, findings)
    value = text.cast(pl.Float64)
    for bound in column.bounds:
        outside = _outside(value, bound)
        frame = _refuse(frame, column, outside, bound.code, f"'{name}' {_limits(bound)}.", findings)
    return frame.with_columns(value.alias(value_column(name)))


def _check_decimals(frame: pl.DataFrame, column: Column, findings: FindingCollector) -> pl.DataFrame:
    longer = pl.col(column.name).str.contains(rf"\.[0-9]{{{column.decimals}}}[0-9]*[1-9]")
    if column.exact:
        reason = f"'{column.name}' has more than {column.decimals} decimals, which the ledger does not round; round it."
        return _refuse(frame, column, longer, "TOO_MANY_DECIMALS", reason, findings)
    rows = frame.filter(longer)
    if not rows.is_empty():
        findings.add_rows(
            rows.head(1),
            "ROUNDED",
            f"'{column.name}' has more than {column.decimals} decimals in {rows.height:,} rows, here in the first; "
            "they are stored rounded.",
            column=column.name,
            fatal=False,
        )
    return frame


def _outside(value: pl.Expr, bound: Bound) -> pl.Expr:
    if bound.closed:
        return (value < bound.above) | (value > bound.below)
    return (value <= bound.above) | (value >= bound.below)


def _limits(bound: Bound) -> str:
    if bound.words:
        return bound.words
    low, high = f"{bound.above:,g}", f"{bound.below:,g}"
    if bound.below == float("inf"):
        return f"must be {'at least' if bound.closed else 'greater than'} {low}"
    if bound.above == -float("inf"):
        return f"must be {'at most' if bound.closed else 'less than'} {high}"
    return f"must lie {'from' if bound.closed else 'between'} {low} {'through' if bound.closed else 'and'} {high}"


def _spell_out(frame: pl.DataFrame, odd: pl.DataFrame, name: str) -> pl.DataFrame:
    """Write numbers with an exponent as plain decimals, exactly."""
    scientific = odd.filter(pl.col(name).str.contains(_EXPONENT_NUMBER))
    if scientific.is_empty():
        return frame
    spelled = {
        text: format(Decimal(text), "f")
        for text in scientific[name].unique()
        if abs(Decimal(text).adjusted()) <= _MAX_EXPONENT
    }
    return frame.with_columns(pl.col(name).replace(spelled))


def _number_code(text: str) -> str:
    if _NOT_FINITE.fullmatch(text):
        return "NAN_OR_INFINITY"
    if _THOUSANDS.fullmatch(text):
        return "THOUSANDS_SEPARATOR"
    return "OUT_OF_RANGE" if re.fullmatch(_EXPONENT_NUMBER, text) else "NOT_A_NUMBER"


def _number_reason(name: str, text: str) -> str:
    return {
        "NAN_OR_INFINITY": f"'{name}' is not a finite number; give a number or leave the row out.",
        "THOUSANDS_SEPARATOR": f"'{name}' has thousands separators; write digits and a decimal point only.",
        "OUT_OF_RANGE": f"'{name}' is too large or too small to store.",
        "NOT_A_NUMBER": f"'{name}' is not a number written with digits and a decimal point.",
    }[_number_code(text)]
