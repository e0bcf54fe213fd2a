"""Mergers for cash, for shares and for both."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from prometheus.ledger.events import Buy, Merger, Sell
from prometheus.ledger.terms import AccountTerms, Terms
from tests.unit.ledger.told import Told


def merged(cost, **terms: object):
    """Book a purchase of ten shares of X at a cost, and a merger into Y with these terms."""
    bought = Buy(
        account="A",
        event_id="b",
        trade_date=date(2018, 1, 2),
        ticker="X",
        quantity=Decimal(10),
        amount=Decimal(cost),
        lot_id="L",
    )
    return Told([bought, Merger(account="", event_id="m", trade_date=date(2019, 6, 3), ticker="X", **terms)])


def test_a_merger_for_cash_is_a_sale():
    """26 U.S.C. 1001: ten shares of cost 1,000 are paid 120 each."""
    told = merged(1000, cash_per_share=Decimal(120))
    assert (told.recognized, told.sales[0].term, told.lots) == (200, "LONG", {})


def test_a_merger_for_shares_keeps_basis_and_dates():
    """26 U.S.C. 354, 358, 1223(1): five new shares for ten old keep the basis of 1,000 and the day of purchase."""
    told = merged(1000, new_ticker="Y", ratio=Fraction(1, 2))
    lot = told.lot("L")
    assert (lot.ticker, lot.quantity, lot.adjusted_basis, lot.acquired_on) == ("Y", 5, 1000, date(2018, 1, 2))
    assert told.sales == [] or told.recognized == 0


@pytest.mark.parametrize(("cost", "gain", "basis"), [(1000, 300, 1000), (1400, 100, 1200), (2000, 0, 1700)])
def test_shares_and_cash_recognise_the_gain_up_to_the_cash(cost, gain, basis):
    """26 U.S.C. 356, 358: 300 in cash, shares worth 1,200; basis = cost - 300 + gain recognised, never a loss."""
    told = merged(cost, new_ticker="Y", ratio=Fraction(1), cash_per_share=Decimal(30), new_price=Decimal(120))
    assert (told.recognized, told.basis("L"), told.state.cash["A"]) == (gain, basis, 300 - cost)


def test_a_taxable_merger_is_a_sale_and_a_purchase():
    """Shares worth 1,200 for a cost of 1,000: a gain of 200, and new shares of that value bought on the day."""
    told = merged(1000, new_ticker="Y", ratio=Fraction(1), new_price=Decimal(120), is_taxable=True)
    (lot,) = told.lots.values()
    assert (told.recognized, lot.adjusted_basis, lot.acquired_on) == (200, 1200, date(2019, 6, 3))
    assert lot.key.lot_id == "L~M1"
    assert told.state.cash == {"A": Decimal(-1000)}


def test_what_a_merger_pays_is_put_into_the_base_currency():
    """Ten shares of cost 1,000 get 30 euros each at 1.10 and a new share of 100: 330 in cash, a gain of 330 of 430."""
    told = merged(
        1000,
        new_ticker="Y",
        ratio=Fraction(1),
        cash_per_share=Decimal(30),
        new_price=Decimal(100),
        currency="EUR",
        rate=Decimal("1.10"),
    )
    assert (told.recognized, told.basis("L"), told.state.cash["A"]) == (330, 1000, 330 - 1000)


def test_the_shares_of_a_taxable_merger_are_a_purchase_that_replaces():
    """New shares of the group, bought on the day of the exchange, take the loss of a sale five days later."""
    events = [
        Buy(
            account="A",
            event_id=name,
            trade_date=date(2018, 1, 2),
            ticker=ticker,
            quantity=Decimal(10),
            amount=Decimal(1000),
        )
        for name, ticker in (("x", "X"), ("z", "Z"))
    ]
    events.append(
        Merger(
            account="",
            event_id="m",
            trade_date=date(2019, 6, 3),
            ticker="X",
            new_ticker="Y",
            ratio=Fraction(1),
            new_price=Decimal(120),
            is_taxable=True,
        )
    )
    events.append(
        Sell(
            account="A",
            event_id="s",
            trade_date=date(2019, 6, 8),
            ticker="Z",
            quantity=Decimal(10),
            amount=Decimal(900),
        )
    )
    told = Told(events, groups={"Y": "G", "Z": "G"})
    (lot,) = told.lots.values()
    assert (told.disallowed, lot.ticker, lot.adjusted_basis) == (100, "Y", 1300)


def test_a_merger_that_leaves_nothing_of_a_lot_is_refused():
    """A billionth of a share for ten thousand old ones: the lot of one share would be gone with its basis."""
    bought = Buy(
        account="A",
        event_id="b",
        trade_date=date(2018, 1, 2),
        ticker="X",
        quantity=Decimal(1),
        amount=Decimal(10),
    )
    merger = Merger(
        account="A",
        event_id="m",
        trade_date=date(2019, 6, 3),
        ticker="X",
        new_ticker="Y",
        ratio=Fraction(1, 10**13),
    )
    told = Told([bought, merger], sound=False)
    assert told.codes == ["VANISHING_LOT"]
    assert told.lot("b").ticker == "X"


def test_a_merger_pays_the_fraction_in_cash():
    """Ten shares at 1:4 are 2.5 of Y with a basis of 1,000; half a share of 200 is paid 230."""
    told = merged(1000, new_ticker="Y", ratio=Fraction(1, 4), fraction_price=Decimal(460))
    assert (told.recognized, told.lot("L").quantity) == (0, Decimal("2.5"))
    bought = Buy(
        account="A",
        event_id="b",
        trade_date=date(2018, 1, 2),
        ticker="X",
        quantity=Decimal(10),
        amount=Decimal(1000),
        lot_id="L",
    )
    merger = Merger(
        account="",
        event_id="m",
        trade_date=date(2019, 6, 3),
        ticker="X",
        new_ticker="Y",
        ratio=Fraction(1, 4),
        fraction_price=Decimal(460),
    )
    whole = Told([bought, merger], terms=Terms(accounts={"A": AccountTerms(is_fractional=False)}))
    paid = [sale for sale in whole.sales if sale.posting.cash]
    assert [(sale.posting.kind, sale.realized_gain) for sale in paid] == [("CASH_IN_LIEU", 30)]
    assert (whole.lot("L").quantity, whole.basis("L"), whole.state.cash["A"]) == (2, 800, 230 - 1000)


@pytest.mark.parametrize(("cost", "basis"), [(1000, 1000), (1400, 1200), (2000, 1700)])
def test_cash_beside_shares_changes_the_cost_as_the_basis_and_settles_when_told(cost, basis):
    """26 U.S.C. 358: cost without carried losses goes down by the cash less the gain too; the row settles on 5 June."""
    told = merged(
        cost,
        new_ticker="Y",
        ratio=Fraction(1),
        cash_per_share=Decimal(30),
        new_price=Decimal(120),
        settle_date=date(2019, 6, 5),
    )
    assert (told.lot("L").cost_basis, told.basis("L")) == (basis, basis)
    assert [row.settle_date for row in told.postings if row.cash > 0] == [date(2019, 6, 5)]
