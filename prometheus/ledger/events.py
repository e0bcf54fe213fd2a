"""The facts: what happened in an account, each kind a frozen class of its own (``keys.fact``).

A row of a broker's file, an execution and a market-wide corporate action become the same events. An event never says
what follows from it: which lots a sale takes and what a loss meets is for the fold.

Amounts are positive and in cents of ``currency``; the class says which way they go. Shares are positive, with at most
nine decimals.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from prometheus.domain.accounts import LotMethod
from prometheus.domain.books import LotPick
from prometheus.domain.money import to_cents
from prometheus.ledger.keys import EventKey, fact

_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)


@fact
class Event:
    """What every event has.

    Attributes:
        account: The account; ``EVERY_ACCOUNT`` for an action of the market that reaches every account of the household
            which holds the security.
        event_id: Name of the event, unique within the account: the broker's execution id where there is one.
        trade_date: Trade date, ex-date, or the day on which shares or cash come or go.
        settle_date: Settlement date; None where nobody said. Canada's tax year goes by it.
        currency: Currency of the amounts; empty for the base currency of the account.
        rate: Base currency for one unit of ``currency`` on the day.
    """

    account: str
    event_id: str
    trade_date: date
    settle_date: date | None = None
    currency: str = ""
    rate: Decimal = _ONE

    @property
    def key(self) -> EventKey:
        """Return account and name."""
        return EventKey(self.account, self.event_id)

    def in_base(self, amount: Decimal) -> Decimal:
        """Return an amount of the event in cents of the base currency, at the rate of the day."""
        return to_cents(amount * self.rate) if self.currency else amount


# ---------------------------------------------------------------- what comes in and goes


@fact
class OpeningLot(Event):
    """A lot that an account has when its books open. The day's actions have happened to it already.

    Attributes:
        ticker: The security.
        quantity: Shares.
        cost_basis: Total cost without carried losses.
        adjusted_basis: Total basis for tax; ``cost_basis`` where None.
        acquired_on: Trade date of the purchase; ``trade_date`` where None.
        holding_period_start: The date that stands for ``acquired_on`` when the holding period is counted; earlier than
            it where a wash sale added days. ``acquired_on`` where None.
        replaced_quantity: Shares that have replaced shares sold at a loss before the books open; they do so once.
        lot_id: Name of the lot; ``event_id`` where None.

    Source: Treas. Reg. 1.1091-1(e) for ``replaced_quantity``, 26 U.S.C. 1223(3) for ``holding_period_start``.
    """

    ticker: str
    quantity: Decimal
    cost_basis: Decimal
    adjusted_basis: Decimal | None = None
    acquired_on: date | None = None
    holding_period_start: date | None = None
    replaced_quantity: Decimal = _ZERO
    lot_id: str | None = None


@fact
class TransferIn(OpeningLot):
    """A lot from outside the household. It counts as the purchase it was. Fields as for ``OpeningLot``."""


@fact
class OpeningCash(Event):
    """Cash that an account has when its books open; negative for a debt."""

    amount: Decimal


@fact
class CashTransfer(Event):
    """Cash that comes in (positive) or goes (negative) without a security.

    ``other_account`` of the household gets what goes, without an event of its own; None where it leaves the household.
    """

    amount: Decimal
    other_account: str | None = None


@fact
class TransferOut(Event):
    """Shares that go to another account of the household, with basis and dates, or leave it (``other_account`` None).

    Attributes:
        ticker: The security.
        quantity: Shares.
        picks: Lots named, adding up to ``quantity``; empty where the lot method chooses.
        other_account: The account that gets them.
    """

    ticker: str
    quantity: Decimal
    picks: tuple[LotPick, ...] = ()
    other_account: str | None = None


# ---------------------------------------------------------------- trades


@fact
class Buy(Event):
    """A purchase.

    Attributes:
        ticker: The security.
        quantity: Shares.
        amount: Total cost, commission included.
        fee: Commission within ``amount``.
        lot_id: Name of the lot; ``event_id`` where None.
    """

    ticker: str
    quantity: Decimal
    amount: Decimal
    fee: Decimal = _ZERO
    lot_id: str | None = None


@fact
class Reinvestment(Buy):
    """A dividend put back into shares: a purchase like another. Fields as for ``Buy``."""


@fact
class Sell(Event):
    """A sale of shares held.

    Attributes:
        ticker: The security.
        quantity: Shares.
        amount: Total proceeds after commission; shared out over the lots sold so that the lines add up to it.
        fee: Commission taken off already.
        picks: Lots named, adding up to ``quantity``; empty where a method chooses.
        method: Lot method of this sale; that of the account where None.
    """

    ticker: str
    quantity: Decimal
    amount: Decimal
    fee: Decimal = _ZERO
    picks: tuple[LotPick, ...] = ()
    method: LotMethod | None = None


@fact
class ShortSale(Event):
    """A sale of borrowed shares; opens a short position. ``amount`` is the proceeds after commission."""

    ticker: str
    quantity: Decimal
    amount: Decimal
    fee: Decimal = _ZERO
    lot_id: str | None = None


@fact
class CoverShort(Event):
    """Shares delivered against a short position.

    Attributes:
        ticker: The security.
        quantity: Shares.
        amount: Cost of shares bought to cover, commission included; zero where shares held are delivered.
        picks: Lots held that are delivered; empty where the shares are bought.
        fee: Commission within ``amount``.
    """

    ticker: str
    quantity: Decimal
    amount: Decimal = _ZERO
    fee: Decimal = _ZERO
    picks: tuple[LotPick, ...] = ()


# ---------------------------------------------------------------- income and charges


class DividendKind(StrEnum):
    """What a dividend is. CAPITAL_GAIN is Canada's capital gains dividend (ITA s. 131(1)): a gain, not income."""

    ORDINARY = "ORDINARY"
    SPECIAL = "SPECIAL"
    CAPITAL_GAIN = "CAPITAL_GAIN"


@fact
class Dividend(Event):
    """Cash paid on shares; no lot changes.

    Exactly one of ``amount`` (the whole payment) and ``per_share`` (for a share held before the day, after its splits)
    is given.
    """

    ticker: str
    amount: Decimal | None = None
    per_share: Decimal | None = None
    kind: DividendKind = DividendKind.ORDINARY


@fact
class NotionalDistribution(Event):
    """A distribution that a fund reinvests without giving units: the cost of the units held rises by ``amount``.

    ``amount`` or ``per_share`` as for ``Dividend``. Source: CRA guide T4037, "Identical properties".
    """

    ticker: str
    amount: Decimal | None = None
    per_share: Decimal | None = None


@fact
class ReturnOfCapital(Event):
    """Cash that lowers the basis of the shares; what exceeds the basis is a gain.

    ``amount`` or ``per_share`` as for ``Dividend``. Source: 26 U.S.C. 301(c)(2), (3); ITA ss. 53(2)(h), 40(3).
    """

    ticker: str
    amount: Decimal | None = None
    per_share: Decimal | None = None


@fact
class Fee(Event):
    """A charge of the account; cash goes."""

    amount: Decimal


@fact
class Interest(Event):
    """Interest received (positive) or paid (negative)."""

    amount: Decimal


# ---------------------------------------------------------------- corporate actions


@fact
class Split(Event):
    """Another number of shares for the same basis and dates.

    Attributes:
        ticker: The security.
        ratio: New shares for one old, positive and exact.
        cash_in_lieu: What was paid for the fraction of the account's position; None where nothing was.
        fraction_price: Price of a new share at which accounts that hold whole shares only are paid their fraction.
    """

    ticker: str
    ratio: Fraction
    cash_in_lieu: Decimal | None = None
    fraction_price: Decimal | None = None


@fact
class CashInLieu(Event):
    """``amount`` paid for a fraction of a share that an action left: a sale of ``quantity`` out of the earliest lots.

    Source: Rev. Rul. 66-365.
    """

    ticker: str
    quantity: Decimal
    amount: Decimal


@fact
class SpinOff(Event):
    """Shares of a child company, with a part of the basis and all of the holding period.

    Attributes:
        ticker: The parent.
        child: The child.
        ratio: Shares of the child for one of the parent.
        basis_fraction: Part of the parent's basis that moves, above 0 and below 1.
        cash_in_lieu: As for ``Split``, of the child.
        fraction_price: As for ``Split``, of the child.

    Source: 26 U.S.C. 355, 358, 1223(1); Treas. Reg. 1.358-2; ITA s. 86.1.
    """

    ticker: str
    child: str
    ratio: Fraction
    basis_fraction: Decimal
    cash_in_lieu: Decimal | None = None
    fraction_price: Decimal | None = None


@fact
class StockDistribution(Event):
    """Shares of a company that nobody names, received and sold at once.

    Attributes:
        ticker: The parent.
        value: Value received, a share of the parent held.
        close: The parent's close of the day: value / (value + close) of each basis leaves with what is received.
    """

    ticker: str
    value: Decimal
    close: Decimal


@fact
class SymbolChange(Event):
    """A new symbol of the same shares."""

    ticker: str
    new_ticker: str


@fact
class Merger(Event):
    """Shares exchanged for cash, for shares of another company, or for both.

    Attributes:
        ticker: The security that ends.
        new_ticker: The other company; empty where only cash is paid.
        ratio: Its shares for one old; zero where only cash is paid.
        cash_per_share: Cash for one old share.
        new_price: Value of one new share; needed where both are given, or where the exchange is taxable.
        is_taxable: Whether new shares are taken at their value, as a purchase for the proceeds of a sale.
        cash_in_lieu: As for ``Split``, of the new shares.
        fraction_price: As for ``Split``, of the new shares.

    Source: 26 U.S.C. 354, 356, 358, 368, 1001; ITA s. 85.1.
    """

    ticker: str
    new_ticker: str = ""
    ratio: Fraction = Fraction(0)
    cash_per_share: Decimal = _ZERO
    new_price: Decimal | None = None
    is_taxable: bool = False
    cash_in_lieu: Decimal | None = None
    fraction_price: Decimal | None = None


@fact
class Delisting(Event):
    """The end of a security: all shares of the account are disposed of.

    Exactly one of ``amount`` (for all shares, zero where they are worthless) and ``per_share`` is given. ``quantity``
    says how many shares the source thinks there are; None says nothing. Another number than is held is refused.

    Source: 26 U.S.C. 165(g), 1001; ITA s. 50(1).
    """

    ticker: str
    amount: Decimal | None = None
    per_share: Decimal | None = None
    quantity: Decimal | None = None


# ---------------------------------------------------------------- corrections


@fact
class Correction(Event):
    """Another event in the place of one told before; ``trade_date`` is the day on which the correction was told.

    ``replacement`` has the account and the name of the event that it replaces. Of several corrections of one event
    the one told last counts.
    """

    replacement: Event


@fact
class Cancellation(Event):
    """The event called ``target_id`` of the same account never happened; ``trade_date`` is the day of the news."""

    target_id: str


#: Every kind of event by the name that is stored with it.
EVENT_TYPES: Final[Mapping[str, type[Event]]] = {
    kind.__name__: kind
    for kind in (
        OpeningLot,
        OpeningCash,
        TransferIn,
        TransferOut,
        CashTransfer,
        Buy,
        Reinvestment,
        Sell,
        ShortSale,
        CoverShort,
        Dividend,
        NotionalDistribution,
        ReturnOfCapital,
        Fee,
        Interest,
        Split,
        CashInLieu,
        SpinOff,
        StockDistribution,
        SymbolChange,
        Merger,
        Delisting,
        Correction,
        Cancellation,
    )
}
