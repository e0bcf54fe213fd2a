"""Which orders of runs are open, whatever way their fills came in."""

from datetime import date
from decimal import Decimal

from prometheus.bookkeeping.ledger import book_executed
from prometheus.bookkeeping.open_orders import open_orders
from prometheus.domain.books import Fill, LotPick
from prometheus.domain.lots import Side
from prometheus.simulation.fills import fill_day
from tests.integration.engine_fleet import MONDAY, TUESDAY, WEDNESDAY


def orders(fleet, through=MONDAY, accounts=None):
    """Return the open orders through a day."""
    with fleet.database.transaction() as connection:
        return open_orders(connection, through=through, account_ids=accounts)


def book(fleet, fill, *, cancelled=()):
    """Book one fill of ACC-1, and take others back."""
    with fleet.database.transaction() as connection:
        fills = [] if fill is None else [fill]
        assert not book_executed(connection, "ACC-1", fills, through=TUESDAY, cancelled=cancelled).refused


def bought(order, quantity, day=TUESDAY, name="x-1"):
    """Return an execution of a purchase that names no order."""
    return Fill(name, order.ticker, Side.BUY, day, Decimal(quantity), Decimal(50), new_lot_id=f"lot-{name}")


def test_every_trade_of_a_day_is_open_until_it_is_filled(fleet):
    """One order for each ticker and side with its lots added up, by account and line; fills of the day close all."""
    fleet.ready()
    fleet.advance()
    found = orders(fleet)
    wanted = fleet.sql(
        "SELECT account_id, run_seq, as_of_date, ticker, side, sum(quantity) AS quantity, min(trade_no) AS line "
        "FROM run_trades JOIN runs USING (run_id) GROUP BY 1, 2, 3, 4, 5 ORDER BY account_id, line"
    )
    assert [
        (one.account_id, one.run_seq, one.as_of_date, one.ticker, one.side, one.quantity, one.line) for one in found
    ] == [tuple(row) for row in wanted]
    assert {one.filled for one in found} == {0}
    assert {one.account_id for one in orders(fleet, accounts=["ACC-2"])} == {"ACC-2"}
    assert str(found[0].name) == "ACC-1:RUN-001:1"
    assert orders(fleet, date(2024, 6, 21)) == ()
    fill_day(fleet.database, MONDAY)
    assert orders(fleet) == ()


def test_fills_that_name_no_order_count_by_ticker_and_side(fleet):
    """Parts booked on later days add up; what is taken back counts no more; another side or an earlier day never."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    buy = next(one for one in orders(fleet) if one.side is Side.BUY)

    def filled():
        found = {(one.ticker, one.side): one.filled for one in orders(fleet)}
        return found.get((buy.ticker, Side.BUY), "closed")

    book(fleet, bought(buy, 3))
    assert filled() == 3
    book(fleet, bought(buy, 4, WEDNESDAY, "x-2"))
    assert filled() == 7
    book(fleet, bought(buy, 5, date(2024, 6, 21), "x-0"))
    assert filled() == 7
    sale = Fill(
        "x-3", buy.ticker, Side.SELL, WEDNESDAY, Decimal(2), Decimal(50), lot_picks=(LotPick("lot-x-1", Decimal(2)),)
    )
    book(fleet, sale)
    assert filled() == 7
    book(fleet, None, cancelled=["x-2"])
    assert filled() == 3
    book(fleet, bought(buy, buy.quantity - 3, WEDNESDAY, "x-4"))
    assert filled() == "closed"


def test_a_split_after_the_day_counts_twice_the_shares_once(fleet):
    """An order given before a two-for-one split is filled by twice its shares."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    buy = next(one for one in orders(fleet) if one.side is Side.BUY)
    fleet.sql(
        "INSERT INTO corporate_actions SELECT security_id, :day, 'split', 2 FROM securities WHERE ticker = :ticker",
        day=TUESDAY,
        ticker=buy.ticker,
    )
    book(fleet, bought(buy, 10))
    assert {one.filled for one in orders(fleet) if one.line == buy.line} == {5}


def test_only_the_newest_run_with_orders_counts(fleet):
    """A later run's orders stand in for those before; looked at through the earlier day, the earlier ones are open."""
    fleet.ready(MONDAY, "ACC-1")
    fleet.ready(TUESDAY, "ACC-1")
    fleet.advance()
    assert {one.run_seq for one in orders(fleet, WEDNESDAY)} == {2}
    assert {one.run_seq for one in orders(fleet, MONDAY)} == {1}
    fill_day(fleet.database, TUESDAY)
    assert orders(fleet, WEDNESDAY) == ()
    assert {one.filled for one in orders(fleet, MONDAY)} == {0}


def test_a_settled_run_has_no_open_orders(fleet):
    """What a person has settled is not open, filled or not."""
    fleet.ready(account_id="ACC-1")
    fleet.advance()
    fleet.sql(
        "INSERT INTO order_settlements (run_id, account_id, status, reason, settled_by, orders) "
        "SELECT run_id, account_id, 'EXPIRED', 'r', 'w', '[]' FROM runs"
    )
    assert orders(fleet) == ()
