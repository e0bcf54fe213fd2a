"""Fills carried into the books: lots, cash, wash sales in both directions, and the journal of it all."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.accounting.acb import pool_id, pool_lots
from prometheus.accounting.journal import disallowance_transactions, lot_change, pooling_transactions
from prometheus.accounting.loss_disallowance import Disallowance, loss_trades, match_losses, wash_earlier_losses
from prometheus.accounting.sales import book_sale
from prometheus.accounting.superficial_losses import deny_superficial_losses
from prometheus.accounting.wash_sales import group_of_ticker, in_wash_window, is_part, known_purchases
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import Books, Fill, Transaction, TransactionType
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.domain.money import plain_text, to_cents
from prometheus.foundation.errors import AccountingError, OversoldError

_DISALLOWED_AS: Final = {
    TaxRegime.US: TransactionType.WASH_SALE,
    TaxRegime.CA: TransactionType.SUPERFICIAL_LOSS,
}


def apply_fills(
    books: Books,
    fills: Sequence[Fill],
    *,
    rates: TaxRates,
    regime: TaxRegime,
    recent_trades: Iterable[RecentTrade] = (),
    group_of: Mapping[str, str] | None = None,
) -> tuple[Books, tuple[Transaction, ...]]:
    """Carry fills into the books.

    The order in which fills arrive does not matter. They are booked day by day; within a day the sales of lots held
    at its start, then the purchases, then the sales of lots opened that day; each of these by execution id. Losses of
    the day meet the purchases already made after all sales of their kind are booked, so that what the day itself has
    sold replaces nothing; each purchase then washes the losses of its window that are still open.

    Args:
        books: The account's books before.
        fills: Executions not booked before. Telling that is the caller's part; here only one call is looked at.
        rates: The account's marginal rates.
        regime: Whose rules apply. For Canada the lots of a security that trades, and of its group, are pooled first.
        recent_trades: Trades before the first fill, as ``journal.recent_trades`` returns them. Recent purchases that
            the lots themselves prove need not be among them.
        group_of: Ticker to substantially identical group; a ticker not in it is its own group.

    Returns:
        The books after, and the journal rows in the order in which they were booked.

    Raises:
        AccountingError: A duplicate execution, a fill that contradicts itself, a lot identifier already in use, a
            purchase without one (US), or cash driven below zero by a day's fills.
        OversoldError: A sale of more than its lots hold.

    Source: docs/specs/accounting.md, "Fills".
    """
    _check(fills, regime)
    ledger = _Ledger(books, rates, regime, recent_trades, group_of or {})
    for day in sorted({fill.trade_date for fill in fills}):
        ledger.book_day(day, sorted((f for f in fills if f.trade_date == day), key=lambda fill: fill.execution_id))
    return ledger.books(), tuple(ledger.transactions)


def _check(fills: Sequence[Fill], regime: TaxRegime) -> None:
    seen: set[str] = set()
    for fill in fills:
        where = f"fill {fill.execution_id} ({fill.side} {fill.ticker})"
        if fill.execution_id in seen:
            raise AccountingError(
                f"{where} comes twice in one call; an execution is booked once.",
                details={"execution_id": fill.execution_id},
            )
        seen.add(fill.execution_id)
        if fill.quantity <= 0 or fill.price <= 0 or fill.fee < 0:
            raise AccountingError(
                f"{where} has quantity {fill.quantity}, price {fill.price}, fee {fill.fee}; quantity and price must be "
                "positive, the fee not negative."
            )
        if fill.fee != to_cents(fill.fee):
            raise AccountingError(f"{where} has a fee of {fill.fee}; money is booked in cents.")
        if fill.side is Side.BUY:
            _check_purchase(fill, regime, where)
        else:
            _check_sale(fill, regime, where)


def _check_purchase(fill: Fill, regime: TaxRegime, where: str) -> None:
    if fill.lot_picks:
        raise AccountingError(f"{where} picks lots; only a sale does.")
    if regime is TaxRegime.CA:
        return
    if fill.new_lot_id is None:
        raise AccountingError(f"{where} does not say what the new lot is called; give new_lot_id.")
    if is_part(fill.new_lot_id):
        raise AccountingError(f"{where}: '{fill.new_lot_id}' contains a sign that marks lots split by the ledger.")


def _check_sale(fill: Fill, regime: TaxRegime, where: str) -> None:
    if regime is TaxRegime.CA and not fill.lot_picks:
        return
    picked = sum((pick.quantity for pick in fill.lot_picks), Decimal(0))
    if picked != fill.quantity:
        raise AccountingError(f"{where} sells {fill.quantity} shares, its lot picks add up to {picked}.")
    if regime is TaxRegime.CA and {pick.lot_id for pick in fill.lot_picks} != {pool_id(fill.ticker)}:
        raise AccountingError(f"{where} must pick the pool {pool_id(fill.ticker)} or no lot; Canada pools its lots.")


class _Ledger:
    """The books while they change; lives within one call of apply_fills."""

    def __init__(
        self,
        books: Books,
        rates: TaxRates,
        regime: TaxRegime,
        recent_trades: Iterable[RecentTrade],
        group_of: Mapping[str, str],
    ) -> None:
        self._lots = {lot.lot_id: lot for lot in books.lots}
        self._cash = books.cash
        self._rates = rates
        self._regime = regime
        self._group_of = group_of
        trades = tuple(recent_trades)
        self._purchases = [trade for trade in trades if trade.side is Side.BUY]
        self._losses = [trade for trade in trades if trade.side is Side.SELL and trade.realized_gain < 0]
        self._by_group: dict[str, list[RecentTrade]] = {}
        self._grouped: list[RecentTrade] | None = None
        self._grouped_count = 0
        self.transactions: list[Transaction] = []

    def books(self) -> Books:
        return Books(tuple(self._lots.values()), self._cash)

    def book_day(self, day: date, fills: Sequence[Fill]) -> None:
        cash_before = self._cash
        self._purchases = list(known_purchases(self._purchases, self._lots.values(), day))
        if self._regime is TaxRegime.CA:
            groups = {group_of_ticker(fill.ticker, self._group_of) for fill in fills}
            held = {lot.ticker for lot in self._lots.values()}
            self._pool({ticker for ticker in held if group_of_ticker(ticker, self._group_of) in groups}, day)
        sales = [fill for fill in fills if fill.side is Side.SELL]
        opened_today = {self._opens(fill) for fill in fills if fill.side is Side.BUY} - self._lots.keys()
        late = [fill for fill in sales if opened_today & self._sold_lots(fill)]
        self._sell(day, [fill for fill in sales if fill not in late])
        for fill in fills:
            if fill.side is Side.BUY:
                self._buy(fill)
        self._sell(day, late)
        if self._cash < min(cash_before, Decimal(0)):
            raise AccountingError(
                f"the fills of {day} leave cash of {self._cash}; an account may not borrow.",
                details={"trade_date": day.isoformat(), "cash": plain_text(self._cash)},
            )

    def _opens(self, fill: Fill) -> str:
        if self._regime is TaxRegime.CA:
            return pool_id(fill.ticker)
        assert fill.new_lot_id is not None  # _check_purchase has refused it
        return fill.new_lot_id

    def _sold_lots(self, fill: Fill) -> set[str]:
        return {pick.lot_id for pick in fill.lot_picks} or {pool_id(fill.ticker)}

    def _pool(self, tickers: AbstractSet[str], day: date) -> None:
        pools, rows = pooling_transactions((lot for lot in self._lots.values() if lot.ticker in tickers), day)
        others = (lot for lot in self._lots.values() if lot.ticker not in tickers)
        self._lots = {lot.lot_id: lot for lot in (*others, *pools)}
        self.transactions.extend(rows)

    def _sell(self, day: date, fills: Sequence[Fill]) -> None:
        losses: list[RecentTrade] = []
        for fill in fills:
            losses.extend(self._book_sale(fill))
        if not losses:
            return
        if self._regime is TaxRegime.US:
            result = match_losses(losses, self._purchases, lots=self._lots.values(), group_of=self._group_of)
            self._purchases = list(result.purchases)
        else:
            result = deny_superficial_losses(losses, self._purchases, lots=self._lots.values(), group_of=self._group_of)
        self._losses.extend(result.losses)
        self._take(result, day)

    def _book_sale(self, fill: Fill) -> tuple[RecentTrade, ...]:
        picks = [(pick.lot_id, pick.quantity) for pick in fill.lot_picks] or [(pool_id(fill.ticker), fill.quantity)]
        selection = [(self._held(fill, lot_id, quantity), quantity) for lot_id, quantity in picks]
        # Only the lots it sells are handed over: an account has hundreds, and a day a hundred sales.
        before = {lot.lot_id: lot for lot, _ in selection}
        booking = book_sale(
            before.values(),
            selection,
            price=fill.price,
            sale_date=fill.trade_date,
            rates=self._rates,
            regime=self._regime,
            fee=fill.fee,
        )
        left = {lot.lot_id: lot for lot in booking.remaining}
        for lot_id in before:
            if lot_id in left:
                self._lots[lot_id] = left[lot_id]
            else:
                del self._lots[lot_id]
        self._cash += booking.proceeds
        for line in booking.lines:
            lot = before[line.lot_id]
            self.transactions.append(
                lot_change(
                    TransactionType.SELL,
                    fill.trade_date,
                    lot,
                    self._lots.get(line.lot_id),
                    amount=line.proceeds,
                    realized_gain=line.realized_gain,
                    term=line.term,
                    details={
                        "execution_id": fill.execution_id,
                        "price": plain_text(fill.price),
                        "fee": plain_text(line.fee),
                        "sold_acquired_on": lot.acquired_on.isoformat(),
                        "sold_holding_period_start": lot.holding_period_start.isoformat(),
                    },
                )
            )
        return loss_trades(booking.lines, fill.trade_date, fill.execution_id)

    def _held(self, fill: Fill, lot_id: str, quantity: Decimal) -> TaxLot:
        lot = self._lots.get(lot_id)
        if lot is None or lot.ticker != fill.ticker:
            raise OversoldError(
                f"fill {fill.execution_id} sells {quantity} shares of {fill.ticker} out of lot {lot_id}, which the "
                "books do not hold.",
                details={
                    "execution_id": fill.execution_id,
                    "ticker": fill.ticker,
                    "lot_id": lot_id,
                    "requested": plain_text(quantity),
                    "available": "0",
                },
            )
        return lot

    def _buy(self, fill: Fill) -> None:
        lot_id = self._opens(fill)
        before = self._lots.get(lot_id)
        if before is not None and self._regime is TaxRegime.US:
            raise AccountingError(f"fill {fill.execution_id} opens lot {lot_id}, but the books hold one of that name.")
        cost = to_cents(fill.quantity * fill.price) + fill.fee
        bought = TaxLot(lot_id, fill.ticker, fill.trade_date, fill.quantity, cost, cost, fill.trade_date)
        after = bought if before is None else pool_lots((before, bought))[0]
        self._lots[lot_id] = after
        self._cash -= cost
        self.transactions.append(
            lot_change(
                TransactionType.BUY,
                fill.trade_date,
                before,
                after,
                amount=-cost,
                details={
                    "execution_id": fill.execution_id,
                    "price": plain_text(fill.price),
                    "fee": plain_text(fill.fee),
                },
            )
        )
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
        group = group_of_ticker(purchase.ticker, self._group_of)
        washable = [
            loss
            for loss in self._losses_by_group().get(group, ())
            if in_wash_window(loss.trade_date, purchase.trade_date)
        ]
        if not washable:
            self._purchases.append(purchase)
            return
        if self._regime is TaxRegime.US:
            result = wash_earlier_losses(purchase, washable, lots=self._lots.values(), group_of=self._group_of)
            self._purchases.extend(result.purchases)
        else:
            self._purchases.append(purchase)
            result = deny_superficial_losses(
                washable, self._purchases, lots=self._lots.values(), group_of=self._group_of
            )
        self._losses = [loss for loss in self._losses if loss not in washable] + list(result.losses)
        self._take(result, purchase.trade_date)

    def _losses_by_group(self) -> Mapping[str, list[RecentTrade]]:
        """Return the losses by group; put in order again only where the list of them is another."""
        if self._grouped is not self._losses or self._grouped_count != len(self._losses):
            self._by_group = {}
            for loss in self._losses:
                self._by_group.setdefault(group_of_ticker(loss.ticker, self._group_of), []).append(loss)
            self._grouped, self._grouped_count = self._losses, len(self._losses)
        return self._by_group

    def _take(self, result: Disallowance, day: date) -> None:
        self._lots = {lot.lot_id: lot for lot in result.lots}
        self.transactions.extend(disallowance_transactions(_DISALLOWED_AS[self._regime], day, result.matches))
