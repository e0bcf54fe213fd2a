"""Which orders of runs are still open: neither filled nor settled by a person.

The orders that can be open are those of an account's newest run that has any: a later run's orders stand in for them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.db.database import Connection
from prometheus.db.repositories.ledger_trades import Trade, trades_since
from prometheus.db.repositories.open_orders import (
    RunWithOrders,
    given_runs,
    named_orders,
    newest_runs,
    orders_of,
    splits_after,
)
from prometheus.domain.lots import Side
from prometheus.domain.money import nearest_step
from prometheus.domain.orders import OpenOrder
from prometheus.ledger.events import Buy, CoverShort, Sell, ShortSale
from prometheus.ledger.shares import split_ratio

__all__ = ["OpenOrder", "filled_shares", "open_orders"]

_SIDES: Final[Mapping[type[Trade], Side]] = {
    Buy: Side.BUY,
    Sell: Side.SELL,
    ShortSale: Side.SELL_SHORT,
    CoverShort: Side.BUY_TO_COVER,
}
#: Last decimal of a stored number of shares.
_STORED_STEP: Final = Decimal("0.00000001")


def open_orders(
    connection: Connection, *, through: date, account_ids: Sequence[str] | None = None
) -> tuple[OpenOrder, ...]:
    """Return the open orders of each account's newest run with orders, by account and line.

    An execution counts for the order that it names. One that names none (of a simulation, or of an account's own
    transactions) counts for the order of its ticker and side, if it was traded on the run's day or later and not after
    the day of the account's next run with orders. What a person settled is not open, nor what was archived.

    Args:
        connection: A transaction.
        through: Last day of the runs looked at.
        account_ids: The accounts; all of them where not given.
    """
    runs = {run.run_id: run for run in newest_runs(connection, through=through, account_ids=account_ids)}
    if not runs:
        return ()
    orders = orders_of(connection, runs)
    filled = _filled(connection, runs, {order.ticker for order in orders})
    unfilled = [
        OpenOrder(
            account_id=runs[order.run_id].account_id,
            run_seq=runs[order.run_id].run_seq,
            as_of_date=runs[order.run_id].as_of,
            ticker=order.ticker,
            side=order.side,
            quantity=order.quantity,
            filled=filled[order.run_id, order.ticker, order.side],
            line=order.line,
        )
        for order in orders
        if filled[order.run_id, order.ticker, order.side] < order.quantity
    ]
    return tuple(sorted(unfilled, key=lambda order: (order.account_id, order.line)))


def filled_shares(connection: Connection, run_ids: Collection[int]) -> Mapping[tuple[int, str, Side], Decimal]:
    """Return the shares of orders of given runs that are executed: by run, ticker and side, zero where none.

    Counted as ``open_orders`` counts them, in shares of the run's day.
    """
    runs = {run.run_id: run for run in given_runs(connection, run_ids)}
    return _filled(connection, runs, {order.ticker for order in orders_of(connection, runs)}) if runs else {}


def _filled(
    connection: Connection, runs: Mapping[int, RunWithOrders], tickers: Collection[str]
) -> dict[tuple[int, str, Side], Decimal]:
    """Return the shares that the ledger has for each order, counted in shares of the run's day."""
    since: dict[str, date] = {}
    for run in runs.values():
        since[run.account_id] = min(run.as_of, since.get(run.account_id, run.as_of))
    first = min(since.values())
    named = named_orders(connection, since, first)
    splits = splits_after(connection, tickers, first)
    trades = trades_since(connection, since)
    filled: dict[tuple[int, str, Side], Decimal] = defaultdict(Decimal)
    for run in runs.values():
        for trade in trades[run.account_id]:
            order = named.get((run.account_id, trade.event_id))
            if order.run_id == run.run_id if order is not None else _takes(run, trade):
                ticker = trade.ticker if order is None or order.ticker is None else order.ticker
                side = _SIDES[type(trade)]
                filled[run.run_id, ticker, side] += _shares_then(trade, run.as_of, splits.get(trade.ticker, ()))
    return filled


def _takes(run: RunWithOrders, trade: Trade) -> bool:
    """Return whether an execution that names no order is one of a run's, by its day."""
    if trade.trade_date < run.as_of or (run.later is not None and trade.trade_date > run.later):
        return False
    # What a simulation books for a run is called by the run's day; so the day that two runs share is told apart.
    return trade.trade_date != run.later or not trade.event_id.startswith(f"{run.account_id}:{run.later}:")


def _shares_then(trade: Trade, ordered: date, splits: Sequence[tuple[date, Decimal]]) -> Decimal:
    """Return the shares of a trade in shares of the day of its order."""
    shares = trade.quantity
    for ex_date, factor in splits:
        if ordered < ex_date <= trade.trade_date:
            ratio = split_ratio(factor)
            shares = nearest_step(shares * ratio.denominator / ratio.numerator, _STORED_STEP)
    return shares
