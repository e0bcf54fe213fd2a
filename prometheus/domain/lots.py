"""Tax lots and what happens to them."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """Direction of a trade; the last two open and close a short position."""

    BUY = "BUY"
    SELL = "SELL"
    SELL_SHORT = "SELL_SHORT"
    BUY_TO_COVER = "BUY_TO_COVER"


class Term(StrEnum):
    """Holding period of a sold lot; Canada has no terms and uses NONE."""

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
        holding_period_start: The date that replaces the acquisition date when the holding period is counted (the period
            itself runs from the day after it); earlier than ``acquired_on`` after a wash, equal to it otherwise.
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


@dataclass(frozen=True, slots=True)
class ShortPosition:
    """Shares sold short together and not covered yet.

    Attributes:
        lot_id: Unique within the account, among its lots too.
        ticker: The security.
        sold_on: Trade date of the short sale.
        quantity: Shares still owed, positive.
        proceeds: What they were sold for after commission, base currency.
        was_held: Whether substantially identical shares were held for no more than a year on that day.
        was_held_long: Whether such shares were held for more than a year: a loss on the cover is long-term then.
    """

    lot_id: str
    ticker: str
    sold_on: date
    quantity: Decimal
    proceeds: Decimal
    was_held: bool = False
    was_held_long: bool = False

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError(f"short position {self.lot_id}: quantity {self.quantity} is not positive")


@dataclass(frozen=True, slots=True)
class RecentTrade:
    """A past trade that may lock a group: purchases block loss sales, sales at a loss block purchases.

    ``realized_gain`` is that of a sale (negative for a loss), zero for a purchase. ``lot_id`` is the lot a purchase
    opened. ``quantity`` is positive; for a purchase ``unreplaced`` is how many of its shares have not yet served as
    replacement shares of an earlier loss (a replacement share is used once); None means all of them.

    One sale is one value for each lot sold, because losses are matched lot by lot. For a sale at a loss
    ``washed_quantity`` and ``disallowed_loss`` tell what purchases have washed of it so far, ``acquired_on`` and
    ``holding_period_start`` are those of the sold lot and ``execution_id`` names the execution. Quantities are in
    today's shares: splits since the trade date are applied.

    ``account`` names another account of the household that traded; empty for the account itself. ``denied_for_good``
    is the part of ``disallowed_loss`` that no lot carries (Canada: shares held in a registered plan).
    """

    ticker: str
    trade_date: date
    side: Side
    quantity: Decimal
    realized_gain: Decimal = Decimal(0)
    lot_id: str | None = None
    unreplaced: Decimal | None = None
    washed_quantity: Decimal = Decimal(0)
    disallowed_loss: Decimal = Decimal(0)
    acquired_on: date | None = None
    holding_period_start: date | None = None
    execution_id: str | None = None
    account: str = ""
    denied_for_good: Decimal = Decimal(0)
