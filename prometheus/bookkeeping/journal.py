"""The journal as a whole: replayed account by account, held against the tables, and written into them again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, text

from prometheus.accounting.derivation import DerivationDifference
from prometheus.accounting.reconciliation import BooksDifference, differences
from prometheus.accounting.replay import Replay
from prometheus.bookkeeping.action_changes import ActionsRefused, UnbookedActions, all_unbooked_actions
from prometheus.bookkeeping.derivations import derived_differences
from prometheus.db.database import driver_connection
from prometheus.domain.books import Books
from prometheus.domain.lots import TaxLot
from prometheus.foundation.errors import AccountingError

# What a replay needs of a row, and nothing else: the details as a whole would cost more than the replay. An account's
# rows come as one text, a line each, because a message for each row costs as much as the rest of reading it; a lot's
# name comes as JSON, in which no tab and no line end stands for itself.
_ROWS: Final = """
COPY (
    SELECT a.account_id, q.lines
    FROM accounts a CROSS JOIN LATERAL (
        SELECT string_agg(
                   concat(to_json(x.lot_id), E'\\t', x.security_id, E'\\t', x.quantity, E'\\t', x.amount,
                          E'\\t', x.basis, E'\\t', x.details ->> 'cost_basis', E'\\t', x.details ->> 'acquired_on',
                          E'\\t', x.details ->> 'holding_period_start'),
                   E'\\n' ORDER BY x.txn_id) AS lines
        FROM transactions x WHERE x.account_id = a.account_id) q
    WHERE (%(accounts)s::text[] IS NULL OR a.account_id = ANY(%(accounts)s)) AND q.lines IS NOT NULL
    ORDER BY a.account_id
) TO STDOUT (FORMAT binary)
"""
_TICKERS: Final = "SELECT security_id::text, ticker FROM securities"

_ZERO: Final = Decimal(0)
_LOTS: Final = """
SELECT account_id, lot_id, ticker, acquired_on, quantity, cost_basis, adjusted_basis, holding_period_start
FROM tax_lots JOIN securities USING (security_id)
WHERE %(accounts)s::text[] IS NULL OR account_id = ANY(%(accounts)s)
ORDER BY account_id, lot_id
"""

_CASH: Final = """
SELECT account_id, cash FROM accounts
WHERE %(accounts)s::text[] IS NULL OR account_id = ANY(%(accounts)s)
ORDER BY account_id
"""

_INSERT_LOT: Final = text("""
    INSERT INTO tax_lots (account_id, lot_id, security_id, acquired_on, holding_period_start, quantity, cost_basis,
                          adjusted_basis)
    SELECT :account, :lot_id, security_id, :acquired_on, :start, :quantity, :cost, :adjusted
    FROM securities WHERE ticker = :ticker
""")


@dataclass(frozen=True, slots=True)
class AccountProof:
    """What replaying one account's journal showed.

    Attributes:
        account_id: The account.
        rows: Journal rows replayed.
        lots: Lots they leave.
        differences: Where the tables say otherwise than the journal, then where the journal's rows of losses taken
            back are not those that its primary rows give, then corporate actions that came or changed after the books
            had passed them and are not in them; empty where all agree.
    """

    account_id: str
    rows: int
    lots: int
    differences: tuple[BooksDifference | DerivationDifference | UnbookedActions | ActionsRefused, ...]


def replayed_books(
    connection: Connection, account_ids: Sequence[str] | None = None
) -> Iterator[tuple[str, int, Books]]:
    """Yield account, number of rows and books of every journal, by account; one account's rows are held at a time.

    Raises:
        AccountingError: A journal that cannot be replayed; the message names the account.
    """
    chosen = {"accounts": None if account_ids is None else list(account_ids)}
    raw = driver_connection(connection)
    tickers = {"": "", **dict(raw.execute(_TICKERS).fetchall())}
    with raw.cursor() as cursor, cursor.copy(_ROWS, chosen) as copy:
        copy.set_types(["text", "text"])
        for account_id, text_of_rows in copy.rows():
            lines, books, count = text_of_rows.split("\n"), Replay(), 0
            try:
                for line in lines:
                    count += 1
                    _post(books, line.split("\t"), tickers)
            except AccountingError as error:
                raise AccountingError(
                    f"the journal of {account_id} cannot be replayed; its row {count} of {error.message}",
                    details={"account_id": account_id, **error.details},
                ) from error
            yield account_id, count, books.books()


def _post(books: Replay, sent: list[str], tickers: Mapping[str, str]) -> None:
    lot_id, security, quantity, amount, basis, cost, acquired_on, start = sent
    if not lot_id:
        # Cash alone; a third of the rows.
        books.post(None, "", _ZERO, Decimal(amount), _ZERO, _ZERO, None, None)
        return
    change = Decimal(basis)
    books.post(
        json.loads(lot_id) if "\\" in lot_id else lot_id[1:-1],
        tickers[security],
        Decimal(quantity),
        Decimal(amount),
        change,
        Decimal(cost) if cost else change,
        date.fromisoformat(acquired_on) if acquired_on else None,
        date.fromisoformat(start) if start else None,
    )


def stored_books(connection: Connection, account_ids: Sequence[str] | None = None) -> dict[str, Books]:
    """Return lots and cash as the tables have them, by account."""
    raw = driver_connection(connection)
    chosen = {"accounts": None if account_ids is None else list(account_ids)}
    lots: dict[str, list[TaxLot]] = {}
    for account_id, *lot in raw.execute(_LOTS, chosen):
        lots.setdefault(account_id, []).append(TaxLot(*lot))
    return {account_id: Books(tuple(lots.get(account_id, ())), cash) for account_id, cash in raw.execute(_CASH, chosen)}


def prove_tables(connection: Connection, account_ids: Sequence[str] | None = None) -> Iterator[AccountProof]:
    """Replay every journal and hold it against the tables, and derive its wash sales anew, all as of one moment.

    Args:
        connection: At the beginning of a transaction.
        account_ids: The accounts; all of them where not given.

    Yields:
        One proof for each account, by account. An account without journal must have no lots and no cash.
    """
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    tables = stored_books(connection, account_ids)
    proofs = [
        AccountProof(account_id, rows, len(journal.lots), tuple(differences(journal, tables[account_id])))
        for account_id, rows, journal in replayed_books(connection, account_ids)
    ]
    seen = {proof.account_id for proof in proofs}
    proofs += [
        AccountProof(account_id, 0, 0, tuple(differences(Books(), tables[account_id])))
        for account_id in sorted(tables.keys() - seen)
    ]
    # After the replay: a journal that cannot even be posted is said there, with its row.
    derived = derived_differences(connection, account_ids)
    unbooked = all_unbooked_actions(connection, account_ids)
    for proof in proofs:
        found = (*derived.get(proof.account_id, ()), *unbooked.get(proof.account_id, ()))
        yield replace(proof, differences=(*proof.differences, *found)) if found else proof


def write_tables(connection: Connection, account_ids: Sequence[str] | None = None) -> list[AccountProof]:
    """Write lots and cash anew from the journal where the tables differ; return what was found before.

    The accounts are locked first, so that nothing is booked meanwhile.
    """
    chosen: dict[str, Any] = {"accounts": None if account_ids is None else list(account_ids)}
    driver_connection(connection).execute(_CASH.rstrip() + " FOR NO KEY UPDATE", chosen)
    tables = stored_books(connection, account_ids)
    replayed = {account_id: (rows, books) for account_id, rows, books in replayed_books(connection, account_ids)}
    proofs = []
    for account_id in sorted(tables):
        rows, journal = replayed.get(account_id, (0, Books()))
        found = tuple(differences(journal, tables[account_id]))
        if found:
            _write(connection, account_id, journal)
        proofs.append(AccountProof(account_id, rows, len(journal.lots), found))
    return proofs


def _write(connection: Connection, account_id: str, books: Books) -> None:
    connection.execute(text("DELETE FROM tax_lots WHERE account_id = :account"), {"account": account_id})
    if books.lots:
        connection.execute(
            _INSERT_LOT,
            [
                {
                    "account": account_id,
                    "lot_id": lot.lot_id,
                    "ticker": lot.ticker,
                    "acquired_on": lot.acquired_on,
                    "start": lot.holding_period_start,
                    "quantity": lot.quantity,
                    "cost": lot.cost_basis,
                    "adjusted": lot.adjusted_basis,
                }
                for lot in books.lots
            ],
        )
    connection.execute(
        text("UPDATE accounts SET cash = :cash WHERE account_id = :account"),
        {"cash": books.cash, "account": account_id},
    )
