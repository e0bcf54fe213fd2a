"""Purchases and losses that can still meet."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from prometheus.domain.lots import Term
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.state import LATE_LOT_DAYS, Loss, Purchase
from prometheus.ledger.window import Window, loss_key

DAY = date(2019, 6, 3)


def window():
    """Return an empty window of one household."""
    return Window(
        lambda _, ticker: ("", ticker),
        lambda purchase: (purchase.day, purchase.lot.lot_id),
        lambda loss: (loss.day, loss.lot.lot_id),
        30,
    )


def purchase(name, days=0, *, shares=10, account="A"):
    """Return a purchase so many days after the day."""
    bought = DAY + timedelta(days=days)
    return Purchase(EventKey(account, name), LotKey(account, name), "X", bought, Decimal(shares), Decimal(shares))


def loss(name, days=0, *, left=10):
    """Return a loss of ten shares with so many open."""
    return Loss(
        EventKey("A", f"s{name}"),
        LotKey("A", name),
        EventKey("A", name),
        "X",
        DAY + timedelta(days=days),
        DAY,
        DAY,
        Term.SHORT,
        Decimal(10),
        Decimal(20),
        Decimal(left),
        Decimal(0),
        Decimal(0),
        "X",
    )


def test_purchases_are_met_in_their_order_and_closed_on_the_way():
    """The caller may close what it has seen while it walks."""
    seen = window()
    for name, days in (("b", 2), ("a", 2), ("c", -3)):
        seen.add_purchase(purchase(name, days))
    met = []
    for each in seen.purchases_to_meet(loss("z")):
        met.append(each.lot.lot_id)
        if each.lot.lot_id != "a":
            seen.close_purchase(each.lot)
    assert met == ["c", "a", "b"]
    assert [each.lot.lot_id for each in seen.purchases_to_meet(loss("z"))] == ["a"]
    assert set(seen.purchases) == {LotKey("A", name) for name in "abc"}


def test_losses_are_met_inside_the_window():
    """Day 30 on either side is inside, and a loss without open shares meets nothing."""
    seen = window()
    for name, days, left in (("a", -31, 10), ("b", -30, 10), ("c", 0, 0), ("d", 30, 10), ("e", 31, 10)):
        seen.add_loss(loss(name, days, left=left))
    assert [each.lot.lot_id for each in seen.losses_to_meet("B", "X", DAY)] == ["b", "d"]


def test_what_no_trade_can_meet_is_forgotten():
    """Purchases of 31 days ago go; open losses stay for lots that come late, closed ones do not."""
    seen = window()
    seen.add_purchase(purchase("old", -31))
    seen.add_purchase(purchase("new", -30))
    seen.add_loss(loss("open", -40))
    seen.add_loss(loss("closed", -40, left=0))
    seen.add_loss(loss("ancient", -(31 + LATE_LOT_DAYS)))
    seen.forget(DAY)
    assert set(seen.purchases) == {LotKey("A", "new")}
    assert set(seen.losses) == {loss_key(loss("open", -40))}


def test_parts_of_a_purchase_go_their_own_way():
    """Four of ten shares move to another account: both parts can still replace, and no share twice."""
    seen = window()
    seen.add_purchase(purchase("a"))
    seen.move(LotKey("A", "a"), LotKey("B", "a~T1"), Decimal(4), whole=False)
    counts = {key: (each.quantity, each.unreplaced) for key, each in seen.purchases.items()}
    assert counts == {("A", "a"): (6, 6), ("B", "a~T1"): (4, 4)}


def test_recent_trades_are_known_by_account():
    """A purchase or loss of the thirty days before, in the account itself."""
    seen = window()
    seen.add_purchase(purchase("a", -30))
    seen.add_loss(loss("b", -31))
    assert (seen.knows("A", "X", DAY), seen.knows("B", "X", DAY), seen.knows("A", "Y", DAY)) == (True, False, False)


def test_a_purchase_put_in_twice_is_met_once():
    """The later one takes the place of the former of the same lot."""
    seen = window()
    seen.add_purchase(purchase("a", -3, shares=10))
    seen.add_purchase(purchase("a", -2, shares=4))
    assert [(each.lot.lot_id, each.unreplaced) for each in seen.purchases_to_meet(loss("z"))] == [("a", 4)]


def test_trades_are_counted_from_what_they_were_before_any_split():
    """Ten shares 1:3 and then 3:1 are ten again: bought, unreplaced, sold at a loss and still open."""
    seen = window()
    seen.add_purchase(purchase("a"))
    seen.add_loss(loss("b"))
    for ratio in (Fraction(1, 3), Fraction(3)):
        seen.scale("X", ratio)
    (bought,), (sold,) = seen.purchases.values(), seen.losses.values()
    assert (bought.quantity, bought.exact, bought.unreplaced, bought.exact_unreplaced) == (10, None, 10, None)
    assert (sold.quantity, sold.exact, sold.open_quantity, sold.exact_open) == (10, None, 10, None)


def test_a_purchase_whose_shares_have_all_replaced_meets_nothing():
    """It is remembered as a trade, and no loss comes upon it."""
    seen = window()
    seen.add_purchase(replace(purchase("a"), unreplaced=Decimal(0)))
    assert list(seen.purchases_to_meet(loss("z"))) == []
    assert set(seen.purchases) == {LotKey("A", "a")}


def test_a_loss_put_in_twice_is_met_once():
    """The later one takes the place of the former of the same event and lot."""
    seen = window()
    seen.add_loss(loss("a", left=10))
    seen.add_loss(loss("a", left=4))
    assert [each.open_quantity for each in seen.losses_to_meet("A", "X", DAY)] == [4]
