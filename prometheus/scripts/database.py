"""``prometheus db``: migrate the database and show its migration."""

import sys

import click

from prometheus.scripts.boundary import Group
from prometheus.scripts.tables import say


@click.group("db", cls=Group)
def command() -> None:
    """Migrate the database and show its migration."""


@command.command()
def upgrade() -> None:
    """Migrate to the newest schema. With several callers at once one migrates and the others wait.

    Exit codes: 0 done, 1 the database is newer than this version or cannot be reached.
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import unchecked_database, upgrade_database

    with unchecked_database(load_settings()) as database:
        before, after = upgrade_database(database)
        where = database.url
    say(f"{where}: " + (f"already at {after}" if before == after else f"{before or 'empty'} -> {after}"))


@command.command()
def status() -> None:
    """Print the migration the database has and the one this version needs.

    Exit codes: 0 they agree, 1 they do not.
    """
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import unchecked_database
    from prometheus.db.migrations import schema_status

    with unchecked_database(load_settings()) as database:
        schema = schema_status(database)
        where = database.url
    say(f"{where}: at {schema.current or 'no migration'}, this version needs {schema.head}")
    if not schema.is_current:
        sys.exit(1)
