"""The 61-day window: which purchases are known, and what of them can still replace shares sold at a loss."""

import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.accounting.acb import pool_id
from prometheus.accounting.joint_accounts import account_of, own_name
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.foundation.errors import AccountingError

#: Calendar days on either side of the sale; the last of them is inside. Source: Treas. Reg. 1.1091-1(a); ITA s. 54.
WASH_WINDOW_DAYS: Final = 30
#: Marks the part of a lot that served as replacement shares.
WASHED_MARK: Final = "~W"
#: Marks the part of a lot that was transferred to another account.
TRANSFERRED_MARK: Final = "~T"
#: Marks the shares of another company that a spin-off made of a lot.
CHILD_MARK: Final = "~S"
_MARKS: Final = re.compile(f"{WASHED_MARK}|{TRANSFERRED_MARK}|{CHILD_MARK}")

_WINDOW: Final = timedelta(days=WASH_WINDOW_DAYS)


def in_wash_window(sale_date: date, purchase_date: date) -> bool:
    """Return whether a purchase lies in the 61 days around a sale; day 30 is inside, day 31 outside.

    Both are trade dates.

    Source: Treas. Reg. 1.1091-1(a).
    """
    return abs((purchase_date - sale_date).days) <= WASH_WINDOW_DAYS


def group_of_ticker(ticker: str, group_of: Mapping[str, str]) -> str:
    """Return the substantially identical group of a ticker; its own name where nobody said otherwise."""
    return group_of.get(ticker, ticker)


def purchase_of(lot_id: str | None) -> str | None:
    """Return the lot a purchase opened, given that lot or a part that the ledger split off it."""
    return None if lot_id is None else _MARKS.split(lot_id, maxsplit=1)[0]


def is_part(lot_id: str) -> bool:
    """Return whether a lot identifier names what the ledger made of a lot, which no purchase may be called."""
    return _MARKS.search(lot_id) is not None


def purchases_of_lots(lots: Iterable[TaxLot], as_of: date) -> tuple[RecentTrade, ...]:
    """Return the purchases of the last 30 days that the lots themselves prove, earliest first.

    For accounts taken over without a journal: their lots carry purchase dates. Lots that already carry a disallowed
    loss have served as replacement shares and are left out.
    """
    return tuple(
        RecentTrade(
            ticker=lot.ticker,
            trade_date=lot.acquired_on,
            side=Side.BUY,
            quantity=lot.quantity,
            lot_id=lot.lot_id,
            unreplaced=lot.quantity,
        )
        for lot in sorted(lots, key=lambda lot: (lot.acquired_on, lot.lot_id))
        if as_of - _WINDOW <= lot.acquired_on <= as_of
        and not is_part(lot.lot_id)
        and lot.adjusted_basis == lot.cost_basis
        and lot.holding_period_start == lot.acquired_on
    )


def known_purchases(
    recent_trades: Iterable[RecentTrade], lots: Iterable[TaxLot], as_of: date
) -> tuple[RecentTrade, ...]:
    """Return the purchases among the trades, and those that only the lots prove, earliest first.

    A pooled lot proves a purchase only where no purchase of its security is known in its account, for it dates from
    the earliest.
    """
    purchases = [trade for trade in recent_trades if trade.side is Side.BUY]
    # another account may call its lot as this one calls its own
    lot_ids = {trade.lot_id for trade in purchases if not trade.account}
    known = {(account_of(trade.lot_id), trade.ticker) for trade in purchases if not trade.account}
    purchases += [
        trade
        for trade in purchases_of_lots(lots, as_of)
        if trade.lot_id not in lot_ids and not (_is_pool(trade) and (account_of(trade.lot_id), trade.ticker) in known)
    ]
    return tuple(sorted(purchases, key=purchase_order))


def _is_pool(trade: RecentTrade) -> bool:
    return trade.lot_id is not None and own_name(trade.lot_id) == pool_id(trade.ticker)


def replacement_shares(purchase: RecentTrade, held: Mapping[str, TaxLot]) -> Decimal:
    """Return how many shares of a purchase can still replace shares sold at a loss.

    A replacement share is used once, and a share sold again replaces nothing, because there is no lot left that could
    carry the loss. A purchase made elsewhere counts in full: one without a lot, or of another account, whose lots are
    not among those held.

    Source: Treas. Reg. 1.1091-1(e) (a share is used once); the second half is a reading, see docs/specs/accounting.md.
    """
    unreplaced = purchase.quantity if purchase.unreplaced is None else purchase.unreplaced
    if purchase.lot_id is None or purchase.account:
        return unreplaced
    lot = held.get(purchase.lot_id)
    return min(unreplaced, lot.quantity) if lot is not None else Decimal(0)


def purchase_order(trade: RecentTrade) -> tuple[date, str, str]:
    """Return the sort key that puts replacement purchases earliest first.

    Source: Treas. Reg. 1.1091-1(c), (d).
    """
    return (trade.trade_date, trade.lot_id or "", trade.ticker)


def disposition_order(trade: RecentTrade) -> tuple[date, date, str]:
    """Return the sort key that puts losses in the order of disposition, same-day losses in that of acquisition.

    Raises:
        AccountingError: A sale that does not say when the shares were acquired.

    Source: Treas. Reg. 1.1091-1(b).
    """
    if trade.acquired_on is None or trade.lot_id is None:
        raise AccountingError(
            f"the loss sale of {trade.ticker} on {trade.trade_date} does not name its lot and when that was acquired; "
            "give recent trades lot by lot, as journal.recent_trades does."
        )
    return (trade.trade_date, trade.acquired_on, trade.lot_id)
