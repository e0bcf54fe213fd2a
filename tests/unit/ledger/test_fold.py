"""The fold: days, the order within a day, and events that cannot be booked."""

from datetime import date

import pytest

from prometheus.domain.accounts import TaxRegime
from prometheus.foundation.errors import AccountingError
from prometheus.ledger.fold import advance, fold
from prometheus.ledger.state import EMPTY
from prometheus.ledger.terms import Terms
from tests.unit.ledger.told import Told, events_of, terms_of


def test_days_follow_each_other():
    """A day that the books are past is refused, and so are two days in one call of advance."""
    terms = terms_of()
    state = Told("2019-06-03,A,X,BUY,10,100,L").state
    assert state.through == date(2019, 6, 3)
    with pytest.raises(AccountingError, match="refold from an earlier checkpoint"):
        advance(state, events_of("2019-06-03,A,X,BUY,10,100,M"), terms)
    with pytest.raises(AccountingError, match="use fold"):
        advance(EMPTY, events_of("2019-06-03,A,X,BUY,1,1\n2019-06-04,A,X,BUY,1,1"), terms)


def test_a_day_without_events_changes_nothing():
    """Advancing by nothing returns the same state."""
    state = Told("2019-06-03,A,X,BUY,10,100,L").state
    assert advance(state, (), terms_of()) == (state, (), ())


def test_what_comes_in_and_goes():
    """Opening cash and lots, cash in, out and to another account."""
    told = Told(
        """
        2019-06-03,A,,OPEN,,1000
        2019-06-04,A,,TRANSFER_IN,,500
        2019-06-05,A,,TRANSFER_OUT,,200
        2019-06-05,A,,TRANSFER_OUT,,300,,B
        """
    )
    assert told.state.cash == {"A": 1000, "B": 300}


def test_progress_is_told_by_day():
    """The caller hears how many events each day had."""
    heard = []
    fold(
        events_of("2019-06-03,A,X,BUY,1,1\n2019-06-03,A,Y,BUY,1,1\n2019-06-04,A,X,BUY,1,1"),
        Terms(),
        on_day=heard.append,
    )
    assert heard == [2, 1]


def test_refused_events_leave_the_rest_as_it_is():
    """Of a sale too many nothing is booked, and the day's other trades are."""
    told = Told("2019-06-03,A,X,BUY,10,100,L\n2019-06-03,A,X,SELL,20,100\n2019-06-03,A,X,SELL,4,100", sound=False)
    assert (told.codes, told.lot("L").quantity) == (["OVERSOLD"], 6)
    assert str(told.findings[0]).endswith("[OVERSOLD]")


def test_a_state_answers_what_is_held():
    """Positions and pools of taxpayers are read off the lots."""
    state = Told("2019-06-03,A,X,BUY,10,100,L\n2019-06-03,B,X,BUY,5,80,M").state
    assert state.quantity_of("A", "X") == 10
    assert [lot.lot_id for lot in state.lots_of("B", "X")] == ["M"]
    assert state.pools({"A": "me", "B": "me"}) == {("me", "X"): (15, 180)}
    assert state.pools({"A": "me"}) == {("me", "X"): (10, 100)}


def test_every_regime_has_its_rules_or_none():
    """Terms of the United States are booked; the default terms are theirs."""
    assert Terms().regime is TaxRegime.US
