"""From target shares to the fills and events that carry them out: lots picked, short positions covered first. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from prometheus.decision.snapshot import Snapshot
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.domain.money import floor_to_step, plain_text, share_step, to_cents
from prometheus.foundation.errors import OversoldError
from prometheus.ledger.events import Event, Sell
from prometheus.ledger.fills import event_of_fill
from prometheus.ledger.selection import SaleTerms, Selection, Taking, order_lots, walk_lots
from prometheus.ledger.state import Lot

_ZERO: Final = Decimal(0)
#: Part of itself by which a sum of floats may miss the exact number of shares.
_LAST_BITS: Final = Decimal("4e-16")
#: Sides that open a lot, and how its name ends.
_OPENS: Final[Mapping[Side, str]] = {Side.BUY: "", Side.SELL_SHORT: "-SHORT"}


@dataclass(frozen=True, slots=True)
class SidedShares:
    """Target shares by side.

    Attributes:
        own: Signed shares by ticker as exact text, positive buys: what is bought and sold of lots.
        short: Shares sold short by ticker, beyond all lots.
        cover: Shares bought to cover by ticker.
    """

    own: Mapping[str, str]
    short: Mapping[str, Decimal]
    cover: Mapping[str, Decimal]


def sided_shares(snapshot: Snapshot, shares: Mapping[str, str], *, may_short: bool) -> SidedShares:
    """Say which part of the target shares covers short positions, and which is sold short beyond all lots.

    Args:
        snapshot: The frozen inputs.
        shares: Signed shares by ticker as exact decimal text, positive buys.
        may_short: Whether more may be sold than the lots hold.
    """
    held: dict[str, Decimal] = defaultdict(Decimal)
    for lot in snapshot.lots:
        held[lot.ticker] += lot.quantity
    owed: dict[str, Decimal] = defaultdict(Decimal)
    for one in snapshot.shorts:
        owed[one.ticker] += one.quantity
    short, cover = {}, {}
    for ticker in sorted(shares):
        quantity = Decimal(shares[ticker])
        if quantity < 0 and may_short and -quantity - held[ticker] > held[ticker] * _LAST_BITS:
            short[ticker] = -quantity - held[ticker]
        elif quantity > 0 and owed[ticker]:
            cover[ticker] = min(quantity, owed[ticker])
    if not short and not cover:
        return SidedShares(shares, short, cover)
    own = {
        ticker: str(Decimal(count) + short.get(ticker, _ZERO) - cover.get(ticker, _ZERO))
        for ticker, count in shares.items()
    }
    return SidedShares(own, short, cover)


def short_fills(snapshot: Snapshot, sided: SidedShares) -> tuple[Fill, ...]:
    """Return the fills that sell short and cover at the snapshot's prices, one for each security and side."""
    price_of = {name.ticker: name.price for name in snapshot.universe}
    sides = ((Side.SELL_SHORT, sided.short), (Side.BUY_TO_COVER, sided.cover))
    return tuple(
        planned_fill(snapshot.account_id, snapshot.as_of, ticker, side, quantity, price_of[ticker])
        for side, counts in sides
        for ticker, quantity in counts.items()
    )


def planned_fills(
    snapshot: Snapshot,
    lots: Mapping[str, Sequence[Lot]],
    shares: Mapping[str, str],
    *,
    locked_lots: Collection[str] = (),
) -> tuple[Fill, ...]:
    """Return the fills that would carry out the target shares at the snapshot's prices, lots picked by the lot method.

    Args:
        snapshot: The frozen inputs.
        lots: Its lots by ticker, those of the names that trade at least.
        shares: Signed shares by ticker as exact decimal text, positive buys.
        locked_lots: Lots that must not be sold.

    Raises:
        OversoldError: More shares are to be sold than the lots that may be sold hold.
    """
    price_of = {name.ticker: name.price for name in snapshot.universe}
    fills = []
    for ticker in sorted(shares):
        quantity, price = Decimal(shares[ticker]), price_of[ticker]
        picks: tuple[LotPick, ...] = ()
        if quantity < 0:
            sale = SaleTerms(snapshot.as_of, price, snapshot.rates)
            ordered = order_lots(lots[ticker], snapshot.lot_method, sale)
            selection = _selected(snapshot, Taking(snapshot.account_id, ticker, -quantity), ordered, locked_lots)
            picks = tuple(LotPick(lot.lot_id, taken) for lot, taken in selection)
            quantity = -sum((pick.quantity for pick in picks), _ZERO)
        side = Side.SELL if quantity < 0 else Side.BUY
        fills.append(planned_fill(snapshot.account_id, snapshot.as_of, ticker, side, abs(quantity), price, picks))
    return tuple(fills)


def _selected(snapshot: Snapshot, taking: Taking, ordered: Sequence[Lot], locked: Collection[str]) -> Selection:
    """Return the lots that a sale takes; exactly what they hold where it is that as near as a float can say it.

    Only a position that is closed may end off the grid of shares; beside locked lots the sale stays on it.
    """
    free = [lot for lot in ordered if lot.lot_id not in locked]
    quantity, held = taking.quantity, sum((lot.quantity for lot in free), _ZERO)
    if abs(held - quantity) <= held * _LAST_BITS:
        step = share_step(fractional=snapshot.fractional_shares)
        quantity = held if len(free) == len(ordered) else min(quantity, floor_to_step(held, step))
    if quantity > held:
        kept = sum((lot.quantity for lot in ordered), _ZERO) - held
        raise OversoldError(
            f"{quantity} shares of {taking.ticker} are to be sold, but the lots that may be sold hold {held} "
            f"({kept} more are locked).",
            details={
                "ticker": taking.ticker,
                "requested": plain_text(quantity),
                "available": plain_text(held),
                "locked": plain_text(kept),
            },
        )
    return walk_lots(free, taking, quantity)


def planned_fill(
    account_id: str,
    as_of: date,
    ticker: str,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    picks: tuple[LotPick, ...] = (),
) -> Fill:
    """Return the one fill that carries out a run's trade in one name on one side.

    Its identifiers are the same wherever it is made.

    Args:
        account_id: The account.
        as_of: The run's day, which is the trade date.
        ticker: The name.
        side: What is bought or sold.
        quantity: Shares, positive.
        price: Base currency a share.
        picks: Lots of a sale.
    """
    day, digits = _day_texts(as_of)
    return Fill(
        execution_id=f"{account_id}:{day}:{ticker}:{side}",
        ticker=ticker,
        side=side,
        trade_date=as_of,
        quantity=quantity,
        price=price,
        lot_picks=picks,
        new_lot_id=f"{account_id}-{digits}-{ticker}{_OPENS[side]}" if side in _OPENS else None,
    )


@lru_cache(maxsize=16)
def _day_texts(day: date) -> tuple[str, str]:
    return day.isoformat(), f"{day:%Y%m%d}"


def trade_events(account: str, fills: Sequence[Fill]) -> Iterator[Event]:
    """Yield the trades as events of the ledger: each lot of a sale, purchases, short sales and covers.

    Args:
        account: The account.
        fills: What it trades.
    """
    ordered = sorted(fills, key=lambda fill: fill.execution_id)
    for fill in ordered:
        for number, pick in enumerate(fill.lot_picks, start=1):
            yield Sell(
                account=account,
                event_id=f"{fill.execution_id}:{number}",
                trade_date=fill.trade_date,
                ticker=fill.ticker,
                quantity=pick.quantity,
                amount=to_cents(pick.quantity * fill.price),
                picks=(pick,),
            )
    for sides in ((Side.BUY,), (Side.SELL_SHORT, Side.BUY_TO_COVER)):
        for fill in ordered:
            if fill.side in sides:
                yield event_of_fill(account, fill)
