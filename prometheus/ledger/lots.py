"""Lots taken apart without losing a cent, sums shared out, and holding periods."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

from prometheus.domain.lots import Term
from prometheus.domain.money import allocate_cents, to_cents
from prometheus.ledger.keys import LotKey
from prometheus.ledger.state import Lot

#: Marks the part of a lot that served as replacement shares.
WASHED_MARK: Final = "~W"
#: Marks the part of a lot that was transferred to another account.
TRANSFERRED_MARK: Final = "~T"
#: Marks the shares of another company that a spin-off made of a lot.
CHILD_MARK: Final = "~S"
#: Marks the shares of another company that a taxed merger made of a lot.
MERGED_MARK: Final = "~M"
_MARKS: Final = (WASHED_MARK, TRANSFERRED_MARK, CHILD_MARK, MERGED_MARK)

_ONE_DAY: Final = timedelta(days=1)


def is_part(lot_id: str) -> bool:
    """Return whether a lot's name is one that the ledger makes, which no purchase may have."""
    return any(mark in lot_id for mark in _MARKS)


def purchased_lot_id(lot_id: str) -> str:
    """Return the name of the lot that a purchase opened, given that lot or a part that the ledger split off it."""
    if "~" in lot_id:  # every mark begins with it
        for mark in _MARKS:
            lot_id = lot_id.partition(mark)[0]
    return lot_id


def take_shares(lot: Lot, quantity: Decimal) -> tuple[Lot, Lot | None]:
    """Take shares out of a lot, with their part of each basis rounded to cents.

    What is left keeps the rest, so that the two add up to the lot exactly. A lot taken whole gives its basis as it is.

    Args:
        lot: The lot.
        quantity: Shares, positive, at most the lot's.

    Returns:
        The part taken and what is left (None where nothing is), both with the lot's key and dates.
    """
    if quantity == lot.quantity:
        return lot, None
    left = without_shares(lot, quantity)
    return _part(lot, quantity, lot.cost_basis - left.cost_basis, lot.adjusted_basis - left.adjusted_basis), left


def split_lot(lot: Lot, quantity: Decimal, cost: Decimal, adjusted: Decimal) -> tuple[Lot, Lot]:
    """Take shares with a given part of each basis out of a lot that has more; return the part and what is left."""
    return _part(lot, quantity, cost, adjusted), _rest(lot, quantity, cost, adjusted)


def added(lot: Lot, other: Lot) -> Lot:
    """Return a lot with the shares and bases of another one; key and dates stay. Both have exact share counts."""
    return Lot(
        lot.key,
        lot.origin,
        lot.root_id,
        lot.ticker,
        lot.acquired_on,
        lot.quantity + other.quantity,
        lot.cost_basis + other.cost_basis,
        lot.adjusted_basis + other.adjusted_basis,
        lot.holding_period_start,
    )


def under_key(lot: Lot, key: LotKey) -> Lot:
    """Return a lot under another key."""
    return Lot(
        key,
        lot.origin,
        lot.root_id,
        lot.ticker,
        lot.acquired_on,
        lot.quantity,
        lot.cost_basis,
        lot.adjusted_basis,
        lot.holding_period_start,
        lot.exact,
        lot.is_unseen,
    )


def is_like(lot: Lot, other: Lot) -> bool:
    """Return whether two lots of one purchase and start have equal bases a share, to the cent.

    They have where the one taken out of their sum gets its own bases back, so that making them one changes nothing.
    What the broker of the account does not see is kept apart.
    """
    if lot.exact is not None or other.exact is not None or lot.is_unseen or other.is_unseen:
        return False
    both = lot.quantity + other.quantity
    return all(
        to_cents((mine + others) * lot.quantity / both) == mine
        for mine, others in ((lot.adjusted_basis, other.adjusted_basis), (lot.cost_basis, other.cost_basis))
    )


def without_shares(lot: Lot, quantity: Decimal) -> Lot:
    """Return what is left of a lot when some of its shares are taken out; see ``take_shares``."""
    whole = lot.quantity
    cost = to_cents(lot.cost_basis * quantity / whole)
    adjusted = cost if lot.adjusted_basis == lot.cost_basis else to_cents(lot.adjusted_basis * quantity / whole)
    return _rest(lot, quantity, cost, adjusted)


def _part(lot: Lot, quantity: Decimal, cost: Decimal, adjusted: Decimal) -> Lot:
    return Lot(
        lot.key,
        lot.origin,
        lot.root_id,
        lot.ticker,
        lot.acquired_on,
        quantity,
        cost,
        adjusted,
        lot.holding_period_start,
        is_unseen=lot.is_unseen,
    )


def _rest(lot: Lot, quantity: Decimal, cost: Decimal, adjusted: Decimal) -> Lot:
    return Lot(
        lot.key,
        lot.origin,
        lot.root_id,
        lot.ticker,
        lot.acquired_on,
        lot.quantity - quantity,
        lot.cost_basis - cost,
        lot.adjusted_basis - adjusted,
        lot.holding_period_start,
        None if lot.exact is None else lot.exact - Fraction(quantity),
        lot.is_unseen,
    )


def shared_out(amount: Decimal, quantities: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Share an amount of money out by shares, in cents, so that the parts add up to it exactly."""
    if len(quantities) == 1:
        return (amount,)
    return allocate_cents(amount, quantities)


@lru_cache(maxsize=65_536)
def long_term_from(holding_period_start: date) -> date:
    """Return the first date on which a sale is long-term.

    The day of acquisition is excluded and the day of sale included; long-term is MORE than one year. The first day
    counted is the day after acquisition, and its anniversary is the first day past one year. A first day counted of 29
    February has its anniversary on 1 March.

    Source: 26 U.S.C. 1222(3); Rev. Rul. 66-7 and 70-598.
    """
    first_day = holding_period_start + _ONE_DAY
    if (first_day.month, first_day.day) == (2, 29):
        return date(first_day.year + 1, 3, 1)
    return first_day.replace(year=first_day.year + 1)


def term_of(holding_period_start: date, sale_date: date) -> Term:
    """Return whether a US sale is short-term or long-term.

    Args:
        holding_period_start: Of the lot sold.
        sale_date: Trade date of the sale.
    """
    return Term.LONG if sale_date >= long_term_from(holding_period_start) else Term.SHORT
