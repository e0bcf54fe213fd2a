"""Composition: from settings to an open database, in one place."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

from prometheus.bootstrap.settings import Settings
from prometheus.db.database import Connection, Database, Timeouts
from prometheus.db.embedded.safety import damage_behind
from prometheus.db.embedded.server import EmbeddedServer
from prometheus.db.foreign_errors import last_words
from prometheus.db.migrations import require_current_schema, schema_status, upgrade
from prometheus.db.privileges import ENGINE_ROLE
from prometheus.foundation.errors import DatabaseError
from prometheus.foundation.logging import tell

if TYPE_CHECKING:
    from prometheus.db.repositories.strategies import StrategyRecord


@contextmanager
def unchecked_database(settings: Settings, *, role: str | None = None, create: bool = True) -> Iterator[Database]:
    """Open the database without looking at its schema; as its login where no role is given, for ``prometheus db``.

    Args:
        settings: Which database.
        role: Role to work as.
        create: Make the embedded database where there is none; False for commands that only read.

    Raises:
        DatabaseError: A database error in one sentence; also one that the block raised and did not handle.
    """
    url = settings.database_url
    if url is None:
        url = embedded_server(settings, create=create).ensure_running()
    timeouts = Timeouts(
        statement=settings.statement_timeout_seconds,
        lock=settings.lock_timeout_seconds,
        idle_in_transaction=settings.idle_timeout_seconds,
    )
    database = Database(url, timeouts=timeouts, role=role)
    try:
        with last_words():
            yield database
    except DatabaseError as error:
        if settings.database_url is None and (damage := damage_behind(settings.home, error)) is not None:
            raise damage from error
        raise
    finally:
        database.close()


def embedded_server(settings: Settings, *, create: bool = True) -> EmbeddedServer:
    """Return the embedded server of the settings; a command that makes a new database says where."""
    return EmbeddedServer(settings.home, linger_seconds=settings.embedded_linger_seconds, announce=tell, create=create)


@contextmanager
def open_database(settings: Settings, *, as_owner: bool = False, create: bool = True) -> Iterator[Database]:
    """Open the database ready for work, as the engine's role where the server has it; as the login with ``as_owner``.

    The embedded database is migrated on first use. A server of the operator's own is migrated by ``prometheus db
    upgrade`` only.

    Raises:
        SchemaError: The server's database is not migrated, or newer than this code.
        DatabaseError: As ``unchecked_database``.
    """
    with unchecked_database(settings, role=None if as_owner else ENGINE_ROLE, create=create) as database:
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
    from prometheus.db.repositories.strategies import (  # noqa: PLC0415 -- the ORM, which an idle tick does without
        add_strategy_version,
        latest_strategy,
    )

    for shipped in shipped_strategies():
        if latest_strategy(connection, shipped.strategy_id) is None:
            add_strategy_version(connection, shipped.strategy_id, shipped.params, shipped.tag_overrides)


def shipped_strategies() -> "tuple[StrategyRecord, ...]":
    """Return the strategies inside the package."""
    from prometheus.db.repositories.strategies import StrategyRecord  # noqa: PLC0415 -- as above

    folder = resources.files("prometheus.bootstrap") / "strategies"
    strategies = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".json"):
            record = json.loads(entry.read_text(encoding="utf-8"))
            strategies.append(
                StrategyRecord(
                    strategy_id=record["strategy_id"],
                    version=1,
                    params=record["params"],
                    tag_overrides=record["tag_overrides"],
                )
            )
    return tuple(strategies)
