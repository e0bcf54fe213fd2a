"""What people do with the orders of runs: list the open ones, write them out for a broker, end what is left of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from prometheus.bookkeeping.open_orders import open_orders
from prometheus.db.database import Database
from prometheus.db.repositories.account_days import lock_accounts
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.orders import later_orders, run_orders, settle_run, settlement_of
from prometheus.db.repositories.runs import day_of_run
from prometheus.domain.books import LotPick
from prometheus.domain.money import plain_text
from prometheus.domain.orders import OpenOrder, RunOrder, Settled, picks_text
from prometheus.foundation.errors import RequestError
from prometheus.foundation.files import csv_text
from prometheus.foundation.ids import run_label

#: Columns of a file of executions; those that the broker fills in are empty in an export.
EXECUTION_COLUMNS: Final = (
    "account_id", "client_order_id", "execution_id", "ticker", "side", "trade_date", "executed_at", "quantity", "price",
    "fee", "lot_picks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SettledRun:
    """A run whose orders were settled now, or before with the same words: ``orders`` are those it ended now."""

    account_id: str
    run_seq: int
    orders: tuple[OpenOrder, ...]
    said: str


def list_open(database: Database, *, as_of: date | None = None, account_id: str | None = None) -> tuple[OpenOrder, ...]:
    """Return the open orders of each account's newest run with orders, of one day and one account where given.

    Raises:
        UnknownAccountError: There is no such account.
    """
    chosen = None if account_id is None else [account_id]
    with database.transaction() as connection:
        if chosen is not None:
            accounts_of(connection, account_ids=chosen)
        orders = open_orders(connection, through=as_of or date.max, account_ids=chosen)
    return tuple(order for order in orders if as_of is None or order.as_of_date == as_of)


def export_orders(database: Database, orders: Sequence[OpenOrder]) -> str:
    """Return open orders as the CSV file that comes back as executions: what is left of each, its lots where it sells.

    ``execution_id``, ``trade_date``, ``executed_at``, ``price`` and ``fee`` are empty, for the broker to fill in.
    """
    with database.transaction() as connection:
        given = run_orders(connection, sorted({(order.account_id, order.run_seq) for order in orders}))
    rows = []
    for order in orders:
        left = plain_text(order.quantity - order.filled)
        lots = picks_text(_lots_left(order, given[order.name]))
        name = str(order.name)
        values = (order.account_id, name, "", order.ticker, order.side.value, "", "", left, "", "", lots)
        rows.append(dict(zip(EXECUTION_COLUMNS, values, strict=True)))
    return csv_text(EXECUTION_COLUMNS, rows)


def _lots_left(order: OpenOrder, given: RunOrder) -> tuple[LotPick, ...]:
    """Return the lots of a sale that was not begun; of one that was, nobody but the books knows what is left."""
    return given.lots if not order.filled else ()


def settle_orders(
    database: Database, account_id: str, run_seq: int, status: Settled, *, reason: str, settled_by: str
) -> SettledRun:
    """End what a run's orders left unfilled: the next day no longer waits for it. Said twice, it is said once.

    Args:
        database: The database.
        account_id: The account.
        run_seq: Number of the run.
        status: How the orders ended.
        reason: Why; stored with the settlement.
        settled_by: Who says so; stored with it.

    Raises:
        RequestError: No such run (UNKNOWN_RUN), it was settled otherwise (SETTLED_OTHERWISE), or no reason is given.
        UnknownAccountError: There is no such account.
    """
    label = f"{run_label(run_seq)} of {account_id}"
    if not reason.strip():
        raise RequestError("Say with --reason why nothing more comes of these orders.")
    with database.transaction() as connection:
        accounts_of(connection, account_ids=[account_id])
        lock_accounts(connection, [account_id])
        day = day_of_run(connection, account_id, run_seq)
        if day is None:
            raise RequestError(
                f"Account {account_id} has no run {run_label(run_seq)}. See 'prometheus runs list {account_id}'.",
                code="UNKNOWN_RUN",
            )
        before = settlement_of(connection, account_id, run_seq)
        if before is not None:
            when = f"{before.status.value} by {before.settled_by} at {before.recorded_at:%Y-%m-%d %H:%M} UTC"
            if before.status is not status:
                raise RequestError(
                    f"The orders of {label} were settled before: {when} ({before.reason}). That stands.",
                    code="SETTLED_OTHERWISE",
                )
            return SettledRun(account_id, run_seq, (), f"The orders of {label} were settled before: {when}.")
        orders = [
            order
            for order in open_orders(connection, through=day, account_ids=[account_id])
            if order.run_seq == run_seq
        ]
        later = later_orders(connection, account_id, run_seq)
        if not orders or later is not None:
            why = "" if later is None else f" Those of {run_label(later)} stand in for them."
            return SettledRun(account_id, run_seq, (), f"{label} has no open orders.{why}")
        settle_run(connection, orders, status, reason=reason.strip(), settled_by=settled_by)
    parts = sum(1 for order in orders if order.filled)
    partly = f", {parts} of them filled in part" if parts else ""
    return SettledRun(
        account_id, run_seq, tuple(orders), f"{len(orders)} order(s) of {label} ended {status.value}{partly}."
    )
