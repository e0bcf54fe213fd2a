"""Events written in the own format: what a file says by whichever layout, as rows that a person can check."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from prometheus.domain.money import plain_text
from prometheus.foundation.files import csv_text
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
from prometheus.ledger.files.columns import COLUMNS, REQUIRED, Action
from prometheus.ledger.files.file_terms import FileTerms
from prometheus.ledger.files.values import picks_text, ratio_text

_DIVIDENDS: Final[Mapping[DividendKind, Action]] = {
    DividendKind.ORDINARY: Action.DIVIDEND,
    DividendKind.SPECIAL: Action.SPECIAL_DIVIDEND,
    DividendKind.CAPITAL_GAIN: Action.CAPITAL_GAIN_DIVIDEND,
}


def write_own_format(events: Iterable[Event], terms: FileTerms | None = None) -> str:
    """Return events as CSV text that ``read_own_format`` reads into the same events.

    Rows come by date, account and name. What the terms say is written into every row that it concerns.

    Args:
        events: Of named accounts; actions of the market that reach every account have no row.
        terms: What a file has said about accounts and securities.

    Raises:
        ValueError: An event names no account.
    """
    rows = []
    for event in sorted(events, key=lambda each: (each.trade_date, each.account, each.event_id)):
        if not event.account:
            raise ValueError(f"the event {event.event_id} names no account, which every row must")
        row = row_of(event)
        if terms is not None:
            _add_terms(row, terms)
        rows.append(row)
    used = {column for row in rows for column, text in row.items() if text}
    columns = [column for column in COLUMNS if column in used or column in REQUIRED]
    return csv_text(columns, ({column: row.get(column, "") for column in columns} for row in rows))


def row_of(event: Event) -> dict[str, str]:
    """Return the row of the own format that tells of an event, by column."""
    if isinstance(event, Correction):
        row = row_of(event.replacement)
        row["corrects"] = row["entry_id"]
        row["entry_id"] = event.event_id
        row["corrected_on"] = event.trade_date.isoformat()
        return row
    row = {
        "date": event.trade_date.isoformat(),
        "account": event.account,
        "entry_id": event.event_id,
        "ticker": getattr(event, "ticker", ""),
    }
    if event.settle_date is not None:
        row["settle_date"] = event.settle_date.isoformat()
    if event.currency:
        row["currency"], row["rate"] = event.currency, plain_text(event.rate)
    row.update(_WRITERS[type(event)](event))
    return row


def _add_terms(row: dict[str, str], terms: FileTerms) -> None:
    account, ticker = row["account"], row["ticker"]
    if account in terms.sheltered:
        row["account_type"] = "SHELTERED"
    elif account in terms.taxable:
        row["account_type"] = "TAXABLE"
    row["taxpayer"] = terms.taxpayers.get(account, "")
    if ticker:
        row["group"] = terms.groups.get(ticker, "")
        row["asset_class"] = terms.asset_classes[ticker].value if ticker in terms.asset_classes else ""


# ---------------------------------------------------------------- one writer for each kind


def _text(number: Decimal | None) -> str:
    return "" if number is None else plain_text(number)


def _unless_zero(number: Decimal) -> str:
    return plain_text(number) if number else ""


def _lot_in(action: Action) -> Callable[[Any], dict[str, str]]:
    def write(event: Any) -> dict[str, str]:
        row = {
            "action": action.value,
            "quantity": plain_text(event.quantity),
            "amount": plain_text(event.cost_basis if event.adjusted_basis is None else event.adjusted_basis),
            "replaced_quantity": _unless_zero(event.replaced_quantity),
            "lot_id": event.lot_id or "",
        }
        if event.adjusted_basis is not None:
            row["cost_basis"] = plain_text(event.cost_basis)
        for column in ("acquired_on", "holding_period_start"):
            day = getattr(event, column)
            row[column] = "" if day is None else day.isoformat()
        return row

    return write


def _trade(action: Action) -> Callable[[Any], dict[str, str]]:
    def write(event: Any) -> dict[str, str]:
        picks = picks_text(getattr(event, "picks", ()))
        method = getattr(event, "method", None)
        return {
            "action": action.value,
            "quantity": plain_text(event.quantity),
            "amount": plain_text(event.amount),
            "fee": _unless_zero(event.fee),
            "lot_id": picks or getattr(event, "lot_id", None) or "",
            "method": "" if method is None else method.value,
        }

    return write


def _payment(action: Action) -> Callable[[Any], dict[str, str]]:
    return lambda event: {"action": action.value, "amount": _text(event.amount), "per_share": _text(event.per_share)}


def _charge(action: Action) -> Callable[[Any], dict[str, str]]:
    return lambda event: {"action": action.value, "amount": plain_text(event.amount)}


def _ratio(ratio: Fraction) -> str:
    return ratio_text(ratio) if ratio else ""


def _cash(event: Any) -> dict[str, str]:
    action = Action.TRANSFER_IN if event.amount >= 0 else Action.TRANSFER_OUT
    return {"action": action.value, "amount": plain_text(abs(event.amount)), "other_account": event.other_account or ""}


def _transfer_out(event: Any) -> dict[str, str]:
    return {
        "action": Action.TRANSFER_OUT.value,
        "quantity": plain_text(event.quantity),
        "lot_id": picks_text(event.picks),
        "other_account": event.other_account or "",
    }


def _exchange(action: Action, event: Any) -> dict[str, str]:
    return {
        "action": action.value,
        "quantity": _ratio(event.ratio),
        "amount": _text(event.cash_in_lieu),
        "fraction_price": _text(event.fraction_price),
    }


def _spin_off(event: Any) -> dict[str, str]:
    more = {"other_ticker": event.child, "basis_fraction": plain_text(event.basis_fraction)}
    return _exchange(Action.SPINOFF, event) | more


def _merger(event: Any) -> dict[str, str]:
    return _exchange(Action.MERGER, event) | {
        "other_ticker": event.new_ticker,
        "per_share": _unless_zero(event.cash_per_share),
        "price": _text(event.new_price),
        "taxable": "yes" if event.is_taxable else "",
    }


_WRITERS: Final[Mapping[type[Event], Callable[[Any], dict[str, str]]]] = {
    OpeningLot: _lot_in(Action.OPEN),
    TransferIn: _lot_in(Action.TRANSFER_IN),
    OpeningCash: _charge(Action.OPEN),
    CashTransfer: _cash,
    TransferOut: _transfer_out,
    Buy: _trade(Action.BUY),
    Reinvestment: _trade(Action.REINVEST),
    Sell: _trade(Action.SELL),
    ShortSale: _trade(Action.SHORT),
    CoverShort: _trade(Action.COVER),
    Dividend: lambda event: _payment(_DIVIDENDS[event.kind])(event),
    NotionalDistribution: _payment(Action.NOTIONAL_DISTRIBUTION),
    ReturnOfCapital: _payment(Action.RETURN_OF_CAPITAL),
    Fee: _charge(Action.FEE),
    Interest: _charge(Action.INTEREST),
    Split: lambda event: _exchange(Action.SPLIT, event),
    CashInLieu: lambda event: {
        "action": Action.CASH_IN_LIEU.value,
        "quantity": plain_text(event.quantity),
        "amount": plain_text(event.amount),
    },
    SpinOff: _spin_off,
    StockDistribution: lambda event: {
        "action": Action.STOCK_DISTRIBUTION.value,
        "per_share": plain_text(event.value),
        "price": plain_text(event.close),
    },
    SymbolChange: lambda event: {"action": Action.RENAME.value, "other_ticker": event.new_ticker},
    Merger: _merger,
    Delisting: lambda event: {
        "action": Action.DELIST.value,
        "amount": _text(event.amount),
        "per_share": _text(event.per_share),
        "quantity": _text(event.quantity),
    },
    Cancellation: lambda event: {"action": Action.REVERSE.value, "reverses": event.target_id},
}
