"""US wash sales of the fold against an independent model that moves single shares instead of lots."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.domain.books import LotPick
from prometheus.ledger.events import Buy, OpeningLot, Sell
from prometheus.ledger.fold import fold
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.terms import Terms

START = date(2019, 12, 2)


@dataclass
class Share:
    """One share: the lot it was bought in, when, for how much, and since when it counts as held."""

    origin: str
    bought: date
    cost: int
    since: date
    carried: int = 0
    served: bool = False


@dataclass
class LostShare:
    """One share sold at a loss."""

    share: Share
    execution_id: str
    sold: date
    loss: int
    washed: bool = False


class ShareByShare:
    """The rules of Reg. 1.1091-1 said of single shares, with no lots, no rounding and no shortcuts."""

    def __init__(self, shares) -> None:
        self.held = list(shares)
        self.lost = []

    def day(self, day, sales, purchases):
        """Book a day: all sales, then what earlier purchases wash, then each purchase in turn."""
        today = []
        for execution_id, origin, quantity, price in sales:
            fresh = [share for share in self.held if share.origin == origin and not share.served]
            for share in fresh[:quantity]:
                self.held.remove(share)
                if price < share.cost:
                    today.append(LostShare(share, execution_id, day, share.cost - price))
        today.sort(key=lambda lost: (lost.share.bought, lost.share.origin))
        self.lost += today
        for lost in today:
            self.wash(lost, sorted(self.held, key=lambda share: (share.bought, share.origin)))
        for origin, quantity, price in purchases:
            bought = [Share(origin, day, price, day) for _ in range(quantity)]
            self.held += bought
            for lost in sorted(self.lost, key=lambda lost: (lost.sold, lost.share.bought, lost.share.origin)):
                if not lost.washed:
                    self.wash(lost, bought)

    def wash(self, lost, candidates):
        """Let the first candidate that may replace the lost share carry its loss."""
        for share in candidates:
            near = -30 <= (share.bought - lost.sold).days <= 30
            if near and not share.served and share.origin != lost.share.origin:
                share.served = lost.washed = True
                share.carried += lost.loss
                share.since -= lost.sold - lost.share.since
                return


@st.composite
def stories(draw):
    """Draw opening lots (origin, days ago, shares, cost) and days with sales of fresh shares and purchases."""
    opening = [
        (f"L{i}", draw(st.sampled_from([3, 29, 30, 31, 400])), draw(st.integers(1, 6)), draw(st.integers(8, 12)))
        for i in range(draw(st.integers(1, 4)))
    ]
    days = []
    for step in range(draw(st.integers(1, 6))):
        gap = draw(st.sampled_from([1, 5, 14, 15, 29, 30, 31]))
        sales = draw(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 6)), max_size=3))
        buys = draw(st.lists(st.tuples(st.integers(1, 8), st.integers(8, 12)), max_size=2))
        days.append((gap, sales, [(f"N{step}{j}", *buy) for j, buy in enumerate(buys)], draw(st.integers(7, 12))))
    return opening, days


def fresh_quantity(model, origin):
    """Return how many shares of a purchase have not served."""
    return sum(share.origin == origin and not share.served for share in model.held)


@given(stories())
def test_lots_agree_with_single_shares(story):
    """Losses disallowed, shares washed, bases and holding periods are those of the share-by-share model."""
    opening, days = story
    model, events = ShareByShare([]), []
    for origin, ago, quantity, cost in opening:
        bought = START - timedelta(days=ago)
        model.held += [Share(origin, bought, cost, bought) for _ in range(quantity)]
        events.append(
            OpeningLot(
                account="A",
                event_id=origin,
                trade_date=START,
                ticker="XYZ",
                quantity=Decimal(quantity),
                cost_basis=Decimal(quantity * cost),
                acquired_on=bought,
            )
        )
    day = START
    for number, (gap, sales, purchases, price) in enumerate(days):
        day += timedelta(days=gap)
        origins = sorted({share.origin for share in model.held})
        sold = []
        for index, (which, quantity) in enumerate(sales):
            origin = origins[which % len(origins)] if origins else ""
            taken = min(quantity, fresh_quantity(model, origin))
            if taken and origin not in {sale[1] for sale in sold}:
                sold.append((f"S{number}{index}", origin, taken, price))
        model.day(day, sold, purchases)
        base = {"account": "A", "trade_date": day, "ticker": "XYZ"}
        for event_id, origin, quantity, at in sold:
            shares, picks = Decimal(quantity), (LotPick(origin, Decimal(quantity)),)
            events.append(Sell(**base, event_id=event_id, quantity=shares, amount=shares * at, picks=picks))
        for origin, quantity, at in purchases:
            events.append(Buy(**base, event_id=origin, quantity=Decimal(quantity), amount=Decimal(quantity * at)))
    state, rows, findings = fold(events, Terms())
    assert findings == ()
    washed, disallowed = Counter(), Counter()
    for row in rows:
        if row.kind is PostingKind.WASH_SALE:
            key = (row.loss.event.event_id, row.loss.lot.lot_id)
            washed[key] += int(row.loss.shares)
            disallowed[key] += row.realized_gain
    assert washed == Counter((lost.execution_id, lost.share.origin) for lost in model.lost if lost.washed)
    expected = Counter()
    for lost in model.lost:
        if lost.washed:
            expected[lost.execution_id, lost.share.origin] += lost.loss
    assert disallowed == expected
    held, modelled = Counter(), Counter()
    for lot in state.lots.values():
        held[lot.root_id, lot.holding_period_start] += lot.quantity
    for share in model.held:
        modelled[share.origin, share.since] += 1
    assert held == modelled
    assert sum(lot.adjusted_basis for lot in state.lots.values()) == sum(s.cost + s.carried for s in model.held)
    event(f"washed lines: {min(len(washed), 3)}")
