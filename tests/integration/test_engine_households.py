"""Days of accounts of one household: its books are worked out once, and written once, whoever comes first."""

import pytest

from prometheus.decision.snapshot import Snapshot
from prometheus.orchestration.advance_all import Outcome
from tests.integration.engine_fleet import MONDAY, TUESDAY

DIVIDEND = """
    INSERT INTO corporate_actions (security_id, ex_date, action_type, value)
    SELECT security_id, :day, 'dividend', 0.5 FROM securities WHERE ticker = 'BBB'
"""


@pytest.fixture
def smiths(fleet):
    """ACC-1 and ACC-2 are one household."""
    fleet.sql("UPDATE accounts SET household = 'SMITH' WHERE account_id IN ('ACC-1', 'ACC-2')")
    return fleet


def snapshot(fleet, account_id, day):
    """Return the snapshot of an account's day."""
    (run,) = fleet.sql(
        "SELECT snapshot FROM runs WHERE account_id = :account AND as_of_date = :day", account=account_id, day=day
    )
    return Snapshot.from_json(run.snapshot)


def test_a_batch_writes_a_household_once(smiths):
    """Both accounts open and get Tuesday's dividend in one batch each day; it is posted once for each account."""
    smiths.sql(DIVIDEND, day=TUESDAY)
    for day in (MONDAY, TUESDAY):
        smiths.ready(day)
        assert smiths.advance().outcomes == {Outcome.PERSISTED: 2}
    for account_id in ("ACC-1", "ACC-2"):
        assert [row.cash for row in smiths.postings("DIVIDEND", account_id=account_id)] == [250]
        assert snapshot(smiths, account_id, TUESDAY).cash == 20_250
        assert [action.ticker for action in snapshot(smiths, account_id, TUESDAY).corporate_actions] == ["BBB"]
    assert smiths.differences() == []


def test_accounts_may_come_one_after_the_other(smiths):
    """The second account of a day finds the household's books there already, and its snapshot is the same as if not."""
    smiths.sql(DIVIDEND, day=TUESDAY)
    for day in (MONDAY, TUESDAY):
        for account_id in ("ACC-1", "ACC-2"):
            smiths.ready(day, account_id)
            assert smiths.advance().outcomes == {Outcome.PERSISTED: 1}
    assert snapshot(smiths, "ACC-2", TUESDAY).cash == 20_250
    assert [action.ticker for action in snapshot(smiths, "ACC-2", TUESDAY).corporate_actions] == ["BBB"]
    assert len(smiths.postings("DIVIDEND")) == 2
    assert smiths.differences() == []


def test_an_account_that_is_a_day_behind_sees_its_own_day(smiths):
    """ACC-1's books opened on Monday went through Tuesday with its household; its Monday has no dividend of Tuesday."""
    smiths.open_books(MONDAY, "ACC-1", "ACC-2")
    smiths.sql(DIVIDEND, day=TUESDAY)
    smiths.ready(TUESDAY, "ACC-2")
    assert smiths.advance().outcomes == {Outcome.PERSISTED: 1}
    smiths.ready(MONDAY, "ACC-1")
    assert smiths.advance().outcomes == {Outcome.PERSISTED: 1}
    assert snapshot(smiths, "ACC-1", MONDAY).cash == 20_000
    assert snapshot(smiths, "ACC-1", MONDAY).corporate_actions == ()
    assert len(smiths.postings("DIVIDEND")) == 2
    days = smiths.sql("SELECT books_as_of FROM accounts WHERE household = 'SMITH' ORDER BY account_id")
    assert [row.books_as_of for row in days] == [MONDAY, TUESDAY]
    smiths.ready(TUESDAY, "ACC-1")
    assert smiths.advance().outcomes == {Outcome.PERSISTED: 1}
    assert snapshot(smiths, "ACC-1", TUESDAY).cash == 20_250
    assert smiths.differences() == []


def test_an_account_that_opens_behind_its_household_is_booked_in_its_place(smiths):
    """ACC-1's first day is Monday, when ACC-2 is through Tuesday: it opens on Monday and gets Tuesday's dividend."""
    smiths.sql(DIVIDEND, day=TUESDAY)
    smiths.ready(TUESDAY, "ACC-2")
    assert smiths.advance().outcomes == {Outcome.PERSISTED: 1}
    smiths.ready(MONDAY, "ACC-1")
    assert smiths.advance().outcomes == {Outcome.PERSISTED: 1}
    assert snapshot(smiths, "ACC-1", MONDAY).cash == 20_000
    assert smiths.books("ACC-1").cash == 20_250
    assert [row.cash for row in smiths.postings("DIVIDEND", account_id="ACC-1")] == [250]
    assert smiths.differences() == []
