"""Which lots a sale takes of those that its run planned."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.bookkeeping.planned_lots import LotsLeft, planned_picks
from prometheus.domain.books import LotPick
from prometheus.domain.lots import Side
from prometheus.domain.orders import OrderName, RunOrder
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.state import Lot, State

DAY = date(2024, 3, 4)


def lot(name, shares, *, root=None, account="A", bought_by="A"):
    """A lot of AAA; its root is another where it is a part."""
    root = root or name
    basis = Decimal(10 * shares)
    key = LotKey(account, name)
    return Lot(key, EventKey(bought_by, root), root, "AAA", DAY, Decimal(shares), basis, basis, DAY)


def left(*lots: Lot):
    """What is left of some lots for account A."""
    return LotsLeft(State(through=DAY, lots={one.key: one for one in lots}), "A")


def order(*lots: tuple[str, int]):
    """A sale that plans so many shares of each lot."""
    picks = tuple(LotPick(name, Decimal(shares)) for name, shares in lots)
    shares = sum((pick.quantity for pick in picks), Decimal(0))
    return RunOrder(OrderName("A", 1, 1), 7, DAY, "AAA", Side.SELL, shares, picks)


def picked(given, shares, lots, *, ratio=1, used=None):
    """Return lots and shares of an execution."""
    of_used = {name: Decimal(count) for name, count in (used or {}).items()}
    picks = planned_picks(given, Decimal(shares), ratio=Decimal(ratio), used=of_used, left=lots)
    return [(pick.lot_id, pick.quantity) for pick in picks]


@pytest.mark.parametrize(
    ("shares", "used", "expected"),
    [
        (8, {}, [("L1", 5), ("L2", 3)]),
        (4, {"L1": 3}, [("L1", 2), ("L2", 2)]),
        (4, {"L1": 5, "L2": 1}, [("L2", 4)]),
        (11, {}, []),
    ],
)
def test_the_plan_is_taken_in_its_order(shares, used, expected):
    """What executions before took of a lot is gone from the plan; more shares than the plan has are not named."""
    lots = left(lot("L1", 5), lot("L2", 9))
    assert picked(order(("L1", 5), ("L2", 5)), shares, lots, used=used) == expected


def test_executions_of_one_day_take_each_share_once():
    """Two orders that plan one lot share it; where too little is left, nothing is named and nothing taken."""
    lots = left(lot("L1", 10))
    assert picked(order(("L1", 8)), 8, lots) == [("L1", 8)]
    assert picked(order(("L1", 8)), 8, lots) == []
    assert picked(order(("L1", 2)), 2, lots) == [("L1", 2)]


def test_shares_of_the_plan_follow_a_split():
    """Two shares for one: the plan of five is one of ten."""
    assert picked(order(("L1", 5)), 10, left(lot("L1", 12)), ratio=2) == [("L1", 10)]


def test_a_lot_gives_its_parts_too():
    """What a wash sale split off since still counts for the lot's name, its own shares first."""
    lots = left(lot("L1", 3), lot("L1~W1-s", 4, root="L1"))
    assert picked(order(("L1", 5)), 5, lots) == [("L1", 5)]
    assert lots.left_of("L1~W1-s") == 2
    assert lots.left_of("L1") == 2


def test_lots_of_others_do_not_count():
    """Neither another account's lot nor a part of a purchase that only came in from there gives shares."""
    lots = left(lot("L1", 5, account="B", bought_by="B"), lot("L1~T-x", 4, root="L1", bought_by="B"))
    assert lots.left_of("L1") == 0
    assert picked(order(("L1", 1)), 1, lots) == []
