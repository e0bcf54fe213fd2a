"""Orders of runs as they were placed, and a person's settlements of what was left unfilled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, text

from prometheus.db.models import OrderSettlementRow
from prometheus.domain.books import LotPick
from prometheus.domain.lots import Side
from prometheus.domain.money import plain_text
from prometheus.domain.orders import OpenOrder, OrderName, RunOrder, Settled
from prometheus.foundation.canonical import JsonObject

# A sale has a line for each lot; the order's id has the first of them.
_ORDERS: Final = text("""
    SELECT runs.run_id, account_id, run_seq, as_of_date, ticker, side, min(trade_no) AS line, sum(quantity) AS quantity,
           array_agg(lot_id ORDER BY trade_no) AS lots, array_agg(quantity ORDER BY trade_no) AS shares
    FROM runs JOIN unnest(CAST(:accounts AS text[]), CAST(:seqs AS bigint[])) AS wanted(account_id, run_seq)
         USING (account_id, run_seq)
    JOIN run_trades ON run_trades.run_id = runs.run_id
    GROUP BY runs.run_id, account_id, run_seq, as_of_date, ticker, side
""")
_SETTLEMENT: Final = text("""
    SELECT order_settlements.status, reason, settled_by, order_settlements.recorded_at
    FROM order_settlements JOIN runs USING (run_id) WHERE runs.account_id = :account AND run_seq = :seq
""")
_RUN_ID: Final = text("SELECT run_id FROM runs WHERE account_id = :account AND run_seq = :seq")
_NEXT: Final = text("""
    SELECT run_seq FROM runs WHERE account_id = :account AND run_seq > :seq
      AND EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = runs.run_id) ORDER BY run_seq LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Settlement:
    """End of the rest of a run's orders: how, why, by whom and when."""

    status: Settled
    reason: str
    settled_by: str
    recorded_at: datetime


def run_orders(connection: Connection, runs: Sequence[tuple[str, int]]) -> dict[OrderName, RunOrder]:
    """Return the orders of runs (account and number) by name; none for a run that does not exist or was archived."""
    wanted = sorted(set(runs))
    rows = connection.execute(
        _ORDERS, {"accounts": [account for account, _ in wanted], "seqs": [seq for _, seq in wanted]}
    )
    orders = {}
    for row in rows:
        name = OrderName(row.account_id, row.run_seq, row.line)
        sells = row.side == Side.SELL.value
        lots = tuple(LotPick(lot, shares) for lot, shares in zip(row.lots, row.shares, strict=True)) if sells else ()
        orders[name] = RunOrder(name, row.run_id, row.as_of_date, row.ticker, Side(row.side), row.quantity, lots)
    return orders


def settlement_of(connection: Connection, account_id: str, run_seq: int) -> Settlement | None:
    """Return how a run's orders were settled, None where they were not."""
    row = connection.execute(_SETTLEMENT, {"account": account_id, "seq": run_seq}).one_or_none()
    return None if row is None else Settlement(Settled(row.status), row.reason, row.settled_by, row.recorded_at)


def later_orders(connection: Connection, account_id: str, run_seq: int) -> int | None:
    """Return the number of the account's next run with orders, None where there is none."""
    later_seq: int | None = connection.execute(_NEXT, {"account": account_id, "seq": run_seq}).scalar_one_or_none()
    return later_seq


def settle_run(
    connection: Connection, orders: Sequence[OpenOrder], status: Settled, *, reason: str, settled_by: str
) -> None:
    """Record that a run's open orders will not be filled any more.

    Args:
        connection: The transaction; the account is locked in it.
        orders: The run's open orders, at least one.
        status: How they ended.
        reason: The person's reason.
        settled_by: The person.
    """
    first = orders[0]
    run_id = connection.execute(_RUN_ID, {"account": first.account_id, "seq": first.run_seq}).scalar_one()
    connection.execute(
        insert(OrderSettlementRow).values(
            run_id=run_id,
            account_id=first.account_id,
            status=status.value,
            reason=reason,
            settled_by=settled_by,
            orders=[_rest(order) for order in orders],
        )
    )


def _rest(order: OpenOrder) -> JsonObject:
    return {
        "client_order_id": str(order.name),
        "ticker": order.ticker,
        "side": order.side.value,
        "quantity": plain_text(order.quantity),
        "filled": plain_text(order.filled),
    }
