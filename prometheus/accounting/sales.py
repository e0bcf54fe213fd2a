"""Booking a sale: one ledger line for each lot, and the lots that are left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from prometheus.accounting.basis import split_lot
from prometheus.accounting.gains import tax_rate_of, term_of
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.lots import LotSale, TaxLot, Term
from prometheus.domain.money import allocate_cents, plain_text, to_cents
from prometheus.foundation.errors import AccountingError, OversoldError

Selection = Sequence[tuple[TaxLot, Decimal]]


@dataclass(frozen=True, slots=True)
class SaleBooking:
    """A sale taken apart by lots.

    Attributes:
        lines: One line for each lot sold, in the order of the selection.
        remaining: Every lot given that still holds shares, in the order given.
    """

    lines: tuple[LotSale, ...]
    remaining: tuple[TaxLot, ...]

    @property
    def quantity(self) -> Decimal:
        """Return the shares sold."""
        return sum((line.quantity for line in self.lines), Decimal(0))

    @property
    def proceeds(self) -> Decimal:
        """Return what the sale pays after commission, base currency."""
        return sum((line.proceeds for line in self.lines), Decimal(0))

    @property
    def basis(self) -> Decimal:
        """Return the adjusted basis of the shares sold, base currency."""
        return sum((line.basis for line in self.lines), Decimal(0))

    @property
    def disallowed_loss(self) -> Decimal:
        """Return the loss that purchases already made wash, non-negative."""
        return sum((line.disallowed_loss for line in self.lines), Decimal(0))

    @property
    def tax(self) -> Decimal:
        """Return the tax of the sale at the account's marginal rates; negative for usable losses."""
        return sum((line.tax for line in self.lines), Decimal(0))

    def realized_gain(self, term: Term | None = None) -> Decimal:
        """Return the realised gain, of one term where given, before wash sales; negative for a loss."""
        return sum((line.realized_gain for line in self.lines if term in {None, line.term}), Decimal(0))


def tax_on(realized_gain: Decimal, disallowed_loss: Decimal, term: Term, rates: TaxRates) -> Decimal:
    """Return the tax on one line in cents: the rate times the gain that counts."""
    return to_cents(tax_rate_of(term, rates) * (realized_gain + disallowed_loss))


def book_sale(
    lots: Iterable[TaxLot],
    selection: Selection,
    *,
    price: Decimal,
    sale_date: date,
    rates: TaxRates,
    regime: TaxRegime,
    fee: Decimal = Decimal(0),
) -> SaleBooking:
    """Book the sale of the selected shares; every line is rounded to cents, halves to even.

    Args:
        lots: All lots the selection was made from; lots not selected pass through.
        selection: Pairs of lot and shares, as ``select_lots`` returns them; each lot at most once.
        price: Base currency a share, non-negative.
        sale_date: Trade date.
        rates: The account's marginal rates.
        regime: Whose rules apply.
        fee: Commission, cents, non-negative; shared among the lines by shares and taken off their proceeds.

    Raises:
        AccountingError: A negative price or fee, a lot that is selected twice, or a sale before the lot was bought.
        OversoldError: More shares than the lot holds, or a lot that is not among ``lots``.
    """
    if price < 0 or fee < 0:
        raise AccountingError(f"a sale at price {price} with fee {fee} cannot be booked; neither may be negative.")
    held = {lot.lot_id: lot for lot in lots}
    lines: list[LotSale] = []
    fees = allocate_cents(fee, [quantity for _, quantity in selection])
    touched: set[str] = set()
    for (chosen, quantity), line_fee in zip(selection, fees, strict=True):
        lot = held.get(chosen.lot_id)
        if lot is None and chosen.lot_id not in touched:
            raise OversoldError(
                f"lot {chosen.lot_id} ({chosen.ticker}) is not held, {quantity} shares of it cannot be sold.",
                details={
                    "lot_id": chosen.lot_id,
                    "ticker": chosen.ticker,
                    "requested": plain_text(quantity),
                    "available": "0",
                },
            )
        if lot is None or chosen.lot_id in touched:
            raise AccountingError(f"lot {chosen.lot_id} is selected twice in one sale; merge the two picks.")
        if sale_date < lot.acquired_on:
            raise AccountingError(
                f"lot {lot.lot_id} ({lot.ticker}) was bought on {lot.acquired_on} and cannot be sold on {sale_date}."
            )
        touched.add(lot.lot_id)
        taken, left = split_lot(lot, quantity)
        if left is None:
            del held[lot.lot_id]
        else:
            held[lot.lot_id] = left
        lines.append(_line(taken, price, line_fee, sale_date, rates, regime))
    return SaleBooking(tuple(lines), tuple(held.values()))


def _line(taken: TaxLot, price: Decimal, fee: Decimal, sale_date: date, rates: TaxRates, regime: TaxRegime) -> LotSale:
    proceeds = to_cents(taken.quantity * price) - fee
    gain = proceeds - taken.adjusted_basis
    term = term_of(taken.holding_period_start, sale_date, regime)
    return LotSale(
        lot_id=taken.lot_id,
        ticker=taken.ticker,
        acquired_on=taken.acquired_on,
        quantity=taken.quantity,
        proceeds=proceeds,
        basis=taken.adjusted_basis,
        realized_gain=gain,
        term=term,
        tax=tax_on(gain, Decimal(0), term, rates),
        fee=fee,
        holding_period_start=taken.holding_period_start,
    )
