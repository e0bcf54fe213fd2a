"""What the 61-day window locks on a day: purchases after a loss sale, loss sales after a purchase. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import RecentTrade, Side, TaxLot
from prometheus.ledger.lots import is_part, purchased_lot_id
from prometheus.ledger.regimes.denials import pool_lot_id
from prometheus.ledger.window import WINDOW

_ZERO: Final = Decimal(0)
_NO_DAYS: Final = timedelta(0)


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


def is_in_window(day: date, as_of: date) -> bool:
    """Return whether a trade of a day is within the thirty days before ``as_of``, both included.

    Source: Treas. Reg. 1.1091-1(a); ITA s. 54 "superficial loss".
    """
    return _NO_DAYS <= as_of - day <= WINDOW


def _purchases_of_lots(lots: Iterable[TaxLot], as_of: date) -> tuple[RecentTrade, ...]:
    """Return the purchases of the last 30 days that the lots themselves prove, earliest first.

    For accounts taken over without a journal: their lots carry purchase dates. Lots that already carry a disallowed
    loss have served as replacement shares and are left out.
    """
    bought = (
        lot
        for lot in lots
        if is_in_window(lot.acquired_on, as_of)
        and not is_part(lot.lot_id)
        and lot.adjusted_basis == lot.cost_basis
        and lot.holding_period_start == lot.acquired_on
    )
    return tuple(
        RecentTrade(
            ticker=lot.ticker,
            trade_date=lot.acquired_on,
            side=Side.BUY,
            quantity=lot.quantity,
            lot_id=lot.lot_id,
            unreplaced=lot.quantity,
        )
        for lot in sorted(bought, key=lambda lot: (lot.acquired_on, lot.lot_id))
    )


def known_purchases(
    recent_trades: Iterable[RecentTrade], lots: Iterable[TaxLot], as_of: date
) -> tuple[RecentTrade, ...]:
    """Return the purchases among the trades, and those that only the lots prove, earliest first.

    A pooled lot proves a purchase only where no purchase of its security is known, for it dates from the earliest.
    """
    purchases = [trade for trade in recent_trades if trade.side is Side.BUY]
    # another account may call its lot as this one calls its own
    lot_ids = {trade.lot_id for trade in purchases if not trade.account}
    known = {trade.ticker for trade in purchases if not trade.account}
    purchases += [
        trade
        for trade in _purchases_of_lots(lots, as_of)
        if trade.lot_id not in lot_ids and not (trade.lot_id == pool_lot_id(trade.ticker) and trade.ticker in known)
    ]
    return tuple(sorted(purchases, key=_purchase_order))


def unreplaced_shares(purchase: RecentTrade) -> Decimal:
    """Return the shares of a purchase that have replaced nothing yet, sold ones included; all where nothing is said."""
    return purchase.quantity if purchase.unreplaced is None else purchase.unreplaced


def _replacement_shares(purchase: RecentTrade, held: Mapping[str, TaxLot]) -> Decimal:
    """Return how many shares of a purchase can still replace shares sold at a loss.

    A replacement share is used once, and a share sold again replaces nothing, because there is no lot left that could
    carry the loss. A purchase made elsewhere counts in full: one without a lot, or of another account, whose lots are
    not among those held.

    Source: Treas. Reg. 1.1091-1(e) (a share is used once); the second half is a reading, see docs/specs/tax_rules.md.
    """
    unreplaced = unreplaced_shares(purchase)
    if purchase.lot_id is None or purchase.account:
        return unreplaced
    lot = held.get(purchase.lot_id)
    return min(unreplaced, lot.quantity) if lot is not None else _ZERO


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
        if not is_in_window(trade.trade_date, as_of):
            continue
        group = group_of.get(trade.ticker, trade.ticker)
        if group not in latest or _lock_rank(trade) > _lock_rank(latest[group]):
            latest[group] = trade
    return {group: BuyLock(group, latest[group], latest[group].trade_date + WINDOW) for group in sorted(latest)}


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
        group = group_of.get(lot.ticker, lot.ticker)
        washing = tuple(
            purchase
            for purchase in purchases.get(group, ())
            if regime is TaxRegime.CA
            or purchase.account
            or purchase.lot_id is None
            or purchase.lot_id != purchased_lot_id(lot.lot_id)
        )
        if washing:
            shares = min(lot.quantity, sum((purchase.shares for purchase in washing), _ZERO))
            last = washing[-1].trade_date + WINDOW
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
        if not is_in_window(trade.trade_date, as_of):
            continue
        shares = trade.quantity if regime is TaxRegime.CA else _replacement_shares(trade, held)
        if shares > 0:
            by_group.setdefault(group_of.get(trade.ticker, trade.ticker), []).append(
                ReplacementPurchase(trade.ticker, trade.lot_id, trade.trade_date, shares, trade.account)
            )
    return {group: tuple(purchases) for group, purchases in by_group.items()}


def _purchase_order(trade: RecentTrade) -> tuple[date, str, str]:
    """Return the sort key that puts replacement purchases earliest first.

    Source: Treas. Reg. 1.1091-1(c), (d).
    """
    return (trade.trade_date, trade.lot_id or "", trade.ticker)
