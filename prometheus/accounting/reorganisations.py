"""Corporate actions that name another security or end one: spin-offs into a child, new symbols, delistings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from prometheus.accounting.acb import pool_id, pool_lots
from prometheus.accounting.cash_in_lieu import ActionTerms, pay_fraction
from prometheus.accounting.journal import lot_change, pooling_transactions
from prometheus.accounting.security_events import LotEvent, rename_event, sale_lines, spin_off_event
from prometheus.accounting.share_counts import split_ratio
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import TransactionType
from prometheus.domain.lots import TaxLot
from prometheus.domain.money import plain_text, to_cents
from prometheus.domain.securities import CorporateAction
from prometheus.foundation.errors import AccountingError


def book_named_spin_off(
    action: CorporateAction,
    held: Sequence[TaxLot],
    child_held: Sequence[TaxLot],
    terms: ActionTerms,
    *,
    moved_before: Decimal = Decimal(0),
    taken: Collection[str] = (),
) -> LotEvent:
    """Give shares of a named child out of the parent's lots, with basis and holding period; fractions are paid.

    Args:
        action: A SPINOFF.
        held: The parent's lots bought before the ex-date; the pool for Canada.
        child_held: Lots of the child that the account has already.
        terms: Regime, fractions, and the child's close where a fraction has to be paid.
        moved_before: Part of the parent's basis before the day that its other spin-offs of the day have taken.
        taken: Lot identifiers in use.

    Returns:
        The lots of both securities, and the rows.

    Raises:
        AccountingError: Child or basis fraction is missing, the day's fractions leave the parent nothing, or the close
            is missing.

    Source: 26 U.S.C. 355, 358(a)-(c), 1223(1); Treas. Reg. 1.358-2; for Canada ITA s. 86.1.
    """
    fraction = action.basis_fraction
    if not action.other_ticker or fraction is None or not 0 < fraction < 1 - moved_before:
        raise AccountingError(
            f"the spin-off of {action.ticker} on {action.ex_date} needs the child's ticker and the part of the basis "
            f"that goes with it, between 0 and {1 - moved_before}; it names '{action.other_ticker}' and {fraction}."
        )
    event = spin_off_event(
        held,
        child=action.other_ticker,
        ratio=split_ratio(action.value),
        basis_fraction=fraction / (1 - moved_before),
        on=action.ex_date,
        taken=taken,
    )
    if terms.regime is TaxRegime.CA:
        children = [lot for lot in event.lots if lot.ticker == action.other_ticker]
        pools, rows = pooling_transactions((*child_held, *children), action.ex_date)
        event = LotEvent([*(lot for lot in event.lots if lot not in children), *pools], [*event.rows, *rows])
    else:
        event.lots.extend(child_held)
    pay_fraction(action, action.other_ticker, event, terms)
    return event


def book_new_symbols(new_symbols: Mapping[str, str], lots: Sequence[TaxLot], on: date, regime: TaxRegime) -> LotEvent:
    """Give every lot its new symbol; all changes of a day happen at once, so two securities may swap theirs.

    In Canada a pool is called after its security, so it is closed under the old name and opened under the new one.

    Args:
        new_symbols: Former to new ticker.
        lots: All lots of the account.
        on: The day.
        regime: Whose rules apply.

    Returns:
        All lots of the account, and the rows of those that changed.
    """
    event = LotEvent([lot for lot in lots if lot.ticker not in new_symbols])
    renamed: list[TaxLot] = []
    for former, ticker in sorted(new_symbols.items()):
        found = rename_event((lot for lot in lots if lot.ticker == former), ticker, on)
        renamed += found.lots
        event.rows += found.rows
    if regime is not TaxRegime.CA:
        event.lots += renamed
        return event
    event.rows += [lot_change(TransactionType.POOL, on, lot, None) for lot in renamed]
    for ticker in sorted({lot.ticker for lot in renamed}):
        of_ticker = [lot for lot in event.lots if lot.ticker == ticker]
        before = next((lot for lot in of_ticker if lot.lot_id == pool_id(ticker)), None)
        (pooled,) = pool_lots((*of_ticker, *(lot for lot in renamed if lot.ticker == ticker)))
        event.rows += [lot_change(TransactionType.POOL, on, lot, None) for lot in of_ticker if lot is not before]
        event.rows.append(lot_change(TransactionType.POOL, on, before, pooled))
        event.lots = [*(lot for lot in event.lots if lot.ticker != ticker), pooled]
    return event


def book_delisting(action: CorporateAction, held: Sequence[TaxLot], terms: ActionTerms) -> LotEvent:
    """Dispose of every share for the value a share that is paid, which may be nothing.

    Raises:
        AccountingError: A negative value.

    Source: 26 U.S.C. 165(g), 1001; ITA s. 50(1).
    """
    if action.value < 0:
        raise AccountingError(
            f"the delisting of {action.ticker} on {action.ex_date} has the negative value {action.value}."
        )
    ordered = sorted(held, key=lambda lot: (lot.acquired_on, lot.lot_id))
    shares = sum((lot.quantity for lot in ordered), Decimal(0))
    return sale_lines(
        [(lot, lot.quantity) for lot in ordered],
        to_cents(shares * action.value),
        on=action.ex_date,
        regime=terms.regime,
        txn_type=TransactionType.DELISTING,
        details={"action": str(action.action_type), "value_per_share": plain_text(action.value)},
    )


def with_symbols_of_the_day(action: CorporateAction, new_symbols: Mapping[str, str]) -> CorporateAction:
    """Return an action of a day under the symbol its security has after the day's symbol changes.

    Files name such an action by the old symbol or by the new one; a symbol that another security takes over the same
    day means that other one.
    """
    if action.ticker not in new_symbols or action.ticker in new_symbols.values():
        return action
    return replace(action, ticker=new_symbols[action.ticker])
