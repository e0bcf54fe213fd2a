"""Spin-offs into a named child, new symbols and delistings, as the day's actions book them."""

from datetime import date
from decimal import Decimal
from itertools import permutations

import pytest

from prometheus.accounting.corporate_actions import actions_concerning, apply_corporate_actions
from prometheus.accounting.journal import recent_trades
from prometheus.accounting.replay import replay
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.books import Books, Transaction, TransactionType
from prometheus.domain.lots import TaxLot, Term
from prometheus.domain.securities import ActionType, CorporateAction
from prometheus.foundation.errors import AccountingError

DAY, LATER = date(2018, 6, 4), date(2018, 6, 5)
BOUGHT = date(2017, 1, 3)
ZERO = Decimal(0)


def lot(lot_id, ticker, quantity, basis, *, bought=BOUGHT, adjusted=None):
    """A lot whose adjusted basis is its cost unless given."""
    cost = Decimal(basis)
    return TaxLot(lot_id, ticker, bought, Decimal(quantity), cost, Decimal(adjusted or basis), bought)


def spin_off(ticker, child, ratio, fraction, on=DAY):
    """Shares of a child for one of the parent, with a part of its basis."""
    return CorporateAction(ticker, on, ActionType.SPINOFF, Decimal(ratio), child, Decimal(fraction))


def new_symbol(ticker, other, on=DAY):
    """A security that goes on under another symbol."""
    return CorporateAction(ticker, on, ActionType.SYMBOL_CHANGE, Decimal(1), other)


def delisting(ticker, value, on=DAY):
    """A security that ends, for money a share."""
    return CorporateAction(ticker, on, ActionType.DELISTING, Decimal(value))


@pytest.fixture
def apply():
    """Apply actions, whatever their order, at closes of 50; the journal must replay to the books."""

    def run(lots, *actions: CorporateAction, regime=TaxRegime.US, fractional=True, closes=True, traded=()):
        opening = Books(tuple(lots))
        at = {(name, a.ex_date): Decimal(50) for a in actions for name in a.securities} if closes else {}
        found = {
            apply_corporate_actions(opening, order, closes=at, regime=regime, fractional=fractional, traded=traded)[0]
            for order in permutations(actions)
        }
        after, rows = apply_corporate_actions(
            opening, actions, closes=at, regime=regime, fractional=fractional, traded=traded
        )
        assert found == {after}
        assert replay(rows, opening) == after
        assert sum(row.realized_gain - row.basis - row.amount for row in rows if row.lot_id is not None) == 0
        return after, rows

    return run


def shares(books):
    """Return lot to ticker, shares and adjusted basis."""
    return {lot.lot_id: (lot.ticker, lot.quantity, lot.adjusted_basis) for lot in books.lots}


def test_a_spin_off_shares_the_basis_out(apply):
    """One child for four, with 20 % of the basis: 1,000 becomes 800 and 200, and the child keeps the parent's dates."""
    after, rows = apply([lot("a", "PAR", 100, "1000")], spin_off("PAR", "KID", "0.25", "0.2"))
    assert shares(after) == {"a": ("PAR", 100, 800), "a~S-KID": ("KID", 25, 200)}
    assert after.lots_of("KID")[0].acquired_on == BOUGHT
    assert (after.cash, sum(row.realized_gain for row in rows)) == (0, 0)


def test_a_spun_off_fraction_is_sold_at_the_childs_close(apply):
    """Whole shares only: 10 shares at 1 for 4 are two and a half; the half is sold at 50 for 25, of a basis of 20."""
    after, rows = apply([lot("a", "PAR", 10, "500")], spin_off("PAR", "KID", "0.25", "0.2"), fractional=False)
    assert shares(after) == {"a": ("PAR", 10, 400), "a~S-KID": ("KID", 2, 80)}
    (sale,) = [row for row in rows if row.txn_type is TransactionType.CASH_IN_LIEU]
    assert (sale.amount, sale.realized_gain, sale.term, after.cash) == (25, 5, Term.LONG, 25)
    with pytest.raises(AccountingError, match="needs that day's KID close"):
        apply([lot("a", "PAR", 10, "500")], spin_off("PAR", "KID", "0.25", "0.2"), fractional=False, closes=False)


def test_two_children_of_a_day_take_their_parts_of_the_same_basis(apply):
    """20 % and 30 % of 1,000 are 200 and 300, not 30 % of what the first has left."""
    both = spin_off("PAR", "KID", "0.5", "0.2"), spin_off("PAR", "SIS", "1", "0.3")
    after, _ = apply([lot("a", "PAR", 100, "1000")], *both)
    assert shares(after) == {
        "a": ("PAR", 100, 500), "a~S-KID": ("KID", 50, 200), "a~S-SIS": ("SIS", 100, 300)
    }  # fmt: skip
    with pytest.raises(AccountingError, match="needs the child's ticker and the part of the basis"):
        apply([lot("a", "PAR", 100, "1000")], spin_off("PAR", "KID", "1", "0.6"), spin_off("PAR", "SIS", "1", "0.5"))


def test_a_spin_off_counts_shares_after_the_days_split(apply):
    """Two for one and a child for each share on one day: 10 shares have 20 children."""
    split = CorporateAction("PAR", DAY, ActionType.SPLIT, Decimal(2))
    after, _ = apply([lot("a", "PAR", 10, "100")], spin_off("PAR", "KID", "1", "0.5"), split)
    assert shares(after) == {"a": ("PAR", 20, 50), "a~S-KID": ("KID", 20, 50)}


def test_children_have_no_part_in_other_actions_of_their_first_day(apply):
    """Shares received in the morning get no dividend of that day, and take part in everything from the next on."""
    paid = [CorporateAction("KID", on, ActionType.DIVIDEND, Decimal(1)) for on in (DAY, LATER)]
    after, _ = apply([lot("a", "PAR", 10, "100")], spin_off("PAR", "KID", "1", "0.5"), *paid)
    assert after.cash == 10


def test_a_second_spin_off_of_a_child_makes_lots_of_its_own(apply):
    """The same child handed out twice gives two lots under different names."""
    after, _ = apply(
        [lot("a", "PAR", 10, "100")], spin_off("PAR", "KID", "1", "0.5"), spin_off("PAR", "KID", "1", "0.5", on=LATER)
    )
    assert shares(after) == {"a": ("PAR", 10, 25), "a~S-KID": ("KID", 10, 50), "a~S2-KID": ("KID", 10, 25)}


def test_canada_spins_off_into_the_childs_pool(apply):
    """Lots of parent and child are pools; the child's pool takes the part of the adjusted cost base."""
    held = [lot("a", "PAR", 60, "600"), lot("b", "PAR", 40, "400"), lot("k", "KID", 5, "10")]
    after, _ = apply(held, spin_off("PAR", "KID", "0.5", "0.2"), regime=TaxRegime.CA)
    assert shares(after) == {"ACB-PAR": ("PAR", 100, 800), "ACB-KID": ("KID", 55, 210)}


def test_a_new_symbol_changes_nothing_else(apply):
    """Basis, dates and shares stay; a dividend of the day counts under the old symbol and under the new one."""
    held = [lot("a", "OLD", 10, "100", adjusted="110"), lot("b", "OLD", 5, "60", bought=DAY)]
    for ticker in ("OLD", "NEW"):
        paid = CorporateAction(ticker, DAY, ActionType.DIVIDEND, Decimal(2))
        after, _ = apply(held, new_symbol("OLD", "NEW"), paid)
        assert shares(after) == {"a": ("NEW", 10, 110), "b": ("NEW", 5, 60)}
        assert after.cash == 20, "the lot bought on the ex-date has no dividend"


@pytest.mark.parametrize("regime", list(TaxRegime))
def test_two_securities_swap_their_symbols(apply, regime):
    """Class A takes the symbol that class C gives up, on one day: all changes of a day happen at once."""
    held = [lot("a", "UA", 10, "100"), lot("c", "UA.C", 20, "300"), lot("x", "XX", 1, "7")]
    changes = new_symbol("UA", "UAA"), new_symbol("UA.C", "UA"), new_symbol("XX", "UA.C")
    after, rows = apply(held, *changes, regime=regime)
    assert {lot.ticker: (lot.quantity, lot.cost_basis) for lot in after.lots} == {
        "UAA": (10, 100), "UA": (20, 300), "UA.C": (1, 7)
    }  # fmt: skip
    assert sum(row.amount for row in rows) == 0
    if regime is TaxRegime.CA:
        assert {lot.lot_id for lot in after.lots} == {"ACB-UAA", "ACB-UA", "ACB-UA.C"}


def test_a_pool_merges_with_that_of_its_new_symbol(apply):
    """Where the new symbol is held already, Canada has one pool of both afterwards."""
    held = [lot("a", "OLD", 10, "100"), lot("b", "NEW", 30, "500"), lot("c", "NEW", 10, "60")]
    after, _ = apply(held, new_symbol("OLD", "NEW"), regime=TaxRegime.CA)
    assert shares(after) == {"ACB-NEW": ("NEW", 50, 660)}


def test_a_delisting_for_cash_sells_every_lot(apply):
    """12.50 a share for 10 and 5 shares: gains by lot, each with its term, and no lot is left."""
    held = [lot("a", "END", 10, "100"), lot("b", "END", 5, "70", bought=date(2018, 3, 1))]
    after, rows = apply(held, delisting("END", "12.5"))
    assert (after.lots, after.cash) == ((), Decimal("187.50"))
    assert [(row.lot_id, row.realized_gain, row.term) for row in rows] == [
        ("a", 25, Term.LONG), ("b", Decimal("-7.50"), Term.SHORT)
    ]  # fmt: skip


@pytest.mark.parametrize("regime", list(TaxRegime))
def test_a_worthless_security_is_a_loss_of_its_basis(apply, regime):
    """Delisted at zero: the whole adjusted basis is lost, and the loss sale locks purchases like another."""
    after, rows = apply([lot("a", "END", 10, "100", adjusted="120")], delisting("END", "0"), regime=regime)
    assert (after.lots, after.cash) == ((), 0)
    assert sum(row.realized_gain for row in rows) == -120
    (loss,) = recent_trades(rows, LATER)
    assert (loss.ticker, loss.quantity, loss.realized_gain) == ("END", 10, -120)


def test_a_negative_delisting_is_refused(apply):
    """Nobody pays to be rid of a share."""
    with pytest.raises(AccountingError, match="negative value -1"):
        apply([lot("a", "END", 10, "100")], delisting("END", "-1"))


def test_recent_trades_of_a_security_sold_out_follow_its_symbol_and_splits(apply):
    """Sold out at a loss, then renamed and split: the loss still locks the new symbol, in new shares."""
    sale = Transaction(
        TransactionType.SELL, date(2018, 6, 1), "OLD", "a", Decimal(-10), Decimal(50), Decimal(-100), Decimal(-50),
        details={"sold_acquired_on": "2017-01-03", "sold_holding_period_start": "2017-01-03", "execution_id": "e"},
    )  # fmt: skip
    split = CorporateAction("NEW", DAY, ActionType.SPLIT, Decimal(2))
    after, rows = apply([], new_symbol("OLD", "NEW"), split, traded={"OLD"})
    assert after == Books()
    (loss,) = recent_trades((sale, *rows), LATER)
    assert (loss.ticker, loss.quantity, loss.realized_gain) == ("NEW", 20, -50)
    assert apply([], new_symbol("OLD", "NEW"), split)[1] == ()


def test_recent_trades_swap_symbols_at_once():
    """A row for each of two changes of a day turns each trade once, never twice."""
    rows = [
        Transaction(TransactionType.BUY, date(2018, 6, 1), ticker, ticker, Decimal(1), details={"execution_id": ticker})
        for ticker in ("A", "B")
    ]
    swap = [
        Transaction(TransactionType.SYMBOL_CHANGE, DAY, new, None, details={"former_ticker": old})
        for old, new in (("A", "B"), ("B", "A"))
    ]
    assert [(trade.lot_id, trade.ticker) for trade in recent_trades((*rows, *swap), LATER)] == [("A", "B"), ("B", "A")]


def test_actions_that_concern_an_account_follow_children_and_symbols():
    """What a spin-off or a new symbol brings is concerned from then on; everything else is not."""
    chain = (
        spin_off("PAR", "KID", "1", "0.5"),
        new_symbol("KID", "KIX", on=LATER),
        CorporateAction("KIX", LATER, ActionType.DIVIDEND, Decimal(1)),
    )
    other = CorporateAction("ZZZ", LATER, ActionType.DIVIDEND, Decimal(1))
    assert actions_concerning({"PAR"}, (*chain, other)) == chain
    assert actions_concerning({"ZZZ"}, (*chain, other)) == (other,)
