"""Events as JSON: nothing is lost, equal events have equal texts, and what is not known is refused."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given

from prometheus.domain.accounts import LotMethod
from prometheus.domain.books import LotPick
from prometheus.foundation.errors import AccountingError
from prometheus.ledger import events as ev
from prometheus.ledger.event_json import event_document, event_of, event_text, same_text
from tests.property.ledger_histories import histories

SALE = ev.Sell(
    account="A", event_id="e1", trade_date=date(2024, 3, 4), ticker="AAA", quantity=Decimal("10.50"),
    amount=Decimal("1E+2"), picks=(LotPick("L1", Decimal("10.5")),), method=LotMethod.HIFO,
)  # fmt: skip


@given(histories())
def test_every_event_comes_back(history):
    """What is written of an event is read as an equal one, whose text is the same."""
    for event in history:
        back = event_of(event_document(event))
        assert back == event
        assert event_text(back) == event_text(event)


def test_the_text_of_an_event():
    """Numbers are plain, names and days texts; what the event does not say is left out."""
    assert event_text(SALE) == (
        '{"account":"A","amount":"100","currency":"","event_id":"e1","fee":"0","method":"HIFO",'
        '"picks":[["L1","10.5"]],"quantity":"10.5","rate":"1","ticker":"AAA","trade_date":"2024-03-04","type":"Sell"}'
    )
    assert str(same_text(SALE).quantity) == "10.5"


def test_every_kind_has_fields():
    """Each kind of event can be written, a correction with the event that it holds."""
    correction = ev.Correction(account="A", event_id="c1", trade_date=date(2024, 3, 5), replacement=SALE)
    assert event_of(event_document(correction)) == correction


@pytest.mark.parametrize("change", [{"type": "Loan"}, {"quantity": "many"}, {"trade_date": "never"}, {"method": "ANY"}])
def test_what_is_not_known_is_refused(change):
    """A kind or a value that nobody knows is an error of the ledger."""
    with pytest.raises(AccountingError):
        event_of({**event_document(SALE), **change})
