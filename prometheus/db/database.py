"""The door to PostgreSQL: connections, transactions, and foreign errors turned into ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import sqlalchemy
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from prometheus.foundation.canonical import canonical_json
from prometheus.foundation.errors import ConfigurationError, DatabaseError, DatabaseUnavailableError

#: A dead peer is noticed within about half a minute, also behind a firewall that drops packets silently.
_CONNECT_ARGS: Final[dict[str, Any]] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "prometheus",
}


__all__ = ["Connection", "Database", "driver_connection", "translated_errors"]


class Database:
    """A pool of connections to one PostgreSQL database.

    Args:
        url: SQLAlchemy URL, ``postgresql+psycopg://...``; ``postgresql://`` and ``postgres://`` are accepted.
        pool_size: Connections kept open.
    """

    def __init__(self, url: str, *, pool_size: int = 4) -> None:
        self._engine = create_engine(
            _psycopg_url(url),
            pool_size=pool_size,
            max_overflow=4,
            pool_timeout=30,
            pool_pre_ping=True,
            connect_args=_CONNECT_ARGS,
            json_serializer=canonical_json,
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the block, or rolls back on an exception.

        Raises:
            DatabaseUnavailableError: The server cannot be reached or went away. During COMMIT the outcome is unknown:
                read the row again before anything else.
        """
        with translated_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """Open a connection on which every statement is its own transaction; for reads and for VACUUM."""
        with translated_errors(), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def sibling(self) -> "Database":
        """Open another pool, of one connection, to the same database; for a heartbeat that must not wait its turn."""
        return Database(self._engine.url.render_as_string(hide_password=False), pool_size=1)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()

    @property
    def url(self) -> str:
        """Return the URL with the password hidden."""
        return self._engine.url.render_as_string(hide_password=True)


def driver_connection(connection: Connection) -> "psycopg.Connection[Any]":
    """Return the psycopg connection under a SQLAlchemy one, for COPY inside the same transaction."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


@contextmanager
def translated_errors() -> Iterator[None]:
    """Re-raise connection failures of SQLAlchemy and psycopg as DatabaseUnavailableError, with one sentence."""
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("All database connections of this process are in use. Try again.") from error
    except (OperationalError, InterfaceError) as error:
        raise _unavailable_or_same(error.orig) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailableError(f"The database connection broke: {_first_line(error.orig)}") from error
        raise
    except psycopg.OperationalError as error:
        raise _unavailable_or_same(error) from error


def _unavailable_or_same(error: BaseException | None) -> DatabaseError:
    if isinstance(error, psycopg.errors.DiskFull):
        return DatabaseError(f"The database server's disk is full: {_first_line(error)}", code="DISK_FULL")
    if isinstance(error, psycopg.errors.QueryCanceled):
        return DatabaseError(f"A statement ran into the server's timeout: {_first_line(error)}", code="TIMEOUT")
    return DatabaseUnavailableError(f"The database cannot be reached: {_first_line(error)}")


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"


def _psycopg_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ConfigurationError(
            "PROMETHEUS_DATABASE_URL must look like postgresql://user@host/database; PostgreSQL is the only database."
        )
    full = f"postgresql+psycopg://{rest}"
    try:
        sqlalchemy.engine.make_url(full)
    except sqlalchemy.exc.ArgumentError as error:
        raise ConfigurationError("PROMETHEUS_DATABASE_URL cannot be read as a URL.") from error
    return full
