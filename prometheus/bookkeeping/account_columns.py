"""What screens and statements sort by: cash and day of an account, written from the ledger by whoever books."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from prometheus.db.database import Connection
from prometheus.db.repositories.account_books import stored_cash, write_columns
from prometheus.domain.money import plain_text
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.state import State


def write_account_columns(connection: Connection, state: State, days: Mapping[str, date]) -> None:
    """Write the cash of a household's accounts, and the days through which some of them are booked.

    Args:
        connection: The transaction in which the state was booked.
        state: The household's books. An account without cash in them has not opened, and keeps its opening cash.
        days: Account to the day of its books; earlier days move nothing. The others' days stay where they are.

    Raises:
        AccountingError: An account has less than no cash, and less than it had (OVERDRAWN).
    """
    _refuse_overdrafts(stored_cash(connection, state.cash), state)
    write_columns(connection, state.cash, days)


def _refuse_overdrafts(before: Mapping[str, Decimal], state: State) -> None:
    """Refuse books in which an account borrows; what is overdrawn already, by a payment in lieu, may only come back.

    Raises:
        AccountingError: An account has less than no cash, and less than it had (OVERDRAWN).
    """
    for account, cash in sorted(state.cash.items()):
        if cash < 0 and cash < before.get(account, Decimal(0)):
            raise AccountingError(
                f"{account} would have cash of {plain_text(cash)}; an account may not borrow.",
                code="OVERDRAWN",
                details={"account_id": account, "cash": plain_text(cash)},
            )
