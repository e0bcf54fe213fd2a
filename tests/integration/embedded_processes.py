"""Real processes around an embedded server, for the tests of its life: start them, kill them, count them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from prometheus.db.embedded.cluster import processes_in
from prometheus.db.embedded.watch import postmaster_pid

REPOSITORY = Path(__file__).resolve().parents[2]
#: How long anything may take before a test fails: a hang is a defect. No test relies on less.
DEADLINE_SECONDS = 400.0
#: A command as the server sees it: it asks for the server, says so, and uses it until its input ends.
CLIENT = """
import sys
from pathlib import Path
from prometheus.db.embedded.server import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), linger_seconds=float(sys.argv[2]), settings={"fsync": "off"})
print(server.ensure_running(), flush=True)
sys.stdin.read()
"""
#: Eight whole commands (settings, server, migration) that start at the same moment. They are forked after the imports,
#: which would otherwise take longer than everything that is tested, and use the server until their input ends.
EIGHT_COMMANDS = """
import os, sys, traceback
import alembic.command, alembic.config
from prometheus.bootstrap.settings import load_settings
from prometheus.bootstrap.wiring import open_database
from prometheus.db.migrations import schema_status
gate, opener = os.pipe()
children = []
for _ in range(8):
    if (child := os.fork()) == 0:
        os.close(opener)
        os.read(gate, 1)
        try:
            with open_database(load_settings()) as database:
                os.write(1, f"{schema_status(database).current}\\n".encode())
                os.read(0, 1)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(opener)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def client(home, linger=0.2):
    """Start a process that uses the server of ``home``."""
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(home), str(linger)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip


def ready(process):
    """Wait until a client has its server; return the server's URL."""
    line = process.stdout.readline().strip()
    assert line.startswith("postgresql"), process.stderr.read()
    return line


def leave(process):
    """Let a client end by itself."""
    process.communicate(input="", timeout=DEADLINE_SECONDS)
    assert process.returncode == 0


def kill(process):
    """End a client as nobody can prepare for."""
    process.kill()
    process.communicate(timeout=DEADLINE_SECONDS)


def wait_for(condition, what, seconds=DEADLINE_SECONDS, pause=0.002):
    """Wait until ``condition()`` is true and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(pause)
    return value


def server_pid(home):
    """Return the server's process id, or None."""
    return postmaster_pid(str(home / "data"))


def wait_stopped(home):
    """Wait until the server of ``home`` and its watcher are gone."""
    wait_for(lambda: server_pid(home) is None, f"the server of {home} to stop", pause=0.02)
    wait_for(lambda: not processes_in(home / "data"), f"all processes of {home} to end", pause=0.05)
    wait_for(lambda: not watchers(home), f"the watcher of {home} to end", pause=0.05)
    assert not (home / "data" / "postmaster.pid").exists()


def watchers(home):
    """Return the process ids of the watchers of ``home``."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if str(home / "users.lock").encode() in words and any(w.endswith(b"embedded/watch.py") for w in words):
                    processes.append(int(entry.name))
    return processes


def end_everything(home):
    """Kill whatever a failed test left running in ``home``."""
    for pid in (*watchers(home), *processes_in(home / "data")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def rows(home, statement):
    """Run a statement on the server of ``home`` as the application's role and return its rows."""
    with psycopg.connect(host=str(home / "run"), user="prometheus", dbname="prometheus") as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []
