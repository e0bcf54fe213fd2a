"""What open orders are told by: runs with orders, their orders, executions that name one, and splits since."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.domain.lots import Side

# The account's next run with orders: what is executed from its day on belongs to it as a rule.
_LATER: Final = """
    (SELECT min(next.as_of_date) FROM runs AS next
     WHERE next.account_id = run.account_id AND next.as_of_date > run.as_of_date
       AND EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = next.run_id))
"""
_NEWEST_RUNS: Final = f"""
    SELECT run.account_id, run.run_id, run.run_seq, run.as_of_date, {_LATER}
    FROM accounts CROSS JOIN LATERAL (
        SELECT account_id, run_id, run_seq, as_of_date FROM runs
        WHERE runs.account_id = accounts.account_id AND as_of_date <= %(through)s
          AND EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = runs.run_id)
        ORDER BY as_of_date DESC LIMIT 1) AS run
    WHERE (%(accounts)s::text[] IS NULL OR accounts.account_id = ANY(%(accounts)s))
      AND NOT EXISTS (SELECT 1 FROM order_settlements WHERE order_settlements.run_id = run.run_id)
    ORDER BY run.account_id
"""
_GIVEN_RUNS: Final = (
    f"SELECT run.account_id, run.run_id, run.run_seq, run.as_of_date, {_LATER} FROM runs AS run WHERE run_id = ANY(%s)"
)
_ORDERS: Final = """
    SELECT run_id, min(trade_no), ticker, side, sum(quantity) FROM run_trades WHERE run_id = ANY(%s)
    GROUP BY run_id, ticker, side ORDER BY run_id, min(trade_no)
"""
# An execution may say a newer symbol than its order.
_NAMED: Final = """
    SELECT account_id, execution_id, order_executions.run_id, run_trades.ticker
    FROM order_executions LEFT JOIN run_trades ON run_trades.run_id = order_executions.run_id AND trade_no = line
    WHERE account_id = ANY(%s) AND trade_date >= %s
"""
_SPLITS: Final = """
    SELECT ticker, ex_date, value FROM corporate_actions JOIN securities USING (security_id)
    WHERE action_type = 'split' AND ex_date > %s AND ticker = ANY(%s) ORDER BY ticker, ex_date
"""


@dataclass(frozen=True, slots=True)
class RunWithOrders:
    """A run with orders, and the day of the account's next one; None where there is none."""

    account_id: str
    run_id: int
    run_seq: int
    as_of: date
    later: date | None


class GivenOrder(NamedTuple):
    """One order of a run: its lines of one ticker and side added up, and the first of their numbers."""

    run_id: int
    line: int
    ticker: str
    side: Side
    quantity: Decimal


class NamedOrder(NamedTuple):
    """The order that an execution names: its run, and the order's ticker; None where the run was archived."""

    run_id: int
    ticker: str | None


def newest_runs(connection: Connection, *, through: date, account_ids: Sequence[str] | None) -> list[RunWithOrders]:
    """Return of each account its newest run with orders through a day, unless a person settled it.

    Args:
        connection: A transaction.
        through: Last day of the runs looked at.
        account_ids: The accounts; all of them where None.
    """
    wanted = {"through": through, "accounts": None if account_ids is None else list(account_ids)}
    return [RunWithOrders(*row) for row in driver_connection(connection).execute(_NEWEST_RUNS, wanted)]


def given_runs(connection: Connection, run_ids: Collection[int]) -> list[RunWithOrders]:
    """Return runs by their ids."""
    return [RunWithOrders(*row) for row in driver_connection(connection).execute(_GIVEN_RUNS, [sorted(run_ids)])]


def orders_of(connection: Connection, run_ids: Collection[int]) -> list[GivenOrder]:
    """Return the orders of runs, by run and line."""
    rows = driver_connection(connection).execute(_ORDERS, [sorted(run_ids)])
    return [GivenOrder(run_id, line, ticker, Side(side), shares) for run_id, line, ticker, side, shares in rows]


def named_orders(
    connection: Connection, account_ids: Collection[str], since: date
) -> dict[tuple[str, str], NamedOrder]:
    """Return by account and execution the order that it names, of executions since a day."""
    rows = driver_connection(connection).execute(_NAMED, [sorted(account_ids), since])
    return {(account_id, name): NamedOrder(run_id, ticker) for account_id, name, run_id, ticker in rows}


def splits_after(
    connection: Connection, tickers: Collection[str], after: date
) -> dict[str, list[tuple[date, Decimal]]]:
    """Return ex-date and factor of the splits after a day, by ticker, oldest first."""
    splits: dict[str, list[tuple[date, Decimal]]] = defaultdict(list)
    for ticker, ex_date, value in driver_connection(connection).execute(_SPLITS, [after, sorted(tickers)]):
        splits[ticker].append((ex_date, value))
    return splits
