"""Opening books and executions as events of the ledger."""

from datetime import date
from decimal import Decimal

from prometheus.bookkeeping.ledger_sources import execution_event, execution_events, opening_events
from prometheus.domain.books import Books, Fill, LotPick
from prometheus.domain.lots import Side, TaxLot
from prometheus.ledger import events as ev

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
    """A commission raises what a purchase costs and lowers what a sale brings; amounts are cents."""
    bought = Fill("e1", "AAA", Side.BUY, DAY, Decimal(3), Decimal("10.333"), Decimal(1), new_lot_id="N1")
    assert execution_event("A", bought) == ev.Buy(
        account="A", event_id="e1", trade_date=DAY, ticker="AAA", quantity=Decimal(3), amount=Decimal("32.00"),
        fee=Decimal(1), lot_id="N1",
    )  # fmt: skip
    picks = (LotPick("L1", Decimal(3)),)
    sold = Fill("e2", "AAA", Side.SELL, DAY, Decimal(3), Decimal("10.333"), Decimal(1), lot_picks=picks)
    assert execution_event("A", sold) == ev.Sell(
        account="A", event_id="e2", trade_date=DAY, ticker="AAA", quantity=Decimal(3), amount=Decimal("30.00"),
        fee=Decimal(1), picks=picks,
    )  # fmt: skip
    again = Fill("e3", "AAA", Side.BUY, DAY, Decimal(1), Decimal(10), new_lot_id="N3", reinvested=True)
    assert type(execution_event("A", again)) is ev.Reinvestment
    *_, cancelled = execution_events("A", [bought], ["e0"], told_on=DAY)
    assert (cancelled.event_id, cancelled.target_id) == ("e0 cancelled", "e0")
