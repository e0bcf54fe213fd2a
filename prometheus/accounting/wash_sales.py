"""The 61-day window, and what it locks: purchases after a loss sale, loss sales after a purchase."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.accounting.acb import pool_id
from prometheus.accounting.joint_accounts import account_of, own_name
from prometheus.domain.accounts import TaxRegime
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


@dataclass(frozen=True, slots=True)
class BuyLock:
    """A group that must not be bought, because a purchase would wash a loss.

    Attributes:
        group: Substantially identical group.
        trade: The loss sale that locks it longest.
        last_locked_day: Day 30 after that sale, still locked.
    """

    group: str
    trade: RecentTrade
    last_locked_day: date


@dataclass(frozen=True, slots=True)
class ReplacementPurchase:
    """A purchase inside the window and the shares of it that can still replace shares sold at a loss.

    ``account`` names the account of the household that bought; empty for the account itself.
    """

    ticker: str
    lot_id: str | None
    trade_date: date
    shares: Decimal
    account: str = ""


@dataclass(frozen=True, slots=True)
class LossSaleLock:
    """A lot whose loss a purchase already made would wash.

    Attributes:
        lot_id: The lot.
        ticker: Its security.
        group: Substantially identical group.
        purchases: The purchases that wash it, earliest first.
        shares: Shares of the lot whose loss would be washed: the purchases' shares, at most the lot's.
        last_locked_day: Day 30 after the latest of the purchases, still locked.
    """

    lot_id: str
    ticker: str
    group: str
    purchases: tuple[ReplacementPurchase, ...]
    shares: Decimal
    last_locked_day: date


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


def buy_locks(recent_trades: Iterable[RecentTrade], as_of: date, group_of: Mapping[str, str]) -> dict[str, BuyLock]:
    """Return the groups that must not be bought on ``as_of``.

    A group is locked while a sale at a loss lies 0 to 30 calendar days back. A loss that was washed in full still
    locks: that keeps the rule simple and errs on the safe side.

    Args:
        recent_trades: Past trades; purchases, gains and trades after ``as_of`` are passed over.
        as_of: Trade date of the supposed purchase.
        group_of: Ticker to group; a ticker not in it is its own group.

    Returns:
        Group to its lock, naming the loss sale that locks longest; groups in alphabetical order.

    Source: Treas. Reg. 1.1091-1(a).
    """
    latest: dict[str, RecentTrade] = {}
    for trade in recent_trades:
        if trade.side is not Side.SELL or trade.realized_gain >= 0:
            continue
        if not timedelta(0) <= as_of - trade.trade_date <= _WINDOW:
            continue
        group = group_of_ticker(trade.ticker, group_of)
        if group not in latest or _lock_rank(trade) > _lock_rank(latest[group]):
            latest[group] = trade
    return {group: BuyLock(group, latest[group], latest[group].trade_date + _WINDOW) for group in sorted(latest)}


def _lock_rank(trade: RecentTrade) -> tuple[date, Decimal, str, str]:
    """Rank by date, then by the larger loss; the rest only makes the choice independent of the rows' order."""
    return (trade.trade_date, -trade.realized_gain, trade.ticker, trade.lot_id or "")


def loss_sale_locks(
    lots: Iterable[TaxLot],
    recent_trades: Iterable[RecentTrade],
    as_of: date,
    price_of: Mapping[str, Decimal],
    group_of: Mapping[str, str],
    regime: TaxRegime,
) -> dict[str, LossSaleLock]:
    """Return the lots whose sale on ``as_of`` would realise a loss that a purchase already made washes.

    In the US the purchases are those of OTHER lots of the group in the 30 days before, ``as_of`` included, with shares
    that are still held and have not yet replaced others; a lot's own purchase never locks it. In Canada any purchase
    of the group in the window locks the pooled lot. Purchases that only the lots prove are found as well.

    Args:
        lots: All lots of the account; pooled ones for Canada.
        recent_trades: Past trades; sales and trades outside the window are passed over.
        as_of: Trade date of the supposed sale.
        price_of: Ticker to price, base currency a share; a lot without a price is passed over.
        group_of: Ticker to group; a ticker not in it is its own group.
        regime: Whose rules apply.

    Returns:
        Lot identifier to its lock, in the order of the lots given. Lots at a gain are not listed.

    Source: Treas. Reg. 1.1091-1(a), (d); Rev. Rul. 56-602 (own purchase); ITA s. 54 "superficial loss".
    """
    lots = tuple(lots)
    held = {lot.lot_id: lot for lot in lots}
    purchases = _open_purchases(recent_trades, held, as_of, group_of, regime)
    locks: dict[str, LossSaleLock] = {}
    for lot in lots:
        price = price_of.get(lot.ticker)
        if price is None or price * lot.quantity >= lot.adjusted_basis:
            continue
        group = group_of_ticker(lot.ticker, group_of)
        washing = tuple(
            purchase
            for purchase in purchases.get(group, ())
            if regime is TaxRegime.CA
            or purchase.account
            or purchase.lot_id is None
            or purchase.lot_id != purchase_of(lot.lot_id)
        )
        if washing:
            shares = min(lot.quantity, sum((purchase.shares for purchase in washing), Decimal(0)))
            last = washing[-1].trade_date + _WINDOW
            locks[lot.lot_id] = LossSaleLock(lot.lot_id, lot.ticker, group, washing, shares, last)
    return locks


def _open_purchases(
    recent_trades: Iterable[RecentTrade],
    held: Mapping[str, TaxLot],
    as_of: date,
    group_of: Mapping[str, str],
    regime: TaxRegime,
) -> dict[str, tuple[ReplacementPurchase, ...]]:
    by_group: dict[str, list[ReplacementPurchase]] = {}
    for trade in known_purchases(recent_trades, held.values(), as_of):
        if not timedelta(0) <= as_of - trade.trade_date <= _WINDOW:
            continue
        shares = trade.quantity if regime is TaxRegime.CA else replacement_shares(trade, held)
        if shares > 0:
            by_group.setdefault(group_of_ticker(trade.ticker, group_of), []).append(
                ReplacementPurchase(trade.ticker, trade.lot_id, trade.trade_date, shares, trade.account)
            )
    return {group: tuple(found) for group, found in by_group.items()}


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
