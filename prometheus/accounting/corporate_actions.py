"""Corporate actions carried into the books on their ex-date."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import groupby, takewhile
from typing import Final

from prometheus.accounting.cash_in_lieu import ActionTerms, Closes, cash_in_lieu, pay_fraction
from prometheus.accounting.gains import term_of
from prometheus.accounting.journal import lot_change, pooling_transactions
from prometheus.accounting.reorganisations import (
    book_delisting,
    book_named_spin_off,
    book_new_symbols,
    with_symbols_of_the_day,
)
from prometheus.accounting.security_events import LotEvent
from prometheus.accounting.share_counts import scaled_lots, split_ratio
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, Transaction, TransactionType
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import plain_text, to_cents
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError

#: Same-day order of a security's actions: share counts first, because distributions are quoted for a share after the
#: split; then what is carved out of the price; then ordinary income.
_DAY_ORDER: Final = {
    ActionType.SYMBOL_CHANGE: 0,
    ActionType.SPLIT: 1,
    ActionType.SPINOFF_PRICE_FACTOR: 2,
    ActionType.SPINOFF_VALUE: 3,
    ActionType.STOCK_DISTRIBUTION_VALUE: 4,
    ActionType.SPECIAL_DIVIDEND: 5,
    ActionType.DIVIDEND: 6,
    ActionType.SPINOFF: 7,
    ActionType.DELISTING: 8,
}
#: These come after all others of the day, of any security: shares received on a day have no part in its other actions.
_END_OF_DAY: Final = frozenset({ActionType.SPINOFF, ActionType.DELISTING})


def apply_corporate_actions(
    books: Books,
    actions: Iterable[CorporateAction],
    *,
    closes: Closes,
    regime: TaxRegime,
    fractional: bool,
    traded: Collection[str] = (),
) -> tuple[Books, tuple[Transaction, ...]]:
    """Apply corporate actions to the shares held before their ex-date.

    Actions are taken by ex-date. Within a day symbols change first, all at once; then come, by ticker, split, price
    factor, spin-off value, stock distribution, special dividend, dividend; then spin-offs into a named child, then
    delistings. The order in which they arrive does not matter. Lots bought on the ex-date or later are left alone,
    except that they change their symbol. Actions of securities not held change nothing.

    Args:
        books: The account's books before.
        actions: Actions not applied before; telling that is the caller's part.
        closes: Close of ticker and ex-date, base currency a share; needed for splits and spin-offs that leave a
            fraction, and for distributions of value.
        regime: Whose rules apply. For Canada lots are pooled before they change.
        fractional: Whether the account holds fractions of shares (in steps of 0.0001).
        traded: Securities whose trades the wash rules may still need. A split or new symbol of one that is not held any
            more gets a row without a lot, by which ``journal.recent_trades`` converts those trades.

    Returns:
        The books after, and the journal rows in the order in which they were booked.

    Raises:
        AccountingError: A close that is needed is missing or not positive, or a factor or value that makes no sense.

    Source: docs/specs/accounting.md, "Corporate actions".
    """
    ledger = _ActionLedger(books, closes, regime, traded, fractional=fractional)
    by_date = sorted(actions, key=lambda action: action.ex_date)
    for day, of_day in groupby(by_date, key=lambda action: action.ex_date):
        ledger.book_day(day, list(of_day))
    return ledger.books(), tuple(ledger.rows)


def actions_concerning(tickers: Iterable[str], actions: Iterable[CorporateAction]) -> tuple[CorporateAction, ...]:
    """Return the actions of some securities, and of those that spin-offs and new symbols make of them on the way.

    Args:
        tickers: Securities held or traded before the first action.
        actions: Of any security, in any order.

    Returns:
        The actions that concern them, by ex-date, otherwise in the order given.
    """
    known = set(tickers)
    found: list[CorporateAction] = []
    for _, grouped in groupby(sorted(actions, key=lambda action: action.ex_date), key=lambda action: action.ex_date):
        of_day = list(grouped)
        known |= {a.other_ticker for a in of_day if a.action_type is ActionType.SYMBOL_CHANGE and a.ticker in known}
        of_known = [action for action in of_day if action.ticker in known]
        known |= {action.other_ticker for action in of_known if action.other_ticker}
        found += of_known
    return tuple(found)


class _ActionLedger:
    """Lots by security while they change; lives within one call of apply_corporate_actions."""

    def __init__(
        self, books: Books, closes: Closes, regime: TaxRegime, traded: Collection[str], *, fractional: bool
    ) -> None:
        self._lots: dict[str, list[TaxLot]] = {}
        self._place(books.lots)
        self._cash = books.cash
        self._terms = ActionTerms(closes, regime, fractional)
        self._traded = set(traded)
        self.rows: list[Transaction] = []

    def books(self) -> Books:
        return Books(tuple(lot for lots in self._lots.values() for lot in lots), self._cash)

    def book_day(self, day: date, actions: Sequence[CorporateAction]) -> None:
        changes = [action for action in actions if action.action_type is ActionType.SYMBOL_CHANGE]
        new_symbols = {action.ticker: action.other_ticker for action in changes}
        if new_symbols:
            self._change_symbols(day, new_symbols)
        others = [with_symbols_of_the_day(action, new_symbols) for action in actions if action not in changes]
        others.sort(key=_order_in_day)
        moved: dict[str, Decimal] = {}
        for i, action in enumerate(others):
            held = [lot for lot in self._lots.get(action.ticker, []) if lot.acquired_on < action.ex_date]
            if not held:
                self._note_split(action)
            elif action.action_type is ActionType.SPINOFF:
                self._spin_off(action, held, moved)
            else:
                self._book(action, held, _later_value(action, others[i + 1 :]))

    def _book(self, action: CorporateAction, held: Sequence[TaxLot], later: Decimal) -> None:
        since = [lot for lot in self._lots[action.ticker] if lot.acquired_on >= action.ex_date]
        if action.action_type not in _INCOME:
            held = self._pooled(held, action.ex_date)
        event = _BOOKERS[action.action_type](action, held, replace(self._terms, later=later))
        self._lots[action.ticker] = since
        self._place(event.lots)
        self._post(event.rows)

    def _spin_off(self, action: CorporateAction, held: Sequence[TaxLot], moved: dict[str, Decimal]) -> None:
        since = [lot for lot in self._lots[action.ticker] if lot.acquired_on >= action.ex_date]
        held = self._pooled(held, action.ex_date)
        event = book_named_spin_off(
            action,
            held,
            self._lots.get(action.other_ticker, []),
            self._terms,
            moved_before=moved.get(action.ticker, Decimal(0)),
            taken={lot.lot_id for lots in self._lots.values() for lot in lots},
        )
        moved[action.ticker] = moved.get(action.ticker, Decimal(0)) + (action.basis_fraction or 0)
        self._lots[action.ticker], self._lots[action.other_ticker] = since, []
        self._place(event.lots)
        self._post(event.rows)

    def _change_symbols(self, day: date, new_symbols: dict[str, str]) -> None:
        lots = [lot for of_ticker in self._lots.values() for lot in of_ticker]
        event = book_new_symbols(new_symbols, lots, day, self._terms.regime)
        noted = [
            Transaction(TransactionType.SYMBOL_CHANGE, day, ticker, None, details={"former_ticker": former})
            for former, ticker in sorted(new_symbols.items())
            if former in self._traded and not self._lots.get(former)
        ]
        self._traded = {new_symbols.get(ticker, ticker) for ticker in self._traded}
        self._lots = {}
        self._place(event.lots)
        # First, and together: a reader of the journal takes the symbol changes of a day as happening at once.
        self._post([*noted, *event.rows])

    def _note_split(self, action: CorporateAction) -> None:
        if action.ticker in self._traded and _is_split(action):
            details = _split_details(action)
            self._post([Transaction(TransactionType.SPLIT, action.ex_date, action.ticker, None, details=details)])

    def _pooled(self, held: Sequence[TaxLot], day: date) -> Sequence[TaxLot]:
        if self._terms.regime is not TaxRegime.CA:
            return held
        pools, rows = pooling_transactions(held, day)
        self._post(rows)
        return pools

    def _place(self, lots: Iterable[TaxLot]) -> None:
        for lot in lots:
            self._lots.setdefault(lot.ticker, []).append(lot)

    def _post(self, rows: Iterable[Transaction]) -> None:
        for row in rows:
            self._cash += row.amount
            self.rows.append(row)


def _order_in_day(action: CorporateAction) -> tuple[object, ...]:
    late = _DAY_ORDER[action.action_type] if action.action_type in _END_OF_DAY else 0
    return (late, action.ticker, _DAY_ORDER[action.action_type], action.value, action.other_ticker)


def _is_split(action: CorporateAction) -> bool:
    """Return whether share counts change: by a split, or by the consolidation that a factor below one stands for."""
    return action.action_type is ActionType.SPLIT or (
        action.action_type is ActionType.SPINOFF_PRICE_FACTOR and 0 < action.value < 1
    )


def _split_details(action: CorporateAction) -> dict[str, str]:
    ratio = split_ratio(action.value)
    return {
        "action": str(action.action_type),
        "new_shares": str(ratio.numerator),
        "old_shares": str(ratio.denominator),
    }


def _later_value(action: CorporateAction, following: Iterable[CorporateAction]) -> Decimal:
    same_day = takewhile(lambda other: (other.ticker, other.ex_date) == (action.ticker, action.ex_date), following)
    return sum((other.value for other in same_day if other.action_type in _DISTRIBUTIONS), Decimal(0))


def _book_split(action: CorporateAction, held: Sequence[TaxLot], terms: ActionTerms) -> LotEvent:
    """Multiply share counts; bases and dates stay. What is left of a share is paid in cash (rule 13).

    Lots whose shares vanish in rounding are sold for nothing.
    """
    details = _split_details(action)
    event = LotEvent()
    for lot, after in scaled_lots(held, split_ratio(action.value)):
        if after is not None:
            event.lots.append(after)
            event.rows.append(lot_change(TransactionType.SPLIT, action.ex_date, lot, after, details=details))
        else:
            event.rows.append(cash_in_lieu(action, lot, None, lot, Decimal(0), terms))
    pay_fraction(action, action.ticker, event, terms)
    return event


def _book_price_factor(action: CorporateAction, held: Sequence[TaxLot], terms: ActionTerms) -> LotEvent:
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


def _book_distribution(action: CorporateAction, held: Sequence[TaxLot], terms: ActionTerms) -> LotEvent:
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
    event = LotEvent()
    for lot in held:
        after = replace(
            lot,
            cost_basis=lot.cost_basis - to_cents(lot.cost_basis * share),
            adjusted_basis=lot.adjusted_basis - to_cents(lot.adjusted_basis * share),
        )
        received = to_cents(lot.quantity * action.value)
        event.lots.append(after)
        event.rows.append(
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
    return event


def _book_dividend(action: CorporateAction, held: Sequence[TaxLot], terms: ActionTerms) -> LotEvent:  # noqa: ARG001 - one signature for the table
    """Credit cash for the whole position in one line; lots do not change."""
    if action.value < 0:
        raise AccountingError(
            f"{action.action_type} of {action.ticker} on {action.ex_date} has the negative value {action.value}."
        )
    shares = sum((lot.quantity for lot in held), Decimal(0))
    event = LotEvent()
    event.lots.extend(held)
    event.rows.append(
        Transaction(
            _INCOME[action.action_type],
            action.ex_date,
            action.ticker,
            None,
            amount=to_cents(shares * action.value),
            details={"shares": plain_text(shares), "value_per_share": plain_text(action.value)},
        )
    )
    return event


_DISTRIBUTIONS: Final = {
    ActionType.SPINOFF_VALUE: TransactionType.SPINOFF,
    ActionType.STOCK_DISTRIBUTION_VALUE: TransactionType.STOCK_DISTRIBUTION,
}
_INCOME: Final = {
    ActionType.DIVIDEND: TransactionType.DIVIDEND,
    ActionType.SPECIAL_DIVIDEND: TransactionType.SPECIAL_DIVIDEND,
}
_BOOKERS: Final[dict[ActionType, Callable[[CorporateAction, Sequence[TaxLot], ActionTerms], LotEvent]]] = {
    ActionType.SPLIT: _book_split,
    ActionType.SPINOFF_PRICE_FACTOR: _book_price_factor,
    ActionType.SPINOFF_VALUE: _book_distribution,
    ActionType.STOCK_DISTRIBUTION_VALUE: _book_distribution,
    ActionType.SPECIAL_DIVIDEND: _book_dividend,
    ActionType.DIVIDEND: _book_dividend,
    ActionType.DELISTING: book_delisting,
}
