"""Amounts and rates by date."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.reports.amounts import FilingStatus, inclusion_rate, loss_limit


@pytest.mark.parametrize(
    ("status", "limit"), [(FilingStatus.SINGLE, 3000), (FilingStatus.JOINT, 3000), (FilingStatus.SEPARATE, 1500)]
)
def test_the_limit_is_per_return(status, limit):
    """26 U.S.C. 1211(b): 3,000 a return, 1,500 where married people file separately."""
    assert loss_limit(2024, status) == limit


def test_the_inclusion_rate_goes_by_date():
    """ITA s. 38(a): one half since 18 October 2000, also for 2024 and after; earlier dates are refused by name."""
    assert inclusion_rate(date(2000, 10, 18)) == inclusion_rate(date(2024, 12, 31)) == Decimal("0.5")
    with pytest.raises(ConfigurationError, match="2000-10-17"):
        inclusion_rate(date(2000, 10, 17))


def test_a_year_without_a_limit_is_refused():
    """A year before the recorded limits is refused by name."""
    with pytest.raises(ConfigurationError, match="1977"):
        loss_limit(1977, FilingStatus.SINGLE)
