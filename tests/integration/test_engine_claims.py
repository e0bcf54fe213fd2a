"""Who may work on which run: claims, leases and fences on a real database."""

from datetime import date

import pytest
from psycopg import errors as sql_errors
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from prometheus.db.claims import claim_batch
from prometheus.db.leases import commit_phase, finish_cancel, heartbeat, release_lease, schedule_retry
from prometheus.db.reaper import reap
from prometheus.db.repositories.engine_events import record_event
from prometheus.db.repositories.engine_runs import ensure_runs, mark_data_ready
from prometheus.domain.engine_run import RunError
from prometheus.domain.phases import LEGAL_EDGES, Phase
from prometheus.foundation.errors import IllegalTransitionError, StaleLeaseError

ACCOUNTS = tuple(f"E-{number}" for number in range(1, 6))
DAY, NEXT_DAY = date(2018, 6, 1), date(2018, 6, 4)
ERROR = RunError(code="EXCEPTION", message="no")


@pytest.fixture
def fleet(database):
    """A database with five accounts that own nothing: claims look at runs, not at markets."""
    change(
        database,
        "INSERT INTO accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, st_rate, "
        "lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags) "
        "SELECT id, id, 'US', 'USD', 'US', 'HIFO', 'BM', 0, 0, 0, 0, 0, false, '{}' "
        "FROM unnest(CAST(:ids AS text[])) AS id",
        ids=list(ACCOUNTS),
    )
    return database


def make_ready(database, day=DAY, accounts=ACCOUNTS[:1]):
    """Create the day's runs of some accounts and mark them ready."""
    with database.transaction() as connection:
        ensure_runs(connection, as_of=day, account_ids=accounts, code_version="test", cap=9)
        mark_data_ready(connection, as_of=day, account_ids=accounts)


def claim(database, owner="test:1", *, ttl=300, batch=10):
    """Claim runs in a transaction of their own."""
    with database.transaction() as connection:
        return claim_batch(connection, owner=owner, ttl=ttl, batch=batch)


def query(database, sql, **values: object):
    """Return the rows of a query as dictionaries."""
    with database.transaction() as connection:
        return [dict(row) for row in connection.execute(text(sql), values).mappings()]


def change(database, sql, **values: object):
    """Change rows behind the engine's back."""
    with database.transaction() as connection:
        connection.execute(text(sql), values)


def run_of(database, account_id=ACCOUNTS[0]):
    """Return the row of an account's first day."""
    (run,) = query(
        database,
        "SELECT * FROM engine_runs WHERE account_id = :account AND as_of_date = :day",
        account=account_id,
        day=DAY,
    )
    return run


def kinds(database, run_id):
    """Return the kinds of a run's events in order."""
    rows = query(database, "SELECT kind FROM engine_run_events WHERE run_id = :run ORDER BY event_id", run=run_id)
    return [row["kind"] for row in rows]


def skew(database, interval):
    """Let the database's clock go wrong by an interval, such as '10 minutes'."""
    change(
        database,
        "CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        f"$$SELECT clock_timestamp() + interval '{interval}'$$",
    )


def test_claim_raises_the_token_and_names_the_owner(fleet):
    """A claim sets owner, heartbeat and expiry, adds one to token and attempt, and leaves one event."""
    make_ready(fleet)
    (lease,) = claim(fleet, "host:1", ttl=120)
    run = run_of(fleet)
    assert (lease.token, lease.attempt, lease.phase, lease.taken_over) == (1, 1, Phase.DATA_READY, False)
    assert (run["owner_instance"], run["lease_token"], run["attempt"]) == ("host:1", 1, 1)
    assert (run["lease_expires_at"] - run["heartbeat_at"]).total_seconds() == pytest.approx(120, abs=1)
    assert kinds(fleet, run["run_id"]) == ["CREATED", "TRANSITION", "CLAIM"]


def test_runs_locked_by_another_claim_are_skipped(fleet):
    """Two claims at once get different runs and neither waits for the other."""
    make_ready(fleet, accounts=ACCOUNTS[:4])
    with fleet.transaction() as connection:
        held = connection.exec_driver_sql(
            "SELECT account_id FROM engine_runs ORDER BY account_id LIMIT 2 FOR UPDATE"
        ).scalars()
        held = set(held)
        claimed = {lease.account_id for lease in claim(fleet)}
    assert claimed == set(ACCOUNTS[:4]) - held


def test_batch_is_taken_in_due_order(fleet):
    """A batch takes the earliest day first and, within a day, what has been due longest."""
    make_ready(fleet, accounts=ACCOUNTS[:3])
    make_ready(fleet, NEXT_DAY, accounts=ACCOUNTS[3:5])
    change(
        fleet,
        "UPDATE engine_runs SET next_attempt_at = engine_now() - interval '1 hour' "
        "WHERE account_id = ANY(CAST(:late AS text[]))",
        late=[ACCOUNTS[2], ACCOUNTS[4]],
    )
    first = [lease.account_id for lease in claim(fleet, batch=1)]
    rest = [lease.account_id for lease in claim(fleet, batch=3)]
    assert first == [ACCOUNTS[2]]
    assert rest == [ACCOUNTS[0], ACCOUNTS[1], ACCOUNTS[4]]


@pytest.mark.parametrize(
    "barred",
    [
        "UPDATE engine_runs SET next_attempt_at = engine_now() + interval '1 minute'",
        "UPDATE engine_runs SET cancel_requested_at = engine_now()",
        "UPDATE engine_runs SET owner_instance = 'other', lease_expires_at = engine_now() + interval '1 minute'",
        "UPDATE engine_runs SET attempt = max_attempts",
        "UPDATE accounts SET paused = true",
        "UPDATE engine_flags SET frozen = true",
    ],
    ids=["not due", "cancelled", "live lease", "attempts used up", "account paused", "engine frozen"],
)
def test_what_is_not_eligible_is_not_claimed(fleet, barred):
    """A run that may not be worked on is left where it is."""
    make_ready(fleet)
    change(fleet, barred)
    assert claim(fleet) == ()
    assert run_of(fleet)["lease_token"] == 0


def test_waiting_and_finished_runs_have_nothing_to_claim(fleet):
    """Only phases with a task are claimed."""
    make_ready(fleet)
    change(fleet, "UPDATE engine_runs SET phase = 'FAILED', error = '{}'")
    assert claim(fleet) == ()


@pytest.mark.parametrize("phase", ["DATA_READY", "SNAPSHOT_BUILT", "SOLVED"])
def test_an_earlier_day_in_work_blocks_the_later_ones(fleet, phase):
    """While a day is between DATA_READY and SOLVED no later day of the account is claimed, whoever owns the day."""
    make_ready(fleet)
    make_ready(fleet, NEXT_DAY)
    for step in ("SNAPSHOT_BUILT", "SOLVED")[: ["DATA_READY", "SNAPSHOT_BUILT", "SOLVED"].index(phase)]:
        change(fleet, "UPDATE engine_runs SET phase = :step WHERE as_of_date = :day", step=step, day=DAY)
    (lease,) = claim(fleet)
    assert lease.as_of_date == DAY
    assert claim(fleet) == ()


def test_an_earlier_day_without_data_blocks_nothing(fleet):
    """A day that still waits for its data does not hold up the next."""
    make_ready(fleet, NEXT_DAY)
    change(
        fleet,
        "INSERT INTO engine_runs (as_of_date, account_id, region, phase, code_version) "
        "VALUES (:day, :account, 'US', 'WAITING_FOR_DATA', 'x')",
        day=DAY,
        account=ACCOUNTS[0],
    )
    (lease,) = claim(fleet)
    assert lease.as_of_date == NEXT_DAY


def test_expired_lease_is_taken_over(fleet):
    """A run whose lease ran out goes to the next claim, with a new token and an event that says so."""
    make_ready(fleet)
    claim(fleet, "dead:1")
    assert claim(fleet, "alive:1") == ()
    skew(fleet, "301 seconds")
    (lease,) = claim(fleet, "alive:1")
    assert (lease.token, lease.attempt, lease.taken_over) == (2, 2, True)
    assert kinds(fleet, lease.run_id)[-1] == "TAKE_OVER"


def test_lease_from_a_clock_that_stepped_back_is_dead(fleet):
    """A lease further away than twice its length was taken before the clock stepped back, and is taken over."""
    make_ready(fleet)
    change(fleet, "UPDATE engine_runs SET next_attempt_at = engine_now() - interval '1 hour'")
    claim(fleet, "dead:1")
    skew(fleet, "-299 seconds")
    assert claim(fleet, "alive:1") == ()
    skew(fleet, "-301 seconds")
    (lease,) = claim(fleet, "alive:1")
    assert lease.token == 2


@pytest.mark.parametrize("ttl", [0, -1])
def test_no_take_over_where_the_lease_has_no_length(fleet, ttl):
    """With a lease of 0 seconds or less a claimed run stays with its owner however late it is."""
    make_ready(fleet)
    (lease,) = claim(fleet, "slow:1", ttl=ttl)
    skew(fleet, "400 days")
    assert claim(fleet, "other:1", ttl=ttl) == ()
    with fleet.transaction() as connection:
        commit_phase(connection, lease, Phase.SNAPSHOT_BUILT, ttl=ttl)
    assert run_of(fleet)["phase"] == "SNAPSHOT_BUILT"


@pytest.mark.parametrize("taken_by", ["other:1", "slow:1"])
def test_stale_worker_can_write_nothing(fleet, taken_by):
    """After a take-over, even by the same process, nothing is accepted: no commit, heartbeat, report, release."""
    make_ready(fleet)
    (stale,) = claim(fleet, "slow:1")
    skew(fleet, "10 minutes")
    claim(fleet, taken_by)
    before = run_of(fleet)
    with pytest.raises(StaleLeaseError), fleet.transaction() as connection:
        commit_phase(connection, stale, Phase.SNAPSHOT_BUILT, ttl=300)
    with fleet.transaction() as connection:
        assert heartbeat(connection, [stale], ttl=300) == (frozenset({stale.run_id}), frozenset())
        assert not schedule_retry(connection, stale, error=ERROR, base_seconds=1)
        assert not release_lease(connection, stale, kind="HOLD", details={})
        assert not finish_cancel(connection, stale)
    with pytest.raises(StaleLeaseError), fleet.transaction() as connection:
        commit_phase(connection, stale, Phase.FAILED, ttl=300, error=ERROR)
    assert run_of(fleet) == before


def test_commit_from_a_phase_left_behind_is_stale(fleet):
    """The fence compares the phase too: the same transition asked for twice changes nothing."""
    make_ready(fleet)
    (lease,) = claim(fleet)
    with fleet.transaction() as connection:
        commit_phase(connection, lease, Phase.SNAPSHOT_BUILT, ttl=300)
    before = run_of(fleet)
    with pytest.raises(StaleLeaseError, match="SNAPSHOT_BUILT"), fleet.transaction() as connection:
        commit_phase(connection, lease, Phase.SNAPSHOT_BUILT, ttl=300)
    assert run_of(fleet) == before


def test_heartbeat_extends_every_lease_it_is_given(fleet):
    """A heartbeat moves the expiry of all leases and tells which runs an operator wants cancelled."""
    make_ready(fleet, accounts=ACCOUNTS[:3])
    leases = claim(fleet)
    change(fleet, "UPDATE engine_runs SET cancel_requested_at = engine_now() WHERE run_id = :run", run=leases[1].run_id)
    skew(fleet, "250 seconds")
    with fleet.transaction() as connection:
        assert heartbeat(connection, leases, ttl=300) == (frozenset(), frozenset({leases[1].run_id}))
        assert heartbeat(connection, [], ttl=300) == (frozenset(), frozenset())
    skew(fleet, "500 seconds")
    assert claim(fleet, "other:1") == ()


def test_released_run_is_not_charged_an_attempt(fleet):
    """Giving a run back takes the attempt off again and lets anybody claim it at once."""
    make_ready(fleet)
    (lease,) = claim(fleet)
    with fleet.transaction() as connection:
        assert release_lease(connection, lease, kind="HOLD", details={"code": "X"})
    assert run_of(fleet)["attempt"] == 0
    (again,) = claim(fleet)
    assert (again.token, again.attempt) == (2, 1)


def test_retry_waits_longer_each_time(fleet):
    """The delay after failure n is base * 2^(n-1), within a quarter of it either way."""
    make_ready(fleet)
    delays = []
    for attempt in range(1, 5):
        change(fleet, "UPDATE engine_runs SET next_attempt_at = engine_now()")
        (lease,) = claim(fleet)
        assert lease.attempt == attempt
        with fleet.transaction() as connection:
            assert schedule_retry(connection, lease, error=ERROR, base_seconds=100)
        run = run_of(fleet)
        delays.append((run["next_attempt_at"] - run["updated_at"]).total_seconds())
        assert run["error"] == ERROR.to_json()
    for delay, nominal in zip(delays, (100, 200, 400, 800), strict=True):
        assert 0.74 * nominal < delay < 1.26 * nominal


def test_reaper_fails_what_lost_its_worker_too_often(fleet):
    """A run whose last attempt's lease ran out is failed as WORKER_LOST; one with attempts left is not."""
    make_ready(fleet, accounts=ACCOUNTS[:2])
    claim(fleet)
    change(fleet, "UPDATE engine_runs SET attempt = max_attempts WHERE account_id = :account", account=ACCOUNTS[0])
    with fleet.transaction() as connection:
        assert reap(connection, ttl=300) == ()
    skew(fleet, "301 seconds")
    with fleet.transaction() as connection:
        (reaped,) = reap(connection, ttl=300)
    assert (reaped.account_id, reaped.as_of) == (ACCOUNTS[0], DAY)
    assert (reaped.error.code, reaped.error.previous_phase) == ("WORKER_LOST", "DATA_READY")
    assert kinds(fleet, reaped.run_id)[-1] == "REAPED"
    assert run_of(fleet)["phase"] == "FAILED"
    assert run_of(fleet, ACCOUNTS[1])["phase"] == "DATA_READY"


def test_reaper_fails_a_worker_that_hangs(fleet):
    """A live lease past the phase's deadline is ended, and the worker that hung can no longer commit."""
    make_ready(fleet)
    (lease,) = claim(fleet, ttl=10_000)
    skew(fleet, "61 seconds")
    with fleet.transaction() as connection:
        assert reap(connection, ttl=10_000, deadline_seconds=0) == ()
        assert reap(connection, ttl=10_000, deadline_seconds=120) == ()
        (reaped,) = reap(connection, ttl=10_000, deadline_seconds=60)
    assert reaped.error.code == "PHASE_DEADLINE"
    with pytest.raises(StaleLeaseError), fleet.transaction() as connection:
        commit_phase(connection, lease, Phase.SNAPSHOT_BUILT, ttl=10_000)


def test_clock_put_forward_is_no_time_that_a_phase_took(fleet):
    """When the clock jumps an hour under a living worker its run is not failed; one that hangs under heartbeats is."""
    make_ready(fleet)
    (lease,) = claim(fleet)

    def beat_and_reap():
        with fleet.transaction() as connection:
            heartbeat(connection, [lease], ttl=300)
            return reap(connection, ttl=300, deadline_seconds=3600)

    skew(fleet, "1 hour")
    assert beat_and_reap() == ()
    for minutes in range(64, 116, 4):
        skew(fleet, f"{minutes} minutes")
        assert beat_and_reap() == ()
    skew(fleet, "119 minutes")
    (reaped,) = beat_and_reap()
    assert reaped.error.code == "PHASE_DEADLINE"


def test_reaper_leaves_idle_runs_alone(fleet):
    """A run nobody has claimed is never stale, however old."""
    make_ready(fleet)
    skew(fleet, "30 days")
    with fleet.transaction() as connection:
        assert reap(connection, ttl=300, deadline_seconds=60) == ()
    assert run_of(fleet)["phase"] == "DATA_READY"


def test_reaper_waits_while_the_fleet_is_frozen(fleet):
    """While frozen a lost run keeps its phase; a cancelled one is still ended."""
    make_ready(fleet, accounts=ACCOUNTS[:2])
    leases = claim(fleet)
    change(fleet, "UPDATE engine_runs SET attempt = max_attempts")
    change(fleet, "UPDATE engine_runs SET cancel_requested_at = engine_now() WHERE run_id = :run", run=leases[1].run_id)
    change(fleet, "UPDATE engine_flags SET frozen = true, reason = 'test'")
    skew(fleet, "301 seconds")
    with fleet.transaction() as connection:
        (reaped,) = reap(connection, ttl=300)
    assert (reaped.run_id, reaped.error.code) == (leases[1].run_id, "CANCELLED")


def test_edges_outside_the_table_are_refused_in_the_code(fleet):
    """No transition that is not in the table of edges is sent to the database."""
    make_ready(fleet)
    (lease,) = claim(fleet)
    with pytest.raises(IllegalTransitionError), fleet.transaction() as connection:
        commit_phase(connection, lease, Phase.PERSISTED, ttl=300)


def test_edges_of_the_database_are_those_of_the_code(fleet):
    """The trigger lets through exactly the edges of the table, and a reset only where it is declared as one."""
    make_ready(fleet)
    (run,) = query(fleet, "SELECT run_id FROM engine_runs")
    allowed, refused = set(), []
    for old in Phase:
        for new in Phase:
            if old is new:
                continue
            for reset in (False, True):
                try:
                    with fleet.transaction() as connection:
                        _put(connection, run["run_id"], old)
                        if reset:
                            connection.exec_driver_sql("SET LOCAL prometheus.reset = 'on'")
                        _move(connection, run["run_id"], new)
                except _UndoneError:
                    allowed.add((old, new, reset))
                except IntegrityError as error:
                    refused.append(error)
    assert all(isinstance(error.orig, sql_errors.IntegrityConstraintViolation) for error in refused)
    expected = {(old, new, True) for old, new in LEGAL_EDGES}
    expected |= {(old, new, False) for old, new in LEGAL_EDGES if old is not Phase.FAILED}
    assert allowed == expected


class _UndoneError(Exception):
    """Raised to roll an experiment back."""


def _put(connection, run_id, phase):
    error = "'{}'" if phase is Phase.FAILED else "NULL"
    connection.exec_driver_sql("ALTER TABLE engine_runs DISABLE TRIGGER engine_runs_phase_edge")
    connection.exec_driver_sql(f"UPDATE engine_runs SET phase = '{phase}', error = {error} WHERE run_id = {run_id}")
    connection.exec_driver_sql("ALTER TABLE engine_runs ENABLE TRIGGER engine_runs_phase_edge")


def _move(connection, run_id, phase):
    error = "'{}'" if phase is Phase.FAILED else "NULL"
    connection.exec_driver_sql(f"UPDATE engine_runs SET phase = '{phase}', error = {error} WHERE run_id = {run_id}")
    raise _UndoneError


def test_history_cannot_be_rewritten(fleet):
    """Events are append-only: neither changed nor deleted, by whoever tries."""
    make_ready(fleet)
    with fleet.transaction() as connection:
        record_event(connection, run_of(fleet)["run_id"], "HOLD")
    for statement in ("UPDATE engine_run_events SET kind = 'x'", "DELETE FROM engine_run_events"):
        with pytest.raises(IntegrityError, match="append-only"):
            change(fleet, statement)
    assert len(query(fleet, "SELECT 1 FROM engine_run_events")) == 3
