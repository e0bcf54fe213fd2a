"""The journal: rows that record a change or take one back, and the trades that still matter."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any, Final

from prometheus.accounting.acb import pool_lots
from prometheus.accounting.wash_sales import WASH_WINDOW_DAYS
from prometheus.domain.books import (
    DISALLOWANCE_TYPES,
    DISPOSITION_TYPES,
    PURCHASE_TYPES,
    Books,
    Transaction,
    TransactionType,
)
from prometheus.domain.lots import RecentTrade, Side, TaxLot, Term
from prometheus.domain.money import SHARE_STEP, nearest_step, plain_text
from prometheus.foundation.errors import AccountingError

_LOOK_BACK: Final = {Side.SELL: timedelta(WASH_WINDOW_DAYS), Side.BUY: timedelta(2 * WASH_WINDOW_DAYS)}
_LOSS_NAMES: Final = (
    "loss_account",
    "loss_execution_id",
    "loss_lot_id",
    "loss_date",
    "purchase_lot_id",
    "replacement_account",
    "replacement_lot_id",
    "permanent",
)
_ZERO: Final = Decimal(0)


def lot_change(
    txn_type: TransactionType,
    trade_date: date,
    before: TaxLot | None,
    after: TaxLot | None,
    *,
    amount: Decimal = _ZERO,
    realized_gain: Decimal = _ZERO,
    term: Term = Term.NONE,
    details: Mapping[str, Any] | None = None,
) -> Transaction:
    """Return the journal row for a lot that went from ``before`` to ``after``.

    Dates that a replay cannot know (of a new lot, or of one that a wash sale changed) and a cost basis that moved
    unlike the adjusted basis are written into the details.

    Args:
        txn_type: What happened.
        trade_date: Trade date or ex-date.
        before: The lot before; None where the row opens it.
        after: The lot after; None where the row closes it.
        amount: Signed change of cash.
        realized_gain: See ``Transaction``.
        term: Holding period of a sale.
        details: Anything else worth keeping, JSON types.

    Raises:
        AccountingError: Neither lot is given, or they are two different lots.
    """
    named = after if after is not None else before
    if named is None or (before is not None and before.lot_id != named.lot_id):
        raise AccountingError(f"a {txn_type} row on {trade_date} must describe exactly one lot.")
    if before is None:
        quantity, basis, cost = named.quantity, named.adjusted_basis, named.cost_basis
    elif after is None:
        quantity, basis, cost = -before.quantity, -before.adjusted_basis, -before.cost_basis
    else:
        quantity = after.quantity - before.quantity
        basis = after.adjusted_basis - before.adjusted_basis
        cost = after.cost_basis - before.cost_basis
    kept = dict(details or {})
    if cost != basis:
        kept["cost_basis"] = plain_text(cost)
    if before is None:
        kept["acquired_on"] = named.acquired_on.isoformat()
    elif after is not None and after.acquired_on != before.acquired_on:
        kept["acquired_on"] = after.acquired_on.isoformat()
    if before is None or (after is not None and after.holding_period_start != before.holding_period_start):
        kept["holding_period_start"] = named.holding_period_start.isoformat()
    return Transaction(
        txn_type=txn_type,
        trade_date=trade_date,
        ticker=named.ticker,
        lot_id=named.lot_id,
        quantity=quantity,
        amount=amount,
        basis=basis,
        realized_gain=realized_gain,
        term=term,
        details=kept,
    )


def opening_transactions(books: Books, on: date) -> tuple[Transaction, ...]:
    """Return the rows with which a journal begins: the cash an account brings, and each of its lots."""
    cash = Transaction(TransactionType.OPENING, on, "", None, amount=books.cash)
    return (cash, *(lot_change(TransactionType.OPENING, on, None, lot) for lot in books.lots))


def pooling_transactions(lots: Iterable[TaxLot], on: date) -> tuple[tuple[TaxLot, ...], tuple[Transaction, ...]]:
    """Pool lots by security, and return the pools with the rows that say so.

    Args:
        lots: Any lots; pools may be among them.
        on: Date of the rows.

    Returns:
        One pool for each security, and the rows; a security that is one pool already has none.
    """
    found = {lot.lot_id: lot for lot in lots}
    pools = pool_lots(found.values())
    rows: list[Transaction] = []
    for pooled in pools:
        before = found.get(pooled.lot_id)
        if before == pooled:
            continue
        merged = (lot for lot in found.values() if lot.ticker == pooled.ticker and lot is not before)
        rows.extend(lot_change(TransactionType.POOL, on, lot, None) for lot in merged)
        rows.append(lot_change(TransactionType.POOL, on, before, pooled))
    return pools, tuple(rows)


def effective_rows(transactions: Iterable[Transaction]) -> tuple[Transaction, ...]:
    """Return the rows that stand: those that no REVERSAL has taken back, without the reversals themselves.

    A reversal names the type of the row that it takes back; of several alike the latest is meant.

    Raises:
        AccountingError: A reversal of a row that is not there, or was taken back before.
    """
    standing: list[Transaction] = []
    for row in transactions:
        if row.txn_type is not TransactionType.REVERSAL:
            standing.append(row)
            continue
        for i in range(len(standing) - 1, -1, -1):
            if _takes_back(row, standing[i]):
                del standing[i]
                break
        else:
            raise AccountingError(
                f"the journal takes back a {row.details.get('reverses')} row of {row.trade_date} "
                f"({row.ticker or 'cash'}, lot {row.lot_id}) that does not stand; give the rows before it too.",
                code="REVERSED_TWICE",
            )
    return tuple(standing)


def _takes_back(reversal: Transaction, row: Transaction) -> bool:
    named = [name for name in _LOSS_NAMES if name in reversal.details]
    return (
        row.txn_type == reversal.details["reverses"]
        and row.account == reversal.account
        and row.lot_id == reversal.lot_id
        and row.trade_date == reversal.trade_date
        and row.quantity == -reversal.quantity
        and row.amount == -reversal.amount
        and row.basis == -reversal.basis
        and row.realized_gain == -reversal.realized_gain
        and all(row.details.get(name) == reversal.details[name] for name in named)
    )


def reversal_of(row: Transaction, before: TaxLot | None, after: TaxLot | None) -> Transaction:
    """Return the row that takes ``row`` back.

    Args:
        row: The row; none that was booked later on the same lot may stand.
        before: Its lot before it; None where it opened the lot or concerned cash alone.
        after: Its lot after it; None where it closed the lot.
    """
    details = {"reverses": str(row.txn_type)}
    if row.lot_id is None:
        return replace(
            row,
            txn_type=TransactionType.REVERSAL,
            amount=-row.amount,
            realized_gain=-row.realized_gain,
            # Rows without a lot are alike but for the loss that they speak of.
            details=details | {name: row.details[name] for name in _LOSS_NAMES if name in row.details},
        )
    reversal = lot_change(
        TransactionType.REVERSAL,
        row.trade_date,
        after,
        before,
        amount=-row.amount,
        realized_gain=-row.realized_gain,
        term=row.term,
        details=details,
    )
    return replace(reversal, account=row.account) if row.account else reversal


def recent_trades(transactions: Iterable[Transaction], as_of: date) -> tuple[RecentTrade, ...]:
    """Return the trades before ``as_of`` (included) that the wash rules may still need.

    Sales of the last 30 days, for a purchase can wash them, and purchases of the last 60, for they may lie in the
    window of such a sale.

    Quantities are in the shares of ``as_of``: later splits are applied. What wash sales have used up of purchases and
    washed of losses is taken off. An opening lot counts as the purchase it was, on the day it was bought.

    Args:
        transactions: Journal rows in the order in which they were written; those of the last 61 days are enough, as
            rows about trades that are not there are passed over.
        as_of: Trade date from which to look back.
    """
    trades: list[RecentTrade] = []
    splits_seen: set[tuple[str, date]] = set()
    for changed_on, rows in groupby(effective_rows(transactions), key=_day_of_new_symbol):
        if changed_on is not None:
            new_symbols = {row.details["former_ticker"]: row.ticker for row in rows}
            trades = [replace(trade, ticker=new_symbols.get(trade.ticker, trade.ticker)) for trade in trades]
            continue
        for row in rows:
            if row.txn_type in PURCHASE_TYPES and row.quantity > 0:
                trades.append(purchase_trade(row))
            elif row.txn_type in DISPOSITION_TYPES:
                trades.append(sale_trade(row))
            elif row.txn_type in DISALLOWANCE_TYPES:
                trades = [_after_disallowance(trade, row) for trade in trades]
            elif row.txn_type is TransactionType.SPLIT and (row.ticker, row.trade_date) not in splits_seen:
                splits_seen.add((row.ticker, row.trade_date))
                trades = [_after_split(trade, row) for trade in trades]
    return tuple(
        trade
        for trade in trades
        if trade.quantity > 0 and timedelta(0) <= as_of - trade.trade_date <= _LOOK_BACK[trade.side]
    )


def _day_of_new_symbol(row: Transaction) -> date | None:
    """Return the day of a symbol change, None for every other row: the changes of a day happen at once."""
    return row.trade_date if row.txn_type is TransactionType.SYMBOL_CHANGE else None


def purchase_trade(row: Transaction) -> RecentTrade:
    """Return the trade that a purchase row records; an opening lot is the purchase it was, on its day."""
    bought = row.trade_date
    if row.txn_type is TransactionType.OPENING:
        bought = date.fromisoformat(row.details["acquired_on"])
    return RecentTrade(
        ticker=row.ticker,
        trade_date=bought,
        side=Side.BUY,
        quantity=row.quantity,
        lot_id=row.lot_id,
        unreplaced=row.quantity,
        execution_id=row.details.get("execution_id"),
    )


def sale_trade(row: Transaction) -> RecentTrade:
    """Return the trade that a row of a disposition records."""
    return RecentTrade(
        ticker=row.ticker,
        trade_date=row.trade_date,
        side=Side.SELL,
        quantity=-row.quantity,
        realized_gain=row.realized_gain,
        lot_id=row.lot_id,
        acquired_on=date.fromisoformat(row.details["sold_acquired_on"]),
        holding_period_start=date.fromisoformat(row.details["sold_holding_period_start"]),
        execution_id=row.details.get("execution_id"),
    )


def _after_disallowance(trade: RecentTrade, row: Transaction) -> RecentTrade:
    details = row.details
    shares = Decimal(details["shares"])
    if trade.side is Side.BUY:
        if row.txn_type is TransactionType.SUPERFICIAL_LOSS or trade.lot_id != details["purchase_lot_id"]:
            return trade
        # The lot served whole: whatever else the purchase brought is sold or has replaced other shares.
        whole = details.get("replacement_lot_id", row.lot_id) == trade.lot_id and not details.get("permanent")
        return replace(trade, unreplaced=_ZERO if whole else (trade.unreplaced or _ZERO) - shares)
    sold = (trade.execution_id, trade.lot_id, trade.trade_date.isoformat())
    if sold != (details["loss_execution_id"], details["loss_lot_id"], details["loss_date"]):
        return trade
    return replace(
        trade,
        washed_quantity=trade.washed_quantity + shares,
        disallowed_loss=trade.disallowed_loss + row.realized_gain,
        denied_for_good=trade.denied_for_good + (row.realized_gain if details.get("permanent") else _ZERO),
    )


def _after_split(trade: RecentTrade, row: Transaction) -> RecentTrade:
    if trade.ticker != row.ticker or trade.trade_date >= row.trade_date:
        return trade
    return trade_after_split(trade, Fraction(int(row.details["new_shares"]), int(row.details["old_shares"])))


def trade_after_split(trade: RecentTrade, ratio: Fraction) -> RecentTrade:
    """Return a past trade in the shares of after a split, rounded to steps of 0.0001 share."""

    def scaled(quantity: Decimal) -> Decimal:
        return nearest_step(quantity * ratio.numerator / ratio.denominator, SHARE_STEP)

    return replace(
        trade,
        quantity=scaled(trade.quantity),
        washed_quantity=scaled(trade.washed_quantity),
        unreplaced=None if trade.unreplaced is None else scaled(trade.unreplaced),
    )
