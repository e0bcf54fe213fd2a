import csv
from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from prometheus.accounting.corporate_actions import apply_corporate_actions
from prometheus.accounting.journal import opening_transactions
from prometheus.accounting.replay import replay
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books
from prometheus.domain.lots import TaxLot
from prometheus.domain.securities import ActionType
from tests.real_market import read_actions, read_closes

pytestmark = pytest.mark.market_data

INCOME = {ActionType.DIVIDEND, ActionType.SPECIAL_DIVIDEND}


@pytest.fixture(scope="module")
def actions(shared_data):
    """Every corporate action of the real market."""
    return read_actions(shared_data / "market")


@pytest.fixture(scope="module")
def prices(shared_data):
    """Raw and adjusted closes by ticker, in order of dates."""
    return read_closes(shared_data / "market", date.min, date.max)


@pytest.mark.long
def test_real_actions_conserve_value(actions, prices):
    """Shares at the close plus cash received follow the total return of every real split, spin-off and distribution."""
    by_day = defaultdict(list)
    for found in actions:
        by_day[found.ticker, found.ex_date].append(found)
    checked = 0
    for (ticker, day), of_day in by_day.items():
        if all(found.action_type in INCOME for found in of_day):
            continue
        days = sorted(prices[ticker])
        before = days[days.index(day) - 1]
        close, adjusted = prices[ticker][day]
        previous, adjusted_previous = prices[ticker][before]
        lot = TaxLot("L1", ticker, before, Decimal(10_000), Decimal(50_000), Decimal(50_000), before)
        books, rows = apply_corporate_actions(
            Books((lot,)), of_day, closes={(ticker, day): close}, regime=TaxRegime.US, fractional=False
        )
        value = books.quantity_of(ticker) * close + books.cash
        expected = 10_000 * previous * adjusted / adjusted_previous
        # adjusted closes have four decimals, of prices down to a few dollars
        assert value == pytest.approx(expected, rel=Decimal("5e-5")), f"{ticker} {day}"
        income = sum(row.amount for row in rows if row.lot_id is None)
        gains = sum(row.realized_gain for row in rows)
        assert gains + income == books.cash + sum(lot.adjusted_basis for lot in books.lots) - 50_000
        checked += 1
    assert checked > 100


@pytest.mark.long
def test_the_real_fleet_goes_through_half_a_year(shared_data, actions, prices):
    """Twenty real accounts keep every identity of the ledger through the actions of the second half of 2018."""
    lots = defaultdict(list)
    with (shared_data / "fleet" / "lots.csv").open() as file:
        for row in csv.DictReader(file):
            bought, cost = date.fromisoformat(row["acquired_on"]), Decimal(row["cost_basis"])
            lots[row["account_id"]].append(
                TaxLot(row["lot_id"], row["ticker"], bought, Decimal(row["quantity"]), cost, cost, bought)
            )
    with (shared_data / "fleet" / "accounts.csv").open() as file:
        accounts = list(csv.DictReader(file))
    of_period = [found for found in actions if date(2018, 6, 4) <= found.ex_date <= date(2018, 12, 31)]
    closes = {
        (found.ticker, found.ex_date): prices[found.ticker][found.ex_date][0]
        for found in of_period
        if found.ex_date in prices[found.ticker]
    }
    for row in accounts:
        opening = Books(tuple(lots[row["account_id"]]), Decimal(row["cash"]))
        fractional = row["fractional_shares"] == "true"
        books, journal = apply_corporate_actions(
            opening, of_period, closes=closes, regime=TaxRegime(row["tax_regime"]), fractional=fractional
        )
        assert replay((*opening_transactions(opening, date(2018, 6, 1)), *journal)) == books
        assert sum(t.basis + t.amount - t.realized_gain for t in journal if t.lot_id is not None) == 0
        step = Decimal("0.0001") if fractional else Decimal(1)
        assert all(books.quantity_of(ticker) % step == 0 for ticker in {lot.ticker for lot in books.lots})
