import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from prometheus.db.embedded import server as server_module
from prometheus.db.embedded.cluster import processes_in
from prometheus.db.embedded.home import server_account
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.migrations import HEAD_REVISION
from prometheus.foundation.errors import DatabaseUnavailableError, SchemaError
from tests.integration.embedded_processes import (
    EIGHT_COMMANDS,
    REPOSITORY,
    client,
    end_everything,
    kill,
    leave,
    ready,
    rows,
    server_pid,
    wait_for,
    wait_stopped,
    watchers,
)


@pytest.fixture(scope="module")
def used_home():
    """A home whose server ran once; its tests take turns, and each leaves it without a server."""
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    folder.chmod(0o755)
    process = client(folder / "home")
    ready(process)
    leave(process)
    wait_stopped(folder / "home")
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(used_home):
    """A home with a cluster and no server, and with its settings and log as they were afterwards."""
    kept = {name: (used_home / "data" / name).read_text() for name in ("postgresql.conf", "PG_VERSION")}
    (used_home / "data" / "server.log").write_text("")
    yield used_home
    release(used_home)
    end_everything(used_home)
    wait_for(lambda: not processes_in(used_home / "data"), "everything to end", pause=0.05)
    # What a killed server leaves would look like a server that starts.
    (used_home / "data" / "postmaster.pid").unlink(missing_ok=True)
    for name, text in kept.items():
        (used_home / "data" / name).write_text(text)


@pytest.fixture
def cold_home(open_tmp):
    """A home that does not exist yet."""
    home = open_tmp / "home"
    yield home
    release(home)
    end_everything(home)


def starts(home):
    """Count the starts of the server since its log began."""
    return (home / "data" / "server.log").read_text().count("starting PostgreSQL")


def test_eight_commands_at_once_on_a_cold_machine_share_one_of_everything(cold_home):
    """Eight commands started together make one cluster, one server, one watcher and one migration, and all succeed."""
    environment = {**os.environ, "PROMETHEUS_HOME": str(cold_home), "PROMETHEUS_EMBEDDED_LINGER_SECONDS": "0.2"}
    environment.pop("PROMETHEUS_DATABASE_URL", None)
    commands = subprocess.Popen(
        [sys.executable, "-c", EIGHT_COMMANDS],
        env=environment,
        cwd=REPOSITORY,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    answers = [commands.stdout.readline().strip() for _ in range(8)]
    assert answers == [HEAD_REVISION] * 8, commands.communicate(input="")
    assert starts(cold_home) == 1
    assert len(watchers(cold_home)) == 1
    with psycopg.connect(host=str(cold_home / "run"), user="prometheus", dbname="prometheus") as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        assert connection.execute("SELECT strategy_id, version FROM strategies").fetchall() == [
            ("tax-managed-index", 1)
        ]
    assert sorted(path.name for path in cold_home.iterdir()) == [
        "data", "run", "start.lock", "users.lock", "watch.lock",
    ]  # fmt: skip
    leave(commands)
    wait_stopped(cold_home)


def test_the_server_stops_after_its_last_user_and_the_next_command_starts_it(home):
    """The server outlives the first of two users, stops after the second, and comes back with its data."""
    first, second = client(home), client(home)
    ready(first)
    ready(second)
    rows(home, "DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    pid = server_pid(home)
    leave(first)
    assert server_pid(home) == pid
    leave(second)
    wait_stopped(home)
    third = client(home)
    ready(third)
    assert rows(home, "SELECT n FROM kept") == [(7,)]
    leave(third)
    wait_stopped(home)


def test_a_user_that_comes_and_goes_during_the_linger_starts_it_afresh(home):
    """The linger counts from the last user, however short its visit was."""
    linger, in_time = 1.0, False
    # On a busy machine the visit may come after the linger; such a try shows nothing.
    for _ in range(20):
        first = client(home, linger=linger)
        ready(first)
        pid = server_pid(home)
        leave(first)
        time.sleep(linger / 2)
        EmbeddedServer(home, linger_seconds=linger).ensure_running()
        in_time = server_pid(home) == pid
        release(home)
        left = time.monotonic()
        wait_for(lambda: server_pid(home) is None, "the server to stop")
        stood = time.monotonic() - left
        wait_stopped(home)
        if in_time:
            break
    assert in_time
    assert stood >= linger


def test_a_killed_user_does_not_keep_the_server(home):
    """The server stops also after its only user was killed, and nothing is left of either."""
    process = client(home)
    ready(process)
    kill(process)
    wait_stopped(home)


@pytest.mark.parametrize("moment", ["data.building/PG_VERSION", "data/PG_VERSION"])
def test_a_command_killed_while_it_makes_the_cluster_leaves_nothing_in_the_way(cold_home, moment):
    """Whatever step of making the cluster the starting command is killed at, the next command has a whole server."""
    starting = client(cold_home)
    # Where the first moment is over before anybody looked it is the second one.
    wait_for(lambda: (cold_home / moment).exists() or (cold_home / "data" / "PG_VERSION").exists(), moment)
    kill(starting)
    following = client(cold_home)
    ready(following)
    assert rows(cold_home, "SELECT current_user::text") == [("prometheus",)]
    assert not (cold_home / "data.building").exists()
    assert server_pid(cold_home) is not None
    assert len(watchers(cold_home)) == 1
    leave(following)
    wait_stopped(cold_home)


def test_a_server_whose_starter_was_killed_is_stopped_without_another_command(home):
    """The watcher is there before the server: a starter killed during the start leaves no server behind."""
    starting = client(home)
    wait_for((home / "data" / "postmaster.pid").exists, "postmaster.pid")
    kill(starting)
    wait_stopped(home)
    assert "database system is shut down" in (home / "data" / "server.log").read_text()


def test_a_killed_server_is_recovered_by_the_next_command(home):
    """After kill -9 of the server the next command starts it again, and what was committed is there."""
    first = client(home)
    ready(first)
    rows(home, "DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    pid = server_pid(home)
    os.kill(pid, signal.SIGKILL)
    second = client(home)
    ready(second)
    assert server_pid(home) not in {None, pid}
    assert rows(home, "SELECT n FROM kept") == [(7,)]
    assert len(watchers(home)) == 1
    leave(first)
    leave(second)
    wait_stopped(home)


def test_a_killed_watcher_is_replaced_by_the_next_command(home):
    """A server that lost its watcher gets one from the next command, and stops after its last user."""
    first = client(home)
    ready(first)
    pid = server_pid(home)
    (watcher,) = watchers(home)
    os.kill(watcher, signal.SIGKILL)
    wait_for(lambda: not watchers(home), "the watcher to be gone")
    second = client(home)
    ready(second)
    assert server_pid(home) == pid
    assert len(watchers(home)) == 1
    leave(first)
    leave(second)
    wait_stopped(home)


def test_a_lock_file_whose_number_another_process_has_got_is_removed(home):
    """A lock left by a crash does not keep the server down when its process id belongs to somebody else by now."""
    account = server_account(home)
    become = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    other = subprocess.Popen(["sleep", "3000"], cwd="/", **become)
    try:
        lock = home / "data" / "postmaster.pid"
        lock.write_text(f"{other.pid}\n{home / 'data'}\n1700000000\n5432\n{home / 'run'}\n\n  1 2\nready   \n")
        os.chown(lock, account.pw_uid, account.pw_gid)
        lock.chmod(0o600)
        process = client(home)
        ready(process)
        assert server_pid(home) not in {None, other.pid}
        leave(process)
        wait_stopped(home)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_home_made_again_is_registered_again(home):
    """A process whose lock file was removed with its home holds the new one, so that the watcher sees it."""
    server = EmbeddedServer(home, linger_seconds=0.1)
    server.ensure_running()
    (home / "users.lock").unlink()
    server.ensure_running()
    with (home / "users.lock").open("r+") as users, pytest.raises(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_server_that_says_ready_and_is_not_to_be_reached_is_a_sentence(home, monkeypatch):
    """A running server without its socket is reported with its process id instead of waited for."""
    process = client(home, linger=0.1)
    ready(process)
    (home / "run" / ".s.PGSQL.5432").unlink()
    monkeypatch.setattr(server_module, "_DEAF_SECONDS", 0.2)
    with pytest.raises(DatabaseUnavailableError, match=rf"process {server_pid(home)}\) and does not answer"):
        EmbeddedServer(home).ensure_running()
    release(home)
    leave(process)
    wait_stopped(home)


def test_processes_of_a_crashed_server_that_do_not_end_are_named(home, monkeypatch):
    """While something still runs in the data directory no second server is started there; the sentence says what."""
    account = server_account(home)
    become = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    left = subprocess.Popen(["sleep", "3000"], cwd=home / "data", **become)
    monkeypatch.setattr(server_module, "_LEFTOVER_SECONDS", 0.2)
    try:
        with pytest.raises(DatabaseUnavailableError, match=rf"still run in .*: {left.pid}\."):
            EmbeddedServer(home, linger_seconds=0.1).ensure_running()
    finally:
        left.kill()
        left.wait()
    release(home)
    wait_for(lambda: not watchers(home), "the watcher to end")


def test_a_server_that_cannot_start_says_why(home):
    """A broken server setting ends in an error that carries the server's own words, and the watcher goes away."""
    with (home / "data" / "postgresql.conf").open("a") as conf:
        conf.write("max_connections = plenty\n")
    with pytest.raises(DatabaseUnavailableError, match='invalid value for parameter "max_connections"'):
        EmbeddedServer(home, linger_seconds=0.1).ensure_running()
    release(home)
    wait_for(lambda: not watchers(home), "the watcher to end")


def test_a_cluster_of_another_major_version_is_refused(home):
    """A cluster made by another major version is left alone, and the sentence says what to do."""
    (home / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(SchemaError, match=r"made by PostgreSQL 17; this version brings 18\. Dump it"):
        EmbeddedServer(home, linger_seconds=0.1).ensure_running()
    release(home)
    wait_for(lambda: not watchers(home), "the watcher to end")


def test_an_overlong_log_is_put_aside_at_the_next_start(home, monkeypatch):
    """The server's log does not grow without end: a long one is renamed when the server starts."""
    monkeypatch.setattr(server_module, "_LOG_BYTES", 10)
    old = "an older line\n"
    (home / "data" / "server.log").write_text(old)
    EmbeddedServer(home, linger_seconds=0.1).ensure_running()
    assert (home / "data" / "server.log.1").read_text() == old
    assert starts(home) == 1
    release(home)
    wait_stopped(home)


def test_a_failing_initdb_says_why_and_leaves_no_cluster(cold_home):
    """Where PostgreSQL's own program fails, its words are in the error and nothing looks like a cluster."""
    server = EmbeddedServer(cold_home, linger_seconds=0.1, settings={"fsync": "off", "no_such_setting": "1"})
    with pytest.raises(DatabaseUnavailableError, match='unrecognized configuration parameter "no_such_setting"'):
        server.ensure_running()
    assert not (cold_home / "data").exists()
    release(cold_home)
    wait_for(lambda: not watchers(cold_home), "the watcher to end")
