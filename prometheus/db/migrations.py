"""Migrations: applied once, however many processes start together; a schema that does not fit is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from prometheus.db.database import Database, driver_connection, lift_limits
from prometheus.db.foreign_errors import pooler_refused
from prometheus.db.privileges import grant_engine_role
from prometheus.foundation.errors import SchemaError

#: Newest migration, repeated here so that a command can check the schema without importing Alembic; a test compares.
HEAD_REVISION: Final = "0004"
#: Key of the advisory lock of a migration; any fixed number.
_ADVISORY_LOCK: Final = 7_023_116_401
#: Oldest supported PostgreSQL: the oldest version that the PostgreSQL project maintains in 2026.
OLDEST_SERVER: Final = 14
#: Errors of a migration that meets objects it did not make.
_IN_THE_WAY: Final = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateFunction,
    psycopg.errors.DuplicateObject,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
)


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Migration of a database: ``current`` is None before the first one."""

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Return True where code and database agree."""
        return self.current == self.head


def migrations_directory() -> Path:
    """Return the migrations: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def schema_status(database: Database) -> SchemaStatus:
    """Return which migration the database has and which one the code wants.

    Raises:
        SchemaError: The server is too old, or the database is not in UTF8.
    """
    with database.autocommit() as connection:
        _refuse_unfit_server(database, connection)
        return SchemaStatus(current=_current_revision(connection), head=HEAD_REVISION)


def require_current_schema(database: Database) -> None:
    """Refuse a server that is too old, a database not in UTF8 or not migrated, or one newer than the code.

    Raises:
        SchemaError: One sentence with the remedy.
    """
    status = schema_status(database)
    if status.is_current:
        return
    if status.current is None:
        raise SchemaError(f"The database {database.url} is not migrated. Run 'prometheus db upgrade' first.")
    if not is_known(status.current):
        raise _newer(database, status.current)
    raise SchemaError(
        f"The database {database.url} is at migration {status.current}, this version needs {status.head}. "
        "Run 'prometheus db upgrade'."
    )


def upgrade(database: Database, seed: Callable[[Connection], None] | None = None) -> tuple[str | None, str]:
    """Migrate to the newest schema; with several callers one migrates, the others wait and then have nothing to do.

    All of it is one transaction: the schema is the old one or the new one, never something between. The engine's role,
    where the server has it, gets its rights anew.

    Args:
        database: What to migrate.
        seed: Called inside the same transaction, also where there is nothing to migrate; adds the rows that a version
            brings along.

    Returns:
        The revision before and after.

    Raises:
        SchemaError: The server is too old, or the database is not in UTF8, is newer than the code or holds tables of
            somebody else.
    """
    from alembic import command  # noqa: PLC0415 -- costs a fifth of a second that only this function needs
    from alembic.config import Config  # noqa: PLC0415 - needed by those who migrate only

    # This migration, and one of another process before it, may take long.
    with database.transaction() as connection, lift_limits(connection):
        _refuse_unfit_server(database, connection)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        before = _current_revision(connection)
        if before != HEAD_REVISION:
            if before is not None and not is_known(before):
                raise _newer(database, before)
            config = Config()
            config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, HEAD_REVISION)
            except DBAPIError as error:
                if not isinstance(error.orig, _IN_THE_WAY):
                    raise
                raise SchemaError(
                    f"The database {database.url} cannot be migrated, and nothing in it was changed: "
                    f"{str(error.orig).splitlines()[0]}. Its tables are not what migration {before or 'none'} leaves "
                    "behind; use a database of its own."
                ) from error
        if seed is not None:
            seed(connection)
        grant_engine_role(connection)
        return before, HEAD_REVISION


def _newer(database: Database, revision: str) -> SchemaError:
    return SchemaError(
        f"The database {database.url} is at migration {revision}, which this version does not know: it was migrated by "
        f"a newer one (this one knows up to {HEAD_REVISION}). Install the newer version; do not downgrade the database."
    )


def _refuse_unfit_server(database: Database, connection: Connection) -> None:
    version, encoding, process = connection.execute(
        text("SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), pg_backend_pid()")
    ).one()
    if process != driver_connection(connection).info.backend_pid:
        # The process that answered the login is not the one that answers the statements.
        raise pooler_refused("a process that is not the one that answered the login runs the statements")
    if version < OLDEST_SERVER * 10_000:
        raise SchemaError(
            f"The server is PostgreSQL {version // 10_000}; {OLDEST_SERVER} is the oldest that works. "
            "Upgrade it or set PROMETHEUS_DATABASE_URL to another one."
        )
    if encoding != "UTF8":
        raise SchemaError(
            f"The database {database.url} is encoded in {encoding}; it must be UTF8. "
            "Create it with: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0."
        )


def _current_revision(connection: Connection) -> str | None:
    exists = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar_one()
    if not exists:
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision


def is_known(revision: str) -> bool:
    """Return whether this version has the migration."""
    return any(path.name.startswith(f"{revision}_") for path in (migrations_directory() / "versions").glob("*.py"))
