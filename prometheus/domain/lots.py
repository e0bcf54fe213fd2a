"""Tax lots and what happens to them."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """Direction of a trade."""

    BUY = "BUY"
    SELL = "SELL"


class Term(StrEnum):
    """Holding period of a sold lot; Canada knows no terms and uses NONE."""

    SHORT = "SHORT"
    LONG = "LONG"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class TaxLot:
    """A parcel of shares bought together.

    Attributes:
        lot_id: Unique within the account.
        ticker: The security.
        acquired_on: Trade date of the purchase.
        quantity: Shares still held, positive.
        cost_basis: Total cost of the shares still held, base currency, without wash-sale adjustments.
        adjusted_basis: Total basis for tax: ``cost_basis`` plus disallowed losses carried into this lot.
        holding_period_start: First day that counts for the holding period; differs from ``acquired_on`` after a wash.
    """

    lot_id: str
    ticker: str
    acquired_on: date
    quantity: Decimal
    cost_basis: Decimal
    adjusted_basis: Decimal
    holding_period_start: date

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError(f"lot {self.lot_id}: quantity {self.quantity} is not positive")

    def adjusted_basis_per_share(self) -> Decimal:
        """Return the tax basis of one share, unrounded."""
        return self.adjusted_basis / self.quantity


@dataclass(frozen=True, slots=True)
class LotSale:
    """One lot's part in a sale; every amount in cents of the base currency.

    ``realized_gain`` = ``proceeds`` - ``basis`` (negative for a loss), before a wash sale disallows any of it.
    ``disallowed_loss`` >= 0 is the part of the loss that purchases ALREADY made wash; ``tax`` = rate times the gain
    that counts (realized_gain + disallowed_loss), negative for a usable loss.
    """

    lot_id: str
    ticker: str
    acquired_on: date
    quantity: Decimal
    proceeds: Decimal
    basis: Decimal
    realized_gain: Decimal
    term: Term
    disallowed_loss: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    replacement_lot_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecentTrade:
    """A past trade that may lock a name: purchases block loss sales, sales at a loss block purchases.

    ``realized_gain`` is that of a sale (negative for a loss), zero for a purchase. ``lot_id`` is the lot a purchase
    opened. ``quantity`` is positive; for a purchase ``unreplaced`` is how many of its shares have not yet served as
    replacement shares of an earlier loss (a replacement share is used once).
    """

    ticker: str
    trade_date: date
    side: Side
    quantity: Decimal
    realized_gain: Decimal = Decimal(0)
    lot_id: str | None = None
    unreplaced: Decimal | None = None
