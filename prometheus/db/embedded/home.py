"""The home directory of the embedded PostgreSQL: its owner, what is created in it, and what is left unchanged.

No directory that existed before changes its mode or its owner. Where we are root the server runs as a service user who
owns the home; that account must not gain root's rights, so code that runs as root follows no link in the home.
"""

import errno
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from prometheus.db.embedded.watch import is_file_at
from prometheus.foundation.errors import ConfigurationError, DatabaseUnavailableError

SERVICE_USER: Final = "prometheus-engine"
SOCKET_NAME: Final = ".s.PGSQL.5432"
LOCK_FILES: Final = ("start.lock", "users.lock", "watch.lock")
#: sockaddr_un holds 107 bytes on Linux.
_MAX_SOCKET_PATH: Final = 107
#: The same for every process of the machine, whatever its TMPDIR says: root and the service user both use it.
_SHORT_SOCKET_ROOT: Final = Path("/tmp")  # noqa: S108 -- the directory in it is private and checked
#: pg_ctl hands these paths to a shell, and PostgreSQL splits its list of socket directories at commas.
_UNUSABLE_CHARACTERS: Final = frozenset("'\"`$\\,\n\r")
_FULL_OR_BROKEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_USERADD_OPTIONS: Final = (
    "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false",
)  # fmt: skip


@contextmanager
def one_sentence(home: Path) -> Iterator[None]:
    """Turn an error of the operating system inside the block into a sentence that names the home.

    Raises:
        ConfigurationError: The directory cannot be used (permissions, a file in the way, a read-only file system).
        DatabaseUnavailableError: The machine has run out of something.
    """
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        reason = f"{error.strerror or error}{where}"
        if error.errno in _FULL_OR_BROKEN:
            raise DatabaseUnavailableError(f"The embedded PostgreSQL in {home} cannot be used: {reason}.") from error
        raise ConfigurationError(
            f"PROMETHEUS_HOME={home} cannot be used: {reason}. Choose another directory or set PROMETHEUS_DATABASE_URL."
        ) from error


def socket_directory(home: Path) -> Path:
    """Return the directory of the socket; a short one elsewhere where the home's path is too long for a socket."""
    inside = home / "run"
    if len(os.fsencode(inside / SOCKET_NAME)) <= _MAX_SOCKET_PATH:
        return inside
    return _SHORT_SOCKET_ROOT / f"prometheus-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


def server_account(home: Path) -> pwd.struct_passwd:
    """Return the account the server runs as: our own, or the service user where we are root (PostgreSQL refuses root).

    Raises:
        ConfigurationError: There is no such account, or it could not enter ``home``; nothing was created.
    """
    if not home.is_absolute() or _UNUSABLE_CHARACTERS & set(str(home)):
        raise ConfigurationError(
            f"PROMETHEUS_HOME={str(home)!r} must be an absolute path without quotes, commas, '$', backslashes or "
            "line breaks."
        )
    if os.geteuid() != 0:
        try:
            return pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise ConfigurationError(
                f"User id {os.geteuid()} has no entry in the password database, which PostgreSQL needs. Run as a named "
                "user or set PROMETHEUS_DATABASE_URL."
            ) from error
    account = _service_account()
    _refuse_unreachable(home, account)
    return account


def prepare_home(home: Path, account: pwd.struct_passwd) -> None:
    """Create the missing parts of the home and its lock files; leave existing ones unchanged.

    Raises:
        ConfigurationError: The cluster in it belongs to another account.
    """
    root = os.geteuid() == 0
    for path in reversed([path for path in (home, *home.parents) if not path.exists()]):
        mode = 0o711 if root else 0o700
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            continue
        # With a strict umask the service user could not enter a directory of root's.
        path.chmod(mode)
        if root and path == home:
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    for name in LOCK_FILES:
        _lock_file(home / name, account)
    data = home / "data"
    if data.exists() and data.stat().st_uid != account.pw_uid:
        raise ConfigurationError(
            f"The cluster in {data} belongs to {_user_name(data.stat().st_uid)}, and this command would run the server "
            f"as {account.pw_name}. Run it as that user, choose another PROMETHEUS_HOME or set PROMETHEUS_DATABASE_URL."
        )


def private_directory(path: Path, account: pwd.struct_passwd) -> None:
    """Create a directory of mode 700 owned by ``account``; refuse one that belongs to somebody else.

    Raises:
        ConfigurationError: Something else exists at ``path``.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    refusal = ConfigurationError(
        f"{path} must be a directory of mode 700 that belongs to {account.pw_name}, and it is not. Another user made "
        "it: look at it, remove it and try again."
    )
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise refusal from error
    try:
        # Root made it, just now or in a command that was killed before it changed the owner.
        if os.geteuid() == 0 and os.fstat(handle).st_uid == 0:
            os.fchown(handle, account.pw_uid, account.pw_gid)
        stat_result = os.fstat(handle)
    finally:
        os.close(handle)
    if stat_result.st_uid != account.pw_uid or stat.S_IMODE(stat_result.st_mode) & 0o077:
        raise refusal


@contextmanager
def exclusive(path: Path) -> Iterator[IO[str]]:
    """Hold a lock file exclusively during the block, waiting for it; yields the file.

    A home may be removed and made again while we wait; then the new lock file is locked.
    """
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        while not is_file_at(handle.fileno(), str(path)):
            handle.close()
            handle = _opened(path)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        handle.close()


def exclusive_at_once(path: Path) -> IO[str] | None:
    """Return a lock file held exclusively, or None where somebody else holds it."""
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def _opened(path: Path) -> IO[str]:
    # The home is the service user's: root must not follow a link there.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+", encoding="utf-8")


def _lock_file(path: Path, account: pwd.struct_passwd) -> None:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        stat_result = os.fstat(handle)
        # This may be one that a killed command left with root; never a file of another name or with content.
        if os.geteuid() == 0 and stat_result.st_uid == 0 and stat_result.st_nlink == 1 and stat_result.st_size == 0:
            os.fchown(handle, account.pw_uid, account.pw_gid)
    finally:
        os.close(handle)


def _service_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if useradd is None:
            raise ConfigurationError(
                f"PostgreSQL refuses to run as root and there is no 'useradd' to make the user '{SERVICE_USER}'. "
                "Create it, run as a normal user, or set PROMETHEUS_DATABASE_URL."
            ) from None
        for _ in range(50):
            done = subprocess.run(
                [useradd, *_USERADD_OPTIONS, SERVICE_USER],
                capture_output=True,
                text=True,
                check=False,
            )
            # Another command may be creating the same user, or hold the lock of the password file.
            try:
                return pwd.getpwnam(SERVICE_USER)
            except KeyError:
                time.sleep(0.1)
        raise ConfigurationError(f"Cannot create the user '{SERVICE_USER}': {done.stderr.strip()}") from None


def _refuse_unreachable(home: Path, account: pwd.struct_passwd) -> None:
    # Both the path as written and the resolved one: a link has parents of its own.
    real = Path(os.path.realpath(home))
    for path in dict.fromkeys((home, *home.parents, real, *real.parents)):
        if path.is_dir() and not _may_enter(path.stat(), account):
            raise ConfigurationError(
                f"PROMETHEUS_HOME={home}: only its owner may enter {path}. As root the embedded PostgreSQL runs as the "
                f"user '{SERVICE_USER}' and could not reach it, and the modes of your directories are left alone. "
                "Choose another PROMETHEUS_HOME (the default as root lies under /var/lib) or set "
                "PROMETHEUS_DATABASE_URL."
            )


def _may_enter(stat_result: os.stat_result, account: pwd.struct_passwd) -> bool:
    if stat_result.st_uid == account.pw_uid:
        return bool(stat_result.st_mode & stat.S_IXUSR)
    if stat_result.st_gid == account.pw_gid:
        return bool(stat_result.st_mode & stat.S_IXGRP)
    return bool(stat_result.st_mode & stat.S_IXOTH)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
