"""The books of one account: its lots and cash, the fills that change them, and the journal of the changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final

from prometheus.domain.lots import Side, TaxLot, Term


class TransactionType(StrEnum):
    """Type of a journal row.

    CARRIED_LOSS raises the basis of a lot by a loss that ANOTHER account of the household realised; the WASH_SALE row
    itself is in that account's journal. LOSS_FINAL says that the window of a Canadian loss has closed and what was held
    then. REVERSAL reverses a row, which stays where it is.
    """

    OPENING = "OPENING"
    BUY = "BUY"
    REINVESTMENT = "REINVESTMENT"
    SELL = "SELL"
    DIVIDEND = "DIVIDEND"
    SPECIAL_DIVIDEND = "SPECIAL_DIVIDEND"
    SPLIT = "SPLIT"
    CASH_IN_LIEU = "CASH_IN_LIEU"
    SPINOFF = "SPINOFF"
    STOCK_DISTRIBUTION = "STOCK_DISTRIBUTION"
    SYMBOL_CHANGE = "SYMBOL_CHANGE"
    DELISTING = "DELISTING"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    LOT_SPLIT = "LOT_SPLIT"
    POOL = "POOL"
    WASH_SALE = "WASH_SALE"
    SUPERFICIAL_LOSS = "SUPERFICIAL_LOSS"
    CARRIED_LOSS = "CARRIED_LOSS"
    LOSS_FINAL = "LOSS_FINAL"
    REVERSAL = "REVERSAL"


#: Rows that are income: cash comes in, no lot changes.
INCOME_TYPES = frozenset({TransactionType.DIVIDEND, TransactionType.SPECIAL_DIVIDEND})
#: Rows that dispose of shares of a lot and realise a gain or loss.
DISPOSITION_TYPES = frozenset({TransactionType.SELL, TransactionType.CASH_IN_LIEU, TransactionType.DELISTING})
#: Rows that acquire shares in the sense of the wash rules: by purchase, never by split, spin-off or transfer.
PURCHASE_TYPES = frozenset({TransactionType.BUY, TransactionType.REINVESTMENT, TransactionType.OPENING})
#: Rows that disallow a realised loss.
DISALLOWANCE_TYPES = frozenset({TransactionType.WASH_SALE, TransactionType.SUPERFICIAL_LOSS})
#: Rows that bring lots or cash in, or take them away, without a gain.
MOVEMENT_TYPES = frozenset({TransactionType.OPENING, TransactionType.TRANSFER_IN, TransactionType.TRANSFER_OUT})


@dataclass(frozen=True, slots=True)
class Transaction:
    """One row of the journal: the change it makes to one lot and to cash.

    Rows are differences, so the journal alone rebuilds the books. Over the journals of a whole household, apart from
    rows of income and of movement, the sum of ``realized_gain`` equals the sum of ``amount`` plus the sum of ``basis``,
    but for losses that a purchase in a sheltered account (IRA) disallowed for good.

    Attributes:
        txn_type: What happened.
        trade_date: Trade date, or the ex-date of a corporate action.
        ticker: The security; empty for a row that concerns cash alone.
        lot_id: The lot that changes; None where only cash does.
        quantity: Signed change of the lot's shares.
        amount: Signed change of cash, cents of the base currency.
        basis: Signed change of the lot's adjusted basis.
        realized_gain: Of a sale: proceeds less basis, negative for a loss. Of a WASH_SALE or SUPERFICIAL_LOSS row: the
            loss disallowed, positive, so that the journal's sum is the gain that counts.
        term: Holding period of a US sale, or of the sale whose loss is disallowed; NONE for other rows.
        details: Further values for readers and replays, JSON types: dates as ISO text, decimals as text.
        account: Account of a household whose journal has the row; empty for an account by itself.
    """

    txn_type: TransactionType
    trade_date: date
    ticker: str
    lot_id: str | None
    quantity: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)
    basis: Decimal = Decimal(0)
    realized_gain: Decimal = Decimal(0)
    term: Term = Term.NONE
    details: Mapping[str, Any] = field(default_factory=dict)
    account: str = ""

    @property
    def cost_basis(self) -> Decimal:
        """Return the signed change of the lot's cost basis: that of ``basis`` unless the details say otherwise."""
        return Decimal(self.details.get("cost_basis", self.basis))


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
        side: BUY or SELL.
        trade_date: Trade date; tax does not depend on settlement.
        quantity: Shares, positive.
        price: Base currency a share.
        fee: Commission in base currency, non-negative; raises the cost of a purchase, lowers the proceeds of a sale.
        lot_picks: For a sale the lots to take, adding up to ``quantity``; may be empty under a pooled regime.
        new_lot_id: For a purchase the identifier of the lot it opens, chosen by the caller; unused where lots are
            pooled.
        reinvested: Whether a purchase puts a dividend back in; the journal says so, the rules make no difference.
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


@dataclass(frozen=True, slots=True)
class Books:
    """Holdings of an account: lots in the order ticker, acquired_on, lot_id, and cash in the base currency.

    Raises:
        ValueError: Two lots share an identifier.
    """

    lots: tuple[TaxLot, ...] = ()
    cash: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.lots, key=_BOOKED_ORDER))
        seen = {lot.lot_id for lot in ordered}
        if len(seen) < len(ordered):
            lot_ids = sorted(lot.lot_id for lot in ordered)
            twice = next(lot_id for lot_id, other in pairwise(lot_ids) if lot_id == other)
            raise ValueError(f"two lots are called {twice}; a lot identifier is unique within the account")
        object.__setattr__(self, "lots", ordered)

    def lots_of(self, ticker: str) -> tuple[TaxLot, ...]:
        """Return the lots of one security, earliest first."""
        return tuple(lot for lot in self.lots if lot.ticker == ticker)

    def quantity_of(self, ticker: str) -> Decimal:
        """Return the shares held of one security."""
        return sum((lot.quantity for lot in self.lots if lot.ticker == ticker), Decimal(0))
