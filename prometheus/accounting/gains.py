"""Holding periods, and what a gain is taxed at."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.lots import TaxLot, Term

_ONE_DAY: Final = timedelta(days=1)


def long_term_from(holding_period_start: date) -> date:
    """Return the first date on which a sale is long-term.

    The holding period excludes the day of acquisition and includes the day of sale; long-term is MORE than one year.
    The first day counted is the day after acquisition, and its anniversary is the first day past one year. A first day
    counted of 29 February has its anniversary on 1 March. Counted in this way a share bought on the last day of a
    month is long-term from the first day of the thirteenth month after, leap year or not: bought 28 February 2011 or
    29 February 2012, long-term from 1 March of the next year.

    Source: 26 U.S.C. 1222(3); Rev. Rul. 66-7 and 70-598.
    """
    first_day = holding_period_start + _ONE_DAY
    if (first_day.month, first_day.day) == (2, 29):
        return date(first_day.year + 1, 3, 1)
    return first_day.replace(year=first_day.year + 1)


def term_of(holding_period_start: date, sale_date: date, regime: TaxRegime) -> Term:
    """Return the holding period of a sale: SHORT or LONG in the US, NONE in Canada, which knows no terms.

    Args:
        holding_period_start: Of the lot sold; see ``TaxLot``.
        sale_date: Trade date of the sale.
        regime: Whose rules apply.
    """
    if regime is TaxRegime.CA:
        return Term.NONE
    return Term.LONG if sale_date >= long_term_from(holding_period_start) else Term.SHORT


_RATES: Final = {
    Term.SHORT: TaxRates.short_term,
    Term.LONG: TaxRates.long_term,
    Term.NONE: TaxRates.short_term,
}


def tax_rate_of(term: Term, rates: TaxRates) -> Decimal:
    """Return the rate on a gain as a fraction of it, surtax included.

    For ``Term.NONE`` both rates of the account are the same effective rate (marginal rate times inclusion rate).
    """
    return _RATES[term](rates)


def unrealized_tax_per_share(
    lot: TaxLot, *, price: Decimal, as_of: date, rates: TaxRates, regime: TaxRegime
) -> Decimal:
    """Return the tax of selling one share of the lot at ``price``, unrounded; negative for a loss.

    A wash sale is not looked at: see ``wash_sales.loss_sale_locks``.

    Args:
        lot: The lot.
        price: Base currency a share.
        as_of: Trade date of the supposed sale.
        rates: The account's marginal rates.
        regime: Whose rules apply.
    """
    rate = tax_rate_of(term_of(lot.holding_period_start, as_of, regime), rates)
    return rate * (price - lot.adjusted_basis_per_share())
