"""What happens to lots without a trade: splits, spin-offs into a child, new symbols, fractions paid in cash."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from prometheus.accounting.basis import split_lot
from prometheus.accounting.gains import term_of
from prometheus.accounting.journal import lot_change
from prometheus.accounting.share_counts import scaled_lots
from prometheus.accounting.wash_sales import CHILD_MARK
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import ONE_SHARE, allocate_cents, floor_to_step, to_cents
from prometheus.foundation.errors import AccountingError


@dataclass(slots=True)
class LotEvent:
    """What an event did: the lots it leaves (those of a child among them) and its journal rows, in order."""

    lots: list[TaxLot] = field(default_factory=list)
    rows: list[Transaction] = field(default_factory=list)


def split_event(lots: Iterable[TaxLot], ratio: Fraction, on: date) -> LotEvent:
    """Multiply share counts; total bases and dates stay (rule 13).

    Args:
        lots: One account's lots of one security bought before ``on``.
        ratio: New shares for one old, positive.
        on: Ex-date.

    Raises:
        AccountingError: A lot has so few shares that rounding to 0.0001 leaves none.

    Source: 26 U.S.C. 305(a), 307(a); Treas. Reg. 1.307-1.
    """
    details = {"new_shares": str(ratio.numerator), "old_shares": str(ratio.denominator)}
    event = LotEvent()
    for before, after in scaled_lots(lots, ratio):
        if after is None:
            raise AccountingError(
                f"a split of {ratio} leaves nothing of the {before.quantity} shares of lot {before.lot_id}; sell them.",
                details={"lot_id": before.lot_id},
            )
        event.lots.append(after)
        event.rows.append(lot_change(TransactionType.SPLIT, on, before, after, details=details))
    return event


def spin_off_event(
    lots: Iterable[TaxLot],
    *,
    child: str,
    ratio: Fraction,
    basis_fraction: Decimal,
    on: date,
    taken: Container[str] = (),
) -> LotEvent:
    """Give shares of a child company out of each lot, with a part of its basis and all of its holding period.

    The child's lots keep the parent lots' dates. A lot too small for 0.0001 share of the child keeps its whole basis.

    Args:
        lots: One account's lots of the parent bought before ``on``.
        child: The child's ticker.
        ratio: Shares of the child for one of the parent, positive.
        basis_fraction: Part of each basis that moves, above 0 and below 1; companies state it on Form 8937.
        on: Ex-date.
        taken: Lot identifiers in use; a second spin-off of the same child makes lots of its own.

    Source: 26 U.S.C. 355, 358(a)-(c), 1223(1); Treas. Reg. 1.358-2.
    """
    details = {"child": child, "basis_fraction": str(basis_fraction)}
    event = LotEvent()
    for before, scaled in scaled_lots(lots, ratio):
        if scaled is None:
            event.lots.append(before)
            continue
        cost, adjusted = (to_cents(basis * basis_fraction) for basis in (before.cost_basis, before.adjusted_basis))
        parent = replace(before, cost_basis=before.cost_basis - cost, adjusted_basis=before.adjusted_basis - adjusted)
        name, number = f"{before.lot_id}{CHILD_MARK}-{child}", 1
        while name in taken:
            number += 1
            name = f"{before.lot_id}{CHILD_MARK}{number}-{child}"
        born = replace(scaled, lot_id=name, ticker=child, cost_basis=cost, adjusted_basis=adjusted)
        event.lots += [parent, born]
        event.rows.append(lot_change(TransactionType.SPINOFF, on, before, parent, details=details))
        event.rows.append(lot_change(TransactionType.SPINOFF, on, None, born, details={"parent": before.ticker}))
    return event


def rename_event(lots: Iterable[TaxLot], ticker: str, on: date) -> LotEvent:
    """Give lots a new ticker; nothing else changes."""
    event = LotEvent()
    for before in lots:
        after = replace(before, ticker=ticker)
        details = {"former_ticker": before.ticker}
        event.lots.append(after)
        event.rows.append(lot_change(TransactionType.SYMBOL_CHANGE, on, before, after, details=details))
    return event


def sale_lines(
    selection: Sequence[tuple[TaxLot, Decimal]],
    proceeds: Decimal,
    *,
    on: date,
    regime: TaxRegime,
    txn_type: TransactionType = TransactionType.SELL,
    details: Mapping[str, Any],
) -> LotEvent:
    """Sell shares of lots for a total, which is shared out by shares so that the lines add up to it.

    Args:
        selection: Pairs of lot and shares, each lot once.
        proceeds: What the whole sale paid after commission, cents.
        on: Trade date.
        regime: Whose rules apply.
        txn_type: Kind of disposition.
        details: Kept in every row.

    Returns:
        What is left of the lots, and a row for each lot sold.
    """
    event = LotEvent()
    parts = allocate_cents(proceeds, [quantity for _, quantity in selection])
    for (lot, quantity), amount in zip(selection, parts, strict=True):
        taken, left = split_lot(lot, quantity)
        if left is not None:
            event.lots.append(left)
        kept = {
            **details,
            "sold_acquired_on": lot.acquired_on.isoformat(),
            "sold_holding_period_start": lot.holding_period_start.isoformat(),
        }
        event.rows.append(
            lot_change(
                txn_type,
                on,
                lot,
                left,
                amount=amount,
                realized_gain=amount - taken.adjusted_basis,
                term=term_of(lot.holding_period_start, on, regime),
                details=kept,
            )
        )
    return event


def fraction_of(lots: Iterable[TaxLot]) -> tuple[tuple[TaxLot, Decimal], ...]:
    """Return which lots give up the position's fraction of a share: the earliest, as nobody has identified others."""
    ordered = sorted(lots, key=lambda lot: (lot.acquired_on, lot.lot_id))
    position = sum((lot.quantity for lot in ordered), Decimal(0))
    missing = position - floor_to_step(position, ONE_SHARE)
    picks = []
    for lot in ordered:
        if missing <= 0:
            break
        picks.append((lot, min(missing, lot.quantity)))
        missing -= picks[-1][1]
    return tuple(picks)
