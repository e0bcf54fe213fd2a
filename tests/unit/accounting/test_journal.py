from datetime import date
from decimal import Decimal

import pytest

from prometheus.accounting.corporate_actions import apply_corporate_actions
from prometheus.accounting.fills import apply_fills
from prometheus.accounting.journal import (
    lot_change,
    opening_transactions,
    pooling_transactions,
    recent_trades,
)
from prometheus.accounting.replay import replay
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, Fill, LotPick, Transaction, TransactionType
from prometheus.domain.lots import Side
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.canonical import canonical_json
from prometheus.foundation.errors import AccountingError

DAY = date(2018, 6, 1)


@pytest.fixture
def trade(us_rates):
    """Apply fills to US books."""

    def run(books, *fills: Fill, trades=()):
        return apply_fills(books, fills, rates=us_rates, regime=TaxRegime.US, recent_trades=trades)

    return run


@pytest.fixture
def washed(trade, make_lot):
    """Books and journal after 100 shares sold at a loss of 250, 40 of them bought back five days later."""
    opening = Books((make_lot("old", "2017-01-03", 100, "1000"),), Decimal(1000))
    sale = Fill("s1", "XYZ", Side.SELL, DAY, Decimal(100), Decimal("7.5"), lot_picks=(LotPick("old", Decimal(100)),))
    purchase = Fill("p1", "XYZ", Side.BUY, date(2018, 6, 6), Decimal(40), Decimal(8), new_lot_id="new")
    books, rows = trade(opening, sale, purchase)
    return books, (*opening_transactions(opening, date(2018, 1, 2)), *rows)


def test_opening_rows_rebuild_the_opening_books(make_lot):
    """Cash and lots brought into the system are journal rows like any other."""
    washed_lot = make_lot("a", "2017-01-03", 3, "10", adjusted="12", holding_period_start="2016-01-04")
    books = Books((washed_lot, make_lot("b", "2017-01-03", "0.5", "7")), Decimal("12.34"))
    rows = opening_transactions(books, DAY)
    assert replay(rows) == books
    assert rows[0].lot_id is None
    assert rows[1].cost_basis == 10
    assert rows[1].basis == 12


def test_rows_are_json(washed):
    """Every row's details have a canonical JSON form, so that a database can keep and hash them."""
    _, rows = washed
    assert all(canonical_json(row.details).startswith("{") for row in rows)


def test_replaying_in_two_parts_is_the_same(washed):
    """A journal may be replayed from books in its middle."""
    books, rows = washed
    assert replay(rows) == replay(rows[3:], replay(rows[:3])) == books


def test_a_row_describes_one_lot(make_lot):
    """A change from one lot to another, or of none, is refused."""
    first, second = make_lot("a", "2017-01-03", 1, "1"), make_lot("b", "2017-01-03", 1, "1")
    with pytest.raises(AccountingError, match="exactly one lot"):
        lot_change(TransactionType.SPLIT, DAY, first, second)
    with pytest.raises(AccountingError, match="exactly one lot"):
        lot_change(TransactionType.SPLIT, DAY, None, None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Transaction(TransactionType.SELL, DAY, "XYZ", "a", quantity=Decimal(-4)), "takes 4 shares of 3"),
        (Transaction(TransactionType.SELL, DAY, "XYZ", "a", quantity=Decimal(-3)), "leaves a basis of 10"),
        (Transaction(TransactionType.BUY, DAY, "XYZ", "b", quantity=Decimal(3)), "opens a lot without its dates"),
    ],
)
def test_a_broken_journal_is_refused(make_lot, row, message):
    """A row that takes too much, strands basis or has no beginning stops the replay with its date and lot."""
    with pytest.raises(AccountingError, match=message):
        replay([row], Books((make_lot("a", "2017-01-03", 3, "10"),)))


def test_recent_trades_know_what_is_washed(washed):
    """The journal tells of a loss how much is washed and of a purchase how much of it has served."""
    _, rows = washed
    sale, purchase = recent_trades(rows, date(2018, 6, 30))
    assert (sale.side, sale.quantity, sale.realized_gain) == (Side.SELL, 100, -250)
    assert (sale.washed_quantity, sale.disallowed_loss) == (40, 100)
    assert (sale.acquired_on, sale.holding_period_start, sale.execution_id) == (*[date(2017, 1, 3)] * 2, "s1")
    assert (purchase.side, purchase.quantity, purchase.unreplaced, purchase.lot_id) == (Side.BUY, 40, 0, "new")


def test_recent_trades_look_back_over_the_windows(washed):
    """Sales reach back 30 days and purchases 60, the last day inside; trades still to come are not there."""
    _, rows = washed
    assert [t.side for t in recent_trades(rows, date(2018, 7, 1))] == [Side.SELL, Side.BUY]
    assert [t.side for t in recent_trades(rows, date(2018, 7, 2))] == [Side.BUY]
    assert [t.side for t in recent_trades(rows, date(2018, 8, 5))] == [Side.BUY]
    assert recent_trades(rows, date(2018, 8, 6)) == ()
    assert [t.side for t in recent_trades(rows, DAY)] == [Side.SELL]


def test_a_part_that_served_leaves_the_rest_of_its_purchase(trade, make_lot):
    """Of a purchase that served in part, the shares of the split-off lot are taken off."""
    opening = Books((make_lot("old", "2017-01-03", 10, "1000"),), Decimal(5000))
    sale = Fill("s1", "XYZ", Side.SELL, DAY, Decimal(10), Decimal(90), lot_picks=(LotPick("old", Decimal(10)),))
    purchase = Fill("p1", "XYZ", Side.BUY, DAY, Decimal(40), Decimal(90), new_lot_id="new")
    _, rows = trade(opening, sale, purchase)
    assert [t.unreplaced for t in recent_trades(rows, DAY) if t.side is Side.BUY] == [30]


def test_a_lot_that_served_whole_is_used_up(trade, make_lot):
    """A purchase of which the shares not sold have all served has none left, though fewer served than were bought."""
    opening = Books((make_lot("old", "2017-01-03", 10, "1000"), make_lot("new", "2018-05-20", 25, "2000")))
    part = Fill("s1", "XYZ", Side.SELL, DAY, Decimal(15), Decimal(90), lot_picks=(LotPick("new", Decimal(15)),))
    loss = Fill("s2", "XYZ", Side.SELL, DAY, Decimal(10), Decimal(90), lot_picks=(LotPick("old", Decimal(10)),))
    _, rows = trade(opening, part, loss)
    journal = (*opening_transactions(opening, date(2018, 5, 21)), *rows)
    bought = {t.lot_id: t.unreplaced for t in recent_trades(journal, DAY) if t.side is Side.BUY}
    assert bought == {"new": 0}


def test_a_superficial_loss_uses_up_no_purchase(make_lot, ca_rates):
    """Canada looks at each disposition by itself: the loss tells what is denied, the purchase stays whole."""
    opening = Books((make_lot("a", "2015-01-05", 90, "1000"), make_lot("b", "2018-05-20", 10, "100")))
    sale = Fill("s1", "XYZ", Side.SELL, DAY, Decimal(40), Decimal(5))
    _, rows = apply_fills(opening, (sale,), rates=ca_rates, regime=TaxRegime.CA)
    trades = recent_trades((*opening_transactions(opening, date(2018, 5, 21)), *rows), DAY)
    bought, sold = trades
    assert (bought.lot_id, bought.unreplaced) == ("b", 10)
    assert (sold.washed_quantity, sold.disallowed_loss) == (10, 60)


def test_an_opening_lot_is_the_purchase_it_was(make_lot):
    """A lot taken over counts as bought on its own date, not on that of the opening."""
    rows = opening_transactions(Books((make_lot("a", "2018-05-20", 3, "10"),)), DAY)
    (purchase,) = recent_trades(rows, DAY)
    assert (purchase.trade_date, purchase.quantity) == (date(2018, 5, 20), 3)
    assert recent_trades(rows, date(2018, 7, 20)) == ()


def test_recent_trades_follow_splits(trade, make_lot):
    """After a split the trades before it are told in today's shares, once for each split, and later ones are not."""
    opening = Books((make_lot("old", "2017-01-03", 20, "2000"), make_lot("keep", "2017-01-03", 5, "1")), Decimal(5000))
    sale = Fill("s1", "XYZ", Side.SELL, DAY, Decimal(20), Decimal(90), lot_picks=(LotPick("old", Decimal(20)),))
    early = Fill("p1", "XYZ", Side.BUY, date(2018, 6, 2), Decimal(8), Decimal(90), new_lot_id="n1")
    books, rows = trade(opening, sale, early)
    split = CorporateAction("XYZ", date(2018, 6, 4), ActionType.SPLIT, Decimal("1.5"))
    books, split_rows = apply_corporate_actions(books, [split], closes={}, regime=TaxRegime.US, fractional=True)
    rows += split_rows
    late = Fill("p2", "XYZ", Side.BUY, date(2018, 6, 5), Decimal(10), Decimal(60), new_lot_id="n2")
    books, late_rows = trade(books, late, trades=recent_trades(rows, date(2018, 6, 5)))
    rows += late_rows
    sold, first, second = recent_trades(rows, date(2018, 6, 6))
    # 20 shares sold are 30 of today's: 12 washed by the first purchase (8 then), 10 by the second
    assert (sold.quantity, sold.washed_quantity, sold.disallowed_loss) == (30, 22, Decimal("146.67"))
    assert (first.quantity, first.unreplaced) == (12, 0)
    assert (second.quantity, second.unreplaced) == (10, 0)


def test_pooling_a_pool_is_no_event(make_lot):
    """A security that is one pool already gives no rows; a stray lot beside the pool is merged into it."""
    pool = make_lot("ACB-XYZ", "2016-01-04", 10, "100")
    assert pooling_transactions([pool], DAY) == ((pool,), ())
    stray = make_lot("L9", "2015-01-05", 5, "80")
    (merged,), rows = pooling_transactions([pool, stray], DAY)
    assert (merged.quantity, merged.adjusted_basis, merged.acquired_on) == (15, 180, date(2015, 1, 5))
    assert replay(rows, Books((pool, stray))) == Books((merged,))
    assert pooling_transactions([], DAY) == ((), ())


def test_books_keep_their_lots_in_one_order(make_lot):
    """Books with the same lots are equal whatever the order they come in, and refuse two lots of one name."""
    first, second = make_lot("b", "2017-01-03", 1, "1"), make_lot("a", "2017-01-04", 2, "1")
    books = Books((second, first))
    assert books == Books((first, second))
    assert books.lots_of("XYZ") == (first, second)
    assert (books.quantity_of("XYZ"), books.quantity_of("ABC")) == (3, 0)
    with pytest.raises(ValueError, match="two lots are called b"):
        Books((first, first))


def test_a_lot_holds_shares(make_lot):
    """A lot without shares is refused by name."""
    with pytest.raises(ValueError, match="lot a: quantity 0 is not positive"):
        make_lot("a", "2017-01-03", 0, "1")
