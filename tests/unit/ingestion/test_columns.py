"""Columns of text against their specification."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prometheus.ingestion.columns import Bound, Column, FieldType, check_column, value_column
from prometheus.ingestion.finding_table import FindingCollector
from prometheus.ingestion.reading import LINE

TODAY = date(2024, 6, 28)
PRICE = Column("x", FieldType.NUMBER, bounds=(Bound("LOW", above=0.0, closed=False), Bound("HIGH", below=100.0)))


def check(column, *values: str | None):
    """Values after the check, and the findings as (line, code)."""
    frame = pl.DataFrame({"x": values, LINE: range(2, 2 + len(values))}, schema={"x": pl.String, LINE: pl.Int64})
    findings = FindingCollector("f.csv")
    checked = check_column(frame, column, TODAY, findings)
    return checked, [(finding.line, finding.code) for finding in findings.table()]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1", "1"), ("+1.50", "+1.50"), (".5", ".5"), ("5.", "5."), ("007", "007"), ("1e1", "10"), ("1.5E-3", "0.0015"),
        ("2.50e+1", "25.0"),
    ],
)  # fmt: skip
def test_number_stays_the_text_it_was(text, stored):
    """Plain decimals are kept character by character, exponents are written out exactly."""
    checked, findings = check(PRICE, text)
    assert findings == []
    assert checked["x"].to_list() == [stored]
    assert Decimal(stored) == Decimal(text)
    assert checked[value_column("x")].to_list() == [float(text)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "EMPTY_FIELD"), ("abc", "NOT_A_NUMBER"), ("1.2.3", "NOT_A_NUMBER"), ("--1", "NOT_A_NUMBER"),
        (".", "NOT_A_NUMBER"), ("1,5", "NOT_A_NUMBER"), ("٣", "NOT_A_NUMBER"), ("1_000", "THOUSANDS_SEPARATOR"),
        ("1,000,000.5", "THOUSANDS_SEPARATOR"), ("1 000", "THOUSANDS_SEPARATOR"), ("1'000", "THOUSANDS_SEPARATOR"),
        ("nan", "NAN_OR_INFINITY"), ("-Infinity", "NAN_OR_INFINITY"), ("1e31", "OUT_OF_RANGE"),
        ("1e-999", "OUT_OF_RANGE"), ("0", "LOW"), ("-1", "LOW"), ("101", "HIGH"), ("9" * 65, "OUT_OF_RANGE"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(text, code):
    """Each way of not being a number in range has its code, and the field becomes null."""
    checked, findings = check(PRICE, "1", text or None)
    assert findings == [(3, code)]
    assert checked["x"].to_list() == ["1", None]


@given(number=st.decimals(min_value="0.00000001", max_value=100, places=8))
def test_every_decimal_in_range_passes_unchanged(number):
    """A number that fits its column is never changed nor remarked."""
    checked, findings = check(PRICE, format(number, "f"))
    assert findings == []
    assert Decimal(checked["x"][0]) == number


@given(text=st.text(max_size=12))
def test_any_text_is_a_number_or_a_finding(text):
    """No text crashes the check: it is a decimal the database can read, or it is reported."""
    checked, findings = check(PRICE, text or None)
    stored = checked["x"][0]
    assert (stored is None) == bool(findings)
    if stored is not None:
        assert 0 < Decimal(stored) <= 100


def test_too_many_decimals_are_rounded_or_refused():
    """Market data are rounded with one remark for the column, the ledger refuses each row; zeros do not count."""
    _, findings = check(PRICE, "1.123456789", "1.1234567891", "1.12345678000")
    assert findings == [(2, "ROUNDED")]
    cash = Column("x", FieldType.NUMBER, decimals=2, exact=True)
    _, findings = check(cash, "1.001", "1.10", "1.100", "1.00000001")
    assert findings == [(2, "TOO_MANY_DECIMALS"), (5, "TOO_MANY_DECIMALS")]


def test_whole_numbers_may_carry_a_zero_fraction():
    """Programs that keep counts as floats write 5.0; that is five, 5.5 is not."""
    volume = Column("x", FieldType.INTEGER, empty_allowed=True)
    checked, findings = check(volume, "5.0", "5.", "5", None, "5.5")
    assert checked["x"].to_list() == ["5", "5", "5", None, None]
    assert findings == [(6, "NOT_A_WHOLE_NUMBER")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2024-06-29", "DATE_IN_FUTURE"), ("1899-12-31", "DATE_TOO_EARLY"), ("2023-02-29", "BAD_DATE"),
        ("20240627", "BAD_DATE"), ("2024-06-27T00:00:00", "BAD_DATE"), ("0000-01-01", "DATE_TOO_EARLY"),
        ("12024-06-27", "BAD_DATE"),
    ],
)  # fmt: skip
def test_bad_dates_are_refused(text, code):
    """Only days of the calendar from 1900 through today, written YYYY-MM-DD, are dates."""
    checked, findings = check(Column("x", FieldType.DATE), "2024-06-28", "1900-01-01", text)
    assert findings == [(4, code)]
    assert checked["x"].to_list() == [date(2024, 6, 28), date(1900, 1, 1), None]


def test_announced_dates_may_lie_ahead():
    """Where a format allows it, a date may be some days after today."""
    _, findings = check(Column("x", FieldType.DATE, days_ahead=2), "2024-06-30", "2024-07-01")
    assert findings == [(3, "DATE_IN_FUTURE")]


def test_booleans_are_normalised():
    """True, false, 1 and 0 in any case are accepted."""
    checked, findings = check(Column("x", FieldType.BOOLEAN), "TRUE", "0", "False", "1", "yes")
    assert checked["x"].to_list() == ["true", "false", "false", "true", None]
    assert findings == [(6, "BAD_BOOLEAN")]


def test_choices_are_exact():
    """A word of another case is not the word."""
    column = Column("x", FieldType.CHOICE, choices=("US", "CA"), choice_code="UNKNOWN_REGION")
    checked, findings = check(column, "US", "us")
    assert checked["x"].to_list() == ["US", None]
    assert findings == [(3, "UNKNOWN_REGION")]


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (Bound("B", above=0.0), "must be at least 0"),
        (Bound("B", above=0.0, closed=False), "must be greater than 0"),
        (Bound("B", below=1e9), "must be at most 1e+09"),
        (Bound("B", below=1.0, closed=False), "must be less than 1"),
        (Bound("B", above=0.0, below=1.0), "must lie from 0 through 1"),
        (Bound("B", above=0.0, below=1.0, closed=False), "must lie between 0 and 1"),
    ],
)
def test_limits_are_said_in_words(bound, words):
    """The sentence of a finding names the limits."""
    frame = pl.DataFrame({"x": ["-5", "5e9"], LINE: [2, 3]}, schema_overrides={LINE: pl.Int64})
    findings = FindingCollector("f.csv")
    check_column(frame, Column("x", FieldType.NUMBER, bounds=(bound,)), TODAY, findings)
    assert words in findings.table()[0].reason
