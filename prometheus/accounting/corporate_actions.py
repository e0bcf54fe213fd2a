"""Corporate actions carried into the books on their ex-date."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from itertools import islice, takewhile
from typing import Final

from prometheus.accounting.basis import split_lot
from prometheus.accounting.gains import term_of
from prometheus.accounting.journal import lot_change, pooling_transactions
from prometheus.accounting.share_counts import scaled_lots, split_ratio
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, Transaction, TransactionType
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import floor_to_step, plain_text, share_step, to_cents
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError

#: Closes by ticker and ex-date, base currency a share after the action.
Closes = Mapping[tuple[str, date], Decimal]

#: Same-day order: share counts first, because distributions are quoted for a share after the split; then what is
#: carved out of the price; then ordinary income.
_DAY_ORDER: Final = {
    ActionType.SPLIT: 0,
    ActionType.SPINOFF_PRICE_FACTOR: 1,
    ActionType.SPINOFF_VALUE: 2,
    ActionType.STOCK_DISTRIBUTION_VALUE: 3,
    ActionType.SPECIAL_DIVIDEND: 4,
    ActionType.DIVIDEND: 5,
}


def apply_corporate_actions(
    books: Books,
    actions: Iterable[CorporateAction],
    *,
    closes: Closes,
    regime: TaxRegime,
    fractional: bool,
) -> tuple[Books, tuple[Transaction, ...]]:
    """Apply corporate actions to the shares held before their ex-date.

    Actions are taken by ex-date, then ticker, then type in this order: split, price factor, spin-off value, stock
    distribution, special dividend, dividend, then value; the order in which they arrive does not matter. Lots bought on
    the ex-date or later are left alone. Actions of securities not held change nothing.

    Args:
        books: The account's books before.
        actions: Actions not applied before; telling that is the caller's part.
        closes: Close of ticker and ex-date, base currency a share; needed for splits that leave a fraction and for
            distributions of value.
        regime: Whose rules apply. For Canada lots are pooled before they change.
        fractional: Whether the account holds fractions of shares (in steps of 0.0001).

    Returns:
        The books after, and the journal rows in the order in which they were booked.

    Raises:
        AccountingError: A close that is needed is missing or not positive, or a factor or value that makes no sense.

    Source: docs/specs/accounting.md, "Corporate actions".
    """
    by_ticker: dict[str, list[TaxLot]] = {}
    for lot in books.lots:
        by_ticker.setdefault(lot.ticker, []).append(lot)
    cash = books.cash
    rows: list[Transaction] = []
    ordered = sorted(actions, key=lambda a: (a.ex_date, a.ticker, _DAY_ORDER[a.action_type], a.value))
    for i, action in enumerate(ordered):
        lots = by_ticker.get(action.ticker, [])
        held = tuple(lot for lot in lots if lot.acquired_on < action.ex_date)
        if not held:
            continue
        bought_since = [lot for lot in lots if lot.acquired_on >= action.ex_date]
        if regime is TaxRegime.CA and action.action_type not in _INCOME:
            held, pooling = pooling_transactions(held, action.ex_date)
            rows.extend(pooling)
        terms = _Terms(closes, regime, fractional, _later_value(action, islice(ordered, i + 1, None)))
        booked = _BOOKERS[action.action_type](action, held, terms)
        by_ticker[action.ticker] = [*booked.lots, *bought_since]
        cash += sum((row.amount for row in booked.rows), Decimal(0))
        rows.extend(booked.rows)
    return Books(tuple(lot for lots in by_ticker.values() for lot in lots), cash), tuple(rows)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a booking needs to know beside the action and the lots.

    ``later`` is what other actions of the day carve out of the price after this one, base currency a share.
    """

    closes: Closes
    regime: TaxRegime
    fractional: bool
    later: Decimal

    def close(self, action: CorporateAction) -> Decimal:
        close = self.closes.get((action.ticker, action.ex_date))
        if close is None or close <= 0:
            raise AccountingError(
                f"{action.action_type} of {action.ticker} on {action.ex_date} needs that day's close, which is "
                f"{'missing' if close is None else close}; load the price first.",
                details={"ticker": action.ticker, "ex_date": action.ex_date.isoformat()},
            )
        return close


@dataclass(slots=True)
class _Booked:
    """What a booking did: the lots after it and its journal rows."""

    lots: list[TaxLot] = field(default_factory=list)
    rows: list[Transaction] = field(default_factory=list)


def _later_value(action: CorporateAction, following: Iterable[CorporateAction]) -> Decimal:
    same_day = takewhile(lambda other: (other.ticker, other.ex_date) == (action.ticker, action.ex_date), following)
    return sum((other.value for other in same_day if other.action_type in _DISTRIBUTIONS), Decimal(0))


def _book_split(action: CorporateAction, held: tuple[TaxLot, ...], terms: _Terms) -> _Booked:
    """Multiply share counts; bases and dates stay. What is left of a share is paid in cash (rule 13).

    Lots whose shares vanish in rounding are sold for nothing.
    """
    ratio = split_ratio(action.value)
    details = {
        "action": str(action.action_type),
        "new_shares": str(ratio.numerator),
        "old_shares": str(ratio.denominator),
    }
    booked = _Booked()
    for lot, after in scaled_lots(held, ratio):
        if after is not None:
            booked.lots.append(after)
            booked.rows.append(lot_change(TransactionType.SPLIT, action.ex_date, lot, after, details=details))
        else:
            booked.rows.append(_cash_in_lieu(action, lot, None, lot, Decimal(0), terms))
    placed = sum((lot.quantity for lot in booked.lots), Decimal(0))
    fraction = placed - floor_to_step(placed, share_step(fractional=terms.fractional))
    _pay_fraction(action, booked, fraction, terms)
    return booked


def _pay_fraction(action: CorporateAction, booked: _Booked, fraction: Decimal, terms: _Terms) -> None:
    """Sell the fraction at the close, out of the earliest lots: nobody has identified others."""
    while fraction > 0:
        lot = min(booked.lots, key=lambda lot: (lot.acquired_on, lot.lot_id))
        taken, left = split_lot(lot, min(fraction, lot.quantity))
        fraction -= taken.quantity
        booked.lots.remove(lot)
        if left is not None:
            booked.lots.append(left)
        proceeds = to_cents(taken.quantity * terms.close(action))
        booked.rows.append(_cash_in_lieu(action, lot, left, taken, proceeds, terms))


def _cash_in_lieu(
    action: CorporateAction,
    before: TaxLot,
    after: TaxLot | None,
    taken: TaxLot,
    proceeds: Decimal,
    terms: _Terms,
) -> Transaction:
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


def _book_price_factor(action: CorporateAction, held: tuple[TaxLot, ...], terms: _Terms) -> _Booked:
    """Book a price factor: above one a spin-off worth close * (factor - 1) a share, below one a consolidation.

    A day's total return is factor * close / previous close, so a factor above one says that the holder received
    close * (factor - 1) beside the share he kept. A factor below one cannot be a distribution (its value would be
    negative); it is a consolidation of shares and is booked as a split by that factor.
    """
    if action.value <= 0:
        raise AccountingError(
            f"the price factor {action.value} of {action.ticker} on {action.ex_date} is not positive."
        )
    if action.value < 1:
        return _book_split(action, held, terms)
    return _book_distribution(replace(action, value=terms.close(action) * (action.value - 1)), held, terms)


def _book_distribution(action: CorporateAction, held: tuple[TaxLot, ...], terms: _Terms) -> _Booked:
    """Book shares of another company as received and sold at once for their value.

    They take value / (value + close) of each lot's basis with them, and the lot's holding period (26 U.S.C. 355, 358,
    1223(1)); cash comes in, the gain or loss is the difference, and the lot keeps its shares and dates.
    """
    if action.value < 0:
        raise AccountingError(
            f"{action.action_type} of {action.ticker} on {action.ex_date} has the negative value {action.value}."
        )
    share = action.value / (action.value + terms.later + terms.close(action))
    txn_type = _DISTRIBUTIONS.get(action.action_type, TransactionType.SPINOFF)
    booked = _Booked()
    for lot in held:
        after = replace(
            lot,
            cost_basis=lot.cost_basis - to_cents(lot.cost_basis * share),
            adjusted_basis=lot.adjusted_basis - to_cents(lot.adjusted_basis * share),
        )
        received = to_cents(lot.quantity * action.value)
        booked.lots.append(after)
        booked.rows.append(
            lot_change(
                txn_type,
                action.ex_date,
                lot,
                after,
                amount=received,
                realized_gain=received - (lot.adjusted_basis - after.adjusted_basis),
                term=term_of(lot.holding_period_start, action.ex_date, terms.regime),
                details={"action": str(action.action_type), "value_per_share": plain_text(action.value)},
            )
        )
    return booked


def _book_dividend(action: CorporateAction, held: tuple[TaxLot, ...], terms: _Terms) -> _Booked:  # noqa: ARG001
    """Credit cash for the whole position in one line; lots do not change."""
    if action.value < 0:
        raise AccountingError(
            f"{action.action_type} of {action.ticker} on {action.ex_date} has the negative value {action.value}."
        )
    shares = sum((lot.quantity for lot in held), Decimal(0))
    booked = _Booked()
    booked.lots.extend(held)
    booked.rows.append(
        Transaction(
            _INCOME[action.action_type],
            action.ex_date,
            action.ticker,
            None,
            amount=to_cents(shares * action.value),
            details={"shares": plain_text(shares), "value_per_share": plain_text(action.value)},
        )
    )
    return booked


_DISTRIBUTIONS: Final = {
    ActionType.SPINOFF_VALUE: TransactionType.SPINOFF,
    ActionType.STOCK_DISTRIBUTION_VALUE: TransactionType.STOCK_DISTRIBUTION,
}
_INCOME: Final = {
    ActionType.DIVIDEND: TransactionType.DIVIDEND,
    ActionType.SPECIAL_DIVIDEND: TransactionType.SPECIAL_DIVIDEND,
}
_BOOKERS: Final[dict[ActionType, Callable[[CorporateAction, tuple[TaxLot, ...], _Terms], _Booked]]] = {
    ActionType.SPLIT: _book_split,
    ActionType.SPINOFF_PRICE_FACTOR: _book_price_factor,
    ActionType.SPINOFF_VALUE: _book_distribution,
    ActionType.STOCK_DISTRIBUTION_VALUE: _book_distribution,
    ActionType.SPECIAL_DIVIDEND: _book_dividend,
    ActionType.DIVIDEND: _book_dividend,
}
