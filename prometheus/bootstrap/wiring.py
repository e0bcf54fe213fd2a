"""Composition: from settings to an open database, in one place."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

from prometheus.bootstrap.settings import Settings
from prometheus.db.database import Connection, Database, Timeouts
from prometheus.db.embedded import EmbeddedServer
from prometheus.db.migrations import require_current_schema, schema_status, upgrade
from prometheus.db.privileges import ENGINE_ROLE
from prometheus.db.repositories.strategies import StrategyRecord, add_strategy_version, latest_strategy


@contextmanager
def unchecked_database(settings: Settings, *, role: str | None = None) -> Iterator[Database]:
    """Open the database without looking at its schema; as its login where no role is given, for ``prometheus db``."""
    url = settings.database_url
    if url is None:
        url = EmbeddedServer(settings.home, linger_seconds=settings.embedded_linger_seconds).ensure_running()
    timeouts = Timeouts(
        statement=settings.statement_timeout_seconds,
        lock=settings.lock_timeout_seconds,
        idle_in_transaction=settings.idle_timeout_seconds,
    )
    database = Database(url, timeouts=timeouts, role=role)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def open_database(settings: Settings, *, as_owner: bool = False) -> Iterator[Database]:
    """Open the database ready for work, as the engine's role where the server has it; as the login with ``as_owner``.

    The embedded one is ours, so it is migrated on first use; a server somebody set up is never migrated behind their
    back.

    Raises:
        SchemaError: The server's database is not migrated, or newer than this code.
    """
    with unchecked_database(settings, role=None if as_owner else ENGINE_ROLE) as database:
        if settings.database_url is None and not schema_status(database).is_current:
            # The engine's role may not migrate, and has its rights only afterwards.
            with unchecked_database(settings) as owner:
                upgrade_database(owner)
            database.forget_connections()
        require_current_schema(database)
        yield database


def upgrade_database(database: Database) -> tuple[str | None, str]:
    """Migrate, and add the strategies this version ships where they are absent, in one transaction.

    Returns:
        The revision before and after.
    """
    return upgrade(database, _add_shipped_strategies)


def _add_shipped_strategies(connection: Connection) -> None:
    for shipped in shipped_strategies():
        if latest_strategy(connection, shipped.strategy_id) is None:
            add_strategy_version(connection, shipped.strategy_id, shipped.params, shipped.tag_overrides)


def shipped_strategies() -> tuple[StrategyRecord, ...]:
    """Return the strategies inside the package."""
    folder = resources.files("prometheus.bootstrap") / "strategies"
    found = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".json"):
            record = json.loads(entry.read_text(encoding="utf-8"))
            found.append(
                StrategyRecord(
                    strategy_id=record["strategy_id"],
                    version=1,
                    params=record["params"],
                    tag_overrides=record["tag_overrides"],
                )
            )
    return tuple(found)
