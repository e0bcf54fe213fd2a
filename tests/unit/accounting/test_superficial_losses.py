from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.accounting.superficial_losses import deny_superficial_losses, superficial_shares
from prometheus.domain.lots import RecentTrade, Side

SOLD = date(2018, 6, 1)


@pytest.fixture
def loss():
    """Builder of a loss sale of the pool."""

    def build(quantity, amount, *, ticker="XYZ", denied="0", denied_shares=0):
        return RecentTrade(
            ticker=ticker,
            trade_date=SOLD,
            side=Side.SELL,
            quantity=Decimal(quantity),
            realized_gain=-Decimal(amount),
            lot_id=f"ACB-{ticker}",
            washed_quantity=Decimal(denied_shares),
            disallowed_loss=Decimal(denied),
            acquired_on=date(2016, 1, 4),
            holding_period_start=date(2016, 1, 4),
            execution_id="s1",
        )

    return build


@pytest.fixture
def bought():
    """Builder of a purchase some days from the sale."""

    def build(quantity, days=10, ticker="XYZ"):
        return RecentTrade(ticker, SOLD + timedelta(days=days), Side.BUY, Decimal(quantity), lot_id=f"ACB-{ticker}")

    return build


@pytest.fixture
def pool(make_lot):
    """Builder of a pooled lot."""

    def build(quantity, basis="1000", ticker="XYZ"):
        return make_lot(f"ACB-{ticker}", "2016-01-04", quantity, basis, ticker=ticker)

    return build


# Rule 15: denied fraction = min(sold, acquired in the window, held at its end) / sold. Source: ITA s. 54, IT-456R 12.


@pytest.mark.parametrize(
    ("sold", "acquired", "held", "superficial"),
    [(20, 15, 45, 15), (99, 25, 26, 25), (10, 20, 30, 10), (10, 20, 0, 0), (10, 20, 4, 4), (10, 0, 30, 0)],
)
def test_the_least_of_three_numbers_is_superficial(sold, acquired, held, superficial):
    """The shares whose loss is denied are the least of shares sold, shares acquired and shares held."""
    found = superficial_shares(sold=Decimal(sold), acquired=Decimal(acquired), held=Decimal(held))
    assert found == superficial


def test_vector_8_part_of_the_shares_reacquired(loss, bought, pool):
    """IT-456R par. 12: of 50 held, 20 sold at a loss and 15 reacquired: 15/20 of the loss is superficial."""
    result = deny_superficial_losses([loss(20, "100")], [bought(15)], lots=[pool(45)], group_of={})
    assert (result.losses[0].disallowed_loss, result.losses[0].washed_quantity) == (75, 15)
    assert result.lots[0].adjusted_basis == 1075
    assert result.lots[0].cost_basis == 1000
    assert result.lots[0].holding_period_start == date(2016, 1, 4)


@pytest.mark.parametrize(("days", "denied"), [(-31, 0), (-30, 100), (0, 100), (30, 100), (31, 0)])
def test_the_window_has_61_days_in_canada_too(loss, bought, pool, days, denied):
    """Purchases count from 30 days before to 30 days after the sale."""
    result = deny_superficial_losses([loss(10, "100")], [bought(10, days)], lots=[pool(50)], group_of={})
    assert result.losses[0].disallowed_loss == denied


def test_nothing_held_means_no_superficial_loss(loss, bought):
    """Where no share is left the loss stands, whatever was bought in the window."""
    result = deny_superficial_losses([loss(10, "100")], [bought(10, -5)], lots=[], group_of={})
    assert result.matches == ()
    assert result.losses[0].disallowed_loss == 0


def test_a_second_purchase_denies_the_rest_only(loss, bought, pool):
    """Called again after a further purchase, only what is not yet denied goes into the pool, to the cent."""
    first = deny_superficial_losses([loss(3, "100")], [bought(1)], lots=[pool(11)], group_of={})
    second = deny_superficial_losses(first.losses, [bought(1), bought(1, 12)], lots=[pool(12)], group_of={})
    third = deny_superficial_losses(second.losses, [bought(1)] * 3, lots=[pool(13)], group_of={})
    denied = [result.matches[0].disallowed_loss for result in (first, second, third)]
    assert denied == [Decimal("33.33"), Decimal("33.34"), Decimal("33.33")]
    assert third.matches[0].shares == 1
    assert deny_superficial_losses(third.losses, [bought(1)] * 4, lots=[pool(14)], group_of={}).matches == ()


def test_the_denied_loss_goes_to_the_substituted_property(loss, bought, pool):
    """Bought back as an identical property of another ticker, the loss goes into that pool; else into what is held."""
    group = {"XYZ": "G", "XYZ.B": "G"}
    lots = [pool(10), pool(10, ticker="XYZ.B")]
    result = deny_superficial_losses([loss(10, "100")], [bought(10, ticker="XYZ.B")], lots=lots, group_of=group)
    assert {lot.lot_id: lot.adjusted_basis for lot in result.lots} == {"ACB-XYZ": 1000, "ACB-XYZ.B": 1100}
    gone = deny_superficial_losses([loss(10, "100")], [bought(10, ticker="XYZ.B")], lots=lots[:1], group_of=group)
    assert gone.lots[0].adjusted_basis == 1100
