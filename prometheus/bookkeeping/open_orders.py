"""Which orders of runs are still open: neither filled nor settled by a person.

The orders that can be open are those of an account's newest run that has any: a later run's orders stand in for them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.accounting.restatement import executions_of
from prometheus.accounting.share_counts import split_ratio
from prometheus.db.database import Connection, driver_connection
from prometheus.db.repositories.account_days import transaction_of
from prometheus.domain.books import Transaction
from prometheus.domain.lots import Side
from prometheus.domain.money import nearest_step
from prometheus.domain.orders import OpenOrder

__all__ = ["OpenOrder", "open_orders"]

#: Last decimal of a stored number of shares.
_STORED_STEP: Final = Decimal("0.00000001")

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
_FILLS: Final = """
    SELECT row.account_id, txn_type, trade_date, coalesce(ticker, ''), lot_id, quantity, amount, basis, realized_gain,
           term, details
    FROM unnest(%s::text[], %s::date[]) AS wanted(account_id, since)
    JOIN transactions AS row ON row.account_id = wanted.account_id AND row.trade_date >= wanted.since
    LEFT JOIN securities USING (security_id)
    WHERE txn_type IN ('BUY', 'SELL') OR (txn_type = 'REVERSAL' AND details ->> 'reverses' IN ('BUY', 'SELL'))
    ORDER BY txn_id
"""
_SPLITS: Final = """
    SELECT ticker, ex_date, value FROM corporate_actions JOIN securities USING (security_id)
    WHERE action_type = 'split' AND ex_date > %s AND ticker = ANY(%s) ORDER BY ticker, ex_date
"""


@dataclass(frozen=True, slots=True)
class _Run:
    account_id: str
    run_id: int
    run_seq: int
    as_of: date
    later: date | None

    def takes(self, execution_id: str, trade_date: date) -> bool:
        """Return whether an execution that names no order is one of this run's, by its day."""
        if trade_date < self.as_of or (self.later is not None and trade_date > self.later):
            return False
        # What a simulation books for a run is called by the run's day; so the day that two runs share is told apart.
        return trade_date != self.later or not execution_id.startswith(f"{self.account_id}:{self.later}:")


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
    driver = driver_connection(connection)
    chosen = {"through": through, "accounts": None if account_ids is None else list(account_ids)}
    runs = {row[1]: _Run(*row) for row in driver.execute(_NEWEST_RUNS, chosen).fetchall()}
    if not runs:
        return ()
    orders = driver.execute(_ORDERS, [list(runs)]).fetchall()
    filled = _filled(connection, runs, sorted({order[2] for order in orders}))
    found = [
        OpenOrder(
            account_id=runs[run_id].account_id,
            run_seq=runs[run_id].run_seq,
            as_of_date=runs[run_id].as_of,
            ticker=ticker,
            side=Side(side),
            quantity=quantity,
            filled=filled[run_id, ticker, side],
            line=line,
        )
        for run_id, line, ticker, side, quantity in orders
        if filled[run_id, ticker, side] < quantity
    ]
    return tuple(sorted(found, key=lambda order: (order.account_id, order.line)))


def filled_shares(connection: Connection, run_ids: Sequence[int]) -> Mapping[tuple[int, str, str], Decimal]:
    """Return the shares of orders of given runs that the journal has: by run, ticker and side, zero where none.

    Counted as ``open_orders`` counts them, in shares of the run's day.
    """
    driver = driver_connection(connection)
    runs = {row[1]: _Run(*row) for row in driver.execute(_GIVEN_RUNS, [list(run_ids)]).fetchall()}
    tickers = {order[2] for order in driver.execute(_ORDERS, [list(runs)]).fetchall()}
    return _filled(connection, runs, sorted(tickers)) if runs else {}


def _filled(
    connection: Connection, runs: Mapping[int, _Run], tickers: Sequence[str]
) -> dict[tuple[int, str, str], Decimal]:
    """Return the shares that the journal has for each order, counted in shares of the run's day."""
    driver = driver_connection(connection)
    accounts = sorted({run.account_id for run in runs.values()})
    since = {account: min(run.as_of for run in runs.values() if run.account_id == account) for account in accounts}
    first = min(run.as_of for run in runs.values())
    named = {(row[0], row[1]): (row[2], row[3]) for row in driver.execute(_NAMED, [accounts, first]).fetchall()}
    splits: dict[str, list[tuple[date, Decimal]]] = defaultdict(list)
    for ticker, ex_date, value in driver.execute(_SPLITS, [first, list(tickers)]).fetchall():
        splits[ticker].append((ex_date, value))
    journals: dict[str, list[Transaction]] = defaultdict(list)
    for row in driver.execute(_FILLS, [accounts, [since[account] for account in accounts]]).fetchall():
        journals[row[0]].append(transaction_of(row))
    filled: dict[tuple[int, str, str], Decimal] = defaultdict(Decimal)
    for run in runs.values():
        for execution_id, rows in executions_of(journals[run.account_id]).items():
            if not rows:
                continue
            order = named.get((run.account_id, execution_id))
            mine = order[0] == run.run_id if order is not None else run.takes(execution_id, rows[0].trade_date)
            if mine:
                shares = abs(sum((row.quantity for row in rows), Decimal(0)))
                for ex_date, value in splits[rows[0].ticker]:
                    if run.as_of < ex_date <= rows[0].trade_date:
                        ratio = split_ratio(value)
                        shares = nearest_step(shares * ratio.denominator / ratio.numerator, _STORED_STEP)
                ticker = rows[0].ticker if order is None or order[1] is None else order[1]
                filled[run.run_id, ticker, rows[0].txn_type.value] += shares
    return filled
