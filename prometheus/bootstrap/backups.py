"""Back up the embedded database into a file, and restore it from one."""

from collections.abc import Callable
from pathlib import Path

from prometheus.bootstrap.settings import Settings
from prometheus.bootstrap.wiring import embedded_server, unchecked_database, upgrade_database
from prometheus.db.backup import dump_database, load_backup, scratch_database
from prometheus.db.backup_file import Manifest, new_backup, read_backup
from prometheus.db.database import Database
from prometheus.db.embedded.cluster import DATABASE
from prometheus.db.embedded.restore import replacement
from prometheus.db.foreign_errors import last_words
from prometheus.db.migrations import HEAD_REVISION, is_known
from prometheus.foundation.errors import RequestError, SchemaError


def back_up(settings: Settings, path: Path, *, say: Callable[[str], None], trial: bool = True) -> Manifest:
    """Write a backup of the embedded database, read it back, and load it once to check that it is complete.

    Args:
        settings: Which database.
        path: The file, which must not exist; it appears when it is complete.
        say: Told what is being done.
        trial: Load it into a database of its own beside the other, compare every table, and drop it.

    Returns:
        What the backup holds.

    Raises:
        RequestError: A server of one's own, a file that exists, or a place that cannot be written.
        DatabaseError: There is no database (NO_DATABASE), it is damaged, or the backup does not give it back.
    """
    _refuse_own_server(settings, "back it up with its own programs, such as pg_dump --format=custom --file=FILE URL")
    path = path.absolute()
    server = embedded_server(settings, create=False)
    with unchecked_database(settings, create=False) as database, new_backup(path) as new:
        manifest = dump_database(database, server.socket_dir, new, say)
        say("reading the file back")
        backup = new.read_back()
        if trial:
            say("loading it once, to see that every table comes back")
            with scratch_database(database, server.url) as (name, scratch):
                load_backup(backup, scratch, server.socket_dir, name)
    return manifest


def restore(settings: Settings, path: Path, *, replace: bool, say: Callable[[str], None]) -> Manifest:
    """Replace the embedded database by that of a backup; upgrade it where it is older than this version.

    It is loaded and compared with the backup's manifest before the existing database is touched.

    Args:
        settings: Which home.
        path: The backup.
        replace: Whether a database that is there may be put aside, as ``data.replaced-<time>`` in the home.
        say: Told what is being done.

    Returns:
        What the backup holds.

    Raises:
        RequestError: A server of one's own, no usable backup, an existing database, or one that others use.
        SchemaError: The backup is of a newer version.
        DatabaseError: It cannot be loaded, or does not give back what was in it.
    """
    _refuse_own_server(settings, "restore into it with its own programs, such as pg_restore --dbname=URL FILE")
    path = path.absolute()
    say("checking the file")
    backup = read_backup(path)
    manifest = backup.manifest
    if not is_known(manifest.schema):
        raise SchemaError(
            f"{path} is of migration {manifest.schema}, made by version {manifest.product}; this version knows up to "
            f"{HEAD_REVISION}. Install that version to restore it."
        )
    with last_words(), replacement(settings.home, replace=replace) as server:
        say(f"loading {manifest.rows:,} rows of {len(manifest.tables)} tables")
        database = Database(server.ensure_running())
        try:
            load_backup(backup, database, server.socket_dir, DATABASE)
            if manifest.schema != HEAD_REVISION:
                say(f"upgrading from migration {manifest.schema} to {HEAD_REVISION}")
            upgrade_database(database)
            with database.autocommit() as connection:
                connection.exec_driver_sql("ANALYZE")
        finally:
            database.close()
        say("putting it in place")
    return manifest


def _refuse_own_server(settings: Settings, instead: str) -> None:
    if settings.database_url is not None:
        raise RequestError(
            f"PROMETHEUS_DATABASE_URL names a server of your own: {instead}. This command is for the embedded "
            "database.",
            code="NOT_EMBEDDED",
        )
