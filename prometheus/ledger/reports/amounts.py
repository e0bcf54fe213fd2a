"""Amounts, rates and dates that a legislature sets, each with the first day or year it holds for. Data, by source."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.domain.money import to_cents
from prometheus.foundation.errors import ConfigurationError

#: What every report of a tax figure says.
NOT_ADVICE: Final = "This is a calculation, not tax advice."


class FilingStatus(StrEnum):
    """How a US return is filed, as far as the limit on capital losses looks at it.

    SINGLE is every return of one person that is not filed separately from a spouse.
    """

    SINGLE = "SINGLE"
    JOINT = "JOINT"
    SEPARATE = "SEPARATE"


@dataclass(frozen=True, slots=True)
class LossLimit:
    """Excess capital loss that one US return may take against other income.

    Attributes:
        from_year: First tax year it holds for.
        amounts: By filing status, USD, positive.
        source: Where it is set.
    """

    from_year: int
    amounts: dict[FilingStatus, Decimal]
    source: str


@dataclass(frozen=True, slots=True)
class InclusionRate:
    """Part of a Canadian capital gain that is taxable, as a fraction.

    Attributes:
        from_day: First day of disposition it holds for.
        rate: The fraction.
        source: Where it is set.
    """

    from_day: date
    rate: Decimal
    source: str


LOSS_LIMITS: Final = (
    LossLimit(
        1978,
        {
            FilingStatus.SINGLE: Decimal(3000),
            FilingStatus.JOINT: Decimal(3000),
            FilingStatus.SEPARATE: Decimal(1500),
        },
        "26 U.S.C. 1211(b), as amended for years after 1977",
    ),
)
#: The increase to two thirds that was announced for 25 June 2024 was cancelled on 21 March 2025 and never became law.
INCLUSION_RATES: Final = (
    InclusionRate(date(2000, 10, 18), Decimal("0.5"), "Income Tax Act (Canada) s. 38(a); CRA guide T4037"),
)
#: A broker reports the basis of stock acquired on or after this day. Source: Treas. Reg. 1.6045-1(a)(15)(i)(A).
STOCK_COVERED_FROM: Final = date(2011, 1, 1)
#: The same for shares of mutual funds and of dividend reinvestment plans. Source: 1.6045-1(a)(15)(i)(B).
FUND_COVERED_FROM: Final = date(2012, 1, 1)
#: The same for digital assets. Source: Instructions for Form 8949 (2025), column (e), "covered security".
DIGITAL_ASSET_COVERED_FROM: Final = date(2026, 1, 1)
#: First tax year with Form 1099-DA and with boxes G to L on Form 8949. Source: Instructions for Form 8949 (2025).
FIRST_YEAR_OF_1099_DA: Final = 2025
#: Years into which a Canadian net capital loss can be carried back. Source: Income Tax Act (Canada) s. 111(1)(b).
CARRY_BACK_YEARS: Final = 3


def loss_limit(year: int, status: FilingStatus) -> Decimal:
    """Return the excess capital loss that a return may take against other income, USD, positive.

    Raises:
        ConfigurationError: No limit is recorded for the year.

    Source: 26 U.S.C. 1211(b); Schedule D line 21.
    """
    known = [limit for limit in LOSS_LIMITS if limit.from_year <= year]
    if not known:
        raise ConfigurationError(
            f"No limit on capital losses is recorded for {year}; the first is for {LOSS_LIMITS[0].from_year}."
        )
    return max(known, key=lambda limit: limit.from_year).amounts[status]


def inclusion_rate(day: date) -> Decimal:
    """Return the taxable part of a Canadian capital gain of a day, as a fraction.

    Raises:
        ConfigurationError: No rate is recorded for the day.

    Source: Income Tax Act (Canada) s. 38(a).
    """
    known = [rate for rate in INCLUSION_RATES if rate.from_day <= day]
    if not known:
        raise ConfigurationError(
            f"No inclusion rate is recorded for {day}; the first is for {INCLUSION_RATES[0].from_day}."
        )
    return max(known, key=lambda rate: rate.from_day).rate


def money_text(amount: Decimal) -> str:
    """Return an amount with its cents, as sentences and tables show it."""
    return format(to_cents(amount), "f")


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum of decimals; zero where there are none."""
    return sum(amounts, Decimal(0))
