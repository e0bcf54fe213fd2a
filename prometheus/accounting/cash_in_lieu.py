"""Fractions of a share that an account cannot hold, sold at the ex-date's close (rule 13: cash in lieu is a sale)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from prometheus.accounting.basis import split_lot
from prometheus.accounting.gains import term_of
from prometheus.accounting.journal import lot_change
from prometheus.accounting.security_events import LotEvent
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Transaction, TransactionType
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import floor_to_step, share_step, to_cents
from prometheus.domain.securities import CorporateAction
from prometheus.foundation.errors import AccountingError

#: Closes by ticker and ex-date, base currency a share after the action.
Closes = Mapping[tuple[str, date], Decimal]


@dataclass(frozen=True, slots=True)
class ActionTerms:
    """What booking an action needs to know beside the action and the lots.

    Attributes:
        closes: Close of ticker and ex-date.
        regime: Whose rules apply.
        fractional: Whether the account holds fractions of shares.
        later: What other actions of the day carve out of the price after this one, base currency a share.
    """

    closes: Closes
    regime: TaxRegime
    fractional: bool
    later: Decimal = Decimal(0)

    def close(self, action: CorporateAction, ticker: str | None = None) -> Decimal:
        """Return the close of the action's day, of its own security or of another one.

        Raises:
            AccountingError: It is missing or not positive.
        """
        name = ticker or action.ticker
        close = self.closes.get((name, action.ex_date))
        if close is None or close <= 0:
            raise AccountingError(
                f"{action.action_type} of {action.ticker} on {action.ex_date} needs that day's {name} close, which is "
                f"{'missing' if close is None else close}; load the price first.",
                details={"ticker": name, "ex_date": action.ex_date.isoformat()},
            )
        return close


def pay_fraction(action: CorporateAction, ticker: str, event: LotEvent, terms: ActionTerms) -> None:
    """Sell the fraction of a position at the close, out of the earliest lots: nobody has identified others.

    Args:
        action: The action that left the fraction.
        ticker: The security of which there is one.
        event: Its lots are replaced and its rows appended to; every lot of the security is among them.
        terms: Closes, and whether the account holds fractions at all.
    """
    position = sum((lot.quantity for lot in event.lots if lot.ticker == ticker), Decimal(0))
    fraction = position - floor_to_step(position, share_step(fractional=terms.fractional))
    while fraction > 0:
        of_ticker = (lot for lot in event.lots if lot.ticker == ticker)
        lot = min(of_ticker, key=lambda lot: (lot.acquired_on, lot.lot_id))
        taken, left = split_lot(lot, min(fraction, lot.quantity))
        fraction -= taken.quantity
        event.lots.remove(lot)
        if left is not None:
            event.lots.append(left)
        proceeds = to_cents(taken.quantity * terms.close(action, ticker))
        event.rows.append(cash_in_lieu(action, lot, left, taken, proceeds, terms))


def cash_in_lieu(
    action: CorporateAction,
    before: TaxLot,
    after: TaxLot | None,
    taken: TaxLot,
    proceeds: Decimal,
    terms: ActionTerms,
) -> Transaction:
    """Return the row of a fraction ``taken`` out of the lot ``before`` and paid in cash."""
    return lot_change(
        TransactionType.CASH_IN_LIEU,
        action.ex_date,
        before,
        after,
        amount=proceeds,
        realized_gain=proceeds - taken.adjusted_basis,
        term=term_of(taken.holding_period_start, action.ex_date, terms.regime),
        details={
            "action": str(action.action_type),
            "sold_acquired_on": taken.acquired_on.isoformat(),
            "sold_holding_period_start": taken.holding_period_start.isoformat(),
        },
    )
