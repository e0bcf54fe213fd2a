"""Canada's superficial losses: the denied part of a loss goes into the pool of what is still held."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from prometheus.accounting.basis import carry_loss
from prometheus.accounting.joint_accounts import account_of
from prometheus.accounting.loss_disallowance import Disallowance, LossMatch, after_match, washed_part_of_loss
from prometheus.accounting.wash_sales import (
    disposition_order,
    group_of_ticker,
    in_wash_window,
    purchase_order,
)
from prometheus.domain.lots import RecentTrade, TaxLot
from prometheus.domain.money import SHARE_STEP, nearest_step


def superficial_shares(*, sold: Decimal, acquired: Decimal, held: Decimal) -> Decimal:
    """Return how many of the shares sold at a loss count as superficial.

    Args:
        sold: Shares disposed of at a loss.
        acquired: Identical shares acquired in the 61 days around the sale.
        held: Identical shares held at the end of that period; none held means no superficial loss.

    Source: Income Tax Act (Canada) s. 54 "superficial loss"; CRA IT-456R, paragraph 12 (the part that is denied).
    """
    return min(sold, acquired, held)


@dataclass(frozen=True, slots=True)
class Denial:
    """What more of a loss is denied: shares denied in all, and the amounts that a pool carries and that are gone.

    ``further`` counts the shares denied now and not before, ``further_for_good`` those of them that no pool carries.
    """

    shares: Decimal
    carried: Decimal
    for_good: Decimal
    further: Decimal
    further_for_good: Decimal


def further_denial(loss: RecentTrade, *, acquired: Decimal, own: Decimal, sheltered: Decimal) -> Denial | None:
    """Return what is to be denied of a loss beyond what is denied already; None where nothing is.

    Denied shares belong to the owner's pool as far as the owner holds shares; the rest of the denial, for shares that
    registered plans hold, is lost for good.

    Args:
        loss: The loss, with what is denied of it already.
        acquired: Shares acquired in the 61 days around it.
        own: Shares in the owner's taxable accounts at the end of that period, or now where it is still open.
        sheltered: Shares in registered plans, likewise.

    Source: ITA ss. 40(2)(g)(i), 53(1)(f), 54 "superficial loss"; CRA IT-456R.
    """
    denied = superficial_shares(sold=loss.quantity, acquired=acquired, held=own + sheltered)
    more = washed_part_of_loss(loss, denied) - loss.disallowed_loss
    if more <= 0:
        return None
    carried = washed_part_of_loss(loss, min(denied, own))
    gone = loss.disallowed_loss + more - carried - loss.denied_for_good
    for_good = max(min(more, gone), _ZERO) if sheltered else _ZERO
    further = denied - loss.washed_quantity
    further_for_good = further if for_good else _ZERO
    if 0 < for_good < more:
        apart = nearest_step(max(denied - own, _ZERO), SHARE_STEP) - _shares_gone(loss)
        further_for_good = min(max(apart, _ZERO), further)
    return Denial(denied, more - for_good, for_good, further, further_for_good)


def _shares_gone(loss: RecentTrade) -> Decimal:
    """Return how many of the shares denied so far no pool carries; told by the amounts, which alone are kept."""
    if not loss.denied_for_good:
        return _ZERO
    if loss.denied_for_good == loss.disallowed_loss:
        return loss.washed_quantity
    part = nearest_step(loss.quantity * loss.denied_for_good / -loss.realized_gain, SHARE_STEP)
    return min(part, loss.washed_quantity)


#: Shares at the end of a loss's window, of taxable and of sheltered accounts, in the shares of the day on which the
#: question is put; None while the window is open.
HeldAtEnd = Callable[[RecentTrade], tuple[Decimal, Decimal] | None]


def deny_superficial_losses(
    losses: Iterable[RecentTrade],
    purchases: Iterable[RecentTrade],
    *,
    lots: Iterable[TaxLot],
    group_of: Mapping[str, str],
    sheltered: Collection[str] = (),
    held_at_end: HeldAtEnd | None = None,
) -> Disallowance:
    """Deny the superficial part of losses, from the purchases known and the shares held at the end of the window.

    While the window is open what is held now is taken for what will be held. A later purchase raises the denied part
    (call again); a later sale does not lower it before the window has closed. What is held at the end but not yet
    bought again denies nothing until it is: no pool is there to carry the loss.

    Args:
        losses: Recent sales of the pooled lots; ``disallowed_loss`` tells what is denied already.
        purchases: Purchases around them; those outside a sale's window are passed over.
        lots: The pooled lots after the day's trades, of all accounts of the owner.
        group_of: Ticker to group of identical properties; a ticker not in it is its own group.
        sheltered: Accounts that are registered plans.
        held_at_end: What was held on day 30 of a loss whose window has closed; every window is open where not given.

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
        current = loss
        for match in _deny(loss, ordered_purchases, held, group_of, sheltered, held_at_end):
            matches.append(match)
            current = after_match(current, match)
        updated.append(current)
    return Disallowance(tuple(matches), tuple(updated), ordered_purchases, tuple(held.values()))


def _deny(
    loss: RecentTrade,
    purchases: tuple[RecentTrade, ...],
    held: dict[str, TaxLot],
    group_of: Mapping[str, str],
    sheltered: Collection[str],
    held_at_end: HeldAtEnd | None,
) -> tuple[LossMatch, ...]:
    group = group_of_ticker(loss.ticker, group_of)
    acquired = [
        purchase
        for purchase in purchases
        if group_of_ticker(purchase.ticker, group_of) == group and in_wash_window(loss.trade_date, purchase.trade_date)
    ]
    if not acquired:
        return ()
    of_group = [lot for lot in held.values() if group_of_ticker(lot.ticker, group_of) == group]
    owned = [lot for lot in of_group if account_of(lot.lot_id) not in sheltered]
    at_end = None if held_at_end is None else held_at_end(loss)
    if at_end is None:
        elsewhere = sum((trade.unreplaced or _ZERO for trade in acquired if trade.account), _ZERO)
        own = sum((lot.quantity for lot in owned), elsewhere)
        at_end = (own, sum((lot.quantity for lot in of_group), elsewhere) - own)
    if not owned and at_end[0] > 0 and not any(trade.account for trade in acquired):
        return ()  # what will carry the loss is still to be bought
    count = sum((purchase.quantity for purchase in acquired), _ZERO)
    denial = further_denial(loss, acquired=count, own=at_end[0], sheltered=at_end[1])
    if denial is None:
        return ()
    matches: list[LossMatch] = []
    for_good_shares = denial.further
    carrier = _carrier(loss, acquired, owned)
    if denial.carried and carrier is not None:
        after = carry_loss(carrier, denial.carried, carrier.holding_period_start)
        held[after.lot_id] = after
        for_good_shares = denial.further_for_good
        carried_shares = denial.further - for_good_shares
        matches.append(LossMatch(loss, carrier.lot_id, carried_shares, denial.carried, carrier, after))
    gone = denial.for_good if matches else denial.for_good + denial.carried
    if gone:
        place = TaxLot(_NO_LOT, loss.ticker, loss.trade_date, loss.quantity, _ZERO, _ZERO, loss.trade_date)
        matches.append(LossMatch(loss, _NO_LOT, for_good_shares, gone, place, place, permanent=True))
    return tuple(matches)


def _carrier(loss: RecentTrade, acquired: Iterable[RecentTrade], owned: Iterable[TaxLot]) -> TaxLot | None:
    """Return the pool of the substituted property: of the earliest purchase still held, else any of the group.

    Of an owner's accounts that of the loss comes first; their pools share every cost anyway.
    """
    account = account_of(loss.lot_id)
    pools = sorted(owned, key=lambda lot: (lot.ticker, account_of(lot.lot_id) != account, lot.lot_id))
    for purchase in acquired:
        for lot in pools:
            if lot.ticker == purchase.ticker:
                return lot
    return pools[0] if pools else None


#: Stands where no lot carries a loss.
_NO_LOT: Final = ""
_ZERO: Final = Decimal(0)
