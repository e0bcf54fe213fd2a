from datetime import date, timedelta
from decimal import Decimal

import pytest

from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import opening_transactions, recent_trades
from prometheus.accounting.replay import replay
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, Fill, LotPick, TransactionType
from prometheus.domain.lots import RecentTrade, Side, Term
from prometheus.foundation.errors import AccountingError, OversoldError

DAY = date(2018, 6, 1)


def buy(execution_id, quantity, price, *, on=DAY, fee="0", lot_id=None, ticker="XYZ"):
    """Return a purchase that opens a lot named after the execution."""
    return Fill(
        execution_id=execution_id,
        ticker=ticker,
        side=Side.BUY,
        trade_date=on,
        quantity=Decimal(str(quantity)),
        price=Decimal(str(price)),
        fee=Decimal(fee),
        new_lot_id=lot_id or f"lot-{execution_id}",
    )


def sell(execution_id, picks, price, *, on=DAY, fee="0", ticker="XYZ", quantity=None):
    """Return a sale of the picked lots."""
    chosen = tuple(LotPick(lot_id, Decimal(str(shares))) for lot_id, shares in picks.items())
    return Fill(
        execution_id=execution_id,
        ticker=ticker,
        side=Side.SELL,
        trade_date=on,
        quantity=sum((pick.quantity for pick in chosen), Decimal(0)) if quantity is None else Decimal(str(quantity)),
        price=Decimal(str(price)),
        fee=Decimal(fee),
        lot_picks=chosen,
    )


@pytest.fixture
def us(us_rates):
    """Apply fills to the books of a US account."""

    def run(books, *fills: Fill, trades=(), group_of=None):
        return apply_fills(books, fills, rates=us_rates, regime=TaxRegime.US, recent_trades=trades, group_of=group_of)

    return run


@pytest.fixture
def ca(ca_rates):
    """Apply fills to the books of a Canadian account."""

    def run(books, *fills: Fill, trades=()):
        return apply_fills(books, fills, rates=ca_rates, regime=TaxRegime.CA, recent_trades=trades)

    return run


def types(rows):
    """Return what each journal row records."""
    return [row.txn_type for row in rows]


def test_a_purchase_opens_a_lot_with_its_commission(us):
    """The commission is part of the basis, and cash pays both (rule 14; 26 U.S.C. 1012)."""
    books, (row,) = us(Books(cash=Decimal(1000)), buy("e1", 10, "50.005", fee="1.25"))
    (lot,) = books.lots
    assert (lot.lot_id, lot.acquired_on, lot.holding_period_start) == ("lot-e1", DAY, DAY)
    assert lot.cost_basis == lot.adjusted_basis == Decimal("501.30")
    assert books.cash == Decimal("498.70")
    assert (row.quantity, row.amount, row.basis, row.realized_gain) == (10, -lot.cost_basis, lot.cost_basis, 0)
    assert row.details["execution_id"] == "e1"


def test_a_sale_consumes_the_named_lots(us, make_lot):
    """The picked lots are sold in the order of the picks, a row each, and the commission lowers the proceeds."""
    books = Books((make_lot("a", "2015-01-05", 10, "100"), make_lot("b", "2018-01-02", 10, "300")), Decimal(0))
    after, rows = us(books, sell("e1", {"b": 4, "a": 10}, 20, fee="1.40"))
    assert [(lot.lot_id, lot.quantity, lot.adjusted_basis) for lot in after.lots] == [("b", 6, 180)]
    assert after.cash == Decimal("278.60")
    assert [(row.lot_id, row.realized_gain, row.term) for row in rows] == [
        ("b", Decimal("-40.40"), Term.SHORT),
        ("a", Decimal("99.00"), Term.LONG),
    ]


def test_sales_of_the_day_pay_for_its_purchases(us, make_lot):
    """Within a day sales come first, so cash is judged at the end of the day and not by the order of arrival."""
    books = Books((make_lot("a", "2015-01-05", 10, "100"),), Decimal(0))
    after, rows = us(books, buy("e1", 4, 50, ticker="ABC"), sell("e2", {"a": 10}, 20))
    assert types(rows) == [TransactionType.SELL, TransactionType.BUY]
    assert after.cash == 0


def test_cash_below_zero_is_refused(us):
    """A day that ends with negative cash is an error that says by how much."""
    with pytest.raises(AccountingError, match=r"cash of -0\.01") as caught:
        us(Books(cash=Decimal("99.99")), buy("e1", 1, 100))
    assert caught.value.details == {"trade_date": "2018-06-01", "cash": "-0.01"}


def test_a_sale_may_mend_an_overdraft(us, make_lot):
    """An account taken over with negative cash may sell; it may not go deeper."""
    books = Books((make_lot("a", "2015-01-05", 10, "100"),), Decimal(-50))
    assert us(books, sell("e1", {"a": 1}, 20))[0].cash == -30
    with pytest.raises(AccountingError, match="cash of -51"):
        us(books, buy("e1", 1, 1))


@pytest.mark.parametrize(("days", "basis", "counted"), [(30, 1050, 0), (31, 800, -250)])
def test_a_purchase_washes_an_earlier_loss(us, make_lot, days, basis, counted):
    """A purchase on day 30 after a loss sale takes the loss into its basis; on day 31 it does not (rule 10)."""
    books = Books((make_lot("old", "2017-01-03", 100, "1000"),), Decimal(1000))
    bought = DAY + timedelta(days=days)
    after, rows = us(books, sell("s1", {"old": 100}, "7.50"), buy("p1", 100, 8, on=bought))
    assert [lot.adjusted_basis for lot in after.lots] == [basis]
    assert sum(row.realized_gain for row in rows) == counted


def test_an_earlier_purchase_washes_a_loss_of_the_day(us, make_lot):
    """A sale at a loss beside a lot bought within 30 days is washed for that lot's shares, which then carry it."""
    books = Books((make_lot("old", "2017-01-03", 100, "1000"), make_lot("new", "2018-05-20", 40, "300")), Decimal(0))
    after, rows = us(books, sell("s1", {"old": 100}, "7.50"))
    (lot,) = after.lots
    assert (lot.lot_id, lot.adjusted_basis, lot.cost_basis) == ("new", 400, 300)
    assert types(rows) == [TransactionType.SELL, TransactionType.WASH_SALE]
    assert (rows[1].realized_gain, rows[1].term, rows[1].details["loss_date"]) == (100, Term.LONG, "2018-06-01")


def test_shares_sold_the_same_day_replace_nothing(us, make_lot):
    """Section 13: liquidating what is recent together with the loss lot is no wash sale, in any order of executions."""
    books = Books((make_lot("old", "2017-01-03", 100, "1000"), make_lot("new", "2018-05-20", 40, "300")), Decimal(0))
    for first, second in (("old", "new"), ("new", "old")):
        held = {"old": 100, "new": 40}
        fills = (sell("e1", {first: held[first]}, "7.50"), sell("e2", {second: held[second]}, "7.50"))
        after, rows = us(books, *fills)
        assert after.lots == ()
        assert types(rows) == [TransactionType.SELL, TransactionType.SELL]


def test_recent_trades_reach_into_the_call(us, make_lot):
    """A loss sold in an earlier call, given as a recent trade, is washed by a purchase of this call, once."""
    books = Books((make_lot("old", "2017-01-03", 100, "1000"),), Decimal(1000))
    sold, journal = us(books, sell("s1", {"old": 100}, "7.50"))
    for number in (1, 2):
        bought = DAY + timedelta(days=number)
        trades = recent_trades(journal, bought)
        sold, rows = us(sold, buy(f"p{number}", 60, 8, on=bought), trades=trades)
        journal += rows
    washed = [row.details["shares"] for row in journal if row.txn_type is TransactionType.WASH_SALE]
    assert washed == ["60", "40"]
    assert sum(lot.adjusted_basis - lot.cost_basis for lot in sold.lots) == 250


def test_a_lot_opened_and_sold_the_same_day(us):
    """A sale that names a lot opened on its day is booked after the purchase, whatever its execution id."""
    after, rows = us(Books(cash=Decimal(1000)), sell("a", {"lot-b": 10}, 9), buy("b", 10, 10))
    assert after == Books((), Decimal(990))
    assert types(rows) == [TransactionType.BUY, TransactionType.SELL]


def test_a_gain_is_never_washed(us, make_lot):
    """A purchase after a sale at a gain leaves the gain alone (rule 2)."""
    books = Books((make_lot("old", "2017-01-03", 100, "1000"),), Decimal(0))
    _, rows = us(books, sell("s1", {"old": 100}, 12), buy("p1", 100, 12))
    assert types(rows) == [TransactionType.SELL, TransactionType.BUY]


def test_groups_reach_across_tickers(us, make_lot):
    """A purchase of the other share class washes the loss when policy puts both into one group."""
    books = Books((make_lot("old", "2017-01-03", 10, "1000"),), Decimal(0))
    fills = (sell("s1", {"old": 10}, 90), buy("p1", 10, 90, ticker="XYZ.B"))
    assert TransactionType.WASH_SALE not in types(us(books, *fills)[1])
    assert TransactionType.WASH_SALE in types(us(books, *fills, group_of={"XYZ": "G", "XYZ.B": "G"})[1])


def test_vector_9_canada(ca):
    """Day 0 buy 100 at 3 + 2, day 50 sell 99 at 2, day 51 buy 25 at 2.2 + 2: denied 25.50, ACB 85.52 on 26."""
    books, rows = ca(
        Books(cash=Decimal(400)),
        buy("e1", 100, 3, fee="2"),
        sell("e2", {}, 2, on=DAY + timedelta(days=50), quantity=99),
        buy("e3", 25, "2.2", on=DAY + timedelta(days=51), fee="2"),
    )
    gains = {row.txn_type: row.realized_gain for row in rows if row.realized_gain}
    assert gains == {
        TransactionType.SELL: Decimal("-100.98"),
        TransactionType.SUPERFICIAL_LOSS: Decimal("25.50"),
    }
    assert sum(gains.values()) == Decimal("-75.48")
    (pool,) = books.lots
    assert (pool.lot_id, pool.quantity, pool.adjusted_basis) == ("ACB-XYZ", 26, Decimal("85.52"))
    assert pool.cost_basis == Decimal("60.02")


def test_canadian_lots_are_pooled_before_they_trade(ca, make_lot):
    """The lots of a security that trades become one pool, with rows that say so; others are left alone."""
    books = Books(
        (
            make_lot("a", "2015-01-05", 10, "100"),
            make_lot("b", "2016-01-05", 30, "500"),
            make_lot("c", "2016-01-05", 1, "5", ticker="ABC"),
        )
    )
    after, rows = ca(books, sell("e1", {"ACB-XYZ": 20}, 20))
    assert types(rows) == [TransactionType.POOL] * 3 + [TransactionType.SELL]
    assert {lot.lot_id: (lot.quantity, lot.adjusted_basis) for lot in after.lots} == {
        "c": (1, 5),
        "ACB-XYZ": (20, 300),
    }
    assert rows[-1].realized_gain == 100
    assert replay(rows, books) == after


def test_a_canadian_loss_beside_an_earlier_purchase(ca, make_lot):
    """A purchase of the 30 days before, proved by its lot, makes the loss superficial as far as shares are held."""
    books = Books((make_lot("a", "2015-01-05", 90, "1000"), make_lot("b", "2018-05-20", 10, "100")))
    after, rows = ca(books, sell("e1", {}, 5, quantity=40))
    assert rows[-1].txn_type is TransactionType.SUPERFICIAL_LOSS
    assert (rows[-2].realized_gain, rows[-1].realized_gain) == (-240, 60)
    assert after.lots[0].adjusted_basis == 720
    everything, rows = ca(books, sell("e1", {}, 5, quantity=100))
    assert everything.lots == ()
    assert types(rows)[-1] is TransactionType.SELL


def test_day_order_does_not_depend_on_arrival(us, make_lot):
    """Fills in reverse order of arrival leave the same books and the same journal."""
    books = Books((make_lot("old", "2017-01-03", 100, "1000"), make_lot("x", "2017-02-03", 50, "700")), Decimal(2000))
    fills = (
        sell("s1", {"old": 60}, "7.50"),
        sell("s2", {"x": 50, "old": 10}, "7.40"),
        buy("p1", 30, 8),
        buy("p2", 30, "8.1", on=DAY + timedelta(days=9)),
    )
    assert us(books, *fills) == us(books, *fills[::-1])


def test_the_journal_rebuilds_the_books(us, make_lot):
    """Replayed from zero the journal gives lots and cash to the last digit."""
    books = Books((make_lot("old", "2017-01-03", "100.1234", "1000.01"),), Decimal("2000.50"))
    after, rows = us(books, sell("s1", {"old": "60.0001"}, "7.5123"), buy("p1", "30.3333", "8.0007", fee="0.99"))
    assert replay((*opening_transactions(books, date(2018, 1, 2)), *rows)) == after


def test_a_duplicate_execution_is_refused(us):
    """The same execution id twice in one call is an error that names it."""
    with pytest.raises(AccountingError, match=r"e1 .* comes twice"):
        us(Books(cash=Decimal(100)), buy("e1", 1, 1), buy("e1", 1, 1, lot_id="other"))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (buy("e1", 0, 1), "must be positive"),
        (buy("e1", 1, 0), "must be positive"),
        (buy("e1", 1, 1, fee="-1"), "not negative"),
        (buy("e1", 1, 1, fee="0.001"), "in cents"),
        (buy("e1", 1, 1, lot_id="x~W1-y"), "marks lots split"),
        (Fill("e1", "XYZ", Side.BUY, DAY, Decimal(1), Decimal(1)), "give new_lot_id"),
        (Fill("e1", "XYZ", Side.BUY, DAY, Decimal(1), Decimal(1), lot_picks=(LotPick("a", Decimal(1)),)), "picks lots"),
        (sell("e1", {"a": 1}, 1, quantity=2), "add up to 1"),
        (sell("e1", {}, 1, quantity=2), "add up to 0"),
        (buy("e1", 1, 1, lot_id="a"), "hold one of that name"),
    ],
)
def test_fills_that_contradict_themselves_are_refused(us, make_lot, fill, message):
    """A fill with impossible numbers, names or picks is refused before anything is booked."""
    with pytest.raises(AccountingError, match=message):
        us(Books((make_lot("a", "2017-01-03", 5, "5"),), Decimal(100)), fill)


def test_overselling_is_refused(us, ca, make_lot):
    """A sale of a lot not held, of another ticker's lot, or of more than it holds is an OVERSOLD error."""
    books = Books((make_lot("a", "2017-01-03", 5, "5"), make_lot("b", "2017-01-03", 5, "5", ticker="ABC")))
    with pytest.raises(OversoldError, match="do not hold"):
        us(books, sell("e1", {"gone": 1}, 1))
    with pytest.raises(OversoldError, match="out of lot b"):
        us(books, sell("e1", {"b": 1}, 1))
    with pytest.raises(OversoldError, match="it holds 5"):
        us(books, sell("e1", {"a": "5.0001"}, 1))
    with pytest.raises(OversoldError):
        ca(Books(), sell("e1", {}, 1, quantity=1))


def test_canada_picks_the_pool_or_nothing(ca, make_lot):
    """A Canadian sale that picks a lot other than the pool is refused."""
    with pytest.raises(AccountingError, match="must pick the pool ACB-XYZ"):
        ca(Books((make_lot("a", "2017-01-03", 5, "5"),)), sell("e1", {"a": 1}, 1))


def test_a_known_purchase_that_served_is_not_used_again(us, make_lot):
    """A recent purchase whose shares have all replaced others washes nothing more."""
    books = Books((make_lot("old", "2017-01-03", 10, "1000"), make_lot("new", "2018-05-20", 10, "900")))
    served = RecentTrade("XYZ", date(2018, 5, 20), Side.BUY, Decimal(10), lot_id="new", unreplaced=Decimal(0))
    _, rows = us(books, sell("s1", {"old": 10}, 90), trades=[served])
    assert types(rows) == [TransactionType.SELL]
