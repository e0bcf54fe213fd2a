"""Whatever trades and corporate actions come, shares, bases, cash and losses are all accounted for."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import event, given
from hypothesis import strategies as st

from prometheus.domain.money import allocate_cents
from prometheus.ledger.events import Buy, OpeningLot, Sell, Split
from prometheus.ledger.fold import fold
from prometheus.ledger.keys import EVERY_ACCOUNT, EventKey, LotKey
from prometheus.ledger.lots import purchased_lot_id, take_shares
from prometheus.ledger.postings import DISALLOWANCES, DISPOSITIONS, PostingKind
from prometheus.ledger.state import Lot
from prometheus.ledger.terms import Terms
from tests.property.ledger_histories import histories, shares, us_terms
from tests.property.test_ledger_canada import canadian_terms

ZERO, CENT = Decimal(0), Decimal("0.01")
TRADES = (OpeningLot, Buy, Sell)
#: Rows that move basis between lots or accounts, or bring it in and out; all others take it against cash and gain.
MOVES = {
    PostingKind.OPENING,
    PostingKind.TRANSFER_IN,
    PostingKind.TRANSFER_OUT,
    PostingKind.SPLIT,
    PostingKind.SPINOFF,
    PostingKind.SYMBOL_CHANGE,
    PostingKind.LOT_SPLIT,
    PostingKind.HOLDING_PERIOD,
    PostingKind.POOL,
    PostingKind.NOTIONAL_DISTRIBUTION,
    PostingKind.CARRIED_LOSS,
    PostingKind.LOSS_FINAL,
    *DISALLOWANCES,
}
START = date(2019, 11, 1)
TICKERS = ("XX", "XY", "ZZ")
any_terms = us_terms() | canadian_terms()
prices = st.integers(1, 20_000).map(lambda cents: Decimal(cents) / 100)
counts = st.integers(1, 4_000_000).map(lambda parts: Decimal(parts) / 10_000)


@st.composite
def trading(draw, *, splits=False):
    """Draw opening lots, some bought inside the window, and days of trades that the books can bear, in one account."""
    events = []
    for number in range(draw(st.integers(0, 6))):
        ago = draw(st.sampled_from([1, 5, 29, 30, 31, 200, 365, 366, 700]))
        events.append(
            OpeningLot(
                account="A",
                event_id=f"L{number}",
                trade_date=START,
                ticker=draw(st.sampled_from(TICKERS)),
                quantity=draw(counts),
                cost_basis=draw(st.integers(1, 5_000_000)) * CENT,
                acquired_on=START - timedelta(days=ago),
            )
        )
    day = START
    for step in range(draw(st.integers(1, 6))):
        day += timedelta(days=draw(st.sampled_from([1, 2, 15, 29, 30, 31])))
        base = {"account": "A", "trade_date": day}
        if splits and draw(st.booleans()):
            ratio = draw(st.sampled_from([Fraction(2), Fraction(3, 2), Fraction(1, 3), Fraction(1, 4)]))
            split = {"ticker": draw(st.sampled_from(TICKERS)), "ratio": ratio, "fraction_price": draw(prices)}
            events.append(Split(**{**base, "account": EVERY_ACCOUNT}, event_id=f"X{step}", **split))
        state = fold(events, Terms()).state
        for ticker in draw(st.lists(st.sampled_from(TICKERS), min_size=1, max_size=3, unique=True)):
            quantity, held = draw(counts), state.quantity_of("A", ticker)
            if draw(st.booleans()) and held > 0:
                quantity = draw(st.sampled_from([held, min(held, quantity)]))
                amount = (quantity * draw(prices)).quantize(CENT)
                events.append(
                    Sell(**base, event_id=f"S{step}{ticker}", ticker=ticker, quantity=quantity, amount=amount)
                )
            else:
                fee = draw(st.sampled_from([ZERO, Decimal("0.99")]))
                amount = (quantity * draw(prices)).quantize(CENT) + fee
                events.append(
                    Buy(**base, event_id=f"B{step}{ticker}", ticker=ticker, quantity=quantity, amount=amount, fee=fee)
                )
    return tuple(events)


def only(events, *kinds: type):
    """Return the events of some kinds."""
    return [each for each in events if isinstance(each, kinds)]


@given(histories(most=20), any_terms)
def test_basis_leaves_only_against_cash_and_gain(events, terms):
    """A row of a lot that moves no basis has cash less basis for its gain; what is moved adds up to nothing."""
    _, postings, _ = fold(events, terms)
    exchanged = defaultdict(lambda: ZERO)
    for row in postings:
        if row.lot is None or row.kind in MOVES:
            continue
        difference = row.cash + row.adjusted_basis - row.realized_gain
        if row.kind is PostingKind.MERGER:
            exchanged[row.event, row.account] += difference
        else:
            assert difference == 0, row
    assert not any(exchanged.values())
    for kind in (PostingKind.SPINOFF, PostingKind.SYMBOL_CHANGE, PostingKind.LOT_SPLIT, PostingKind.POOL):
        rows = [row for row in postings if row.kind is kind]
        assert sum((row.adjusted_basis for row in rows), ZERO) == 0
        assert sum((row.cost_basis for row in rows), ZERO) == 0
    event(f"mergers: {min(len(exchanged), 2)}")


@given(trading() | histories(most=20, corrections=False), any_terms)
def test_shares_are_what_was_bought_less_what_was_sold(events, terms):
    """Trades alone: each position is what came in less what went, and cash the same of amounts."""
    told = only(events, *TRADES)
    state, _, findings = fold(told, terms)
    refused = {found.event for found in findings if found.refused}
    held, cash = defaultdict(lambda: ZERO), defaultdict(lambda: ZERO)
    for each in told:
        if each.key in refused:
            continue
        sign = -1 if isinstance(each, Sell) else 1
        held[each.account, each.ticker] += sign * each.quantity
        if not isinstance(each, OpeningLot):
            cash[each.account] -= sign * each.in_base(each.amount)
    assert all(state.quantity_of(account, ticker) == quantity for (account, ticker), quantity in held.items())
    assert {account: amount for account, amount in state.cash.items() if amount} == {k: v for k, v in cash.items() if v}
    event(f"sales: {min(len(only(told, Sell)), 4)}")


@given(trading(), us_terms())
def test_no_share_replaces_twice_and_no_loss_is_disallowed_twice(told, terms):
    """Each match lies in the window and is of another purchase; shares and amounts stay within what there is."""
    _, postings, _ = fold(told, terms)
    losses = {(row.event, row.lot): row for row in postings if row.kind is PostingKind.SELL}
    bought = {each.key: each for each in only(told, OpeningLot, Buy)}
    washed, used, disallowed = defaultdict(Decimal), defaultdict(Decimal), defaultdict(Decimal)
    for row in postings:
        if row.kind is not PostingKind.WASH_SALE:
            continue
        loss, purchase = losses[row.loss.event, row.loss.lot], bought[row.loss.purchase]
        washed[row.loss.event, row.loss.lot] += row.loss.shares
        disallowed[row.loss.event, row.loss.lot] += row.realized_gain
        used[row.loss.purchase] += row.loss.shares
        purchased_on = getattr(purchase, "acquired_on", None) or purchase.trade_date
        assert abs((purchased_on - loss.day).days) <= 30
        assert row.loss.purchase != EventKey(loss.account, purchased_lot_id(loss.lot.lot_id))
    for key, quantity in washed.items():
        loss = losses[key]
        assert loss.realized_gain < 0
        assert quantity <= -loss.quantity
        assert 0 <= disallowed[key] <= -loss.realized_gain
        assert quantity < -loss.quantity or disallowed[key] == -loss.realized_gain
    for name, quantity in used.items():
        assert quantity <= bought[name].quantity
    event(f"losses met: {min(len(washed), 3)}")


@given(trading(splits=True), any_terms)
def test_splits_inside_the_window_disallow_no_more_than_the_loss(events, terms):
    """With splits and fractions between loss and replacement no loss is disallowed beyond its amount."""
    _, postings, _ = fold(events, terms)
    gains, disallowed = defaultdict(lambda: ZERO), defaultdict(lambda: ZERO)
    for row in postings:
        if row.kind in DISPOSITIONS:
            gains[row.event, row.lot] += row.realized_gain
        elif row.kind in DISALLOWANCES:
            disallowed[row.loss.event, row.loss.lot] += row.realized_gain
    for key, amount in disallowed.items():
        assert 0 <= amount <= max(-gains[key], ZERO)
    event(f"disallowed: {min(sum(1 for amount in disallowed.values() if amount), 3)}")


@given(shares, st.integers(1, 10_000_000), st.integers(0, 1_000_000), st.lists(shares, max_size=5))
def test_a_lot_taken_apart_adds_up(quantity, cost, carried, takes):
    """However a lot is taken apart, the parts have its shares and both its bases, and none is negative."""
    day, total = date(2019, 11, 1), Decimal(cost) / 100
    key = LotKey("A", "L")
    left = Lot(key, EventKey("A", "b"), "L", "X", day, quantity, total, total + Decimal(carried) / 100, day)
    whole, parts = replace(left), []
    for take in takes:
        if left is None:
            break
        part, left = take_shares(left, min(take, left.quantity))
        parts.append(part)
    parts += [left] if left is not None else []
    for name in ("quantity", "cost_basis", "adjusted_basis"):
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name)
    assert all(part.cost_basis >= 0 for part in parts)


@given(st.integers(-10_000_000, 10_000_000), st.lists(shares, min_size=1, max_size=8))
def test_allocated_cents_add_up(amount, weights):
    """Parts of an amount are cents, add up to it, and each is within a cent of its share for each part before it."""
    total = Decimal(amount) / 100
    parts = allocate_cents(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert part == part.quantize(CENT)
        assert abs(part - total * weight / sum(weights)) <= CENT * len(weights)


@given(trading() | histories(most=20, corrections=False), us_terms(), st.integers(0, 40))
def test_a_sale_takes_exactly_what_it_is_for(events, terms, days):
    """Under any method the lines of a sale add up to its shares and proceeds, and no lot gives more than it has."""
    told = only(events, *TRADES)
    state, postings, findings = fold(told, terms)
    refused = {found.event for found in findings if found.refused}
    for sale in only(told, Sell):
        lines = [row for row in postings if row.event == sale.key and row.kind is PostingKind.SELL]
        if sale.key in refused:
            assert lines == []
            continue
        assert -sum(row.quantity for row in lines) == sale.quantity
        assert sum(row.cash for row in lines) == sale.in_base(sale.amount)
        assert len({row.lot for row in lines}) == len(lines)
        assert all(row.quantity < 0 for row in lines)
    assert all(lot.quantity > 0 for lot in state.lots.values())
    last = max((each.trade_date for each in told), default=date(2020, 1, 1)) + timedelta(days=days)
    positions = {(key.account, lot.ticker) for key, lot in state.lots.items()}
    everything = [
        Sell(
            account=account,
            event_id=f"all {ticker}",
            trade_date=last,
            ticker=ticker,
            quantity=state.quantity_of(account, ticker),
            amount=ZERO,
        )
        for account, ticker in positions
    ]
    assert dict(fold([*told, *everything], terms).state.lots) == {}
