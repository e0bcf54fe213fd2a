"""What a decision reads of its day and shares with all accounts: market data and risk model."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from prometheus.domain.securities import LastPrice, Security
from prometheus.risk.model import StoredRiskModel


@dataclass(frozen=True, slots=True, eq=False)
class DayInputs:
    """Market data and risk model of one day; two readings of it are two values, whatever they hold.

    ``risk_model`` is None where there is none for the day or before; ``splits`` has ex-date and factor of every split
    through the day by ticker, oldest first.
    """

    as_of: date
    securities: Mapping[str, Security]
    prices: Mapping[str, LastPrice]
    risk_model: StoredRiskModel | None
    borrow_rates: Mapping[str, Decimal]
    splits: Mapping[str, tuple[tuple[date, Decimal], ...]]
