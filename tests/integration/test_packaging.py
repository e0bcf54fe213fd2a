import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from prometheus.bootstrap.wiring import shipped_strategies

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source archive, built from a copy of what the source archive would hold, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def test_the_wheel_carries_all_that_runs(built):
    """The wheel holds every module of the package, the migrations, the strategies and the typing mark, and no tests."""
    names = set(zipfile.ZipFile(built[0]).namelist())
    modules = {
        str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "prometheus").rglob("*.py")
    }  # fmt: skip
    assert modules - names == set()
    versions = {path.name for path in (REPOSITORY / "migrations" / "versions").glob("*.py")}
    assert {f"prometheus/_migrations/versions/{name}" for name in versions} <= names
    assert {"prometheus/py.typed", "prometheus/_migrations/env.py"} <= names
    strategies = {f"prometheus/bootstrap/strategies/{each.strategy_id}.json" for each in shipped_strategies()}
    assert strategies
    assert strategies <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"prometheus", f"{built[0].name.split('-')[0]}-{built[0].name.split('-')[1]}.dist-info"}


def test_the_source_archive_carries_the_migrations(built):
    """A wheel can be built again from the source archive."""
    with tarfile.open(built[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "migrations/env.py", "prometheus/__init__.py"} <= names


def test_an_installed_package_upgrades_its_database(built, tmp_path, server, database_url):
    """Installed away from the checkout and run from elsewhere, the package finds its own migrations and commands."""
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, built[0]],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    database = f"{database_url}&options=-c%20search_path%3Dinstalled"
    environment = {**os.environ, "PYTHONPATH": str(target), "PROMETHEUS_DATABASE_URL": database}

    def run(words):
        return subprocess.run(words, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)

    where = run([sys.executable, "-c", "from prometheus.db.migrations import migrations_directory as m; print(m())"])
    assert where.stdout.strip() == str(target / "prometheus" / "_migrations"), where.stderr
    # A schema of its own: everything the installed package makes is new there.
    with psycopg.connect(
        host=str(server.socket_dir), user="prometheus", dbname=make_url(database_url).database
    ) as connection:
        connection.execute("CREATE SCHEMA installed")
    upgraded = run([sys.executable, "-m", "prometheus.scripts.main", "db", "upgrade"])
    assert upgraded.returncode == 0, upgraded.stderr
    assert upgraded.stdout.endswith(": empty -> 0001\n")
    status = run([str(target / "bin" / "prometheus"), "db", "status"])
    assert status.returncode == 0, status.stderr
    assert list(elsewhere.iterdir()) == []
