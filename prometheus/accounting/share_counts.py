"""Share counts that a ratio changes: what the ratio is, and how lots are rounded so that the position stays right."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.domain.lots import TaxLot
from prometheus.domain.money import SHARE_STEP, nearest_step
from prometheus.foundation.errors import AccountingError

#: Sources quote split factors to six places: 1 for 3 comes as 0.333333.
_FACTOR_TOLERANCE: Final = Fraction(1, 1_000_000)
_LARGEST_SHARE_COUNT: Final = 1000


def split_ratio(value: Decimal) -> Fraction:
    """Return a split's ratio of new to old shares.

    A ratio is a pair of small whole numbers; a decimal factor is that pair rounded to about six places. The fraction
    with the smallest denominator within one millionth of the factor is taken (0.333333 is 1 for 3), up to a thousand;
    a factor with none is taken as it stands.

    Raises:
        AccountingError: The factor is not positive.
    """
    if not value > 0:
        raise AccountingError(f"a split by a factor of {value} is impossible; the factor is new shares for an old one.")
    exact = Fraction(value)
    for old in range(1, _LARGEST_SHARE_COUNT + 1):
        new = round(exact * old)
        if new > 0 and abs(Fraction(new, old) - exact) < _FACTOR_TOLERANCE:
            return Fraction(new, old)
    return exact


def scaled_lots(lots: Iterable[TaxLot], ratio: Fraction) -> Iterator[tuple[TaxLot, TaxLot | None]]:
    """Yield each lot with what a ratio of new to old shares makes of it; bases and dates stay.

    Lots are kept in steps of 0.0001 share. Where the ratio does not end there, the lots' counts are rounded from the
    running total, so that the position is right to half a step and no lot is off by more than one.

    Yields:
        The lot before and after; None after where rounding leaves it no shares.
    """
    exact, placed = Fraction(0), Decimal(0)
    for lot in lots:
        exact += Fraction(lot.quantity) * ratio
        total = nearest_step(Decimal(exact.numerator) / Decimal(exact.denominator), SHARE_STEP)
        quantity = total - placed
        placed = total
        yield lot, replace(lot, quantity=quantity) if quantity > 0 else None
