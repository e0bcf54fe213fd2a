"""Canadian losses against a model that knows every day's shares from the start and keeps no state between days."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import lcm

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.domain.accounts import AccountKind, TaxRegime
from prometheus.domain.money import allocate_cents, to_cents
from prometheus.ledger.events import Buy, Sell
from prometheus.ledger.fold import fold
from prometheus.ledger.postings import DISALLOWANCES, PostingKind
from prometheus.ledger.terms import AccountTerms, Terms

ZERO = Decimal(0)
START = date(2020, 1, 2)
#: Account to who holds: two accounts of one taxpayer, a spouse, a plan.
HOLDER = {"A": "me", "B": "me", "S": "spouse", "P": "plan"}
TERMS = Terms(
    regime=TaxRegime.CA,
    accounts={
        "A": AccountTerms(taxpayer="me"),
        "B": AccountTerms(taxpayer="me"),
        "S": AccountTerms(taxpayer="spouse"),
        "P": AccountTerms(kind=AccountKind.SHELTERED),
    },
)


@st.composite
def trades(draw):
    """Draw at most one trade a day: day, account, shares (negative for a sale), money."""
    day, held, drawn = START, defaultdict(int), []
    for _ in range(draw(st.integers(2, 16))):
        day += timedelta(days=draw(st.sampled_from([1, 2, 5, 9, 14, 29, 30, 31])))
        account = draw(st.sampled_from(sorted(HOLDER)))
        is_sale = held[account] and draw(st.booleans())
        shares = draw(st.integers(1, held[account] if is_sale else 30))
        money = Decimal(draw(st.integers(1, 3000 * shares))) / 100
        held[account] += -shares if is_sale else shares
        drawn.append((day, account, -shares if is_sale else shares, money))
    return drawn


def denied_shares(drawn, day, sold):
    """Return the shares denied of a loss by holder, from all trades up to day 30 after it."""
    acquired, held = defaultdict(int), defaultdict(int)
    for other, account, shares, _ in drawn:
        if other <= day + timedelta(30):
            held[HOLDER[account]] += shares
            if shares > 0 and other >= day - timedelta(30):
                acquired[HOLDER[account]] += shares
    kept = {holder: min(acquired[holder], held[holder]) for holder in acquired}
    kept = {holder: kept[holder] for holder in sorted(kept, key=lambda name: (name != "plan", name)) if kept[holder]}
    denied = min(sold, sum(acquired.values()), sum(held.values()))
    return {holder: Fraction(denied * kept[holder], sum(kept.values())) for holder in kept if denied > 0}


def modelled(drawn):
    """Return gain and denied loss by day of sale, cost by taxpayer, and what is lost for good."""
    shares, cost = defaultdict(int), defaultdict(lambda: ZERO)
    gains, denials = {}, {}
    for day, account, count, money in drawn:
        holder = HOLDER[account]
        if count > 0:
            cost[holder] += money
            shares[holder] += count
        else:
            sold = -count
            taken = cost[holder] if sold == shares[holder] else to_cents(cost[holder] * sold / shares[holder])
            cost[holder] -= taken
            shares[holder] -= sold
            if holder != "plan":
                gains[day] = money - taken
                parts = denied_shares(drawn, day, sold)
                if money < taken and parts:
                    shares_denied = sum(parts.values())
                    total = to_cents((taken - money) * shares_denied.numerator / (shares_denied.denominator * sold))
                    scale = lcm(*(part.denominator for part in parts.values()))
                    weights = [Decimal((part * scale).numerator) for part in parts.values()]
                    in_full = dict(zip(parts, allocate_cents(total, weights), strict=True))
                    denials[day] = (taken - money, sold, parts, in_full, {})
        for sold_on, (loss, sold, parts, in_full, carried) in denials.items():
            for holder, part in parts.items():
                bought = sum(
                    n for d, a, n, _ in drawn
                    if n > 0 and HOLDER[a] == holder and abs((d - sold_on).days) <= 30 and d <= day
                )  # fmt: skip
                due = in_full[holder]
                if bought < part:
                    due = min(to_cents(loss * bought / sold), due)
                cost[holder] += (due - carried.get(holder, ZERO)) if holder != "plan" else ZERO
                carried[holder] = due
    denied = {day: sum(each[3].values(), ZERO) for day, each in denials.items()}
    for_good = sum((each[3].get("plan", ZERO) for each in denials.values()), ZERO)
    return {day: (gain, denied.get(day, ZERO)) for day, gain in gains.items()}, cost, for_good


@given(trades())
def test_losses_are_denied_as_a_model_with_hindsight_denies_them(drawn):
    """Gains, denied losses and pools are those of somebody who knew all share counts from the start."""
    events = [
        (Buy if shares > 0 else Sell)(
            account=account, event_id=f"e{i}", trade_date=day, ticker="X", quantity=Decimal(abs(shares)), amount=money
        )
        for i, (day, account, shares, money) in enumerate(drawn)
    ]
    state, postings, findings = fold(events, TERMS)
    assert not findings
    days = {event.key: event.trade_date for event in events}
    gains, denied, for_good = defaultdict(lambda: ZERO), defaultdict(lambda: ZERO), ZERO
    for row in postings:
        if row.kind is PostingKind.SELL and row.account != "P":
            gains[days[row.event]] += row.realized_gain
        elif row.kind in DISALLOWANCES:
            denied[row.loss.day] += row.realized_gain
            for_good += row.realized_gain if row.loss.is_permanent else ZERO
    expected, cost, gone = modelled(drawn)
    assert {day: (gain, denied[day]) for day, gain in gains.items()} == expected
    assert for_good == gone
    booked = defaultdict(lambda: ZERO)
    for lot in state.lots.values():
        booked[HOLDER[lot.key.account]] += lot.adjusted_basis
    assert {holder: amount for holder, amount in cost.items() if amount and holder != "plan"} == {
        holder: amount for holder, amount in booked.items() if amount and holder != "plan"
    }
    event("denied" if any(denied.values()) else "nothing denied")
