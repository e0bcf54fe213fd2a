"""What a timer's tick costs that finds nothing to do, as the systemd unit runs it, beside what any such program costs.

    python -m bench.idle_tick [--rounds 7]

Seconds, and CPU of the command and all that it starts (user and system), medians; as the service user where this is run
as root, with HOME=/nonexistent and the unit's PATH. Without caches: NUMBA_CACHE_DIR names an empty directory. The
embedded server runs in one row, and is started by the tick in the other, as every five minutes on a quiet host. The
peers in the same run: an empty program, and one that imports the two libraries that talk to the database.
"""

import argparse
import os
import pwd
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prometheus.db.embedded import watch as embedded_watch
from prometheus.db.embedded.home import SERVICE_USER
from prometheus.db.embedded.server import EmbeddedServer, release

_TICK = [str(Path(sys.executable).with_name("run_engine_state")), "--advance-all"]
_PEERS = {
    "an empty program (python -c pass)": [sys.executable, "-c", "pass"],
    "python -c 'import sqlalchemy, psycopg'": [sys.executable, "-c", "import sqlalchemy, psycopg"],
}


def main():
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="prometheus-idle-"))
    folder.chmod(0o755)
    home = folder / "home"
    try:
        server = EmbeddedServer(home, linger_seconds=3600)
        server.ensure_running()
        become = _service_user(folder)
        # The first makes the schema, the second does what is due at once.
        for _ in range(2):
            cost(_TICK, home, folder / "cache", become)
        rows = {name: measured(command, home, folder, become, rounds) for name, command in _PEERS.items()}
        base = rows["python -c 'import sqlalchemy, psycopg'"][1]
        rows["idle tick, server running, with caches"] = measured(_TICK, home, folder, become, rounds)
        rows["idle tick, server running, without caches"] = measured(_TICK, home, folder, become, rounds, empty=True)
        release(home)
        stop(home)
        rows["idle tick that starts the server"] = measured(_TICK, home, folder, become, rounds, before=stop)
        stop(home)
    finally:
        release(home)
        shutil.rmtree(folder, ignore_errors=True)
    for name, (seconds, cpu) in rows.items():
        print(f"{name:44} {seconds:6.2f} s  {cpu:6.2f} s of CPU  {cpu / base:5.2f} times the two libraries")


def measured(command, home, folder, become, rounds, *, empty=False, before=None):
    """Return the median seconds and CPU seconds of a command."""
    costs = []
    for number in range(rounds):
        if before is not None:
            before(home)
        cache = folder / (f"empty-{number}" if empty else "cache")
        costs.append(cost(command, home, cache, become))
    return tuple(statistics.median(column) for column in zip(*costs, strict=True))


def cost(command, home, cache, become):
    """Run a command once as the unit does; return its seconds and CPU seconds."""
    cache.mkdir(exist_ok=True)
    if become:
        os.chown(cache, become["user"], become["group"])
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "PROMETHEUS_HOME": str(home),
        "PROMETHEUS_LOG_FORMAT": "json",
        "PROMETHEUS_EMBEDDED_LINGER_SECONDS": "3600",
        "NUMBA_CACHE_DIR": str(cache),
    }
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False, **become)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stop(home):
    """Stop the server of a home and wait for it."""
    if (pid := embedded_watch.postmaster_pid(str(home / "data"))) is not None:
        embedded_watch.stop(pid, str(home / "data"))


def _service_user(folder):
    """Return how to become the service user, or nothing where we are not root or that user cannot run our Python."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(SERVICE_USER)
    become = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    try:
        subprocess.run(
            [sys.executable, "-c", "import prometheus"], cwd=folder, check=True, capture_output=True, **become
        )
    except (OSError, subprocess.CalledProcessError):
        print(f"as root: the user {SERVICE_USER} cannot run {sys.executable}")
        return {}
    return become


if __name__ == "__main__":
    main()
