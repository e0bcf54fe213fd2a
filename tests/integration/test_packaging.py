import json
import shutil
import tarfile
import zipfile

import psycopg
import pytest
from sqlalchemy import make_url

from prometheus.bootstrap.wiring import shipped_strategies
from prometheus.db.migrations import HEAD_REVISION
from tests.installed import REPOSITORY, SOURCES, install

# One worker builds and installs; the demo runs from what it installed.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]

#: Where the package and its migrations are, and where else modules would be looked for.
WHERE = """
import json, sys
import prometheus
from prometheus.bootstrap.wiring import shipped_strategies
from prometheus.db.migrations import migrations_directory
strategies = len(shipped_strategies())
print(json.dumps([prometheus.__file__, str(migrations_directory()), strategies, sys.path]))
"""


@pytest.fixture(scope="module")
def installed_sources(tmp_path_factory):
    """What ``pip install .`` makes of a copy of the checkout."""
    folder = tmp_path_factory.mktemp("installed-sources")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, checkout)
    installed = install(checkout, folder)
    shutil.rmtree(checkout)
    return installed


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


@pytest.mark.parametrize("how", ["installed_wheel", "installed_sources"])
def test_what_runs_is_what_was_installed(how, request):
    """Package, migrations and strategies come from the environment, and nothing is looked for in the checkout."""
    installed = request.getfixturevalue(how)
    asked = installed.run("python", "-c", WHERE)
    assert asked.returncode == 0, asked.stderr
    package, migrations, strategies, path = json.loads(asked.stdout)
    assert package == str(installed.site / "prometheus" / "__init__.py")
    assert migrations == str(installed.site / "prometheus" / "_migrations")
    assert strategies == len(shipped_strategies())
    assert str(REPOSITORY) not in path


def test_pip_installs_from_a_checkout_what_the_wheel_carries(built, installed_sources):
    """``pip install .`` leaves the very files that the wheel holds."""
    with zipfile.ZipFile(built[0]) as wheel:
        carried = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("prometheus/")}
    installed = {
        str(path.relative_to(installed_sources.site)): path.read_bytes()
        for path in (installed_sources.site / "prometheus").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert installed == carried


def test_an_installed_package_upgrades_its_database(installed_sources, server, database_url):
    """Installed from a checkout that is gone and run from elsewhere, the package finds its own migrations."""
    database = f"{database_url}&options=-c%20search_path%3Dinstalled"
    # A schema of its own: everything the installed package makes is new there.
    with psycopg.connect(
        host=str(server.socket_dir), user="prometheus", dbname=make_url(database_url).database
    ) as connection:
        connection.execute("CREATE SCHEMA installed")
    upgraded = installed_sources.run("prometheus", "db", "upgrade", PROMETHEUS_DATABASE_URL=database)
    assert upgraded.returncode == 0, upgraded.stderr
    assert upgraded.stdout.endswith(f": empty -> {HEAD_REVISION}\n")
    status = installed_sources.run("prometheus", "db", "status", PROMETHEUS_DATABASE_URL=database)
    assert status.returncode == 0, status.stderr
    assert list(installed_sources.elsewhere.iterdir()) == []
