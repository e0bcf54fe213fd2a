"""Books made anew from the events, and the market's late actions booked: what an operator asks the ledger for."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prometheus.bookkeeping.ledger import book_events, ex_date_processing, preview
from prometheus.bookkeeping.ledger_view import read_books
from prometheus.bookkeeping.ledger_work import Booking
from prometheus.db.database import Connection
from prometheus.db.repositories.account_books import write_columns
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.db.repositories.ledger_inputs import actions_position
from prometheus.db.repositories.ledger_states import discard_states, stored_mark
from prometheus.domain.money import plain_text
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.state import State


@dataclass(frozen=True, slots=True)
class BooksChange:
    """What booking again changes of one account.

    Attributes:
        account_id: The account.
        effect: The change in words: shares, then cash; else that bases or gains change.
        postings: Postings written for it, reversals among them.
    """

    account_id: str
    effect: str
    postings: int


def households_of_accounts(connection: Connection, account_ids: Sequence[str] | None) -> list[str]:
    """Return the households of accounts, of all accounts where None, in alphabetical order.

    Raises:
        UnknownAccountError: There is no such account.
    """
    accounts = accounts_of(connection, account_ids=account_ids)
    return sorted({account.household or account.account_id for account in accounts})


def rebuild(connection: Connection, household: str) -> Booking | None:
    """Fold all events of a household again, and write what its postings and states lack; None for unopened books.

    Nothing that is stored is altered: postings that come out otherwise are reversed under a correction. States are
    replaced. Actions of the market that came late stay for ``refold``.

    Args:
        connection: The transaction; the accounts of the household are locked in it.
        household: The household.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: An event could not be booked any more (LOTS_GONE), or cash would be below zero (OVERDRAWN).
    """
    mark = stored_mark(connection, household)
    if mark is None:
        return None
    discard_states(connection, household)
    reason = "The books were made anew from the events."
    booking = book_events(connection, household, (), mark[0], source=EventSource.PERSON, reason=reason)
    _require_cash({}, booking.state.cash)
    write_columns(connection, booking.state.cash, {})
    return booking


def refold(connection: Connection, household: str, *, write: bool) -> tuple[BooksChange, ...]:
    """Book actions of the market that came or changed after a household's books had passed their day.

    Args:
        connection: The transaction; with ``write`` the accounts of the household are locked in it.
        household: The household.
        write: Whether anything is written; otherwise the changes are only worked out.

    Returns:
        What changes, by account; empty where the books have every action.

    Raises:
        UnknownAccountError: There is no such household.
        AccountingError: The actions cannot be booked; nothing of the household is written.
    """
    before = read_books(connection, household, lock=write)
    mark = stored_mark(connection, household)
    if mark is None or actions_position(connection) <= mark[1]:
        return ()
    if write:
        booking = ex_date_processing(connection, household, mark[0])
    else:
        booking = preview(connection, household, (), mark[0], with_changes=True)
    _require_cash(before.state.cash, booking.state.cash)
    if write:
        write_columns(connection, booking.state.cash, {})
    return changes(before.state, booking)


def _require_cash(before: Mapping[str, Decimal], after: Mapping[str, Decimal]) -> None:
    """Refuse books in which an account borrows: what a payment brought has been spent since.

    Raises:
        AccountingError: OVERDRAWN.
    """
    for account, cash in after.items():
        if cash < 0 and cash < before.get(account, Decimal(0)):
            raise AccountingError(
                f"{account} would have cash of {plain_text(cash)}. Enter the cash that came in as a TRANSFER_IN "
                "('prometheus ingest FILE --kind transactions'), or correct the action.",
                code="OVERDRAWN",
            )


def changes(before: State, booking: Booking) -> tuple[BooksChange, ...]:
    """Return what a booking changes of each account, in words."""
    touched: dict[str, int] = defaultdict(int)
    for row in (*booking.reversals, *booking.postings):
        touched[row.account] += 1
    return tuple(
        BooksChange(account, _effect(account, before, booking.state), count)
        for account, count in sorted(touched.items())
    )


def _effect(account: str, before: State, after: State) -> str:
    parts = []
    held, due = _shares(before, account), _shares(after, account)
    for ticker in sorted(held.keys() | due.keys()):
        here, there = held.get(ticker, Decimal(0)), due.get(ticker, Decimal(0))
        if here != there:
            parts.append(f"{plain_text(here)} shares of {ticker} are {plain_text(there)}")
    cash = after.cash.get(account, Decimal(0)) - before.cash.get(account, Decimal(0))
    if cash:
        parts.append(f"cash changes by {cash:.2f}")
    return ", ".join(parts) or "bases or gains change, shares and cash do not"


def _shares(state: State, account: str) -> Mapping[str, Decimal]:
    shares: dict[str, Decimal] = defaultdict(Decimal)
    for lot in state.lots.values():
        if lot.key.account == account:
            shares[lot.ticker] += lot.quantity
    return shares
