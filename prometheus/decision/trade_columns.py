"""Recent trades in a snapshot: stored by column, without what the other columns say already."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from decimal import Decimal
from typing import Any, Final

from prometheus.decision.columns import packed, plain, unpacked
from prometheus.domain.lots import RecentTrade, Side
from prometheus.foundation.canonical import JsonObject

_COLUMNS: Final = tuple(field.name for field in fields(RecentTrade))
_ALWAYS: Final = frozenset({"ticker", "trade_date", "side", "quantity"})
#: Columns that are left out where they are zero; a zero says something in other columns than these.
_ZERO_UNLESS_SAID: Final = frozenset({"realized_gain", "washed_quantity", "disallowed_loss", "denied_for_good"})
#: Columns that usually equal another one.
_USUALLY: Final = {"unreplaced": "quantity", "holding_period_start": "acquired_on"}
#: Stands for a value that follows from others.
FOLLOWS: Final = "="


def trade_columns(trades: Sequence[RecentTrade], account_id: str) -> JsonObject:
    """Return trades by column as JSON types; a column that says nothing is left out.

    Args:
        trades: The trades.
        account_id: The account that sees them; the engine's own names of lots and executions are made of it.
    """
    columns: dict[str, str | list[str]] = {}
    following = [_following(trade, account_id) for trade in trades]
    for name in _COLUMNS:
        texts = [_text(name, getattr(trade, name)) for trade in trades]
        if name in _ALWAYS or any(texts):
            columns[name] = packed_unless_usual(texts, [usual.get(name) for usual in following])
    return columns


def packed_unless_usual(texts: Sequence[str], usual: Sequence[str | None]) -> str | list[str]:
    """Return a packed column with a sign where a value is what it usually is; a list has all values written out."""
    if FOLLOWS in texts:
        # Somebody calls a lot like our sign: then all are written out, as a list.
        return list(texts)
    short = [FOLLOWS if text and text == other else text for text, other in zip(texts, usual, strict=True)]
    column = packed(short, repeats=True)
    return column if isinstance(column, str) else list(texts)


def engine_lot_id(account_id: str, acquired_on: str, ticker: str) -> str:
    """Return what the engine calls the lot that a purchase of a day (ISO) opens: see ``planned_fill``."""
    return f"{account_id}-{acquired_on.replace('-', '')}-{ticker}"


def recent_trades(stored: Any, account_id: str) -> tuple[RecentTrade, ...]:
    """Return the trades that were stored by column, or by row as the first snapshots had them."""
    if isinstance(stored, list):
        return tuple(_trade(row) for row in stored)
    if any(isinstance(values, str) for values in stored.values()) or not stored["ticker"]:
        return tuple(_from_texts({name: unpacked(values) for name, values in stored.items()}, stored, account_id))
    rows = []
    for i in range(len(stored["ticker"])):
        row = {name: values[i] for name, values in stored.items() if values[i] is not None}
        rows.append({name: row[_USUALLY[name]] if value is True else value for name, value in row.items()})
    return tuple(_trade(row) for row in rows)


def _from_texts(columns: Mapping[str, list[str]], stored: Mapping[str, Any], account_id: str) -> list[RecentTrade]:
    written_out = {name for name, values in stored.items() if not isinstance(values, str)}
    trades = []
    for i in range(len(columns["ticker"])):
        row = {name: values[i] for name, values in columns.items() if values[i]}
        for name in [name for name, text in row.items() if text == FOLLOWS and name not in written_out]:
            row[name] = _followed(name, row, account_id)
        trades.append(_trade(row))
    return trades


def _text(name: str, value: Any) -> str:
    if value is None or (name in _ZERO_UNLESS_SAID and not value):
        return ""
    if isinstance(value, Decimal):
        return plain(value) if name in {"quantity", "unreplaced"} else format(value, "f")
    return value.isoformat() if isinstance(value, date) else str(value)


def _following(trade: RecentTrade, account_id: str) -> dict[str, str]:
    """Return what a trade's columns usually are, given its others."""
    row = {name: _text(name, getattr(trade, name)) for name in ("ticker", "trade_date", "side", "quantity")}
    if trade.acquired_on is not None:
        row["acquired_on"] = trade.acquired_on.isoformat()
    return {name: _followed(name, row, account_id) for name in (*_USUALLY, "lot_id", "execution_id")}


def _followed(name: str, row: Mapping[str, str], account_id: str) -> str:
    """Return a column of a trade that follows from its others; names are those of ``planned_fill``."""
    if name == "lot_id":
        acquired_on = row["trade_date"] if row["side"] == Side.BUY else row.get("acquired_on", "")
        return engine_lot_id(account_id, acquired_on, row["ticker"])
    if name == "execution_id":
        return f"{account_id}:{row['trade_date']}:{row['ticker']}:{row['side']}"
    return row.get(_USUALLY[name], "")


def _trade(row: Mapping[str, str]) -> RecentTrade:
    def day(name: str) -> date | None:
        return date.fromisoformat(row[name]) if name in row else None

    return RecentTrade(
        ticker=row["ticker"],
        trade_date=date.fromisoformat(row["trade_date"]),
        side=Side(row["side"]),
        quantity=Decimal(row["quantity"]),
        realized_gain=Decimal(row.get("realized_gain", 0)),
        lot_id=row.get("lot_id"),
        unreplaced=Decimal(row["unreplaced"]) if "unreplaced" in row else None,
        washed_quantity=Decimal(row.get("washed_quantity", 0)),
        disallowed_loss=Decimal(row.get("disallowed_loss", 0)),
        acquired_on=day("acquired_on"),
        holding_period_start=day("holding_period_start"),
        execution_id=row.get("execution_id"),
        account=row.get("account", ""),
        denied_for_good=Decimal(row.get("denied_for_good", 0)),
    )
