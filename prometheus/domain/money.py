"""Rounding of money and shares: one rule for the whole ledger."""

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Final

CENT: Final = Decimal("0.01")
#: Smallest part of a share an account with fractional shares trades (the fleet's brokers quote four decimals).
SHARE_STEP: Final = Decimal("0.0001")
ONE_SHARE: Final = Decimal(1)


def to_cents(amount: Decimal) -> Decimal:
    """Round an amount of money to cents, halves to even; each line of the ledger is rounded, sums are not."""
    return amount.quantize(CENT, ROUND_HALF_EVEN)


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Round a non-negative quantity down to a whole number of steps."""
    return (quantity / step).to_integral_value(rounding=ROUND_DOWN) * step


def nearest_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Round a quantity to the nearest whole number of steps, halves to even."""
    return (quantity / step).to_integral_value(rounding=ROUND_HALF_EVEN) * step


def share_step(*, fractional: bool) -> Decimal:
    """Return the trading step of an account in shares."""
    return SHARE_STEP if fractional else ONE_SHARE


def allocate_cents(amount: Decimal, weights: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Divide an amount in proportion to weights, in cents, so that the parts add up to it exactly.

    Each part is its rounded proportion of what is left, and the last takes the rest.

    Args:
        amount: Money, base currency.
        weights: Positive numbers; an empty sequence gives no parts.
    """
    parts: list[Decimal] = []
    rest = sum(weights, Decimal(0))
    for weight in weights:
        part = amount if weight == rest else to_cents(amount * weight / rest)
        parts.append(part)
        amount -= part
        rest -= weight
    return tuple(parts)


def plain_text(value: Decimal) -> str:
    """Return the one text of a number: no exponent, no trailing zeros, so that equal numbers have equal texts."""
    return format(value.normalize() if value else Decimal(0), "f")
