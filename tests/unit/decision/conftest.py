from datetime import date
from decimal import Decimal

import pytest

from prometheus.domain.lots import TaxLot


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
