"""Homes that are removed, moved, exchanged or open to others: nobody's server is stopped, nobody's database taken."""

import fcntl
import grp
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from prometheus.db.embedded import home as embedded_home
from prometheus.db.embedded import safety as embedded_safety
from prometheus.db.embedded import watch as embedded_watch
from prometheus.db.embedded.home import exclusive, server_account
from prometheus.db.embedded.safety import made_before, note_database, refuse_lost_database, refuse_open_home
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.embedded.watch import end_abandoned, watch
from prometheus.foundation.errors import ConfigurationError, DatabaseError
from tests.integration.embedded_processes import DEADLINE_SECONDS, wait_for

#: Stands for a server: its working directory is the data directory, and it ends at the first signal, also where the
#: tests were started by a shell in the background, whose children ignore these.
SERVER = """
import signal, time
for number in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
print("up", flush=True)
time.sleep(3000)
"""


@pytest.fixture
def home(tmp_path):
    """Make a home with locks and a data directory, as commands leave it."""
    return made(tmp_path / "home")


def made(home):
    """Make a home's files."""
    (home / "data").mkdir(parents=True)
    for name in embedded_home.LOCK_FILES:
        (home / name).touch()
    return home


@pytest.fixture
def server_in():
    """A function that starts a stand-in for a server in a home; all of them are ended afterwards."""
    started = []

    def start(home):
        process = subprocess.Popen([sys.executable, "-c", SERVER], cwd=home / "data", stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "up\n"
        (home / "data" / "postmaster.pid").write_text(f"{process.pid}\n")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def watched(home, monkeypatch, meanwhile):
    """Run the watcher of a home; ``meanwhile`` happens during its first wait, when it has already opened its lock."""
    descriptor = os.open(home / "watch.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    waits = []

    def wait(_):
        if not waits:
            meanwhile()
        waits.append(1)

    clock = SimpleNamespace(sleep=wait, monotonic=embedded_watch.time.monotonic)
    monkeypatch.setattr(embedded_watch, "time", clock)
    thread = threading.Thread(
        target=watch, args=(str(home / "users.lock"), descriptor, str(home / "data"), 0.0), daemon=True
    )
    thread.start()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def test_a_watcher_leaves_the_server_of_a_home_made_again_alone(home, monkeypatch, server_in):
    """Home removed and made again while the watcher waits: the new server goes on, the old one is ended."""
    old = server_in(home)
    new = []

    def make_again():
        shutil.rmtree(home)
        made(home)
        new.append(server_in(home))

    watched(home, monkeypatch, make_again)
    assert new[0].poll() is None
    assert old.wait(DEADLINE_SECONDS) == -signal.SIGQUIT


def test_a_watcher_follows_its_home_to_another_place(home, monkeypatch, server_in):
    """Home moved and another one made at its path: the moved one's server is stopped, the new one's is not."""
    old = server_in(home)
    new = []

    def move():
        home.rename(home.with_name("moved"))
        made(home)
        new.append(server_in(home))

    watched(home, monkeypatch, move)
    assert new[0].poll() is None
    assert old.wait(DEADLINE_SECONDS) == -signal.SIGINT


def test_a_watcher_whose_users_have_a_new_lock_watches_that(home, monkeypatch, server_in):
    """Only the users' lock replaced: the watcher stays the home's, waits for the new lock and stops the server."""
    server = server_in(home)

    def replace():
        (home / "users.lock").unlink()
        (home / "users.lock").touch()

    watched(home, monkeypatch, replace)
    assert server.wait(DEADLINE_SECONDS) == -signal.SIGINT


def test_a_watcher_without_any_users_lock_stops_its_server(home, monkeypatch, server_in):
    """The users' lock removed and not made again: nobody can use the server, and it is stopped."""
    server = server_in(home)
    watched(home, monkeypatch, (home / "users.lock").unlink)
    assert server.wait(DEADLINE_SECONDS) == -signal.SIGINT


def test_only_the_server_of_a_removed_directory_is_ended(home, server_in):
    """A server whose directory exists is not taken for an abandoned one."""
    server = server_in(home)
    end_abandoned(str(home / "data"))
    assert server.poll() is None


def test_who_waited_for_a_lock_holds_the_one_that_counts(home):
    """A lock file replaced while somebody waits for it: what is held afterwards is the file that has the name."""
    path = home / "start.lock"
    first = path.open("r+")
    fcntl.flock(first, fcntl.LOCK_EX)
    held = []

    def wait():
        with exclusive(path) as handle:
            held.append(os.path.samestat(os.fstat(handle.fileno()), path.stat()))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_for(lambda: waiting_for(path), "somebody to wait for the lock")
    path.unlink()
    path.touch()
    first.close()
    thread.join(DEADLINE_SECONDS)
    assert held == [True]


def waiting_for(path):
    """Return whether somebody waits for a lock on a file, as the kernel lists it."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f":{path.stat().st_ino} " in line for line in locks)


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
def test_a_home_that_everybody_may_write_is_refused(open_tmp, mode):
    """Another user could exchange the database in it: refused with the remedy, and nothing is made."""
    home = open_tmp / "home"
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"every user may write to {home} .*chmod go-w {home}"):
        EmbeddedServer(home).ensure_running()
    assert list(home.iterdir()) == []


def test_a_home_below_a_directory_that_everybody_may_write_is_refused(open_tmp):
    """The whole home could be exchanged; below a sticky directory, as /tmp is, it could not."""
    account = server_account(open_tmp)
    (open_tmp / "open").mkdir()
    (open_tmp / "open").chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"may write to {open_tmp / 'open'} "):
        refuse_open_home(open_tmp / "open" / "home", account)
    (open_tmp / "open").chmod(0o1777)
    refuse_open_home(open_tmp / "open" / "home", account)


def test_a_group_of_ones_own_may_write(open_tmp, monkeypatch):
    """A group counts as others where it has a member beside ourselves, root and the server's account."""
    account = server_account(open_tmp)
    open_tmp.chmod(0o775)
    group = grp.struct_group(("desk", "x", 4_000_000, []))
    monkeypatch.setattr(embedded_safety.grp, "getgrgid", lambda _: group)
    stat_result = os.stat_result((0o40775, 0, 0, 2, 0, 4_000_000, 0, 0, 0, 0))
    assert embedded_safety._who_else_writes(stat_result, account) is None
    group = grp.struct_group(("desk", "x", 4_000_000, [account.pw_name, "root", "somebody"]))
    assert embedded_safety._who_else_writes(stat_result, account) == "the group 'desk'"


def test_a_home_of_somebody_else_is_refused_where_it_could_be_used(open_tmp, monkeypatch):
    """Whoever owns the home could exchange what is in it; the rights alone may let us in."""
    account = server_account(open_tmp)
    monkeypatch.setattr(embedded_safety.os, "geteuid", lambda: 4_000_001)
    os.chown(open_tmp, 4_000_000, -1) if os.getuid() == 0 else pytest.skip("only root can give a directory away")
    with pytest.raises(ConfigurationError, match="belongs to user id 4000000"):
        refuse_open_home(open_tmp, account)


def test_a_home_remembers_that_it_had_a_database(home):
    """The mark is written once, into the held lock and no other file, and keeps an empty database from being made."""
    account = server_account(home.parent) if os.geteuid() != 0 else SimpleNamespace(pw_uid=0)
    refuse_lost_database(home)
    assert not made_before(home)
    with exclusive(home / "start.lock") as lock:
        note_database(home, lock, account)
        note_database(home, lock, account)
    assert (home / "start.lock").read_text().count("UTC") == 1
    with pytest.raises(DatabaseError, match="is gone or empty") as refused:
        refuse_lost_database(home)
    assert refused.value.code == "DATABASE_MISSING"
    (home / "elsewhere").touch()
    (home / "linked.lock").hardlink_to(home / "elsewhere")
    with exclusive(home / "linked.lock") as lock:
        note_database(home, lock, account)
    assert (home / "elsewhere").read_text() == ""


def test_a_new_database_is_announced(open_tmp):
    """Whoever makes a database hears where, once; whoever must not make one is told that there is none."""
    said = []
    home = open_tmp / "home"
    with pytest.raises(DatabaseError, match="Is PROMETHEUS_HOME the right one") as refused:
        EmbeddedServer(home, create=False).ensure_running()
    assert (refused.value.code, home.exists()) == ("NO_DATABASE", False)
    server = EmbeddedServer(home, linger_seconds=0.1, settings={"fsync": "off"}, announce=said.append)
    server.ensure_running()
    assert said == [f"A new, empty database is made in {home} (PROMETHEUS_HOME)."]
    release(home)
    wait_for(lambda: embedded_watch.postmaster_pid(str(home / "data")) is None, "the server to stop", pause=0.02)
