"""Canada's superficial losses: the denied part of a loss goes into the pool of what is still held."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from prometheus.accounting.acb import pool_id
from prometheus.accounting.basis import carry_loss
from prometheus.accounting.loss_disallowance import Disallowance, LossMatch, after_match, washed_part_of_loss
from prometheus.accounting.wash_sales import (
    disposition_order,
    group_of_ticker,
    in_wash_window,
    purchase_order,
)
from prometheus.domain.lots import RecentTrade, TaxLot


def superficial_shares(*, sold: Decimal, acquired: Decimal, held: Decimal) -> Decimal:
    """Return how many of the shares sold at a loss count as superficial.

    Args:
        sold: Shares disposed of at a loss.
        acquired: Identical shares acquired in the 61 days around the sale.
        held: Identical shares held at the end of that period; none held means no superficial loss.

    Source: Income Tax Act (Canada) s. 54 "superficial loss"; CRA IT-456R, paragraph 12 (the part that is denied).
    """
    return min(sold, acquired, held)


def deny_superficial_losses(
    losses: Iterable[RecentTrade],
    purchases: Iterable[RecentTrade],
    *,
    lots: Iterable[TaxLot],
    group_of: Mapping[str, str],
) -> Disallowance:
    """Deny the superficial part of losses, from the purchases known and the shares held NOW.

    The end of the window stands for itself only when it has come; until then what is held now is taken for what will
    be held. A later purchase raises the denied part (call again), a later sale does not lower it: the denied loss then
    comes out of the pool with that sale.

    Args:
        losses: Recent sales of the pooled lots; ``disallowed_loss`` tells what is denied already.
        purchases: Purchases around them; those outside a sale's window are passed over.
        lots: The account's pooled lots after the day's trades.
        group_of: Ticker to group of identical properties; a ticker not in it is its own group.

    Returns:
        As in the US, with the pool in the place of the replacement lot. Purchases are returned as they are: each
        disposition is looked at by itself, and shares acquired are not used up.

    Raises:
        AccountingError: A loss without lot or acquisition date.

    Source: ITA ss. 40(2)(g)(i), 53(1)(f), 54; IT-456R.
    """
    held = {lot.lot_id: lot for lot in lots}
    ordered_purchases = tuple(sorted(purchases, key=purchase_order))
    updated: list[RecentTrade] = []
    matches: list[LossMatch] = []
    for loss in sorted((loss for loss in losses if loss.realized_gain < 0), key=disposition_order):
        match = _deny(loss, ordered_purchases, held, group_of)
        if match is None:
            updated.append(loss)
            continue
        matches.append(match)
        updated.append(after_match(loss, match))
    return Disallowance(tuple(matches), tuple(updated), ordered_purchases, tuple(held.values()))


def _deny(
    loss: RecentTrade,
    purchases: tuple[RecentTrade, ...],
    held: dict[str, TaxLot],
    group_of: Mapping[str, str],
) -> LossMatch | None:
    group = group_of_ticker(loss.ticker, group_of)
    acquired = [
        purchase
        for purchase in purchases
        if group_of_ticker(purchase.ticker, group_of) == group and in_wash_window(loss.trade_date, purchase.trade_date)
    ]
    owned = [lot for lot in held.values() if group_of_ticker(lot.ticker, group_of) == group]
    denied = superficial_shares(
        sold=loss.quantity,
        acquired=sum((purchase.quantity for purchase in acquired), Decimal(0)),
        held=sum((lot.quantity for lot in owned), Decimal(0)),
    )
    more = washed_part_of_loss(loss, denied) - loss.disallowed_loss
    if more <= 0:
        return None
    # The loss belongs to the substituted property: the pool of the earliest purchase that still exists.
    bought = [pool_id(purchase.ticker) for purchase in acquired if pool_id(purchase.ticker) in held]
    before = held[bought[0]] if bought else owned[0]
    after = carry_loss(before, more, before.holding_period_start)
    held[after.lot_id] = after
    return LossMatch(loss, before.lot_id, denied - loss.washed_quantity, more, before, after)
