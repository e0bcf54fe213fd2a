"""The losses taken back in stored journals, derived anew: only where a rule can have met anything.

A household and group in which no loss was sold around a purchase, and in which no row says otherwise, has nothing to
derive; the database finds those that have. Their rows alone are read with all that the rules need.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, select

from prometheus.accounting.derivation import DERIVED_TYPES, DerivationDifference, derive
from prometheus.accounting.joint_accounts import joint_row
from prometheus.accounting.wash_sales import WASH_WINDOW_DAYS
from prometheus.db.database import driver_connection
from prometheus.db.models import AccountRow, SecurityRow
from prometheus.domain.accounts import AccountType, TaxRegime
from prometheus.domain.books import DISPOSITION_TYPES, PURCHASE_TYPES, Transaction, TransactionType
from prometheus.domain.lots import Term

# A household is one owner, and so is an account by itself.
_OWNER: Final = "coalesce('h:' || household, 'a:' || account_id)"

# What a rule can have met: pairs of owner and security. Few are, but no statistics say so; so they are looked up first,
# and their rows by a list whose length the planner knows. A new symbol may lead from one group into another: such a
# household is looked at whole.
_CONCERNED: Final = f"""
WITH members AS (
    SELECT account_id, {_OWNER} AS owner FROM accounts
    WHERE %(accounts)s::text[] IS NULL
       OR {_OWNER} IN (SELECT {_OWNER} FROM accounts WHERE account_id = ANY(%(accounts)s))
), taxed AS MATERIALIZED (
    SELECT m.owner, s.group_id, x.txn_type, x.trade_date, x.lot_id, x.realized_gain,
           x.txn_type = ANY(%(sales)s) AND x.realized_gain <> x.amount + x.basis AS unlike
    FROM transactions x JOIN members m USING (account_id) JOIN securities s USING (security_id)
    WHERE x.realized_gain < 0 OR x.txn_type = ANY(%(looked_at)s)
       OR (x.txn_type = ANY(%(sales)s) AND x.realized_gain <> x.amount + x.basis)
), concerned AS (
    SELECT owner, group_id FROM taxed WHERE txn_type = ANY(%(derived)s) OR unlike
    UNION
    SELECT l.owner, l.group_id FROM taxed l JOIN taxed p USING (owner, group_id)
    WHERE l.txn_type = ANY(%(sales)s) AND l.realized_gain < 0 AND p.txn_type = ANY(%(purchases)s)
      AND p.trade_date BETWEEN l.trade_date - %(window)s AND l.trade_date + %(window)s
      AND p.lot_id IS DISTINCT FROM l.lot_id
)
SELECT m.account_id, s.security_id
FROM concerned c JOIN members m USING (owner) JOIN securities s USING (group_id)
UNION
SELECT m.account_id, x.security_id
FROM taxed t JOIN members m USING (owner) JOIN transactions x USING (account_id)
WHERE t.txn_type = %(symbol)s AND x.security_id IS NOT NULL
"""

# A household together, in the order of writing.
_ROWS: Final = f"""
SELECT a.owner, x.account_id, x.txn_type, x.trade_date, s.ticker, x.lot_id, x.quantity, x.amount, x.basis,
       x.realized_gain, x.term, x.details
FROM unnest(%(concerned)s::text[], %(securities)s::int[]) AS c(account_id, security_id)
     JOIN transactions x USING (account_id, security_id) JOIN securities s USING (security_id)
     JOIN (SELECT account_id, {_OWNER} AS owner FROM accounts) a USING (account_id)
ORDER BY a.owner, x.txn_id
"""

#: Enough to hold what a million rows leave to look at; for this transaction only.
_WORK_MEM: Final = "64MB"


def derived_differences(
    connection: Connection, account_ids: Sequence[str] | None = None
) -> dict[str, list[DerivationDifference]]:
    """Return by account where its rows of losses taken back are not those that the primary rows give.

    Args:
        connection: A transaction that sees one state of the journal.
        account_ids: The accounts, each with its household; all of them where not given.

    Raises:
        AccountingError: A journal that cannot be posted.
    """
    groups = {row.ticker: row.group_id for row in connection.execute(select(SecurityRow.ticker, SecurityRow.group_id))}
    accounts = {
        row.account_id: row
        for row in connection.execute(
            select(AccountRow.account_id, AccountRow.household, AccountRow.tax_regime, AccountRow.account_type)
        )
    }
    found: dict[str, list[DerivationDifference]] = defaultdict(list)
    for owner, rows in _journals(connection, account_ids):
        alone = owner.startswith("a:")
        names = [name for name, row in accounts.items() if (f"h:{row.household}" if row.household else "") == owner]
        members = [owner[2:]] if alone else names
        # A household of one is an account by itself: its names are its own.
        alone = len(members) == 1
        sheltered = frozenset(
            "" if alone else name for name in members if AccountType(accounts[name].account_type).is_sheltered
        )
        journal = [row if alone else joint_row(account, row) for account, row in rows]
        for difference in derive(
            journal,
            regime=TaxRegime(accounts[members[0]].tax_regime),
            group_of=groups,
            sheltered=sheltered,
        ):
            found[difference.account or members[0]].append(difference)
    return found


def _journals(
    connection: Connection, account_ids: Sequence[str] | None
) -> Iterator[tuple[str, list[tuple[str, Transaction]]]]:
    parameters: dict[str, Any] = {
        "accounts": None if account_ids is None else list(account_ids),
        "looked_at": _values(DERIVED_TYPES | PURCHASE_TYPES | {TransactionType.SYMBOL_CHANGE}),
        "derived": _values(DERIVED_TYPES),
        "sales": _values(DISPOSITION_TYPES),
        "purchases": _values(PURCHASE_TYPES),
        "symbol": TransactionType.SYMBOL_CHANGE.value,
        "window": WASH_WINDOW_DAYS,
    }
    with driver_connection(connection).cursor() as cursor:
        cursor.execute("SELECT set_config('work_mem', %s, true)", [_WORK_MEM])
        concerned = cursor.execute(_CONCERNED, parameters).fetchall()
        if not concerned:
            return
        pairs = {"concerned": [account for account, _ in concerned], "securities": [found for _, found in concerned]}
        cursor.execute(_ROWS, pairs)
        for owner, rows in groupby(cursor, key=itemgetter(0)):
            yield owner, [(row[1], _transaction(row)) for row in rows]


def _values(types: Iterable[TransactionType]) -> list[str]:
    return sorted(found.value for found in types)


def _transaction(row: tuple[Any, ...]) -> Transaction:
    _, _, txn_type, trade_date, ticker, lot_id, quantity, amount, basis, gain, term, details = row
    return Transaction(
        TransactionType(txn_type), trade_date, ticker, lot_id, quantity, amount, basis, gain, Term(term), details
    )
