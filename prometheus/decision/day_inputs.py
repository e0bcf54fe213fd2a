"""What a decision reads of its day: market data and risk model, and what the rest of the account's household did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from prometheus.accounting.joint_accounts import account_of, joint_lots, joint_row, seen_from
from prometheus.accounting.journal import recent_trades
from prometheus.domain.books import Transaction
from prometheus.domain.lots import RecentTrade, Side, TaxLot
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


@dataclass(frozen=True, slots=True)
class HouseholdDay:
    """What an account's day needs of the other accounts of its household.

    Attributes:
        name: The account's name in joint books.
        rows: Journal rows of all accounts of the last 61 days, under joint names.
        lots: Lots of the other accounts, under joint names.
        sheltered: Accounts that are not taxed.
    """

    name: str
    rows: tuple[Transaction, ...]
    lots: tuple[TaxLot, ...]
    sheltered: frozenset[str]

    def trades(
        self, as_of: date, lots: Iterable[TaxLot], booked: Iterable[Transaction] = ()
    ) -> tuple[RecentTrade, ...]:
        """Return the recent trades as the account sees them.

        Args:
            as_of: The day.
            lots: The account's own lots, under its own names.
            booked: Rows of the account that are about to be written.
        """
        rows = (*self.rows, *(joint_row(self.name, row) for row in booked))
        held = {lot.lot_id: lot for lot in (*self.lots, *joint_lots(self.name, lots))}
        return seen_from(self.name, household_trades(rows, as_of, self.sheltered), held, self.sheltered)


def household_trades(
    rows: Iterable[Transaction], as_of: date, sheltered: frozenset[str] = frozenset()
) -> tuple[RecentTrade, ...]:
    """Return a household's recent trades, without the sales of accounts that are not taxed."""
    return tuple(
        trade
        for trade in recent_trades(rows, as_of)
        if trade.side is Side.BUY or account_of(trade.lot_id) not in sheltered
    )
