"""Losses taken back, derived anew from a journal's primary rows and held against the rows that stand.

Purchases, sales, corporate actions and movements are primary: they happened. Which losses they wash, which lots that
splits, and what a sale of such a lot took from its basis follows from the rules. Here it is worked out again, row by
row, and each row of the journal that follows must be the one that the rules give.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from prometheus.accounting.basis import split_lot
from prometheus.accounting.closed_windows import LossKey, ShareHistory
from prometheus.accounting.disallowance_rows import disallowance_transactions
from prometheus.accounting.joint_accounts import account_of, own_name
from prometheus.accounting.journal import effective_rows, purchase_trade, sale_trade, trade_after_split
from prometheus.accounting.loss_disallowance import match_losses
from prometheus.accounting.morning_losses import MORNING_DISPOSITIONS
from prometheus.accounting.replay import Replay
from prometheus.accounting.superficial_losses import deny_superficial_losses
from prometheus.accounting.wash_sales import WASH_WINDOW_DAYS, group_of_ticker, in_wash_window, known_purchases
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import DISPOSITION_TYPES, PURCHASE_TYPES, Transaction, TransactionType
from prometheus.domain.lots import RecentTrade

#: Rows that follow from the rules.
DERIVED_TYPES: Final = frozenset(
    {
        TransactionType.WASH_SALE,
        TransactionType.SUPERFICIAL_LOSS,
        TransactionType.CARRIED_LOSS,
        TransactionType.LOT_SPLIT,
    }
)
#: Rows of a morning's corporate actions.
MORNING_TYPES: Final = MORNING_DISPOSITIONS | {
    TransactionType.SPLIT,
    TransactionType.SPINOFF,
    TransactionType.STOCK_DISTRIBUTION,
    TransactionType.SYMBOL_CHANGE,
    TransactionType.DIVIDEND,
    TransactionType.SPECIAL_DIVIDEND,
}
#: Rows between which those of one match may stand.
_NEUTRAL: Final = frozenset({TransactionType.POOL, TransactionType.LOSS_FINAL})
_REACH: Final = timedelta(days=2 * WASH_WINDOW_DAYS + 1)


@dataclass(frozen=True, slots=True)
class DerivationDifference:
    """A row of the journal that the rules give otherwise.

    Attributes:
        account: Whose journal it stands in; empty for an account by itself.
        trade_date: Its day.
        ticker: Its security.
        stored: What the journal says; empty where it lacks the row.
        derived: What the rules give; empty where they give no such row.
    """

    account: str
    trade_date: date
    ticker: str
    stored: str
    derived: str

    def __str__(self) -> str:
        says = self.stored or "no such row"
        return f"{self.trade_date} {self.ticker}: the rules give {self.derived or 'no row'}, the journal has {says}"


@dataclass(slots=True)
class _Group:
    """What a group's rows have led to so far."""

    losses: list[RecentTrade]
    purchases: list[RecentTrade]
    unmatched: list[RecentTrade]
    expected: deque[Transaction]
    broken: bool = False
    #: A reverse split has left nothing of a purchase, though rounding may have left its lot a step: the lot proves it.
    proved_by_lots: bool = False


class Derivation:
    """A household's journal walked through by the rules.

    Args:
        regime: Whose rules apply.
        group_of: Ticker to substantially identical group.
        sheltered: Accounts that are not taxed; the empty name for an account by itself.
    """

    def __init__(self, regime: TaxRegime, group_of: Mapping[str, str], sheltered: frozenset[str] = frozenset()) -> None:
        self._regime, self._group_of, self._sheltered = regime, group_of, sheltered
        self._books = Replay()
        self._groups: dict[str, _Group] = defaultdict(lambda: _Group([], [], [], deque()))
        self._splits: set[tuple[str, date]] = set()
        self._final: set[LossKey] = set()
        self._counts: ShareHistory | None = None
        self.differences: list[DerivationDifference] = []

    def walk(self, journal: Iterable[Transaction]) -> tuple[DerivationDifference, ...]:
        """Walk through all rows, in the order in which they were written and under joint names.

        After its first difference a group is left alone: what follows rests upon it.

        Raises:
            AccountingError: A row that cannot be posted.
        """
        rows = effective_rows(journal)
        if self._regime is TaxRegime.CA:
            self._counts = ShareHistory(rows, self._group_of, self._sheltered)
            self._final = {
                (row.details["loss_execution_id"], row.details["loss_lot_id"], row.details["loss_date"])
                for row in rows
                if row.txn_type is TransactionType.LOSS_FINAL
            }
        for row in rows:
            if row.ticker:
                self._look_at(row, self._groups[group_of_ticker(row.ticker, self._group_of)])
            self._books.post_row(row)
            if row.ticker:
                self._follow(row, self._groups[group_of_ticker(row.ticker, self._group_of)])
        for group in self._groups.values():
            self._match_sales(group)
            self._lacks(group)
        return tuple(self.differences)

    def _look_at(self, row: Transaction, group: _Group) -> None:
        """Compare a row with what is expected, before it is posted."""
        if row.txn_type in _NEUTRAL or group.broken:
            return
        if not _same_batch(row, group.unmatched):
            self._match_sales(group)
        if row.txn_type in DERIVED_TYPES:
            derived = group.expected.popleft() if group.expected else None
            if derived is None or not _same(derived, row):
                self._differ(group, row, derived)
            return
        self._lacks(group)
        if row.txn_type is TransactionType.SELL:
            self._check_sale(row, group)

    def _lacks(self, group: _Group) -> None:
        if group.expected and not group.broken:
            self._differ(group, None, group.expected[0])

    def _differ(self, group: _Group, stored: Transaction | None, derived: Transaction | None) -> None:
        group.broken = True
        group.expected.clear()
        row = stored if stored is not None else derived
        assert row is not None  # one of the two is there
        self.differences.append(
            DerivationDifference(row.account, row.trade_date, row.ticker, _said(stored), _said(derived))
        )

    def _check_sale(self, row: Transaction, group: _Group) -> None:
        """Work out anew what a sale took from the basis of its lot, and its gain."""
        lot = self._books.lot(row.lot_id or "")
        if lot is None or -row.quantity > lot.quantity:
            return  # posting it will say so
        taken, _ = split_lot(lot, -row.quantity)
        if (row.basis, row.realized_gain) != (-taken.adjusted_basis, row.amount - taken.adjusted_basis):
            derived = replace(row, basis=-taken.adjusted_basis, realized_gain=row.amount - taken.adjusted_basis)
            self._differ(group, row, derived)

    def _follow(self, row: Transaction, group: _Group) -> None:
        """Note what a posted row means for the rules."""
        if row.txn_type in PURCHASE_TYPES and row.quantity > 0:
            self._bought(purchase_trade(row), group, opening=row.txn_type is TransactionType.OPENING)
        elif row.txn_type in DISPOSITION_TYPES:
            if row.realized_gain < 0 and account_of(row.lot_id) not in self._sheltered:
                group.unmatched.append(sale_trade(row))
        elif row.txn_type is TransactionType.SPLIT and (row.ticker, row.trade_date) not in self._splits:
            self._splits.add((row.ticker, row.trade_date))
            ratio = Fraction(int(row.details["new_shares"]), int(row.details["old_shares"]))
            for trades in (group.losses, group.purchases):
                changed = (
                    trade_after_split(t, ratio) if t.ticker == row.ticker and t.trade_date < row.trade_date else t
                    for t in trades
                )
                # A reverse split may leave less than a step of a trade: nothing is left of it to match.
                left = [trade for trade in changed if trade.quantity > 0]
                group.proved_by_lots |= len(left) < len(trades)
                trades[:] = left
        elif row.txn_type is TransactionType.SYMBOL_CHANGE:
            self._rename(row.details["former_ticker"], row.ticker, group)

    def _rename(self, former: str, ticker: str, group: _Group) -> None:
        old = self._groups[group_of_ticker(former, self._group_of)]
        self._match_sales(old)
        for name in ("losses", "purchases"):
            moved = [replace(trade, ticker=ticker) for trade in getattr(old, name) if trade.ticker == former]
            setattr(old, name, [trade for trade in getattr(old, name) if trade.ticker != former])
            getattr(group, name).extend(moved)

    def _bought(self, purchase: RecentTrade, group: _Group, *, opening: bool) -> None:
        first = purchase.trade_date - _REACH
        group.losses = [loss for loss in group.losses if loss.trade_date >= first]
        group.purchases = [trade for trade in group.purchases if trade.trade_date >= first]
        washable = [loss for loss in group.losses if in_wash_window(loss.trade_date, purchase.trade_date)]
        if opening or group.broken or not washable:
            group.purchases.append(purchase)
            return
        others = [loss for loss in group.losses if loss not in washable]
        if self._regime is TaxRegime.US:
            losses, bought = self._match(group, washable, [purchase], purchase.trade_date)
            group.purchases += bought
        else:
            group.purchases.append(purchase)
            losses, _ = self._match(group, washable, group.purchases, purchase.trade_date)
        group.losses = [*others, *losses]

    def _match_sales(self, group: _Group) -> None:
        if not group.unmatched:
            return
        sales, group.unmatched = group.unmatched, []
        if group.broken:
            return
        day, purchases = sales[0].trade_date, group.purchases
        if group.proved_by_lots:
            purchases = self._known(group, sales[0].ticker, day)
        losses, bought = self._match(group, sales, purchases, day)
        group.losses += losses
        if self._regime is TaxRegime.US:
            group.purchases = bought

    def _known(self, group: _Group, ticker: str, day: date) -> list[RecentTrade]:
        """Return a group's purchases as the booking knows them: those that only the lots prove among them."""
        name = group_of_ticker(ticker, self._group_of)
        lots = [lot for lot in self._books.books().lots if group_of_ticker(lot.ticker, self._group_of) == name]
        return list(known_purchases(group.purchases, lots, day))

    def _match(
        self, group: _Group, losses: list[RecentTrade], purchases: list[RecentTrade], day: date
    ) -> tuple[list[RecentTrade], list[RecentTrade]]:
        if not any(in_wash_window(loss.trade_date, trade.trade_date) for loss in losses for trade in purchases):
            return losses, purchases
        tickers = {trade.ticker for trade in (*losses, *purchases)}
        group_name = group_of_ticker(losses[0].ticker, self._group_of)
        lots = [
            lot for lot in self._books.books().lots
            if lot.ticker in tickers or group_of_ticker(lot.ticker, self._group_of) == group_name
        ]  # fmt: skip
        if self._regime is TaxRegime.US:
            names = {trade.lot_id for trade in purchases if trade.lot_id is not None}
            result = match_losses(
                losses,
                purchases,
                lots=lots,
                group_of=self._group_of,
                sheltered=frozenset(name for name in names if account_of(name) in self._sheltered),
            )
            kind = TransactionType.WASH_SALE
        else:
            result = deny_superficial_losses(
                losses,
                purchases,
                lots=lots,
                group_of=self._group_of,
                sheltered=self._sheltered,
                held_at_end=lambda loss: self._held_at_end(loss, day),
            )
            kind = TransactionType.SUPERFICIAL_LOSS
        group.expected.extend(disallowance_transactions(kind, day, result.matches))
        return list(result.losses), list(result.purchases)

    def _held_at_end(self, loss: RecentTrade, today: date) -> tuple[Decimal, Decimal] | None:
        if self._counts is None or (loss.execution_id, loss.lot_id, loss.trade_date.isoformat()) not in self._final:
            return None
        end = loss.trade_date + timedelta(days=WASH_WINDOW_DAYS)
        return self._counts.held(group_of_ticker(loss.ticker, self._group_of), end, today)


def derive(
    journal: Iterable[Transaction],
    *,
    regime: TaxRegime,
    group_of: Mapping[str, str],
    sheltered: frozenset[str] = frozenset(),
) -> tuple[DerivationDifference, ...]:
    """Return where a journal's rows of losses taken back are not those that its primary rows give.

    Args:
        journal: All rows of a household under joint names, or of an account by itself, in the order of writing.
        regime: Whose rules apply.
        group_of: Ticker to substantially identical group.
        sheltered: Accounts that are not taxed; the empty name for an account by itself.

    Raises:
        AccountingError: A row that cannot be posted; the message says which.
    """
    return Derivation(regime, group_of, sheltered).walk(journal)


def _same_batch(row: Transaction, unmatched: list[RecentTrade]) -> bool:
    """Return whether a row may still add to the losses that wait to be matched together.

    Those of a morning wait for its other actions, those of sales for the day's other sales.
    """
    if not unmatched or unmatched[0].trade_date != row.trade_date:
        return False
    morning = unmatched[0].execution_id is None
    return row.txn_type in MORNING_TYPES if morning else row.txn_type is TransactionType.SELL


def _same(derived: Transaction, stored: Transaction) -> bool:
    return replace(derived, details={}) == replace(stored, details={}) and all(
        stored.details.get(name) == value for name, value in derived.details.items()
    )


def _said(row: Transaction | None) -> str:
    if row is None:
        return ""
    lot = f" of lot {own_name(row.lot_id)}" if row.lot_id is not None else ""
    loss = own_name(row.details.get("loss_execution_id") or "")
    return (
        f"{row.txn_type}{lot} ({row.quantity.normalize():f} shares, basis {row.basis}, gain {row.realized_gain}"
        + (f", loss of {loss}" if loss else "")
        + ")"
    )
