"""Seven real years of a portfolio that buys every name once and holds it, with everything it is paid put back in."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from prometheus.accounting.corporate_actions import apply_corporate_actions
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import opening_transactions
from prometheus.accounting.replay import replay
from prometheus.domain.accounts import TaxRates, TaxRegime
from prometheus.domain.books import Books, Fill
from prometheus.domain.lots import Side, TaxLot
from prometheus.domain.money import SHARE_STEP, floor_to_step
from prometheus.domain.securities import ActionType
from tests.real_market import read_actions, read_closes

pytestmark = [pytest.mark.market_data, pytest.mark.slow]

FIRST, LAST = date(2014, 1, 2), date(2020, 12, 31)
TOLERANCE = Decimal("0.001")
RATES = TaxRates(Decimal("0.37"), Decimal("0.2"))
SHARES = Decimal(1_000_000)
#: Names that may differ by more, with the cause. There is none: the known gap of the data (DD on 2019-06-03) is in the
#: prices and in the total return alike, as no action is recorded for it.
EXCEPTIONS: dict[str, str] = {}


@pytest.fixture(scope="module")
def prices(shared_data):
    """Raw and adjusted closes of the period by ticker."""
    return read_closes(shared_data / "market", FIRST, LAST)


@pytest.fixture(scope="module")
def actions(shared_data):
    """Corporate actions of the period by ticker and day."""
    found = defaultdict(lambda: defaultdict(list))
    for action in read_actions(shared_data / "market"):
        if FIRST < action.ex_date <= LAST:
            found[action.ticker][action.ex_date].append(action)
    return found


def held_through(ticker, series, events):
    """Hold a name from its first price on, and return books, journal and the largest deviation."""
    first, last = min(series), max(series)
    start_close, start_adjusted = series[first]
    cost = SHARES * start_close
    books = Books((TaxLot("L0", ticker, first, SHARES, cost, cost, first),))
    journal, worst = list(opening_transactions(books, first)), Decimal(0)
    for day, of_day in sorted(events.items()):
        if day <= first:
            continue
        close, adjusted = series[day]
        books, rows = apply_corporate_actions(
            books, of_day, closes={(ticker, day): close}, regime=TaxRegime.US, fractional=True
        )
        journal += rows
        quantity = floor_to_step(books.cash / close, SHARE_STEP)
        if quantity * close > books.cash - Decimal("0.01"):
            quantity -= SHARE_STEP
        if quantity > 0:
            again = Fill(f"R-{day}", ticker, Side.BUY, day, quantity, close, new_lot_id=f"R-{day}")
            books, rows = apply_fills(books, [again], rates=RATES, regime=TaxRegime.US)
            journal += rows
        expected = cost * adjusted / start_adjusted
        worst = max(worst, abs((books.quantity_of(ticker) * close + books.cash) / expected - 1))
    close, adjusted = series[last]
    expected = cost * adjusted / start_adjusted
    worst = max(worst, abs((books.quantity_of(ticker) * close + books.cash) / expected - 1))
    return books, journal, worst


@pytest.mark.long
def test_every_name_follows_its_total_return(prices, actions):
    """Closes times quantities plus cash equal the total-return series within 0.1 %, on every ex-date and at the end."""
    deviations, splits = {}, 0
    for ticker, series in prices.items():
        books, journal, worst = held_through(ticker, series, actions[ticker])
        deviations[ticker] = worst
        splits += sum(row.txn_type == "SPLIT" and row.lot_id == "L0" for row in journal)
        assert replay(journal) == books, ticker
    assert len(deviations) == 504
    # JCI's price factor below one is a consolidation, booked as a split
    kinds = [a.action_type for t in prices for day, found in actions[t].items() if day > min(prices[t]) for a in found]
    assert splits == kinds.count(ActionType.SPLIT) + 1
    assert kinds.count(ActionType.DIVIDEND) > 10_000
    beyond = {ticker: str(worst) for ticker, worst in deviations.items() if worst > TOLERANCE}
    assert beyond.keys() == EXCEPTIONS.keys(), beyond


@pytest.mark.long
def test_the_portfolio_as_one_account_keeps_every_identity(prices, actions):
    """All names in one account through seven years of actions: money is conserved, and the journal replays."""
    lots = []
    for ticker, series in prices.items():
        first = min(series)
        lots.append(TaxLot(f"L-{ticker}", ticker, first, SHARES, SHARES, SHARES, first))
    opening = Books(tuple(lots))
    of_period = [found for events in actions.values() for of_day in events.values() for found in of_day]
    closes = {
        (found.ticker, found.ex_date): prices[found.ticker][found.ex_date][0]
        for found in of_period
        if found.ex_date in prices[found.ticker]
    }
    books, rows = apply_corporate_actions(opening, of_period, closes=closes, regime=TaxRegime.US, fractional=False)
    assert replay((*opening_transactions(opening, FIRST), *rows)) == books
    assert all(row.amount + row.basis == row.realized_gain for row in rows if row.lot_id is not None)
    assert books.cash == sum(row.amount for row in rows)
    assert all(books.quantity_of(lot.ticker) % 1 == 0 for lot in books.lots)
