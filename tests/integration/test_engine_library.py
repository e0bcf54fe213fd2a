"""The state machine as a library: one run ensured, listed, moved and advanced by an orchestrator's own process."""

import time

import pytest

from prometheus.db.leases import finish_cancel
from prometheus.db.repositories.engine_flags import set_switch
from prometheus.domain.phases import LEGAL_EDGES, Phase
from prometheus.foundation.errors import (
    ActiveRunCapError,
    IllegalTransitionError,
    NoDataError,
    NotASessionError,
    RequestError,
    UnknownAccountError,
)
from prometheus.pipeline import state, tasks
from prometheus.pipeline.advance import advance_run
from prometheus.pipeline.state import ensure_run, get_or_create_run, list_active_runs, update_phase
from tests.integration.engine_fleet import FRIDAY, MONDAY, SATURDAY, TUESDAY, WEEK, WITHOUT_PRICES

WORK = {
    Phase.DATA_READY: Phase.SNAPSHOT_BUILT,
    Phase.SNAPSHOT_BUILT: Phase.SOLVED,
    Phase.SOLVED: Phase.PERSISTED,
}
PATH = (Phase.DATA_READY, *WORK.values())


def created(fleet, day=MONDAY, account_id="ACC-1"):
    """Return an account's run of a day, created where it was missing."""
    return get_or_create_run(fleet.database, as_of=day, account_id=account_id)


def ready(fleet, day=MONDAY, account_id="ACC-1"):
    """Return an account's run of a day, marked ready."""
    return update_phase(fleet.database, created(fleet, day, account_id), Phase.DATA_READY)


def test_a_run_is_created_once(fleet):
    """The first call creates it waiting for data, every later one returns the same row."""
    assert ensure_run(fleet.database, as_of=MONDAY, account_id="ACC-1")
    before = fleet.dump(events=True)
    run = created(fleet)
    assert (run.as_of_date, run.account_id, run.phase) == (MONDAY, "ACC-1", Phase.WAITING_FOR_DATA)
    assert created(fleet) == run
    assert not ensure_run(fleet.database, as_of=MONDAY, account_id="ACC-1")
    assert fleet.dump(events=True) == before
    assert fleet.kinds() == ["CREATED"]


def test_what_cannot_be_ensured_is_refused_and_writes_nothing(fleet):
    """An unknown account, a day without a session and one run too many are refused as the commands refuse them."""
    for day in WEEK:
        created(fleet, day)
    before = fleet.dump(events=True)
    for error, day, account_id in (
        (UnknownAccountError, MONDAY, "ACC-9"),
        (NotASessionError, SATURDAY, "ACC-1"),
        (ActiveRunCapError, WITHOUT_PRICES, "ACC-1"),
    ):
        with pytest.raises(error):
            ensure_run(fleet.database, as_of=day, account_id=account_id)
        with pytest.raises(error):
            created(fleet, day, account_id)
    assert fleet.dump(events=True) == before


def test_active_runs_are_those_that_have_not_ended(fleet):
    """Listed by day, region and account; a run that failed or was persisted is gone from the list."""
    runs = [created(fleet, day, account) for day in (MONDAY, TUESDAY) for account in ("ACC-1", "ACC-2")]
    assert list_active_runs(fleet.database) == tuple(runs)
    assert list_active_runs(fleet.database, as_of=TUESDAY, account_id="ACC-2") == (runs[3],)
    assert list_active_runs(fleet.database, region=runs[0].region) == tuple(runs)
    assert list_active_runs(fleet.database, region="MARS") == ()
    update_phase(fleet.database, runs[0], Phase.FAILED, reason="test")
    assert list_active_runs(fleet.database) == tuple(runs[1:])


def test_data_are_marked_ready_once(fleet):
    """DATA_READY needs prices; asked for twice it changes nothing."""
    run = ready(fleet)
    assert run.phase is Phase.DATA_READY
    before = fleet.dump(events=True)
    assert ready(fleet) == run
    assert fleet.dump(events=True) == before
    assert fleet.kinds() == ["CREATED", "TRANSITION"]
    with pytest.raises(NoDataError):
        ready(fleet, WITHOUT_PRICES)
    assert created(fleet, WITHOUT_PRICES).phase is Phase.WAITING_FOR_DATA


@pytest.mark.parametrize("phase", [Phase.WAITING_FOR_DATA, *WORK, Phase.PERSISTED, Phase.FAILED])
def test_only_legal_edges_are_taken_and_none_of_a_worker(fleet, phase):
    """From every phase, an edge that is not in the table or is made by a phase's work is refused and writes nothing."""
    run = created(fleet)
    if phase is Phase.FAILED:
        run = update_phase(fleet.database, run, Phase.FAILED, reason="test")
    elif phase is not Phase.WAITING_FOR_DATA:
        for step in PATH[: PATH.index(phase) + 1]:
            fleet.sql("UPDATE engine_runs SET phase = :phase WHERE run_id = :run", phase=step.value, run=run.run_id)
    before = fleet.dump(events=True)
    refused = {other for other in Phase if other is not phase and (phase, other) not in LEGAL_EDGES}
    refused |= {WORK[phase]} if phase in WORK else set()
    for other in refused:
        with pytest.raises(IllegalTransitionError):
            update_phase(fleet.database, run, other, reason="test")
    assert fleet.dump(events=True) == before


def test_a_run_is_cancelled_and_begins_anew(fleet):
    """A cancelled run fails at once; re-opening it needs a reason and the phase in which its work begins."""
    run = ready(fleet)
    run = update_phase(fleet.database, run, Phase.FAILED, reason="wrong prices")
    assert (run.phase, run.error.code) == (Phase.FAILED, "CANCELLED")
    with pytest.raises(RequestError, match="with a reason only"):
        update_phase(fleet.database, run, Phase.DATA_READY)
    with pytest.raises(IllegalTransitionError, match="begins anew at DATA_READY"):
        update_phase(fleet.database, run, Phase.WAITING_FOR_DATA, reason="prices corrected")
    assert fleet.run().phase is Phase.FAILED
    assert update_phase(fleet.database, run, Phase.DATA_READY, reason="prices corrected").phase is Phase.DATA_READY
    assert fleet.kinds() == ["CREATED", "TRANSITION", "CANCELLED", "RESET"]


def test_a_run_in_work_is_asked_to_stop(fleet):
    """Its worker ends it; until then it has its phase, and its row has the request."""
    run = ready(fleet)
    (lease,) = fleet.claim(batch=1)
    asked = update_phase(fleet.database, run, Phase.FAILED, reason="test")
    assert asked.phase is Phase.DATA_READY
    assert asked.cancel_requested_at is not None
    with fleet.database.transaction() as connection:
        finish_cancel(connection, lease)
    assert fleet.run().phase is Phase.FAILED


def test_a_day_that_can_no_longer_be_traded_becomes_neither_ready_nor_open(fleet):
    """Once a later day is persisted, an earlier one ends as superseded and stays so."""
    early, late = created(fleet, MONDAY), ready(fleet, FRIDAY)
    assert advance_run(fleet.database, late).phase is Phase.PERSISTED
    ended = update_phase(fleet.database, early, Phase.DATA_READY)
    assert (ended.phase, ended.error.code) == (Phase.FAILED, "SUPERSEDED")
    with pytest.raises(RequestError) as refused:
        update_phase(fleet.database, ended, Phase.WAITING_FOR_DATA, reason="test")
    assert refused.value.code == "SUPERSEDED"


def test_one_run_is_advanced_to_its_record(fleet):
    """One call takes a ready run through every phase, and no other run of the day; a second call changes nothing."""
    fleet.ready()
    done = advance_run(fleet.database, fleet.run("ACC-1"))
    assert done == fleet.run("ACC-1")
    assert done.phase is Phase.PERSISTED
    assert fleet.run("ACC-2").phase is Phase.DATA_READY
    assert fleet.one("SELECT count(*) FROM runs") == 1
    before = fleet.dump(events=True)
    assert advance_run(fleet.database, done) == done
    assert fleet.dump(events=True) == before


def test_what_may_not_be_worked_on_stays_as_it_is(fleet):
    """Without data, after an unfinished day, claimed by another, paused, or frozen in the database or this process."""
    waiting = created(fleet)
    assert advance_run(fleet.database, waiting) == waiting
    ready(fleet)
    later = ready(fleet, TUESDAY)
    assert advance_run(fleet.database, later) == later
    assert advance_run(fleet.database, waiting, fleet.config(frozen_by_environment=True)).phase is Phase.DATA_READY
    state.set_paused(fleet.database, "ACC-1", paused=True, reason="test")
    assert advance_run(fleet.database, waiting).phase is Phase.DATA_READY
    state.set_paused(fleet.database, "ACC-1", paused=False, reason="test")
    with fleet.database.transaction() as connection:
        set_switch(connection, frozen=True, reason="test")
    assert advance_run(fleet.database, waiting).phase is Phase.DATA_READY
    with fleet.database.transaction() as connection:
        set_switch(connection, frozen=False, reason="test")
    fleet.claim(batch=1, owner="another")
    assert advance_run(fleet.database, waiting).owner_instance == "another"
    assert fleet.one("SELECT count(*) FROM runs") == 0


def test_a_failed_phase_is_written_down(fleet, monkeypatch):
    """What a phase raises is kept with the run, which waits for its next attempt."""
    run = ready(fleet)

    def fails(context, lease):
        raise ValueError("test")

    monkeypatch.setitem(tasks.TASKS, Phase.SNAPSHOT_BUILT, fails)
    after = advance_run(fleet.database, run)
    assert (after.phase, after.error.code, after.owner_instance) == (Phase.SNAPSHOT_BUILT, "EXCEPTION", None)
    assert after.next_attempt_at > after.updated_at


def test_the_lease_of_a_long_phase_is_renewed(fleet, monkeypatch):
    """A phase that takes longer than its lease keeps it: nobody else can claim the run meanwhile."""
    run, real, others = ready(fleet), tasks.TASKS[Phase.SNAPSHOT_BUILT], []

    def slow(context, lease):
        time.sleep(2.5)
        others.extend(fleet.claim(owner="another"))
        return real(context, lease)

    monkeypatch.setitem(tasks.TASKS, Phase.SNAPSHOT_BUILT, slow)
    assert advance_run(fleet.database, run, fleet.config(lease_ttl=1)).phase is Phase.PERSISTED
    assert others == []


def test_a_lease_that_was_taken_over_writes_nothing(fleet, monkeypatch):
    """The fence holds: a run that another worker owns by now gets no phase and no record of this one."""
    run, real = ready(fleet), tasks.TASKS[Phase.SNAPSHOT_BUILT]

    def overtaken(context, lease):
        fleet.sql(
            "UPDATE engine_runs SET lease_token = lease_token + 1, owner_instance = 'another' WHERE run_id = :run",
            run=lease.run_id,
        )
        return real(context, lease)

    monkeypatch.setitem(tasks.TASKS, Phase.SNAPSHOT_BUILT, overtaken)
    after = advance_run(fleet.database, run)
    assert (after.phase, after.owner_instance) == (Phase.SNAPSHOT_BUILT, "another")
    assert fleet.one("SELECT count(*) FROM staged_solutions") == 0
