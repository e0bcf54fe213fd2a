from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.accounts import TaxRates
from prometheus.domain.lots import TaxLot


@pytest.fixture
def us_rates():
    """Rates of a US account in the top bracket."""
    return TaxRates(st=Decimal("0.37"), lt=Decimal("0.20"), niit=Decimal("0.038"))


@pytest.fixture
def ca_rates():
    """Effective rates of a Canadian account: half of 53.52 %."""
    return TaxRates(st=Decimal("0.2676"), lt=Decimal("0.2676"))


@pytest.fixture
def make_lot():
    """Builder of lots from plain numbers; the adjusted basis is the cost unless given."""

    def build(lot_id, acquired_on, quantity, cost, *, ticker="XYZ", adjusted=None, holding_period_start=None):
        acquired = date.fromisoformat(acquired_on)
        start = acquired if holding_period_start is None else date.fromisoformat(holding_period_start)
        return TaxLot(
            lot_id=lot_id,
            ticker=ticker,
            acquired_on=acquired,
            quantity=Decimal(str(quantity)),
            cost_basis=Decimal(str(cost)),
            adjusted_basis=Decimal(str(cost if adjusted is None else adjusted)),
            holding_period_start=start,
        )

    return build
