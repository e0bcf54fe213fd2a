"""Amounts and rates that a legislature sets, each with the first year it holds for. Data, to be extended by year."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.foundation.errors import ConfigurationError


class FilingStatus(StrEnum):
    """Who files the return, as far as the limit on capital losses looks at it."""

    JOINT_OR_SINGLE = "JOINT_OR_SINGLE"
    SEPARATE = "SEPARATE"


@dataclass(frozen=True, slots=True)
class LossLimit:
    """Excess capital loss that may be taken against ordinary income in a year, USD.

    ``from_year`` is the first tax year it holds for, ``source`` where it stands.
    """

    from_year: int
    amounts: dict[FilingStatus, Decimal]
    source: str


@dataclass(frozen=True, slots=True)
class InclusionRate:
    """Part of a Canadian capital gain that is taxable, from a year on."""

    from_year: int
    rate: Decimal
    source: str


LOSS_LIMITS: Final = (
    LossLimit(
        1978,
        {FilingStatus.JOINT_OR_SINGLE: Decimal(3000), FilingStatus.SEPARATE: Decimal(1500)},
        "26 U.S.C. 1211(b), as amended for years after 1977",
    ),
)
INCLUSION_RATES: Final = (InclusionRate(2001, Decimal("0.5"), "Income Tax Act (Canada) s. 38(a)"),)
#: Stock bought on or after this day is a covered security: the broker reports its basis on Form 1099-B.
COVERED_FROM: Final = date(2011, 1, 1)


def loss_limit(year: int, status: FilingStatus) -> Decimal:
    """Return the loss that may be taken against ordinary income, USD, positive.

    Raises:
        ConfigurationError: No limit is recorded for the year.

    Source: 26 U.S.C. 1211(b).
    """
    found = [limit for limit in LOSS_LIMITS if limit.from_year <= year]
    if not found:
        raise ConfigurationError(
            f"No limit on capital losses is recorded for {year}; the first is for {LOSS_LIMITS[0].from_year}."
        )
    return max(found, key=lambda limit: limit.from_year).amounts[status]


def inclusion_rate(year: int) -> Decimal:
    """Return the taxable part of a Canadian capital gain as a fraction.

    Raises:
        ConfigurationError: No rate is recorded for the year.

    Source: Income Tax Act (Canada) s. 38(a).
    """
    found = [rate for rate in INCLUSION_RATES if rate.from_year <= year]
    if not found:
        raise ConfigurationError(
            f"No inclusion rate is recorded for {year}; the first is for {INCLUSION_RATES[0].from_year}."
        )
    return max(found, key=lambda rate: rate.from_year).rate
