"""Share counts of a whole history, day by day: what shows whether shares are held at the end of a window."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

#: Account and ticker.
Position = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Share counts at the end of each day on which something happened, and the splits between.

    Attributes:
        days: Those days, ascending.
        positions: At the end of each: shares by account and ticker.
        factors: At the end of each: shares that one share of the first day has become, by ticker.
    """

    days: tuple[date, ...] = ()
    positions: tuple[Mapping[Position, Decimal], ...] = ()
    factors: tuple[Mapping[str, Fraction], ...] = ()

    def _index(self, day: date) -> int:
        return bisect_right(self.days, day) - 1

    def factor(self, ticker: str, day: date) -> Fraction:
        """Return what one original share has become by the end of a day."""
        i = self._index(day)
        return self.factors[i].get(ticker, Fraction(1)) if i >= 0 else Fraction(1)

    def held(self, day: date) -> Mapping[Position, Decimal]:
        """Return the shares held at the end of a day, by account and ticker."""
        i = self._index(day)
        return self.positions[i] if i >= 0 else {}
