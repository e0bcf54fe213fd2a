"""One embedded PostgreSQL for a test session; a fresh clone of a migrated template database for each test."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager, nullcontext
from pathlib import Path

# As every command: one thread for linear algebra, before numpy is imported. More only get in each other's way here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psycopg
import pytest

from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database
from prometheus.db.embedded.server import EmbeddedServer, release
from tests.installed import install
from tests.measured import UNMEASURED, collecting, measure_forked_processes, unmeasured

REPOSITORY = Path(__file__).resolve().parents[1]
TESTS = REPOSITORY / "tests"
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# Hundreds of databases are made and dropped: in memory that costs a tenth of what it costs on a disk.
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 6 * 2**30

# Durable writes are for crash tests, which make servers of their own.
FAST_SERVER = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}


measure_forked_processes()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep a module's tests on one worker where they share something; skip what needs the real market data."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _shares_within_its_module(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    if (SHARED_DATA / "market" / "prices.csv.gz").exists():
        return
    skip = pytest.mark.skip(reason="the real market data are not beside this checkout (../shared/data)")
    for item in items:
        if "market_data" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Collect at full speed; the process that only hands tests to workers collects nothing."""
    with nullcontext() if _only_hands_out(session.config) else collecting():
        return (yield)


def _only_hands_out(config):
    return bool(config.getoption("numprocesses", 0)) and not hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Measure coverage in the tests that are for it."""
    with unmeasured() if str(item.path.relative_to(TESTS)).startswith(UNMEASURED) else nullcontext():
        return (yield)


def _shares_within_its_module(item):
    """Say whether a test uses what is made once for its module: on two workers it would be made twice."""
    made = getattr(item, "_fixtureinfo", None)
    return made is not None and any(each[-1].scope == "module" for each in made.name2fixturedefs.values() if each)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real market data and fleet."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def server_home(tmp_path_factory):
    """Home of one server, shared by all workers of a parallel session; outside pytest's private directories.

    As root the server runs as another user, who could not enter a directory of mode 700.
    """
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
    name = f"prometheus-test-{os.geteuid()}-{run_id[:12]}"
    _remove_what_killed_sessions_left(name)
    home = (MEMORY if _has_memory_to_spare() else Path(tempfile.gettempdir())) / name
    yield home
    release(home)
    if _last_user_is_gone(home):
        shutil.rmtree(home, ignore_errors=True)


def _has_memory_to_spare():
    """Say whether there is a file system in memory, with space and memory for all that the tests write."""
    if not MEMORY.is_dir():
        return False
    available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return available is not None and min(shutil.disk_usage(MEMORY).free, int(available[1]) * 1024) >= MEMORY_NEEDED


def _remove_what_killed_sessions_left(own):
    """Free the memory that sessions of this user hold which were killed more than an hour ago."""
    for home in MEMORY.glob(f"prometheus-test-{os.geteuid()}-*"):
        users = home / "users.lock"
        if home.name == own or not users.exists() or time.time() - users.stat().st_mtime < 3600:
            continue
        if _can_lock(home, fcntl.LOCK_EX) and not (home / "data" / "postmaster.pid").exists():
            shutil.rmtree(home, ignore_errors=True)


def _last_user_is_gone(home):
    """Wait for the server to stop; return False soon where another worker of the session still uses it."""
    seen_shared = 0
    for _ in range(200):
        if not (home / "users.lock").exists():
            return False
        if _can_lock(home, fcntl.LOCK_EX):
            if not (home / "data" / "postmaster.pid").exists():
                return True
        elif _can_lock(home, fcntl.LOCK_SH):
            # Others share it, and the last of them cleans up; or the watcher looked just now.
            seen_shared += 1
            if seen_shared > 3:
                return False
        time.sleep(0.05)
    return False


def _can_lock(home, how):
    with (home / "users.lock").open("r+") as users:
        try:
            fcntl.flock(users, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def open_tmp():
    """A temporary directory that other users may enter, unlike pytest's own; removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="prometheus-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def server(server_home):
    """The running server."""
    embedded = EmbeddedServer(server_home, linger_seconds=1.0, settings=FAST_SERVER)
    embedded.ensure_running()
    return embedded


def administer(server):
    """Return a connection that may create and drop databases, each statement at once."""
    return psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True)


def made_once(server, name, fill, template="template1"):
    """Have whichever worker comes first make a database and fill it, and return its name."""
    with administer(server) as admin:
        admin.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            admin.execute(f"CREATE DATABASE {name}_building TEMPLATE {template} OWNER prometheus")
            building = Database(server.url(f"{name}_building"))
            fill(building)
            building.close()
            admin.execute(f"ALTER DATABASE {name}_building RENAME TO {name}")
        admin.execute("SELECT pg_advisory_unlock(hashtext(%s))", [name])
    return name


@contextmanager
def clone_of(server, template):
    """Give the URL of a copy of a database that nobody is connected to; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    with administer(server) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER prometheus STRATEGY file_copy")
        yield server.url(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def template_database(server):
    """Name of a migrated database to clone."""
    return made_once(server, "prometheus_template", upgrade_database)


@pytest.fixture(scope="session")
def cloned(server, template_database):
    """A context manager that gives the URL of a fresh migrated database and drops it afterwards."""
    return lambda: clone_of(server, template_database)


@pytest.fixture
def database_url(cloned):
    """URL of a fresh migrated database, dropped after the test."""
    with cloned() as url:
        yield url


@pytest.fixture
def database(database_url):
    """An open, empty, migrated database."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Wheel and source archive, built without a network. Tests that ask for it belong to the xdist group ``demo``."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


@pytest.fixture(scope="session")
def installed_wheel(built, tmp_path_factory):
    """The wheel, installed in an environment of its own."""
    return install(built[0], tmp_path_factory.mktemp("installed-wheel"))
