"""Sessions of somebody else that keep hold of what the engine needs: an open psql, a commit that hangs."""

from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from prometheus.db.database import Database, Timeouts
from prometheus.db.kill_switch import hold_switch
from prometheus.db.repositories.engine_flags import set_switch
from prometheus.db.repositories.engine_runs import cancel_run
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import DatabaseError
from prometheus.orchestration.advance_all import advance_all
from prometheus.pipeline import tasks
from prometheus.pipeline.advance import Outcome
from prometheus.pipeline.kill_switch import throw_switch
from tests.chaos.checkers import check_all_persisted, check_safety
from tests.chaos.processes import (
    DEADLINE_SECONDS,
    LONG_LEASE,
    Gate,
    before_solving,
    claims_while_leases_pass,
    frequent_heartbeats,
    in_thread,
    wait_for,
    workers,
)
from tests.conftest import clone_of
from tests.integration.engine_fleet import MONDAY, add_account

ACCOUNT = "SELECT 1 FROM accounts WHERE account_id = 'ACC-1' FOR UPDATE"
RUN = "SELECT 1 FROM engine_runs WHERE account_id = 'ACC-1' FOR UPDATE"
SWITCH = "SELECT 1 FROM engine_flags FOR UPDATE"
SESSIONS_THAT_WAIT = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@contextmanager
def held(url, statement):
    """Keep hold of rows in a transaction that does nothing more, as a forgotten psql does."""
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as session:
        session.execute(statement)
        yield session


@pytest.fixture
def hurried(fleet):
    """The fleet's database through connections that wait for a lock for a moment only."""
    database = Database(fleet.url, timeouts=Timeouts(lock=0.3))
    yield database
    database.close()


@pytest.mark.parametrize("statement", [ACCOUNT, RUN], ids=["its account", "its run"])
def test_a_held_row_puts_its_own_run_off_and_no_other(fleet, hurried, monkeypatch, statement):
    """Whoever keeps hold of an account or a run from its solve on delays that run alone, with no alert."""
    fleet.ready()
    mine, sessions = fleet.run("ACC-1").run_id, []
    real = tasks.TASKS[Phase.SNAPSHOT_BUILT]

    def take(context, lease):
        work = real(context, lease)
        if lease.run_id == mine and not sessions:
            sessions.append(stack.enter_context(held(fleet.url, statement)))
        return work

    monkeypatch.setitem(tasks.TASKS, Phase.SNAPSHOT_BUILT, take)
    monkeypatch.setattr("prometheus.pipeline.advance._RELEASE_WAIT_SECONDS", 0.3)
    with ExitStack() as stack:
        summary = advance_all(hurried, fleet.config(), hurried.sibling)
        assert summary.outcomes == {Outcome.DEFERRED: 1, Outcome.PERSISTED: 1}
        assert not summary.needs_a_person
        assert fleet.alerts() == []
    fleet.set_clock("10 minutes")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    check_safety(fleet)


def test_a_held_row_does_not_stop_recovery_from_letting_the_fleet_go_on(fleet, hurried):
    """Where an alert of the reaper cannot be written because its account is held, the other accounts are advanced."""
    fleet.ready()
    fleet.claim(batch=1, ttl=1, owner="lost", account_ids=["ACC-1"])
    fleet.sql("UPDATE engine_runs SET attempt = max_attempts WHERE account_id = 'ACC-1'")
    fleet.set_clock("10 minutes")
    with held(fleet.url, ACCOUNT):
        summary = advance_all(hurried, fleet.config(), hurried.sibling)
    assert (summary.reaped, summary.outcomes) == (0, {Outcome.PERSISTED: 1})
    assert fleet.run("ACC-1").phase == "DATA_READY"
    assert fleet.advance().reaped == 1
    assert fleet.alerts() == [("ACC-1", "WORKER_LOST")]


def test_a_held_account_stops_the_recovery_of_no_other(fleet, hurried):
    """Of two runs to be reaped the one whose account is held waits for the next tick, the other is failed now."""
    fleet.ready()
    fleet.claim(batch=2, ttl=1, owner="lost")
    fleet.sql("UPDATE engine_runs SET attempt = max_attempts")
    fleet.set_clock("10 minutes")
    with held(fleet.url, ACCOUNT):
        assert advance_all(hurried, fleet.config(), hurried.sibling).reaped == 1
        assert fleet.alerts() == [("ACC-2", "WORKER_LOST")]
    assert fleet.run("ACC-1").phase == "DATA_READY"
    assert fleet.advance().reaped == 1
    assert sorted(fleet.alerts()) == [("ACC-1", "WORKER_LOST"), ("ACC-2", "WORKER_LOST")]


def test_a_held_switch_starves_no_heartbeat(fleet, monkeypatch):
    """While somebody holds the switch's row recovery waits, and the leases of computing workers live on."""
    fleet.ready(MONDAY, "ACC-1")
    monkeypatch.setattr("prometheus.orchestration.advance_all._RECOVERY_WAIT_SECONDS", 0.3)
    frequent_heartbeats(monkeypatch)
    gate = Gate()

    def computes():
        before_solving(gate.wait)
        database = Database(fleet.url)
        config = fleet.config(owner="computes", lease_ttl=LONG_LEASE)
        summary = advance_all(database, config, database.sibling, workers=1)
        return 0 if summary.outcomes == {Outcome.PERSISTED: 1} else 1

    with workers(computes) as (worker,):
        wait_for(lambda: fleet.run("ACC-1").phase == "SNAPSHOT_BUILT", "the solve to begin")
        with held(fleet.url, SWITCH):
            assert claims_while_leases_pass(fleet) == []
        gate.open()
        assert worker.wait() == 0
    assert fleet.run("ACC-1").lease_token == 1
    check_all_persisted(fleet)


def test_commits_queue_behind_the_kill_switch(fleet):
    """A commit that begins while the switch waits for one before it waits as well, and then finds the fleet frozen."""
    states: list[bool] = []

    def commit():
        with fleet.database.transaction() as connection:
            states.append(hold_switch(connection).frozen)

    def freeze():
        with fleet.database.transaction() as connection:
            set_switch(connection, frozen=True, reason="a drill")

    with held(fleet.url, "SELECT 1 FROM engine_flags FOR SHARE") as first:
        freezing = in_thread(freeze)
        wait_for(lambda: _waiting(fleet) == 1, "the switch to wait")
        later = in_thread(commit)
        wait_for(lambda: _waiting(fleet) == 2, "the later commit to queue")
        assert states == []
        first.rollback()
        freezing.join(DEADLINE_SECONDS)
        later.join(DEADLINE_SECONDS)
    assert states == [True]


def _waiting(fleet):
    return fleet.one("""
        SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE relation = 'engine_flags'::regclass AND NOT granted AND datname = current_database()
    """)


def test_a_commit_that_hangs_is_ended_for_the_kill_switch(fleet):
    """A session of ours that never ends its commit does not keep the fleet from being frozen: it is rolled back."""
    with held(fleet.url, "SELECT 1 FROM engine_flags FOR SHARE") as hung:
        hung.execute("UPDATE accounts SET name = 'half done'")
        pid = hung.info.backend_pid
        thrown = throw_switch(fleet.database, frozen=True, reason="a drill", patience_seconds=0.3)
        assert (thrown.changed, thrown.ended) == (True, (pid,))
        with pytest.raises(psycopg.OperationalError):
            hung.execute("SELECT 1")
    assert fleet.one("SELECT frozen FROM engine_flags")
    assert fleet.one("SELECT count(*) FROM accounts WHERE name = 'half done'") == 0
    assert not throw_switch(fleet.database, frozen=True, reason="again").changed


def test_the_switch_of_another_database_is_left_alone(fleet, server, fleet_template):
    """A session that holds the switch of another fleet on the same server is not ended when ours is thrown."""
    held_alike = "SELECT 1 FROM engine_flags FOR SHARE"
    with (
        clone_of(server, fleet_template) as other,
        held(other, held_alike) as foreign,
        held(fleet.url, held_alike) as hung,
    ):
        thrown = throw_switch(fleet.database, frozen=True, reason="a drill", patience_seconds=0.3)
        assert thrown.ended == (hung.info.backend_pid,)
        assert foreign.execute("SELECT frozen FROM engine_flags").fetchone() == (False,)
        with pytest.raises(psycopg.OperationalError):
            hung.execute("SELECT 1")


def test_a_session_that_is_not_ours_is_named(fleet, server):
    """Where a superuser's session holds the switch the freeze fails, names it and what to do, and changes nothing."""
    name = fleet.one("SELECT current_database()")
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname=name) as foreign:
        foreign.execute("SELECT 1 FROM engine_flags FOR SHARE")
        with pytest.raises(DatabaseError, match=r"NOT thrown.*database user postgres") as refused:
            throw_switch(fleet.database, frozen=True, reason="a drill", patience_seconds=0.3)
        assert f"pg_terminate_backend({foreign.info.backend_pid})" in refused.value.message
    assert refused.value.code == "SWITCH_HELD"
    assert not fleet.one("SELECT frozen FROM engine_flags")


@pytest.mark.parametrize(
    ("under_way", "reported"),
    [
        ("UPDATE engine_runs SET phase = 'FAILED', error = '{\"code\": \"X\"}', owner_instance = NULL", "FAILED"),
        (
            (
                "UPDATE engine_runs SET owner_instance = 'a', lease_token = lease_token + 1, "
                "lease_expires_at = engine_now() + interval '1 minute'"
            ),
            "REQUESTED",
        ),
        (
            "UPDATE engine_runs SET lease_expires_at = NULL, owner_instance = NULL, phase = 'SNAPSHOT_BUILT'",
            "CANCELLED",
        ),
    ],
    ids=["a commit that ends the run", "a claim", "a run that is given back"],
)
def test_a_cancel_reports_what_a_transaction_under_way_left_behind(fleet, under_way, reported):
    """A cancel that meets a commit or a claim in the making waits for it, and reports the state that it leaves."""
    fleet.ready(MONDAY, "ACC-1")
    run_id, said = fleet.run("ACC-1").run_id, []

    def cancel():
        with fleet.database.transaction() as connection:
            said.append(cancel_run(connection, run_id, reason="a drill"))

    with held(fleet.url, under_way) as commit:
        asking = in_thread(cancel)
        wait_for(
            lambda: fleet.one(SESSIONS_THAT_WAIT) > 0 or not asking.is_alive(),
            "the cancel to wait",
        )
        assert said == []
        commit.commit()
        asking.join(DEADLINE_SECONDS)
    assert said == [reported]
    assert (fleet.run("ACC-1").cancel_requested_at is None) == (reported == "FAILED")


def test_an_account_whose_day_is_in_work_cannot_be_deleted(fleet):
    """Deleting an account under its run is refused by the database, and the run ends as if nobody had tried."""
    with fleet.database.transaction() as connection:
        add_account(connection, "NEW", lots=())
    fleet.ready(MONDAY, "NEW")
    fleet.claim(batch=1, ttl=1)
    with psycopg.connect(fleet.url.replace("postgresql+psycopg", "postgresql")) as session:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            session.execute("DELETE FROM accounts WHERE account_id = 'NEW'")
        session.rollback()
    fleet.set_clock("1 minute")
    assert fleet.advance(lease_ttl=1).outcomes == {Outcome.PERSISTED: 1}


def test_readers_wait_for_neither_writers_nor_the_kill_switch(fleet):
    """While every row is being rewritten and the switch is being thrown, all that monitoring reads answers at once."""
    fleet.ready()
    fleet.ready(region="CA")
    fleet.advance()
    with held(fleet.url, "UPDATE engine_runs SET updated_at = updated_at") as writer:
        for table in ("accounts", "due_tasks", "engine_hosts", "risk_models"):
            writer.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        writer.execute("LOCK TABLE engine_flags IN EXCLUSIVE MODE")
        for arguments in (
            ["show-engine-runs"], ["engine-health"], ["engine", "status"], ["engine", "tasks"], ["runs", "list"],
            ["runs", "history", "ACC-1", MONDAY.isoformat()],
        ):  # fmt: skip
            done = fleet.command(*arguments, PROMETHEUS_LOCK_TIMEOUT_SECONDS="0.3")
            assert done.exit_code == 0, (arguments, done.output)
