"""Who files what: returns of one person or of two who file jointly, and what only the filer knows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.reports.amounts import FilingStatus

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Carryover:
    """US capital losses that go from one year into the next with their character; both not negative, USD."""

    short_term: Decimal = _ZERO
    long_term: Decimal = _ZERO

    @property
    def total(self) -> Decimal:
        """Return both together."""
        return self.short_term + self.long_term


@dataclass(frozen=True, slots=True)
class YearInput:
    """What a US return has of a year besides the postings. Amounts are USD, losses negative.

    Attributes:
        taxable_income: Form 1040 line 15, negative where it would be so if it could; None where nobody said, which the
            carryover worksheet takes for zero or more.
        short_term_elsewhere: Schedule D lines 4 and 5.
        long_term_elsewhere: Schedule D lines 11 and 12.
        capital_gain_distributions: Schedule D line 13.
    """

    taxable_income: Decimal | None = None
    short_term_elsewhere: Decimal = _ZERO
    long_term_elsewhere: Decimal = _ZERO
    capital_gain_distributions: Decimal = _ZERO


NO_INPUT: Final = YearInput()


@dataclass(frozen=True, slots=True)
class Return:
    """One return, for all years of a report.

    Attributes:
        name: What it is called in reports.
        taxpayers: Who files it: one, or two who file jointly.
        status: How it is filed (US).
        opening: Losses carried into the first year of the report (US); None nets all earlier years of the postings.
        inputs: What else is on the return, by year (US).
        earlier_losses: Net capital losses of years before the first one of the postings, by the year in which they
            arose, positive, after the inclusion rate (Canada).
        carries_back: Whether net capital losses are carried back to the three years before as far as they can be, the
            earliest year first (Canada, Form T1A); otherwise they go forward.
    """

    name: str
    taxpayers: tuple[str, ...]
    status: FilingStatus = FilingStatus.SINGLE
    opening: Carryover | None = None
    inputs: Mapping[int, YearInput] = field(default_factory=dict)
    earlier_losses: Mapping[int, Decimal] = field(default_factory=dict)
    carries_back: bool = False


def complete_returns(returns: Sequence[Return], taxpayers: Iterable[str], regime: TaxRegime) -> tuple[Return, ...]:
    """Check returns, and give each taxpayer whom none of them names one of their own.

    Args:
        returns: As given.
        taxpayers: Everybody with something to report.
        regime: Whose rules apply.

    Raises:
        ConfigurationError: A taxpayer in two returns, too many in one, amounts that cannot be, or settings of the other
            country's return; the message says which.
    """
    named: set[str] = set()
    for each in returns:
        for taxpayer in each.taxpayers:
            if taxpayer in named:
                raise ConfigurationError(
                    f"{taxpayer or 'The taxpayer without a name'} is in two returns; name each taxpayer in one."
                )
            named.add(taxpayer)
        _check_filers(each, regime)
        if regime is TaxRegime.CA:
            _check_canadian(each)
        else:
            _check_american(each)
    own = (Return(taxpayer, (taxpayer,)) for taxpayer in sorted(set(taxpayers) - named))
    return (*returns, *own)


def _check_filers(each: Return, regime: TaxRegime) -> None:
    if not each.taxpayers:
        raise ConfigurationError(f"The return '{each.name}' names nobody; give its taxpayers.")
    if len(each.taxpayers) == 1:
        return
    people = " and ".join(each.taxpayers)
    if regime is TaxRegime.CA:
        raise ConfigurationError(f"Canada taxes each person alone; give {people} a return each.")
    if len(each.taxpayers) > 2 or each.status is not FilingStatus.JOINT:
        raise ConfigurationError(
            f"The return '{each.name}' is of {people}; only two people can file one, with the status JOINT."
        )


def _check_canadian(each: Return) -> None:
    if each.opening is not None:
        raise ConfigurationError(
            f"The return '{each.name}' is Canadian; short-term and long-term carryovers are of US returns. Give its "
            "net capital losses of earlier years by year, as earlier_losses."
        )
    if each.inputs or each.status is not FilingStatus.SINGLE:
        raise ConfigurationError(
            f"The return '{each.name}' is Canadian; a filing status and the inputs of Schedule D are of US returns."
        )
    if any(amount < 0 for amount in each.earlier_losses.values()):
        raise ConfigurationError(f"The return '{each.name}': give net capital losses as positive numbers.")


def _check_american(each: Return) -> None:
    if each.earlier_losses or each.carries_back:
        raise ConfigurationError(
            f"The return '{each.name}' is of the US, where losses go forward only; give an opening carryover."
        )
    opening = each.opening or Carryover()
    if opening.short_term < 0 or opening.long_term < 0:
        raise ConfigurationError(f"The return '{each.name}': give a loss carried in as a positive number.")
