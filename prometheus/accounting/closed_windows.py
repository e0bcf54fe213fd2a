"""Canadian losses whose window has closed: what was held on day 30, and the row that says so.

Until day 30 has passed a loss is provisional. Then the shares held at its end are known and decide what is denied.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.accounting.joint_accounts import account_of
from prometheus.accounting.superficial_losses import HeldAtEnd
from prometheus.accounting.wash_sales import WASH_WINDOW_DAYS, group_of_ticker
from prometheus.domain.books import DISPOSITION_TYPES, PURCHASE_TYPES, Transaction, TransactionType
from prometheus.domain.lots import RecentTrade
from prometheus.domain.money import plain_text

_WINDOW: Final = timedelta(days=WASH_WINDOW_DAYS)
_ZERO: Final = Decimal(0)

#: Execution, lot and day of a loss sale.
LossKey = tuple[str | None, str | None, str]


class ShareHistory:
    """How many shares of a group were held at the end of any day, counted from journal rows.

    Args:
        rows: Standing rows of a household, under joint names.
        group_of: Ticker to group of identical properties.
        sheltered: Accounts that are registered plans.
    """

    def __init__(
        self, rows: Iterable[Transaction], group_of: Mapping[str, str], sheltered: Collection[str] = ()
    ) -> None:
        self._group_of, self._sheltered = group_of, sheltered
        self._changes: dict[str, list[tuple[date, str, bool, Decimal]]] = defaultdict(list)
        self._splits: dict[str, list[tuple[date, Fraction]]] = defaultdict(list)
        positions: dict[str, tuple[str, Decimal]] = {}
        for row in rows:
            if row.txn_type is TransactionType.SPLIT:
                self._note_split(row)
            if row.lot_id is None:
                continue
            ticker, shares = positions.get(row.lot_id, (row.ticker, _ZERO))
            if ticker != row.ticker:
                self._change(row.trade_date, row.lot_id, ticker, -shares)
                self._change(row.trade_date, row.lot_id, row.ticker, shares)
            positions[row.lot_id] = (row.ticker, shares + row.quantity)
            self._change(row.trade_date, row.lot_id, row.ticker, row.quantity)
        for changes in self._changes.values():
            changes.sort(key=lambda change: change[0])

    def _change(self, day: date, lot_id: str, ticker: str, shares: Decimal) -> None:
        if shares:
            group = group_of_ticker(ticker, self._group_of)
            self._changes[group].append((day, ticker, account_of(lot_id) in self._sheltered, shares))

    def _note_split(self, row: Transaction) -> None:
        splits = self._splits[row.ticker]
        if all(day != row.trade_date for day, _ in splits):
            splits.append((row.trade_date, Fraction(int(row.details["new_shares"]), int(row.details["old_shares"]))))

    def held(self, group: str, end: date, today: date) -> tuple[Decimal, Decimal]:
        """Return the shares of taxable and of sheltered accounts at the end of a day, in the shares of ``today``."""
        own = sheltered = _ZERO
        changes = self._changes.get(group, [])
        for _, ticker, in_plan, shares in changes[: bisect_right(changes, end, key=lambda change: change[0])]:
            ratio = self._ratio(ticker, end, today)
            in_shares_of_today = shares * ratio.numerator / ratio.denominator
            if in_plan:
                sheltered += in_shares_of_today
            else:
                own += in_shares_of_today
        return own, sheltered

    def _ratio(self, ticker: str, end: date, today: date) -> Fraction:
        """Return what a share of the evening of ``end`` is in shares of the evening of ``today``."""
        ratio = Fraction(1)
        for day, split in self._splits.get(ticker, ()):
            if end < day <= today:
                ratio *= split
            elif today < day <= end:
                ratio /= split
        return ratio

    def at_end_of_windows(self, before: date, today: date) -> HeldAtEnd:
        """Return what was held on day 30 of a loss whose day 30 lies before a day, as of booking on ``today``."""

        def held_at_end(loss: RecentTrade) -> tuple[Decimal, Decimal] | None:
            end = loss.trade_date + _WINDOW
            if end >= before:
                return None
            return self.held(group_of_ticker(loss.ticker, self._group_of), end, today)

        return held_at_end


def open_losses(
    rows: Iterable[Transaction], *, before: date, sheltered: Collection[str] = ()
) -> tuple[Transaction, ...]:
    """Return the loss sales whose window has closed before a day and that no LOSS_FINAL row has settled."""
    final: set[LossKey] = set()
    losses: dict[LossKey, Transaction] = {}
    for row in rows:
        if row.txn_type is TransactionType.LOSS_FINAL:
            final.add((row.details["loss_execution_id"], row.details["loss_lot_id"], row.details["loss_date"]))
        elif (
            row.txn_type in DISPOSITION_TYPES
            and row.realized_gain < 0
            and row.trade_date < before - _WINDOW
            and account_of(row.lot_id) not in sheltered
        ):
            losses[row.details.get("execution_id"), row.lot_id, row.trade_date.isoformat()] = row
    return tuple(row for key, row in losses.items() if key not in final)


def final_rows(
    rows: Iterable[Transaction], *, before: date, sheltered: Collection[str] = ()
) -> tuple[Transaction, ...]:
    """Return a LOSS_FINAL row for each loss whose window has closed before a day and that has none yet."""
    standing = tuple(rows)
    due = open_losses(standing, before=before, sheltered=sheltered)
    if not due:
        return ()
    denied: dict[LossKey, Decimal] = defaultdict(Decimal)
    for row in standing:
        if row.txn_type is TransactionType.SUPERFICIAL_LOSS:
            details = row.details
            denied[details["loss_execution_id"], details["loss_lot_id"], details["loss_date"]] += row.realized_gain
    return tuple(_final_row(row, denied) for row in due)


def bought_around(rows: Iterable[Transaction], losses: Iterable[Transaction], group_of: Mapping[str, str]) -> bool:
    """Return whether anything of the group of one of the losses was bought in its window."""
    bought: dict[str, list[date]] = defaultdict(list)
    for row in rows:
        if row.txn_type in PURCHASE_TYPES and row.quantity > 0:
            opening = row.txn_type is TransactionType.OPENING
            day = date.fromisoformat(row.details["acquired_on"]) if opening else row.trade_date
            bought[group_of_ticker(row.ticker, group_of)].append(day)
    return any(
        abs((day - loss.trade_date).days) <= WASH_WINDOW_DAYS
        for loss in losses
        for day in bought[group_of_ticker(loss.ticker, group_of)]
    )


def _final_row(loss: Transaction, denied: Mapping[LossKey, Decimal]) -> Transaction:
    key = (loss.details.get("execution_id"), loss.lot_id, loss.trade_date.isoformat())
    return Transaction(
        TransactionType.LOSS_FINAL,
        loss.trade_date + _WINDOW,
        loss.ticker,
        None,
        details={
            "loss_execution_id": key[0],
            "loss_lot_id": key[1],
            "loss_ticker": loss.ticker,
            "loss_date": key[2],
            "denied_loss": plain_text(denied.get(key, _ZERO)),
        },
        account=loss.account,
    )
