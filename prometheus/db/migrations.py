"""Migrations: apply them once, however many processes start together, and refuse a schema that does not fit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from prometheus.db.database import Database
from prometheus.foundation.errors import SchemaError

#: Newest migration, repeated here so that a command can check the schema without importing Alembic; a test compares.
HEAD_REVISION: Final = "0001"
#: Any number that is the same everywhere: who holds it migrates.
_ADVISORY_LOCK: Final = 7_023_116_401


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Where a database stands: ``current`` is None before the first migration."""

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
    """Return which migration the database has and which one the code wants."""
    with database.autocommit() as connection:
        return SchemaStatus(current=_current_revision(connection), head=HEAD_REVISION)


def require_current_schema(database: Database) -> None:
    """Refuse a database that is not migrated, or newer than the code.

    Raises:
        SchemaError: One sentence with the remedy.
    """
    status = schema_status(database)
    if status.is_current:
        return
    if status.current is None:
        raise SchemaError(f"The database {database.url} is not migrated. Run 'prometheus db upgrade' first.")
    if _is_known(status.current):
        raise SchemaError(
            f"The database {database.url} is at migration {status.current}, this version needs {status.head}. "
            "Run 'prometheus db upgrade'."
        )
    raise SchemaError(
        f"The database {database.url} is at migration {status.current}, which this version does not know: it "
        f"was migrated by a newer one (this one knows up to {status.head}). Install the newer version; do not "
        "downgrade the database."
    )


def upgrade(database: Database) -> tuple[str | None, str]:
    """Migrate to the newest schema; with several callers one migrates and the others wait and find nothing to do.

    Returns:
        The revision before and after.

    Raises:
        SchemaError: The database is newer than the code.
    """
    from alembic import command  # noqa: PLC0415 -- costs a fifth of a second that only this function needs
    from alembic.config import Config  # noqa: PLC0415

    with database.transaction() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        before = _current_revision(connection)
        if before != HEAD_REVISION:
            if before is not None and not _is_known(before):
                raise SchemaError(
                    f"The database {database.url} is at migration {before}, newer than this version ({HEAD_REVISION}). "
                    "Install the newer version; do not downgrade the database."
                )
            config = Config()
            config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return before, HEAD_REVISION


def _current_revision(connection: Connection) -> str | None:
    exists = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar_one()
    if not exists:
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision


def _is_known(revision: str) -> bool:
    return any(path.name.startswith(f"{revision}_") for path in (migrations_directory() / "versions").glob("*.py"))
