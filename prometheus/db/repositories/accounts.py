"""Accounts and their books: settings, lots, cash, and the journal behind them."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from prometheus.db.database import driver_connection
from prometheus.db.models import AccountRow, SecurityRow, TaxLotRow, TransactionRow
from prometheus.domain.accounts import Account, AccountType, LotMethod, Region, TaxRates, TaxRegime
from prometheus.domain.books import Books, Transaction, TransactionType
from prometheus.domain.lots import TaxLot, Term
from prometheus.foundation.canonical import to_jsonable
from prometheus.foundation.errors import UnknownAccountError

_LOTS: Final = """
    SELECT lot_id, ticker, acquired_on, quantity, cost_basis, adjusted_basis, holding_period_start
    FROM tax_lots JOIN securities USING (security_id)
    WHERE account_id = %(account)s ORDER BY ticker, acquired_on, lot_id
"""

_JOURNAL: Final = text("""
    SELECT txn_type, trade_date, coalesce(ticker, '') AS ticker, lot_id, quantity, amount, basis, realized_gain, term,
           details
    FROM transactions LEFT JOIN securities USING (security_id)
    WHERE account_id = :account AND trade_date >= :since ORDER BY txn_id
""")


def accounts_of(
    connection: Connection, *, account_ids: Sequence[str] | None = None, region: str | None = None
) -> tuple[Account, ...]:
    """Return accounts by id or by region, ordered by id; all of them where neither is given.

    Raises:
        UnknownAccountError: A named account is not in the database, or the region has none.
    """
    query = select(AccountRow.__table__).order_by(AccountRow.account_id)
    if account_ids is not None:
        query = query.where(AccountRow.account_id.in_(list(account_ids)))
    if region is not None:
        query = query.where(AccountRow.region == region)
    found = tuple(_account(row) for row in connection.execute(query).mappings())
    missing = sorted(set(account_ids or ()) - {account.account_id for account in found})
    if missing:
        raise UnknownAccountError(f"There is no account {missing[0]}. 'prometheus ingest' loads accounts from a file.")
    if region is not None and region not in set(Region):
        raise UnknownAccountError(f"There is no region {region}; known are {', '.join(Region)}.")
    if region is not None and not found:
        raise UnknownAccountError(f"Region {region} has no accounts. 'prometheus ingest' loads accounts from a file.")
    return found


def load_books(connection: Connection, account_id: str) -> Books:
    """Return an account's lots and cash as booked."""
    cash = connection.execute(select(AccountRow.cash).where(AccountRow.account_id == account_id)).scalar_one()
    # Straight from the driver: an account has hundreds of lots, and each is read every day.
    rows = driver_connection(connection).execute(_LOTS, {"account": account_id})
    return Books(lots=tuple(TaxLot(*row) for row in rows), cash=cash)


def journal_since(connection: Connection, account_id: str, since: date) -> tuple[Transaction, ...]:
    """Return the journal rows with a trade date on or after ``since``, in the order in which they were written."""
    return tuple(
        journal_row(row) for row in connection.execute(_JOURNAL, {"account": account_id, "since": since}).mappings()
    )


def journal_row(row: RowMapping) -> Transaction:
    """Return the transaction that a row of the journal stands for; its columns carry the names of the fields."""
    return Transaction(
        txn_type=TransactionType(row["txn_type"]),
        trade_date=row["trade_date"],
        ticker=row["ticker"],
        lot_id=row["lot_id"],
        quantity=row["quantity"],
        amount=row["amount"],
        basis=row["basis"],
        realized_gain=row["realized_gain"],
        term=Term(row["term"]),
        details=row["details"],
    )


def save_books(
    connection: Connection,
    account_id: str,
    *,
    before: Books,
    after: Books,
    transactions: Iterable[Transaction],
    books_as_of: date | None,
    external_ids: Sequence[str | None] | None = None,
    actions_seen: int | None = None,
) -> None:
    """Write what changed between two states of an account's books, and append the journal rows that explain it.

    ``books_as_of`` moves the day of the books forward, ``actions_seen`` the mark of the corporate actions that they
    have looked at; None leaves it alone.
    """
    journal = tuple(transactions)
    names = external_ids or [None] * len(journal)
    append_rows(connection, [(account_id, row, name) for row, name in zip(journal, names, strict=True)])
    write_lots(connection, account_id, before, after)
    connection.execute(
        update(AccountRow)
        .where(AccountRow.account_id == account_id)
        .values(
            cash=after.cash,
            books_as_of=func.greatest(AccountRow.books_as_of, books_as_of),
            books_opened_on=func.coalesce(AccountRow.books_opened_on, books_as_of),
            actions_seen=func.greatest(AccountRow.actions_seen, actions_seen),
        )
    )


def append_rows(connection: Connection, rows: Sequence[tuple[str, Transaction, str | None]]) -> None:
    """Append journal rows in the order given: account, row, and the name of what comes from outside, if it does.

    Rows of several accounts keep their order, for what one account books can rest upon a row of another.
    """
    if not rows:
        return
    ids = _security_ids(connection, {row.ticker for _, row, _ in rows if row.ticker})
    connection.execute(
        insert(TransactionRow),
        [
            {
                "account_id": account_id,
                "txn_type": row.txn_type.value,
                "trade_date": row.trade_date,
                "security_id": ids.get(row.ticker),
                "lot_id": row.lot_id,
                "quantity": row.quantity,
                "amount": row.amount,
                "basis": row.basis,
                "realized_gain": row.realized_gain,
                "term": row.term.value,
                "external_id": name,
                "details": to_jsonable(row.details),
            }
            for account_id, row, name in rows
        ],
    )


def _security_ids(connection: Connection, tickers: Iterable[str]) -> dict[str, int]:
    query = select(SecurityRow.ticker, SecurityRow.security_id).where(SecurityRow.ticker.in_(sorted(tickers)))
    return {row.ticker: row.security_id for row in connection.execute(query)}


def journal_position(connection: Connection, account_id: str, *, lock: bool = False) -> int:
    """Return the id of the account's latest journal row, 0 where there is none.

    With ``lock`` the account's row is locked first, so that nothing is booked until the transaction ends.
    """
    if lock:
        connection.execute(
            select(AccountRow.account_id).where(AccountRow.account_id == account_id).with_for_update(key_share=True)
        )
    newest = select(func.coalesce(func.max(TransactionRow.txn_id), 0)).where(TransactionRow.account_id == account_id)
    return int(connection.execute(newest).scalar_one())


def known_external_ids(connection: Connection, account_id: str, candidates: Sequence[str]) -> frozenset[str]:
    """Return which of the given external ids the account's journal already has."""
    rows = connection.execute(
        select(TransactionRow.external_id).where(
            TransactionRow.account_id == account_id, TransactionRow.external_id.in_(list(candidates))
        )
    )
    return frozenset(row.external_id for row in rows if row.external_id is not None)


def write_lots(connection: Connection, account_id: str, before: Books, after: Books) -> None:
    """Write the lots that changed between two states of an account's books."""
    # Most days change no lot; then there is nothing to look up.
    if before.lots == after.lots:
        return
    ids = _security_ids(connection, {lot.ticker for lot in (*before.lots, *after.lots)})
    old = {lot.lot_id: lot for lot in before.lots}
    new = {lot.lot_id: lot for lot in after.lots}
    gone = sorted(set(old) - set(new))
    if gone:
        connection.execute(delete(TaxLotRow).where(TaxLotRow.account_id == account_id, TaxLotRow.lot_id.in_(gone)))
    changed = [lot for lot_id, lot in new.items() if old.get(lot_id) != lot]
    if not changed:
        return
    statement = upsert(TaxLotRow)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account_id", "lot_id"],
            set_={
                name: statement.excluded[name]
                for name in (
                    "security_id",
                    "acquired_on",
                    "holding_period_start",
                    "quantity",
                    "cost_basis",
                    "adjusted_basis",
                )
            },
        ),
        [
            {
                "account_id": account_id,
                "lot_id": lot.lot_id,
                "security_id": ids[lot.ticker],
                "acquired_on": lot.acquired_on,
                "holding_period_start": lot.holding_period_start,
                "quantity": lot.quantity,
                "cost_basis": lot.cost_basis,
                "adjusted_basis": lot.adjusted_basis,
            }
            for lot in changed
        ],
    )


def _account(row: RowMapping) -> Account:
    values: dict[str, Any] = dict(row)
    return Account(
        account_id=values["account_id"],
        name=values["name"],
        region=Region(values["region"]),
        base_currency=values["base_currency"],
        tax_regime=TaxRegime(values["tax_regime"]),
        lot_method=LotMethod(values["lot_method"]),
        benchmark_id=values["benchmark_id"],
        rates=TaxRates(st=values["st_rate"], lt=values["lt_rate"], niit=values["niit_rate"]),
        cash=values["cash"],
        fractional_shares=values["fractional_shares"],
        tags=tuple(values["tags"]),
        strategy_id=values["strategy_id"],
        books_as_of=values["books_as_of"],
        paused=values["paused"],
        household=values["household"],
        account_type=AccountType(values["account_type"]),
        books_opened_on=values["books_opened_on"],
    )
