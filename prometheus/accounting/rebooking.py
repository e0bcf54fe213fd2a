"""Days booked again: corporate actions and fills of past days over the lots of some groups, in the order of days."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.accounting.cash_in_lieu import Closes
from prometheus.accounting.closed_windows import ShareHistory, final_rows
from prometheus.accounting.corporate_actions import apply_corporate_actions
from prometheus.accounting.fill_ledger import LedgerTerms
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.joint_accounts import account_of, joint_lots, joint_row, own_lots, own_name
from prometheus.accounting.journal import recent_trades
from prometheus.accounting.morning_losses import match_morning_losses, morning_losses
from prometheus.accounting.replay import Replay
from prometheus.accounting.superficial_losses import HeldAtEnd
from prometheus.accounting.wash_sales import WASH_WINDOW_DAYS, group_of_ticker, purchase_of
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, Fill, LotPick, Transaction, TransactionType
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.domain.money import plain_text
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError

#: What a past day's cash was cannot stop a fill that has happened; the rows' sum decides what cash is now.
_WORKING_CASH: Final = Decimal(10) ** 15
#: How far back a trade can matter to the window of a later one.
_REACH: Final = timedelta(days=2 * WASH_WINDOW_DAYS + 1)
_CHANGE_SHARES: Final = frozenset({ActionType.SPLIT, ActionType.SPINOFF_PRICE_FACTOR, ActionType.SYMBOL_CHANGE})
_FILL_TYPES: Final = frozenset({TransactionType.BUY, TransactionType.SELL, TransactionType.REINVESTMENT})


@dataclass(frozen=True, slots=True)
class MarketHistory:
    """What the days need that are booked again.

    Attributes:
        actions: Corporate actions that the books have seen, of any security.
        closes: Close of ticker and ex-date, where an action needs it.
        fractional: Whether the account holds fractions of shares.
        opened_on: Day as of which the opening lots were handed over: its actions and those before are not applied to
            them. None where it is not known; then an action of the first day rebooked counts where it was booked.
    """

    actions: tuple[CorporateAction, ...] = ()
    closes: Closes | None = None
    fractional: bool = True
    opened_on: date | None = None


class Rebooking:
    """The days booked again, over the lots of the groups concerned.

    Args:
        kept: Rows that stay, under joint names for a household.
        taken_back: Rows that are booked again.
        fills: Executions of those days.
        histories: Corporate actions by account; the empty name for an account by itself.
        terms: Under what terms fills are booked.
    """

    def __init__(
        self,
        kept: Sequence[Transaction],
        taken_back: Sequence[Transaction],
        fills: Iterable[Fill],
        histories: Mapping[str, MarketHistory],
        terms: LedgerTerms,
    ) -> None:
        self._kept, self._histories, self._terms = list(kept), dict(histories), terms
        self._fills: dict[date, list[Fill]] = defaultdict(list)
        for fill in fills:
            self._fills[fill.trade_date].append(fill)
        self._acted = {
            (row.account, row.ticker, row.trade_date) for row in taken_back if row.txn_type not in _FILL_TYPES
        }

    def book(self, since: Mapping[str, date], as_of: date | None = None) -> list[Transaction]:
        """Book the days of each group from its day on, and return the rows.

        In Canada the days are walked through twice where ``as_of`` is given: first for the share counts that decide
        what was held when a window closed, then for money.
        """
        rows = self._walk(since, None, None)
        if self._terms.regime is TaxRegime.US or as_of is None:
            return rows
        counts = ShareHistory((*self._of_groups(since), *rows), self._terms.group_of, self._terms.sheltered)
        return self._walk(since, counts, as_of)

    def _of_groups(self, since: Mapping[str, date]) -> list[Transaction]:
        return [row for row in self._kept if row.ticker and self._group(row.ticker) in since]

    def _group(self, ticker: str) -> str:
        return group_of_ticker(ticker, self._terms.group_of)

    def _walk(self, since: Mapping[str, date], counts: ShareHistory | None, as_of: date | None) -> list[Transaction]:
        actions = self._actions(since)
        standing = Replay()
        for row in self._kept:
            standing.post_row(row)
        lots = tuple(lot for lot in standing.books().lots if self._group(lot.ticker) in since)
        before = self._of_groups(since)
        rows: list[Transaction] = []
        for day in sorted({day for _, day in actions} | self._fills.keys()):
            rows.extend(self._finals((*before, *rows), day, counts, as_of))
            closed = None if counts is None else counts.at_end_of_windows(as_of or day, day)
            morning: list[Transaction] = []
            for account in self._histories:
                lots, booked = self._act(account, lots, actions.get((account, day), ()), rows)
                morning += booked
            rows += morning
            lots, matched = self._match_morning(day, lots, morning, rows, closed)
            rows.extend(matched)
            fills = [self._with_lots_of_today(fill, lots) for fill in self._fills.get(day, ())]
            if fills:
                lots, traded = self._trade(day, lots, fills, rows, closed)
                rows.extend(traded)
        rows.extend(self._finals((*before, *rows), as_of, counts, as_of))
        return rows

    def _finals(
        self, rows: Iterable[Transaction], day: date | None, counts: ShareHistory | None, as_of: date | None
    ) -> tuple[Transaction, ...]:
        if day is None or as_of is None or counts is None:
            return ()
        terms = self._terms
        return final_rows(rows, before=min(day, as_of), sheltered=terms.sheltered)

    def _actions(self, since: Mapping[str, date]) -> dict[tuple[str, date], list[CorporateAction]]:
        actions: dict[tuple[str, date], list[CorporateAction]] = defaultdict(list)
        for account, history in self._histories.items():
            for action in history.actions:
                start = since.get(self._group(action.ticker))
                # On the first day itself an action counts unless the opening lots come after it.
                if start is not None and (
                    action.ex_date > start
                    or (
                        action.ex_date == start
                        and ((account, action.ticker, start) in self._acted or _is_after_opening(history, start))
                    )
                ):
                    actions[account, action.ex_date].append(action)
        return actions

    def _act(
        self,
        account: str,
        lots: tuple[TaxLot, ...],
        actions: Sequence[CorporateAction],
        rows: Sequence[Transaction],
    ) -> tuple[tuple[TaxLot, ...], list[Transaction]]:
        if not actions:
            return lots, []
        history = self._histories[account]
        traded = self._traded(account, actions, rows)
        books, booked = apply_corporate_actions(
            Books(own_lots(lot for lot in lots if account_of(lot.lot_id) == account), _WORKING_CASH),
            actions,
            closes=history.closes or {},
            regime=self._terms.regime,
            fractional=history.fractional,
            traded=traded,
        )
        others = tuple(lot for lot in lots if account_of(lot.lot_id) != account)
        return (*others, *joint_lots(account, books.lots)), [joint_row(account, row) for row in booked]

    def _traded(self, account: str, actions: Sequence[CorporateAction], rows: Sequence[Transaction]) -> frozenset[str]:
        """Return which of the securities whose shares change an account has traded lately; it may hold none."""
        changing = {action.ticker for action in actions if action.action_type in _CHANGE_SHARES}
        if not changing:
            return frozenset()
        first = actions[0].ex_date - _REACH
        return frozenset(
            row.ticker
            for row in (*self._kept, *rows)
            if row.ticker in changing and row.account == account and row.trade_date >= first
        )

    def _match_morning(
        self,
        day: date,
        lots: tuple[TaxLot, ...],
        morning: Sequence[Transaction],
        rows: Sequence[Transaction],
        closed: HeldAtEnd | None,
    ) -> tuple[tuple[TaxLot, ...], tuple[Transaction, ...]]:
        losses = morning_losses(morning, self._terms.sheltered)
        if not losses:
            return lots, ()
        terms = replace(self._terms, held_at_end=closed)
        trades = self._recent(rows, day)
        return match_morning_losses(losses, trades, lots=lots, accounts=self._histories, day=day, terms=terms)

    def _recent(self, rows: Sequence[Transaction], day: date) -> list[RecentTrade]:
        return [
            trade
            for trade in recent_trades((*self._kept, *rows), day)
            if trade.side is Side.BUY or account_of(trade.lot_id) not in self._terms.sheltered
        ]

    def _trade(
        self,
        day: date,
        lots: tuple[TaxLot, ...],
        fills: Sequence[Fill],
        rows: Sequence[Transaction],
        closed: HeldAtEnd | None,
    ) -> tuple[tuple[TaxLot, ...], tuple[Transaction, ...]]:
        terms = self._terms
        books, booked = apply_fills(
            Books(lots, _WORKING_CASH),
            fills,
            rates=terms.rates,
            regime=terms.regime,
            recent_trades=self._recent(rows, day),
            group_of=terms.group_of,
            sheltered=terms.sheltered,
            cash_of=dict.fromkeys(self._histories, _WORKING_CASH),
            held_at_end=closed,
        )
        return books.lots, booked

    def _with_lots_of_today(self, fill: Fill, lots: Iterable[TaxLot]) -> Fill:
        """Return a sale whose picks name lots that are held now, parts of the same purchases."""
        if fill.side is Side.BUY or self._terms.regime is TaxRegime.CA:
            return fill
        held = {lot.lot_id: lot.quantity for lot in lots if lot.ticker == fill.ticker}
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
                name = own_name(pick.lot_id)
                raise AccountingError(
                    f"execution {own_name(fill.execution_id)} sells {plain_text(pick.quantity)} shares of lot {name}, "
                    f"of which {plain_text(missing)} are no longer there. Cancel that sale too, or book it out of "
                    "another lot.",
                    code="LOTS_GONE",
                    details={"execution_id": own_name(fill.execution_id), "lot_id": name},
                )
        chosen = tuple(LotPick(name, quantity) for name, quantity in picks.items() if quantity > 0)
        return Fill(
            fill.execution_id, fill.ticker, fill.side, fill.trade_date, fill.quantity, fill.price, fill.fee, chosen
        )

    def _opened_today(self, day: date, lot_id: str) -> bool:
        return any(fill.new_lot_id == lot_id for fill in self._fills.get(day, ()) if fill.side is Side.BUY)


def _is_after_opening(history: MarketHistory, day: date) -> bool:
    return history.opened_on is not None and day > history.opened_on
