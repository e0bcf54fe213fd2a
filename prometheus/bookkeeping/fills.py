"""Executions booked into an account: once each, late ones in their place, cancelled ones taken back."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from prometheus.accounting.closed_windows import bought_around, final_rows, open_losses
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.joint_accounts import joint_books, joint_fill, joint_name
from prometheus.accounting.journal import effective_rows
from prometheus.accounting.restatement import check_repeated, executions_of, late_fills
from prometheus.bookkeeping.households import Household, household_books, household_of, joint_journal
from prometheus.bookkeeping.restated_books import restated_rows, write_booked_rows
from prometheus.db.database import Connection
from prometheus.db.repositories.market_data import corporate_actions
from prometheus.decision.day_inputs import household_trades
from prometheus.domain.accounts import Account, TaxRegime
from prometheus.domain.books import Fill, Transaction

#: Both sides of the wash-sale window, twice: what a fill can still meet.
_JOURNAL_AGE: Final = timedelta(days=61)


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
    booked upon the books as they stand. Where one is late (its group has rows of its day or later, in whichever account
    of the household) or one is cancelled, the rows that come out otherwise are taken back and booked again; see
    ``accounting.restatement``. Losses and purchases of one household meet across its accounts, and rows are written
    into the journal of each.

    Args:
        connection: The transaction; the rows of the household's accounts are locked in it, in the order of their names.
        account_id: The account.
        fills: Executions as the broker reports them.
        as_of: Day through which the account is booked afterwards.
        group_of: Ticker to substantially identical group.
        cancelled: Executions that the broker has taken back.

    Raises:
        AccountingError: What cannot be booked; an execution that comes again with other content.
    """
    household = household_of(connection, account_id, lock=True)
    name = household.name_of(account_id)
    first = min((fill.trade_date for fill in fills), default=as_of)
    journal = joint_journal(connection, household, _reach(household, first))
    booked = executions_of(journal)
    joint = [joint_fill(name, fill) for fill in fills]
    for fill in joint:
        check_repeated(fill, booked.get(fill.execution_id, ()))
    new = [fill for fill in joint if fill.execution_id not in booked]
    withdrawn = [found for found in (joint_name(name, one) for one in cancelled) if booked.get(found, True)]
    if not new and not withdrawn:
        return 0
    before = household_books(connection, household)
    settled = _settled_windows(household, journal, as_of, group_of)
    late = late_fills(journal, new, group_of) or _missed_actions(connection, household.account(account_id), new)
    if withdrawn or settled is None or late:
        everything = joint_journal(connection, household, date.min)
        withdrawn = [found for found in withdrawn if executions_of(everything).get(found, True)]
        rows = restated_rows(
            connection,
            household,
            everything,
            first=first,
            as_of=as_of,
            group_of=group_of,
            fills=new,
            cancelled=withdrawn,
        )
    else:
        account, sheltered = household.account(account_id), household.sheltered
        _, traded = apply_fills(
            joint_books(before),
            new,
            rates=account.rates,
            regime=account.tax_regime,
            recent_trades=household_trades((*journal, *settled), first, sheltered),
            group_of=group_of,
            sheltered=sheltered,
            cash_of={found: books.cash for found, books in before.items()},
        )
        rows = (*settled, *traded)
    write_booked_rows(connection, household, rows, account_id, as_of)
    return len(new) + len(withdrawn)


def close_windows(connection: Connection, account_id: str, *, as_of: date, group_of: Mapping[str, str]) -> int:
    """Settle the Canadian losses whose day 30 lies before ``as_of``, and return how many rows that took.

    What was held on day 30 is known now. Where nothing was bought around a loss, a row says that it is final; else what
    was denied provisionally is booked again with what was held, by reversal where it comes out otherwise.

    Args:
        connection: The transaction; the household is locked in it where there is anything to do.
        account_id: An account of the household.
        as_of: The day that begins.
        group_of: Ticker to group of identical properties.
    """
    household = household_of(connection, account_id)
    if household.account(account_id).tax_regime is TaxRegime.US:
        return 0
    if not _due(household, joint_journal(connection, household, _reach(household, as_of)), as_of):
        return 0
    household = household_of(connection, account_id, lock=True)
    journal = joint_journal(connection, household, _reach(household, as_of))
    rows = _settled_windows(household, journal, as_of, group_of)
    if rows is None:
        everything = joint_journal(connection, household, date.min)
        rows = restated_rows(connection, household, everything, first=as_of, as_of=as_of, group_of=group_of)
    write_booked_rows(connection, household, rows, account_id, None)
    return len(rows)


def _reach(household: Household, first: date) -> date:
    """Return the first day whose rows can matter to a booking: windows of losses that may not be settled yet."""
    days = [found.books_as_of for found in household.accounts.values() if found.books_as_of is not None]
    return min((first, *days)) - _JOURNAL_AGE


def _due(household: Household, journal: Sequence[Transaction], as_of: date) -> tuple[Transaction, ...]:
    return open_losses(effective_rows(journal), before=as_of, sheltered=household.sheltered)


def _settled_windows(
    household: Household, journal: Sequence[Transaction], as_of: date, group_of: Mapping[str, str]
) -> tuple[Transaction, ...] | None:
    """Return the rows that settle windows closed by now; None where what is booked has to be looked at again."""
    if all(found.tax_regime is TaxRegime.US for found in household.accounts.values()):
        return ()
    due = _due(household, journal, as_of)
    if bought_around(effective_rows(journal), due, group_of):
        return None
    return final_rows(effective_rows(journal), before=as_of, sheltered=household.sheltered)


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
