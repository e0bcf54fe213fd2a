"""Every lot of a household on a line: what it cost, what it carries, when it was sold and where its loss went."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from prometheus.accounting.household import HouseholdBooks
from prometheus.accounting.pool_ledger import OWNER
from prometheus.accounting.tax_lines import TaxLine, tax_lines
from prometheus.domain.accounts import AccountKind
from prometheus.domain.lots import TaxLot


@dataclass(frozen=True, slots=True)
class LotLine:
    """A lot, or the part of it that one sale took.

    Attributes:
        account: The account that holds or sold it; ``owner`` for Canada's pools.
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
    sale: TaxLine | None


def sale_lines_of(books: HouseholdBooks) -> tuple[TaxLine, ...]:
    """Return the dispositions of the household's taxable accounts."""
    taxable = {name: rows for name, rows in books.journals.items() if _is_taxable(books, name)}
    return tax_lines(taxable, as_of=books.as_of)


def lot_lines(books: HouseholdBooks) -> tuple[LotLine, ...]:
    """Return every lot of the household, sold ones by their sales: by security, acquisition, account, lot and sale."""
    lines = [_sold(line) for line in sale_lines_of(books)]
    for account, lots in books.lots.items():
        lines += _held(account, lots)
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


def _is_taxable(books: HouseholdBooks, name: str) -> bool:
    return name == OWNER or books.settings.kind(name) is AccountKind.TAXABLE


def _sold(line: TaxLine) -> LotLine:
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


def _held(account: str, lots: Iterable[TaxLot]) -> list[LotLine]:
    return [
        LotLine(
            account,
            lot.ticker,
            lot.lot_id,
            lot.acquired_on,
            lot.holding_period_start,
            lot.quantity,
            lot.cost_basis,
            lot.adjusted_basis,
            None,
        )
        for lot in lots
    ]
