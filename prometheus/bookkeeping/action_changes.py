"""Corporate actions that came or were corrected after books had passed them: found, judged, and booked when asked for.

Every insert and every correction of an action has a number, and each account remembers up to which number its books
have looked. What is beyond it, and of a day that the books have passed, may be missing from them. Whether it is, only
booking those days again can tell; that is done without writing anything, until somebody asks for the rows.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, text

from prometheus.accounting.corporate_actions import actions_concerning
from prometheus.accounting.journal import effective_rows
from prometheus.accounting.replay import replay
from prometheus.bookkeeping.households import Household, household_of, joint_journal
from prometheus.bookkeeping.restated_books import restated_rows, write_booked_rows
from prometheus.db.repositories.market_data import corporate_actions, securities
from prometheus.domain.books import Transaction
from prometheus.domain.money import plain_text, to_cents
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.canonical import canonical_json
from prometheus.foundation.errors import AccountingError

_POSITION: Final = text("SELECT coalesce(max(change_id), 0) FROM corporate_actions")

# Few actions are beyond the mark of an account, and most of them of days to come; only then is its journal looked at.
_UNSEEN: Final = text("""
    SELECT a.account_id, s.ticker, c.ex_date, c.action_type, c.value, c.other_ticker, c.basis_fraction
    FROM accounts a
    JOIN corporate_actions c ON c.change_id > a.actions_seen AND c.ex_date > a.books_opened_on
                            AND c.ex_date <= a.books_as_of
    JOIN securities s USING (security_id)
    WHERE a.books_as_of IS NOT NULL AND (CAST(:accounts AS text[]) IS NULL OR a.account_id = ANY(:accounts))
      AND EXISTS (SELECT 1 FROM transactions x
                  WHERE x.account_id = a.account_id AND x.security_id = c.security_id AND x.trade_date <= c.ex_date)
    ORDER BY a.account_id, c.ex_date, s.ticker, c.action_type, c.other_ticker
""")
_MARK: Final = text("UPDATE accounts SET actions_seen = :position WHERE account_id = ANY(:accounts)")


@dataclass(frozen=True, slots=True)
class UnbookedActions:
    """What an account's books would be with corporate actions that came or changed after they had passed them.

    Attributes:
        account_id: The account.
        actions: The actions.
        shares: Ticker, shares as booked, shares as they should be; where the two differ.
        cash: What cash would change by, cents.
        rows: Journal rows that booking them takes, reversals among them.
    """

    account_id: str
    actions: tuple[CorporateAction, ...]
    shares: tuple[tuple[str, Decimal, Decimal], ...]
    cash: Decimal
    rows: int

    @property
    def effect(self) -> str:
        """Return the actions and what they change, in words."""
        named = ", ".join(action_words(action) for action in self.actions[:3])
        more = f" and {len(self.actions) - 3} more" if len(self.actions) > 3 else ""
        moved = "; ".join(
            f"{plain_text(booked)} shares of {ticker} are booked, {plain_text(due)} are due"
            for ticker, booked, due in self.shares[:3]
        )
        return f"{named}{more}: {moved or self._effect_on_money()}"

    def _effect_on_money(self) -> str:
        return f"cash changes by {to_cents(self.cash):f}" if self.cash else "bases or gains change"

    def __str__(self) -> str:
        return (
            f"corporate actions that came or changed after the books had passed their day are not in them: "
            f"{self.effect}. Run 'prometheus ledger refold --account {self.account_id}'"
        )


@dataclass(frozen=True, slots=True)
class ActionsRefused:
    """Actions that came or changed too late for an account's books and cannot be booked; ``reason`` says why."""

    account_id: str
    actions: tuple[CorporateAction, ...]
    reason: str

    def __str__(self) -> str:
        return (
            f"{action_words(self.actions[0])} came or changed after the books had passed the day, and they cannot be "
            f"booked again: {self.reason.rstrip('.')}"
        )


def action_words(action: CorporateAction) -> str:
    """Return an action in words."""
    other = f" into {action.other_ticker}" if action.other_ticker else ""
    value = "" if action.action_type is ActionType.SYMBOL_CHANGE else f" of {plain_text(action.value)}"
    return f"{action.action_type}{value} of {action.ticker}{other} on {action.ex_date}"


def actions_position(connection: Connection) -> int:
    """Return the number of the latest insert or correction of a corporate action."""
    return int(connection.execute(_POSITION).scalar_one())


def unseen_actions(
    connection: Connection, account_ids: Sequence[str] | None = None
) -> dict[str, tuple[CorporateAction, ...]]:
    """Return by account the actions that came or changed after its books had passed them and that may concern it.

    One may turn out to change nothing, where the shares had been sold before.

    Args:
        connection: In a transaction.
        account_ids: The accounts; all of them where not given.
    """
    chosen = {"accounts": None if account_ids is None else list(account_ids)}
    found: dict[str, list[CorporateAction]] = defaultdict(list)
    for row in connection.execute(_UNSEEN, chosen):
        found[row.account_id].append(
            CorporateAction(
                row.ticker, row.ex_date, ActionType(row.action_type), row.value, row.other_ticker, row.basis_fraction
            )
        )
    return {account_id: tuple(actions) for account_id, actions in found.items()}


def unbooked_actions(
    connection: Connection, account_id: str, group_of: Mapping[str, str], actions: Sequence[CorporateAction]
) -> UnbookedActions | None:
    """Return what an account's books lack of actions, None where they are as those actions make them.

    Raises:
        AccountingError: The days cannot be booked again; the message says why.
    """
    household = household_of(connection, account_id)
    everything = joint_journal(connection, household, date.min)
    rows = _rebooked(connection, household, everything, {account_id: tuple(actions)}, group_of)
    return _difference(household, account_id, everything, rows, actions)


def all_unbooked_actions(
    connection: Connection, account_ids: Sequence[str] | None = None
) -> dict[str, tuple["UnbookedActions | ActionsRefused", ...]]:
    """Return by account what its books lack of actions that came or changed after they had passed them.

    Args:
        connection: In a transaction.
        account_ids: The accounts; all of them where not given.
    """
    unseen = unseen_actions(connection, account_ids)
    if not unseen:
        return {}
    groups = {ticker: security.group for ticker, security in securities(connection).items()}
    found: dict[str, tuple[UnbookedActions | ActionsRefused, ...]] = {}
    for account_id, actions in unseen.items():
        try:
            difference = unbooked_actions(connection, account_id, groups, actions)
        except AccountingError as error:
            found[account_id] = (ActionsRefused(account_id, actions, error.message),)
        else:
            if difference is not None:
                found[account_id] = (difference,)
    return found


def rebook_actions(
    connection: Connection, account_id: str, group_of: Mapping[str, str], *, write: bool
) -> tuple[UnbookedActions, ...]:
    """Book what an account and the others of its household lack of corporate actions, and return it by account.

    The rows concerned are taken back by reversal and booked again with the market's actions as they are now. Without
    ``write`` nothing is written. Afterwards the books have looked at every action there is.

    Args:
        connection: The transaction; the household is locked in it where something is written.
        account_id: The account.
        group_of: Ticker to substantially identical group.
        write: Whether rows are written.

    Raises:
        AccountingError: The days cannot be booked again: a later sale takes shares that are not there (LOTS_GONE), the
            shares were transferred since (TRANSFERRED_SINCE), or cash would fall below zero (OVERDRAWN).
    """
    household = household_of(connection, account_id, lock=write)
    members = sorted(account.account_id for account in household.accounts.values())
    position = actions_position(connection)
    unseen = unseen_actions(connection, members)
    found: list[UnbookedActions] = []
    if unseen:
        everything = joint_journal(connection, household, date.min)
        rows = _rebooked(connection, household, everything, unseen, group_of)
        found += [
            difference
            for member in members
            if (difference := _difference(household, member, everything, rows, unseen.get(member, ())))
        ]
        _check_cash(household, (*everything, *rows))
        if write and found:
            write_booked_rows(connection, household, rows, account_id, None)
    if write:
        connection.execute(_MARK, {"position": position, "accounts": members})
    return tuple(found)


def mark_seen(connection: Connection, account_ids: Sequence[str], position: int) -> None:
    """Note down that the books of accounts have looked at every change of an action up to a position."""
    connection.execute(_MARK, {"position": position, "accounts": list(account_ids)})


def book_morning(connection: Connection, account_id: str, *, as_of: date, group_of: Mapping[str, str]) -> int:
    """Book an account's corporate actions through a day, with the losses of that day matched, and return the rows.

    For a morning whose cash in lieu or delistings lose something that purchases already made replace. It is booked as
    if everything of the household were booked again, so that it does not matter whose morning comes first.

    Args:
        connection: The transaction; the household is locked in it.
        account_id: An account with books.
        as_of: The day that begins.
        group_of: Ticker to substantially identical group.
    """
    household = household_of(connection, account_id, lock=True)
    account = household.account(account_id)
    if account.books_as_of is None or account.books_as_of >= as_of:
        return 0
    name = household.name_of(account_id)
    everything = joint_journal(connection, household, date.min)
    actions = corporate_actions(connection, after=account.books_as_of, through=as_of)
    own = {row.ticker for row in everything if row.account == name and row.ticker}
    changed = [(action.ticker, action.ex_date) for action in actions_concerning(own, actions)]
    today = Household({**household.accounts, name: replace(account, books_as_of=as_of)})
    first = min((day for _, day in changed), default=as_of)
    rows = restated_rows(connection, today, everything, first=first, as_of=as_of, group_of=group_of, changed=changed)
    write_booked_rows(connection, household, rows, account_id, as_of)
    return len(rows)


def _rebooked(
    connection: Connection,
    household: Household,
    everything: Sequence[Transaction],
    actions: Mapping[str, Sequence[CorporateAction]],
    group_of: Mapping[str, str],
) -> tuple[Transaction, ...]:
    changed = sorted({(action.ticker, action.ex_date) for found in actions.values() for action in found})
    days = [account.books_as_of for account in household.accounts.values() if account.books_as_of is not None]
    return restated_rows(
        connection,
        household,
        everything,
        first=min(day for _, day in changed),
        as_of=max(days),
        group_of=group_of,
        changed=changed,
    )


def _difference(
    household: Household,
    account_id: str,
    everything: Sequence[Transaction],
    rows: Sequence[Transaction],
    actions: Sequence[CorporateAction],
) -> UnbookedActions | None:
    name = household.name_of(account_id)
    before, after = (
        [row for row in standing if row.account == name]
        for standing in (effective_rows(everything), effective_rows((*everything, *rows)))
    )
    if _said(before) == _said(after):
        return None
    booked, due = (_shares(found) for found in (before, after))
    return UnbookedActions(
        account_id,
        tuple(actions),
        tuple(
            (ticker, booked[ticker], due[ticker])
            for ticker in sorted(booked.keys() | due.keys())
            if booked[ticker] != due[ticker]
        ),
        sum((row.amount for row in after), Decimal(0)) - sum((row.amount for row in before), Decimal(0)),
        sum(row.account == name for row in rows),
    )


def _said(rows: Sequence[Transaction]) -> Counter[tuple[Any, ...]]:
    """Return what rows say, whatever their order; a note without lot and amount says nothing."""
    return Counter(
        (
            row.txn_type, row.trade_date, row.ticker, row.lot_id, row.quantity, row.amount, row.basis,
            row.realized_gain, row.term,
            canonical_json({key: value for key, value in row.details.items() if key != "booking"}),
        )
        for row in rows
        if row.lot_id is not None or row.amount or row.realized_gain
    )  # fmt: skip


def _shares(rows: Sequence[Transaction]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for lot in replay(rows).lots:
        found[lot.ticker] += lot.quantity
    return found


def _check_cash(household: Household, journal: Sequence[Transaction]) -> None:
    for name, account in household.accounts.items():
        cash = sum((row.amount for row in journal if row.account == name), Decimal(0))
        if cash < 0:
            raise AccountingError(
                f"{account.account_id} would have cash of {to_cents(cash):f}: money that it was credited for has been "
                "spent. Enter the cash that came in as a TRANSFER_IN ('prometheus ingest FILE --kind transactions'), "
                "then book again.",
                code="OVERDRAWN",
                details={"account_id": account.account_id, "cash": plain_text(cash)},
            )
