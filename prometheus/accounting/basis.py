"""Taking a lot apart without losing a cent, and adding a disallowed loss to its basis."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from prometheus.domain.lots import TaxLot
from prometheus.domain.money import plain_text, to_cents
from prometheus.foundation.errors import AccountingError, OversoldError


def split_lot(lot: TaxLot, quantity: Decimal) -> tuple[TaxLot, TaxLot | None]:
    """Take ``quantity`` shares out of a lot.

    The part taken gets its share of each basis rounded to cents; what is left keeps the rest, so the two add up to
    the lot exactly. A lot taken whole gives its basis as it stands.

    Args:
        lot: The lot.
        quantity: Shares to take, positive, at most the lot's.

    Returns:
        The part taken and what is left (None where nothing is), both with the lot's identifier and dates.

    Raises:
        AccountingError: The quantity is not positive.
        OversoldError: The quantity exceeds the lot.
    """
    if quantity <= 0:
        raise AccountingError(f"{quantity} shares of lot {lot.lot_id} cannot be taken; the quantity must be positive.")
    if quantity > lot.quantity:
        raise OversoldError(
            f"{quantity} shares of lot {lot.lot_id} ({lot.ticker}) are asked for, it holds {lot.quantity}.",
            details={
                "ticker": lot.ticker,
                "lot_id": lot.lot_id,
                "requested": plain_text(quantity),
                "available": plain_text(lot.quantity),
            },
        )
    if quantity == lot.quantity:
        return lot, None
    cost = to_cents(lot.cost_basis * quantity / lot.quantity)
    adjusted = to_cents(lot.adjusted_basis * quantity / lot.quantity)
    taken = replace(lot, quantity=quantity, cost_basis=cost, adjusted_basis=adjusted)
    left = replace(
        lot,
        quantity=lot.quantity - quantity,
        cost_basis=lot.cost_basis - cost,
        adjusted_basis=lot.adjusted_basis - adjusted,
    )
    return taken, left


def carry_loss(lot: TaxLot, disallowed_loss: Decimal, holding_period_start: date) -> TaxLot:
    """Return the lot with a disallowed loss in its adjusted basis and the holding period the sold shares brought.

    Source: 26 U.S.C. 1091(d) and 1223(3).
    """
    return replace(lot, adjusted_basis=lot.adjusted_basis + disallowed_loss, holding_period_start=holding_period_start)
