"""Simulated execution: a day's trades filled at its close, without commission, and carried into the books once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import recent_trades
from prometheus.db.database import Connection, Database
from prometheus.db.repositories import accounts as account_rows
from prometheus.db.repositories.market_data import securities
from prometheus.db.repositories.runs import trades_of_day
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.pipeline.settle import planned_fill

_WINDOW: Final = timedelta(days=61)


def fill_day(database: Database, as_of: date) -> int:
    """Book every persisted trade of a day at its price; return how many fills were booked now.

    Fills already booked are left alone, so the call may be repeated. Each account's fills are one transaction.
    """
    with database.transaction() as connection:
        trades = trades_of_day(connection, as_of)
        groups = {ticker: security.group for ticker, security in securities(connection).items()}
    booked = 0
    for account_id, lines in trades.items():
        with database.transaction() as connection:
            booked += _fill_account(connection, account_id, as_of, lines, groups)
    return booked


def _fill_account(
    connection: Connection,
    account_id: str,
    as_of: date,
    lines: Sequence[Mapping[str, Any]],
    groups: Mapping[str, str],
) -> int:
    account_rows.journal_position(connection, account_id, lock=True)
    account = account_rows.accounts_of(connection, account_ids=[account_id])[0]
    fills = _fills(account_id, as_of, lines)
    known = account_rows.known_external_ids(
        connection, account_id, [_external_id(fill.execution_id, 1) for fill in fills]
    )
    new = [fill for fill in fills if _external_id(fill.execution_id, 1) not in known]
    if not new:
        return 0
    books = account_rows.load_books(connection, account_id)
    journal = account_rows.journal_since(connection, account_id, as_of - _WINDOW)
    after, transactions = apply_fills(
        books,
        new,
        rates=account.rates,
        regime=account.tax_regime,
        recent_trades=recent_trades(journal, as_of),
        group_of=groups,
    )
    counts: dict[str, int] = defaultdict(int)
    external_ids: list[str | None] = []
    for row in transactions:
        execution_id = row.details.get("execution_id")
        if execution_id is None:
            external_ids.append(None)
            continue
        counts[execution_id] += 1
        external_ids.append(_external_id(execution_id, counts[execution_id]))
    account_rows.save_books(
        connection,
        account_id,
        before=books,
        after=after,
        transactions=transactions,
        books_as_of=as_of,
        external_ids=external_ids,
    )
    return len(new)


def _external_id(execution_id: str, part: int) -> str:
    return f"fill:{execution_id}#{part}"


def _fills(account_id: str, as_of: date, lines: Sequence[Mapping[str, Any]]) -> tuple[Fill, ...]:
    by_trade: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        by_trade[line["ticker"], line["side"]].append(line)
    fills = []
    for (ticker, side), parts in sorted(by_trade.items()):
        quantity = sum((part["quantity"] for part in parts), Decimal(0))
        is_sale = side == Side.SELL
        picks = tuple(LotPick(part["lot_id"], part["quantity"]) for part in parts) if is_sale else ()
        signed = -quantity if is_sale else quantity
        fills.append(planned_fill(account_id, as_of, ticker, signed, parts[0]["price"], picks))
    return tuple(fills)
