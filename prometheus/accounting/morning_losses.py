"""Losses of a morning's corporate actions: cash in lieu and delistings meet purchases like every other loss.

Whoever books a morning (the daily booking, a restatement, the derivation) uses these functions, so that a loss that
nobody sold by an order is matched in the same way everywhere: before the day's trades, those of all accounts together.
"""

from collections.abc import Collection, Iterable
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.accounting.fill_ledger import FillLedger, LedgerTerms
from prometheus.accounting.joint_accounts import account_of
from prometheus.accounting.journal import sale_trade
from prometheus.accounting.wash_sales import group_of_ticker, in_wash_window, known_purchases
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.lots import RecentTrade, Side, TaxLot

#: Dispositions by a corporate action; no execution stands behind them.
MORNING_DISPOSITIONS: Final = frozenset({TransactionType.CASH_IN_LIEU, TransactionType.DELISTING})


def morning_losses(rows: Iterable[Transaction], sheltered: Collection[str] = ()) -> tuple[RecentTrade, ...]:
    """Return the losses among rows of corporate actions, lot by lot; what sheltered accounts lose is none.

    Args:
        rows: Rows as booked, under joint names for a household.
        sheltered: Accounts that are not taxed; the empty name for an account by itself.
    """
    return tuple(
        sale_trade(row)
        for row in rows
        if row.txn_type in MORNING_DISPOSITIONS and row.realized_gain < 0 and account_of(row.lot_id) not in sheltered
    )


def meets_a_purchase(
    losses: Iterable[RecentTrade], trades: Iterable[RecentTrade], lots: Iterable[TaxLot], day: date, terms: LedgerTerms
) -> bool:
    """Return whether a purchase already made lies in the window of one of the losses, whatever is left of it.

    Args:
        losses: Losses of a morning.
        trades: Recent trades of the household.
        lots: Its lots after the morning; they prove purchases too.
        day: The morning.
        terms: Which securities are substantially identical.
    """
    bought = [
        (group_of_ticker(purchase.ticker, terms.group_of), purchase.trade_date)
        for purchase in known_purchases(trades, lots, day)
    ]
    return any(
        group == group_of_ticker(loss.ticker, terms.group_of) and in_wash_window(loss.trade_date, bought_on)
        for loss in losses
        for group, bought_on in bought
    )


def match_morning_losses(
    losses: Iterable[RecentTrade],
    trades: Iterable[RecentTrade],
    *,
    lots: Iterable[TaxLot],
    accounts: Iterable[str],
    day: date,
    terms: LedgerTerms,
) -> tuple[tuple[TaxLot, ...], tuple[Transaction, ...]]:
    """Match the losses of a morning with the purchases already made, before anything is traded that day.

    Args:
        losses: Those of all accounts that belong together, as ``morning_losses`` returns them.
        trades: Recent trades, in the shares and symbols of after the morning; the losses may be among them.
        lots: Lots after the morning's actions, under joint names for a household.
        accounts: Names of all accounts.
        day: The morning.
        terms: Under what terms losses are matched.

    Returns:
        The lots after, and the rows of what was taken back.

    Source: docs/specs/accounting.md, "Corporate actions"; Treas. Reg. 1.1091-1(a)-(d); ITA s. 54.
    """
    found = tuple(losses)
    names = {_name(loss) for loss in found}
    others = (trade for trade in trades if trade.side is Side.BUY or _name(trade) not in names)
    ledger = FillLedger(lots, dict.fromkeys(accounts, Decimal(0)), terms, others)
    ledger.match_morning(day, found)
    return tuple(ledger.lots.values()), tuple(ledger.transactions)


def _name(loss: RecentTrade) -> tuple[str | None, str | None, date]:
    return loss.execution_id, loss.lot_id, loss.trade_date
