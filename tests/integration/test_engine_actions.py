"""Ex-date processing on the way of the engine: booked with the snapshot, proved by the events."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.bookkeeping.ledger import book_executed
from prometheus.decision.build_snapshot import build_snapshot
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.books import Fill
from prometheus.domain.lots import Side
from prometheus.orchestration.advance_all import Outcome
from prometheus.pipeline import tasks
from tests.integration.engine_fleet import MONDAY, TUESDAY, WEDNESDAY


@pytest.fixture
def opened(fleet):
    """The small fleet with books through Monday."""
    fleet.open_books(MONDAY)
    assert fleet.differences() == []
    return fleet


def act(fleet, ticker, day, kind, value, other="", fraction=None):
    """Store an action as a loaded file would."""
    fleet.sql(
        "INSERT INTO corporate_actions SELECT security_id, :day, :kind, :value, :other, :fraction FROM securities "
        "WHERE ticker = :ticker",
        ticker=ticker, day=day, kind=kind, value=value, other=other, fraction=fraction,
    )  # fmt: skip


def lots(fleet, account="ACC-1"):
    """Return ticker, shares and adjusted basis of an account's lots."""
    return {lot.lot_id: (lot.ticker, lot.quantity, lot.adjusted_basis) for lot in fleet.books(account).lots}


def bought(fleet, account):
    """Open all books at the beginning of the month, and book a purchase of Monday."""
    fleet.sql("UPDATE securities SET group_id = 'TWINS' WHERE ticker IN ('BBB', 'CCC')")
    fleet.open_books(date(2024, 6, 3))
    fill = Fill("b1", "CCC", Side.BUY, MONDAY, Decimal(100), Decimal(50), new_lot_id="N1")
    with fleet.database.transaction() as connection:
        book_executed(connection, account, [fill], through=MONDAY)
    fleet.sql("UPDATE accounts SET books_as_of = :day", day=MONDAY)


def test_a_spin_off_and_a_new_symbol_in_one_morning(opened):
    """Lots have children and new symbols in the snapshot of the day, and the tables equal the journal."""
    fleet = opened
    fleet.sql("INSERT INTO securities (ticker, name, sector, group_id) VALUES ('GGG', 'GGG', 'Energy', 'GGG')")
    fleet.sql(
        "INSERT INTO prices (security_id, price_date, close) SELECT g.security_id, p.price_date, p.close FROM prices p "
        "JOIN securities b ON b.security_id = p.security_id AND b.ticker = 'BBB', securities g "
        "WHERE g.ticker = 'GGG' AND p.price_date >= :day",
        day=TUESDAY,
    )
    act(fleet, "AAA", TUESDAY, "spinoff", 0.5, "FFF", 0.25)
    act(fleet, "BBB", TUESDAY, "symbol_change", 1, "GGG")
    before = lots(fleet)
    fleet.ready(TUESDAY)
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2}
    after = lots(fleet)
    for name, (ticker, shares, basis) in before.items():
        if ticker == "AAA":
            assert after[name] == ("AAA", shares, basis * Decimal("0.75"))
            assert after[f"{name}~S-FFF"] == ("FFF", shares / 2, basis / 4)
        else:
            assert after[name] == ("GGG", shares, basis)
    assert fleet.differences() == []
    (run,) = fleet.sql("SELECT snapshot FROM runs WHERE account_id = 'ACC-1'")
    assert {lot.ticker for lot in Snapshot.from_json(run.snapshot).lots} == {"AAA", "FFF", "GGG"}
    assert [row[4:] for row in run.snapshot["corporate_actions"]] == [["FFF", "0.250000000000"], ["GGG", None]]


def test_a_delisting_leaves_cash_and_a_gain(opened):
    """Paid 40 a share on the morning: the lot is gone, the cash is there, and the next day books nothing again."""
    fleet = opened
    act(fleet, "BBB", TUESDAY, "delisting", 40)
    cash = fleet.one("SELECT cash FROM accounts WHERE account_id = 'ACC-1'")
    for day in (TUESDAY, WEDNESDAY):
        fleet.ready(day, "ACC-1")
        assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert set(lots(fleet)) == {"L1", "L2"}
    assert fleet.one("SELECT cash FROM accounts WHERE account_id = 'ACC-1'") == cash + 500 * 40
    (row,) = fleet.postings("DELISTING")
    assert row.realized_gain == 500 * 40 - 30_000
    assert fleet.differences() == []


@pytest.fixture
def washed_day(fleet):
    """ACC-1 on a Tuesday whose delisting meets a purchase."""
    bought(fleet, "ACC-1")
    act(fleet, "BBB", TUESDAY, "delisting", 10)
    fleet.ready(TUESDAY, "ACC-1")
    return fleet


MEANWHILE = {
    "frozen": "UPDATE engine_flags SET frozen = true, reason = 'a drill'",
    "taken over": "UPDATE engine_runs SET lease_token = lease_token + 1, owner_instance = 'another'",
    "cancelled": "UPDATE engine_runs SET cancel_requested_at = engine_now()",
}


@pytest.mark.parametrize(
    ("meanwhile", "outcome"),
    [("frozen", Outcome.FROZEN), ("taken over", Outcome.LOST), ("cancelled", Outcome.CANCELLED)],
)
def test_ex_dates_are_booked_under_the_fence(washed_day, monkeypatch, meanwhile, outcome):
    """Frozen, taken over or cancelled between claim and booking, ex-dates leave the books as they were."""
    fleet, before = washed_day, lots(washed_day, "ACC-1")

    def interrupted(*arguments: object):
        fleet.sql(MEANWHILE[meanwhile])
        return build_snapshot(*arguments)

    monkeypatch.setattr(tasks, "build_snapshot", interrupted)
    assert fleet.advance().outcomes == {outcome: 1}
    assert lots(fleet, "ACC-1") == before
    assert fleet.one("SELECT books_as_of FROM accounts WHERE account_id = 'ACC-1'") == MONDAY


def test_ex_dates_wait_for_a_day_that_comes_first(washed_day, monkeypatch):
    """Monday marked ready while Tuesday's ex-dates are about to be booked is traded first; nothing is superseded."""
    fleet = washed_day

    def interrupted(*arguments: object):
        if not fleet.sql("SELECT 1 FROM engine_runs WHERE as_of_date = :day AND account_id = 'ACC-1'", day=MONDAY):
            fleet.ready(MONDAY, "ACC-1")
        return build_snapshot(*arguments)

    monkeypatch.setattr(tasks, "build_snapshot", interrupted)
    fleet.advance()
    fleet.advance()
    assert fleet.phases() == {("ACC-1", MONDAY): "PERSISTED", ("ACC-1", TUESDAY): "PERSISTED"}


@pytest.mark.parametrize("household", [False, True], ids=["alone", "household"])
def test_a_delisting_s_loss_meets_purchases_already_made(fleet, household):
    """What was bought of the group before the delisting takes its loss over, in the account of the purchase."""
    buyer = "ACC-2" if household else "ACC-1"
    if household:
        fleet.sql("UPDATE accounts SET household = 'SMITH' WHERE account_id IN ('ACC-1', 'ACC-2')")
    bought(fleet, buyer)
    act(fleet, "BBB", TUESDAY, "delisting", 10)
    fleet.ready(TUESDAY, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    # 500 shares cost 30,000 and bring 5,000: of the loss of 25,000 a fifth goes into the hundred shares bought
    assert lots(fleet, buyer)["N1"] == ("CCC", 100, 5000 + 5000)
    (row,) = fleet.postings("WASH_SALE")
    assert (row.account, row.realized_gain) == ("ACC-1", 5000)
    assert fleet.differences() == []
    (run,) = fleet.sql("SELECT snapshot FROM runs WHERE account_id = 'ACC-1'")
    assert [action[2] for action in run.snapshot["corporate_actions"]] == ["delisting"]
    fleet.ready(WEDNESDAY, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert fleet.differences() == []


def without_close(fleet):
    """Take BBB's close of Tuesday away; return a function that brings it back."""
    fleet.sql("CREATE TABLE kept AS SELECT * FROM prices WHERE price_date = :day", day=TUESDAY)
    of_bbb = "security_id = (SELECT security_id FROM securities WHERE ticker = 'BBB')"
    fleet.sql(f"DELETE FROM prices WHERE price_date = :day AND {of_bbb}", day=TUESDAY)
    return lambda: fleet.sql(f"INSERT INTO prices SELECT * FROM kept WHERE {of_bbb}")


def test_an_action_without_its_close_holds_the_day(opened):
    """A distribution of shares needs the close of its day: without it the day waits, and goes on when it is there."""
    fleet = opened
    bring_back = without_close(fleet)
    act(fleet, "BBB", TUESDAY, "spinoff_value", 2)
    fleet.ready(TUESDAY, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.HELD: 1}
    assert ("ACC-1", "NO_PRICE") in fleet.alerts()
    assert fleet.one("SELECT books_as_of FROM accounts WHERE account_id = 'ACC-1'") == MONDAY
    bring_back()
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert sum(row.cash for row in fleet.postings("STOCK_DISTRIBUTION", "SPINOFF")) == 500 * 2
    assert fleet.differences() == []


def test_a_fraction_without_its_close_holds_the_day(opened):
    """500 shares at 1,001 for 1,000 are 500.5: the half share waits for the close, and is paid then."""
    fleet = opened
    bring_back = without_close(fleet)
    act(fleet, "BBB", TUESDAY, "split", "1.001")
    fleet.ready(TUESDAY, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.HELD: 1}
    assert ("ACC-1", "NO_PRICE") in fleet.alerts()
    assert fleet.one("SELECT books_as_of FROM accounts WHERE account_id = 'ACC-1'") == MONDAY
    bring_back()
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    (paid,) = fleet.postings("CASH_IN_LIEU")
    assert (paid.quantity, paid.cash > 0) == (Decimal("-0.5"), True)
    assert fleet.differences() == []
