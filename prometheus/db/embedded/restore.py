"""Replace a home's cluster by another one while nobody uses it; the old one is kept under another name."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus.db.embedded.cluster import processes_in
from prometheus.db.embedded.home import exclusive, one_sentence, prepare_home, server_account
from prometheus.db.embedded.safety import has_files, note_database, refuse_open_home
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.embedded.watch import postmaster_pid, stop
from prometheus.foundation.errors import DatabaseUnavailableError, RequestError

#: A watcher that is about to stop an unused server holds the users' lock for a moment.
_BUSY_SECONDS: Final = 10.0
_ENDING_SECONDS: Final = 60.0


@contextmanager
def replacement(home: Path, *, replace: bool) -> Iterator[EmbeddedServer]:
    """Give a new server to be filled; when the block ends without an error its cluster replaces the home's.

    Until then the home's own cluster is unchanged. Other commands wait meanwhile.

    Args:
        home: The home directory; made where it is missing.
        replace: Whether a cluster that is there may be put aside.

    Raises:
        RequestError: There is a cluster and ``replace`` is false (DATABASE_EXISTS), or others use it (DATABASE_IN_USE).
        ConfigurationError: The home cannot be used.
    """
    with one_sentence(home):
        account = server_account(home)
        refuse_open_home(home, account)
        if has_files(home / "data") and not replace:
            raise RequestError(
                f"There is a database in {home}. With --replace it is put aside, its directory renamed, and the backup "
                "takes its place.",
                code="DATABASE_EXISTS",
            )
        prepare_home(home, account)
        with _alone(home):
            _remove(home / "restoring")
            aside = EmbeddedServer(home / "restoring", linger_seconds=1.0)
            try:
                yield aside
                release(aside.home)
                _stop(aside.data_dir)
                with exclusive(home / "start.lock") as lock:
                    _stop(home / "data")
                    if has_files(home / "data"):
                        (home / "data").rename(home / f"data.replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
                    aside.data_dir.rename(home / "data")
                    note_database(home, lock, account)
                    _sync(home)
            finally:
                release(aside.home)
                _stop(aside.data_dir)
                _remove(aside.home)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the users' lock of a home so that no other command uses its server."""
    descriptor = os.open(home / "users.lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RequestError(
                        f"Other commands use the database in {home}. Stop the timer ('systemctl stop "
                        "prometheus-engine.timer'), let them end, and try again. Nothing was changed.",
                        code="DATABASE_IN_USE",
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def _stop(data: Path) -> None:
    pid = postmaster_pid(str(data))
    if pid is not None:
        stop(pid, str(data))
    deadline = time.monotonic() + _ENDING_SECONDS
    while left := processes_in(data):
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError(
                f"Processes of a server still run in {data}: {', '.join(map(str, left))}. End them and try again."
            )
        time.sleep(0.05)


def _remove(restoring: Path) -> None:
    """Remove the working directory of a restore, also that of a killed one; end its server first."""
    if not restoring.is_symlink() and restoring.is_dir():
        _stop(restoring / "data")
        shutil.rmtree(restoring)


def _sync(home: Path) -> None:
    directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fsync(directory)
    os.close(directory)
