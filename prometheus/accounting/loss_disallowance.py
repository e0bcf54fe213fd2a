"""US wash sales booked: losses matched with replacement purchases, and the disallowed loss carried into their lots."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from prometheus.accounting.basis import carry_loss, split_lot
from prometheus.accounting.joint_accounts import own_name
from prometheus.accounting.sales import tax_on
from prometheus.accounting.tie_rules import DEFAULT_TIES, ReplacementOrder, SameDayLosses, Tacking, TieRules
from prometheus.accounting.wash_sales import (
    WASHED_MARK,
    disposition_order,
    group_of_ticker,
    in_wash_window,
    purchase_of,
    purchase_order,
    replacement_shares,
)
from prometheus.domain.accounts import TaxRates
from prometheus.domain.lots import LotSale, RecentTrade, Side, TaxLot
from prometheus.domain.money import to_cents
from prometheus.foundation.errors import AccountingError


@dataclass(frozen=True, slots=True)
class LossMatch:
    """So many shares sold at a loss, matched with as many replacement shares.

    Attributes:
        loss: The loss sale, as it stood before this match.
        purchase_lot_id: The lot the replacement purchase opened.
        shares: Shares matched.
        disallowed_loss: Loss taken back, cents, non-negative.
        before: The replacement lot without the loss.
        after: The same shares with it.
        split: Where only a part of the purchased lot serves: that lot before and after the part was taken out.
        permanent: Whether the loss is gone for good, because a sheltered account bought the replacement shares; then
            ``before`` and ``after`` only name those shares.
    """

    loss: RecentTrade
    purchase_lot_id: str
    shares: Decimal
    disallowed_loss: Decimal
    before: TaxLot
    after: TaxLot
    split: tuple[TaxLot, TaxLot] | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Disallowance:
    """What matching did.

    Attributes:
        matches: In the order in which they were made.
        losses: The loss sales given, in the order of disposition, with what is washed of each by now.
        purchases: The purchases given, earliest first, with what is unreplaced of each by now.
        lots: All lots given, with splits and carried losses.
    """

    matches: tuple[LossMatch, ...]
    losses: tuple[RecentTrade, ...]
    purchases: tuple[RecentTrade, ...]
    lots: tuple[TaxLot, ...]


def washed_part_of_loss(loss: RecentTrade, washed_quantity: Decimal) -> Decimal:
    """Return the loss on the first ``washed_quantity`` shares of a loss sale, in cents, non-negative.

    Computed from the whole each time, so that the parts of successive matches add up to the loss exactly.
    """
    return to_cents(-loss.realized_gain * washed_quantity / loss.quantity)


def loss_trades(lines: Iterable[LotSale], sale_date: date, execution_id: str | None = None) -> tuple[RecentTrade, ...]:
    """Return the lines that realised a loss as trades that can be matched.

    Gains are left out: only losses wash, and a gain of the same day is never reduced by one.

    Source: IRS Publication 550, "Wash Sales"; 26 U.S.C. 1091(a).
    """
    return tuple(
        RecentTrade(
            ticker=line.ticker,
            trade_date=sale_date,
            side=Side.SELL,
            quantity=line.quantity,
            realized_gain=line.realized_gain,
            lot_id=line.lot_id,
            washed_quantity=line.washed_quantity,
            disallowed_loss=line.disallowed_loss,
            acquired_on=line.acquired_on,
            holding_period_start=line.holding_period_start or line.acquired_on,
            execution_id=execution_id,
        )
        for line in lines
        if line.realized_gain < 0
    )


def match_losses(
    losses: Iterable[RecentTrade],
    purchases: Iterable[RecentTrade],
    *,
    lots: Iterable[TaxLot],
    group_of: Mapping[str, str],
    sheltered: Collection[str] = (),
    ties: TieRules = DEFAULT_TIES,
) -> Disallowance:
    """Match losses with replacement purchases of the same group inside the 61-day window.

    Losses come in the order of disposition (same-day ones in the order of acquisition), purchases earliest first.
    Each match takes as many shares as both sides still have; a replacement share is used once; the purchase that
    opened the sold lot replaces nothing of it. The disallowed loss raises the adjusted basis of exactly the matched
    shares: where they are a part of their lot, that part becomes a lot of its own, called
    ``<purchase lot>~W<n>-<execution of the loss sale>``. Its holding period is longer by the days for which the sold
    shares were held; the days between are not counted.

    Args:
        losses: Sales at a loss, lot by lot; others are passed over unchanged.
        purchases: Candidate replacement purchases.
        lots: The account's lots AFTER the sales; a purchased lot that is not among them replaces nothing.
        group_of: Ticker to group; a ticker not in it is its own group.
        sheltered: Purchased lots of sheltered accounts (an IRA). Their purchases disallow a loss for good: no basis
            rises, and it does not matter whether the shares are still held. So it is, for the lots given, with
            purchases that name another account.
        ties: The readings chosen where sources differ.

    Raises:
        AccountingError: A loss without lot or acquisition date, or a purchase without a lot to carry the loss.

    Source: Treas. Reg. 1.1091-1(b)-(e), 1.1091-2(a); 26 U.S.C. 1091(d), 1223(3); Rev. Rul. 56-602 and 2008-5.
    """
    held = {lot.lot_id: lot for lot in lots}
    open_losses = sorted((loss for loss in losses if loss.realized_gain < 0), key=_LOSS_ORDERS[ties.same_day_losses])
    open_purchases = sorted(purchases, key=_PURCHASE_ORDERS[ties.replacement_order])
    # A loss meets the purchases of its own group only; a fleet's account has hundreds of others.
    of_group: dict[str, list[int]] = defaultdict(list)
    for j, purchase in enumerate(open_purchases):
        of_group[group_of_ticker(purchase.ticker, group_of)].append(j)
    matches: list[LossMatch] = []
    settled: list[RecentTrade] = []
    for loss in open_losses:
        current = loss
        for j in of_group.get(group_of_ticker(loss.ticker, group_of), ()):
            purchase = open_purchases[j]
            if current.washed_quantity >= current.quantity:
                break
            if not _replaces(current, purchase, group_of, ties):
                continue
            permanent = purchase.lot_id in sheltered or bool(purchase.account)
            match = _match(current, purchase, held, permanent=permanent, tacking=ties.tacking)
            if match is None:
                continue
            matches.append(match)
            current = after_match(current, match)
            open_purchases[j] = replace(purchase, unreplaced=_left(purchase, match))
        settled.append(current)
    return Disallowance(tuple(matches), tuple(settled), tuple(open_purchases), tuple(held.values()))


def after_match(loss: RecentTrade, match: LossMatch) -> RecentTrade:
    """Return the loss sale with one more match counted as washed."""
    return replace(
        loss,
        washed_quantity=loss.washed_quantity + match.shares,
        disallowed_loss=loss.disallowed_loss + match.disallowed_loss,
        denied_for_good=loss.denied_for_good + (match.disallowed_loss if match.permanent else Decimal(0)),
    )


def _by_execution(trade: RecentTrade) -> tuple[date, str, str, str]:
    execution = trade.execution_id or ""
    return (trade.trade_date, own_name(execution), execution, trade.lot_id or "")


def _latest_first(trade: RecentTrade) -> tuple[int, str, str]:
    day, lot_id, ticker = purchase_order(trade)
    return (-day.toordinal(), lot_id, ticker)


_LOSS_ORDERS: Final[Mapping[SameDayLosses, Callable[[RecentTrade], tuple[Any, ...]]]] = {
    SameDayLosses.BY_ACQUISITION: disposition_order,
    SameDayLosses.BY_EXECUTION: _by_execution,
}
_PURCHASE_ORDERS: Final[Mapping[ReplacementOrder, Callable[[RecentTrade], tuple[Any, ...]]]] = {
    ReplacementOrder.EARLIEST_FIRST: purchase_order,
    ReplacementOrder.LATEST_FIRST: _latest_first,
}


def _replaces(loss: RecentTrade, purchase: RecentTrade, group_of: Mapping[str, str], ties: TieRules) -> bool:
    if not in_wash_window(loss.trade_date, purchase.trade_date):
        return False
    if group_of_ticker(loss.ticker, group_of) != group_of_ticker(purchase.ticker, group_of):
        return False
    own = purchase.lot_id is not None and not purchase.account
    if own and purchase_of(purchase.lot_id) == purchase_of(loss.lot_id):
        return False
    assert loss.acquired_on is not None  # disposition_order has refused it
    if purchase.trade_date == loss.acquired_on:
        return ties.same_day_purchases_replace
    return ties.earlier_purchases_replace or purchase.trade_date > loss.acquired_on


def _left(purchase: RecentTrade, match: LossMatch) -> Decimal:
    """Return the purchase's unreplaced shares after a match.

    A match that takes the lot whole leaves nothing: the purchase's other shares are sold or already replaced others.
    """
    if match.split is None and not match.permanent:
        return Decimal(0)
    unreplaced = purchase.quantity if purchase.unreplaced is None else purchase.unreplaced
    return unreplaced - match.shares


def _match(
    loss: RecentTrade, purchase: RecentTrade, held: dict[str, TaxLot], *, permanent: bool, tacking: Tacking
) -> LossMatch | None:
    """Match one loss with one purchase and put the changed lots into ``held``; None where no shares are left."""
    unreplaced = purchase.quantity if purchase.unreplaced is None else purchase.unreplaced
    available = unreplaced if permanent else replacement_shares(purchase, held)
    shares = min(loss.quantity - loss.washed_quantity, available)
    if shares <= 0:
        return None
    if purchase.lot_id is None and not purchase.account:
        raise AccountingError(
            f"the purchase of {purchase.ticker} on {purchase.trade_date} washes a loss but names no lot of "
            "this account that could carry it."
        )
    # Not below zero: a split rounds the washed shares, and with them what was disallowed so far.
    disallowed = max(washed_part_of_loss(loss, loss.washed_quantity + shares) - loss.disallowed_loss, Decimal(0))
    assert loss.acquired_on is not None  # disposition_order has refused it
    start = loss.holding_period_start or loss.acquired_on
    if permanent:
        name, day = purchase.lot_id or purchase.account, purchase.trade_date
        bought = TaxLot(name, purchase.ticker, day, shares, Decimal(0), Decimal(0), day)
        return LossMatch(loss, name, shares, disallowed, bought, bought, permanent=True)
    assert purchase.lot_id is not None  # refused above
    lot = held[purchase.lot_id]
    part, left = split_lot(lot, shares)
    split = None
    if left is not None:
        part = replace(part, lot_id=_washed_lot_id(lot.lot_id, loss, held))
        held[lot.lot_id] = left
        split = (lot, left)
    after = carry_loss(part, disallowed, _TACKED_START[tacking](part, start, loss.trade_date))
    held[after.lot_id] = after
    return LossMatch(loss, purchase.lot_id, shares, disallowed, part, after, split)


#: Holding-period start of replacement shares, from their lot, the start of the sold shares and the date of the sale.
_TACKED_START: Final[Mapping[Tacking, Callable[[TaxLot, date, date], date]]] = {
    Tacking.DAYS_HELD: lambda lot, start, sold: lot.holding_period_start - (sold - start),
    Tacking.ACQUISITION_DATE: lambda lot, start, sold: min(lot.holding_period_start, start),  # noqa: ARG005 - one signature for the table
}


def _washed_lot_id(lot_id: str, loss: RecentTrade, held: Mapping[str, TaxLot]) -> str:
    origin = own_name(loss.execution_id or f"{loss.lot_id}-{loss.trade_date.isoformat()}")
    number = 1
    while (name := f"{lot_id}{WASHED_MARK}{number}-{origin}") in held:
        number += 1
    return name


def disallow_for_prior_purchases(
    lines: Sequence[LotSale],
    purchases: Iterable[RecentTrade],
    *,
    lots: Iterable[TaxLot],
    sale_date: date,
    group_of: Mapping[str, str],
    rates: TaxRates,
    execution_id: str | None = None,
) -> tuple[tuple[LotSale, ...], Disallowance]:
    """Disallow the part of a sale that purchases ALREADY made wash.

    Args:
        lines: Lines of the day's sales, from ``book_sale``.
        purchases: Purchases of the 30 days before, the sale date included; see ``wash_sales.known_purchases``.
        lots: The account's lots after the sales.
        sale_date: Trade date of the sales.
        group_of: Ticker to group; a ticker not in it is its own group.
        rates: The account's marginal rates, for the tax on what is left of the loss.
        execution_id: Execution of the sale; becomes part of the names of lots split off.

    Returns:
        The lines in the order given, with ``disallowed_loss``, ``washed_quantity``, ``tax`` and
        ``replacement_lot_ids`` filled in, and what matching did.

    Source: Treas. Reg. 1.1091-1(a), (d); see ``match_losses``.
    """
    result = match_losses(loss_trades(lines, sale_date, execution_id), purchases, lots=lots, group_of=group_of)
    by_lot = {loss.lot_id: loss for loss in result.losses}
    replacements: dict[str | None, list[str]] = {}
    for match in result.matches:
        replacements.setdefault(match.loss.lot_id, []).append(match.after.lot_id)
    return tuple(_with_disallowed(line, by_lot, replacements, rates) for line in lines), result


def _with_disallowed(
    line: LotSale,
    by_lot: Mapping[str | None, RecentTrade],
    replacements: Mapping[str | None, list[str]],
    rates: TaxRates,
) -> LotSale:
    if line.lot_id not in replacements:
        return line
    loss = by_lot[line.lot_id]
    return replace(
        line,
        disallowed_loss=loss.disallowed_loss,
        washed_quantity=loss.washed_quantity,
        tax=tax_on(line.realized_gain, loss.disallowed_loss, line.term, rates),
        replacement_lot_ids=tuple(replacements[line.lot_id]),
    )


def wash_earlier_losses(
    purchase: RecentTrade,
    losses: Iterable[RecentTrade],
    *,
    lots: Iterable[TaxLot],
    group_of: Mapping[str, str],
) -> Disallowance:
    """Let a purchase wash the losses of the 30 days before it that are still open.

    A loss stays provisional for 30 days after the sale, across the year end too: this takes back what was allowed.

    Args:
        purchase: The purchase just made; its lot is among ``lots``.
        losses: Recent sales; ``washed_quantity`` tells what other purchases have washed.
        lots: The account's lots after the purchase.
        group_of: Ticker to group; a ticker not in it is its own group.

    Source: Treas. Reg. 1.1091-1(a)-(c); see ``match_losses``.
    """
    return match_losses(losses, (purchase,), lots=lots, group_of=group_of)
