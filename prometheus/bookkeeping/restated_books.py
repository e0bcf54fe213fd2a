"""Books restated in the database: a household's days booked again with the market's actions, and the rows written."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from prometheus.accounting.joint_accounts import own_row
from prometheus.accounting.rebooking import MarketHistory
from prometheus.accounting.restatement import restate
from prometheus.bookkeeping.households import Household, household_books, write_rows
from prometheus.db.database import Connection
from prometheus.db.repositories.market_data import closes_on, corporate_actions
from prometheus.domain.accounts import Account
from prometheus.domain.books import Fill, Transaction, TransactionType

_FILL_TYPES: Final = frozenset({TransactionType.BUY, TransactionType.SELL, TransactionType.REINVESTMENT})


def restated_rows(
    connection: Connection,
    household: Household,
    everything: Sequence[Transaction],
    *,
    first: date,
    as_of: date,
    group_of: Mapping[str, str],
    fills: Iterable[Fill] = (),
    cancelled: Collection[str] = (),
    changed: Iterable[tuple[str, date]] = (),
) -> tuple[Transaction, ...]:
    """Return the rows that a household's journals need, with the corporate actions that the market has now.

    Args:
        connection: The transaction.
        household: Whose journals; the actions of each account count through its ``books_as_of``.
        everything: All their rows under joint names.
        first: Earliest day concerned.
        as_of: Day through which windows have been watched.
        group_of: Ticker to substantially identical group.
        fills: New executions under joint names.
        cancelled: Executions to take back.
        changed: Ticker and ex-date of actions that came or were corrected after the books had passed them.

    Raises:
        AccountingError: See ``accounting.restatement.restate``.
    """
    account = next(iter(household.accounts.values()))
    return restate(
        everything,
        fills=fills,
        cancelled=cancelled,
        changed=changed,
        history={
            name: _market_history(connection, found, [row for row in everything if row.account == name], first)
            for name, found in household.accounts.items()
        },
        rates=account.rates,
        regime=account.tax_regime,
        group_of=group_of,
        sheltered=household.sheltered,
        as_of=as_of,
    ).transactions


def _market_history(
    connection: Connection, account: Account, journal: Sequence[Transaction], first: date
) -> MarketHistory:
    """Return the corporate actions that an account's books have seen since the earliest day concerned."""
    if account.books_as_of is None:
        return MarketHistory(fractional=account.fractional_shares)
    days = [row.trade_date for row in journal if row.txn_type is not TransactionType.OPENING]
    after = min(first, *days, account.books_as_of) - timedelta(days=1)
    actions = corporate_actions(connection, after=after, through=account.books_as_of)
    closes = closes_on(connection, [(ticker, action.ex_date) for action in actions for ticker in action.securities])
    return MarketHistory(actions, closes, account.fractional_shares, account.books_opened_on)


def write_booked_rows(
    connection: Connection,
    household: Household,
    rows: Sequence[Transaction],
    account_id: str,
    as_of: date | None,
) -> None:
    """Append rows to the journals of a household, executions under names that the journal has once, and the books.

    Args:
        connection: The transaction; the household is locked in it.
        household: Whose rows they are.
        rows: Rows under joint names, in the order of booking.
        account_id: The account whose day it is.
        as_of: That day; None where nobody's day is booked.
    """
    own = {name: [i for i, row in enumerate(rows) if row.account == name] for name in household.accounts}
    names = {
        i: external
        for positions in own.values()
        for i, external in zip(positions, _external_ids([own_row(rows[i]) for i in positions]), strict=True)
        if external is not None
    }
    write_rows(
        connection,
        household,
        household_books(connection, household),
        rows,
        account_id=account_id,
        as_of=as_of,
        external_ids=names,
    )


def _external_ids(rows: Sequence[Transaction]) -> list[str | None]:
    """Return a name for each row of an execution, which the journal has once: execution, line, and which booking."""
    lines: Counter[str] = Counter()
    names: list[str | None] = []
    for row in rows:
        execution = row.details.get("execution_id") if row.txn_type in _FILL_TYPES else None
        if execution is None:
            names.append(None)
            continue
        lines[execution] += 1
        booking = int(row.details.get("booking", 1))
        names.append(f"fill:{execution}#{lines[execution]}" + (f"@{booking}" if booking > 1 else ""))
    return names
