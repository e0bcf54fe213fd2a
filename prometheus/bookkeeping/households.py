"""Households in the database: which accounts belong together, their journals read as one, and rows written back.

Accounts of one household are always locked in the order of their names, so two workers who book two of them wait for
each other and never in a circle.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection, text

from prometheus.accounting.joint_accounts import joint_lots, joint_row, own_row
from prometheus.accounting.replay import Replay
from prometheus.db.repositories.accounts import accounts_of, append_rows, journal_row, load_books, save_books
from prometheus.decision.day_inputs import HouseholdDay
from prometheus.domain.accounts import Account, AccountKind
from prometheus.domain.books import Books, Transaction, TransactionType

_MEMBERS: Final = """
SELECT account_id FROM accounts
WHERE account_id = :account OR household = (SELECT household FROM accounts WHERE account_id = :account)
ORDER BY account_id
"""

_JOURNALS: Final = text("""
    SELECT account_id, txn_type, trade_date, coalesce(ticker, '') AS ticker, lot_id, quantity, amount, basis,
           realized_gain, term, details
    FROM transactions LEFT JOIN securities USING (security_id)
    WHERE account_id = ANY(:accounts) AND trade_date >= :since ORDER BY txn_id
""")

# The rows of other accounts that a rule can meet: what they were paid changes nothing here.
_POSITION: Final = text("""
    SELECT coalesce(max(txn_id), 0) FROM transactions
    WHERE account_id = :account OR (account_id = ANY(:others) AND txn_type <> ALL(:income))
""")
_LOCK: Final = text("""
    SELECT account_id FROM accounts WHERE account_id = ANY(:accounts) ORDER BY account_id FOR NO KEY UPDATE
""")
_INCOME: Final = [TransactionType.DIVIDEND.value, TransactionType.SPECIAL_DIVIDEND.value]


@dataclass(frozen=True, slots=True)
class Household:
    """The accounts of one taxpayer, or an account by itself.

    Attributes:
        accounts: By the name that their lots and executions carry in joint books: the account's id, or the empty name
            for an account by itself.
    """

    accounts: Mapping[str, Account]

    @property
    def sheltered(self) -> frozenset[str]:
        """Return the names of the accounts that are not taxed."""
        return frozenset(name for name, found in self.accounts.items() if found.kind is AccountKind.SHELTERED)

    def name_of(self, account_id: str) -> str:
        """Return the name that an account carries in joint books."""
        return account_id if account_id in self.accounts else ""

    def account(self, account_id: str) -> Account:
        """Return an account by its id."""
        return self.accounts[self.name_of(account_id)]


def household_of(connection: Connection, account_id: str, *, lock: bool = False) -> Household:
    """Return the household of an account.

    With ``lock`` the rows of its accounts are locked first, in the order of their names, so that nothing is booked in
    any of them until the transaction ends.

    Raises:
        UnknownAccountError: There is no such account.
    """
    query = _MEMBERS + ("FOR NO KEY UPDATE" if lock else "")
    names = [row.account_id for row in connection.execute(text(query), {"account": account_id})]
    found = accounts_of(connection, account_ids=names or [account_id])
    if len(found) == 1:
        return Household({"": found[0]})
    return Household({account.account_id: account for account in found})


def joint_journal(connection: Connection, household: Household, since: date) -> tuple[Transaction, ...]:
    """Return the journal rows of a household with a trade date on or after ``since``, in the order of writing."""
    names = {account.account_id: name for name, account in household.accounts.items()}
    return tuple(
        joint_row(
            names[row["account_id"]],
            journal_row(row),
        )
        for row in connection.execute(_JOURNALS, {"accounts": list(names), "since": since}).mappings()
    )


def household_books(connection: Connection, household: Household) -> dict[str, Books]:
    """Return lots and cash of each account, under its own names, by the name it has in the household."""
    return {name: load_books(connection, found.account_id) for name, found in household.accounts.items()}


def household_of_account(connection: Connection, account: Account) -> Household:
    """Return the household of an account that has been read already; no query where it stands by itself."""
    return Household({"": account}) if account.household is None else household_of(connection, account.account_id)


def household_position(connection: Connection, account_id: str, members: Collection[str], *, lock: bool = False) -> int:
    """Return the id of the latest row that can matter to an account: its own, or a trade of its household; else 0.

    With ``lock`` the rows of all members are locked first, in the order of their names, until the transaction ends.
    """
    if lock:
        connection.execute(_LOCK, {"accounts": sorted(members)})
    others = [member for member in members if member != account_id]
    return int(connection.execute(_POSITION, {"account": account_id, "others": others, "income": _INCOME}).scalar_one())


def write_rows(
    connection: Connection,
    household: Household,
    before: Mapping[str, Books],
    rows: Sequence[Transaction],
    *,
    account_id: str,
    as_of: date | None,
    external_ids: Mapping[int, str],
) -> None:
    """Append rows to the journals they belong to, and write the lots and cash that follow.

    Args:
        connection: The transaction; the household is locked in it.
        household: Whose rows they are.
        before: Books of each account before.
        rows: Rows under joint names, in the order of booking.
        account_id: The account whose day it is; only its books are through ``as_of`` afterwards.
        as_of: That day; None where nobody's day is booked.
        external_ids: Names of rows from outside, by their position among ``rows``.
    """
    append_rows(
        connection,
        [(household.accounts[row.account].account_id, own_row(row), external_ids.get(i)) for i, row in enumerate(rows)],
    )
    for name, account in sorted(household.accounts.items()):
        own = [own_row(row) for row in rows if row.account == name]
        if not own and account.account_id != account_id:
            continue
        after = Replay(before[name])
        for row in own:
            after.post_row(row)
        save_books(
            connection,
            account.account_id,
            before=before[name],
            after=after.books(),
            transactions=(),
            books_as_of=as_of if account.account_id == account_id else account.books_as_of,
        )


def household_day(connection: Connection, household: Household, account_id: str, since: date) -> HouseholdDay | None:
    """Return what an account's day needs of its household; None for an account by itself."""
    if len(household.accounts) == 1:
        return None
    others = {name: found for name, found in household.accounts.items() if name != account_id}
    return HouseholdDay(
        account_id,
        joint_journal(connection, household, since),
        tuple(
            lot
            for name, found in others.items()
            for lot in joint_lots(name, load_books(connection, found.account_id).lots)
        ),
        household.sheltered,
    )
