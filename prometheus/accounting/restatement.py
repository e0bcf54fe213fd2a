"""Fills that arrive late or are cancelled: rows taken back in reverse order, and the days booked again as they were."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.accounting.cash_in_lieu import Closes
from prometheus.accounting.corporate_actions import apply_corporate_actions
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import effective_rows, recent_trades, reversal_of
from prometheus.accounting.replay import Replay
from prometheus.accounting.wash_sales import group_of_ticker, purchase_of
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import DISALLOWANCE_TYPES, Books, Fill, LotPick, Transaction, TransactionType
from prometheus.domain.lots import Side, TaxLot
from prometheus.domain.money import plain_text, to_cents
from prometheus.domain.securities import CorporateAction
from prometheus.foundation.errors import AccountingError

#: What a past day's cash was cannot stop a fill that has happened; the rows' sum decides what cash is now.
_WORKING_CASH: Final = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class Restatement:
    """What must be appended to a journal, and the books it leaves.

    Attributes:
        books: The account's books after.
        transactions: Reversals in reverse order of what they take back, then the rows booked again.
    """

    books: Books
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class MarketHistory:
    """What the days need that are booked again.

    Attributes:
        actions: Corporate actions that the books have seen, of any security.
        closes: Close of ticker and ex-date, where an action needs it.
        fractional: Whether the account holds fractions of shares.
    """

    actions: tuple[CorporateAction, ...] = ()
    closes: Closes | None = None
    fractional: bool = True


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
    latest: dict[str, date] = {}
    for row in effective_rows(journal):
        if row.ticker and row.txn_type is not TransactionType.OPENING:
            group = group_of_ticker(row.ticker, group_of)
            # A day's actions come before its fills: only after a later day's is a fill late.
            since = row.trade_date if row.txn_type in _AFTER_ACTIONS else row.trade_date - timedelta(days=1)
            latest[group] = max(since, latest.get(group, since))
    return tuple(
        fill for fill in fills if fill.trade_date <= latest.get(group_of_ticker(fill.ticker, group_of), date.min)
    )


def restate(
    journal: Sequence[Transaction],
    *,
    fills: Iterable[Fill] = (),
    cancelled: Collection[str] = (),
    history: MarketHistory,
    rates: TaxRates,
    regime: TaxRegime,
    group_of: Mapping[str, str],
) -> Restatement:
    """Append what makes a journal say that some fills happened earlier than they came, and others never happened.

    Only the groups concerned are touched, from the earliest day concerned on: their rows are taken back in reverse
    order, then actions and fills of those days are booked again in the order of days. So the books are those of a
    journal into which everything had come in time, and no row is rewritten.

    A sale whose lots have other names now (a wash sale split them otherwise) takes the parts of the same purchases.

    Args:
        journal: All rows of the account, in the order in which they were written.
        fills: Late executions, not booked before.
        cancelled: Executions to take back; they must stand.
        history: Corporate actions and closes of the days.
        rates: The account's marginal rates.
        regime: Whose rules apply.
        group_of: Ticker to group; a ticker not in it is its own group.

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
    since: dict[str, date] = {}
    concerned = [(fill.ticker, fill.trade_date) for fill in late]
    concerned += [(booked[name][0].ticker, booked[name][0].trade_date) for name in cancelled]
    for ticker, day in concerned:
        group = group_of_ticker(ticker, group_of)
        since[group] = min(day, since.get(group, day))

    kept, reversals, taken_back = _take_back(journal, since, group_of)
    again = _Again(kept, taken_back, cancelled, late, history, rates, regime, group_of)
    rows = [_numbered(row, journal) for row in again.book(since)]
    books = Replay()
    for row in (*journal, *reversals, *rows):
        books.post_row(row)
    return Restatement(books.books(), (*reversals, *rows))


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


def _take_back(
    journal: Sequence[Transaction], since: Mapping[str, date], group_of: Mapping[str, str]
) -> tuple[list[Transaction], list[Transaction], list[Transaction]]:
    """Return the rows that stay, the reversals of the others, and the others in the order they were written."""
    kept: list[Transaction] = []
    taken: list[tuple[Transaction, TaxLot | None, TaxLot | None]] = []
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
            taken.append((row, before, books.lot(row.lot_id) if row.lot_id is not None else None))
    reversals = [reversal_of(row, before, after) for row, before, after in reversed(taken)]
    return kept, reversals, [row for row, _, _ in taken]


class _Again:
    """The days booked again, over the lots of the groups concerned."""

    def __init__(
        self,
        kept: Sequence[Transaction],
        taken_back: Sequence[Transaction],
        cancelled: Collection[str],
        late: Sequence[Fill],
        history: MarketHistory,
        rates: TaxRates,
        regime: TaxRegime,
        group_of: Mapping[str, str],
    ) -> None:
        self._kept = list(kept)
        self._history, self._rates, self._regime, self._group_of = history, rates, regime, group_of
        self._fills: dict[date, list[Fill]] = defaultdict(list)
        for fill in (*fills_of(taken_back), *late):
            if fill.execution_id not in cancelled:
                self._fills[fill.trade_date].append(fill)
        self._acted = {(row.ticker, row.trade_date) for row in taken_back if row.txn_type not in _FILL_TYPES}

    def book(self, since: Mapping[str, date]) -> list[Transaction]:
        actions: dict[date, list[CorporateAction]] = defaultdict(list)
        for action in self._history.actions:
            start = since.get(group_of_ticker(action.ticker, self._group_of))
            # On the first day itself an action counts where it was booked: opening lots come after it.
            if start is not None and (
                action.ex_date > start or (action.ex_date == start and (action.ticker, start) in self._acted)
            ):
                actions[action.ex_date].append(action)
        standing = Replay()
        for row in self._kept:
            standing.post_row(row)
        of_groups = [lot for lot in standing.books().lots if group_of_ticker(lot.ticker, self._group_of) in since]
        books = Books(tuple(of_groups), _WORKING_CASH)
        rows: list[Transaction] = []
        for day in sorted(actions.keys() | self._fills.keys()):
            books, booked = apply_corporate_actions(
                books,
                actions.get(day, ()),
                closes=self._history.closes or {},
                regime=self._regime,
                fractional=self._history.fractional,
            )
            rows += booked
            fills = [self._with_lots_of_today(fill, books) for fill in self._fills.get(day, ())]
            if fills:
                books, booked = apply_fills(
                    books,
                    fills,
                    rates=self._rates,
                    regime=self._regime,
                    recent_trades=recent_trades((*self._kept, *rows), day),
                    group_of=self._group_of,
                )
                rows += booked
        return rows

    def _with_lots_of_today(self, fill: Fill, books: Books) -> Fill:
        """Return a sale whose picks name lots that are held now, parts of the same purchases."""
        if fill.side is Side.BUY or self._regime is TaxRegime.CA:
            return fill
        held = {lot.lot_id: lot.quantity for lot in books.lots if lot.ticker == fill.ticker}
        picks: dict[str, Decimal] = defaultdict(Decimal)
        for pick in fill.lot_picks:
            missing = pick.quantity
            parts = [pick.lot_id, *(name for name in held if purchase_of(name) == purchase_of(pick.lot_id))]
            for name in dict.fromkeys(parts):
                part = min(missing, held.get(name, Decimal(0)) - picks.get(name, Decimal(0)))
                if part > 0:
                    picks[name] += part
                    missing -= part
            # Purchases of the same day come after sales: their lots are not there yet.
            if missing > 0 and self._opened_today(fill.trade_date, pick.lot_id):
                picks[pick.lot_id] += missing
                missing = Decimal(0)
            if missing > 0:
                raise AccountingError(
                    f"execution {fill.execution_id} sells {plain_text(pick.quantity)} shares of lot {pick.lot_id}, of "
                    f"which {plain_text(missing)} are no longer there. Cancel that sale too, or book it out of another "
                    "lot.",
                    code="LOTS_GONE",
                    details={"execution_id": fill.execution_id, "lot_id": pick.lot_id},
                )
        chosen = tuple(LotPick(name, quantity) for name, quantity in picks.items() if quantity > 0)
        return Fill(
            fill.execution_id, fill.ticker, fill.side, fill.trade_date, fill.quantity, fill.price, fill.fee, chosen
        )

    def _opened_today(self, day: date, lot_id: str) -> bool:
        return any(fill.new_lot_id == lot_id for fill in self._fills.get(day, ()) if fill.side is Side.BUY)


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
_AFTER_ACTIONS: Final = _FILL_TYPES | DISALLOWANCE_TYPES | {TransactionType.LOT_SPLIT}
