"""Gains and losses of a year netted by term, the part of a loss that other income absorbs, and what is carried on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from prometheus.accounting.tax_lines import TaxLine
from prometheus.domain.lots import Term

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class CarriedLoss:
    """Capital losses that go from one year into the next, with their character; both not negative."""

    short_term: Decimal = _ZERO
    long_term: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class YearNetting:
    """One US tax year; amounts in USD, losses negative but for the carried ones.

    Attributes:
        year: The tax year.
        carried_in: Losses of earlier years.
        short_term: Short-term gains less losses of the year, before carried ones.
        long_term: The same for the long term.
        net_short: ``short_term`` less the short-term loss carried in.
        net_long: The same for the long term.
        total: Both together: what the return shows, before the limit.
        against_income: Loss taken against ordinary income, not negative.
        carried_out: Losses left for the next year.
    """

    year: int
    carried_in: CarriedLoss
    short_term: Decimal
    long_term: Decimal
    net_short: Decimal
    net_long: Decimal
    total: Decimal
    against_income: Decimal
    carried_out: CarriedLoss


def net_year(
    year: int, short_term: Decimal, long_term: Decimal, *, carried_in: CarriedLoss, limit: Decimal
) -> YearNetting:
    """Net one year.

    Each term nets by itself, then against the other. Of a loss that is left, up to ``limit`` goes against ordinary
    income, and counts as used out of the short-term loss first; the rest keeps its character.

    Args:
        year: The tax year.
        short_term: Recognised short-term gains less losses of the year.
        long_term: The same for the long term.
        carried_in: Losses of earlier years.
        limit: Most that goes against ordinary income, not negative.

    Source: 26 U.S.C. 1222(5)-(8) (netting), 1211(b) (limit), 1212(b)(1)-(2) (carryover and its order).
    """
    net_short = short_term - carried_in.short_term
    net_long = long_term - carried_in.long_term
    total = net_short + net_long
    against = min(limit, max(-total, _ZERO))
    # 1212(b)(2): what ordinary income absorbs is treated as a short-term gain.
    short_after = net_short + against
    carried = CarriedLoss(
        short_term=max(-short_after - max(net_long, _ZERO), _ZERO),
        long_term=max(-net_long - max(short_after, _ZERO), _ZERO),
    )
    return YearNetting(year, carried_in, short_term, long_term, net_short, net_long, total, against, carried)


def net_years(
    lines: Iterable[TaxLine], *, limits: Mapping[int, Decimal], carried_in: CarriedLoss | None = None
) -> tuple[YearNetting, ...]:
    """Net consecutive years, each carrying its losses into the next.

    Args:
        lines: Dispositions; those of years that ``limits`` does not name are passed over.
        limits: Tax year to its limit against ordinary income; years between are netted too.
        carried_in: Losses from before the first year.
    """
    sums = {year: {Term.SHORT: _ZERO, Term.LONG: _ZERO} for year in limits}
    for line in lines:
        if line.sold_on.year in sums and line.term is not Term.NONE:
            sums[line.sold_on.year][line.term] += line.recognized_gain
    carried = carried_in or CarriedLoss()
    years = []
    for year in sorted(sums):
        netted = net_year(year, sums[year][Term.SHORT], sums[year][Term.LONG], carried_in=carried, limit=limits[year])
        carried = netted.carried_out
        years.append(netted)
    return tuple(years)
