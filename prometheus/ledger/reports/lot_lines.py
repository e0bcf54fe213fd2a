"""Every lot of a household on a line: what it cost, what it carries, when it was sold and where its loss went."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.accounts import TaxRegime
from prometheus.ledger.booked import BookedEvents
from prometheus.ledger.regimes.denials import pool_lot_id
from prometheus.ledger.reports.amounts import total
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.lines import DispositionLine, Replacement
from prometheus.ledger.state import Lot
from prometheus.ledger.terms import Terms

#: Name of a Canadian taxpayer's pools where the file does not say whose they are.
OWNER: Final = "owner"


@dataclass(frozen=True, slots=True)
class LotLine:
    """A lot, or the part of it that one sale took.

    Attributes:
        account: The account that holds or sold it; the taxpayer (``owner`` where nobody is named) for Canada's pools.
        ticker: The security.
        lot_id: The lot.
        acquired_on: Acquisition date.
        holding_period_start: The date that stands for it when the term is counted.
        quantity: Shares.
        cost_basis: Base currency, without carried losses.
        adjusted_basis: With them.
        sale: The sale, None for a lot still held.
    """

    account: str
    ticker: str
    lot_id: str
    acquired_on: date
    holding_period_start: date
    quantity: Decimal
    cost_basis: Decimal
    adjusted_basis: Decimal
    sale: DispositionLine | None


@dataclass(frozen=True, slots=True)
class LotTotals:
    """The sums of a list of lots. Amounts are cents.

    Attributes:
        realized_gain: Before anything is disallowed.
        disallowed_loss: Positive.
        disallowed_for_good: The part of it that nothing carries.
        recognized_gain: The gain that counts.
        provisional_sales: Sales that a purchase can still change.
    """

    realized_gain: Decimal
    disallowed_loss: Decimal
    disallowed_for_good: Decimal
    recognized_gain: Decimal
    provisional_sales: int


def lot_lines(books: BookedEvents) -> tuple[LotLine, ...]:
    """Return every lot of a household, sold ones by their sales: by security, acquisition, account, lot and sale.

    Sales of sheltered accounts are no taxable events and have no lines.

    Raises:
        AccountingError: A posting without the one that it belongs to.
    """
    terms = books.terms
    sales = disposition_lines(books.postings, terms, as_of=books.as_of)
    lines = [*(_sold(line, terms) for line in sales), *_held(books.state.lots.values(), terms)]
    return tuple(
        sorted(
            lines,
            key=lambda line: (
                line.ticker,
                line.acquired_on,
                line.account,
                line.lot_id,
                date.max if line.sale is None else line.sale.sold_on,
            ),
        )
    )


def lot_totals(lines: Iterable[LotLine]) -> LotTotals:
    """Return the sums over the sales of a list of lots."""
    sales = [line.sale for line in lines if line.sale is not None]
    return LotTotals(
        total(sale.realized_gain for sale in sales),
        total(sale.disallowed_loss for sale in sales),
        total(sale.disallowed_for_good for sale in sales),
        total(sale.gain for sale in sales),
        sum(sale.provisional_until is not None for sale in sales),
    )


def _sold(line: DispositionLine, terms: Terms) -> LotLine:
    if terms.regime is TaxRegime.CA:
        line = replace(line, replacements=tuple(_of_pool(each) for each in line.replacements))
    return LotLine(
        line.account,
        line.ticker,
        line.lot_id,
        line.acquired_on,
        line.holding_period_start,
        line.quantity,
        line.cost_basis,
        line.basis,
        line,
    )


def _of_pool(part: Replacement) -> Replacement:
    """Name the pool's owner: which account of a taxpayer carries a denied loss makes no difference."""
    if part.is_permanent or not part.lot_id:
        return part
    return replace(part, account=part.taxpayer or OWNER)


def _held(lots: Iterable[Lot], terms: Terms) -> Iterator[LotLine]:
    pools: dict[tuple[str, str], list[Lot]] = {}
    for lot in lots:
        if terms.regime is TaxRegime.CA and not terms.is_sheltered(lot.account):
            pools.setdefault((terms.taxpayer_of(lot.account) or OWNER, lot.ticker), []).append(lot)
        else:
            yield _held_line(lot.account, lot.lot_id, [lot])
    for (owner, ticker), parts in pools.items():
        yield _held_line(owner, pool_lot_id(ticker), parts)


def _held_line(account: str, lot_id: str, parts: list[Lot]) -> LotLine:
    return LotLine(
        account,
        parts[0].ticker,
        lot_id,
        min(lot.acquired_on for lot in parts),
        min(lot.holding_period_start for lot in parts),
        total(lot.quantity for lot in parts),
        total(lot.cost_basis for lot in parts),
        total(lot.adjusted_basis for lot in parts),
        None,
    )
