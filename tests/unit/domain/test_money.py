"""Cents shared out, numbers rounded to steps, and their one text."""

from decimal import Decimal

import pytest

from prometheus.domain.money import allocate_cents, nearest_step, plain_text


def test_cents_are_shared_out_exactly():
    """Parts follow the weights and add up to the amount, also for a negative one."""
    assert allocate_cents(Decimal("0.05"), [Decimal(1)] * 3) == (Decimal("0.02"), Decimal("0.02"), Decimal("0.01"))
    assert sum(allocate_cents(Decimal("-10.01"), [Decimal(3), Decimal("0.7"), Decimal(11)])) == Decimal("-10.01")
    assert allocate_cents(Decimal(0), []) == ()


@pytest.mark.parametrize(("quantity", "rounded"), [("33.33335", "33.3334"), ("33.33325", "33.3332")])
def test_nearest_step_rounds_halves_to_even(quantity, rounded):
    """A quantity between two steps goes to the nearer, a half to the even one."""
    assert nearest_step(Decimal(quantity), Decimal("0.0001")) == Decimal(rounded)


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.6710", "0.671"), ("100", "100"), ("1E+2", "100"), ("0.00", "0"), ("-0", "0"), ("-2.50", "-2.5")],
)
def test_equal_numbers_have_one_text(value, text):
    """A number's text has no exponent and no trailing zeros, so that hashes mean something."""
    assert plain_text(Decimal(value)) == text
