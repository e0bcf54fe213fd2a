"""Share counts and ratios."""

from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.ledger.shares import nearest_share, scaled, scaled_counts, split_ratio


def test_a_count_that_ends_keeps_no_fraction():
    """Ten shares 3:2 are fifteen, exactly."""
    assert scaled(Decimal(10), None, Fraction(3, 2)) == (Decimal(15), None)


def test_a_count_that_does_not_end_keeps_the_fraction():
    """Ten shares 1:3 are shown with nine decimals, and 3:1 gives ten back."""
    quantity, exact = scaled(Decimal(10), None, Fraction(1, 3))
    assert (quantity, exact) == (Decimal("3.333333333"), Fraction(10, 3))
    assert scaled(quantity, exact, Fraction(3)) == (Decimal(10), None)


def test_a_position_is_right_to_half_of_the_smallest_share():
    """Seven lots of one share by 1/7 are one share together."""
    counts = list(scaled_counts([(Decimal(1), None)] * 7, Fraction(1, 7)))
    assert sum(quantity for quantity, _ in counts) == 1


@pytest.mark.parametrize(("exact", "text"), [(Fraction(10), "10"), (Fraction(1, 3), "0.333333333"), (Fraction(0), "0")])
def test_a_count_has_one_text(exact, text):
    """Counts have no exponent and no trailing zeros."""
    assert str(nearest_share(exact)) == text


@pytest.mark.parametrize(
    ("value", "ratio"),
    [
        ("2", Fraction(2)),
        ("0.333333", Fraction(1, 3)),
        ("1.5", Fraction(3, 2)),
        ("0.0001", Fraction(1, 10000)),
        ("7.0", Fraction(7)),
        ("0.25", Fraction(1, 4)),
        ("0.955", Fraction(191, 200)),
        ("1.0003333", Fraction(10003333, 10000000)),
    ],
)
def test_a_factor_is_read_as_a_ratio(value, ratio):
    """The smallest denominator within one millionth of the factor is taken."""
    assert split_ratio(Decimal(value)) == ratio


def test_a_factor_of_nothing_is_refused():
    """A split by zero is impossible."""
    with pytest.raises(ValueError, match="impossible"):
        split_ratio(Decimal(0))
