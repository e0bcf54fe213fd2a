"""Canada's adjusted cost base: all shares of a security are one pool."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from prometheus.domain.lots import TaxLot

ACB_PREFIX: Final = "ACB-"


def pool_id(ticker: str) -> str:
    """Return the identifier of a security's pooled lot."""
    return f"{ACB_PREFIX}{ticker}"


def pool_lots(lots: Iterable[TaxLot]) -> tuple[TaxLot, ...]:
    """Merge the lots of each security into one pooled lot.

    Quantity and both bases are sums, so nothing is rounded; the pool dates from its earliest purchase. Pooling what is
    already pooled changes nothing. The owner's accounts are pooled together by giving their lots in one call.

    Returns:
        One lot for each ticker, in the order of tickers, called ``ACB-<ticker>``.

    Source: Income Tax Act (Canada) s. 47(1): identical properties have one average cost.
    """
    by_ticker: dict[str, list[TaxLot]] = {}
    for lot in lots:
        by_ticker.setdefault(lot.ticker, []).append(lot)
    return tuple(_pool(ticker, by_ticker[ticker]) for ticker in sorted(by_ticker))


def _pool(ticker: str, lots: list[TaxLot]) -> TaxLot:
    return replace(
        lots[0],
        lot_id=pool_id(ticker),
        acquired_on=min(lot.acquired_on for lot in lots),
        quantity=sum((lot.quantity for lot in lots), Decimal(0)),
        cost_basis=sum((lot.cost_basis for lot in lots), Decimal(0)),
        adjusted_basis=sum((lot.adjusted_basis for lot in lots), Decimal(0)),
        holding_period_start=min(lot.holding_period_start for lot in lots),
    )
