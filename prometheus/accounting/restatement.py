"""Fills that arrive late or are cancelled: rows taken back in reverse order, and the days booked again as they were."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.accounting.closed_windows import open_losses
from prometheus.accounting.fill_ledger import LedgerTerms
from prometheus.accounting.joint_accounts import account_of
from prometheus.accounting.journal import effective_rows, reversal_of
from prometheus.accounting.morning_losses import MORNING_DISPOSITIONS
from prometheus.accounting.rebooking import MarketHistory, Rebooking
from prometheus.accounting.replay import Replay
from prometheus.accounting.wash_sales import group_of_ticker, in_wash_window
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import (
    DISALLOWANCE_TYPES,
    DISPOSITION_TYPES,
    Books,
    Fill,
    LotPick,
    Transaction,
    TransactionType,
)
from prometheus.domain.lots import Side, TaxLot
from prometheus.domain.money import plain_text, to_cents
from prometheus.foundation.errors import AccountingError


@dataclass(frozen=True, slots=True)
class Restatement:
    """What must be appended to a journal, and the books it leaves.

    Attributes:
        books: The account's books after.
        transactions: Reversals in reverse order of what they take back, then the rows booked again.
    """

    books: Books
    transactions: tuple[Transaction, ...]


def executions_of(journal: Iterable[Transaction]) -> dict[str, tuple[Transaction, ...]]:
    """Return the standing rows of each execution that a journal has booked; none for one that was cancelled."""
    rows = tuple(journal)
    found: dict[str, list[Transaction]] = {
        row.details["execution_id"]: [] for row in rows if row.txn_type in _FILL_TYPES and "execution_id" in row.details
    }
    for row in effective_rows(rows):
        if row.txn_type in _FILL_TYPES and "execution_id" in row.details:
            found[row.details["execution_id"]].append(row)
    return {name: tuple(of_name) for name, of_name in found.items()}


def check_repeated(fill: Fill, booked: Sequence[Transaction]) -> None:
    """Refuse a fill whose execution is booked otherwise; one that says the same is simply a repetition.

    Raises:
        AccountingError: Code EXECUTION_DIFFERS.
    """
    if not booked:
        return
    quantity = abs(sum((row.quantity for row in booked), Decimal(0)))
    first = booked[0]
    same = (
        first.ticker == fill.ticker
        and (first.txn_type is not TransactionType.SELL) is (fill.side is Side.BUY)
        and first.trade_date == fill.trade_date
        and quantity == fill.quantity
        and Decimal(first.details["price"]) == fill.price
    )
    if not same:
        raise AccountingError(
            f"execution {fill.execution_id} is booked as {first.txn_type} of {plain_text(quantity)} {first.ticker} at "
            f"{first.details['price']} on {first.trade_date}, and comes again as {fill.side} of "
            f"{plain_text(fill.quantity)} {fill.ticker} at {plain_text(fill.price)} on {fill.trade_date}. Cancel the "
            "first and give the second an execution id of its own.",
            code="EXECUTION_DIFFERS",
            details={"execution_id": fill.execution_id},
        )


def late_fills(journal: Iterable[Transaction], fills: Iterable[Fill], group_of: Mapping[str, str]) -> tuple[Fill, ...]:
    """Return the fills whose group has rows of their day or later: what came after them has to be booked again.

    Args:
        journal: Rows from the earliest of the fills' days on, at least.
        fills: New executions.
        group_of: Ticker to group; a ticker not in it is its own group.
    """
    latest: dict[tuple[str, str], date] = {}
    for row in effective_rows(journal):
        if row.ticker and row.txn_type is not TransactionType.OPENING:
            # What another account was paid changes nothing here; its trades and the units of its shares may.
            whose = _EVERYBODY if row.txn_type in _FOR_EVERYBODY else row.account
            key = (whose, group_of_ticker(row.ticker, group_of))
            # A day's actions come before its fills: only after a later day's is a fill late.
            since = row.trade_date if row.txn_type in _AFTER_ACTIONS else row.trade_date - timedelta(days=1)
            latest[key] = max(since, latest.get(key, since))
    late = []
    for fill in fills:
        group = group_of_ticker(fill.ticker, group_of)
        keys = ((_EVERYBODY, group), (account_of(fill.execution_id), group))
        if any(fill.trade_date <= latest.get(key, date.min) for key in keys):
            late.append(fill)
    return tuple(late)


def restate(
    journal: Sequence[Transaction],
    *,
    fills: Iterable[Fill] = (),
    cancelled: Collection[str] = (),
    changed: Iterable[tuple[str, date]] = (),
    history: MarketHistory | Mapping[str, MarketHistory],
    rates: TaxRates,
    regime: TaxRegime,
    group_of: Mapping[str, str],
    sheltered: Collection[str] = (),
    as_of: date | None = None,
) -> Restatement:
    """Append what makes a journal say that some fills happened earlier than they came, and others never happened.

    Only the groups concerned are touched, from the earliest day concerned on: their rows are taken back in reverse
    order, then actions and fills of those days are booked again in the order of days. So the books are those of a
    journal into which everything had come in time, and no row is rewritten. Rows that come out as they stand are left
    alone: of each group only what follows the first difference is taken back.

    In Canada the losses whose window has closed before ``as_of`` are booked with what was held on their day 30, and a
    LOSS_FINAL row says so.

    A sale whose lots have other names now (a wash sale split them otherwise) takes the parts of the same purchases.

    Args:
        journal: All rows of the account, or of a household under joint names, in the order in which they were written.
        fills: Late executions, not booked before.
        cancelled: Executions to take back; they must stand.
        changed: Ticker and ex-date of corporate actions that came or were corrected after the books had passed them.
        history: Corporate actions and closes of the days; for a household by account.
        rates: The account's marginal rates.
        regime: Whose rules apply.
        group_of: Ticker to group; a ticker not in it is its own group.
        sheltered: Accounts that are not taxed; the empty name for an account by itself.
        as_of: Day through which windows have been watched; none has closed where not given.

    Raises:
        AccountingError: A cancelled execution that does not stand (UNKNOWN_EXECUTION), or a later sale that nothing is
            left for (LOTS_GONE).

    Source: docs/specs/accounting.md, "Late and cancelled fills".
    """
    late = tuple(fills)
    booked = executions_of(journal)
    for name in sorted(cancelled):
        if not booked.get(name):
            state = "has been cancelled already" if name in booked else "is not in the journal"
            raise AccountingError(
                f"execution {name} {state}; there is nothing to take back.",
                code="UNKNOWN_EXECUTION",
                details={"execution_id": name},
            )
    terms = LedgerTerms(rates, regime, group_of, frozenset(sheltered))
    since: dict[str, date] = {}
    concerned = [*changed, *((fill.ticker, fill.trade_date) for fill in late)]
    concerned += [(booked[name][0].ticker, booked[name][0].trade_date) for name in cancelled]
    if regime is TaxRegime.CA and as_of is not None:
        standing = effective_rows(journal)
        concerned += [(row.ticker, row.trade_date) for row in open_losses(standing, before=as_of, sheltered=sheltered)]
        concerned += _losses_before(standing, concerned, group_of)
    histories = history if isinstance(history, Mapping) else {"": history}
    one_history = _one_history(journal, histories.values(), group_of)
    for ticker, day in concerned:
        group = group_of_ticker(ticker, group_of)
        for other in [name for name, root in one_history.items() if root == one_history.get(group)] or [group]:
            since[other] = min(day, since.get(other, day))

    kept, taken = _take_back(journal, since, group_of)
    rebooking = Rebooking(
        kept,
        [found.row for found in taken],
        [fill for fill in (*fills_of(found.row for found in taken), *late) if fill.execution_id not in cancelled],
        histories,
        terms,
    )
    rows = rebooking.book(since, as_of)
    together = {row.ticker: group_of_ticker(row.ticker, group_of) for row in (*(f.row for f in taken), *rows)}
    together = {ticker: one_history.get(group, group) for ticker, group in together.items()}
    same = _unchanged([found.row for found in taken], rows, together)
    reversals = [
        reversal_of(found.row, found.before, found.after)
        for found in reversed([found for i, found in enumerate(taken) if i not in same[0]])
    ]
    new = [_numbered(row, journal) for i, row in enumerate(rows) if i not in same[1]]
    books = Replay()
    for row in (*journal, *reversals, *new):
        books.post_row(row)
    return Restatement(books.books(), (*reversals, *new))


def _one_history(
    journal: Iterable[Transaction], histories: Iterable[MarketHistory], group_of: Mapping[str, str]
) -> dict[str, str]:
    """Return groups whose lots pass into each other, by a new symbol or a spin-off, each with the first of them.

    What changes in one of them before that day changes the other after it, so they are booked again together.
    """
    pairs = [(row.ticker, str(row.details.get("former_ticker") or row.details.get("child") or "")) for row in journal]
    pairs += [(action.ticker, action.other_ticker) for history in histories for action in history.actions]
    found: dict[str, str] = {}
    for pair in dict.fromkeys((one, other) for one, other in pairs if other):
        roots = [found.get(group, group) for group in (group_of_ticker(ticker, group_of) for ticker in pair)]
        first = min(roots)
        found |= {group: first for group, root in found.items() if root in roots} | dict.fromkeys(roots, first)
        found |= {group_of_ticker(ticker, group_of): first for ticker in pair}
    return found


def _losses_before(
    rows: Iterable[Transaction], concerned: Iterable[tuple[str, date]], group_of: Mapping[str, str]
) -> list[tuple[str, date]]:
    """Return the loss sales in whose windows something changes: their day 30 may see other shares."""
    days: dict[str, list[date]] = defaultdict(list)
    for ticker, day in concerned:
        days[group_of_ticker(ticker, group_of)].append(day)
    return [
        (row.ticker, row.trade_date)
        for row in rows
        if row.txn_type in DISPOSITION_TYPES
        and row.realized_gain < 0
        and any(in_wash_window(row.trade_date, day) for day in days[group_of_ticker(row.ticker, group_of)])
    ]


def _unchanged(
    taken: Sequence[Transaction], rows: Sequence[Transaction], group_of: Mapping[str, str]
) -> tuple[set[int], set[int]]:
    """Return the positions of the rows, before and after, with which a group begins as it stood."""
    after = _positions(rows, group_of)
    same: tuple[set[int], set[int]] = (set(), set())
    for group, positions in _positions(taken, group_of).items():
        for i, j in zip(positions, after[group], strict=False):
            if _without_booking(taken[i]) != _without_booking(rows[j]):
                break
            same[0].add(i)
            same[1].add(j)
    return same


def _positions(rows: Iterable[Transaction], group_of: Mapping[str, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        found[group_of_ticker(row.ticker, group_of)].append(i)
    return found


def _without_booking(row: Transaction) -> Transaction:
    if "booking" not in row.details:
        return row
    return replace(row, details={name: value for name, value in row.details.items() if name != "booking"})


def _numbered(row: Transaction, journal: Iterable[Transaction]) -> Transaction:
    """Return a row of an execution with the number of its booking, from the second on."""
    execution = row.details.get("execution_id")
    if row.txn_type not in _FILL_TYPES or execution is None:
        return row
    earlier = [
        int(other.details.get("booking", 1))
        for other in journal
        if other.txn_type in _FILL_TYPES and other.details.get("execution_id") == execution
    ]
    return replace(row, details={**row.details, "booking": max(earlier) + 1}) if earlier else row


@dataclass(frozen=True, slots=True)
class _Taken:
    """A row to be taken back, with its lot before and after it."""

    row: Transaction
    before: TaxLot | None
    after: TaxLot | None


def _take_back(
    journal: Sequence[Transaction], since: Mapping[str, date], group_of: Mapping[str, str]
) -> tuple[list[Transaction], list[_Taken]]:
    """Return the rows that stay, and the others, in the order in which they were written."""
    kept: list[Transaction] = []
    taken: list[_Taken] = []
    books = Replay()
    for row in effective_rows(journal):
        before = books.lot(row.lot_id) if row.lot_id is not None else None
        books.post_row(row)
        start = since.get(group_of_ticker(row.ticker, group_of)) if row.ticker else None
        stays = row.txn_type is TransactionType.OPENING or (row.lot_id is None and "entry_id" in row.details)
        if start is None or row.trade_date < start or stays:
            kept.append(row)
        elif row.txn_type in _TRANSFERS:
            raise AccountingError(
                f"{row.ticker} was transferred on {row.trade_date} (entry {row.details.get('entry_id')}); what came "
                "before that cannot change under it. Take the transfer back, and enter it again afterwards.",
                code="TRANSFERRED_SINCE",
                details={"ticker": row.ticker, "trade_date": row.trade_date.isoformat()},
            )
        else:
            taken.append(_Taken(row, before, books.lot(row.lot_id) if row.lot_id is not None else None))
    return kept, taken


def fills_of(rows: Iterable[Transaction]) -> tuple[Fill, ...]:
    """Return the executions that rows record, put together again: a sale's lines by lot are one fill."""
    by_execution: dict[str, list[Transaction]] = defaultdict(list)
    for row in rows:
        if row.txn_type in _FILL_TYPES and "execution_id" in row.details:
            by_execution[row.details["execution_id"]].append(row)
    fills = []
    for name, parts in by_execution.items():
        first = parts[0]
        bought = first.txn_type is not TransactionType.SELL
        fills.append(
            Fill(
                execution_id=name,
                ticker=first.ticker,
                side=Side.BUY if bought else Side.SELL,
                trade_date=first.trade_date,
                quantity=abs(sum((row.quantity for row in parts), Decimal(0))),
                price=Decimal(first.details["price"]),
                fee=to_cents(sum((Decimal(row.details.get("fee", 0)) for row in parts), Decimal(0))),
                lot_picks=() if bought else tuple(LotPick(row.lot_id or "", -row.quantity) for row in parts),
                new_lot_id=first.lot_id if bought else None,
                reinvested=first.txn_type is TransactionType.REINVESTMENT,
            )
        )
    return tuple(fills)


_FILL_TYPES: Final = frozenset({TransactionType.BUY, TransactionType.SELL, TransactionType.REINVESTMENT})
_TRANSFERS: Final = frozenset({TransactionType.TRANSFER_IN, TransactionType.TRANSFER_OUT})
#: Rows that a day's fills leave, those of lots changed by them among them.
_CHANGE_UNITS: Final = frozenset({TransactionType.SPLIT, TransactionType.SYMBOL_CHANGE})
_EVERYBODY: Final = "*"
_AFTER_ACTIONS: Final = (
    _FILL_TYPES
    | DISALLOWANCE_TYPES
    | {TransactionType.REINVESTMENT, TransactionType.LOT_SPLIT, TransactionType.CARRIED_LOSS}
)
#: Rows of one account that another of its household can meet.
_FOR_EVERYBODY: Final = _AFTER_ACTIONS | _CHANGE_UNITS | MORNING_DISPOSITIONS
