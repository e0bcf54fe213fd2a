"""The replay: lots and cash rebuilt from journal rows, to the last digit."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.books import Books, Transaction
from prometheus.domain.lots import TaxLot
from prometheus.foundation.errors import AccountingError

_ZERO: Final = Decimal(0)


class _Balance:
    """What a lot has come to so far; a mutable sum, because a frozen lot for each row would cost most of the time."""

    __slots__ = ("acquired_on", "adjusted", "cost", "quantity", "start", "ticker")

    def __init__(self, ticker: str, acquired_on: date, start: date) -> None:
        self.ticker = ticker
        self.acquired_on = acquired_on
        self.start = start
        self.quantity = self.cost = self.adjusted = _ZERO


class Replay:
    """Books that grow row by row; the one place where a journal row becomes a balance.

    Args:
        opening: Books to start from; empty ones where not given.
    """

    __slots__ = ("_lots", "cash")

    def __init__(self, opening: Books | None = None) -> None:
        self._lots: dict[str, _Balance] = {}
        self.cash = _ZERO if opening is None else opening.cash
        for lot in () if opening is None else opening.lots:
            balance = _Balance(lot.ticker, lot.acquired_on, lot.holding_period_start)
            balance.quantity, balance.cost, balance.adjusted = lot.quantity, lot.cost_basis, lot.adjusted_basis
            self._lots[lot.lot_id] = balance

    def post(
        self,
        lot_id: str | None,
        ticker: str,
        quantity: Decimal,
        amount: Decimal,
        basis: Decimal,
        cost_basis: Decimal,
        acquired_on: date | None,
        holding_period_start: date | None,
    ) -> None:
        """Post one row.

        Args:
            lot_id: The lot that changes; None where only cash does.
            ticker: The lot's security after the row.
            quantity: Signed change of shares.
            amount: Signed change of cash.
            basis: Signed change of the adjusted basis.
            cost_basis: Signed change of the cost basis.
            acquired_on: Set where the row opens the lot or moves its date.
            holding_period_start: Likewise.

        Raises:
            AccountingError: The row takes more than its lot holds, leaves basis in an empty lot, or opens a lot without
                its dates.
        """
        self.cash += amount
        if lot_id is None:
            return
        lot = self._lots.get(lot_id)
        if lot is None:
            lot = self._open(lot_id, ticker, quantity, acquired_on, holding_period_start)
        else:
            lot.ticker = ticker
            if acquired_on is not None:
                lot.acquired_on = acquired_on
            if holding_period_start is not None:
                lot.start = holding_period_start
        lot.quantity += quantity
        lot.cost += cost_basis
        lot.adjusted += basis
        if lot.quantity <= 0:
            self._close(lot_id, lot, quantity)

    def post_row(self, row: Transaction) -> None:
        """Post a journal row; see ``post``."""
        acquired, start = row.details.get("acquired_on"), row.details.get("holding_period_start")
        try:
            self.post(
                row.lot_id,
                row.ticker,
                row.quantity,
                row.amount,
                row.basis,
                row.cost_basis,
                None if acquired is None else date.fromisoformat(acquired),
                None if start is None else date.fromisoformat(start),
            )
        except AccountingError as error:
            raise AccountingError(
                f"journal row {row.txn_type} {row.trade_date} of {error.message}",
                code=error.code,
                details=error.details,
            ) from error

    def lot(self, lot_id: str) -> TaxLot | None:
        """Return a lot as it stands, None where it is not held."""
        found = self._lots.get(lot_id)
        return None if found is None else _lot(lot_id, found)

    def books(self) -> Books:
        """Return the books as they stand."""
        return Books(tuple(_lot(lot_id, lot) for lot_id, lot in self._lots.items()), self.cash)

    def _open(
        self, lot_id: str, ticker: str, quantity: Decimal, acquired_on: date | None, start: date | None
    ) -> _Balance:
        if quantity < 0:
            raise AccountingError(f"lot {lot_id} takes {-quantity} shares of 0.", details={"lot_id": lot_id})
        if acquired_on is None or start is None:
            raise AccountingError(
                f"lot {lot_id} opens a lot without its dates; a row before it is missing.", details={"lot_id": lot_id}
            )
        lot = self._lots[lot_id] = _Balance(ticker, acquired_on, start)
        return lot

    def _close(self, lot_id: str, lot: _Balance, quantity: Decimal) -> None:
        if lot.quantity < 0:
            raise AccountingError(
                f"lot {lot_id} takes {-quantity} shares of {lot.quantity - quantity}.", details={"lot_id": lot_id}
            )
        if lot.cost or lot.adjusted:
            raise AccountingError(
                f"lot {lot_id} empties the lot but leaves a basis of {lot.adjusted} (cost {lot.cost}) in it.",
                details={"lot_id": lot_id},
            )
        del self._lots[lot_id]


def _lot(lot_id: str, lot: _Balance) -> TaxLot:
    return TaxLot(lot_id, lot.ticker, lot.acquired_on, lot.quantity, lot.cost, lot.adjusted, lot.start)


def replay(transactions: Iterable[Transaction], opening: Books | None = None) -> Books:
    """Rebuild the books from the journal.

    Args:
        transactions: Rows in the order in which they were written.
        opening: Books to start from; empty ones where not given.

    Raises:
        AccountingError: A row that takes more than its lot holds, leaves basis in an empty lot, or opens a lot without
            saying when it was bought.
    """
    books = Replay(opening)
    for row in transactions:
        books.post_row(row)
    return books.books()
