"""What an account's day needs of the other accounts of its household, and the recent trades that follow from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from prometheus.accounting.joint_accounts import account_of, joint_lots, joint_row, seen_from
from prometheus.accounting.journal import recent_trades
from prometheus.domain.books import Transaction
from prometheus.domain.lots import RecentTrade, Side, TaxLot


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
