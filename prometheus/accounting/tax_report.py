"""Realised gains of a period: the form's lines, the years netted, in one value that can be printed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from prometheus.accounting.netting import CarriedLoss, YearNetting, net_years
from prometheus.accounting.tax_forms import Form8949Line, Schedule3Line, form_8949, schedule_3
from prometheus.accounting.tax_lines import TaxLine
from prometheus.accounting.tax_settings import FilingStatus, inclusion_rate, loss_limit
from prometheus.domain.accounts import TaxRegime


@dataclass(frozen=True, slots=True)
class TaxableGain:
    """One Canadian year: proceeds (line 13199), gains (13200), and the taxable part of them; negative for a loss."""

    year: int
    proceeds: Decimal
    gain: Decimal
    inclusion_rate: Decimal
    taxable_gain: Decimal


@dataclass(frozen=True, slots=True)
class TaxReport:
    """Realised gains of a period.

    Attributes:
        regime: Whose rules apply.
        first: First sale date looked at.
        last: Last sale date looked at.
        form_8949: Lines of a US period, by part and box.
        schedule_3: Lines of a Canadian one.
        years: US years netted, as far as the period covers them.
        taxable_gains: Canadian years.
        disallowed_loss: Loss of the period that is taken back, positive.
        disallowed_for_good: The part of it that nothing carries on.
        provisional: Lines that a later purchase can still change.
        provisional_loss: What those lines count as a loss as things stand, positive; it is in all totals.
        provisional_until: Last day on which any of them can change; None where none can.
    """

    regime: TaxRegime
    first: date
    last: date
    form_8949: tuple[Form8949Line, ...]
    schedule_3: tuple[Schedule3Line, ...]
    years: tuple[YearNetting, ...]
    taxable_gains: tuple[TaxableGain, ...]
    disallowed_loss: Decimal
    disallowed_for_good: Decimal
    provisional: int
    provisional_loss: Decimal
    provisional_until: date | None


def tax_report(
    lines: Iterable[TaxLine],
    *,
    regime: TaxRegime,
    first: date,
    last: date,
    status: FilingStatus = FilingStatus.JOINT_OR_SINGLE,
    carried_in: CarriedLoss | None = None,
) -> TaxReport:
    """Report the dispositions of a period.

    Args:
        lines: Dispositions, those outside the period too.
        regime: Whose rules apply.
        first: First sale date.
        last: Last sale date, included.
        status: Who files, for the limit against ordinary income.
        carried_in: US losses from before the period.

    Raises:
        ConfigurationError: No limit or rate is recorded for a year of the period.
    """
    of_period = tuple(line for line in lines if first <= line.sold_on <= last)
    provisional = [line for line in of_period if line.provisional_until is not None]
    years = range(first.year, last.year + 1)
    us = regime is TaxRegime.US
    return TaxReport(
        regime=regime,
        first=first,
        last=last,
        form_8949=form_8949(of_period) if us else (),
        schedule_3=() if us else schedule_3(of_period),
        years=net_years(of_period, limits={y: loss_limit(y, status) for y in years}, carried_in=carried_in)
        if us
        else (),
        taxable_gains=() if us else tuple(_taxable(year, of_period) for year in years),
        disallowed_loss=sum((line.disallowed_loss for line in of_period), Decimal(0)),
        disallowed_for_good=sum((line.disallowed_for_good for line in of_period), Decimal(0)),
        provisional=len(provisional),
        provisional_loss=-sum((line.recognized_gain for line in provisional), Decimal(0)),
        provisional_until=max((line.provisional_until for line in provisional if line.provisional_until), default=None),
    )


def _taxable(year: int, lines: Iterable[TaxLine]) -> TaxableGain:
    of_year = [line for line in schedule_3(lines) if line.sold_on.year == year]
    gain = sum((line.gain for line in of_year), Decimal(0))
    rate = inclusion_rate(year)
    return TaxableGain(year, sum((line.proceeds for line in of_year), Decimal(0)), gain, rate, gain * rate)
