"""Events booked into a household's books on PostgreSQL: once each, late ones as if they had come in time."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from prometheus.bookkeeping.ledger import ex_date_processing, preview
from prometheus.db.repositories.ledger_postings import corrections_of, postings_after
from prometheus.db.repositories.ledger_states import newest_state, state_days
from prometheus.foundation.errors import AccountingError, UnknownAccountError
from prometheus.ledger import events as ev
from prometheus.ledger.keys import EventKey, LotKey
from prometheus.ledger.postings import PostingKind
from tests.integration.ledger_households import (
    OPENED,
    SMITH,
    add_action,
    add_close,
    add_household,
    add_securities,
    book,
    buy,
    cash,
    count,
    lot,
    sell,
    sums_of_postings,
)

MONDAY, TUESDAY, FRIDAY = date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 8)
OPENING = (lot("L1", "AAA", 100, 2000), cash(10_000), cash(500, account="IRA"))


@pytest.fixture
def smith(database):
    """A household of two taxed accounts and an IRA, with a lot and cash."""
    add_household(database)
    add_securities(database, ["AAA", "BBB", "CHILD"])
    assert not book(database, *OPENING).findings
    return database


def process(database, through, household="SMITH"):
    """Book the market's actions through a day."""
    with database.transaction() as connection:
        return ex_date_processing(connection, household, through)


def held(booking):
    """Return shares and adjusted basis by account and lot."""
    return {tuple(key): (one.quantity, one.adjusted_basis) for key, one in booking.state.lots.items()}


def test_events_are_booked_once(smith):
    """The same event again does nothing; with other content it is refused, and the rest is booked."""
    first = sell("e1", MONDAY, "AAA", 40, 1000)
    assert len(book(smith, first).events) == 1
    again = book(smith, first, buy("b1", TUESDAY, "BBB", 5, 100))
    assert (again.known, [event.event_id for event in again.events]) == (1, ["b1"])
    other = book(smith, sell("e1", MONDAY, "AAA", 41, 1000))
    assert [(found.code, found.refused) for found in other.findings] == [("EVENT_DIFFERS", True)]
    assert count(smith, "ledger_events") == len(OPENING) + 2
    assert held(other)["A", "L1"] == (60, 1200)


def test_a_late_purchase_meets_the_loss_as_if_it_had_come_in_time(smith):
    """A purchase of Monday told on Friday washes Tuesday's loss by reversals under one correction."""
    book(smith, sell("e1", TUESDAY, "AAA", 40, 600), through=FRIDAY)
    late = book(smith, buy("b1", MONDAY, "AAA", 10, 160), through=FRIDAY)
    # a loss of 200 on 40 shares; ten replace ten: 160 + 50
    assert held(late) == {("A", "L1"): (60, 1200), ("A", "b1"): (10, 210)}
    assert late.correction_id is not None
    with smith.transaction() as connection:
        (correction,) = corrections_of(connection, "SMITH")
        stored = postings_after(connection, SMITH, None)
    assert correction.reason == "Told after the books had passed the day: b1."
    assert correction.first_day == MONDAY
    assert {one.posting.correction_id for one in stored if one.posting.correction_id} == {str(correction.correction_id)}


def test_more_of_the_day_is_no_correction(smith):
    """Executions that come while the day lasts are booked without a correction where nothing is reversed."""
    book(smith, sell("e1", MONDAY, "AAA", 40, 1000))
    more = book(smith, sell("e2", MONDAY, "AAA", 10, 300), buy("b1", MONDAY, "BBB", 1, 20))
    assert (more.reversals, more.correction_id) == ((), None)
    assert count(smith, "ledger_corrections") == 0


def test_the_ira_washes_for_good(smith):
    """A purchase in the IRA takes the loss of a taxed account away for good, and carries none of it."""
    book(smith, sell("e1", MONDAY, "AAA", 40, 600))
    booked = book(smith, buy("b1", TUESDAY, "AAA", 40, 640, account="IRA"))
    assert held(booked)["IRA", "b1"] == (40, 640)
    (washed,) = [one for one in booked.postings if one.kind is PostingKind.WASH_SALE]
    assert (washed.account, washed.realized_gain, washed.loss.is_permanent) == ("A", 200, True)


def test_a_cancellation_and_a_correction_are_folds_from_before(smith):
    """A cancelled purchase never happened; a corrected sale is the one that it should have been."""
    book(smith, sell("e1", MONDAY, "AAA", 40, 600), buy("b1", TUESDAY, "AAA", 10, 160))
    cancelled = book(
        smith, ev.Cancellation(account="A", event_id="x1", trade_date=FRIDAY, target_id="b1"), through=FRIDAY
    )
    assert held(cancelled) == {("A", "L1"): (60, 1200)}
    replacement = sell("e1", TUESDAY, "AAA", 30, 450)
    corrected = book(smith, ev.Correction(account="A", event_id="x2", trade_date=FRIDAY, replacement=replacement))
    assert held(corrected) == {("A", "L1"): (70, 1400)}
    back = ev.Cancellation(account="A", event_id="x3", trade_date=FRIDAY + timedelta(days=3), target_id="e1")
    assert held(book(smith, back)) == {("A", "L1"): (100, 2000)}
    lots, money = sums_of_postings(smith)
    assert lots == {LotKey("A", "L1"): (100, 2000, 2000)}
    assert money["A"] == (10_000, 0)


def test_what_a_later_sale_needs_cannot_be_cancelled(smith):
    """News by which a booked event could not be booked any more is refused as a whole, and nothing is written."""
    book(smith, buy("b1", MONDAY, "BBB", 10, 160), sell("e1", TUESDAY, "BBB", 10, 170))
    events, postings = count(smith, "ledger_events"), count(smith, "ledger_postings")
    with pytest.raises(AccountingError) as refused:
        book(smith, ev.Cancellation(account="A", event_id="x1", trade_date=FRIDAY, target_id="b1"))
    assert refused.value.code == "LOTS_GONE"
    assert refused.value.details["event_id"] == "e1"
    assert (count(smith, "ledger_events"), count(smith, "ledger_postings")) == (events, postings)


def test_what_cannot_be_booked_is_not_stored(smith):
    """A sale of more than there is leaves no event; told again after the purchase it needs, it is booked."""
    sale = sell("e1", TUESDAY, "BBB", 10, 170)
    refused = book(smith, sale, cash(1, account="C"), sell("e2", TUESDAY, "AAA", 1, 20), through=FRIDAY)
    assert sorted(found.code for found in refused.findings) == ["OTHER_HOUSEHOLD", "OVERSOLD"]
    assert [event.event_id for event in refused.events] == ["e2"]
    assert refused.refused == {EventKey("A", "e1"), EventKey("C", "cash C")}
    booked = book(smith, sale, buy("b1", MONDAY, "BBB", 10, 160), through=FRIDAY)
    assert (booked.findings, len(booked.events)) == ((), 2)
    late = book(smith, buy("b9", FRIDAY + timedelta(days=1), "BBB", 1, 1), through=FRIDAY)
    assert [found.code for found in late.findings] == ["AFTER_BOOKS"]
    transfer = ev.TransferOut(
        account="A", event_id="t1", trade_date=FRIDAY, ticker="AAA", quantity=Decimal(1), other_account="Z"
    )
    assert [found.code for found in book(smith, transfer).findings] == ["OTHER_HOUSEHOLD"]


def test_actions_of_the_market_are_stored_when_the_books_meet_them(smith):
    """A split and a dividend reach every account that holds the security; the events tell them from then on."""
    add_action(smith, "AAA", TUESDAY, "split", 2)
    add_action(smith, "AAA", TUESDAY, "dividend", "0.5")
    add_action(smith, "BBB", TUESDAY, "dividend", "0.5")
    booked = process(smith, FRIDAY)
    assert held(booked) == {("A", "L1"): (200, 2000)}
    assert booked.state.cash["A"] == 10_100
    assert [event.event_id for event in booked.events] == [
        f"dividend AAA {TUESDAY}", f"split AAA {TUESDAY}",
    ]  # fmt: skip
    assert process(smith, FRIDAY).events == ()


def test_a_late_purchase_goes_through_the_actions_it_missed(smith):
    """A security that was not held has had a split and a spin-off since: both are found when its purchase is told."""
    add_action(smith, "BBB", TUESDAY, "split", 2)
    add_action(smith, "BBB", TUESDAY, "spinoff", "0.5", "CHILD", "0.25")
    add_action(smith, "CHILD", FRIDAY, "dividend", "1")
    process(smith, FRIDAY)
    late = book(smith, buy("b1", MONDAY, "BBB", 10, 200), through=FRIDAY)
    lots = {one.ticker: (one.quantity, one.adjusted_basis) for one in late.state.lots.values()}
    assert lots == {"AAA": (100, 2000), "BBB": (20, 150), "CHILD": (10, 50)}
    assert late.state.cash["A"] == 10_000 - 200 + 10


def test_a_changed_action_is_a_correction(smith):
    """A split told as 2 and corrected to 3 is folded again; a second change on the same day counts, too."""
    add_action(smith, "AAA", TUESDAY, "split", 2)
    process(smith, FRIDAY)
    for ratio in (3, 4):
        add_action(smith, "AAA", TUESDAY, "split", ratio)
        with smith.transaction() as connection:
            seen = preview(connection, "SMITH", (), FRIDAY, with_changes=True)
        assert held(seen) == {("A", "L1"): (100 * ratio, 2000)}
        # A booking that does not ask for changes leaves the books as they are.
        assert held(book(smith, through=FRIDAY)) != held(seen)
        assert held(process(smith, FRIDAY)) == held(seen)
    assert process(smith, FRIDAY).events == ()
    lots, _ = sums_of_postings(smith)
    assert lots == {LotKey("A", "L1"): (400, 2000, 2000)}


def test_an_action_that_comes_late_is_booked_when_looked_for(smith):
    """A dividend loaded after its day waits for the processing of ex-dates, and is booked on its own day."""
    process(smith, FRIDAY)
    add_action(smith, "AAA", TUESDAY, "special_dividend", "1")
    assert book(smith, buy("b1", MONDAY, "BBB", 1, 10), through=FRIDAY).state.cash["A"] == 9_990
    assert process(smith, FRIDAY).state.cash["A"] == 10_090


def test_actions_that_cannot_be_told(smith):
    """A distribution without the close of its day, and a spin-off without the part of the basis, stop the booking."""
    add_action(smith, "AAA", MONDAY, "spinoff_value", "1")
    with pytest.raises(AccountingError) as refused:
        process(smith, FRIDAY)
    assert refused.value.code == "NO_PRICE"
    add_close(smith, "AAA", MONDAY, 19)
    assert process(smith, FRIDAY).state.cash["A"] == 10_100
    add_action(smith, "AAA", FRIDAY + timedelta(days=1), "spinoff", "1", "CHILD")
    with pytest.raises(AccountingError) as refused:
        process(smith, FRIDAY + timedelta(days=1))
    assert refused.value.code == "NO_BASIS_PART"


def test_a_fraction_without_a_close_stops_the_booking(smith):
    """191 for 200 leave whole-share accounts half a share: without the close nothing is booked, with it 10 is paid."""
    with smith.transaction() as connection:
        connection.execute(text("UPDATE accounts SET fractional_shares = false"))
    add_action(smith, "AAA", MONDAY, "split", "0.955")
    with pytest.raises(AccountingError, match="leaves A, which holds whole shares") as refused:
        process(smith, FRIDAY)
    assert refused.value.code == "NO_PRICE"
    add_close(smith, "AAA", MONDAY, 20)
    booked = process(smith, FRIDAY)
    assert (booked.state.quantity_of("A", "AAA"), booked.state.cash["A"]) == (95, 10_010)


def test_every_kind_of_action_is_told(smith):
    """Price factors, a new symbol and the end of a security become the events that the ledger knows."""
    add_close(smith, "AAA", MONDAY, 20)
    add_close(smith, "AAA", TUESDAY, 20)
    add_action(smith, "AAA", MONDAY, "spinoff_price_factor", "1.05")
    add_action(smith, "AAA", TUESDAY, "spinoff_price_factor", "0.5")
    add_action(smith, "AAA", FRIDAY, "symbol_change", 1, "BBB")
    add_action(smith, "BBB", FRIDAY + timedelta(days=3), "delisting", 3)
    booked = process(smith, FRIDAY)
    (one,) = booked.state.lots.values()
    assert (one.ticker, one.quantity, booked.state.cash["A"]) == ("BBB", 50, 10_100)
    done = process(smith, FRIDAY + timedelta(days=3))
    assert (dict(done.state.lots), done.state.cash["A"]) == ({}, 10_250)


def test_preview_writes_nothing(smith):
    """What would change is told without a row written, and is what the booking then does."""
    book(smith, sell("e1", TUESDAY, "AAA", 40, 600), through=FRIDAY)
    counts = [count(smith, table) for table in ("ledger_events", "ledger_postings", "ledger_states")]
    late = buy("b1", MONDAY, "AAA", 10, 160)
    with smith.transaction() as connection:
        shown = preview(connection, "SMITH", [late], FRIDAY)
    assert [count(smith, table) for table in ("ledger_events", "ledger_postings", "ledger_states")] == counts
    booked = book(smith, late, through=FRIDAY)
    assert (shown.state, shown.postings, shown.reversals) == (booked.state, booked.postings, booked.reversals)


def test_states_are_the_newest_two_and_one_a_month(smith):
    """Daily bookings leave the last two days and the newest of each month; a late event starts at a month's end."""
    day = OPENED
    while day <= date(2024, 4, 10):
        day += timedelta(days=1)
        book(smith, ev.Fee(account="A", event_id=f"fee {day}", trade_date=day, amount=Decimal(1)))
    with smith.transaction() as connection:
        days = state_days(connection, "SMITH", SMITH)
    assert days == [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 10), date(2024, 4, 11)]
    late = book(smith, sell("e1", FRIDAY, "AAA", 10, 300), through=day)
    assert held(late)["A", "L1"] == (90, 1800)
    with smith.transaction() as connection:
        days = state_days(connection, "SMITH", SMITH)
        assert newest_state(connection, "SMITH", SMITH).state == late.state
        assert newest_state(connection, "SMITH", ["A"]) is None
    assert days == [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 11)]


def test_a_sale_keeps_the_lot_method_of_its_day(smith):
    """A method that changes later leaves earlier sales alone when their days are folded again."""
    book(smith, buy("b1", MONDAY, "AAA", 10, 900), sell("e1", TUESDAY, "AAA", 10, 300))
    with smith.transaction() as connection:
        connection.execute(text("UPDATE accounts SET lot_method = 'HIFO'"))
    again = book(smith, sell("e1", TUESDAY, "AAA", 10, 300), buy("b0", MONDAY, "BBB", 1, 1), through=FRIDAY)
    assert (again.known, again.reversals) == (1, ())
    assert held(book(smith, sell("e2", FRIDAY, "AAA", 5, 100)))["A", "b1"][0] == 5


def test_an_account_that_joins_a_household_has_its_past_folded_with_it(smith):
    """Losses and purchases of two accounts meet once they are of one household, those of the past too."""
    add_household(smith, None, ["C"])
    book(smith, cash(1000, account="C"), buy("c1", TUESDAY, "AAA", 40, 640, account="C"), household="C")
    book(smith, sell("e1", MONDAY, "AAA", 40, 600), through=FRIDAY)
    with smith.transaction() as connection:
        connection.execute(text("UPDATE accounts SET household = 'SMITH' WHERE account_id = 'C'"))
    joined = book(smith, through=FRIDAY)
    assert held(joined)["C", "c1"] == (40, 840)
    with smith.transaction() as connection:
        (correction,) = corrections_of(connection, "SMITH")
    assert correction.reason == "The terms of the household or its accounts changed."


def test_names_that_mean_nothing_or_two_things(smith):
    """An unknown household, a name of a household and an account, and two countries in one household are refused."""
    with pytest.raises(UnknownAccountError):
        book(smith, through=FRIDAY, household="NOBODY")
    add_household(smith, None, ["SMITH"])
    with pytest.raises(AccountingError) as refused:
        book(smith, through=FRIDAY)
    assert refused.value.code == "HOUSEHOLD_NAME"
    add_household(smith, "TWO", ["U"])
    add_household(smith, "TWO", ["V"], regime="CA")
    with pytest.raises(AccountingError) as refused:
        book(smith, through=FRIDAY, household="TWO")
    assert refused.value.code == "TWO_REGIMES"


@pytest.mark.parametrize("table", ["ledger_events", "ledger_postings", "ledger_corrections"])
def test_history_is_only_appended(smith, table):
    """Neither an event, nor a posting, nor a correction can be changed or removed."""
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET recorded_at = now()", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(DBAPIError, match="append-only"), smith.transaction() as connection:
            connection.execute(text(statement))
