"""A fill as an event of the ledger: what it cost or brought in cents, commission included."""

from datetime import date
from decimal import Decimal
from typing import TypedDict

from prometheus.domain.books import Fill
from prometheus.domain.lots import Side
from prometheus.domain.money import to_cents
from prometheus.ledger.events import Buy, CoverShort, Event, Reinvestment, Sell, ShortSale


class _Trade(TypedDict):
    """What every trade has."""

    account: str
    event_id: str
    trade_date: date
    ticker: str
    quantity: Decimal
    fee: Decimal


def event_of_fill(account: str, fill: Fill) -> Event:
    """Return a fill as an event; a planned fill has no commission.

    Args:
        account: The account.
        fill: What was executed, or is planned.
    """
    trade: _Trade = {
        "account": account,
        "event_id": fill.execution_id,
        "trade_date": fill.trade_date,
        "ticker": fill.ticker,
        "quantity": fill.quantity,
        "fee": fill.fee,
    }
    gross = to_cents(fill.quantity * fill.price)
    match fill.side:
        case Side.SELL:
            return Sell(**trade, amount=gross - fill.fee, picks=fill.lot_picks)
        case Side.SELL_SHORT:
            return ShortSale(**trade, amount=gross - fill.fee, lot_id=fill.new_lot_id)
        case Side.BUY_TO_COVER:
            return CoverShort(**trade, amount=gross + fill.fee)
        case Side.BUY:
            kind = Reinvestment if fill.reinvested else Buy
            return kind(**trade, amount=gross + fill.fee, lot_id=fill.new_lot_id)
