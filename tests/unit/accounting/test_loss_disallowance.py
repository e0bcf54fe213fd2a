from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.accounting.loss_disallowance import (
    disallow_for_prior_purchases,
    loss_trades,
    match_losses,
    wash_earlier_losses,
)
from prometheus.accounting.lot_selection import select_lots
from prometheus.accounting.sales import book_sale
from prometheus.accounting.wash_sales import known_purchases
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import RecentTrade, Side
from prometheus.foundation.errors import AccountingError


@pytest.fixture
def sell(us_rates):
    """Sell lots whole and return the booking; the loss lines as trades come from it."""

    def book(lots, price, sold_on, quantity=None, kept=()):
        total = sum((lot.quantity for lot in lots), Decimal(0)) if quantity is None else Decimal(quantity)
        return book_sale(
            (*lots, *kept),
            select_lots(lots, total),
            price=Decimal(str(price)),
            sale_date=date.fromisoformat(sold_on),
            rates=us_rates,
            regime=TaxRegime.US,
        )

    return book


@pytest.fixture
def losses_of(sell):
    """Losses of a sale as trades."""

    def find(lots, price, sold_on, quantity=None):
        return loss_trades(sell(lots, price, sold_on, quantity).lines, date.fromisoformat(sold_on), "s1")

    return find


@pytest.fixture
def wash(make_lot):
    """Let purchases, given as (lot_id, day, shares, cost), wash losses one after the other."""

    def run(losses, purchases, lots=(), group_of=None):
        lots, matches = tuple(lots), []
        for lot_id, day, quantity, cost in purchases:
            lot = make_lot(lot_id, day, quantity, cost)
            trade = RecentTrade("XYZ", lot.acquired_on, Side.BUY, lot.quantity, lot_id=lot_id, unreplaced=lot.quantity)
            result = wash_earlier_losses(trade, losses, lots=(*lots, lot), group_of=group_of or {})
            losses, lots = result.losses, result.lots
            matches.extend(result.matches)
        return losses, {lot.lot_id: lot for lot in lots}, matches

    return run


def test_vector_1_shares_bought_back_within_30_days(make_lot, losses_of, wash):
    """Publication 550: 100 shares cost 1,000, sold for 750, bought back for 800: 250 disallowed, new basis 1,050."""
    losses = losses_of((make_lot("old", "2018-01-02", 100, "1000"),), "7.50", "2018-06-01")
    losses, lots, _ = wash(losses, [("new", "2018-06-20", 100, "800")])
    assert losses[0].disallowed_loss == 250
    assert (lots["new"].adjusted_basis, lots["new"].cost_basis) == (1050, 800)


def test_vector_2_purchases_before_the_sale(make_lot, sell, us_rates):
    """Publication 550: 75 of 100 shares washed by earlier purchases: 750 disallowed, bases 3,250 and 1,375."""
    sold = make_lot("sep", "2013-09-26", 100, "5000")
    kept = (make_lot("dec-19", "2013-12-19", 50, "2750"), make_lot("dec-27", "2013-12-27", 25, "1125"))
    booking = sell((sold,), 40, "2014-01-09", kept=kept)
    lines, result = disallow_for_prior_purchases(
        booking.lines,
        known_purchases((), booking.remaining, date(2014, 1, 9)),
        lots=booking.remaining,
        sale_date=date(2014, 1, 9),
        group_of={},
        rates=us_rates,
    )
    (line,) = lines
    assert (line.realized_gain, line.disallowed_loss, line.washed_quantity) == (-1000, 750, 75)
    assert line.tax == Decimal("-102.00")  # 250 allowed at 40.8 %
    assert line.replacement_lot_ids == ("dec-19", "dec-27")
    assert {lot.lot_id: lot.adjusted_basis for lot in result.lots} == {"dec-19": 3250, "dec-27": 1375}
    assert [purchase.unreplaced for purchase in result.purchases] == [0, 0]


def test_vector_3_more_replacements_than_shares_sold(make_lot, losses_of, wash):
    """A loss of 1,000 on 100 shares, 50 bought on each of four days: 500 goes to each of the first two lots only."""
    losses = losses_of((make_lot("old", "2013-09-23", 100, "5000"),), 40, "2014-02-06")
    days = [f"2014-02-{day}" for day in (11, 12, 13, 14)]
    _, lots, matches = wash(losses, [(day, day, 50, "2000") for day in days])
    assert [lots[day].adjusted_basis for day in days] == [2500, 2500, 2000, 2000]
    assert [match.purchase_lot_id for match in matches] == days[:2]


def test_vector_4_gains_of_the_same_day_stand(make_lot, sell, losses_of, wash):
    """Lots at 158, 100 and 95 sold at 125, 250 bought back: 3,300 disallowed, the gains of 2,500 and 3,000 stand."""
    lots = tuple(make_lot(cost, "2013-01-15", 100, f"{cost}00") for cost in ("158", "100", "95"))
    assert [line.realized_gain for line in sell(lots, 125, "2013-12-27").lines] == [-3300, 2500, 3000]
    losses, held, _ = wash(losses_of(lots, 125, "2013-12-27"), [("new", "2014-01-09", 250, "30000")])
    assert [loss.disallowed_loss for loss in losses] == [3300]
    # rule 4: the lot is split at the boundary of the 100 shares that served
    assert (held["new"].quantity, held["new"].adjusted_basis) == (150, 18000)
    assert (held["new~W1-s1"].quantity, held["new~W1-s1"].adjusted_basis) == (100, 15300)


@pytest.mark.parametrize(("bought_at", "basis"), [(90, 110), (70, 90)])
def test_vector_5_basis_of_the_regulation(make_lot, losses_of, wash, bought_at, basis):
    """Reg. 1.1091-2(a): a share of cost 100 sold at 80, bought again at 90 has basis 110, at 70 has basis 90."""
    losses = losses_of((make_lot("old", "1954-01-04", 1, "100"),), 80, "1955-01-15")
    _, lots, _ = wash(losses, [("new", "1955-02-01", 1, str(bought_at))])
    assert lots["new"].adjusted_basis == basis


def test_vector_7_the_own_purchase_is_no_replacement(make_lot, sell, us_rates):
    """Rev. Rul. 56-602: 200 bought for 10,000, 100 of them sold for 4,000 eleven days later: 1,000 is allowed."""
    booking = sell((make_lot("L1", "2018-06-01", 200, "10000"),), 40, "2018-06-12", quantity=100)
    lines, result = disallow_for_prior_purchases(
        booking.lines,
        known_purchases((), booking.remaining, date(2018, 6, 12)),
        lots=booking.remaining,
        sale_date=date(2018, 6, 12),
        group_of={},
        rates=us_rates,
    )
    assert (lines[0].realized_gain, lines[0].disallowed_loss, result.matches) == (-1000, 0, ())
    assert lines == booking.lines


@pytest.mark.parametrize(("days", "washed"), [(-31, 0), (-30, 10), (0, 10), (30, 10), (31, 0)])
def test_the_window_bounds_what_is_matched(make_lot, losses_of, days, washed):
    """A purchase 30 days before or after washes the loss, one 31 days away does not (Reg. 1.1091-1(a))."""
    losses = losses_of((make_lot("old", "2017-01-03", 10, "1000"),), 90, "2018-06-01")
    bought = date(2018, 6, 1) + timedelta(days=days)
    purchase = RecentTrade("XYZ", bought, Side.BUY, Decimal(10), lot_id="new", unreplaced=Decimal(10))
    result = match_losses(losses, [purchase], lots=[make_lot("new", bought.isoformat(), 10, "900")], group_of={})
    assert result.losses[0].washed_quantity == washed


def test_losses_are_matched_in_the_order_of_disposition(make_lot, losses_of, wash):
    """The earliest loss is washed first, same-day ones in the order of acquisition (Reg. 1.1091-1(b)), in any input."""
    early = losses_of((make_lot("sold-first", "2017-05-01", 10, "1000"),), 90, "2018-06-01")
    same_day = losses_of(
        (make_lot("a-bought-later", "2017-03-01", 10, "1000"), make_lot("z-bought-first", "2017-02-01", 10, "1000")),
        90,
        "2018-06-04",
    )
    for losses in ((*early, *same_day), (*same_day[::-1], *early)):
        result, _, _ = wash(losses, [("new", "2018-06-10", 25, "2250")])
        assert [(loss.lot_id, loss.washed_quantity) for loss in result] == [
            ("sold-first", 10),
            ("z-bought-first", 10),
            ("a-bought-later", 5),
        ]


def test_the_earliest_purchase_serves_first(make_lot, losses_of):
    """Of several purchases the earliest replaces first (Reg. 1.1091-1(c), (d)), whatever their order in the input."""
    losses = losses_of((make_lot("old", "2017-01-03", 10, "1000"),), 90, "2018-06-01")
    lots = (make_lot("b", "2018-05-10", 10, "900"), make_lot("a", "2018-05-20", 10, "900"))
    purchases = [RecentTrade("XYZ", lot.acquired_on, Side.BUY, lot.quantity, lot_id=lot.lot_id) for lot in lots]
    for rows in (purchases, purchases[::-1]):
        assert [m.purchase_lot_id for m in match_losses(losses, rows, lots=lots, group_of={}).matches] == ["b"]


def test_a_replacement_share_is_used_once(make_lot, losses_of, wash):
    """Two losses of 10 and a purchase of 15: the first is washed whole, the second by the 5 shares left (rule 4)."""
    losses = losses_of(
        (make_lot("a", "2017-01-03", 10, "1000"), make_lot("b", "2017-02-03", 10, "1100")), 90, "2018-06-01"
    )
    losses, lots, _ = wash(losses, [("new", "2018-06-10", 15, "1350")])
    assert [(loss.washed_quantity, loss.disallowed_loss) for loss in losses] == [(10, 100), (5, 100)]
    # the lot keeps its name for the part that served last, as no share of it is fresh
    assert (lots["new~W1-s1"].quantity, lots["new~W1-s1"].adjusted_basis) == (10, 1000)
    assert (lots["new"].quantity, lots["new"].adjusted_basis) == (5, 550)
    again, unchanged, matches = wash(losses, [("next", "2018-06-11", 2, "180")], lots.values())
    assert [loss.washed_quantity for loss in again] == [10, 7]
    assert unchanged["new"] == lots["new"]
    assert len(matches) == 1


def test_a_lot_that_served_whole_does_not_serve_again(make_lot, losses_of):
    """Of 25 shares bought, 15 are sold and 10 replace a first loss; a second finds none left (Reg. 1.1091-1(e))."""
    losses = losses_of(
        (make_lot("a", "2017-01-03", 10, "1000"), make_lot("b", "2017-02-03", 10, "1000")), 90, "2018-06-01"
    )
    purchase = RecentTrade("XYZ", date(2018, 5, 20), Side.BUY, Decimal(25), lot_id="new", unreplaced=Decimal(25))
    result = match_losses(losses, [purchase], lots=[make_lot("new", "2018-05-20", 10, "900")], group_of={})
    assert [loss.washed_quantity for loss in result.losses] == [10, 0]
    assert [bought.unreplaced for bought in result.purchases] == [0]


def test_three_losses_split_a_lot_three_times(make_lot, losses_of, wash):
    """Each loss has replacement shares of its own, in lots numbered in the order of the matches."""
    lots = tuple(make_lot(f"L{i}", f"2017-0{i}-03", 10, "1000") for i in (1, 2, 3))
    _, held, _ = wash(losses_of(lots, 90, "2018-06-01"), [("new", "2018-06-10", 40, "3600")])
    assert {lot_id: lot.quantity for lot_id, lot in held.items()} == {
        "new": 10,
        "new~W1-s1": 10,
        "new~W2-s1": 10,
        "new~W3-s1": 10,
    }


def test_days_held_are_added_and_the_gap_is_not(make_lot, losses_of, wash):
    """The replacement counts the days for which the sold shares were held, never the gap (rule 6, s. 1223(3))."""
    losses = losses_of((make_lot("old", "2018-01-10", 10, "1000"),), 90, "2018-03-11")  # held 60 days
    _, lots, _ = wash(losses, [("new", "2018-03-31", 10, "900")])  # 20 days later
    assert lots["new"].acquired_on == date(2018, 3, 31)
    assert lots["new"].holding_period_start == date(2018, 3, 31) - timedelta(days=60)


def test_a_chain_carries_days_and_losses_along(make_lot, losses_of, wash):
    """Selling washed shares at a loss within the window washes the carried loss again, with all days held so far."""
    first = losses_of((make_lot("a", "2018-01-10", 10, "1000"),), 90, "2018-03-11")
    _, lots, _ = wash(first, [("b", "2018-03-31", 10, "900")])
    second = losses_of((lots["b"],), 85, "2018-04-10")  # basis 1,000, held 10 days and 60 before
    assert second[0].realized_gain == -150
    _, lots, _ = wash(second, [("c", "2018-04-20", 10, "860")])
    assert lots["c"].adjusted_basis == 1010
    assert lots["c"].holding_period_start == date(2018, 4, 20) - timedelta(days=70)


def test_rounding_neither_loses_nor_creates_loss(make_lot, losses_of, wash):
    """Matched share by share, a loss of 100.00 on 3 shares is disallowed in parts that add up to 100.00."""
    losses = losses_of((make_lot("old", "2017-01-03", 3, "400"),), 100, "2018-06-01")
    losses, lots, matches = wash(losses, [(f"n{i}", f"2018-06-1{i}", 1, "100") for i in range(3)])
    assert [m.disallowed_loss for m in matches] == [Decimal("33.33"), Decimal("33.34"), Decimal("33.33")]
    assert losses[0].disallowed_loss == sum(lot.adjusted_basis - lot.cost_basis for lot in lots.values()) == 100


def test_a_sold_purchase_replaces_nothing(make_lot, losses_of):
    """A purchase whose shares are sold again has no lot to carry a loss and is passed over."""
    losses = losses_of((make_lot("old", "2017-01-03", 10, "1000"),), 90, "2018-06-01")
    gone = RecentTrade("XYZ", date(2018, 5, 20), Side.BUY, Decimal(10), lot_id="gone", unreplaced=Decimal(10))
    assert match_losses(losses, [gone], lots=(), group_of={}).matches == ()


def test_groups_decide_what_replaces(make_lot, losses_of, wash):
    """A purchase washes a loss of another ticker in the same substantially identical group only (rule 8)."""
    losses = losses_of((make_lot("old", "2017-01-03", 10, "1000", ticker="XYZ.B"),), 90, "2018-06-01")
    purchases = [("new", "2018-06-10", 10, "900")]
    assert wash(losses, purchases)[2] == []
    assert len(wash(losses, purchases, group_of={"XYZ": "G", "XYZ.B": "G"})[2]) == 1


def test_a_loss_without_execution_names_its_lot_and_day(make_lot, sell, us_rates):
    """Where no execution is named, a split-off part is called after the lot sold and the day; names never repeat."""
    kept = (make_lot("new", "2018-05-20", 30, "2700"), make_lot("new~W1-old-2018-06-01", "2018-05-20", 1, "1"))
    booking = sell((make_lot("old", "2017-01-03", 10, "1000"),), 90, "2018-06-01", kept=kept)
    _, result = disallow_for_prior_purchases(
        booking.lines,
        known_purchases((), booking.remaining, date(2018, 6, 1)),
        lots=booking.remaining,
        sale_date=date(2018, 6, 1),
        group_of={},
        rates=us_rates,
    )
    assert [match.after.lot_id for match in result.matches] == ["new~W2-old-2018-06-01"]


def test_a_loss_needs_a_lot_that_can_carry_it(make_lot, losses_of):
    """A purchase made elsewhere, with no lot here, is refused rather than letting the loss vanish."""
    losses = losses_of((make_lot("old", "2017-01-03", 10, "1000"),), 90, "2018-06-01")
    elsewhere = RecentTrade("XYZ", date(2018, 6, 10), Side.BUY, Decimal(10))
    with pytest.raises(AccountingError, match="names no lot"):
        match_losses(losses, [elsewhere], lots=(), group_of={})
