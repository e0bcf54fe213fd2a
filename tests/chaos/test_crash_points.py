"""A worker killed with SIGKILL at every moment of a day at which it touches the database, one after the other."""

import os
import random
import signal

import pytest

from tests.chaos.checkers import check_all_persisted, check_liveness, check_safety
from tests.chaos.processes import Points, advance, workers
from tests.integration.engine_fleet import MONDAY, TUESDAY, add_account

SPLIT = """
    INSERT INTO corporate_actions (security_id, ex_date, action_type, value)
    SELECT security_id, :day, 'split', 2 FROM securities WHERE ticker = 'AAA'
"""
DIVIDEND = """
    INSERT INTO corporate_actions (security_id, ex_date, action_type, value)
    SELECT security_id, :day, 'dividend', 0.5 FROM securities WHERE ticker = 'BBB'
"""
#: Keep the messages that the dead left behind from the next one, whose day would become longer by their deliveries.
KEEP_MESSAGES = """
    UPDATE outbox SET owner_instance = 'dead', lease_expires_at = engine_now() + interval '3 minutes'
    WHERE delivered_at IS NULL
"""
#: What one account's day left behind, without keys and times: the same for every account that owns the same.
_EFFECTS = {
    "run": """
        SELECT run_seq, as_of_date, status, objective, lower_bound, result->'shares' AS shares FROM runs
        WHERE account_id = :account ORDER BY run_seq
    """,
    "trades": """
        SELECT as_of_date, trade_no, run_trades.ticker, side, replace(lot_id, account_id, '') AS lot_id, quantity,
               amount, tax
        FROM run_trades JOIN runs USING (run_id) WHERE account_id = :account ORDER BY as_of_date, trade_no
    """,
    "events": """
        SELECT kind, event_id, trade_date, quantity, amount FROM ledger_events
        WHERE account_id = :account OR household = :account ORDER BY trade_date, event_id
    """,
    "postings": """
        SELECT kind, day, ticker, replace(lot_id, account_id, '') AS lot_id, quantity, cash, adjusted_basis,
               realized_gain FROM ledger_postings
        WHERE account_id = :account ORDER BY day, kind, ticker, 4
    """,
    "books": "SELECT day FROM ledger_states WHERE household = :account ORDER BY 1",
    "alerts": "SELECT as_of_date, code, message FROM alerts WHERE account_id = :account ORDER BY 1, 2",
    "messages": """
        SELECT kind, payload ->> 'as_of' AS as_of, payload ->> 'code' AS code, delivered_at IS NOT NULL AS delivered
        FROM outbox WHERE account_id = :account ORDER BY 2, 3
    """,
    "cash": "SELECT cash, books_as_of FROM accounts WHERE account_id = :account",
}


def _effects(fleet, account):
    return {name: [tuple(row) for row in fleet.sql(query, account=account)] for name, query in _EFFECTS.items()}


def _day_of(url, account, die_at=None):
    """Return a worker's body: one account's day, counted or cut short."""

    def body():
        points = Points(die_at)
        points.install()
        advance(url, f"worker-of-{account}", accounts=[account])
        return points.seen

    return body


#: How many of a process's moments are tried: five, of a worker alone thirty, in `make test`, every one in `make chaos`.
SAMPLE = int(os.environ.get("CHAOS_MOMENTS", "5"))


@pytest.mark.slow
def test_a_worker_killed_at_any_statement_costs_nothing(fleet, chaos_seed):
    """At whichever statement or COMMIT a worker is killed, the run ends PERSISTED with its effects once."""
    fleet.sql("UPDATE accounts SET region = 'ELSEWHERE'")
    with fleet.database.transaction() as connection:
        add_account(connection, "CONTROL")
    fleet.ready(MONDAY)
    fleet.advance()
    # Tuesday's day is the long one: corporate actions are booked before the snapshot.
    fleet.sql(SPLIT, day=TUESDAY)
    fleet.sql(DIVIDEND, day=TUESDAY)
    fleet.ready(TUESDAY)
    # Recurring work that falls due in the middle of this would be a part of one of the days only.
    fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() + interval '1 hour'")
    with workers(_day_of(fleet.url, "CONTROL")) as (counting,):
        points = counting.wait()
    assert 20 < points < 250, "the day's path has shrunk to nothing, or grown beyond what an exit code can tell"

    # Evenly over the day, from a moment that the seed draws; every moment in `make chaos`.
    stride = max(1, points // (6 * SAMPLE))
    moments = sorted({*range(chaos_seed % stride, points, stride), points - 1})
    victims = [f"V-{moment:03d}" for moment in moments]
    with fleet.database.transaction() as connection:
        for account in victims:
            add_account(connection, account)
    # Victims trade Monday unharmed, as the control did.
    fleet.sql("DELETE FROM corporate_actions")
    fleet.ready(MONDAY)
    fleet.advance()
    fleet.sql(SPLIT, day=TUESDAY)
    fleet.sql(DIVIDEND, day=TUESDAY)
    fleet.ready(TUESDAY)
    for moment, account in zip(moments, victims, strict=True):
        fleet.sql(KEEP_MESSAGES)
        with workers(_day_of(fleet.url, account, die_at=moment)) as (victim,):
            assert victim.wait() == -signal.SIGKILL, f"{account} was not killed"
    check_safety(fleet)
    under_way = fleet.sql("SELECT DISTINCT phase FROM engine_runs WHERE as_of_date = :day", day=TUESDAY)
    assert {row.phase for row in under_way} == {"DATA_READY", "SNAPSHOT_BUILT", "SOLVED", "PERSISTED"}

    fleet.set_clock("1 hour")
    check_liveness(fleet)

    check_safety(fleet)
    check_all_persisted(fleet)
    expected = _effects(fleet, "CONTROL")
    assert len(expected["run"]) == 2
    assert len(expected["messages"]) == len(expected["alerts"]) > 0
    assert all(message[-1] for message in expected["messages"])
    assert {row[0] for row in expected["postings"]} == {"OPENING", "SPLIT", "DIVIDEND"}
    for account in victims:
        assert _effects(fleet, account) == expected, f"{account} ended in another way than an undisturbed account"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("victim", ["the parent", "its worker"])
def test_a_pool_killed_at_any_statement_costs_nothing(fleet, chaos_seed, victim):
    """Parent or worker killed at a statement of a call with three accounts and recurring work: all is done once."""
    fleet.sql("UPDATE accounts SET region = 'ELSEWHERE'")
    fleet.advance()
    of_worker = victim == "its worker"

    def call(number, die_at=None):
        accounts = [f"{kind}-{number:03d}" for kind in "ABC"]
        with fleet.database.transaction() as connection:
            for account, (region, method) in zip(
                accounts, (("US", "HIFO"), ("US", "FIFO"), ("CA", "ACB")), strict=True
            ):
                add_account(connection, account, region=region, method=method)
        for region in ("US", "CA"):
            fleet.ready(MONDAY, region=region)
        # As if the leases that an earlier victim left had ended: each call has all of the recurring work to do.
        fleet.sql(
            "UPDATE due_tasks SET next_due_at = engine_now(), owner_instance = NULL, lease_expires_at = NULL, "
            "attempt = 0 WHERE name <> 'risk-refresh'"
        )
        points = Points(die_at, of_worker)

        def body():
            points.install()
            advance(fleet.url, f"parent-{number}", accounts=accounts, workers=1)

        with workers(body) as (process,):
            killed = process.wait() == -signal.SIGKILL
        reached = points.shared[1]
        # a parent that sends a heartbeat less than it did when it was counted ends before the last moments
        assert killed is (die_at is not None and reached == die_at + 1 and not of_worker)
        return reached

    moments = call(0)
    assert moments > 20
    tried = sorted(random.Random(chaos_seed).sample(range(moments), min(SAMPLE, moments)))
    reached = [call(number, die_at) for number, die_at in enumerate(tried, start=1)]
    assert sum(at == die_at + 1 for at, die_at in zip(reached, tried, strict=True)) > len(tried) / 2
    check_safety(fleet)

    for hour in (1, 2, 3):
        fleet.set_clock(f"{hour} hours")
        fleet.advance()
    check_liveness(fleet)
    check_safety(fleet)
    check_all_persisted(fleet)
    for kind in "ABC":
        expected = _effects(fleet, f"{kind}-000")
        for number in range(1, len(tried) + 1):
            assert _effects(fleet, f"{kind}-{number:03d}") == expected, tried[number - 1]
    unfinished = fleet.sql("SELECT name FROM due_tasks WHERE owner_instance IS NOT NULL OR error IS NOT NULL")
    assert unfinished == []
    assert len(fleet.alerts()) == len(set(fleet.alerts())), "no alert was raised twice"
