"""Which lots a sale takes: the order of each lot method as a table, and the walk along that order."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from prometheus.accounting.gains import unrealized_tax_per_share
from prometheus.accounting.tie_rules import EqualLots
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import plain_text
from prometheus.foundation.errors import AccountingError, OversoldError


@dataclass(frozen=True, slots=True)
class _SaleTerms:
    price: Decimal
    as_of: date
    rates: TaxRates
    regime: TaxRegime


_SortKey = Callable[[TaxLot, _SaleTerms], tuple[Any, ...]]


def _highest_basis_first(lot: TaxLot, terms: _SaleTerms) -> tuple[Any, ...]:  # noqa: ARG001 - one signature for the table
    return (-lot.adjusted_basis_per_share(), lot.acquired_on, lot.lot_id)


def _least_tax_first(lot: TaxLot, terms: _SaleTerms) -> tuple[Any, ...]:
    tax = unrealized_tax_per_share(lot, price=terms.price, as_of=terms.as_of, rates=terms.rates, regime=terms.regime)
    return (tax, lot.acquired_on, lot.lot_id)


def _earliest_first(lot: TaxLot, terms: _SaleTerms) -> tuple[Any, ...]:  # noqa: ARG001 - one signature for the table
    return (lot.acquired_on, lot.lot_id)


_TIES: Final[dict[EqualLots, Callable[[TaxLot], Decimal]]] = {
    EqualLots.SMALLEST_FIRST: lambda lot: lot.quantity,
    EqualLots.LARGEST_FIRST: lambda lot: -lot.quantity,
}

#: Sort key of each lot method. Every key ends in acquired_on and lot_id, so no order is left to chance.
LOT_ORDERS: Final[dict[LotMethod, _SortKey]] = {
    LotMethod.HIFO: _highest_basis_first,
    LotMethod.LEAST_TAX_FIRST: _least_tax_first,
    LotMethod.FIFO: _earliest_first,
    LotMethod.ACB: _earliest_first,
}


def order_lots(
    lots: Iterable[TaxLot],
    *,
    method: LotMethod,
    rates: TaxRates,
    regime: TaxRegime,
    as_of: date,
    price: Decimal,
    equal_lots: EqualLots = EqualLots.LOT_ID,
) -> tuple[TaxLot, ...]:
    """Return the lots of ONE security in the order in which the method sells them.

    Args:
        lots: Lots of one security, in any order.
        method: HIFO sells the highest adjusted basis per share first; LEAST_TAX_FIRST the least tax per share; FIFO
            the earliest purchase; ACB has a single pool. Ties go to the earlier ``acquired_on``, then the lesser
            ``lot_id``.
        rates: The account's marginal rates; only LEAST_TAX_FIRST looks at them.
        regime: Whose rules apply.
        as_of: Trade date of the sale.
        price: Base currency a share; only LEAST_TAX_FIRST looks at it.
        equal_lots: Which lot is first among those alike in all but name.

    Raises:
        AccountingError: Lots of two securities, or several lots under ACB.

    Source: Treas. Reg. 1.1012-1(c) (FIFO, specific identification); ITA s. 47(1) (ACB).
    """
    found = tuple(lots)
    if len(found) <= 1:
        return found
    tickers = {lot.ticker for lot in found}
    if len(tickers) > 1:
        names = ", ".join(sorted(tickers))
        raise AccountingError(f"lots of {names} cannot be ordered together; give one security's lots.")
    if method is LotMethod.ACB and len(found) > 1:
        raise AccountingError(
            f"{found[0].ticker} has {len(found)} lots, but under ACB a security is one pool; apply pool_lots first."
        )
    key = LOT_ORDERS[method]
    terms = _SaleTerms(price, as_of, rates, regime)
    if equal_lots is EqualLots.LOT_ID:
        return tuple(sorted(found, key=lambda lot: key(lot, terms)))
    tie = _TIES[equal_lots]
    return tuple(sorted(found, key=lambda lot: (*key(lot, terms)[:-1], tie(lot), lot.lot_id)))


def select_lots(
    ordered: Sequence[TaxLot], quantity: Decimal, *, locked: Collection[str] = ()
) -> tuple[tuple[TaxLot, Decimal], ...]:
    """Walk along the order and take shares until ``quantity`` is reached; locked lots are skipped.

    Args:
        ordered: Lots in the order of ``order_lots``.
        quantity: Shares to sell, positive.
        locked: Identifiers of lots that must not be sold.

    Returns:
        Pairs of lot and shares taken from it; the shares add up to ``quantity`` exactly and never exceed a lot.

    Raises:
        AccountingError: The quantity is not positive.
        OversoldError: The unlocked lots hold less than ``quantity``.
    """
    if not quantity > 0:
        raise AccountingError(f"a sale of {quantity} shares cannot be booked; the quantity must be positive.")
    picks: list[tuple[TaxLot, Decimal]] = []
    missing = quantity
    for lot in ordered:
        if lot.lot_id in locked:
            continue
        taken = min(lot.quantity, missing)
        picks.append((lot, taken))
        missing -= taken
        if missing == 0:
            return tuple(picks)
    available = sum((lot.quantity for lot in ordered if lot.lot_id not in locked), Decimal(0))
    held_back = sum((lot.quantity for lot in ordered if lot.lot_id in locked), Decimal(0))
    name = ordered[0].ticker if ordered else "the security"
    raise OversoldError(
        f"{quantity} shares of {name} are to be sold, but the lots that may be sold hold {available}"
        f" ({held_back} more are locked).",
        details={
            "ticker": ordered[0].ticker if ordered else None,
            "requested": plain_text(quantity),
            "available": plain_text(available),
            "locked": plain_text(held_back),
        },
    )
