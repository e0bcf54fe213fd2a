"""Fills carried into the books: lots, cash, wash sales in both directions, and the journal of it all."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from prometheus.accounting.acb import pool_id
from prometheus.accounting.fill_ledger import FillLedger, LedgerTerms
from prometheus.accounting.joint_accounts import own_name
from prometheus.accounting.superficial_losses import HeldAtEnd
from prometheus.accounting.wash_sales import is_part
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import Books, Fill, Transaction
from prometheus.domain.lots import RecentTrade, Side
from prometheus.domain.money import to_cents
from prometheus.foundation.errors import AccountingError


def apply_fills(
    books: Books,
    fills: Sequence[Fill],
    *,
    rates: TaxRates,
    regime: TaxRegime,
    recent_trades: Iterable[RecentTrade] = (),
    group_of: Mapping[str, str] | None = None,
    sheltered: Collection[str] = (),
    cash_of: Mapping[str, Decimal] | None = None,
    held_at_end: HeldAtEnd | None = None,
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
        sheltered: Accounts whose losses are none and whose purchases disallow those of others for good; the empty name
            for an account by itself.
        cash_of: For a household, whose lots and fills are under joint names: cash by account. None of them may fall
            below zero.
        held_at_end: Shares held on day 30 after a loss whose window has closed (Canada); see ``superficial_losses``.

    Returns:
        The books after, and the journal rows in the order in which they were booked.

    Raises:
        AccountingError: A duplicate execution, a fill that contradicts itself, a lot identifier already in use, a
            purchase without one (US), or cash driven below zero by a day's fills.
        OversoldError: A sale of more than its lots hold.

    Source: docs/specs/accounting.md, "Fills".
    """
    _check(fills, regime)
    terms = LedgerTerms(rates, regime, group_of or {}, frozenset(sheltered), held_at_end)
    ledger = FillLedger(books.lots, {"": books.cash} if cash_of is None else cash_of, terms, recent_trades)
    for day in sorted({fill.trade_date for fill in fills}):
        ledger.book_day(day, sorted((f for f in fills if f.trade_date == day), key=lambda fill: fill.execution_id))
    return Books(tuple(ledger.lots.values()), sum(ledger.cash.values(), Decimal(0))), tuple(ledger.transactions)


def _check(fills: Sequence[Fill], regime: TaxRegime) -> None:
    seen: set[str] = set()
    for fill in fills:
        if fill.execution_id in seen:
            raise AccountingError(
                f"{_where(fill)} comes twice in one call; an execution is booked once.",
                details={"execution_id": own_name(fill.execution_id)},
            )
        seen.add(fill.execution_id)
        if fill.quantity <= 0 or fill.price <= 0 or fill.fee < 0:
            raise AccountingError(
                f"{_where(fill)} has quantity {fill.quantity}, price {fill.price}, fee {fill.fee}; quantity and price "
                "must be positive, the fee not negative."
            )
        if fill.fee and fill.fee != to_cents(fill.fee):
            raise AccountingError(f"{_where(fill)} has a fee of {fill.fee}; money is booked in cents.")
        if fill.side is Side.BUY:
            _check_purchase(fill, regime)
        else:
            _check_sale(fill, regime)


def _where(fill: Fill) -> str:
    return f"fill {own_name(fill.execution_id)} ({fill.side} {fill.ticker})"


def _check_purchase(fill: Fill, regime: TaxRegime) -> None:
    if fill.lot_picks:
        raise AccountingError(f"{_where(fill)} picks lots; only a sale does.")
    if regime is TaxRegime.CA:
        return
    if fill.new_lot_id is None:
        raise AccountingError(f"{_where(fill)} does not say what the new lot is called; give new_lot_id.")
    if is_part(fill.new_lot_id):
        raise AccountingError(
            f"{_where(fill)}: '{own_name(fill.new_lot_id)}' contains a sign that marks lots split by the ledger."
        )


def _check_sale(fill: Fill, regime: TaxRegime) -> None:
    if regime is TaxRegime.CA and not fill.lot_picks:
        return
    picked = sum((pick.quantity for pick in fill.lot_picks), Decimal(0))
    if picked != fill.quantity:
        raise AccountingError(f"{_where(fill)} sells {fill.quantity} shares, its lot picks add up to {picked}.")
    if regime is TaxRegime.CA and {own_name(pick.lot_id) for pick in fill.lot_picks} != {pool_id(fill.ticker)}:
        raise AccountingError(
            f"{_where(fill)} must pick the pool {pool_id(fill.ticker)} or no lot; Canada pools its lots."
        )
