"""The books of one account: its lots and cash, and the fills that change them."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Final

from prometheus.domain.lots import ShortPosition, Side, TaxLot


@dataclass(frozen=True, slots=True)
class LotPick:
    """Some shares of one lot, identified before the sale (specific identification)."""

    lot_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution as the broker reports it.

    Attributes:
        execution_id: The broker's unique name of the execution.
        ticker: The security.
        side: What is bought or sold, and whether it opens or closes a short position.
        trade_date: Trade date; tax does not depend on settlement.
        quantity: Shares, positive.
        price: Base currency a share.
        fee: Commission in base currency, non-negative; raises the cost of a purchase, lowers the proceeds of a sale.
        lot_picks: For a sale the lots to take, adding up to ``quantity``; may be empty under a pooled regime.
        new_lot_id: For a purchase or short sale the identifier of the lot it opens, chosen by the caller; unused where
            lots are pooled.
        reinvested: Whether a purchase puts a dividend back in; the ledger says so, the rules make no difference.
    """

    execution_id: str
    ticker: str
    side: Side
    trade_date: date
    quantity: Decimal
    price: Decimal
    fee: Decimal = Decimal(0)
    lot_picks: tuple[LotPick, ...] = ()
    new_lot_id: str | None = None
    reinvested: bool = False


_BOOKED_ORDER: Final = attrgetter("ticker", "acquired_on", "lot_id")
_COVERED_ORDER: Final = attrgetter("ticker", "sold_on", "lot_id")


@dataclass(frozen=True, slots=True)
class Books:
    """Holdings of an account: lots in the order ticker, acquired_on, lot_id, and cash in the base currency.

    Short positions are in the order ticker, sold_on, lot_id, in which the ledger covers those of one security.

    Raises:
        ValueError: Two lots share an identifier.
    """

    lots: tuple[TaxLot, ...] = ()
    cash: Decimal = Decimal(0)
    shorts: tuple[ShortPosition, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.lots, key=_BOOKED_ORDER))
        seen = {lot.lot_id for lot in ordered}
        if len(seen) < len(ordered):
            lot_ids = sorted(lot.lot_id for lot in ordered)
            twice = next(lot_id for lot_id, other in pairwise(lot_ids) if lot_id == other)
            raise ValueError(f"two lots are called {twice}; a lot identifier is unique within the account")
        object.__setattr__(self, "lots", ordered)
        object.__setattr__(self, "shorts", tuple(sorted(self.shorts, key=_COVERED_ORDER)))

    def tickers(self) -> frozenset[str]:
        """Return the securities that are held or owed."""
        return frozenset(lot.ticker for lot in self.lots) | frozenset(short.ticker for short in self.shorts)

    def lots_of(self, ticker: str) -> tuple[TaxLot, ...]:
        """Return the lots of one security, earliest first."""
        return tuple(lot for lot in self.lots if lot.ticker == ticker)

    def quantity_of(self, ticker: str) -> Decimal:
        """Return the shares held of one security."""
        return sum((lot.quantity for lot in self.lots if lot.ticker == ticker), Decimal(0))
