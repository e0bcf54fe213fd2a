from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.domain.books import LotPick
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.files.values import (
    NumberFormat,
    picks_text,
    ratio_text,
    read_day,
    read_number,
    read_picks,
    read_ratio,
    read_yes,
)

EUROPEAN = NumberFormat(decimal=",", thousands=".")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", "5"),
        ("+5.25", "5.25"),
        (".5", "0.5"),
        ("5.", "5"),
        ("$5,000.00", "5000"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("1,234,567.891234567", "1234567.891234567"),
    ],
)
def test_a_number_is_read_as_people_write_it(text, number):
    """A sign, one dollar sign in front and groups of three digits are understood."""
    assert read_number(text, "amount") == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        "1$0$0",
        "$$5",
        "5$",
        "--5",
        "-$-5",
        "1e3",
        "NaN",
        "inf",
        "1,00",
        "1,0000",
        ",100",
        "5,00.1",
        "1 000",
        "٣",
        "(5)",
        "-",
        "$",
    ],
)
def test_a_slip_of_the_pen_is_no_number(text):
    """A text that is not one number beyond doubt is refused with its column."""
    with pytest.raises(RefusedRowError) as refused:
        read_number(text, "amount")
    assert (refused.value.code, "in amount" in str(refused.value)) == ("BAD_NUMBER", True)


def test_numbers_follow_the_format_of_the_file():
    """A decimal comma, points between thousands and parentheses are read where the format says so."""
    assert read_number("1.234,5", "amount", EUROPEAN) == Decimal("1234.5")
    assert read_number("(1,234.50)", "amount", NumberFormat(has_parentheses=True)) == Decimal("-1234.5")
    with pytest.raises(RefusedRowError):
        read_number("(-5)", "amount", NumberFormat(has_parentheses=True))


def test_an_empty_text_is_no_number_and_no_ratio():
    """Nothing is said by an empty value."""
    assert read_number("", "amount") is None
    assert read_ratio("") is None


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("2", Fraction(2)),
        ("2:1", Fraction(2)),
        ("1:3", Fraction(1, 3)),
        ("1/10", Fraction(1, 10)),
        ("1.5:1", Fraction(3, 2)),
    ],
)
def test_a_ratio_is_an_exact_fraction(text, ratio):
    """1:3 is one third and no decimal near it; it is written back as it was."""
    assert read_ratio(text) == ratio
    assert read_ratio(ratio_text(ratio)) == ratio


def test_only_a_quoted_factor_is_taken_for_the_ratio_it_was_rounded_from():
    """0.333333 is 1 for 3 as the factor of a split, and itself elsewhere."""
    assert read_ratio("0.333333", is_quoted=True) == Fraction(1, 3)
    assert read_ratio("0.333333") == Fraction(333333, 1000000)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0", "ZERO_RATIO"),
        ("1:0", "ZERO_RATIO"),
        ("1:2:3", "ZERO_RATIO"),
        (":2", "ZERO_RATIO"),
        ("-2", "NEGATIVE_QUANTITY"),
    ],
)
def test_an_impossible_ratio_is_refused(text, code):
    """No company splits by nothing, by three numbers or below zero."""
    with pytest.raises(RefusedRowError) as refused:
        read_ratio(text)
    assert refused.value.code == code


def test_dates_are_iso_or_of_the_formats_given():
    """The formats of a file are tried in their order; without any only ISO dates count."""
    assert read_day("2024-02-29", "date") == date(2024, 2, 29)
    assert read_day("02/29/2024", "date", ("%Y-%m-%d", "%m/%d/%Y")) == date(2024, 2, 29)
    for text, formats in (("02/29/2024", ()), ("2024-02-30", ()), ("29/02/2024", ("%m/%d/%Y",))):
        with pytest.raises(RefusedRowError, match="is no date"):
            read_day(text, "date", formats)


def test_lots_are_named_alone_or_with_shares():
    """One name takes all shares; several say how many each."""
    assert read_picks("L1", Decimal(3)) == (LotPick("L1", Decimal(3)),)
    picks = (LotPick("L=1", Decimal(1)), LotPick("L2", Decimal("2.5")))
    assert read_picks("L=1=1; L2=2.5", Decimal("3.5")) == picks
    assert read_picks(picks_text(picks), Decimal("3.5")) == picks
    with pytest.raises(RefusedRowError, match="how many shares"):
        read_picks("L1=1;L2", Decimal(2))


def test_yes_and_no():
    """An answer is yes, no or nothing."""
    assert [read_yes(text, "taxable") for text in ("yes", "TRUE", "no", "")] == [True, True, False, False]
    with pytest.raises(RefusedRowError, match="neither yes nor no"):
        read_yes("perhaps", "taxable")
