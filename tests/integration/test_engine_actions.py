"""A morning's corporate actions on the way of the engine: booked before the snapshot, proved by the journal."""

from decimal import Decimal

import pytest

from prometheus.bookkeeping.fills import book_fills
from prometheus.bookkeeping.journal import prove_tables
from prometheus.decision.build_snapshot import morning_meets_purchases
from prometheus.decision.snapshot import Snapshot
from prometheus.domain.books import Fill
from prometheus.domain.lots import Side
from prometheus.orchestration.advance_all import Outcome
from prometheus.pipeline import tasks
from tests.integration.engine_fleet import MONDAY, TUESDAY, WEDNESDAY


@pytest.fixture
def opened(fleet):
    """The small fleet with books through Monday."""
    fleet.sql("UPDATE accounts SET books_as_of = :day", day=MONDAY)
    assert differences(fleet) == {}
    return fleet


def act(fleet, ticker, day, kind, value, other="", fraction=None):
    """Store an action as a loaded file would."""
    fleet.sql(
        "INSERT INTO corporate_actions SELECT security_id, :day, :kind, :value, :other, :fraction FROM securities "
        "WHERE ticker = :ticker",
        ticker=ticker, day=day, kind=kind, value=value, other=other, fraction=fraction,
    )  # fmt: skip


def lots(fleet, account="ACC-1"):
    """Return shares and adjusted basis of an account's lots."""
    found = fleet.sql(
        "SELECT lot_id, ticker, quantity, adjusted_basis FROM tax_lots JOIN securities USING (security_id) "
        "WHERE account_id = :account",
        account=account,
    )
    return {row.lot_id: (row.ticker, row.quantity, row.adjusted_basis) for row in found}


def differences(fleet):
    """Return what the tables say otherwise than the journal replayed."""
    with fleet.database.transaction() as connection:
        return {proof.account_id: proof.differences for proof in prove_tables(connection) if proof.differences}


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
    assert differences(fleet) == {}
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
    (row,) = fleet.sql("SELECT realized_gain FROM transactions WHERE txn_type = 'DELISTING'")
    assert row.realized_gain == 500 * 40 - 30_000
    assert differences(fleet) == {}


@pytest.fixture
def washed_morning(fleet):
    """ACC-1 on a Tuesday whose delisting meets a purchase: its morning is booked before its snapshot is built."""
    fleet.sql("UPDATE securities SET group_id = 'TWINS' WHERE ticker IN ('BBB', 'CCC')")
    fleet.sql("UPDATE accounts SET books_as_of = :day, books_opened_on = '2024-06-03'", day=MONDAY)
    bought = Fill("b1", "CCC", Side.BUY, MONDAY, Decimal(100), Decimal(50), new_lot_id="N1")
    with fleet.database.transaction() as connection:
        book_fills(connection, "ACC-1", [bought], as_of=MONDAY, group_of={"BBB": "TWINS", "CCC": "TWINS"})
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
def test_a_morning_is_booked_under_the_fence(washed_morning, monkeypatch, meanwhile, outcome):
    """Frozen, taken over or cancelled between claim and booking, a morning leaves the books as they were."""
    fleet, before = washed_morning, lots(washed_morning, "ACC-1")

    def interrupted(inputs, day):
        fleet.sql(MEANWHILE[meanwhile])
        return morning_meets_purchases(inputs, day)

    monkeypatch.setattr(tasks, "morning_meets_purchases", interrupted)
    assert fleet.advance().outcomes == {outcome: 1}
    assert lots(fleet, "ACC-1") == before
    assert fleet.one("SELECT books_as_of FROM accounts WHERE account_id = 'ACC-1'") == MONDAY


def test_a_morning_waits_for_a_day_that_comes_first(washed_morning, monkeypatch):
    """Monday marked ready while Tuesday's morning is about to be booked is traded first, and nothing is superseded."""
    fleet = washed_morning

    def interrupted(inputs, day):
        if not fleet.sql("SELECT 1 FROM engine_runs WHERE as_of_date = :day AND account_id = 'ACC-1'", day=MONDAY):
            fleet.ready(MONDAY, "ACC-1")
        return morning_meets_purchases(inputs, day)

    monkeypatch.setattr(tasks, "morning_meets_purchases", interrupted)
    fleet.advance()
    fleet.advance()
    assert fleet.phases() == {("ACC-1", MONDAY): "PERSISTED", ("ACC-1", TUESDAY): "PERSISTED"}


@pytest.mark.parametrize("household", [False, True], ids=["alone", "household"])
def test_a_delisting_s_loss_meets_purchases_already_made(fleet, household):
    """What was bought of the group before the delisting takes its loss over, in the account of the purchase."""
    fleet.sql("UPDATE securities SET group_id = 'TWINS' WHERE ticker IN ('BBB', 'CCC')")
    buyer = "ACC-2" if household else "ACC-1"
    if household:
        fleet.sql("UPDATE accounts SET household = 'SMITH' WHERE account_id IN ('ACC-1', 'ACC-2')")
    fleet.sql("UPDATE accounts SET books_as_of = :day, books_opened_on = '2024-06-03'", day=MONDAY)
    bought = Fill("b1", "CCC", Side.BUY, MONDAY, Decimal(100), Decimal(50), new_lot_id="N1")
    with fleet.database.transaction() as connection:
        book_fills(connection, buyer, [bought], as_of=MONDAY, group_of={"BBB": "TWINS", "CCC": "TWINS"})
    act(fleet, "BBB", TUESDAY, "delisting", 10)
    fleet.ready(TUESDAY, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    # 500 shares cost 30,000 and bring 5,000: of the loss of 25,000 a fifth goes into the hundred shares bought
    assert lots(fleet, buyer)["N1"] == ("CCC", 100, 5000 + 5000)
    (row,) = fleet.sql("SELECT account_id, realized_gain FROM transactions WHERE txn_type = 'WASH_SALE'")
    assert (row.account_id, row.realized_gain) == ("ACC-1", 5000)
    assert differences(fleet) == {}
    (run,) = fleet.sql("SELECT snapshot FROM runs WHERE account_id = 'ACC-1'")
    assert [action[2] for action in run.snapshot["corporate_actions"]] == ["delisting"]
    fleet.ready(WEDNESDAY, "ACC-1")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert differences(fleet) == {}
