"""Real corporate actions through the ledger: value is conserved, and seven years of holding follow the total return."""

from collections import defaultdict
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger_market import event_of_action
from prometheus.domain.money import floor_to_step
from prometheus.domain.securities import ActionType
from prometheus.ledger.events import OpeningLot, Reinvestment
from prometheus.ledger.fold import advance, fold
from prometheus.ledger.postings import PostingKind
from prometheus.ledger.terms import AccountTerms, Terms
from tests.real_market import read_actions, read_closes

pytestmark = [pytest.mark.market_data, pytest.mark.long]

FIRST, LAST = date(2014, 1, 2), date(2020, 12, 31)
WHOLE, FRACTIONAL = (Terms(default=AccountTerms(is_fractional=allowed)) for allowed in (False, True))
INCOME = {ActionType.DIVIDEND, ActionType.SPECIAL_DIVIDEND}
SHARES, CENT, STEP = Decimal(1_000_000), Decimal("0.01"), Decimal("0.0001")


@pytest.fixture(scope="module")
def closes(shared_data):
    """Raw and adjusted closes by ticker and day."""
    return read_closes(shared_data / "market", date.min, date.max)


@pytest.fixture(scope="module")
def actions(shared_data):
    """Corporate actions by ticker and ex-date."""
    by_ticker = defaultdict(lambda: defaultdict(list))
    for action in read_actions(shared_data / "market"):
        by_ticker[action.ticker][action.ex_date].append(action)
    return by_ticker


def opening(ticker, day, quantity, cost):
    """One lot in account A, as it is handed over."""
    return OpeningLot(
        account="A",
        event_id="opening:L0",
        trade_date=day,
        ticker=ticker,
        quantity=quantity,
        cost_basis=cost,
        lot_id="L0",
    )


def told(of_day, close):
    """The actions of one security on one day as events."""
    return [event_of_action(action, {(action.ticker, action.ex_date): close}) for action in of_day]


def shares_of(state):
    """Shares in all lots."""
    return sum((lot.quantity for lot in state.lots.values()), Decimal(0))


def cash_of(state):
    """Cash of the one account."""
    return state.cash.get("A", Decimal(0))


def test_real_actions_conserve_value(actions, closes):
    """Shares at the close plus cash received follow the total return of every real split, spin-off and distribution."""
    checked = 0
    for ticker, by_day in actions.items():
        for day, of_day in by_day.items():
            if all(action.action_type in INCOME for action in of_day):
                continue
            days = sorted(closes[ticker])
            before = days[days.index(day) - 1]
            close, adjusted = closes[ticker][day]
            previous, adjusted_previous = closes[ticker][before]
            opened = fold([opening(ticker, before, Decimal(10_000), Decimal(50_000))], WHOLE)
            state, postings, findings = advance(opened.state, told(of_day, close), WHOLE)
            assert not [one for one in findings if one.refused], f"{ticker} {day}"
            value = shares_of(state) * close + cash_of(state)
            # adjusted closes have four decimals, of prices down to a few dollars
            expected = 10_000 * previous * adjusted / adjusted_previous
            assert value == pytest.approx(expected, rel=Decimal("5e-5")), f"{ticker} {day}"
            income = sum(one.cash for one in postings if one.lot_id is None)
            gains = sum(one.realized_gain for one in postings)
            basis = sum(lot.adjusted_basis for lot in state.lots.values())
            assert gains + income == cash_of(state) + basis - 50_000, f"{ticker} {day}"
            checked += 1
    assert checked > 100


def test_every_security_follows_its_total_return(actions, closes):
    """With dividends reinvested, shares and cash follow the total return within 0.1 %, on ex-dates and at the end."""
    deviations, splits = {}, 0
    for ticker, every_day in closes.items():
        series = {day: pair for day, pair in every_day.items() if FIRST <= day <= LAST}
        if not series:
            continue
        of_period = {day: of_day for day, of_day in actions[ticker].items() if min(series) < day <= LAST}
        deviations[ticker], split = _held_through(ticker, series, of_period)
        splits += split
    assert len(deviations) == 504
    # JCI's price factor below one is a consolidation, booked as a split
    assert splits == 1 + sum(
        action.action_type is ActionType.SPLIT
        for ticker in deviations
        for day, of_day in actions[ticker].items()
        if min(day for day in closes[ticker] if day >= FIRST) < day <= LAST
        for action in of_day
    )
    assert {ticker: deviation for ticker, deviation in deviations.items() if deviation > Decimal("0.001")} == {}


def test_a_portfolio_of_all_securities_keeps_every_identity(actions, closes):
    """All in one account of whole shares through seven years of actions: each row has cash less basis for its gain."""
    events = []
    for ticker, every_day in closes.items():
        first = min((day for day in every_day if FIRST <= day <= LAST), default=None)
        if first is None:
            continue
        lot = opening(ticker, first, SHARES, SHARES)
        events.append(replace(lot, event_id=f"opening:{ticker}", lot_id=f"L-{ticker}"))
        for day, of_day in actions[ticker].items():
            if first < day <= LAST:
                events += told(of_day, every_day[day][0])
    state, postings, findings = fold(events, WHOLE)
    assert not findings
    assert len({lot.ticker for lot in state.lots.values()}) == 504
    booked = [row for row in postings if row.kind is not PostingKind.OPENING]
    assert all(row.cash + row.adjusted_basis == row.realized_gain for row in booked if row.lot_id is not None)
    assert cash_of(state) == sum(row.cash for row in booked)
    basis = sum(row.adjusted_basis for row in postings)
    assert basis == sum(lot.adjusted_basis for lot in state.lots.values())
    assert all(state.quantity_of("A", ticker) % 1 == 0 for ticker in closes)


def _held_through(ticker, series, of_period):
    """Hold a security from its first price on; return the largest deviation and how many splits the first lot had."""
    first, last = min(series), max(series)
    cost, start = SHARES * series[first][0], series[first][1]
    state = fold([opening(ticker, first, SHARES, cost)], FRACTIONAL).state
    worst, splits = Decimal(0), 0
    for day, of_day in sorted(of_period.items()):
        close, adjusted = series[day]
        events = told(of_day, close)
        cash = cash_of(advance(state, events, FRACTIONAL).state)
        quantity = floor_to_step(cash / close, STEP)
        if quantity * close > cash - CENT:
            quantity -= STEP
        if quantity > 0:
            amount = (quantity * close).quantize(CENT)
            events.append(
                Reinvestment(
                    account="A", event_id=f"R-{day}", trade_date=day, ticker=ticker, quantity=quantity, amount=amount
                )
            )
        state, postings, _ = advance(state, events, FRACTIONAL)
        splits += sum(one.kind is PostingKind.SPLIT and one.lot_id == "L0" for one in postings)
        worst = max(worst, abs((shares_of(state) * close + cash_of(state)) * start / (cost * adjusted) - 1))
    close, adjusted = series[last]
    return max(worst, abs((shares_of(state) * close + cash_of(state)) * start / (cost * adjusted) - 1)), splits
