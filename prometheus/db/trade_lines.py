"""The text of a run's trades: one line for each, as COPY takes it and as digests of format 2 are taken over it."""

from decimal import Decimal
from typing import Final

from sqlalchemy import RowMapping

from prometheus.domain.run_record import TradeRow

#: Columns of ``run_trades`` but for its keys, in the order of a line.
TRADE_COLUMNS: Final = (
    "acquired_on", "amount", "basis", "cost", "disallowed_loss", "lot_id", "price", "quantity", "realized_gain",
    "side", "tax", "term", "ticker",
)  # fmt: skip
_NOTHING: Final = "\\N"
_ESCAPES: Final = {ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}
_CENTS_OF_NOTHING: Final = "0.00"


def trade_line(trade: TradeRow) -> str:
    """Return a trade as one line: columns parted by tabs, decimals with all places of their column, no value as NULL.

    The line is the same before and after the database: a column pads decimals with zeros and has no negative zero.

    """
    day = trade.acquired_on
    return "\t".join(
        (
            _NOTHING if day is None else day.isoformat(),
            _cents(trade.amount),
            _cents(trade.basis),
            _cents(trade.cost),
            _cents(trade.disallowed_loss),
            _text(trade.lot_id),
            f"{trade.price:.8f}",
            f"{trade.quantity:.8f}",
            _cents(trade.realized_gain),
            _text(trade.side),
            _cents(trade.tax),
            _text(trade.term),
            _text(trade.ticker),
        )
    )


def trade_of(row: RowMapping) -> TradeRow:
    """Return a trade from its columns; others are passed over."""
    return TradeRow(**{name: row[name] for name in TRADE_COLUMNS})


def _cents(amount: Decimal | None) -> str:
    if amount is None:
        return _NOTHING
    return f"{amount:.2f}" if amount else _CENTS_OF_NOTHING


def _text(value: str | None) -> str:
    if value is None:
        return _NOTHING
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)
