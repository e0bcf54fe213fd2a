"""Which lots the executions of a day take, each share once."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from prometheus.accounting.lot_selection import order_lots
from prometheus.accounting.wash_sales import purchase_of
from prometheus.domain.accounts import Account, TaxRegime
from prometheus.domain.books import LotPick
from prometheus.domain.entries import Entry
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import plain_text
from prometheus.foundation.errors import AccountingError, OversoldError

_ZERO: Final = Decimal(0)


class LotPicker:
    """Lots that a day's sales and transfers take, each share once; a lot bought the same day comes last."""

    def __init__(self, lots: Iterable[TaxLot], account: Account) -> None:
        self._lots = list(lots)
        self._left = {lot.lot_id: lot.quantity for lot in self._lots}
        self._account = account

    def add(self, lot: TaxLot) -> None:
        """Add a lot that the day opens."""
        self._lots.append(lot)
        self._left[lot.lot_id] = lot.quantity

    def left_of(self, lot_id: str) -> Decimal:
        """Return the shares of one lot that nothing of the day has taken; zero for a lot that is not held."""
        return self._left.get(lot_id, _ZERO)

    def take_these(self, picks: Sequence[LotPick]) -> None:
        """Take shares of exactly these lots, of which so many are left."""
        for pick in picks:
            self._left[pick.lot_id] -= pick.quantity

    def take(self, entry: Entry) -> tuple[LotPick, ...]:
        """Return which shares an entry takes: of the lots it names and their parts, or by the account's method.

        Raises:
            AccountingError: A lot that is not held (UNKNOWN_LOT).
            OversoldError: More shares than there are.
        """
        assert entry.quantity is not None  # checked
        of_ticker = [lot for lot in self._lots if lot.ticker == entry.ticker and self._left[lot.lot_id] > 0]
        if not entry.picks or self._account.tax_regime is TaxRegime.CA:
            return self._walk(entry, of_ticker, entry.quantity)
        picks: list[LotPick] = []
        for pick in entry.picks:
            parts = [lot for lot in of_ticker if pick.lot_id in {lot.lot_id, purchase_of(lot.lot_id)}]
            if not parts:
                raise AccountingError(
                    f"{entry.account} holds no lot {pick.lot_id} of {entry.ticker} on {entry.day}.",
                    code="UNKNOWN_LOT",
                    details={"lot_id": pick.lot_id},
                )
            picks += self._walk(entry, parts, pick.quantity)
        return tuple(picks)

    def _walk(self, entry: Entry, lots: Sequence[TaxLot], quantity: Decimal) -> tuple[LotPick, ...]:
        available = sum((self._left[lot.lot_id] for lot in lots), _ZERO)
        if quantity > available:
            raise OversoldError(
                f"{entry.account} gives up {plain_text(quantity)} shares of {entry.ticker} on {entry.day}; it holds "
                f"{plain_text(available)}.",
                details={"ticker": entry.ticker, "available": plain_text(available)},
            )
        before = order_lots(
            [lot for lot in lots if lot.acquired_on < entry.day],
            method=self._account.lot_method,
            rates=self._account.rates,
            regime=self._account.tax_regime,
            as_of=entry.day,
            price=(entry.amount or _ZERO) / (entry.quantity or Decimal(1)),
        )
        picks = []
        for lot in (*before, *(lot for lot in lots if lot.acquired_on >= entry.day)):
            taken = min(self._left[lot.lot_id], quantity)
            if taken > 0:
                picks.append(LotPick(lot.lot_id, taken))
                self._left[lot.lot_id] -= taken
                quantity -= taken
        return tuple(picks)
