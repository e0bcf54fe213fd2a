"""Postings of the ledger in the database, and the corrections that reverse them; both are only ever appended."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from prometheus.db.database import driver_connection
from prometheus.domain.lots import Term
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import LossLink, Posting, PostingKind

_COLUMNS: Final = """
    account_id, kind, day, fold_day, event_account, event_id, ticker, lot_id, quantity, cash, cost_basis,
    adjusted_basis, realized_gain, term, acquired_on, holding_period_start, fee, settle_date, tax_date,
    loss_event_account, loss_event_id, loss_account, loss_lot_id, loss_ticker, loss_day, loss_shares, loss_amount,
    replacement_account, replacement_lot_id, purchase_account, purchase_event_id, loss_is_permanent, former_account,
    former_lot_id, reverses, correction_id
"""
_AFTER: Final = f"""
    SELECT posting_no, {_COLUMNS} FROM ledger_postings
    WHERE account_id = ANY(%(accounts)s) AND fold_day > coalesce(%(day)s::date, '-infinity') ORDER BY posting_no
"""
_NEWEST: Final = "SELECT coalesce(max(posting_no), 0) FROM ledger_postings WHERE account_id = ANY(%s)"
_TICKERS: Final = "SELECT DISTINCT ticker FROM ledger_postings WHERE account_id = ANY(%s) AND ticker <> ''"
# What a year's gains add up to. LOSS_FINAL only says that a window has closed.
_GAINS: Final = """
    SELECT account_id, sum(realized_gain) FROM ledger_postings
    WHERE account_id = ANY(%(accounts)s) AND tax_date BETWEEN %(first)s AND %(last)s AND day <= %(through)s
      AND kind <> 'LOSS_FINAL'
    GROUP BY account_id
"""
_OF_MARKET: Final = """
    SELECT DISTINCT posting.account_id, posting.event_id
    FROM unnest(%(accounts)s::text[], %(days)s::date[]) AS wanted(account_id, day)
    JOIN ledger_postings AS posting ON posting.account_id = wanted.account_id
        AND posting.day > wanted.day AND posting.day <= %(through)s
    WHERE posting.event_account = ''
"""
_APPEND: Final = f"COPY ledger_postings ({_COLUMNS}) FROM STDIN"
_CORRECT: Final = """
    INSERT INTO ledger_corrections (household, first_day, reason, told_by, reversed, posted)
    VALUES (%s, %s, %s, %s, %s, %s) RETURNING correction_id
"""
_CORRECTIONS: Final = """
    SELECT correction_id, household, first_day, reason, told_by, reversed, posted, recorded_at
    FROM ledger_corrections WHERE household = %s ORDER BY correction_id
"""


class StoredPosting(NamedTuple):
    """A posting as it is stored: its number, the day whose fold wrote it, and the posting."""

    number: int
    fold_day: date
    posting: Posting


class NewPosting(NamedTuple):
    """A posting to be stored, and the day whose fold wrote it."""

    posting: Posting
    fold_day: date


@dataclass(frozen=True, slots=True)
class StoredCorrection:
    """Why postings of a household were reversed.

    Attributes:
        correction_id: Its number.
        household: Whose books.
        first_day: First day that was folded again.
        reason: Why, in one sentence.
        told_by: Who told it.
        reversed: Postings reversed.
        posted: Postings written instead.
        recorded_at: When, by the database's clock.
    """

    correction_id: int
    household: str
    first_day: date
    reason: str
    told_by: str
    reversed: int
    posted: int
    recorded_at: datetime


def postings_after(connection: Connection, accounts: Collection[str], day: date | None) -> list[StoredPosting]:
    """Return the postings of accounts that folds of later days wrote, in the order of writing; all where None."""
    return list(_stored(driver_connection(connection).execute(_AFTER, {"accounts": sorted(accounts), "day": day})))


def gains_of_year(connection: Connection, accounts: Collection[str], through: date) -> dict[str, Decimal]:
    """Return the net gain of accounts that counts in the calendar year of a day, through it; negative: a loss.

    What is disallowed of a loss counts in the year of the loss. Accounts without any gain are absent.

    Args:
        connection: A transaction.
        accounts: The accounts; a sheltered one is not taxed, whatever it realises.
        through: Last day whose postings count.
    """
    year = {"first": date(through.year, 1, 1), "last": date(through.year, 12, 31), "through": through}
    rows = driver_connection(connection).execute(_GAINS, {"accounts": sorted(accounts), **year})
    return dict(rows.fetchall())


def counts_in_year(posting: Posting, through: date) -> bool:
    """Return whether ``gains_of_year`` counts a posting."""
    taxed_on = posting.tax_date
    return (
        taxed_on is not None
        and taxed_on.year == through.year
        and posting.day <= through
        and posting.kind is not PostingKind.LOSS_FINAL
    )


def market_events_posted(connection: Connection, after: Mapping[str, date], through: date) -> dict[str, set[str]]:
    """Return by account the names of the market's events that are booked on later days than one of its own.

    Args:
        connection: A transaction.
        after: Account to the day after which postings count.
        through: Last day of postings.
    """
    names: dict[str, set[str]] = {}
    wanted = {"accounts": list(after), "days": list(after.values()), "through": through}
    for account_id, event_id in driver_connection(connection).execute(_OF_MARKET, wanted):
        names.setdefault(account_id, set()).add(event_id)
    return names


def newest_posting(connection: Connection, accounts: Collection[str]) -> int:
    """Return the number of the latest posting of accounts, 0 where there is none."""
    return int(driver_connection(connection).execute(_NEWEST, [sorted(accounts)]).fetchall()[0][0])


def tickers_posted(connection: Connection, accounts: Collection[str]) -> set[str]:
    """Return the securities that accounts ever held or were paid for."""
    return {row[0] for row in driver_connection(connection).execute(_TICKERS, [sorted(accounts)])}


def append_postings(connection: Connection, postings: Sequence[tuple[NewPosting, int | None]]) -> None:
    """Append postings in the order given, each under the correction that is given with it, or under none."""
    if not postings:
        return
    with driver_connection(connection).cursor() as cursor, cursor.copy(_APPEND) as copy:
        for (posting, fold_day), correction_id in postings:
            copy.write_row(_row(posting, fold_day, correction_id))


def append_correction(
    connection: Connection,
    household: str,
    *,
    first_day: date,
    reason: str,
    told_by: str,
    reversed_postings: int,
    posted: int,
) -> int:
    """Append a correction and return its number; see ``StoredCorrection``."""
    row = (household, first_day, reason, told_by, reversed_postings, posted)
    return int(driver_connection(connection).execute(_CORRECT, row).fetchall()[0][0])


def corrections_of(connection: Connection, household: str) -> list[StoredCorrection]:
    """Return the corrections of a household, oldest first."""
    return [StoredCorrection(*row) for row in driver_connection(connection).execute(_CORRECTIONS, [household])]


def _row(posting: Posting, fold_day: date, correction_id: int | None) -> tuple[Any, ...]:
    loss, former = posting.loss, posting.former
    return (
        posting.account,
        posting.kind.value,
        posting.day,
        fold_day,
        *posting.event,
        posting.ticker,
        posting.lot_id,
        posting.quantity,
        posting.cash,
        posting.cost_basis,
        posting.adjusted_basis,
        posting.realized_gain,
        posting.term.value,
        posting.acquired_on,
        posting.holding_period_start,
        posting.fee,
        posting.settle_date,
        posting.tax_date,
        *(_NO_LOSS if loss is None else _loss_columns(loss)),
        *(_NONE if former is None else former),
        posting.reverses,
        correction_id,
    )


_NONE: Final = (None, None)
_NO_LOSS: Final = (None,) * 13


def _loss_columns(loss: LossLink) -> tuple[Any, ...]:
    return (
        *loss.event,
        *loss.lot,
        loss.ticker,
        loss.day,
        loss.shares,
        loss.amount,
        *(_NONE if loss.replacement is None else loss.replacement),
        *(_NONE if loss.purchase is None else loss.purchase),
        loss.is_permanent,
    )


def _stored(rows: Iterable[tuple[Any, ...]]) -> Iterator[StoredPosting]:
    return (StoredPosting(row[0], row[4], _posting(row)) for row in rows)


def _posting(row: tuple[Any, ...]) -> Posting:
    """Return the posting of a row; it carries the number of its correction as text."""
    (
        _, account, kind, day, _, event_account, event_id, ticker, lot_id, quantity, cash, cost_basis, adjusted_basis,
        realized_gain, term, acquired_on, holding_period_start, fee, settle_date, tax_date, *loss, former_account,
        former_lot_id, reverses, correction_id,
    ) = row  # fmt: skip
    return Posting(
        PostingKind(kind),
        day,
        account,
        EventKey(event_account, event_id),
        ticker,
        lot_id,
        quantity,
        cash,
        cost_basis,
        adjusted_basis,
        realized_gain,
        Term(term),
        acquired_on,
        holding_period_start,
        fee,
        settle_date,
        tax_date,
        None if loss[1] is None else _loss(*loss),
        None if former_lot_id is None else LotKey(former_account, former_lot_id),
        reverses,
        "" if correction_id is None else str(correction_id),
    )


def _loss(
    event_account: str,
    event_id: str,
    account: str,
    lot_id: str,
    ticker: str,
    day: date,
    shares: Decimal,
    amount: Decimal,
    replacement_account: str | None,
    replacement_lot_id: str | None,
    purchase_account: str | None,
    purchase_event_id: str | None,
    is_permanent: bool,  # noqa: FBT001 - a column
) -> LossLink:
    return LossLink(
        EventKey(event_account, event_id),
        LotKey(account, lot_id),
        ticker,
        day,
        shares,
        amount,
        None if replacement_account is None else LotKey(replacement_account, replacement_lot_id or ""),
        None if purchase_account is None else EventKey(purchase_account, purchase_event_id or ""),
        is_permanent,
    )
