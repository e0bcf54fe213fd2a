from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.decision.wash_locks import buy_locks, is_in_window, known_purchases, loss_sale_locks
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.lots import RecentTrade, Side
from prometheus.ledger.lots import purchased_lot_id

SALE = date(2019, 12, 20)
TODAY = date(2018, 6, 1)
PRICES = {"XYZ": Decimal(80), "XYZ.B": Decimal(80)}


@pytest.fixture
def loss_sale():
    """Builder of a sale at a loss."""

    def build(sold_on=SALE, *, ticker="XYZ", gain="-100", lot_id="L1"):
        return RecentTrade(ticker, sold_on, Side.SELL, Decimal(10), Decimal(gain), lot_id)

    return build


@pytest.fixture
def purchase():
    """Builder of a purchase some days before the day the locks are asked for."""

    def build(lot_id, days_ago, *, quantity=10, ticker="XYZ", unreplaced=None):
        left = None if unreplaced is None else Decimal(unreplaced)
        on = TODAY - timedelta(days=days_ago)
        return RecentTrade(ticker, on, Side.BUY, Decimal(quantity), lot_id=lot_id, unreplaced=left)

    return build


@pytest.fixture
def locks():
    """Loss-sale locks of lots after trades, at 80 a share."""

    def find(lots, trades=(), *, regime=TaxRegime.US, group_of=None, price_of=None):
        return loss_sale_locks(lots, trades, TODAY, price_of or PRICES, group_of or {}, regime)

    return find


# Rule 1: the window is the sale date plus and minus 30 calendar days, 61 in all. Source: Treas. Reg. 1.1091-1(a).


@pytest.mark.parametrize(("days", "inside"), [(-1, False), (0, True), (30, True), (31, False)])
def test_day_30_is_inside_and_day_31_outside(days, inside):
    """A past trade counts through the thirtieth day after it, one that is still to come not at all."""
    assert is_in_window(SALE, SALE + timedelta(days=days)) is inside


@pytest.mark.parametrize(("days", "locked"), [(-1, False), (0, True), (1, True), (29, True), (30, True), (31, False)])
def test_a_group_is_buy_locked_through_day_30(loss_sale, days, locked):
    """Section 13: buying on day 30 after a loss sale, even across the year end, is locked; on day 31 it is not."""
    found = buy_locks([loss_sale()], SALE + timedelta(days=days), {})
    assert set(found) == ({"XYZ"} if locked else set())


def test_a_buy_lock_names_the_sale_that_locks_longest(loss_sale):
    """Of several loss sales of a group the latest is named, then the larger; with the last locked day."""
    trades = [
        loss_sale(SALE, lot_id="first"),
        loss_sale(SALE + timedelta(days=5), ticker="XYZ.B", lot_id="second", gain="-5"),
        loss_sale(SALE + timedelta(days=5), lot_id="third", gain="-6"),
    ]
    for rows in (trades, trades[::-1]):
        (lock,) = buy_locks(rows, SALE + timedelta(days=7), {"XYZ": "G", "XYZ.B": "G"}).values()
        assert (lock.group, lock.trade.lot_id, lock.last_locked_day) == ("G", "third", SALE + timedelta(days=35))


def test_gains_and_purchases_lock_no_purchase(loss_sale):
    """Only losses wash (rule 2, Publication 550): a sale at a gain or at cost, or a purchase, locks nothing."""
    trades = [
        loss_sale(gain="0"),
        loss_sale(gain="100"),
        RecentTrade("XYZ", SALE, Side.BUY, Decimal(1), lot_id="n"),
    ]
    assert buy_locks(trades, SALE, {}) == {}


def test_a_group_is_policy_input(loss_sale):
    """Securities of one substantially identical group lock each other; others do not (rule 8)."""
    assert set(buy_locks([loss_sale(ticker="GOOG")], SALE, {"GOOG": "ALPHABET", "GOOGL": "ALPHABET"})) == {"ALPHABET"}
    assert set(buy_locks([loss_sale(ticker="GOOG")], SALE, {"GOOGL": "ALPHABET"})) == {"GOOG"}


# Rule 5: the sold shares' own purchase is no replacement; another lot bought in the 30 days before is.
# Source: Treas. Reg. 1.1091-1(a); Rev. Rul. 56-602.


def test_a_lots_own_purchase_does_not_lock_it(locks, make_lot, purchase):
    """A loss lot bought within 30 days, with no other purchase, may be sold."""
    lot = make_lot("new", "2018-05-20", 200, "20000")
    assert locks((lot,)) == {}
    assert locks((lot,), [purchase("new", 12, quantity=200)]) == {}


def test_another_recent_lot_locks_the_loss_lot(locks, make_lot, purchase):
    """A purchase of 12 days ago locks the older loss lot for its shares and is named with date and shares."""
    lots = (make_lot("old", "2017-01-03", 100, "9000"), make_lot("new", "2018-05-20", 40, "2000"))
    (lock,) = locks(lots, [purchase("new", 12, quantity=40)]).values()
    assert (lock.lot_id, lock.ticker, lock.group, lock.shares) == ("old", "XYZ", "XYZ", 40)
    (washing,) = lock.purchases
    assert (washing.lot_id, washing.trade_date, washing.shares) == ("new", date(2018, 5, 20), 40)
    assert lock.last_locked_day == date(2018, 6, 19)


def test_two_recent_loss_lots_lock_each_other(locks, make_lot):
    """Each of two lots bought within the window is a replacement for the other, even bought on the same day."""
    lots = (make_lot("a", "2018-05-20", 10, "900"), make_lot("b", "2018-05-20", 10, "900"))
    assert {lot_id: lock.purchases[0].lot_id for lot_id, lock in locks(lots).items()} == {"a": "b", "b": "a"}


@pytest.mark.parametrize(("days_ago", "locked"), [(-1, False), (0, True), (30, True), (31, False)])
def test_the_purchase_counts_through_day_30(locks, make_lot, purchase, days_ago, locked):
    """A purchase 30 days before locks a loss sale, one 31 days before does not, nor one that is still to come."""
    bought = (TODAY - timedelta(days=days_ago)).isoformat()
    lots = (make_lot("old", "2017-01-03", 10, "900"), make_lot("new", bought, 10, "100"))
    assert set(locks(lots, [purchase("new", days_ago)])) == ({"old"} if locked else set())


def test_only_lots_at_a_loss_are_listed(locks, make_lot):
    """A lot at a gain or exactly at its basis is not locked, nor one without a price."""
    lots = (
        make_lot("gain", "2017-01-03", 10, "799.99"),
        make_lot("even", "2017-01-03", 10, "800"),
        make_lot("loss", "2017-01-03", 10, "800.01"),
        make_lot("unpriced", "2017-01-03", 10, "9999", ticker="NEW"),
        make_lot("recent", "2018-05-20", 10, "700"),
    )
    assert set(locks(lots)) == {"loss"}


def test_used_or_sold_replacement_shares_lock_nothing(locks, make_lot, purchase):
    """A replacement share is used once (Reg. 1.1091-1(e)), and a purchase that is sold again holds no share to use."""
    lots = (make_lot("old", "2017-01-03", 100, "9000"), make_lot("new", "2018-05-20", 40, "2000"))
    assert locks(lots, [purchase("new", 12, quantity=100, unreplaced=0)]) == {}
    assert locks(lots, [purchase("new", 12, quantity=100, unreplaced=100)])["old"].shares == 40
    assert locks(lots, [purchase("new", 12, quantity=100, unreplaced=15)])["old"].shares == 15
    assert locks(lots[:1], [purchase("new", 12, quantity=100)]) == {}


def test_a_residue_of_0_0008_shares_still_locks(locks, make_lot):
    """Section 13: what rounding leaves of a recent lot washes that much of a loss, so the lot beside it is locked."""
    lots = (make_lot("old", "2017-01-03", 100, "9000"), make_lot("new", "2018-05-20", "0.0008", "0.06"))
    assert locks(lots)["old"].shares == Decimal("0.0008")


def test_a_purchase_elsewhere_counts_in_full(locks, make_lot, purchase):
    """A purchase that names no lot of this account locks every loss lot of the group."""
    lots = (make_lot("old", "2017-01-03", 100, "9000"),)
    assert locks(lots, [purchase(None, 3, quantity=7)])["old"].shares == 7


def test_a_purchase_in_the_group_locks_the_other_share_class(locks, make_lot):
    """A purchase of a substantially identical security locks the loss lot of the other ticker."""
    lots = (make_lot("old", "2017-01-03", 10, "900"), make_lot("new", "2018-05-20", 10, "100", ticker="XYZ.B"))
    assert locks(lots) == {}
    assert locks(lots, group_of={"XYZ": "G", "XYZ.B": "G"})["old"].group == "G"


def test_a_washed_part_belongs_to_its_purchase(locks, make_lot):
    """The part a wash sale split off a lot is not washed by that lot's own purchase, and replaces nothing itself."""
    fresh = make_lot("new", "2018-05-20", 60, "5400")
    part = make_lot("new~W1-s1", "2018-05-20", 40, "3600", adjusted="4000", holding_period_start="2018-01-02")
    assert purchased_lot_id(part.lot_id) == "new"
    assert locks((fresh, part)) == {}
    assert [trade.lot_id for trade in known_purchases((), (fresh, part), TODAY)] == ["new"]


# Rule 15: Canada looks at any purchase in the window. Source: ITA s. 54 "superficial loss".


def test_any_purchase_locks_a_canadian_loss_pool(locks, make_lot, purchase):
    """In Canada a purchase in the window locks the pooled loss lot, though it is part of that very pool."""
    pool = make_lot("ACB-XYZ", "2016-01-04", 100, "9000")
    assert locks((pool,), regime=TaxRegime.CA) == {}
    assert locks((pool,), [purchase("ACB-XYZ", 31)], regime=TaxRegime.CA) == {}
    (lock,) = locks((pool,), [purchase("ACB-XYZ", 30)], regime=TaxRegime.CA).values()
    assert (lock.lot_id, lock.shares) == ("ACB-XYZ", 10)


def test_a_young_pool_proves_its_purchase_once(make_lot, purchase):
    """A pool no older than the window is a purchase itself, unless its purchases are known already."""
    pool = make_lot("ACB-XYZ", "2018-05-20", 100, "9000")
    assert [trade.quantity for trade in known_purchases((), (pool,), TODAY)] == [100]
    assert [trade.quantity for trade in known_purchases([purchase("L7", 12)], (pool,), TODAY)] == [10]
