"""Opening books and executions as events of the ledger."""

from datetime import date
from decimal import Decimal

from prometheus.bookkeeping.ledger_sources import execution_events, opening_events
from prometheus.domain.books import Books, Fill
from prometheus.domain.lots import Side, TaxLot
from prometheus.ledger import events as ev
from prometheus.ledger.fills import event_of_fill

DAY = date(2024, 3, 4)


def test_opening_books():
    """Each lot keeps its name, bases and dates; cash is an event of its own, also where there is none."""
    lot = TaxLot("L1", "AAA", date(2020, 1, 2), Decimal(10), Decimal(200), Decimal(210), date(2019, 12, 2))
    opened, cash = opening_events("A", Books((lot,)), DAY)
    assert opened == ev.OpeningLot(
        account="A", event_id="opening:L1", trade_date=DAY, ticker="AAA", quantity=Decimal(10),
        cost_basis=Decimal(200), adjusted_basis=Decimal(210), acquired_on=date(2020, 1, 2),
        holding_period_start=date(2019, 12, 2), lot_id="L1",
    )  # fmt: skip
    assert (cash.event_id, cash.amount) == ("opening:cash", 0)


def test_executions():
    """Executions come first, then what takes one back, under a name of its own."""
    bought = Fill("e1", "AAA", Side.BUY, DAY, Decimal(3), Decimal("10.333"), Decimal(1), new_lot_id="N1")
    first, cancelled = execution_events("A", [bought], ["e0"], told_on=DAY)
    assert first == event_of_fill("A", bought)
    assert (cancelled.event_id, cancelled.target_id) == ("e0 cancelled", "e0")
