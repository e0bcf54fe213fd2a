from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.accounting.gains import long_term_from, tax_rate_of, term_of, unrealized_tax_per_share
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import Term

# Rule 7: long-term is more than one year, counted from the day after the trade date through the sale date by calendar
# anniversary. Source: 26 U.S.C. 1222(3); Rev. Rul. 66-7, 66-97 and 70-598. First row: vector 10, J.K. Lasser 5.9.
FIRST_LONG_TERM_DAY = [
    ("2012-09-19", "2013-09-20", "an ordinary year"),
    ("2011-09-19", "2012-09-20", "29 February inside the year: the 366th day is still short-term"),
    ("2012-02-29", "2013-03-01", "bought on 29 February"),
    ("2012-02-28", "2013-03-01", "the first day counted is 29 February"),
    ("2011-02-28", "2012-03-01", "bought on the last day of February before a leap year"),
    ("2015-12-31", "2017-01-01", "bought on the last day of the year"),
    ("2015-06-30", "2016-07-01", "bought on the last day of a month"),
]


@pytest.mark.parametrize(("bought", "first_day", "why"), FIRST_LONG_TERM_DAY)
def test_first_long_term_day_follows_the_calendar(bought, first_day, why):
    """A sale is long-term from the anniversary of the day after purchase, and short-term the day before it."""
    start, first = date.fromisoformat(bought), date.fromisoformat(first_day)
    assert long_term_from(start) == first, why
    assert term_of(start, first, TaxRegime.US) is Term.LONG
    assert term_of(start, first - timedelta(days=1), TaxRegime.US) is Term.SHORT


def test_more_than_365_days_is_not_the_test():
    """A sale 366 days after purchase, on the anniversary of a leap year, is short-term though it is past 365 days."""
    bought, sold = date(2019, 6, 3), date(2020, 6, 3)
    assert (sold - bought).days == 366
    assert term_of(bought, sold, TaxRegime.US) is Term.SHORT


def test_canada_knows_no_terms():
    """A Canadian sale has no term, however long the shares were held (rule 14)."""
    assert term_of(date(2000, 1, 3), date(2020, 1, 3), TaxRegime.CA) is Term.NONE


def test_rates_carry_the_surtax(us_rates, ca_rates):
    """The surtax is part of both US rates, and a Canadian gain has the account's one effective rate."""
    assert tax_rate_of(Term.SHORT, us_rates) == Decimal("0.408")
    assert tax_rate_of(Term.LONG, us_rates) == Decimal("0.238")
    assert tax_rate_of(Term.NONE, ca_rates) == Decimal("0.2676")


def test_unrealized_tax_is_negative_for_a_loss(make_lot, us_rates):
    """The tax of selling a share is the rate of its term times the gain on adjusted basis, unrounded and signed."""
    lot = make_lot("L1", "2018-01-02", 3, "100", adjusted="130")
    terms = {"as_of": date(2018, 6, 1), "rates": us_rates, "regime": TaxRegime.US}
    assert unrealized_tax_per_share(lot, price=Decimal(40), **terms) == Decimal("0.408") * (40 - Decimal(130) / 3)
    assert unrealized_tax_per_share(lot, price=Decimal(40), **terms) < 0
    assert unrealized_tax_per_share(lot, price=Decimal(50), **terms) > 0
