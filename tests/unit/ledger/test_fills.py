"""Fills as events of the ledger."""

from datetime import date
from decimal import Decimal

from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.ledger import events as ev
from prometheus.ledger.fills import event_of_fill

DAY = date(2024, 3, 4)


def test_a_commission_raises_the_cost_and_lowers_the_proceeds():
    """It is in what a purchase costs and out of what a sale brings; amounts are cents."""
    bought = Fill("e1", "AAA", Side.BUY, DAY, Decimal(3), Decimal("10.333"), Decimal(1), new_lot_id="N1")
    assert event_of_fill("A", bought) == ev.Buy(
        account="A", event_id="e1", trade_date=DAY, ticker="AAA", quantity=Decimal(3), amount=Decimal("32.00"),
        fee=Decimal(1), lot_id="N1",
    )  # fmt: skip
    picks = (LotPick("L1", Decimal(3)),)
    sold = Fill("e2", "AAA", Side.SELL, DAY, Decimal(3), Decimal("10.333"), Decimal(1), lot_picks=picks)
    assert event_of_fill("A", sold) == ev.Sell(
        account="A", event_id="e2", trade_date=DAY, ticker="AAA", quantity=Decimal(3), amount=Decimal("30.00"),
        fee=Decimal(1), picks=picks,
    )  # fmt: skip
    again = Fill("e3", "AAA", Side.BUY, DAY, Decimal(1), Decimal(10), new_lot_id="N3", reinvested=True)
    assert type(event_of_fill("A", again)) is ev.Reinvestment


def test_short_sales_and_covers():
    """A short sale opens a position under its own name; a cover names none and costs its commission."""
    short = Fill("s", "AAA", Side.SELL_SHORT, DAY, Decimal(3), Decimal("10.333"), Decimal(1), new_lot_id="N1-SHORT")
    assert event_of_fill("A", short) == ev.ShortSale(
        account="A", event_id="s", trade_date=DAY, ticker="AAA", quantity=Decimal(3), amount=Decimal("30.00"),
        fee=Decimal(1), lot_id="N1-SHORT",
    )  # fmt: skip
    cover = Fill("c", "AAA", Side.BUY_TO_COVER, DAY, Decimal(3), Decimal("10.333"), Decimal(1))
    assert event_of_fill("A", cover) == ev.CoverShort(
        account="A", event_id="c", trade_date=DAY, ticker="AAA", quantity=Decimal(3), amount=Decimal("32.00"),
        fee=Decimal(1),
    )  # fmt: skip
