"""Rates of tax."""

from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRates
from prometheus.domain.lots import Term

US = TaxRates(st=Decimal("0.37"), lt=Decimal("0.20"), niit=Decimal("0.038"))
CANADA = TaxRates(st=Decimal("0.2676"), lt=Decimal("0.2676"))


@pytest.mark.parametrize(
    ("rates", "term", "rate"), [(US, Term.SHORT, "0.408"), (US, Term.LONG, "0.238"), (CANADA, Term.NONE, "0.2676")]
)
def test_rates_carry_the_surtax(rates, term, rate):
    """The surtax is part of both US rates, and a Canadian gain has the account's one effective rate."""
    assert rates.of(term) == Decimal(rate)
