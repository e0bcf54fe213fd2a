"""Rows of a snapshot that are few, as lists of a row's values: corporate actions and short positions."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from prometheus.decision.columns import plain
from prometheus.domain.lots import ShortPosition
from prometheus.domain.securities import ActionType, CorporateAction


def action_row(action: CorporateAction) -> list[Any]:
    """Return an action as it is stored; the other security and the basis fraction only where there is one."""
    row: list[Any] = [action.ticker, action.ex_date, action.action_type, action.value]
    if action.other_ticker or action.basis_fraction is not None:
        row += [action.other_ticker, action.basis_fraction]
    return row


def stored_action(row: Sequence[str | None]) -> CorporateAction:
    """Return the action of a row: the inverse of ``action_row`` and JSON."""
    ticker, day, kind, value, *named = row
    other, fraction = named or ("", None)
    return CorporateAction(
        str(ticker),
        date.fromisoformat(str(day)),
        ActionType(str(kind)),
        Decimal(str(value)),
        other or "",
        None if fraction is None else Decimal(fraction),
    )


def short_row(short: ShortPosition) -> list[Any]:
    """Return a short position as it is stored."""
    proceeds = format(short.proceeds, "f")
    held = [short.was_held, short.was_held_long]
    return [short.lot_id, short.ticker, short.sold_on, plain(short.quantity), proceeds, *held]


def stored_short(row: Sequence[Any]) -> ShortPosition:
    """Return the short position of a row: the inverse of ``short_row`` and JSON."""
    lot_id, ticker, sold_on, quantity, proceeds, was_held, was_held_long = row
    return ShortPosition(
        lot_id=lot_id,
        ticker=ticker,
        sold_on=date.fromisoformat(sold_on),
        quantity=Decimal(quantity),
        proceeds=Decimal(proceeds),
        was_held=was_held,
        was_held_long=was_held_long,
    )
