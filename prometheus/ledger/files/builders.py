"""One row of the own format as the event it tells of. Brokers' rows come here too, in the words of that format."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, cast

from prometheus.domain.accounts import LotMethod
from prometheus.ledger.events import (
    Buy,
    Cancellation,
    CashInLieu,
    CashTransfer,
    Correction,
    CoverShort,
    Delisting,
    Dividend,
    DividendKind,
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
from prometheus.ledger.files.columns import ALIASES, Action
from prometheus.ledger.files.findings import RefusedRowError
from prometheus.ledger.files.row_checks import Values, check_columns, check_names, check_numbers
from prometheus.ledger.files.values import read_day, read_number, read_picks, read_ratio, read_yes
from prometheus.ledger.shares import MOST_SHARES

_ONE: Final = Decimal(1)


def event_of(values: Values) -> Event:
    """Return the event that a row tells of; its name is the row's ``entry_id``, empty where it has none.

    A REVERSE becomes a Cancellation of the text in ``reverses``, which may still be the number of a line.

    Args:
        values: The row by column; missing columns are empty.

    Raises:
        RefusedRowError: A value cannot be read, is missing, or is one that the action has no use for.

    Source: docs/specs/broker_files.md, "The own format".
    """
    action = action_of(values.get("action", ""))
    ticker = values.get("ticker", "").upper()
    check_names(action, ticker, values)
    check_columns(action, ticker, values)
    day = read_day(values.get("date", ""), "date")
    account, name = values.get("account", ""), values.get("entry_id", "")
    if action is Action.REVERSE:
        return Cancellation(account=account, event_id=name, trade_date=day, target_id=values["reverses"])
    common: dict[str, Any] = {
        "account": account,
        "event_id": values.get("corrects") or name,
        "trade_date": day,
        "settle_date": _day(values, "settle_date"),
    }
    common["currency"], common["rate"] = _currency(values)
    check_numbers(action, ticker, values)
    event = (_CASH if not ticker and action in _CASH else _BUILDERS)[action](values, ticker, common)
    if not values.get("corrects"):
        return event
    told = read_day(values.get("corrected_on", ""), "corrected_on")
    return Correction(account=account, event_id=name, trade_date=told, replacement=event)


def action_of(text: str) -> Action:
    """Return the action of a text, in any case and with blanks or hyphens.

    Raises:
        RefusedRowError: UNKNOWN_ACTION.
    """
    name = text.upper().replace(" ", "_").replace("-", "_")
    if name in ALIASES:
        return ALIASES[name]
    try:
        return Action(name)
    except ValueError:
        raise RefusedRowError("UNKNOWN_ACTION", f"'{text}' is no action.", f"Use one of {', '.join(Action)}.") from None


def _currency(values: Values) -> tuple[str, Decimal]:
    currency, text = values.get("currency", "").upper(), values.get("rate", "")
    if bool(currency) is not bool(text):
        what = f"The currency {currency} has no rate." if currency else f"The rate {text} has no currency."
        raise RefusedRowError(
            "NO_RATE",
            what,
            "Fill in the currency and, as the rate, the base currency for one unit; neither for the base currency.",
        )
    rate = read_number(text, "rate")
    if rate is not None and rate <= 0:
        raise RefusedRowError("BAD_RATE", f"The rate {rate} is not positive.", "Give base currency for one unit.")
    return currency, _ONE if rate is None else rate


# ---------------------------------------------------------------- one builder for each action


def _day(values: Values, column: str) -> date | None:
    return read_day(values[column], column) if values.get(column) else None


def _number(values: Values, column: str) -> Decimal | None:
    return read_number(values.get(column, ""), column)


def _amount(values: Values, column: str = "amount") -> Decimal:
    number = read_number(values.get(column, ""), column)
    return Decimal(0) if number is None else number


def _lot_in(kind: type[OpeningLot]) -> Callable[[Values, str, dict[str, Any]], Event]:
    def build(values: Values, ticker: str, common: dict[str, Any]) -> Event:
        basis, cost = _amount(values), _number(values, "cost_basis")
        return kind(
            **common,
            ticker=ticker,
            quantity=_amount(values, "quantity"),
            cost_basis=basis if cost is None else cost,
            adjusted_basis=None if cost is None else basis,
            acquired_on=_day(values, "acquired_on"),
            holding_period_start=_day(values, "holding_period_start"),
            replaced_quantity=_amount(values, "replaced_quantity"),
            lot_id=values.get("lot_id") or None,
        )

    return build


def _purchase(kind: type[Buy | ShortSale]) -> Callable[[Values, str, dict[str, Any]], Event]:
    def build(values: Values, ticker: str, common: dict[str, Any]) -> Event:
        return kind(
            **common,
            ticker=ticker,
            quantity=_amount(values, "quantity"),
            amount=_amount(values),
            fee=_amount(values, "fee"),
            lot_id=values.get("lot_id") or None,
        )

    return build


def _payment(payment: type[Any], **more: Any) -> Callable[[Values, str, dict[str, Any]], Event]:
    def build(values: Values, ticker: str, common: dict[str, Any]) -> Event:
        paid = {"amount": _number(values, "amount"), "per_share": _number(values, "per_share")}
        return cast("Event", payment(**common, ticker=ticker, **paid, **more))

    return build


def _sell(values: Values, ticker: str, common: dict[str, Any]) -> Event:
    quantity, method = _amount(values, "quantity"), values.get("method", "").upper()
    if method and method not in set(LotMethod):
        raise RefusedRowError("UNKNOWN_METHOD", f"'{method}' is no lot method.", f"Use one of {', '.join(LotMethod)}.")
    return Sell(
        **common,
        ticker=ticker,
        quantity=quantity,
        amount=_amount(values),
        fee=_amount(values, "fee"),
        picks=read_picks(values.get("lot_id", ""), quantity),
        method=LotMethod(method) if method else None,
    )


def _cover(values: Values, ticker: str, common: dict[str, Any]) -> Event:
    quantity = _amount(values, "quantity")
    picks = read_picks(values.get("lot_id", ""), quantity)
    if not picks and not values.get("amount"):
        raise RefusedRowError(
            "NO_AMOUNT",
            "A COVER needs what the shares cost, or the lots that are delivered.",
            "Fill in the amount, or name lots in 'lot_id'.",
        )
    return CoverShort(
        **common, ticker=ticker, quantity=quantity, amount=_amount(values), fee=_amount(values, "fee"), picks=picks
    )


def _transfer_out(values: Values, ticker: str, common: dict[str, Any]) -> Event:
    quantity = _amount(values, "quantity")
    return TransferOut(
        **common,
        ticker=ticker,
        quantity=quantity,
        picks=read_picks(values.get("lot_id", ""), quantity),
        other_account=values.get("other_account") or None,
    )


def _ratio(values: Values, *, is_quoted: bool = False) -> Fraction:
    ratio = read_ratio(values.get("quantity", ""), is_quoted=is_quoted) or Fraction(0)
    if ratio > MOST_SHARES:
        raise RefusedRowError(
            "TOO_LARGE", f"The ratio {values['quantity']} is larger than {MOST_SHARES:,}.", "Correct the quantity."
        )
    return ratio


def _fractions(values: Values) -> dict[str, Any]:
    return {"cash_in_lieu": _number(values, "amount"), "fraction_price": _number(values, "fraction_price")}


def _split(values: Values, ticker: str, common: dict[str, Any]) -> Event:
    return Split(**common, ticker=ticker, ratio=_ratio(values, is_quoted=True), **_fractions(values))


def _spin_off(values: Values, ticker: str, common: dict[str, Any]) -> Event:
    part = _amount(values, "basis_fraction")
    if not 0 < part < 1:
        raise RefusedRowError(
            "BAD_BASIS_FRACTION",
            f"A spin-off moves a part of the basis between 0 and 1, not {part}.",
            "Fill in 'basis_fraction' from the company's Form 8937.",
        )
    return SpinOff(
        **common,
        ticker=ticker,
        child=values["other_ticker"].upper(),
        ratio=_ratio(values),
        basis_fraction=part,
        **_fractions(values),
    )


def _merger(values: Values, ticker: str, common: dict[str, Any]) -> Event:
    return Merger(
        **common,
        ticker=ticker,
        new_ticker=values.get("other_ticker", "").upper(),
        ratio=_ratio(values),
        cash_per_share=_amount(values, "per_share"),
        new_price=_number(values, "price"),
        is_taxable=read_yes(values.get("taxable", ""), "taxable"),
        **_fractions(values),
    )


def _delist(values: Values, ticker: str, common: dict[str, Any]) -> Event:
    return Delisting(
        **common,
        ticker=ticker,
        amount=_number(values, "amount"),
        per_share=_number(values, "per_share"),
        quantity=_number(values, "quantity"),
    )


_Builder = Callable[[Values, str, dict[str, Any]], Event]
_BUILDERS: Final[Mapping[Action, _Builder]] = {
    Action.OPEN: _lot_in(OpeningLot),
    Action.TRANSFER_IN: _lot_in(TransferIn),
    Action.TRANSFER_OUT: _transfer_out,
    Action.BUY: _purchase(Buy),
    Action.REINVEST: _purchase(Reinvestment),
    Action.SHORT: _purchase(ShortSale),
    Action.SELL: _sell,
    Action.COVER: _cover,
    Action.DIVIDEND: _payment(Dividend),
    Action.SPECIAL_DIVIDEND: _payment(Dividend, kind=DividendKind.SPECIAL),
    Action.CAPITAL_GAIN_DIVIDEND: _payment(Dividend, kind=DividendKind.CAPITAL_GAIN),
    Action.NOTIONAL_DISTRIBUTION: _payment(NotionalDistribution),
    Action.RETURN_OF_CAPITAL: _payment(ReturnOfCapital),
    Action.INTEREST: lambda values, _, common: Interest(**common, amount=_amount(values)),
    Action.FEE: lambda values, _, common: Fee(**common, amount=_amount(values)),
    Action.SPLIT: _split,
    Action.CASH_IN_LIEU: lambda values, ticker, common: CashInLieu(
        **common, ticker=ticker, quantity=_amount(values, "quantity"), amount=_amount(values)
    ),
    Action.SPINOFF: _spin_off,
    Action.STOCK_DISTRIBUTION: lambda values, ticker, common: StockDistribution(
        **common, ticker=ticker, value=_amount(values, "per_share"), close=_amount(values, "price")
    ),
    Action.RENAME: lambda values, ticker, common: SymbolChange(
        **common, ticker=ticker, new_ticker=values["other_ticker"].upper()
    ),
    Action.MERGER: _merger,
    Action.DELIST: _delist,
}
_CASH: Final[Mapping[Action, _Builder]] = {
    Action.OPEN: lambda values, _, common: OpeningCash(**common, amount=_amount(values)),
    Action.TRANSFER_IN: lambda values, _, common: CashTransfer(**common, amount=_amount(values)),
    Action.TRANSFER_OUT: lambda values, _, common: CashTransfer(
        **common, amount=-_amount(values), other_account=values.get("other_account") or None
    ),
}
