"""Backup and restore of the embedded database by command, and what is said where its files are damaged."""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from prometheus.bootstrap import backups
from prometheus.db import backup
from prometheus.db.backup_file import read_backup
from prometheus.db.embedded import safety as embedded_safety
from prometheus.db.embedded.safety import crashes_again_and_again, told_of_damage
from prometheus.db.embedded.server import release
from prometheus.db.migrations import HEAD_REVISION
from prometheus.foundation.errors import DatabaseError, FileRefusedError, RequestError, SchemaError
from prometheus.scripts.main import main
from tests.integration.embedded_processes import (
    CLIENT,
    REPOSITORY,
    end_everything,
    leave,
    ready,
    wait_stopped,
)

#: One server after another in the same home.
pytestmark = pytest.mark.xdist_group("backup")


def run(home, *arguments: str, **environment: str | None):
    """Run a command of ``prometheus`` in this process on the embedded database of a home; nobody uses it afterwards."""
    done = CliRunner().invoke(
        main,
        list(arguments),
        env={
            "PROMETHEUS_HOME": str(home),
            "PROMETHEUS_DATABASE_URL": None,
            "PROMETHEUS_EMBEDDED_LINGER_SECONDS": "0.1",
            **environment,
        },
        catch_exceptions=False,
    )
    release(home)
    return done


def sql(home, statement):
    """Run a statement on the running server of a home; return its rows."""
    with psycopg.connect(host=str(home / "run"), user="postgres", dbname="prometheus", autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def in_use(home):
    """Start a process that uses the server of a home."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(home), "0.1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    ready(process)
    return process


@pytest.fixture(scope="module")
def backed_up():
    """A folder with a home that has some securities, where its table lies on the disk, and its backup; to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    folder.chmod(0o755)
    home, file = folder / "home", folder / "good.zip"
    assert run(home, "db", "upgrade").exit_code == 0
    user = in_use(home)
    sql(
        home,
        "INSERT INTO securities (ticker, name, sector, group_id) "
        "SELECT 'T' || n, 'n', 'X', n FROM generate_series(1, 9) AS n",
    )
    ((place,),) = sql(home, "SELECT pg_relation_filepath('securities')")
    leave(user)
    done = run(home, "backup", str(file))
    assert done.exit_code == 0, done.output
    assert "tried and complete" in done.stdout
    wait_stopped(home)
    yield folder, place
    end_everything(home)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(backed_up):
    """A copy of that home that a test may damage."""
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    folder.chmod(0o755)
    subprocess.run(["cp", "-a", str(backed_up[0] / "home"), str(folder)], check=True)
    yield folder / "home"
    release(folder / "home")
    end_everything(folder / "home")
    shutil.rmtree(folder, ignore_errors=True)


def flip_a_bit(path):
    """Change one byte in the middle of a file's first page."""
    with path.open("r+b") as file:
        file.seek(8000)
        (byte,) = file.read(1)
        file.seek(8000)
        file.write(bytes([byte ^ 1]))


def test_a_damaged_page_is_a_sentence_and_a_backup_brings_everything_back(home, backed_up, monkeypatch):
    """One changed byte: the sentence names log and remedy, no backup is made of it, the good one restores all.

    The backup is taken for one of an older schema, and so is upgraded on the way.
    """
    folder, place = backed_up
    flip_a_bit(home / "data" / place)
    said = run(home, "backup", str(home.parent / "bad.zip"))
    assert said.exit_code == 1
    (error,) = [line for line in said.output.splitlines() if line.startswith("error: ")]
    for words in ("is damaged: invalid page", str(home / "data" / "server.log"), "prometheus restore FILE --replace"):
        assert words in error
    assert error.endswith("[DATABASE_DAMAGED]")
    assert not (home.parent / "bad.zip").exists()
    wait_stopped(home)
    monkeypatch.setattr(backups, "HEAD_REVISION", "9999")
    restored = run(home, "restore", str(folder / "good.zip"), "--replace")
    assert restored.exit_code == 0, restored.output
    assert f"upgrading from migration {HEAD_REVISION} to 9999" in restored.output
    (old,) = home.glob("data.replaced-*")
    assert (old / "PG_VERSION").exists()
    assert not (home / "restoring").exists()
    user = in_use(home)
    assert sql(home, "SELECT count(*) FROM securities") == [(9,)]
    assert sql(home, "SELECT has_table_privilege('prometheus_engine', 'runs', 'INSERT')") == [(True,)]
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        sql(home, "TRUNCATE data_revisions")
    leave(user)
    wait_stopped(home)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("PG_VERSION", "has files and no PG_VERSION"),
        ("global/pg_filenode.map", "crashes again and again"),
    ],
)
def test_a_lost_file_is_a_sentence(home, lost, words):
    """A file that the server cannot do without is a sentence with the remedy, and never a cluster made anew."""
    (home / "data" / lost).unlink()
    (home / "data" / "server.log").write_text("")
    said = run(home, "db", "status")
    assert said.exit_code == 1
    assert words in said.output
    assert "prometheus restore FILE --replace" in said.output
    assert said.output.rstrip().endswith("[DATABASE_DAMAGED]")


def test_a_home_whose_database_is_gone_is_not_given_an_empty_one(home):
    """A renamed data directory is named, not replaced."""
    (home / "data").rename(home / "elsewhere")
    said = run(home, "db", "upgrade")
    assert said.exit_code == 1
    assert "has had a database since 20" in said.output
    assert said.output.rstrip().endswith("[DATABASE_MISSING]")
    assert not (home / "data").exists()


def test_monitoring_makes_no_database(open_tmp):
    """Health of a home without a database is a finding, and the home is not made."""
    home = open_tmp / "mistyped"
    said = run(home, "engine-health", "--format", "json")
    assert said.exit_code == 1
    assert [one["code"] for one in json.loads(said.stdout)["findings"]] == ["NO_DATABASE"]
    assert not home.exists()


def test_a_database_in_use_or_in_place_is_not_replaced(home, backed_up, monkeypatch):
    """Without --replace a database stays; while another command uses it, it stays in any case."""
    monkeypatch.setattr("prometheus.db.embedded.restore._BUSY_SECONDS", 0.2)
    file = str(backed_up[0] / "good.zip")
    assert "[DATABASE_EXISTS]" in run(home, "restore", file).output
    user = in_use(home)
    said = run(home, "restore", file, "--replace")
    assert (said.exit_code, "[DATABASE_IN_USE]" in said.output) == (2, True)
    assert sql(home, "SELECT count(*) FROM securities") == [(9,)]
    leave(user)


def rewritten(good, path, **changes: object):
    """Write a copy of a backup whose manifest says something else."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        target.writestr("database.dump", source.read("database.dump"))
        target.writestr("manifest.json", json.dumps(json.loads(source.read("manifest.json")) | changes))
    return path


def test_half_and_foreign_files_are_refused(backed_up, tmp_path):
    """A backup cut anywhere, changed, of a newer format or schema, or no backup at all changes nothing."""
    good = (backed_up[0] / "good.zip").read_bytes()
    for cut in (0, 10, len(good) // 2, len(good) - 1):
        (tmp_path / "cut.zip").write_bytes(good[:cut])
        with pytest.raises(FileRefusedError) as refused:
            read_backup(tmp_path / "cut.zip")
        assert refused.value.code == "BACKUP_DAMAGED"
    for changes, code in (
        ({"dump_sha256": "0" * 64}, "BACKUP_DAMAGED"),
        ({"format": 2}, "BACKUP_TOO_NEW"),
        ({"format": None}, "NOT_A_BACKUP"),
        ({"tables": 3}, "NOT_A_BACKUP"),
    ):
        with pytest.raises(FileRefusedError) as refused:
            read_backup(rewritten(backed_up[0] / "good.zip", tmp_path / "changed.zip", **changes))
        assert refused.value.code == code
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as foreign:
        foreign.writestr("a.txt", "b")
    with pytest.raises(FileRefusedError, match="is no backup made by"):
        read_backup(tmp_path / "foreign.zip")
    with pytest.raises(FileRefusedError, match="cannot be read"):
        read_backup(tmp_path / "absent.zip")
    newer = rewritten(backed_up[0] / "good.zip", tmp_path / "newer.zip", schema="9999")
    said = run(tmp_path / "home", "restore", str(newer))
    assert said.exit_code == SchemaError.exit_code
    assert "is of migration 9999" in said.output
    assert not (tmp_path / "home").exists()


def test_a_backup_that_gives_back_something_else_is_refused(home, backed_up, tmp_path):
    """Where a table differs after loading, the restore ends and what stood is untouched."""
    with zipfile.ZipFile(backed_up[0] / "good.zip") as good:
        tables = json.loads(good.read("manifest.json"))["tables"]
    tables["securities"]["rows"] = 8
    other = rewritten(backed_up[0] / "good.zip", tmp_path / "other.zip", tables=tables)
    said = run(home, "restore", str(other), "--replace")
    assert (said.exit_code, "the tables securities differ" in said.output) == (1, True)
    assert not list(home.glob("data.replaced-*"))
    assert not (home / "restoring").exists()
    assert run(home, "db", "status").exit_code == 0


def test_a_backup_never_overwrites_and_leaves_nothing_half_written(home, backed_up, tmp_path, monkeypatch):
    """An existing file stays; a dump that fails leaves no file; a server of one's own is a sentence."""
    (tmp_path / "there.zip").write_text("mine")
    assert "[FILE_EXISTS]" in run(home, "backup", str(tmp_path / "there.zip")).output
    assert (tmp_path / "there.zip").read_text() == "mine"
    assert "[UNWRITABLE_FILE]" in run(home, "backup", str(tmp_path / "no" / "such" / "folder.zip")).output
    monkeypatch.setattr(backup, "APPLICATION_ROLE", "nobody-of-this-name")
    said = run(home, "backup", str(tmp_path / "new.zip"))
    assert (said.exit_code, "[BACKUP_FAILED]" in said.output) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["there.zip"]
    for command in (("backup", "x.zip"), ("restore", "x.zip")):
        said = run(home, *command, PROMETHEUS_DATABASE_URL="postgresql://h/x")
        assert (said.exit_code, "[NOT_EMBEDDED]" in said.output) == (RequestError.exit_code, True)


def test_what_a_server_says_of_damage():
    """Only what tells of its files counts, with the detail on the line below; other ends are other errors."""
    assert told_of_damage("postgres: could not find the database system\nExpected to find it").startswith("postgres")
    assert told_of_damage('x FATAL:  required WAL directory "pg_wal" does not exist\n').endswith("does not exist")
    log = "x LOG:  starting\nx FATAL:  could not access status of transaction 7\nx DETAIL:  Could not open file\n"
    assert told_of_damage(log) == "could not access status of transaction 7"
    assert told_of_damage('x FATAL:  invalid value for parameter "max_connections": "plenty"\n') is None
    assert told_of_damage("x PANIC:  unexpected\nx DETAIL:  invalid page in block 3\n") == "unexpected"


def test_one_crash_is_not_damage(tmp_path):
    """A server that began anew once may be well; again and again, with the reason in its log, it is not."""
    (tmp_path / "data").mkdir()
    assert crashes_again_and_again(tmp_path) is None
    log = tmp_path / "data" / "server.log"
    crash = 'x FATAL:  could not open file "a": No such file\nx LOG:  all server processes terminated; reinitializing\n'
    log.write_text("x LOG:  starting PostgreSQL 18\n" + crash)
    assert crashes_again_and_again(tmp_path) is None
    log.write_text("x LOG:  starting PostgreSQL 18\n" + crash * embedded_safety._CRASHES)
    assert crashes_again_and_again(tmp_path).endswith('could not open file "a": No such file')
    log.write_text(crash * 3 + "x LOG:  starting PostgreSQL 18\n")
    assert crashes_again_and_again(tmp_path) is None
    with pytest.raises(DatabaseError, match="again and again"):
        raise embedded_safety.damaged(tmp_path, "again and again")
