"""The check that folds a household's events again finds what was altered behind the ledger's back."""

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from prometheus.bookkeeping.ledger import ex_date_processing
from prometheus.bookkeeping.ledger_checks import Compared, rebuild_check
from prometheus.db.repositories.ledger_states import StoredState, replace_states, state_days
from prometheus.foundation.errors import UnknownAccountError
from prometheus.ledger.state import EMPTY
from tests.integration.ledger_households import (
    SMITH,
    add_action,
    add_household,
    add_securities,
    book,
    buy,
    cash,
    lot,
    sell,
)

MONDAY, TUESDAY, FRIDAY = date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 8)


@pytest.fixture
def smith(database):
    """A household whose books had a loss, a late purchase and a changed split."""
    add_household(database)
    add_securities(database, ["AAA", "BBB"])
    book(database, lot("L1", "AAA", 100, 2000), cash(10_000), cash(500, account="IRA"))
    add_action(database, "AAA", FRIDAY, "split", 2)
    book(database, sell("e1", TUESDAY, "AAA", 40, 600), through=FRIDAY)
    book(database, buy("b1", MONDAY, "AAA", 10, 160), buy("b2", MONDAY, "BBB", 5, 50, account="IRA"), through=FRIDAY)
    add_action(database, "AAA", FRIDAY, "split", 3)
    with database.transaction() as connection:
        ex_date_processing(connection, "SMITH", FRIDAY + timedelta(days=30))
    return database


def check(database, *, with_cash=False):
    """Return what the check says: kinds of difference and the account of each."""
    with database.transaction() as connection:
        proof = rebuild_check(connection, "SMITH", with_cash=with_cash)
    return [(found.compared, found.account) for found in proof.differences]


def tamper(database, table, statement):
    """Change a table that only ever grows, as somebody with the owner's rights might."""
    with database.transaction() as connection:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(text(statement))
        connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def test_books_that_nobody_altered_agree(smith):
    """After late events and changed actions everything stored is what all events give."""
    with smith.transaction() as connection:
        proof = rebuild_check(connection, "SMITH")
    assert proof.differences == ()
    assert (proof.household, proof.lots) == ("SMITH", 3)
    # opening lot, two of cash, a sale, two purchases, the split, and its correction
    assert proof.events == 8
    assert proof.postings > proof.events


def test_books_that_were_never_opened(database):
    """A household without events has nothing to compare; one that does not exist is named."""
    add_household(database)
    assert check(database) == []
    with pytest.raises(UnknownAccountError), database.transaction() as connection:
        rebuild_check(connection, "NOBODY")


def test_an_altered_posting_is_found(smith):
    """A cent more in one posting: the events do not give it, theirs is missing, and the sum is off."""
    tamper(smith, "ledger_postings", "UPDATE ledger_postings SET cash = cash + 0.01 WHERE event_id = 'b1' AND cash < 0")
    assert check(smith) == [(Compared.POSTING, "A"), (Compared.POSTING, "A"), (Compared.SUM, "A")]


def test_a_missing_posting_is_found(smith):
    """A posting that is gone is missed."""
    tamper(smith, "ledger_postings", "DELETE FROM ledger_postings WHERE event_id = 'b2'")
    assert check(smith) == [(Compared.POSTING, "IRA"), (Compared.SUM, "IRA"), (Compared.SUM, "IRA")]


def test_an_altered_reversal_is_found(smith):
    """A reversal that reverses something else is no reversal."""
    tamper(smith, "ledger_postings", "UPDATE ledger_postings SET quantity = 0 WHERE reverses IS NOT NULL")
    found = check(smith)
    assert {kind for kind, _ in found} == {Compared.POSTING, Compared.SUM}


def test_a_missing_event_is_found(smith):
    """Postings whose event is gone are named, and what the rest of the events give is told."""
    tamper(smith, "ledger_events", "DELETE FROM ledger_events WHERE event_id = 'b2'")
    found = check(smith)
    assert found[0] == (Compared.EVENT, "IRA")
    assert {kind for kind, _ in found} == {Compared.EVENT, Compared.POSTING, Compared.SUM, Compared.STATE}


def test_an_altered_event_is_found(smith):
    """Other content of an event gives other postings than those stored."""
    tamper(
        smith, "ledger_events",
        """UPDATE ledger_events SET content = jsonb_set(content, '{amount}', '"161"') WHERE event_id = 'b1'""",
    )  # fmt: skip
    assert {kind for kind, _ in check(smith)} == {Compared.POSTING, Compared.SUM, Compared.STATE}


def test_an_altered_state_is_found(smith):
    """A state with other books, and bytes that are no state, are found; the postings are not to blame."""
    with smith.transaction() as connection:
        days = state_days(connection, "SMITH", SMITH)
        replace_states(connection, [("SMITH", days[-1] - timedelta(days=1), [StoredState(days[-1], SMITH, 0, EMPTY)])])
    assert {kind for kind, _ in check(smith)} == {Compared.STATE}
    with smith.transaction() as connection:
        connection.execute(text("UPDATE ledger_states SET state = 'x'"))
    found = check(smith)
    assert found == [(Compared.STATE, "SMITH")] * len(days)


def test_states_that_are_gone_are_found_and_made_anew(smith):
    """Without any state the check says so, and the next booking folds everything and writes no posting."""
    with smith.transaction() as connection:
        connection.execute(text("DELETE FROM ledger_states"))
    assert check(smith) == [(Compared.STATE, "SMITH")]
    booked = book(smith, through=FRIDAY + timedelta(days=30))
    assert (booked.reversals, booked.postings, booked.events) == ((), (), ())
    assert check(smith) == []


def test_cash_is_compared_where_asked_for(smith):
    """Cash beside the accounts is compared with the fold, each difference with both numbers."""
    with smith.transaction() as connection:
        connection.execute(text("UPDATE accounts SET cash = 500 WHERE account_id = 'IRA'"))
        proof = rebuild_check(connection, "SMITH", with_cash=True)
    assert [(found.compared, str(found)) for found in proof.differences][-1] == (
        Compared.TABLE,
        "IRA: the table has cash of 500, the events give 450",
    )
    assert {found.compared for found in proof.differences} == {Compared.TABLE}
