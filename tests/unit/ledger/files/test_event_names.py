from dataclasses import replace
from datetime import date
from decimal import Decimal

from prometheus.domain.books import LotPick
from prometheus.ledger.events import Buy, Cancellation, Sell
from prometheus.ledger.files.event_names import content_name, with_names

BUY = Buy(account="A", event_id="", trade_date=date(2024, 1, 2), ticker="X", quantity=Decimal(10), amount=Decimal(100))


def test_a_name_is_made_of_what_the_event_says():
    """Date, kind and ticker can be read off; any other value gives another name."""
    name = content_name(BUY)
    assert name.startswith("20240102-Buy-X-")
    others = [
        replace(BUY, quantity=Decimal(11)),
        replace(BUY, fee=Decimal(1)),
        replace(BUY, settle_date=date(2024, 1, 4)),
    ]
    assert len({name, *(content_name(other) for other in others)}) == 4


def test_the_name_of_the_account_plays_no_part():
    """Lots that rank alike are sold in the order of their names, whatever their account is called."""
    assert content_name(replace(BUY, account="Z")) == content_name(BUY)


def test_equal_numbers_have_equal_names():
    """100, 100.0 and 1E+2 are one amount."""
    names = {content_name(replace(BUY, amount=Decimal(text))) for text in ("100", "100.0", "1E+2")}
    assert len(names) == 1


def test_equal_events_are_counted_and_named_ones_kept():
    """Two purchases of the same content are two; an event that has a name keeps it."""
    named = with_names([BUY, replace(BUY, event_id="E1"), BUY])
    stem = content_name(BUY)
    assert [event.event_id for event in named] == [stem, "E1", f"{stem}-2"]


def test_lots_and_targets_are_part_of_the_content():
    """A sale of another lot, and a cancellation of another event, are other events."""
    sell = Sell(account="A", event_id="", trade_date=BUY.trade_date, ticker="X", quantity=Decimal(1), amount=Decimal(9))
    lots = [replace(sell, picks=(LotPick(name, Decimal(1)),)) for name in ("L1", "L2")]
    cancelled = [Cancellation(account="A", event_id="", trade_date=BUY.trade_date, target_id=name) for name in "ab"]
    assert len({content_name(event) for event in (sell, *lots, *cancelled)}) == 5
