from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import permutations

import pytest

from prometheus.accounting.corporate_actions import apply_corporate_actions, split_ratio
from prometheus.accounting.replay import replay
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, TransactionType
from prometheus.domain.lots import Term
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError

EX_DATE = date(2018, 6, 1)


def action(kind, value, *, ticker="XYZ", on=EX_DATE):
    """Return a corporate action."""
    return CorporateAction(ticker, on, kind, Decimal(value))


@pytest.fixture
def apply():
    """Apply actions at a close of the ex-date."""

    def run(lots, *actions: CorporateAction, close="50", regime=TaxRegime.US, fractional=False, cash="0"):
        books = Books(tuple(lots), Decimal(cash))
        closes = {} if close is None else {(a.ticker, a.ex_date): Decimal(close) for a in actions}
        after, rows = apply_corporate_actions(books, actions, closes=closes, regime=regime, fractional=fractional)
        assert replay(rows, books) == after
        return after, rows

    return run


def types(rows):
    """Return what each journal row records."""
    return [row.txn_type for row in rows]


# Rule 13: splits change quantity and basis per share, never total basis or dates; cash for a fraction is a sale.


@pytest.mark.parametrize(
    ("value", "ratio"),
    [
        ("7.0", Fraction(7)),
        ("1.5", Fraction(3, 2)),
        ("0.333333", Fraction(1, 3)),
        ("0.25", Fraction(1, 4)),
        ("0.955", Fraction(191, 200)),
        ("1.0003333", Fraction(10003333, 10000000)),
    ],
)
def test_a_split_factor_is_read_as_a_ratio(value, ratio):
    """A factor rounded to six places is read as the small ratio it stands for, another one as it is."""
    assert split_ratio(Decimal(value)) == ratio


def test_a_split_changes_share_counts_only(apply, make_lot):
    """Seven new shares for one: quantity times seven; total bases and dates as before."""
    lot = make_lot("a", "2017-01-03", 10, "5000", adjusted="5100", holding_period_start="2016-05-02")
    after, rows = apply([lot], action(ActionType.SPLIT, "7.0"), close=None)
    (split,) = after.lots
    assert split.quantity == 70
    assert (split.cost_basis, split.adjusted_basis) == (5000, 5100)
    assert (split.acquired_on, split.holding_period_start) == (lot.acquired_on, lot.holding_period_start)
    assert after.cash == 0
    assert types(rows) == [TransactionType.SPLIT]


def test_a_fraction_is_sold_at_the_close(apply, make_lot):
    """Three for two on 5 shares pays the half share in cash at the ex-date's close, as a sale with gain and term."""
    after, rows = apply([make_lot("a", "2015-01-05", 5, "300")], action(ActionType.SPLIT, "1.5"), close="50.01")
    assert [(lot.quantity, lot.adjusted_basis) for lot in after.lots] == [(7, 280)]
    assert after.cash == Decimal("25.00")  # 25.005 to the even cent
    sale = rows[-1]
    assert (sale.txn_type, sale.quantity, sale.basis) == (TransactionType.CASH_IN_LIEU, Decimal("-0.5"), -20)
    assert (sale.realized_gain, sale.term) == (5, Term.LONG)


def test_fractions_of_lots_that_make_a_share_are_kept(apply, make_lot):
    """The fraction is that of the whole position: two lots of 3 become 4.5 each and nothing is sold."""
    lots = [make_lot("a", "2017-01-03", 3, "30"), make_lot("b", "2017-02-03", 3, "30")]
    after, rows = apply(lots, action(ActionType.SPLIT, "1.5"))
    assert [lot.quantity for lot in after.lots] == [Decimal("4.5"), Decimal("4.5")]
    assert after.cash == 0
    assert types(rows) == [TransactionType.SPLIT] * 2


def test_the_fraction_comes_out_of_the_earliest_lots(apply, make_lot):
    """One for three on 1 + 1 shares held pays two thirds of a share: the older lot whole, the rest of the younger."""
    lots = [make_lot("young", "2017-02-03", 1, "30"), make_lot("old", "2017-01-03", 1, "30")]
    after, rows = apply(lots, action(ActionType.SPLIT, "0.333333"), close="90")
    assert after.lots == ()
    assert [(row.lot_id, row.quantity) for row in rows[2:]] == [
        ("old", Decimal("-0.3333")),
        ("young", Decimal("-0.3334")),
    ]
    assert after.cash == Decimal("60.01")  # 30.00 and 30.01
    assert sum(row.realized_gain for row in rows) == Decimal("0.01")


def test_thirds_stay_on_the_brokers_grid(apply, make_lot):
    """Lots are kept to four decimals, rounded from the running total, so the position is right to half a step."""
    lots = [make_lot(f"L{i}", f"2017-01-0{i}", 100, "900") for i in (3, 4, 5)]
    after, _ = apply(lots, action(ActionType.SPLIT, "0.333333"), fractional=True)
    assert [lot.quantity for lot in after.lots] == [Decimal("33.3333"), Decimal("33.3334"), Decimal("33.3333")]
    assert after.cash == 0
    whole, rows = apply(lots, action(ActionType.SPLIT, "0.333333"))
    assert whole.quantity_of("XYZ") == 100
    assert TransactionType.CASH_IN_LIEU not in types(rows)


def test_a_lot_too_small_to_survive_is_paid_out(apply, make_lot):
    """A lot that a reverse split leaves with less than half a step is sold for nothing; its basis is a loss."""
    lots = [make_lot("dust", "2017-01-03", "0.0001", "0.02"), make_lot("rest", "2017-01-04", 3, "30")]
    after, rows = apply(lots, action(ActionType.SPLIT, "0.333333"), fractional=True)
    assert [(lot.lot_id, lot.quantity) for lot in after.lots] == [("rest", 1)]
    assert (rows[0].txn_type, rows[0].realized_gain, rows[0].amount) == (
        TransactionType.CASH_IN_LIEU,
        Decimal("-0.02"),
        0,
    )


def test_shares_bought_on_the_ex_date_are_not_touched(apply, make_lot):
    """A lot bought on the ex-date or later trades ex already: no split, no dividend, no distribution."""
    lots = [make_lot("before", "2018-05-31", 10, "500"), make_lot("on", "2018-06-01", 10, "250")]
    for kind, value in ((ActionType.SPLIT, "2"), (ActionType.DIVIDEND, "1"), (ActionType.SPINOFF_VALUE, "25")):
        after, _ = apply(lots, action(kind, value))
        assert after.lots[1] == lots[1]
        assert (after.lots[0] != lots[0]) is (kind is not ActionType.DIVIDEND)
        assert after.cash == {ActionType.SPLIT: 0, ActionType.DIVIDEND: 10, ActionType.SPINOFF_VALUE: 250}[kind]


@pytest.mark.parametrize("kind", [ActionType.DIVIDEND, ActionType.SPECIAL_DIVIDEND])
def test_dividends_are_cash(apply, make_lot, kind):
    """A dividend pays cash for the whole position, rounded once, and leaves lots alone."""
    lots = [make_lot("a", "2017-01-03", "10.5", "100"), make_lot("b", "2017-01-04", "3", "100")]
    after, (row,) = apply(lots, action(kind, "0.37"), close=None, cash="1")
    assert after.lots == tuple(lots)
    assert after.cash == Decimal("6.00")  # 13.5 * 0.37 = 4.995, to the even cent
    assert (row.txn_type.value, row.lot_id, row.realized_gain) == (kind.value.upper(), None, 0)
    assert row.details["shares"] == "13.5"


@pytest.mark.parametrize("kind", [ActionType.SPINOFF_VALUE, ActionType.STOCK_DISTRIBUTION_VALUE])
def test_a_distribution_takes_its_part_of_the_basis(apply, make_lot, kind):
    """Worth 25 beside a close of 50, it takes a third of each basis, pays 25 a share; the gain is the difference."""
    lot = make_lot("a", "2015-01-05", 10, "300", adjusted="330")
    after, (row,) = apply([lot], action(kind, "25"))
    (kept,) = after.lots
    assert (kept.quantity, kept.cost_basis, kept.adjusted_basis) == (10, 200, 220)
    assert kept.holding_period_start == lot.holding_period_start
    assert after.cash == 250
    assert (row.basis, row.realized_gain, row.term) == (-110, 140, Term.LONG)


def test_a_price_factor_distributes_the_missing_part_of_the_price(apply, make_lot):
    """A factor of 1.5 at a close of 50 says that 25 a share were distributed; the share count does not change."""
    after, (row,) = apply([make_lot("a", "2018-01-05", 10, "900")], action(ActionType.SPINOFF_PRICE_FACTOR, "1.5"))
    assert [(lot.quantity, lot.adjusted_basis) for lot in after.lots] == [(10, 600)]
    assert (after.cash, row.realized_gain, row.term) == (250, -50, Term.SHORT)
    assert row.txn_type is TransactionType.SPINOFF


def test_a_price_factor_below_one_consolidates_shares(apply, make_lot):
    """A factor of 0.955 would be a negative distribution; it is booked as 191 shares for 200, the fraction in cash."""
    after, rows = apply(
        [make_lot("a", "2018-01-05", 100, "4000")], action(ActionType.SPINOFF_PRICE_FACTOR, "0.955"), close="48.90"
    )
    assert [(lot.quantity, lot.adjusted_basis) for lot in after.lots] == [(95, Decimal("3979.06"))]
    assert after.cash == Decimal("24.45")
    assert types(rows) == [TransactionType.SPLIT, TransactionType.CASH_IN_LIEU]


def test_splits_come_before_what_is_paid_on_the_same_day(apply, make_lot):
    """A day's values are quoted for a share after its split, so the split comes first, however the rows arrive."""
    actions = (
        action(ActionType.DIVIDEND, "1"),
        action(ActionType.SPLIT, "0.25"),
        action(ActionType.SPINOFF_VALUE, "30"),
        action(ActionType.STOCK_DISTRIBUTION_VALUE, "20"),
    )
    lot = make_lot("a", "2017-01-03", 40, "1000")
    results = [apply([lot], *order) for order in permutations(actions)]
    after, rows = results[0]
    assert types(rows) == [
        TransactionType.SPLIT,
        TransactionType.SPINOFF,
        TransactionType.STOCK_DISTRIBUTION,
        TransactionType.DIVIDEND,
    ]
    # 10 shares with 30 + 20 distributed beside a close of 50: the basis goes 30 : 20 : 50
    assert [row.basis for row in rows] == [0, -300, -200, 0]
    assert after.cash == 300 + 200 + 10
    assert all(result == results[0] for result in results)


def test_actions_of_days_follow_each_other(apply, make_lot):
    """Actions of several days are taken in the order of their ex-dates."""
    later = action(ActionType.DIVIDEND, "1", on=date(2018, 6, 4))
    after, rows = apply([make_lot("a", "2017-01-03", 10, "1000")], later, action(ActionType.SPLIT, "2"))
    assert types(rows) == [TransactionType.SPLIT, TransactionType.DIVIDEND]
    assert after.cash == 20


def test_securities_not_held_are_passed_over(apply, make_lot):
    """An action of a security the account does not hold books nothing and needs no price."""
    books, rows = apply(
        [make_lot("a", "2017-01-03", 10, "1000")], action(ActionType.SPINOFF_VALUE, "9", ticker="ABC"), close=None
    )
    assert rows == ()
    assert books.cash == 0


def test_canadian_lots_are_pooled_before_they_change(apply, make_lot):
    """A fraction sold out of a Canadian position has the average cost of all of it, and no term (rule 14)."""
    lots = [make_lot("a", "2015-01-05", 3, "30"), make_lot("b", "2016-01-05", 2, "120")]
    after, rows = apply(lots, action(ActionType.SPLIT, "1.5"), regime=TaxRegime.CA)
    assert types(rows) == [*[TransactionType.POOL] * 3, TransactionType.SPLIT, TransactionType.CASH_IN_LIEU]
    assert (rows[-1].basis, rows[-1].realized_gain, rows[-1].term) == (-10, 15, Term.NONE)
    assert [(lot.lot_id, lot.quantity, lot.adjusted_basis) for lot in after.lots] == [("ACB-XYZ", 7, 140)]


def test_dividends_do_not_pool(apply, make_lot):
    """A dividend changes no lot, so a Canadian account's lots stay as they are."""
    lots = (make_lot("a", "2015-01-05", 3, "30"), make_lot("b", "2016-01-05", 2, "120"))
    assert apply(lots, action(ActionType.DIVIDEND, "1"), regime=TaxRegime.CA)[0].lots == lots


@pytest.mark.parametrize(
    ("kind", "value", "close", "message"),
    [
        (ActionType.SPLIT, "0", "50", "factor of 0"),
        (ActionType.SPLIT, "-2", "50", "factor of -2"),
        (ActionType.SPLIT, "1.5", None, "close, which is missing"),
        (ActionType.SPINOFF_PRICE_FACTOR, "0", "50", "not positive"),
        (ActionType.SPINOFF_PRICE_FACTOR, "1.1", None, "close, which is missing"),
        (ActionType.SPINOFF_VALUE, "-1", "50", "negative value -1"),
        (ActionType.SPINOFF_VALUE, "1", "0", "close, which is 0"),
        (ActionType.DIVIDEND, "-1", "50", "negative value -1"),
    ],
)
def test_actions_that_make_no_sense_are_refused(apply, make_lot, kind, value, close, message):
    """An impossible factor or value, or a close that is needed and missing, is refused with ticker and day."""
    with pytest.raises(AccountingError, match=message):
        apply([make_lot("a", "2017-01-03", 5, "100")], action(kind, value), close=close)
