import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from prometheus.db.embedded import watch as embedded_watch
from prometheus.db.embedded.cluster import remove_recycled_locks
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.embedded.watch import postmaster_pid, stop, watch
from tests.integration.embedded_processes import DEADLINE_SECONDS, end_everything, server_pid, wait_for

#: Stands for a server: its working directory is the data directory. It does not hear SIGINT; SIGQUIT it does, also
#: where the test session was started in the background and passes on that it is ignored.
DEAF = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGQUIT, signal.SIG_DFL); "
    "print('up', flush=True); time.sleep(3000)"
)


@pytest.fixture
def data(tmp_path):
    """A data directory without a server."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def stand_in(data):
    """A process in the data directory whose number is in its lock file."""
    process = subprocess.Popen([sys.executable, "-c", DEAF], cwd=data, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    (data / "postmaster.pid").write_text(f"{process.pid}\n{data}\n")
    yield process
    process.kill()
    process.communicate()


def test_the_server_is_known_by_its_working_directory(data, stand_in):
    """A lock file counts only where its number belongs to a process that works in the data directory."""
    assert postmaster_pid(str(data)) == stand_in.pid
    for text in (f"{os.getpid()}\n", "4194304000\n", "rubbish\n", ""):
        (data / "postmaster.pid").write_text(text)
        assert postmaster_pid(str(data)) is None
    (data / "postmaster.pid").unlink()
    assert postmaster_pid(str(data)) is None
    assert postmaster_pid(str(data / "missing")) is None


def test_a_server_that_the_kernel_does_not_show_is_known_by_its_name(data, stand_in, tmp_path, monkeypatch):
    """Where the working directory is hidden, a lock held by a process called postgres still counts and stays."""
    shutil.copy("/bin/sleep", tmp_path / "postgres")
    server = subprocess.Popen([tmp_path / "postgres", "3000"], cwd="/")

    def hidden(path):
        if str(path).endswith("/cwd"):
            raise PermissionError(13, "Permission denied", path)
        return Path(path).stat()

    monkeypatch.setattr(embedded_watch, "os", SimpleNamespace(stat=hidden, path=os.path))
    try:
        wait_for(lambda: embedded_watch.works_in(server.pid, str(data)), "the program to be loaded")
        (data / "postmaster.pid").write_text(f"{server.pid}\n")
        assert postmaster_pid(str(data)) == server.pid
        remove_recycled_locks(data, data)
        assert (data / "postmaster.pid").exists()
        (data / "postmaster.pid").write_text(f"{stand_in.pid}\n")
        assert postmaster_pid(str(data)) is None
        remove_recycled_locks(data, data)
        assert not (data / "postmaster.pid").exists()
    finally:
        server.kill()
        server.wait()


def test_a_server_that_does_not_stop_in_time_is_stopped_without_a_checkpoint(data, stand_in, monkeypatch):
    """After its patience the watcher ends the server in the way that recovery makes good."""
    monkeypatch.setattr(embedded_watch, "_STOP_SECONDS", 0.2)
    stop(stand_in.pid, str(data))
    assert stand_in.wait(DEADLINE_SECONDS) == -3
    stop(stand_in.pid, str(data))


def test_the_watcher_waits_for_the_last_user_and_lets_its_lock_go(tmp_path, data, monkeypatch):
    """While a user holds the lock nothing happens; afterwards the watcher ends and its own lock is free."""
    users, own = tmp_path / "users.lock", tmp_path / "watch.lock"
    users.touch()
    own.touch()
    descriptor = os.open(own, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    came = threading.Event()

    def come_during_the_first_wait(_):
        if not came.is_set():
            fcntl.flock(later, fcntl.LOCK_SH)
            os.utime(users)
            came.set()

    monkeypatch.setattr(embedded_watch, "time", SimpleNamespace(sleep=come_during_the_first_wait))
    later = users.open("r+")
    with users.open("r+") as user:
        fcntl.flock(user, fcntl.LOCK_SH)
        thread = threading.Thread(target=watch, args=(str(users), descriptor, str(data), 0.05), daemon=True)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert not came.is_set()
    # Somebody who comes during the wait is waited for as well.
    with later:
        assert came.wait(DEADLINE_SECONDS)
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    assert _free(own)


def _free(path):
    with path.open("r+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_the_watcher_stops_a_real_server(open_tmp):
    """The watcher's own loop, run here, ends a real server with a checkpoint."""
    home = open_tmp / "home"
    try:
        EmbeddedServer(home, linger_seconds=3600, settings={"fsync": "off"}).ensure_running()
        release(home)
        descriptor = os.open(os.devnull, os.O_RDWR)
        watch(str(home / "users.lock"), descriptor, str(home / "data"), 0.05)
        assert server_pid(home) is None
        assert "database system is shut down" in (home / "data" / "server.log").read_text()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    finally:
        end_everything(home)
