"""An embedded PostgreSQL: a real server, started on demand, stopped when nobody uses it.

The binaries come from a Python wheel; nothing else of that wheel is used, because its own start-up opens the parent
directories of the data directory to everyone. Here no directory that existed before is changed.

Layout under the home directory (all of it created by us):

    data/        the cluster, mode 700, owned by the account the server runs as
    run/         the socket, mode 700: reachable for its owner (and root) only
    pgsql/       copy of the binaries, only where that account could not reach the wheel (root with a private prefix)
    start.lock   held while somebody starts the server or its watcher
    users.lock   held shared by every process that uses the server; the kernel releases it when a process dies, so a
                 killed process does not keep the server alive
    watch.lock   held by ``watch.py``, which waits for users.lock and stops the server

Every command checks both, server and watcher, and starts what is missing, so that it does not matter how long an
earlier command lived.
"""

import fcntl
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import psycopg

from prometheus.db.embedded.cluster import (
    APPLICATION_ROLE,
    DATABASE,
    POSTGRES_MAJOR,
    SUPERUSER_ROLE,
    create_cluster,
    processes_in,
    reachable_binaries,
    remove_recycled_locks,
    run_as,
)
from prometheus.db.embedded.home import (
    exclusive,
    exclusive_at_once,
    one_sentence,
    prepare_home,
    private_directory,
    server_account,
    socket_directory,
)
from prometheus.db.embedded.safety import (
    crashes_again_and_again,
    damaged,
    has_files,
    made_before,
    note_database,
    refuse_lost_database,
    refuse_open_home,
    told_of_damage,
)
from prometheus.db.embedded.watch import is_file_at, postmaster_pid
from prometheus.foundation.errors import DatabaseError, DatabaseUnavailableError, SchemaError

#: Recovery after a crash replays what was written since the last checkpoint, at most a few gigabytes.
_START_SECONDS: Final = 300.0
#: A server that reports that it is ready and cannot be reached does not become reachable by waiting.
_DEAF_SECONDS: Final = 10.0
#: Processes of a killed server end within moments, unless they are deep in a computation.
_LEFTOVER_SECONDS: Final = 30.0
_LOG_BYTES: Final = 10_000_000

# Descriptors of users.lock by home. They are open until the process ends: closing one ends the use of the server.
_held: dict[Path, int] = {}


def _tell_nobody(sentence: str) -> None:
    """Announce nothing."""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """The embedded server of one home directory.

    Args:
        home: Absolute path of the directory that holds the cluster; created if absent.
        linger_seconds: How long the server outlives its last user.
        settings: Further server settings for a cluster created now (tests turn fsync off).
        announce: Called with a sentence where a new, empty database is made.
        create: Make a database where there is none; False for commands that only read.
    """

    home: Path
    linger_seconds: float = 5.0
    settings: Mapping[str, str] = field(default_factory=dict)
    announce: Callable[[str], None] = _tell_nobody
    create: bool = True

    def ensure_running(self) -> str:
        """Start the server and its watcher unless they run, register this process as a user, and return the URL.

        Raises:
            ConfigurationError: The home cannot be used by the account the server has to run as, or others could
                exchange the database in it.
            SchemaError: The cluster belongs to another major version of PostgreSQL.
            DatabaseError: Its files are damaged (DATABASE_DAMAGED), are gone (DATABASE_MISSING), or never were and must
                not be made (NO_DATABASE).
            DatabaseUnavailableError: The server does not start; the message has the end of its log.
        """
        with one_sentence(self.home):
            account = server_account(self.home)
            refuse_open_home(self.home, account)
            if not self.create and not self.data_dir.exists() and not made_before(self.home):
                raise DatabaseError(
                    f"There is no database in {self.home}. Is PROMETHEUS_HOME the right one? 'prometheus db upgrade' "
                    "makes a new, empty database there.",
                    code="NO_DATABASE",
                )
            prepare_home(self.home, account)
            self._register_user()
            if not (self._is_watched() and self._answers()):
                with exclusive(self.home / "start.lock") as lock:
                    # First the watcher: where the command is killed from here on, the watcher stops the server.
                    self._start_watcher(account)
                    self._start_server(account, lock)
        return self.url()

    def url(self, database: str = DATABASE, role: str = APPLICATION_ROLE) -> str:
        """Return the SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://{role}@/{database}?host={quote(str(self.socket_dir), safe='')}"

    @property
    def socket_dir(self) -> Path:
        """Return the directory of the socket; a short one elsewhere where the home's path is too long for a socket."""
        return socket_directory(self.home)

    @property
    def data_dir(self) -> Path:
        """Return the directory of the cluster."""
        return self.home / "data"

    def _register_user(self) -> None:
        held = _held.get(self.home)
        path = self.home / "users.lock"
        # The whole home may have been removed since; then the held lock protects nothing.
        if held is not None and is_file_at(held, str(path)):
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        # Waits while the watcher is stopping the server: afterwards it is started afresh.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        while not is_file_at(descriptor, str(path)):
            # The home was removed and made again while we waited.
            os.close(descriptor)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor)
        _held[self.home] = descriptor
        if held is not None:
            os.close(held)

    def _ping(self) -> psycopg.pq.Ping:
        conninfo = psycopg.conninfo.make_conninfo(
            host=str(self.socket_dir), port=5432, user=SUPERUSER_ROLE, dbname="postgres", connect_timeout=5
        )
        return psycopg.pq.Ping(psycopg.pq.PGconn.ping(conninfo.encode()))

    def _answers(self) -> bool:
        # A server that refuses us (too many connections) answers; one that starts, recovers or stops does not yet.
        return self._ping() == psycopg.pq.Ping.OK

    def _is_watched(self) -> bool:
        handle = exclusive_at_once(self.home / "watch.lock")
        if handle is None:
            return True
        handle.close()
        return False

    def _start_watcher(self, account: pwd.struct_passwd) -> None:
        lock = exclusive_at_once(self.home / "watch.lock")
        if lock is None:
            return
        # The watcher inherits the held lock, so that two watchers cannot start.
        with lock, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                [
                    sys.executable, "-I", "-S", str(Path(__file__).with_name("watch.py")),
                    str(self.home / "users.lock"), str(lock.fileno()), str(self.data_dir), str(self.linger_seconds),
                    str(account.pw_uid), str(account.pw_gid),
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, check=False,
                start_new_session=True, cwd="/", pass_fds=(lock.fileno(),),
            )  # fmt: skip
            if done.returncode != 0:
                err.seek(0)
                raise DatabaseUnavailableError(
                    f"The process that stops the embedded PostgreSQL does not start: {err.read().strip()[-500:]}"
                )

    def _start_server(self, account: pwd.struct_passwd, lock: IO[str]) -> None:
        began = time.monotonic()
        while (ping := self._ping()) != psycopg.pq.Ping.OK:
            waited = time.monotonic() - began
            pid = postmaster_pid(str(self.data_dir))
            if pid is None:
                left = processes_in(self.data_dir)
                if not left:
                    self._run_pg_ctl(account, lock)
                elif waited > _LEFTOVER_SECONDS:
                    raise DatabaseUnavailableError(
                        f"Processes of a server that crashed still run in {self.data_dir}: "
                        f"{', '.join(map(str, left))}. End them and try again."
                    )
            elif (what := crashes_again_and_again(self.home)) is not None:
                raise damaged(self.home, what)
            elif waited > _START_SECONDS or (
                ping == psycopg.pq.Ping.NO_RESPONSE and waited > _DEAF_SECONDS and self._claims_ready()
            ):
                raise DatabaseUnavailableError(
                    f"The embedded PostgreSQL of {self.data_dir} runs (process {pid}) and does not answer at "
                    f"{self.socket_dir}. End that process with SIGINT and try again."
                )
            time.sleep(0.02)

    def _claims_ready(self) -> bool:
        lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _run_pg_ctl(self, account: pwd.struct_passwd, lock: IO[str]) -> None:
        data = self.data_dir
        binaries = reachable_binaries(self.home, account)
        if not has_files(data):
            refuse_lost_database(self.home)
            self.announce(f"A new, empty database is made in {self.home} (PROMETHEUS_HOME).")
            create_cluster(data, binaries, account, self.settings, lock)
        note_database(self.home, lock, account)
        if not (data / "PG_VERSION").exists():
            raise damaged(self.home, f"{data} has files and no PG_VERSION")
        major = (data / "PG_VERSION").read_text().strip()
        if major != str(POSTGRES_MAJOR):
            raise SchemaError(
                f"The cluster in {data} was made by PostgreSQL {major}; this version brings {POSTGRES_MAJOR}. Dump it "
                "with the old version and load it into a new PROMETHEUS_HOME."
            )
        private_directory(self.socket_dir, account)
        remove_recycled_locks(data, self.socket_dir)
        log = data / "server.log"
        before = log.stat().st_size if log.exists() else 0
        if before > _LOG_BYTES:
            log.replace(data / "server.log.1")
            before = 0
        done = run_as(
            [
                str(binaries / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-t", str(int(_START_SECONDS)),
                "-o", f"-k '{self.socket_dir}'", "start",
            ],
            account,
        )  # fmt: skip
        if done.returncode == 0 or postmaster_pid(str(data)) is not None:
            return
        said = log.read_bytes()[before:].decode(errors="replace")[-2000:] if log.exists() else done.stderr
        if (what := told_of_damage(said)) is not None:
            raise damaged(self.home, what)
        raise DatabaseUnavailableError(f"The embedded PostgreSQL in {data} does not start. It said:\n{said.strip()}")


def release(home: Path) -> None:
    """Stop counting this process as a user of the server of ``home``; the server stops after its last user."""
    descriptor = _held.pop(home, None)
    if descriptor is not None:
        os.close(descriptor)
