"""Which shares are denied, and by whom their loss is carried; what pools cost under given counts."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.domain.lots import Term
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.regimes.superficial import Acquired, denied_parts, part_of_cost, replay, superficial_shares
from prometheus.ledger.state import Loss, PoolEntry, PoolHistory, PoolKey, PoolSale, Purchase

SOLD = date(2022, 3, 15)
ME, SPOUSE, PLAN = PoolKey("me", "", "X"), PoolKey("spouse", "", "X"), PoolKey("", "P", "X")


def pool_of(account, ticker):
    """Return the pool of an account: P is a plan, the others taxpayers."""
    return PoolKey("", account, ticker) if account == "P" else PoolKey(account, "", ticker)


@pytest.fixture
def loss():
    """Builder of a loss of so many shares."""

    def build(quantity, amount="0"):
        return Loss(
            event=EventKey("me", "sale"),
            lot=LotKey("me", "ACB-X"),
            origin=EventKey("me", "first"),
            ticker="X",
            day=SOLD,
            acquired_on=date(2016, 1, 4),
            holding_period_start=date(2016, 1, 4),
            term=Term.NONE,
            quantity=Decimal(quantity),
            amount=Decimal(amount),
            open_quantity=Decimal(quantity),
            disallowed=Decimal(0),
            denied_for_good=Decimal(0),
            ticker_then="X",
        )

    return build


@pytest.fixture
def bought():
    """Builder of a purchase some days from the sale."""

    def build(account, quantity, days=10):
        key = EventKey(account, f"b{days}")
        shares = Decimal(quantity)
        return Purchase(key, LotKey(*key), "X", SOLD + timedelta(days), shares, shares)

    return build


@pytest.mark.parametrize(
    ("sold", "acquired", "held", "denied"),
    [(20, 15, 45, 15), (99, 25, 26, 25), (10, 20, 30, 10), (10, 20, 0, 0), (10, 20, 4, 4), (10, 0, 30, 0)],
)
def test_the_least_of_three_numbers_is_denied(sold, acquired, held, denied):
    """IT-456R par. 12: the least of shares sold, acquired and held."""
    assert superficial_shares(sold=Decimal(sold), acquired=Decimal(acquired), held=Decimal(held)) == denied


def test_denied_shares_are_divided_by_the_acquired_shares_held(loss):
    """CRA 2022-0940941C6: 2,000 denied for 1,000, 2,000 and 500 shares are 4/7, 8/7 and 2/7 of a thousand."""
    acquired = {PLAN: Decimal(1000), SPOUSE: Decimal(2000), ME: Decimal(500)}
    parts = denied_parts(loss(2000), acquired, acquired)
    assert parts == {PLAN: Fraction(4000, 7), SPOUSE: Fraction(8000, 7), ME: Fraction(2000, 7)}


def test_older_shares_count_as_held_and_carry_nothing(loss):
    """The plan acquired 100, the owner holds 500 old ones: 100 are denied, all of them for the plan."""
    assert denied_parts(loss(100), {PLAN: Decimal(100)}, {PLAN: Decimal(100), ME: Decimal(500)}) == {PLAN: 100}


def test_nothing_is_denied_where_nobody_holds_acquired_shares(loss):
    """ITA s. 54 (b): the spouse acquired and sold again, the owner's old shares are no substituted property."""
    assert denied_parts(loss(100), {SPOUSE: Decimal(100)}, {ME: Decimal(500)}) == {}


def test_a_person_cannot_hold_more_acquired_shares_than_shares(loss):
    """Of 100 acquired the spouse holds 20, the owner acquired and holds 60: 60 denied are 15 and 45."""
    acquired = {SPOUSE: Decimal(100), ME: Decimal(60)}
    held = {SPOUSE: Decimal(20), ME: Decimal(60)}
    assert denied_parts(loss(60), acquired, held) == {SPOUSE: 15, ME: 45}


@pytest.mark.parametrize(("days", "shares"), [(-31, None), (-30, 7), (30, 7), (31, None)])
def test_purchases_around_a_loss_are_those_of_61_days(loss, bought, days, shares):
    """Day 30 on either side is inside."""
    around = Acquired([bought("me", 7, days)], pool_of).around(loss(10))
    assert around.get(ME) == shares


def test_purchases_may_be_added_in_any_order(loss, bought):
    """A lot that comes late was bought on its day."""
    acquired = Acquired([bought("me", 1, 20)], pool_of)
    acquired.add(bought("me", 2, -40))
    acquired.add(bought("me", 4, 5))
    assert acquired.around(loss(10)) == {ME: 5}


def test_part_of_cost_is_in_cents_and_all_for_all():
    """A third of 10.00 is 3.33, and the last share takes what is left."""
    assert part_of_cost(Decimal("10.00"), Decimal(1), Decimal(3)) == Decimal("3.33")
    assert part_of_cost(Decimal("6.67"), Decimal(2), Decimal(2)) == Decimal("6.67")


def test_a_replay_carries_a_loss_with_the_purchases_that_it_is_for(loss, bought):
    """Ten of 20 sold for 60: 40 lost; 5 bought carry 20, then a sale takes half of it, then 5 more carry the rest."""
    first, second = bought("me", 5, 1), bought("me", 5, 3)
    whole, half = Decimal(20), Decimal(15)
    sale = PoolSale(PostingKind.SELL, loss(10, "40"), Decimal(10), whole, Decimal(60), Decimal(100))
    other = PoolSale(PostingKind.SELL, loss(5), Decimal("7.5"), half, Decimal(999), Decimal(0))
    history = PoolHistory(
        {ME: Decimal(200)},
        (
            PoolEntry(SOLD, 1, ME, sale=sale),
            PoolEntry(SOLD, 2, is_look=True),
            PoolEntry(first.day, 1, ME, Decimal(50), purchase=first.lot, is_look=True),
            PoolEntry(first.day, 2, ME, sale=other),
            PoolEntry(second.day, 1, ME, Decimal(30), purchase=second.lot, is_look=True),
        ),
    )
    result = replay(history, [first, second], {ME: Decimal(15)}, pool_of)
    # 200 - 100 + 50 + 20 = 170; half of it 85; 85 + 30 + 20
    assert (result.taken[3], result.bases[ME]) == (85, 135)
    assert [(each.shares, each.amount) for each in result.denied[0]] == [(10, 40)]


def test_a_pool_without_shares_denies_nothing(loss):
    """What was acquired is gone: no pool is named."""
    assert denied_parts(loss(10), {ME: Decimal(10)}, {ME: Decimal(0)}) == {}
