"""The books while a day's fills change them: sales, purchases, and the losses they take back."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.accounting.acb import pool_id, pool_lots
from prometheus.accounting.disallowance_rows import disallowance_transactions
from prometheus.accounting.joint_accounts import account_of, joint_name, own_name
from prometheus.accounting.journal import lot_change
from prometheus.accounting.loss_disallowance import Disallowance, loss_trades, match_losses
from prometheus.accounting.owner_pools import pool_by_account, spread_cost
from prometheus.accounting.sales import book_sale
from prometheus.accounting.superficial_losses import HeldAtEnd, deny_superficial_losses
from prometheus.accounting.wash_sales import WASH_WINDOW_DAYS, group_of_ticker, in_wash_window, known_purchases
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import Fill, Transaction, TransactionType
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.domain.money import plain_text, to_cents
from prometheus.foundation.errors import AccountingError, OversoldError

_WINDOW: Final = timedelta(days=WASH_WINDOW_DAYS)
_DISALLOWED_AS: Final = {
    TaxRegime.US: TransactionType.WASH_SALE,
    TaxRegime.CA: TransactionType.SUPERFICIAL_LOSS,
}


@dataclass(frozen=True, slots=True)
class LedgerTerms:
    """Under what terms fills are booked.

    Attributes:
        rates: Marginal rates.
        regime: Whose rules apply.
        group_of: Ticker to substantially identical group.
        sheltered: Accounts that are not taxed; the empty name is an account by itself.
        held_at_end: What is known of shares held at the end of closed windows (Canada).
    """

    rates: TaxRates
    regime: TaxRegime
    group_of: Mapping[str, str] = field(default_factory=dict)
    sheltered: frozenset[str] = frozenset()
    held_at_end: HeldAtEnd | None = None


class FillLedger:
    """Lots and cash of one account, or of a household under joint names; lives within one call of ``apply_fills``.

    Args:
        lots: Lots before.
        cash: Cash by account; the account of a fill is the one that its execution names.
        terms: Under what terms fills are booked.
        recent_trades: Trades before the first fill.
    """

    def __init__(
        self,
        lots: Iterable[TaxLot],
        cash: Mapping[str, Decimal],
        terms: LedgerTerms,
        recent_trades: Iterable[RecentTrade],
    ) -> None:
        self.lots = {lot.lot_id: lot for lot in lots}
        self.cash = dict(cash)
        self._terms = terms
        trades = tuple(recent_trades)
        self._purchases = [trade for trade in trades if trade.side is Side.BUY]
        self._losses = [trade for trade in trades if trade.side is Side.SELL and trade.realized_gain < 0]
        self._by_group: dict[str, list[RecentTrade]] = {}
        self._grouped: list[RecentTrade] | None = None
        self._grouped_count = 0
        self.transactions: list[Transaction] = []

    def book_day(self, day: date, fills: Sequence[Fill]) -> None:
        """Book a day's fills, given by execution id.

        Raises:
            AccountingError: A lot that is there already, or cash driven below zero (OVERDRAWN).
            OversoldError: A sale of more than its lots hold.
        """
        cash_before = dict(self.cash)
        self._purchases = list(known_purchases(self._purchases, self.lots.values(), day))
        if self._terms.regime is TaxRegime.CA:
            self._pool_groups({fill.ticker for fill in fills}, day)
        sales = [fill for fill in fills if fill.side is Side.SELL]
        opened_today = {self._opens(fill) for fill in fills if fill.side is Side.BUY} - self.lots.keys()
        late = [fill for fill in sales if opened_today & self._sold_lots(fill)]
        self._sell(day, [fill for fill in sales if fill not in late])
        for fill in fills:
            if fill.side is Side.BUY:
                self._buy(fill)
        self._sell(day, late)
        for account, cash in self.cash.items():
            if cash < min(cash_before.get(account, Decimal(0)), Decimal(0)):
                whose = f" in account {account}" if account else ""
                raise AccountingError(
                    f"the fills of {day} leave cash of {cash}{whose}; an account may not borrow.",
                    code="OVERDRAWN",
                    details={"trade_date": day.isoformat(), "cash": plain_text(cash)},
                )

    def match_morning(self, day: date, losses: Sequence[RecentTrade]) -> None:
        """Match losses of the morning's corporate actions with purchases already made, before the day's trades.

        Args:
            day: The morning.
            losses: Of cash in lieu and delistings, which the lots have behind them.
        """
        if not losses:
            return
        self._purchases = list(known_purchases(self._purchases, self.lots.values(), day))
        if self._terms.regime is TaxRegime.CA:
            self._pool_groups({loss.ticker for loss in losses}, day)
        self._match_sold(losses, day)

    def _group(self, ticker: str) -> str:
        return group_of_ticker(ticker, self._terms.group_of)

    def _opens(self, fill: Fill) -> str:
        if self._terms.regime is TaxRegime.CA:
            return joint_name(account_of(fill.execution_id), pool_id(fill.ticker))
        assert fill.new_lot_id is not None  # a purchase without it has been refused
        return fill.new_lot_id

    def _sold_lots(self, fill: Fill) -> set[str]:
        return {pick.lot_id for pick in fill.lot_picks} or {self._opens(fill)}

    def _post(self, account: str, row: Transaction) -> None:
        self.transactions.append(replace(row, account=account) if account else row)

    def _pool_groups(self, traded: AbstractSet[str], day: date) -> None:
        groups = {self._group(ticker) for ticker in traded}
        held = {lot.ticker for lot in self.lots.values()}
        self._pool({ticker for ticker in held if self._group(ticker) in groups}, day)

    def _pool(self, tickers: AbstractSet[str], day: date) -> None:
        pools, rows = pool_by_account((lot for lot in self.lots.values() if lot.ticker in tickers), day)
        others = (lot for lot in self.lots.values() if lot.ticker not in tickers)
        self.lots = {lot.lot_id: lot for lot in (*others, *pools)}
        self.transactions.extend(rows)
        self._spread(tickers, day)

    def _spread(self, tickers: Iterable[str], day: date) -> None:
        if len(self.cash) > 1:
            changed, rows = spread_cost(self.lots, tickers, self._terms.sheltered, day)
            self.lots.update({lot.lot_id: lot for lot in changed})
            self.transactions.extend(rows)

    def _sell(self, day: date, fills: Sequence[Fill]) -> None:
        losses: list[RecentTrade] = []
        for fill in fills:
            losses.extend(self._book_sale(fill))
        if losses:
            self._match_sold(losses, day)

    def _match_sold(self, losses: Sequence[RecentTrade], day: date) -> None:
        """Match losses just realised with the purchases already made."""
        result = self._match(losses, self._purchases)
        if self._terms.regime is TaxRegime.US:
            self._purchases = list(result.purchases)
        self._losses.extend(result.losses)
        self._take(result, day)

    def _match(self, losses: Iterable[RecentTrade], purchases: Iterable[RecentTrade]) -> Disallowance:
        terms, purchases = self._terms, tuple(purchases)
        if terms.regime is TaxRegime.CA:
            return deny_superficial_losses(
                losses,
                purchases,
                lots=self.lots.values(),
                group_of=terms.group_of,
                sheltered=terms.sheltered,
                held_at_end=terms.held_at_end,
            )
        names = {trade.lot_id for trade in purchases if trade.lot_id is not None}
        return match_losses(
            losses,
            purchases,
            lots=self.lots.values(),
            group_of=terms.group_of,
            sheltered=frozenset(name for name in names if account_of(name) in terms.sheltered),
        )

    def _book_sale(self, fill: Fill) -> tuple[RecentTrade, ...]:
        account = account_of(fill.execution_id)
        taxed = account not in self._terms.sheltered
        picks = [(pick.lot_id, pick.quantity) for pick in fill.lot_picks] or [(self._opens(fill), fill.quantity)]
        selection = [(self._held(fill, lot_id, quantity), quantity) for lot_id, quantity in picks]
        # Only the lots it sells are handed over: an account has hundreds, and a day a hundred sales.
        before = {lot.lot_id: lot for lot, _ in selection}
        booking = book_sale(
            before.values(),
            selection,
            price=fill.price,
            sale_date=fill.trade_date,
            rates=self._terms.rates,
            regime=self._terms.regime,
            fee=fill.fee,
        )
        left = {lot.lot_id: lot for lot in booking.remaining}
        for lot_id in before:
            if lot_id in left:
                self.lots[lot_id] = left[lot_id]
            else:
                del self.lots[lot_id]
        self.cash[account] = self.cash.get(account, Decimal(0)) + booking.proceeds
        price, provisional_until = plain_text(fill.price), (fill.trade_date + _WINDOW).isoformat()
        for line in booking.lines:
            lot = before[line.lot_id]
            details = {
                "execution_id": fill.execution_id,
                "price": price,
                "fee": plain_text(line.fee),
                "sold_acquired_on": lot.acquired_on.isoformat(),
                "sold_holding_period_start": lot.holding_period_start.isoformat(),
            }
            if taxed and line.realized_gain < 0:
                details["provisional_until"] = provisional_until
            row = lot_change(
                TransactionType.SELL,
                fill.trade_date,
                lot,
                self.lots.get(line.lot_id),
                amount=line.proceeds,
                realized_gain=line.realized_gain,
                term=line.term,
                details=details,
            )
            self._post(account, row)
        return loss_trades(booking.lines, fill.trade_date, fill.execution_id) if taxed else ()

    def _held(self, fill: Fill, lot_id: str, quantity: Decimal) -> TaxLot:
        lot = self.lots.get(lot_id)
        if lot is None or lot.ticker != fill.ticker:
            raise OversoldError(
                f"fill {own_name(fill.execution_id)} sells {quantity} shares of {fill.ticker} out of lot "
                f"{own_name(lot_id)}, which the books do not hold.",
                details={
                    "execution_id": own_name(fill.execution_id),
                    "ticker": fill.ticker,
                    "lot_id": own_name(lot_id),
                    "requested": plain_text(quantity),
                    "available": "0",
                },
            )
        return lot

    def _buy(self, fill: Fill) -> None:
        lot_id, account = self._opens(fill), account_of(fill.execution_id)
        before = self.lots.get(lot_id)
        if before is not None and self._terms.regime is TaxRegime.US:
            raise AccountingError(
                f"fill {own_name(fill.execution_id)} opens lot {own_name(lot_id)}, but the books hold one of that name."
            )
        cost = to_cents(fill.quantity * fill.price) + fill.fee
        bought = TaxLot(lot_id, fill.ticker, fill.trade_date, fill.quantity, cost, cost, fill.trade_date)
        after = bought if before is None else replace(pool_lots((before, bought))[0], lot_id=lot_id)
        self.lots[lot_id] = after
        self.cash[account] = self.cash.get(account, Decimal(0)) - cost
        details = {
            "execution_id": fill.execution_id,
            "price": plain_text(fill.price),
            "fee": plain_text(fill.fee),
        }
        txn_type = TransactionType.REINVESTMENT if fill.reinvested else TransactionType.BUY
        self._post(
            account,
            lot_change(txn_type, fill.trade_date, before, after, amount=-cost, details=details),
        )
        if self._terms.regime is TaxRegime.CA:
            self._spread([fill.ticker], fill.trade_date)
        self._wash_earlier(
            RecentTrade(
                ticker=fill.ticker,
                trade_date=fill.trade_date,
                side=Side.BUY,
                quantity=fill.quantity,
                lot_id=lot_id,
                unreplaced=fill.quantity,
                execution_id=fill.execution_id,
            )
        )

    def _wash_earlier(self, purchase: RecentTrade) -> None:
        """Let a purchase take back the losses of the 30 days before it that are still open.

        A loss stays provisional for 30 days after the sale, across the year end too.

        Source: Treas. Reg. 1.1091-1(a)-(c); ITA s. 54 "superficial loss".
        """
        washable = [
            loss
            for loss in self._losses_by_group().get(self._group(purchase.ticker), ())
            if in_wash_window(loss.trade_date, purchase.trade_date)
        ]
        if not washable:
            self._purchases.append(purchase)
            return
        if self._terms.regime is TaxRegime.US:
            result = self._match(washable, (purchase,))
            self._purchases.extend(result.purchases)
        else:
            self._purchases.append(purchase)
            result = self._match(washable, self._purchases)
        self._losses = [loss for loss in self._losses if loss not in washable] + list(result.losses)
        self._take(result, purchase.trade_date)

    def _losses_by_group(self) -> Mapping[str, list[RecentTrade]]:
        """Return the losses by group; put in order again only where the list of them is another."""
        if self._grouped is not self._losses or self._grouped_count != len(self._losses):
            self._by_group = {}
            for loss in self._losses:
                self._by_group.setdefault(self._group(loss.ticker), []).append(loss)
            self._grouped, self._grouped_count = self._losses, len(self._losses)
        return self._by_group

    def _take(self, result: Disallowance, day: date) -> None:
        self.lots = {lot.lot_id: lot for lot in result.lots}
        kind = _DISALLOWED_AS[self._terms.regime]
        self.transactions.extend(disallowance_transactions(kind, day, result.matches))
        if self._terms.regime is TaxRegime.CA:
            self._spread([match.after.ticker for match in result.matches], day)
