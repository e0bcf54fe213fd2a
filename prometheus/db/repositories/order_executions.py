"""Executions that name an order, as the broker reported them, with the lots that each took."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, insert, text

from prometheus.db.models import OrderExecutionRow
from prometheus.domain.books import LotPick
from prometheus.domain.money import plain_text
from prometheus.domain.orders import Execution, OrderName, parse_picks, picks_text

_STORED: Final = text("""
    SELECT execution_id, run_seq, order_executions.run_id, line, order_executions.ticker, order_executions.side,
           trade_date, quantity, price, fee, lot_picks ->> 'given' AS given, lot_picks ->> 'taken' AS taken
    FROM order_executions JOIN runs USING (run_id, account_id) WHERE account_id = :account
      AND (execution_id = ANY(:executions) OR order_executions.run_id = ANY(:runs))
""")


@dataclass(frozen=True, slots=True)
class StoredExecution:
    """An execution that was booked for an order.

    Attributes:
        execution_id: Its name.
        run_id: Run of the order.
        order: The order.
        ticker: The security, as the execution named it.
        side: BUY or SELL.
        trade_date: Day of the trade.
        quantity: Shares, positive.
        price: Base currency a share.
        fee: Commission in cents.
        given: Lots as the execution named them; empty where it named none.
        taken: Lots that the sale took.
    """

    execution_id: str
    run_id: int
    order: OrderName
    ticker: str
    side: str
    trade_date: date
    quantity: Decimal
    price: Decimal
    fee: Decimal
    given: str
    taken: tuple[LotPick, ...]

    def content(self) -> dict[str, str]:
        """Return what the execution says; see ``Execution.content``."""
        return {
            "order": str(self.order),
            "ticker": self.ticker,
            "side": self.side,
            "trade_date": self.trade_date.isoformat(),
            "quantity": plain_text(self.quantity),
            "price": plain_text(self.price),
            "fee": plain_text(self.fee),
            "lot_picks": self.given,
        }


def stored_executions(
    connection: Connection, account_id: str, execution_ids: Collection[str], run_ids: Collection[int]
) -> list[StoredExecution]:
    """Return the executions of an account that have one of the names, or that name an order of one of the runs."""
    wanted = {"account": account_id, "executions": sorted(execution_ids), "runs": sorted(run_ids)}
    return [
        StoredExecution(
            execution_id=row.execution_id,
            run_id=row.run_id,
            order=OrderName(account_id, row.run_seq, row.line),
            ticker=row.ticker,
            side=row.side,
            trade_date=row.trade_date,
            quantity=row.quantity,
            price=row.price,
            fee=row.fee,
            given=row.given or "",
            taken=parse_picks(row.taken),
        )
        for row in connection.execute(_STORED, wanted)
    ]


def record_executions(connection: Connection, rows: Sequence[tuple[Execution, int, tuple[LotPick, ...]]]) -> None:
    """Store executions that were booked: each with the run of its order and the lots that it took."""
    if not rows:
        return
    connection.execute(
        insert(OrderExecutionRow),
        [
            {
                "account_id": one.account_id,
                "execution_id": one.execution_id,
                "run_id": run_id,
                "line": one.order.line,
                "ticker": one.ticker,
                "side": one.side.value,
                "trade_date": one.trade_date,
                "executed_at": one.executed_at,
                "quantity": one.quantity,
                "price": one.price,
                "fee": one.fee,
                "lot_picks": {"given": one.content()["lot_picks"], "taken": picks_text(taken)},
            }
            for one, run_id, taken in rows
        ],
    )
