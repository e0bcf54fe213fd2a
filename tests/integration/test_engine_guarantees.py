"""What holds when things go wrong in ways nobody planned: odd errors, moved books, lost commits, altered records."""

import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from prometheus.audit.verification import verify_audit
from prometheus.bookkeeping.ledger import book_events
from prometheus.db.leases import finish_cancel
from prometheus.db.repositories.engine_runs import cancel_run, mark_data_ready
from prometheus.db.repositories.ledger_events import EventSource
from prometheus.domain.phases import Phase
from prometheus.foundation.errors import DatabaseUnavailableError, EngineError, RunCancelledError, StaleLeaseError
from prometheus.ledger.events import Interest
from prometheus.orchestration.advance_all import advance_all
from prometheus.orchestration.risk_refresh import refresh_risk_model
from prometheus.pipeline import advance, tasks
from prometheus.pipeline.advance import Outcome
from prometheus.pipeline.lease_keeper import LeaseKeeper
from prometheus.pipeline.shared_inputs import SharedInputs
from tests.integration.embedded_processes import DEADLINE_SECONDS
from tests.integration.engine_fleet import MONDAY, THURSDAY, TUESDAY


@pytest.fixture
def before_task(monkeypatch):
    """A function that has something happen each time a phase's task begins, instead of or before the task."""

    def install(phase, action):
        real = tasks.TASKS[phase]

        def meddled(context, lease):
            action(lease)
            return real(context, lease)

        monkeypatch.setitem(tasks.TASKS, phase, meddled)

    return install


def _raise(error):
    def action(_):
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("zero \x00 and half a pair \ud800"), "ValueError: zero \ufffd and half a pair ?"),
        (ValueError("x" * 100_000), "ValueError: " + "x" * 1988 + " ..."),
        (EngineError("odd", code="ODD", details={"what": {1: object}}), "odd"),
        (EngineError("not a number", details={"gap": float("nan")}), "not a number"),
    ],
    ids=["characters", "length", "details", "not a number"],
)
def test_failure_of_any_wording_is_written_down(fleet, before_task, error, said):
    """Whatever an error's words are made of, the run keeps them and the rest of the fleet goes on."""
    fleet.ready()
    mine = fleet.run("ACC-1").run_id
    before_task(Phase.SNAPSHOT_BUILT, lambda lease: _raise(error)(lease) if lease.run_id == mine else None)
    summary = fleet.advance(retry_base_seconds=1000.0)
    assert summary.outcomes == {Outcome.RETRY: 1, Outcome.PERSISTED: 1}
    stored = fleet.run().error
    assert stored.message == said
    assert stored.previous_phase == "SNAPSHOT_BUILT"
    assert len(stored.traceback_sha256) == 64


def test_books_that_move_meanwhile_put_the_snapshot_off(fleet):
    """An event booked while a snapshot is built puts it off to the next tick, with no alert and no charge."""
    fleet.ready(account_id="ACC-1")
    real = tasks.build_snapshot
    interest = Interest(account="ACC-1", event_id="interest", trade_date=MONDAY, amount=Decimal(5))

    def slow(*arguments: object):
        built = real(*arguments)
        if not fleet.postings("INTEREST"):
            fleet.open_books(MONDAY, "ACC-1")
            with fleet.database.transaction() as connection:
                book_events(connection, "ACC-1", [interest], MONDAY, source=EventSource.FILE)
        return built

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "build_snapshot", slow)
        summary = fleet.advance()
    assert summary.outcomes == {Outcome.DEFERRED: 1}
    assert not summary.needs_a_person
    assert (fleet.run().phase, fleet.run().attempt, fleet.alerts()) == ("DATA_READY", 0, [])
    assert fleet.kinds()[-1] == "HOLD"
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}


def test_rows_that_cannot_be_read_end_one_run_alone(fleet):
    """A stored state that nobody can read fails its account's run, not those that are read together with it."""
    fleet.open_books(MONDAY)
    fleet.ready(TUESDAY)
    fleet.sql("UPDATE ledger_states SET state = 'odd' WHERE household = 'ACC-2'")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1, Outcome.FAILED: 1}
    assert (fleet.run("ACC-1", TUESDAY).phase, fleet.run("ACC-2", TUESDAY).phase) == ("PERSISTED", "FAILED")
    assert "a stored ledger state cannot be read" in fleet.run("ACC-2", TUESDAY).error.message


def test_record_without_its_staged_snapshot_is_not_written(fleet, before_task):
    """Where somebody has emptied the staging table the run is not persisted without its snapshot; it says why."""
    fleet.ready(account_id="ACC-1")
    before_task(Phase.SOLVED, lambda _: fleet.sql("DELETE FROM staged_snapshots"))
    assert fleet.advance(retry_base_seconds=1000.0).outcomes == {Outcome.RETRY: 1}
    assert (fleet.run().phase, fleet.run().error.code) == ("SOLVED", "NOT_STAGED")
    assert fleet.one("SELECT count(*) FROM runs") == 0


def test_earlier_day_marked_ready_meanwhile_comes_first(fleet, before_task):
    """A later day that was claimed before an earlier one became ready gives way to it."""
    fleet.ensure(MONDAY, "ACC-1")
    fleet.ready(TUESDAY, "ACC-1")

    def mark(lease):
        if lease.as_of_date == TUESDAY:
            with fleet.database.transaction() as connection:
                mark_data_ready(connection, as_of=MONDAY, account_ids=["ACC-1"])

    before_task(Phase.DATA_READY, mark)
    summary = fleet.advance()
    assert summary.outcomes == {Outcome.DEFERRED: 1, Outcome.PERSISTED: 1}
    assert fleet.phases() == {("ACC-1", MONDAY): "PERSISTED", ("ACC-1", TUESDAY): "DATA_READY"}
    fleet.advance()
    rows = fleet.sql("SELECT as_of_date FROM runs ORDER BY run_seq")
    assert [row.as_of_date for row in rows] == [MONDAY, TUESDAY]


def test_books_past_the_day_end_its_run_at_once(fleet):
    """A day whose account is booked through a later one fails as SUPERSEDED, without further attempts."""
    fleet.ready(account_id="ACC-1")
    fleet.sql("UPDATE accounts SET books_as_of = :day WHERE account_id = 'ACC-1'", day=TUESDAY)
    assert fleet.advance().outcomes == {Outcome.FAILED: 1}
    assert fleet.run().error.code == "SUPERSEDED"


def test_day_behind_its_books_is_not_made_ready(fleet):
    """Where a later day failed after its corporate actions were booked, the earlier day is superseded all the same."""
    fleet.ensure(MONDAY, "ACC-1")
    fleet.sql("UPDATE accounts SET books_as_of = :day WHERE account_id = 'ACC-1'", day=TUESDAY)
    assert fleet.ready(MONDAY, "ACC-1").superseded == ("ACC-1",)
    assert fleet.run().error.code == "SUPERSEDED"


def test_commit_whose_answer_was_lost_is_looked_up(fleet, monkeypatch):
    """Where the connection broke during COMMIT but the phase was committed, work goes on from the phase it reached."""
    fleet.ready(account_id="ACC-1")
    lost = iter([DatabaseUnavailableError("gone")])
    real = advance._commit_together

    def commit_and_lose(context, ready):
        moved = real(context, ready)
        for error in lost:
            raise error
        return moved

    monkeypatch.setattr(advance, "_commit_together", commit_and_lose)
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}
    assert fleet.kinds() == ["CREATED", "TRANSITION", "CLAIM", "TRANSITION", "TRANSITION", "TRANSITION"]


def test_phase_that_was_not_committed_ends_the_heartbeat(fleet, before_task):
    """Where the database is gone and nothing was committed, the call ends and the run waits for its lease to end."""
    fleet.ready(account_id="ACC-1")
    before_task(Phase.SNAPSHOT_BUILT, _raise(DatabaseUnavailableError("gone")))
    with pytest.raises(DatabaseUnavailableError):
        fleet.advance()
    assert (fleet.run().phase, fleet.run().error) == ("SNAPSHOT_BUILT", None)


def test_cancel_seen_when_a_failure_is_reported_ends_the_run(fleet, before_task):
    """A run cancelled during its last failing attempt ends as CANCELLED, not as failed."""
    fleet.ready(account_id="ACC-1")
    fleet.sql("UPDATE engine_runs SET max_attempts = 1")

    def cancel_and_fail(lease):
        with fleet.database.transaction() as connection:
            assert cancel_run(connection, lease.run_id, reason="enough") == "REQUESTED"
        raise ValueError("no")

    before_task(Phase.DATA_READY, cancel_and_fail)
    assert fleet.advance().outcomes == {Outcome.CANCELLED: 1}
    assert fleet.run().error.code == "CANCELLED"
    assert fleet.alerts() == []


def test_claimed_runs_are_given_back_when_the_time_is_spent(fleet):
    """Past its time budget a tick begins with no further run and leaves the claimed ones to the next."""
    fleet.ready()
    budget = 0.001
    summary = advance_all(
        fleet.database, fleet.config(), fleet.database.sibling, time_budget_seconds=budget, on_outcome=lambda *_: None
    )
    started = sum(summary.outcomes.values())
    waiting = fleet.sql("SELECT owner_instance, attempt FROM engine_runs WHERE phase = 'DATA_READY'")
    assert len(waiting) == 2 - started
    assert all((row.owner_instance, row.attempt) == (None, 0) for row in waiting)
    assert started < 2
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 2 - started}


def test_shared_inputs_notice_a_new_model(fleet):
    """Inputs shared by accounts are read again once a file was loaded or a risk model stored, and only then."""
    shared = SharedInputs(fleet.database)
    shared.forget_if_changed()
    first = shared.day(MONDAY)
    shared.forget_if_changed()
    assert shared.day(MONDAY) is first
    done = refresh_risk_model(fleet.database, as_of=MONDAY)
    shared.forget_if_changed()
    assert shared.day(MONDAY).risk_model.risk_model_id == done.risk_model_id


def test_keeper_finds_lost_and_cancelled_leases(fleet):
    """A heartbeat extends what is ours, and stops work on what was cancelled or taken over."""
    fleet.ready()
    first, second = fleet.claim(owner="me")
    keeper = LeaseKeeper(fleet.database.sibling, 300)
    keeper.hold((first, second))
    keeper.beat(fleet.database)
    keeper.check(first)
    with fleet.database.transaction() as connection:
        cancel_run(connection, first.run_id, reason="")
    fleet.sql("UPDATE engine_runs SET lease_token = lease_token + 1 WHERE run_id = :run", run=second.run_id)
    keeper.beat(fleet.database)
    with pytest.raises(RunCancelledError):
        keeper.check(first)
    with pytest.raises(StaleLeaseError):
        keeper.check(second)
    keeper.drop(first)
    keeper.drop(second)
    keeper.check(first)
    with fleet.database.transaction() as connection:
        assert finish_cancel(connection, first)


def test_keeper_outlives_a_heartbeat_that_fails(fleet):
    """A heartbeat that fails, for whatever reason, is followed by the next one."""
    fleet.ready(account_id="ACC-1")
    (lease,) = fleet.claim(owner="me", ttl=1)
    before = fleet.run().heartbeat_at
    beaten = threading.Event()
    errors = iter([DatabaseUnavailableError("gone"), ValueError("no")])

    class Keeper(LeaseKeeper):
        def beat(self, database):
            for error in errors:
                raise error
            super().beat(database)
            beaten.set()

    with Keeper(fleet.database.sibling, 1) as keeper:
        keeper.hold((lease,))
        assert beaten.wait(DEADLINE_SECONDS)
    assert fleet.run().heartbeat_at > before


def test_account_without_runs_has_nothing_altered(fleet):
    """An account that has not traded yet has an unbroken chain."""
    assert verify_audit(fleet.database).findings == []


def test_hash_does_not_notice_a_negative_zero(fleet):
    """A tax of minus nothing is stored as nothing, and the hash of the rows is that of the record."""
    fleet.ready(account_id="ACC-1")
    real = tasks.trade_row
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "trade_row", lambda line: replace(real(line), cost=Decimal("-0.00")))
        fleet.advance()
    report = verify_audit(fleet.database)
    assert (report.runs, report.findings) == (1, [])


def test_skipped_days_need_no_run(fleet):
    """Days nobody asked for leave no hole: numbers count runs, not sessions."""
    for day in (MONDAY, THURSDAY):
        fleet.ready(day, "ACC-1")
    fleet.advance()
    assert [row.run_seq for row in fleet.sql("SELECT run_seq FROM runs ORDER BY run_seq")] == [1, 2]
