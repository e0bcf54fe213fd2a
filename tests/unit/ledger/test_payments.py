"""Dividends and returns of capital."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.ledger.events import Dividend, DividendKind, NotionalDistribution
from prometheus.ledger.postings import PostingKind
from tests.unit.ledger.told import Told, events_of

BOUGHT = "2018-01-02,A,X,BUY,10,100,L\n2018-02-01,A,X,BUY,30,900,M"


@pytest.mark.parametrize(
    ("kind", "posted"),
    [("ORDINARY", "DIVIDEND"), ("SPECIAL", "SPECIAL_DIVIDEND"), ("CAPITAL_GAIN", "CAPITAL_GAINS_DIVIDEND")],
)
def test_a_dividend_is_cash_for_the_position(kind, posted):
    """0.37 a share on forty shares is 14.80, in one line; lots do not change."""
    paid = Dividend(
        account="",
        event_id="d",
        trade_date=date(2019, 6, 3),
        ticker="X",
        per_share=Decimal("0.37"),
        kind=DividendKind(kind),
    )
    told = Told([*events_of(BOUGHT), paid])
    row = told.postings[-1]
    assert (row.kind, row.cash, row.lot) == (PostingKind(posted), Decimal("14.80"), None)


def test_a_dividend_is_charged_to_whoever_is_short():
    """0.37 a share on seven shares owed is 2.59, in one line for both positions; they stay as they are."""
    sold = "2018-01-02,A,X,SHORT,3,100,S\n2018-02-01,A,X,SHORT,4,120,T"
    paid = Dividend(account="", event_id="d", trade_date=date(2019, 6, 3), ticker="X", per_share=Decimal("0.37"))
    told = Told([*events_of(sold), paid])
    row = told.postings[-1]
    assert (row.kind, row.cash, row.lot, row.ticker) == (PostingKind.PAYMENT_IN_LIEU, Decimal("-2.59"), None, "X")
    assert sorted(short.quantity for short in told.state.shorts.values()) == [3, 4]
    assert told.state.cash == {"A": Decimal("217.41")}


def test_a_dividend_in_a_foreign_currency_comes_in_at_the_rate_of_the_day():
    """14.80 US dollars at 1.3502 are 19.98 in the base currency."""
    paid = Dividend(
        account="A",
        event_id="d",
        trade_date=date(2019, 6, 3),
        ticker="X",
        amount=Decimal("14.80"),
        currency="USD",
        rate=Decimal("1.3502"),
    )
    assert Told([*events_of(BOUGHT), paid]).postings[-1].cash == Decimal("19.98")


def test_a_return_of_capital_lowers_the_basis_and_then_is_a_gain():
    """26 U.S.C. 301(c): 15 a share: 150 on a basis of 100 is a gain of 50; 450 lowers the other lot's 900 to 450."""
    told = Told(f"{BOUGHT}\n2019-06-03,A,X,ROC,,600")
    assert (told.basis("L"), told.basis("M")) == (0, 450)
    assert [(sale.lot_id, sale.realized_gain) for sale in told.sales] == [("L", 50), ("M", 0)]


def test_a_return_of_capital_on_nothing_is_refused():
    """Without shares there is no basis to lower."""
    assert Told("2019-06-03,A,X,ROC,,600", sound=False).codes == ["NOT_HELD"]


def test_a_notional_distribution_raises_the_cost():
    """40 reinvested without units raise the cost by one a share."""
    told_of = NotionalDistribution(
        account="A", event_id="n", trade_date=date(2019, 6, 3), ticker="X", amount=Decimal(40)
    )
    told = Told([*events_of(BOUGHT), told_of])
    assert (told.basis("L"), told.basis("M"), told.state.cash["A"]) == (110, 930, -1000)


def test_charges_and_interest_are_cash():
    """A fee goes, interest comes or goes."""
    told = Told("2019-06-03,A,,FEE,,5\n2019-06-03,A,,INTEREST,,3\n2019-06-04,A,,INTEREST,,-4")
    assert told.state.cash == {"A": -6}


def test_cost_and_basis_rise_with_a_distribution_and_fall_with_capital_returned():
    """A lot of cost 100: 12 reinvested make it 112, 30 returned 82, 90 more nothing at all, with a gain of 8."""
    told = Told(
        [
            *events_of("2019-01-02,A,X,BUY,10,100,L"),
            NotionalDistribution(
                account="A", event_id="n", trade_date=date(2019, 2, 1), ticker="X", amount=Decimal(12)
            ),
        ]
    )
    assert (told.lot("L").cost_basis, told.lot("L").adjusted_basis) == (112, 112)
    told = Told("2019-01-02,A,X,BUY,10,112,L\n2019-03-01,A,X,ROC,,30")
    assert (told.lot("L").cost_basis, told.lot("L").adjusted_basis) == (82, 82)
    told = Told("2019-01-02,A,X,BUY,10,82,L\n2019-03-01,A,X,ROC,,90")
    assert (told.lot("L").cost_basis, told.lot("L").adjusted_basis, told.recognized) == (0, 0, 8)


def test_a_return_of_capital_is_paid_in_cash():
    """Of 300 on ten shares of 250 the basis takes 250, and 50 are a gain; the account has all 300."""
    told = Told("2018-01-02,A,X,BUY,10,250,L\n2019-06-03,A,X,ROC,,300")
    (row,) = [row for row in told.postings if row.kind is PostingKind.RETURN_OF_CAPITAL]
    assert (row.cash, row.adjusted_basis, row.realized_gain) == (300, -250, 50)
    assert told.state.cash == {"A": 50}
