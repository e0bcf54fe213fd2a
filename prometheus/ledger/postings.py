"""What an auditor reads: one row for each change of a lot or of cash, with its reason and the events behind it.

Postings are differences. The sums of their quantities, bases and cash by lot and account ARE the state, reversals
included: a reversal has the same kind with opposite signs.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from prometheus.domain.lots import Term
from prometheus.ledger.keys import EventKey, LotKey, value

_ZERO: Final = Decimal(0)


class PostingKind(StrEnum):
    """What a posting records.

    WASH_SALE and SUPERFICIAL_LOSS disallow a realised loss, in the account of the loss. CARRIED_LOSS raises the basis
    of the lot or pool that replaces the shares, in the account that holds it. LOT_SPLIT moves shares between two lots
    of one purchase. HOLDING_PERIOD changes when the holding period of a lot begins. POOL moves cost between the
    accounts of one Canadian taxpayer. PAYMENT_IN_LIEU is what a short position owes of a dividend. LOSS_FINAL says that
    the window of a Canadian loss has closed.
    """

    OPENING = "OPENING"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    BUY = "BUY"
    REINVESTMENT = "REINVESTMENT"
    SELL = "SELL"
    SHORT_SALE = "SHORT_SALE"
    COVER_SHORT = "COVER_SHORT"
    DIVIDEND = "DIVIDEND"
    SPECIAL_DIVIDEND = "SPECIAL_DIVIDEND"
    PAYMENT_IN_LIEU = "PAYMENT_IN_LIEU"
    CAPITAL_GAINS_DIVIDEND = "CAPITAL_GAINS_DIVIDEND"
    NOTIONAL_DISTRIBUTION = "NOTIONAL_DISTRIBUTION"
    RETURN_OF_CAPITAL = "RETURN_OF_CAPITAL"
    FEE = "FEE"
    INTEREST = "INTEREST"
    SPLIT = "SPLIT"
    CASH_IN_LIEU = "CASH_IN_LIEU"
    SPINOFF = "SPINOFF"
    STOCK_DISTRIBUTION = "STOCK_DISTRIBUTION"
    SYMBOL_CHANGE = "SYMBOL_CHANGE"
    MERGER = "MERGER"
    DELISTING = "DELISTING"
    LOT_SPLIT = "LOT_SPLIT"
    WASH_SALE = "WASH_SALE"
    SUPERFICIAL_LOSS = "SUPERFICIAL_LOSS"
    CARRIED_LOSS = "CARRIED_LOSS"
    HOLDING_PERIOD = "HOLDING_PERIOD"
    POOL = "POOL"
    LOSS_FINAL = "LOSS_FINAL"


#: Postings that dispose of shares, or of value received for them, and realise a gain or loss.
DISPOSITIONS: Final = frozenset(
    {
        PostingKind.SELL,
        PostingKind.COVER_SHORT,
        PostingKind.CASH_IN_LIEU,
        PostingKind.MERGER,
        PostingKind.DELISTING,
        PostingKind.STOCK_DISTRIBUTION,
        PostingKind.RETURN_OF_CAPITAL,
    }
)
#: Postings that disallow a realised loss.
DISALLOWANCES: Final = frozenset({PostingKind.WASH_SALE, PostingKind.SUPERFICIAL_LOSS})


@value
class LossLink:
    """The loss behind a disallowance, and where it went.

    Attributes:
        event: The event that realised the loss.
        lot: The lot that was sold.
        ticker: Its ticker then.
        day: Trade date of the loss.
        shares: Shares whose loss this is, in the shares of the posting's day.
        amount: The loss that is disallowed, cents; negative, with ``shares``, where a Canadian denial is lowered.
        replacement: The lot whose purchase replaces the shares; None where there is none.
        purchase: The event of that purchase; None where there is none.
        is_permanent: Whether nothing carries the loss: it is gone for good.
        resold: The sale of the replacement shares, where they were sold before the loss; its gain carries the loss.
    """

    event: EventKey
    lot: LotKey
    ticker: str
    day: date
    shares: Decimal
    amount: Decimal
    replacement: LotKey | None
    purchase: EventKey | None
    is_permanent: bool = False
    resold: EventKey | None = None


@value
class Posting:
    """One change of one lot, of cash, or of a realised gain. Amounts are signed cents of the base currency.

    Attributes:
        kind: What is recorded.
        day: Day on which it is booked: the trade date or ex-date of its event, or the day of the replacement purchase.
        account: Account whose lot, cash or gain changes.
        event: The event that caused it.
        ticker: The security; empty where cash alone moves.
        lot_id: The lot of ``account`` that changes; None where none does.
        quantity: Change of the lot's shares.
        cash: Change of the account's cash.
        cost_basis: Change of the lot's cost without carried losses.
        adjusted_basis: Change of the lot's basis for tax.
        realized_gain: Proceeds less basis of a disposition, negative for a loss; the loss disallowed, positive, of a
            disallowance. The sum is the gain that counts. A Canadian disposition can have further postings without
            shares and cash, under the same event and lot, which correct what it took out of its pool.
        term: Holding period of a US disposition, or of the loss that is disallowed; NONE for other postings.
        acquired_on: Acquisition date of the lot after the change (of the lot sold for a disposition); None without lot.
        holding_period_start: The date that stands for it when the holding period is counted.
        fee: Commission within ``cash`` of a disposition, positive.
        settle_date: Settlement date of the event, where known.
        tax_date: Day whose calendar year taxes the gain; None where nothing is realised.
        loss: The loss behind a disallowance or a carried loss.
        former: Lot that shares or a symbol come from: the parent of a spin-off, the whole of a split lot.
        reverses: Number of the stored posting that this one reverses; None for any other.
        correction_id: Correction that this posting belongs to; empty for any other.
    """

    kind: PostingKind
    day: date
    account: str
    event: EventKey
    ticker: str = ""
    lot_id: str | None = None
    quantity: Decimal = _ZERO
    cash: Decimal = _ZERO
    cost_basis: Decimal = _ZERO
    adjusted_basis: Decimal = _ZERO
    realized_gain: Decimal = _ZERO
    term: Term = Term.NONE
    acquired_on: date | None = None
    holding_period_start: date | None = None
    fee: Decimal = _ZERO
    settle_date: date | None = None
    tax_date: date | None = None
    loss: LossLink | None = None
    former: LotKey | None = None
    reverses: int | None = None
    correction_id: str = ""

    @property
    def lot(self) -> LotKey | None:
        """Return the key of the lot that changes."""
        return None if self.lot_id is None else LotKey(self.account, self.lot_id)
