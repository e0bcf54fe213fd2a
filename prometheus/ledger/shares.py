"""Share counts: nine decimals, and the exact count behind them where a split does not end there.

A lot's count is a decimal that people and brokers can read. Where a ratio does not end at nine decimals the exact
fraction is kept beside it and is what the next ratio applies to, so that 1:3 and then 3:1 give back what was there.
Counts are not kept as fractions throughout: nearly all of them are decimals, and fractions cost ten times as much.
"""

from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Final

#: Smallest part of a share that is told apart.
SMALLEST_SHARE: Final = Decimal("0.000000001")
#: Most shares or money: beyond it a number is a slip of the pen, and arithmetic would no longer be exact.
MOST_SHARES: Final = Decimal(10) ** 12
_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
#: Sources quote split factors to six places: 1 for 3 comes as 0.333333.
_FACTOR_TOLERANCE: Final = Fraction(1, 1_000_000)
_LARGEST_SHARE_COUNT: Final = 1000


def nearest_share(exact: Fraction) -> Decimal:
    """Return a share count to nine decimals, halves to even."""
    quotient = _EXACT.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    return quotient.quantize(SMALLEST_SHARE, context=_EXACT).normalize(_EXACT) + Decimal(0)


def scaled(quantity: Decimal, exact: Fraction | None, ratio: Fraction) -> tuple[Decimal, Fraction | None]:
    """Multiply a share count by a ratio.

    Args:
        quantity: Shares, nine decimals.
        exact: The same before rounding; None where it is exact.
        ratio: New shares for one old.

    Returns:
        The new count to nine decimals, and before rounding; None where it is exact.
    """
    count = (Fraction(quantity) if exact is None else exact) * ratio
    rounded = nearest_share(count)
    return rounded, None if Fraction(rounded) == count else count


def scaled_counts(
    counts: Iterable[tuple[Decimal, Fraction | None]], ratio: Fraction
) -> Iterator[tuple[Decimal, Fraction | None]]:
    """Yield what a ratio makes of the share counts of one position, rounded from their running total.

    So the position is right to half of the smallest share, and no lot is off by more than one.

    Args:
        counts: As the arguments of ``scaled``, in the order of the lots.
        ratio: New shares for one old.
    """
    total, placed = Fraction(0), Decimal(0)
    for quantity, exact in counts:
        count = (Fraction(quantity) if exact is None else exact) * ratio
        total += count
        rounded = nearest_share(total)
        share = rounded - placed
        placed = rounded
        yield share, None if Fraction(share) == count else count


def split_ratio(value: Decimal) -> Fraction:
    """Return the ratio that a decimal factor stands for: 0.333333 is 1 for 3.

    A ratio is a pair of small whole numbers; a factor is that pair rounded to about six places. The fraction with the
    smallest denominator within one millionth of the factor is taken, up to a thousand; a factor with none as it stands.

    Raises:
        ValueError: The factor is not positive.
    """
    if not value > 0:
        raise ValueError(f"a split by a factor of {value} is impossible; the factor is new shares for an old one")
    exact = Fraction(value)
    for old in range(1, _LARGEST_SHARE_COUNT + 1):
        new = round(exact * old)
        if new > 0 and abs(Fraction(new, old) - exact) < _FACTOR_TOLERANCE:
            return Fraction(new, old)
    return exact
