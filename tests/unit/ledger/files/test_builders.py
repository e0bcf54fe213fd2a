from decimal import Decimal

import pytest

from prometheus.domain.accounts import LotMethod
from prometheus.ledger.events import CashTransfer, CoverShort, Interest, Merger, OpeningCash, Sell
from prometheus.ledger.files.builders import event_of
from prometheus.ledger.files.findings import RefusedRowError


def event(action, **values: str):
    """Return the event of a row of account A on 2 January 2024."""
    return event_of({"date": "2024-01-02", "account": "A", "action": action} | values)


def refusal(action, **values: str):
    """Return the code with which a row is refused."""
    with pytest.raises(RefusedRowError) as refused:
        event(action, **values)
    return refused.value.code


def test_cash_goes_the_way_that_its_action_says():
    """Cash that comes in is positive, cash that leaves negative; a debt, and interest paid, are told by the sign."""
    assert event("TRANSFER_IN", amount="5") == CashTransfer(**_common(), amount=Decimal(5))
    assert event("TRANSFER_OUT", amount="5", other_account="B") == CashTransfer(
        **_common(), amount=Decimal(-5), other_account="B"
    )
    assert event("OPEN", amount="-5") == OpeningCash(**_common(), amount=Decimal(-5))
    assert event("INTEREST", amount="-5") == Interest(**_common(), amount=Decimal(-5))
    assert refusal("TRANSFER_IN", amount="-5") == "NEGATIVE_AMOUNT"


def test_a_sale_may_name_its_method():
    """The lot method of one sale is read; one that nobody knows is refused."""
    sell = event("SELL", ticker="X", quantity="1", amount="5", method="hifo")
    assert isinstance(sell, Sell)
    assert sell.method is LotMethod.HIFO
    assert refusal("SELL", ticker="X", quantity="1", amount="5", method="best") == "UNKNOWN_METHOD"


def test_a_cover_is_bought_or_delivered():
    """Shares bought to cover have a cost, shares delivered are lots; neither is no cover."""
    bought = event("COVER", ticker="X", quantity="1", amount="5")
    delivered = event("COVER", ticker="X", quantity="1", lot_id="L1")
    assert isinstance(bought, CoverShort)
    assert isinstance(delivered, CoverShort)
    assert (bought.amount, bought.picks) == (5, ())
    assert (delivered.amount, [pick.lot_id for pick in delivered.picks]) == (0, ["L1"])
    assert refusal("COVER", ticker="X", quantity="1") == "NO_AMOUNT"


def test_a_merger_pays_in_cash_in_shares_or_in_both():
    """Ratio, cash and price reach the event; whether it is taxable is yes or no."""
    merger = event(
        "MERGER", ticker="X", other_ticker="y", quantity="3:2", per_share="1.25", price="10", taxable="yes", amount="4"
    )
    assert isinstance(merger, Merger)
    assert (merger.new_ticker, str(merger.ratio), merger.cash_per_share) == ("Y", "3/2", Decimal("1.25"))
    assert (merger.new_price, merger.is_taxable, merger.cash_in_lieu) == (10, True, 4)
    cash = event("MERGER", ticker="X", per_share="20")
    assert isinstance(cash, Merger)
    assert (cash.new_ticker, cash.ratio) == ("", 0)
    assert refusal("MERGER", ticker="X", per_share="20", taxable="perhaps") == "BAD_ANSWER"


@pytest.mark.parametrize(
    ("action", "values", "code"),
    [
        ("SPLIT", {"ticker": "X", "quantity": "10000000000000"}, "TOO_LARGE"),
        ("STOCK_DISTRIBUTION", {"ticker": "X", "per_share": "1"}, "NO_PRICE"),
        ("DIVIDEND", {"ticker": "X", "amount": "1", "per_share": "1"}, "NO_AMOUNT"),
        ("BUY", {"ticker": "X", "quantity": "1", "amount": "1", "fee": "-1"}, "NEGATIVE_AMOUNT"),
        ("BUY", {"ticker": "X", "quantity": "1", "amount": "1", "corrected_on": "2024-02-01"}, "NO_TARGET"),
        ("BUY", {"ticker": "X", "quantity": "1", "amount": "1", "corrects": "B1"}, "BAD_DATE"),
        ("FEE", {"amount": "1", "fee": "bad"}, "UNUSED_VALUE"),
        ("BUY", {"ticker": "X", "quantity": "1", "amount": "1", "settle_date": "soon"}, "BAD_DATE"),
    ],
)
def test_what_cannot_be_built_is_refused(action, values, code):
    """A row that says too little, too much or the impossible has a code."""
    assert refusal(action, **values) == code


def _common():
    from datetime import date

    return {"account": "A", "event_id": "", "trade_date": date(2024, 1, 2)}
