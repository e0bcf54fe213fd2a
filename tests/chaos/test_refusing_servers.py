"""Servers that will not do it: a hot standby, a full disk, a statement limit, a migration that runs or has run."""

import os
import subprocess
import uuid
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.embedded.watch import postmaster_pid
from prometheus.domain.phases import Phase
from prometheus.scripts import main
from tests.chaos.checkers import check_all_persisted, check_liveness, check_safety
from tests.chaos.processes import wait_for
from tests.conftest import FAST_SERVER
from tests.integration.engine_fleet import MONDAY, TUESDAY, write_fleet

DAY = ["run-engine-state", "--as-of", TUESDAY.isoformat(), "--region", "US"]


@pytest.mark.slow
def test_a_hot_standby_serves_monitoring_and_refuses_the_rest(open_tmp):
    """A standby in recovery is read by monitoring; whatever writes ends with exit code 1 and one sentence."""
    home, standby = open_tmp / f"home-{uuid.uuid4().hex[:8]}", open_tmp / f"standby-{uuid.uuid4().hex[:8]}"
    database = Database(EmbeddedServer(home, linger_seconds=0.1, settings=FAST_SERVER).ensure_running())
    upgrade_database(database)
    write_fleet(database)
    database.close()
    release(home)
    wait_for(lambda: postmaster_pid(str(home / "data")) is None, "the primary to stop")
    subprocess.run(["cp", "-a", home, standby], check=True)
    signal_file = standby / "data" / "standby.signal"
    signal_file.touch()
    owner = (standby / "data").stat()
    os.chown(signal_file, owner.st_uid, owner.st_gid)
    try:
        url = EmbeddedServer(standby, linger_seconds=0.1).ensure_running()
        with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as session:
            assert session.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        for refused in (
            ["run-engine-state", "--advance-all"], ["run-engine-state", "--advance-all", "--workers", "0"],
            [*DAY, "--ensure", "--data-ready"], ["engine", "freeze", "--reason", "a drill"], ["engine", "unfreeze"],
            ["engine", "pause", "ACC-1", "--reason", "a drill"], ["risk", "refresh", "--as-of", TUESDAY.isoformat()],
        ):  # fmt: skip
            done = _prometheus(url, *refused)
            assert done.exit_code == 1, (refused, done.output)
            assert done.stdout == ""
            (line,) = done.stderr.strip().splitlines()[-1:]
            assert line.startswith("error: The database is read-only"), (refused, line)
            assert line.endswith("[READ_ONLY]")
        assert _prometheus(url, "show-engine-runs").exit_code == 0
        assert _prometheus(url, "engine", "status").stdout.startswith("running")
        assert _prometheus(url, "engine-health").stdout.startswith("NO_HEARTBEAT")
    finally:
        release(standby)


def test_a_full_disk_leaves_the_phase_where_it_was(fleet, server):
    """Where a phase's effects find no space the phase is not there either; with space again the day is finished."""
    fleet.ready(MONDAY, "ACC-1")
    with _full(fleet, server, "staged_solutions"):
        done = fleet.command("run-engine-state", "--advance-all")
        assert done.exit_code == 1
        assert "The database server's disk is full" in done.stderr
        run = fleet.run("ACC-1")
        assert (run.phase, run.error.code) == (Phase.SNAPSHOT_BUILT, "DISK_FULL")
        assert fleet.kinds("ACC-1")[-1] == "RETRY"
    fleet.set_clock("1 hour")
    check_liveness(fleet)
    check_safety(fleet)
    check_all_persisted(fleet)


def test_a_disk_too_full_for_the_history_changes_nothing(fleet, server):
    """Where not even an event can be written a request ends with exit code 1, one sentence and not one row."""
    before = fleet.dump(heartbeats=True, events=True)
    with _full(fleet, server, "engine_run_events"):
        done = fleet.command(*DAY, "--ensure", "--data-ready")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.strip().endswith("[DISK_FULL]")
    assert fleet.dump(heartbeats=True, events=True) == before


@contextmanager
def _full(fleet, server, table):
    """Put an empty table on a device that is full: the kernel itself says so at the first page that is written."""
    assert fleet.one(f"SELECT pg_relation_size('{table}')") == 0
    file = server.data_dir / str(fleet.one(f"SELECT pg_relation_filepath('{table}')"))
    # Sessions that have the file open would go on writing to it.
    fleet.database.forget_connections()
    kept = Path(f"{file}.kept")
    file.rename(kept)
    file.symlink_to("/dev/full")
    try:
        yield
    finally:
        fleet.database.forget_connections()
        file.unlink()
        kept.rename(file)


def test_a_statement_past_the_servers_limit_is_tried_again(fleet):
    """A phase whose record runs into the statement limit is not there, is named TIMEOUT, and is done the next time."""
    fleet.ready(MONDAY, "ACC-1")
    fleet.on_insert("staged_solutions", "PERFORM pg_sleep(30)")
    done = fleet.command(
        "run-engine-state", "--advance-all", "--workers", "0", PROMETHEUS_STATEMENT_TIMEOUT_SECONDS="3"
    )
    assert done.exit_code == 1
    run = fleet.run("ACC-1")
    assert (run.phase, run.error.code) == (Phase.SNAPSHOT_BUILT, "TIMEOUT")
    assert fleet.one("SELECT count(*) FROM staged_solutions") == 0
    fleet.leave_alone("staged_solutions")
    fleet.set_clock("1 hour")
    check_liveness(fleet)
    check_all_persisted(fleet)


def test_a_migration_under_way_is_waited_for_and_then_respected(fleet):
    """While a migration holds the tables a call ends with one sentence; once it made the schema newer, with another."""
    fleet.ready()
    before = (fleet.dump(heartbeats=True), fleet.kinds())
    with psycopg.connect(fleet.url.replace("postgresql+psycopg", "postgresql")) as migration:
        migration.execute("ALTER TABLE engine_runs ADD COLUMN later integer")
        migration.execute("UPDATE alembic_version SET version_num = '9999'")
        done = fleet.command("run-engine-state", "--advance-all", PROMETHEUS_LOCK_TIMEOUT_SECONDS="0.3")
        assert done.exit_code == 1
        assert done.stderr.strip().endswith("[COLLISION]")
        migration.rollback()
        assert (fleet.dump(heartbeats=True), fleet.kinds()) == before
        migration.execute("UPDATE alembic_version SET version_num = '9999'")
    done = fleet.command("run-engine-state", "--advance-all")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Install the newer version" in done.stderr
    assert {str(phase) for phase in fleet.phases().values()} == {"DATA_READY"}


def _prometheus(url, *arguments: str):
    return CliRunner().invoke(main.main, list(arguments), env={"PROMETHEUS_DATABASE_URL": url}, catch_exceptions=False)
