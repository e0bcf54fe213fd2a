"""Executions booked into an account: once each, late ones in their place, cancelled ones taken back."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection

from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import recent_trades
from prometheus.accounting.restatement import MarketHistory, check_repeated, executions_of, late_fills, restate
from prometheus.db.repositories.accounts import accounts_of, journal_position, journal_since, load_books, save_books
from prometheus.db.repositories.market_data import closes_on, corporate_actions
from prometheus.domain.accounts import Account
from prometheus.domain.books import Fill, Transaction, TransactionType

#: Both sides of the wash-sale window, twice: what a fill can still meet.
_JOURNAL_AGE: Final = timedelta(days=61)
_FILL_TYPES: Final = frozenset({TransactionType.BUY, TransactionType.SELL, TransactionType.REINVESTMENT})


def book_fills(
    connection: Connection,
    account_id: str,
    fills: Sequence[Fill],
    *,
    as_of: date,
    group_of: Mapping[str, str],
    cancelled: Collection[str] = (),
) -> int:
    """Book executions and cancellations of an account in the caller's transaction, and return how many are new.

    An execution that is booked already, or was cancelled, is left alone, so a report may come twice. A day's fills are
    booked upon the books as they stand. Where one is late (its group has rows of its day or later) or one is cancelled,
    the rows concerned are taken back and booked again; see ``accounting.restatement``.

    Args:
        connection: The transaction; the account's row is locked in it.
        account_id: The account.
        fills: Executions as the broker reports them.
        as_of: Day through which the account is booked afterwards.
        group_of: Ticker to substantially identical group.
        cancelled: Executions that the broker has taken back.

    Raises:
        AccountingError: What cannot be booked; an execution that comes again with other content.
    """
    journal_position(connection, account_id, lock=True)
    account = accounts_of(connection, account_ids=[account_id])[0]
    first = min((fill.trade_date for fill in fills), default=as_of)
    journal = journal_since(connection, account_id, first - _JOURNAL_AGE)
    booked = executions_of(journal)
    for fill in fills:
        check_repeated(fill, booked.get(fill.execution_id, ()))
    new = [fill for fill in fills if fill.execution_id not in booked]
    withdrawn = [name for name in cancelled if booked.get(name, True)]
    if not new and not withdrawn:
        return 0
    before = load_books(connection, account_id)
    if withdrawn or late_fills(journal, new, group_of) or _missed_actions(connection, account, new):
        everything = journal_since(connection, account_id, date.min)
        withdrawn = [name for name in withdrawn if executions_of(everything).get(name, True)]
        restated = restate(
            everything,
            fills=new,
            cancelled=withdrawn,
            history=_history(connection, account, everything, first),
            rates=account.rates,
            regime=account.tax_regime,
            group_of=group_of,
        )
        after, rows = restated.books, restated.transactions
    else:
        after, rows = apply_fills(
            before,
            new,
            rates=account.rates,
            regime=account.tax_regime,
            recent_trades=recent_trades(journal, first),
            group_of=group_of,
        )
    save_books(
        connection,
        account_id,
        before=before,
        after=after,
        transactions=rows,
        books_as_of=as_of,
        external_ids=external_ids(rows),
    )
    return len(new) + len(withdrawn)


def external_ids(rows: Sequence[Transaction]) -> list[str | None]:
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


def _missed_actions(connection: Connection, account: Account, fills: Sequence[Fill]) -> bool:
    """Return whether a fill comes after an action of its security that the account's books have passed.

    Where the security was not held the journal has no row that would tell.
    """
    first = min((fill.trade_date for fill in fills), default=None)
    if first is None or account.books_as_of is None or first >= account.books_as_of:
        return False
    actions = corporate_actions(connection, after=first, through=account.books_as_of)
    return any(
        fill.ticker == action.ticker and fill.trade_date < action.ex_date for fill in fills for action in actions
    )


def _history(connection: Connection, account: Account, journal: Sequence[Transaction], first: date) -> MarketHistory:
    """Return the corporate actions that the account's books have seen since the earliest day concerned."""
    if account.books_as_of is None:
        return MarketHistory(fractional=account.fractional_shares)
    days = [row.trade_date for row in journal if row.txn_type is not TransactionType.OPENING]
    after = min(first, *days, account.books_as_of) - timedelta(days=1)
    actions = corporate_actions(connection, after=after, through=account.books_as_of)
    closes = closes_on(connection, [(action.ticker, action.ex_date) for action in actions])
    return MarketHistory(actions, closes, account.fractional_shares)
