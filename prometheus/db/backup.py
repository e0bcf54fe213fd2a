"""Dump a database of the embedded server and load a dump; each is proved by the digest of every table.

A dump and the digests of its tables are taken from one snapshot. After a load the digests are computed again; a backup
is good only where every digest is equal.
"""

import os
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from sqlalchemy import text

import prometheus
from prometheus.db.backup_file import Backup, Manifest, NewBackup, TableDigest
from prometheus.db.database import Connection, Database, driver_connection, lift_limits
from prometheus.db.embedded.cluster import APPLICATION_ROLE, DATABASE, wheel_binaries
from prometheus.foundation.errors import DatabaseError, SchemaError

#: Output formats under which the digests are taken, whatever the session's or the server's settings.
_WORDS: Final = (
    "SET LOCAL TimeZone = 'UTC'", "SET LOCAL DateStyle = 'ISO, YMD'", "SET LOCAL IntervalStyle = 'iso_8601'",
    "SET LOCAL bytea_output = 'hex'", "SET LOCAL extra_float_digits = 1", "SET LOCAL xmloption = 'content'",
)  # fmt: skip
_TABLES: Final = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
_SEQUENCES: Final = text("SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'")


def dump_database(database: Database, socket_dir: Path, new: NewBackup, say: Callable[[str], None]) -> Manifest:
    """Write a dump of the application's database into a new backup and complete the backup.

    Args:
        database: The database, opened as its owner.
        socket_dir: Where the server listens.
        new: What to write to.
        say: Told what is being done.

    Raises:
        DatabaseError: The server refuses, or its files are damaged.
        SchemaError: The database was never migrated.
    """
    with database.transaction() as connection:
        raw = driver_connection(connection)
        raw.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        raw.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        with lift_limits(connection):
            snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            say("reading every table")
            manifest = _manifest(connection)
            say(f"writing {manifest.rows:,} rows of {len(manifest.tables)} tables")
            with _program(
                "pg_dump", "--format=custom", "--compress=gzip:6",
                "--no-owner", "--no-privileges", f"--snapshot={snapshot}", *_address(socket_dir, DATABASE),
            ) as (_, output):  # fmt: skip
                new.write_dump(output)
    new.finish(manifest)
    return manifest


def load_backup(backup: Backup, database: Database, socket_dir: Path, name: str) -> None:
    """Load a backup into an empty database, and prove that every table is the one that was backed up.

    Args:
        backup: The backup.
        database: The empty database, opened as its owner.
        socket_dir: Where its server listens.
        name: The database's name.

    Raises:
        DatabaseError: It cannot be loaded (RESTORE_FAILED), or its tables differ (BACKUP_DIFFERS).
    """
    with _program(
        "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction",
        *_address(socket_dir, name),
    ) as (feed, _):  # fmt: skip
        backup.copy_dump(feed)
    with database.transaction() as connection, lift_limits(connection):
        now_stored = _manifest(connection)
    for what, kept, loaded in (
        ("tables", dict(backup.manifest.tables), dict(now_stored.tables)),
        ("sequences", dict(backup.manifest.sequences), dict(now_stored.sequences)),
    ):
        different = sorted(key for key in kept | loaded if kept.get(key) != loaded.get(key))
        if different:
            raise DatabaseError(
                f"{backup.path} does not give back what was in the database: the {what} {', '.join(different)} differ. "
                "Take another backup.",
                code="BACKUP_DIFFERS",
            )


@contextmanager
def scratch_database(admin: Database, url: Callable[[str], str]) -> Iterator[tuple[str, Database]]:
    """Give an empty database on the same server, dropped afterwards."""
    name = f"prometheus_check_{uuid.uuid4().hex[:12]}"
    with admin.autocommit() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    scratch = Database(url(name))
    try:
        yield name, scratch
    finally:
        scratch.close()
        with admin.autocommit() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def _manifest(connection: Connection) -> Manifest:
    for statement in _WORDS:
        connection.exec_driver_sql(statement)
    tables = {}
    for name in connection.execute(_TABLES).scalars():
        row = connection.exec_driver_sql(
            f"SELECT count(*), coalesce(sum(hashtextextended(row_text, 0)::numeric), 0)::text FROM "
            f'(SELECT one::text AS row_text FROM "{name}" AS one) AS texts'
        ).one()
        tables[name] = TableDigest(row[0], row[1])
    if "alembic_version" not in tables:
        raise SchemaError("The database was never migrated: there is nothing to back up.")
    return Manifest(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        product=prometheus.__version__,
        server=connection.execute(text("SHOW server_version")).scalar_one(),
        schema=connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one(),
        tables=tables,
        sequences={row.sequencename: row.last_value for row in connection.execute(_SEQUENCES)},
    )


def _address(socket_dir: Path, database: str) -> tuple[str, ...]:
    return (f"--host={socket_dir}", "--port=5432", f"--username={APPLICATION_ROLE}", "--no-password", "-d", database)


@contextmanager
def _program(name: str, *arguments: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Run one of PostgreSQL's programs during the block, which feeds or reads it.

    Raises:
        DatabaseError: It failed; the message has its last line.
    """
    environment = {each: os.environ[each] for each in ("PATH", "LD_LIBRARY_PATH", "TZ") if each in os.environ}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [wheel_binaries() / name, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=environment, cwd="/",
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018 -- both are pipes
        try:
            yield process.stdin, process.stdout
            process.stdin.close()
            # What else it prints must not fill the pipe.
            process.stdout.read()
        except BrokenPipeError:
            pass  # It ended early; its output has the reason.
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
            process.stdout.close()
        said.seek(0)
        lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    if code != 0:
        why = next((line for line in lines if "error:" in line), lines[-1] if lines else f"exit code {code}")
        raise DatabaseError(f"{name} failed: {why}", code="BACKUP_FAILED" if name == "pg_dump" else "RESTORE_FAILED")
