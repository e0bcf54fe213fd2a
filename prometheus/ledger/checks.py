"""What is wrong with an event by itself, before anything is booked."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from prometheus.domain.books import LotPick
from prometheus.domain.money import CENT
from prometheus.ledger.events import (
    Buy,
    CashInLieu,
    CashTransfer,
    CoverShort,
    Delisting,
    Dividend,
    Event,
    Fee,
    Interest,
    Merger,
    NotionalDistribution,
    OpeningCash,
    OpeningLot,
    Reinvestment,
    ReturnOfCapital,
    Sell,
    ShortSale,
    SpinOff,
    Split,
    StockDistribution,
    SymbolChange,
    TransferIn,
    TransferOut,
)
from prometheus.ledger.keys import EVERY_ACCOUNT
from prometheus.ledger.lots import is_part
from prometheus.ledger.shares import MOST_SHARES, SMALLEST_SHARE

#: Code, message and remedy.
Defect = tuple[str, str, str]

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_TRADES: Final = frozenset({Buy, Reinvestment, Sell})
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2199

#: Fields that are share counts, by kind of event; each must be positive.
_SHARES: Final[Mapping[type[Event], tuple[str, ...]]] = {
    OpeningLot: ("quantity",),
    TransferIn: ("quantity",),
    TransferOut: ("quantity",),
    Buy: ("quantity",),
    Reinvestment: ("quantity",),
    Sell: ("quantity",),
    ShortSale: ("quantity",),
    CoverShort: ("quantity",),
    CashInLieu: ("quantity",),
}
#: Fields that are money, by kind of event; none may be negative, None is passed over.
_MONEY: Final[Mapping[type[Event], tuple[str, ...]]] = {
    OpeningLot: ("cost_basis", "adjusted_basis"),
    TransferIn: ("cost_basis", "adjusted_basis"),
    Buy: ("amount", "fee"),
    Reinvestment: ("amount", "fee"),
    Sell: ("amount", "fee"),
    ShortSale: ("amount", "fee"),
    CoverShort: ("amount", "fee"),
    Dividend: ("amount",),
    NotionalDistribution: ("amount",),
    ReturnOfCapital: ("amount",),
    CashInLieu: ("amount",),
    Split: ("cash_in_lieu",),
    SpinOff: ("cash_in_lieu",),
    Merger: ("cash_in_lieu",),
    Delisting: ("amount",),
}
#: Fields that are money and may have either sign.
_SIGNED: Final[Mapping[type[Event], tuple[str, ...]]] = {
    OpeningCash: ("amount",),
    CashTransfer: ("amount",),
    Fee: ("amount",),
    Interest: ("amount",),
}
#: Values of one share; none may be negative.
_PRICES: Final[Mapping[type[Event], tuple[str, ...]]] = {
    Dividend: ("per_share",),
    NotionalDistribution: ("per_share",),
    ReturnOfCapital: ("per_share",),
    Delisting: ("per_share",),
    StockDistribution: ("value",),
    Merger: ("cash_per_share", "new_price", "fraction_price"),
    Split: ("fraction_price",),
    SpinOff: ("fraction_price",),
}
#: Actions that can reach every account of a household.
MARKET_WIDE: Final = frozenset(
    {
        Split,
        SpinOff,
        StockDistribution,
        SymbolChange,
        Merger,
        Delisting,
        Dividend,
        NotionalDistribution,
        ReturnOfCapital,
    }
)


def check_event(event: Event) -> Defect | None:
    """Return what is wrong with an event by itself, None where nothing is."""
    kind = type(event)
    if not _FIRST_YEAR <= event.trade_date.year <= _LAST_YEAR:
        return (
            "DATE_OUT_OF_RANGE",
            f"The date {event.trade_date} is not between {_FIRST_YEAR} and {_LAST_YEAR}.",
            "Correct the year.",
        )
    if event.account == EVERY_ACCOUNT and kind not in MARKET_WIDE:
        return "NO_ACCOUNT", f"The {kind.__name__} names no account.", "Fill in the account."
    if event.rate is not _ONE and event.rate <= 0:
        return "BAD_RATE", f"The exchange rate {event.rate} is not positive.", "Give base currency for one unit."
    ticker = getattr(event, "ticker", None)
    if ticker == "":
        return "NO_TICKER", f"A {kind.__name__} names no security.", "Fill in the ticker."
    if kind in _TRADES:
        defect = _check_trade(event)
        if defect is not None:
            return defect
    else:
        defect = _check_numbers(kind, event)
        if defect is not None:
            return defect
    more = _FURTHER.get(kind)
    return None if more is None else more(event)


def _check_trade(event: Any) -> Defect | None:
    """Check what nearly every event is, without a table."""
    defect = _check_shares("quantity", event.quantity) or _check_money("amount", event.amount, event)
    return defect if defect is not None or not event.fee else _check_money("fee", event.fee, event)


def _check_numbers(kind: type[Event], event: Event) -> Defect | None:
    for name in _SHARES.get(kind, ()):
        defect = _check_shares(name, getattr(event, name))
        if defect is not None:
            return defect
    for name in _MONEY.get(kind, ()):
        defect = _check_money(name, getattr(event, name), event)
        if defect is not None:
            return defect
    for name in _SIGNED.get(kind, ()):
        amount = getattr(event, name)
        defect = _check_money(name, abs(amount), event)
        if defect is not None:
            return defect
    for name in _PRICES.get(kind, ()):
        price = getattr(event, name)
        if price is not None and not 0 <= price <= MOST_SHARES:
            return "BAD_PRICE", f"The {name} {price} is not possible.", f"Correct the {name}."
    return None


def _check_shares(name: str, quantity: Decimal) -> Defect | None:
    if quantity > _ZERO:
        if quantity > MOST_SHARES:
            return "TOO_LARGE", f"The {name} {quantity} is larger than {MOST_SHARES:,}.", f"Correct the {name}."
        if quantity != quantity.quantize(SMALLEST_SHARE):
            return "TOO_FINE", f"{quantity} shares are finer than {SMALLEST_SHARE:f}.", "Round to nine decimals."
        return None
    if quantity == 0:
        return "NO_QUANTITY", f"The {name} is zero.", "Fill in the shares."
    return (
        "NEGATIVE_QUANTITY",
        f"The {name} {quantity} is negative.",
        "Give shares as a positive number; the event says which way they go.",
    )


def _check_money(name: str, amount: Decimal | None, event: Event) -> Defect | None:
    if amount is None:
        return None
    if amount < _ZERO:
        return (
            "NEGATIVE_AMOUNT",
            f"The {name} {amount} is negative.",
            "Give money as a positive number; the event says which way it goes.",
        )
    if amount > MOST_SHARES:
        return "TOO_LARGE", f"The {name} {amount} is larger than {MOST_SHARES:,}.", f"Correct the {name}."
    if amount != amount.quantize(CENT) and not event.currency:
        return "PART_OF_A_CENT", f"The {name} {amount} has parts of a cent.", "Give money in cents."
    return None


def _check_lot(event: Any) -> Defect | None:
    if event.lot_id is not None and is_part(event.lot_id):
        return "BAD_LOT_ID", f"The lot name '{event.lot_id}' is one the ledger makes itself.", "Give another lot_id."
    return None


def _check_opening(event: OpeningLot) -> Defect | None:
    acquired = event.acquired_on
    if acquired is not None:
        if acquired > event.trade_date:
            return (
                "ACQUIRED_LATER",
                f"A lot acquired on {acquired} cannot come in on {event.trade_date}.",
                "Correct 'acquired_on' or the date.",
            )
        if acquired.year < _FIRST_YEAR:
            return "DATE_OUT_OF_RANGE", f"The date {acquired} is before {_FIRST_YEAR}.", "Correct the year."
    if not 0 <= event.replaced_quantity <= event.quantity:
        return (
            "BAD_REPLACED_QUANTITY",
            f"{event.replaced_quantity} of {event.quantity} shares cannot have replaced others.",
            "Correct 'replaced_quantity'.",
        )
    return _check_lot(event)


def _check_picks(event: Any) -> Defect | None:
    picks: tuple[LotPick, ...] = event.picks
    if not picks:
        return None
    if any(pick.quantity <= 0 for pick in picks):
        return "NEGATIVE_QUANTITY", "A lot is named with a quantity that is not positive.", "Correct the lots named."
    if len(picks) > 1 and len({pick.lot_id for pick in picks}) < len(picks):
        return "LOT_NAMED_TWICE", "A lot is named twice.", "Name every lot once, with all its shares."
    total = sum((pick.quantity for pick in picks), _ZERO)
    if total != event.quantity:
        return "PICKS_DIFFER", f"The lots named add up to {total}, not {event.quantity}.", "Correct one or the other."
    return None


def _check_transfer(event: TransferOut | CashTransfer) -> Defect | None:
    if event.other_account == event.account:
        return "SAME_ACCOUNT", "A transfer goes to another account.", "Correct 'other_account'."
    return _check_picks(event) if isinstance(event, TransferOut) else None


def _check_ratio(event: Any) -> Defect | None:
    if event.ratio <= 0:
        return (
            "ZERO_RATIO",
            f"A {type(event).__name__} by a ratio of {event.ratio} is impossible.",
            "Give new shares for one old: 2 for 2:1, 1/10 for 1:10.",
        )
    return None


def _check_spin_off(event: SpinOff) -> Defect | None:
    if event.child in {"", event.ticker}:
        return "NO_OTHER_TICKER", "A spin-off needs another security.", "Fill in the child's ticker."
    if not 0 < event.basis_fraction < 1:
        return (
            "BAD_BASIS_FRACTION",
            f"A spin-off moves a part of the basis between 0 and 1, not {event.basis_fraction}.",
            "Fill in the basis fraction from the company's Form 8937.",
        )
    return _check_ratio(event)


def _check_symbol(event: SymbolChange) -> Defect | None:
    if event.new_ticker in {"", event.ticker}:
        return "NO_OTHER_TICKER", "A symbol change needs another symbol.", "Fill in the new ticker."
    return None


def _check_merger(event: Merger) -> Defect | None:
    if (event.ratio > 0) is not bool(event.new_ticker) or event.new_ticker == event.ticker:
        return "NO_OTHER_TICKER", "A merger into shares needs their ticker and ratio.", "Fill in both, or neither."
    if event.ratio <= 0 and event.cash_per_share <= 0:
        return "ZERO_RATIO", "A merger pays neither shares nor cash.", "Fill in the terms, or enter a delisting."
    if event.ratio > 0 and event.new_price is None and (event.is_taxable or event.cash_per_share > 0):
        return "NO_PRICE", "A merger for cash and shares needs the value of a new share.", "Fill in the price."
    return None


def _check_payment(event: Any) -> Defect | None:
    if (event.amount is None) is (event.per_share is None):
        return "NO_AMOUNT", "Either the amount or the value of one share is needed.", "Fill in one of them."
    if event.account == EVERY_ACCOUNT and event.per_share is None:
        return "NO_ACCOUNT", "What every account is paid is told by the share.", "Fill in the value of one share."
    return None


def _check_distribution(event: StockDistribution) -> Defect | None:
    if event.close <= 0:
        return "NO_PRICE", f"The close {event.close} of {event.ticker} is not positive.", "Load the price first."
    return None


_FURTHER: Final[Mapping[type[Event], Callable[[Any], Defect | None]]] = {
    OpeningLot: _check_opening,
    TransferIn: _check_opening,
    TransferOut: _check_transfer,
    CashTransfer: _check_transfer,
    Buy: _check_lot,
    Reinvestment: _check_lot,
    ShortSale: _check_lot,
    Sell: _check_picks,
    CoverShort: _check_picks,
    Split: _check_ratio,
    SpinOff: _check_spin_off,
    SymbolChange: _check_symbol,
    Merger: _check_merger,
    Dividend: _check_payment,
    NotionalDistribution: _check_payment,
    ReturnOfCapital: _check_payment,
    Delisting: _check_payment,
    StockDistribution: _check_distribution,
}
