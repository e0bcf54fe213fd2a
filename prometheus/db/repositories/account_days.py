"""What the engine reads and writes of many accounts at once: a few statements for a batch, not a few for each account.

Rows come straight from the driver: an account has hundreds of lots, and each is read every day.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.lots import TaxLot, Term
from prometheus.domain.phases import RunStatus
from prometheus.foundation.ids import run_label

_LOTS: Final = """
    SELECT account_id, lot_id, ticker, acquired_on, quantity, cost_basis, adjusted_basis, holding_period_start
    FROM tax_lots JOIN securities USING (security_id)
    WHERE account_id = ANY(%s) ORDER BY account_id, ticker, acquired_on, lot_id
"""

# Recent rows for the wash rules, and those of the year that the year's net gain is made of.
_JOURNALS: Final = """
    SELECT account_id, txn_type, trade_date, coalesce(ticker, ''), lot_id, quantity, amount, basis, realized_gain, term,
           details
    FROM transactions LEFT JOIN securities USING (security_id)
    WHERE account_id = ANY(%(accounts)s)
      AND (trade_date >= %(since)s OR (trade_date >= %(gains_since)s AND realized_gain <> 0))
    ORDER BY txn_id
"""

_POSITIONS: Final = """
    SELECT account_id,
           (SELECT coalesce(max(txn_id), 0) FROM transactions AS row WHERE row.account_id = wanted.account_id)
    FROM unnest(%s::text[]) AS wanted(account_id)
"""

# Of each account its latest run before the day: targets to keep, whether any of its trades was booked, and what it says
# of whole rebalancings.
_PREVIOUS: Final = """
    SELECT previous.account_id, run_seq, as_of_date, targets,
           EXISTS (SELECT 1 FROM run_trades WHERE run_trades.run_id = previous.run_id)
           AND NOT EXISTS (SELECT 1 FROM transactions AS row
                           WHERE row.account_id = previous.account_id AND row.trade_date >= previous.as_of_date
                             AND row.txn_type IN ('BUY', 'SELL')),
           status, rebalancing
    FROM unnest(%s::text[]) AS wanted(account_id)
    CROSS JOIN LATERAL (
        SELECT runs.account_id, run_id, run_seq, as_of_date, status, result -> 'target_weights' AS targets,
               result -> 'rebalancing' AS rebalancing
        FROM runs WHERE runs.account_id = wanted.account_id AND as_of_date < %s
        ORDER BY as_of_date DESC LIMIT 1) AS previous
"""

_LOCK: Final = "SELECT account_id FROM accounts WHERE account_id = ANY(%s) ORDER BY account_id FOR NO KEY UPDATE"

_EARLIER: Final = """
    SELECT wanted.account_id, max(run.as_of_date)
    FROM unnest(%s::text[], %s::date[]) AS wanted(account_id, as_of_date)
    JOIN engine_runs AS run ON run.account_id = wanted.account_id AND run.as_of_date < wanted.as_of_date
    WHERE run.phase NOT IN ('PERSISTED', 'FAILED') AND run.phase <> 'WAITING_FOR_DATA'
    GROUP BY wanted.account_id ORDER BY wanted.account_id
"""

_SAVE: Final = """
    UPDATE accounts
    SET cash = changed.cash, books_as_of = greatest(accounts.books_as_of, changed.day),
        books_opened_on = coalesce(accounts.books_opened_on, changed.day),
        actions_seen = greatest(accounts.actions_seen, changed.actions_seen)
    FROM unnest(%s::text[], %s::numeric[], %s::date[], %s::bigint[]) AS changed(account_id, cash, day, actions_seen)
    WHERE accounts.account_id = changed.account_id
"""


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """An account's latest run before a day.

    ``target_weights`` by ticker, None where the run was archived. ``unfilled`` names number and day of the run where it
    has trades and none is booked as a fill. ``whole_on`` is the day of the account's last whole rebalancing, None where
    there was none: a run without a certified answer is none, nor is one of whose trades none was filled.
    """

    target_weights: Mapping[str, float] | None
    unfilled: str | None
    whole_on: date | None


@dataclass(frozen=True, slots=True)
class AccountRows:
    """What the tables hold of one account on its day.

    Attributes:
        lots: As booked, by ticker, date and id.
        position: Id of its latest journal row, 0 where there is none.
        journal: Rows of its last weeks, oldest first.
        year_rows: Rows of the year that realise a gain or take a loss back, oldest first.
        previous: Its run before; None on its first day.
    """

    lots: tuple[TaxLot, ...]
    position: int
    journal: tuple[Transaction, ...]
    year_rows: tuple[Transaction, ...]
    previous: PreviousRun | None


def read_accounts(
    connection: Connection, account_ids: Sequence[str], *, as_of: date, since: date, gains_since: date
) -> dict[str, AccountRows]:
    """Return what the tables hold of several accounts on one day.

    Args:
        connection: A transaction that sees one state.
        account_ids: Accounts that exist.
        as_of: The day.
        since: First trade date of the journal wanted.
        gains_since: First trade date of the rows with a gain or loss.
    """
    driver, accounts = driver_connection(connection), list(account_ids)
    lots: dict[str, list[TaxLot]] = {account_id: [] for account_id in accounts}
    for row in driver.execute(_LOTS, [accounts]).fetchall():
        lots[row[0]].append(TaxLot(*row[1:]))
    journal: dict[str, list[Transaction]] = {account_id: [] for account_id in accounts}
    wanted = {"accounts": accounts, "since": since, "gains_since": gains_since}
    for row in driver.execute(_JOURNALS, wanted).fetchall():
        journal[row[0]].append(transaction_of(row))
    positions = dict(driver.execute(_POSITIONS, [accounts]).fetchall())
    previous = {
        row[0]: PreviousRun(
            target_weights=row[3],
            unfilled=f"{run_label(row[1])} of {row[2]}" if row[4] else None,
            whole_on=_whole_on(row[2], row[5], row[6], unfilled=row[4]),
        )
        for row in driver.execute(_PREVIOUS, [accounts, as_of])
    }
    return {
        account_id: AccountRows(
            lots=tuple(lots[account_id]),
            position=positions[account_id],
            journal=tuple(row for row in journal[account_id] if row.trade_date >= since),
            year_rows=tuple(row for row in journal[account_id] if row.trade_date >= gains_since and row.realized_gain),
            previous=previous.get(account_id),
        )
        for account_id in accounts
    }


def _whole_on(as_of: date, status: str, rebalancing: Mapping[str, str | None] | None, *, unfilled: bool) -> date | None:
    """Return the day of the last whole rebalancing, from what the latest run says of it.

    Args:
        as_of: Day of the run.
        status: Of the run.
        rebalancing: What its result says; None of one recorded when every day was whole.
        unfilled: Whether it has trades and none of them was filled.
    """
    told = {"whole_on": as_of.isoformat(), "last_whole": None} if rebalancing is None else rebalancing
    whole_on = told["last_whole"] if unfilled or status != RunStatus.OPTIMAL.value else told["whole_on"]
    return None if whole_on is None else date.fromisoformat(whole_on)


def transaction_of(row: Sequence[Any]) -> Transaction:
    """Return a journal row read with the columns of ``_JOURNALS``: the account first, then the transaction's fields."""
    return Transaction(
        txn_type=TransactionType(row[1]),
        trade_date=row[2],
        ticker=row[3],
        lot_id=row[4],
        quantity=row[5],
        amount=row[6],
        basis=row[7],
        realized_gain=row[8],
        term=Term(row[9]),
        details=row[10],
    )


def lock_accounts(connection: Connection, account_ids: Iterable[str]) -> None:
    """Lock accounts in the order of their names, so that nothing is booked in them until the transaction ends."""
    driver_connection(connection).execute(_LOCK, [sorted(account_ids)])


def journal_positions(connection: Connection, account_ids: Sequence[str]) -> dict[str, int]:
    """Return the id of each account's latest journal row, 0 where there is none."""
    return dict(driver_connection(connection).execute(_POSITIONS, [list(account_ids)]).fetchall())


def earlier_active_days(connection: Connection, days: Mapping[str, date]) -> dict[str, date]:
    """Return the latest earlier day that is being worked on, of the accounts that have one.

    Args:
        connection: The transaction.
        days: Account to the day before which to look.
    """
    found = driver_connection(connection).execute(_EARLIER, [list(days), list(days.values())])
    return dict(found.fetchall())


def save_days(connection: Connection, rows: Sequence[tuple[str, Decimal, date, int | None]]) -> None:
    """Write of accounts their cash, the day that their books are through, and the last change of an action they saw.

    ``None`` for the last leaves that mark alone.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    driver_connection(connection).execute(_SAVE, columns)
