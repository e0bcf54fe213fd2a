"""One row of the own format as the event it tells of. Brokers' rows come here too, in the words of that format."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple, TypedDict

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
from prometheus.ledger.files.row_checks import Money, Values, check_columns, read_money
from prometheus.ledger.files.values import read_day, read_number, read_picks, read_ratio, read_yes
from prometheus.ledger.shares import MOST_SHARES

_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)


class Head(TypedDict):
    """What every event has; see ``Event``."""

    account: str
    event_id: str
    trade_date: date
    settle_date: date | None
    currency: str
    rate: Decimal


class OwnRow(NamedTuple):
    """A row whose columns and amounts were checked.

    Attributes:
        values: The row by column; columns without a value are left out.
        money: Its amounts by column.
        ticker: Its security in capitals, empty where it names none.
        head: What every event has.
    """

    values: Values
    money: Money
    ticker: str
    head: Head

    def text(self, column: str) -> str:
        """Return a value, empty where there is none."""
        return self.values.get(column, "")

    def amount(self, column: str = "amount") -> Decimal:
        """Return an amount, 0 where there is none."""
        return self.money.get(column, _ZERO)

    def shares(self, column: str = "quantity") -> Decimal:
        """Return a number of shares, 0 where there is none."""
        number = read_number(self.values.get(column, ""), column)
        return _ZERO if number is None else number


def event_of(values: Values) -> Event:
    """Return the event that a row tells of; its name is the row's ``entry_id``, empty where it has none.

    A REVERSE becomes a Cancellation of the text in ``reverses``, which may still be the number of a line.

    Args:
        values: The row by column; columns without a value are left out.

    Raises:
        RefusedRowError: A value cannot be read, is missing, or is one that the action has no use for.

    Source: docs/specs/broker_files.md, "The own format".
    """
    action = action_of(values.get("action", ""))
    check_columns(action, values)
    day = read_day(values.get("date", ""), "date")
    account, name = values["account"], values.get("entry_id", "")
    if action is Action.REVERSE:
        return Cancellation(account=account, event_id=name, trade_date=day, target_id=values["reverses"])
    corrects = values.get("corrects", "")
    currency, rate = _currency(values)
    head = Head(
        account=account,
        event_id=corrects or name,
        trade_date=day,
        settle_date=_day(values, "settle_date"),
        currency=currency,
        rate=rate,
    )
    ticker = values.get("ticker", "").upper()
    row = OwnRow(values, read_money(action, values), ticker, head)
    event = (_CASH if not ticker and action in _CASH else _BUILDERS)[action](row)
    if not corrects:
        return event
    told = read_day(values.get("corrected_on", ""), "corrected_on")
    return Correction(account=account, event_id=name, trade_date=told, replacement=event)


@lru_cache(maxsize=1024)
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
    if not currency and not text:
        return "", _ONE
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


_Builder = Callable[[OwnRow], Event]


def _day(values: Values, column: str) -> date | None:
    return read_day(values[column], column) if column in values else None


def _lot_in(kind: type[OpeningLot]) -> _Builder:
    def build(row: OwnRow) -> Event:
        basis, cost = row.amount(), row.money.get("cost_basis")
        return kind(
            **row.head,
            ticker=row.ticker,
            quantity=row.shares(),
            cost_basis=basis if cost is None else cost,
            adjusted_basis=None if cost is None else basis,
            acquired_on=_day(row.values, "acquired_on"),
            holding_period_start=_day(row.values, "holding_period_start"),
            replaced_quantity=row.shares("replaced_quantity"),
            lot_id=row.text("lot_id") or None,
        )

    return build


def _purchase(kind: type[Buy | ShortSale]) -> _Builder:
    def build(row: OwnRow) -> Event:
        return kind(
            **row.head,
            ticker=row.ticker,
            quantity=row.shares(),
            amount=row.amount(),
            fee=row.amount("fee"),
            lot_id=row.text("lot_id") or None,
        )

    return build


def _dividend(kind: DividendKind) -> _Builder:
    def build(row: OwnRow) -> Event:
        return Dividend(
            **row.head,
            ticker=row.ticker,
            amount=row.money.get("amount"),
            per_share=row.money.get("per_share"),
            kind=kind,
        )

    return build


def _payment(kind: type[NotionalDistribution | ReturnOfCapital]) -> _Builder:
    def build(row: OwnRow) -> Event:
        return kind(**row.head, ticker=row.ticker, amount=row.money.get("amount"), per_share=row.money.get("per_share"))

    return build


def _sell(row: OwnRow) -> Event:
    quantity, method = row.shares(), row.text("method").upper()
    if method and method not in set(LotMethod):
        raise RefusedRowError("UNKNOWN_METHOD", f"'{method}' is no lot method.", f"Use one of {', '.join(LotMethod)}.")
    return Sell(
        **row.head,
        ticker=row.ticker,
        quantity=quantity,
        amount=row.amount(),
        fee=row.amount("fee"),
        picks=read_picks(row.text("lot_id"), quantity),
        method=LotMethod(method) if method else None,
    )


def _cover(row: OwnRow) -> Event:
    quantity = row.shares()
    picks = read_picks(row.text("lot_id"), quantity)
    if not picks and not row.text("amount"):
        raise RefusedRowError(
            "NO_AMOUNT",
            "A COVER needs what the shares cost, or the lots that are delivered.",
            "Fill in the amount, or name lots in 'lot_id'.",
        )
    return CoverShort(
        **row.head, ticker=row.ticker, quantity=quantity, amount=row.amount(), fee=row.amount("fee"), picks=picks
    )


def _transfer_out(row: OwnRow) -> Event:
    quantity = row.shares()
    return TransferOut(
        **row.head,
        ticker=row.ticker,
        quantity=quantity,
        picks=read_picks(row.text("lot_id"), quantity),
        other_account=row.text("other_account") or None,
    )


def _ratio(row: OwnRow, *, is_quoted: bool = False) -> Fraction:
    ratio = read_ratio(row.text("quantity"), is_quoted=is_quoted) or Fraction(0)
    if ratio > MOST_SHARES:
        raise RefusedRowError(
            "TOO_LARGE", f"The ratio {row.text('quantity')} is larger than {MOST_SHARES:,}.", "Correct the quantity."
        )
    return ratio


class _Fractions(TypedDict):
    cash_in_lieu: Decimal | None
    fraction_price: Decimal | None


def _fractions(row: OwnRow) -> _Fractions:
    return {"cash_in_lieu": row.money.get("amount"), "fraction_price": row.money.get("fraction_price")}


def _split(row: OwnRow) -> Event:
    return Split(**row.head, ticker=row.ticker, ratio=_ratio(row, is_quoted=True), **_fractions(row))


def _spin_off(row: OwnRow) -> Event:
    part = row.shares("basis_fraction")
    if not 0 < part < 1:
        raise RefusedRowError(
            "BAD_BASIS_FRACTION",
            f"A spin-off moves a part of the basis between 0 and 1, not {part}.",
            "Fill in 'basis_fraction' from the company's Form 8937.",
        )
    return SpinOff(
        **row.head,
        ticker=row.ticker,
        child=row.text("other_ticker").upper(),
        ratio=_ratio(row),
        basis_fraction=part,
        **_fractions(row),
    )


def _merger(row: OwnRow) -> Event:
    return Merger(
        **row.head,
        ticker=row.ticker,
        new_ticker=row.text("other_ticker").upper(),
        ratio=_ratio(row),
        cash_per_share=row.amount("per_share"),
        new_price=row.money.get("price"),
        is_taxable=read_yes(row.text("taxable"), "taxable"),
        **_fractions(row),
    )


def _delist(row: OwnRow) -> Event:
    return Delisting(
        **row.head,
        ticker=row.ticker,
        amount=row.money.get("amount"),
        per_share=row.money.get("per_share"),
        quantity=read_number(row.text("quantity"), "quantity"),
    )


_BUILDERS: Final[Mapping[Action, _Builder]] = {
    Action.OPEN: _lot_in(OpeningLot),
    Action.TRANSFER_IN: _lot_in(TransferIn),
    Action.TRANSFER_OUT: _transfer_out,
    Action.BUY: _purchase(Buy),
    Action.REINVEST: _purchase(Reinvestment),
    Action.SHORT: _purchase(ShortSale),
    Action.SELL: _sell,
    Action.COVER: _cover,
    Action.DIVIDEND: _dividend(DividendKind.ORDINARY),
    Action.SPECIAL_DIVIDEND: _dividend(DividendKind.SPECIAL),
    Action.CAPITAL_GAIN_DIVIDEND: _dividend(DividendKind.CAPITAL_GAIN),
    Action.NOTIONAL_DISTRIBUTION: _payment(NotionalDistribution),
    Action.RETURN_OF_CAPITAL: _payment(ReturnOfCapital),
    Action.INTEREST: lambda row: Interest(**row.head, amount=row.amount()),
    Action.FEE: lambda row: Fee(**row.head, amount=row.amount()),
    Action.SPLIT: _split,
    Action.CASH_IN_LIEU: lambda row: CashInLieu(
        **row.head, ticker=row.ticker, quantity=row.shares(), amount=row.amount()
    ),
    Action.SPINOFF: _spin_off,
    Action.STOCK_DISTRIBUTION: lambda row: StockDistribution(
        **row.head, ticker=row.ticker, value=row.amount("per_share"), close=row.amount("price")
    ),
    Action.RENAME: lambda row: SymbolChange(**row.head, ticker=row.ticker, new_ticker=row.text("other_ticker").upper()),
    Action.MERGER: _merger,
    Action.DELIST: _delist,
}
_CASH: Final[Mapping[Action, _Builder]] = {
    Action.OPEN: lambda row: OpeningCash(**row.head, amount=row.amount()),
    Action.TRANSFER_IN: lambda row: CashTransfer(**row.head, amount=row.amount()),
    Action.TRANSFER_OUT: lambda row: CashTransfer(
        **row.head, amount=-row.amount(), other_account=row.text("other_account") or None
    ),
}
