"""Access to PostgreSQL: a pool of connections with limits, and transactions."""

import json
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias

import psycopg
import sqlalchemy
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DisconnectionError

from prometheus.db.foreign_errors import first_line, translated_errors
from prometheus.db.patience import PatientConnection, patience_for, unlimited
from prometheus.db.privileges import take_role_sql
from prometheus.foundation.canonical import canonical_json, to_jsonable
from prometheus.foundation.errors import ConfigurationError, DatabaseUnavailableError

#: A value of a statement's parameter. Text may be JSON that PostgreSQL casts.
SqlValue: TypeAlias = (
    "str | int | float | bool | bytes | Decimal | date | datetime | Sequence[SqlValue] | Mapping[str, str] | None"
)

#: A dead peer is noticed within about half a minute, also behind a firewall that drops packets silently. Options of the
#: URL take precedence.
_CONNECTION_DEFAULTS: Final[Mapping[str, int | str]] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "prometheus",
    # Text is sent in UTF-8 whatever the environment or the database's encoding: without it a database in SQL_ASCII
    # answers in bytes.
    "client_encoding": "UTF8",
}

#: How long a transaction waits for a free connection of its pool.
_POOL_SECONDS: Final = 30.0
#: A pooled connection that was idle for longer is checked before use.
_IDLE_SECONDS: Final = 1.0
_LAST_USE: Final = "prometheus_last_use"
#: A heartbeat is one small statement: longer than this it waits for a server that is in trouble.
_SIBLING_SECONDS: Final = 30.0
#: The options may have passwords, too.
_SECRET_OPTIONS: Final = ("password", "sslpassword")

__all__ = [
    "Connection",
    "Database",
    "SqlValue",
    "Timeouts",
    "driver_connection",
    "jsonb_text",
    "lift_limits",
    "limit_lock_waits",
]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits that the server keeps for each connection, in seconds; 0 for none.

    Attributes:
        statement: Longest that a statement may take.
        lock: Longest that a statement may wait for a lock.
        idle_in_transaction: Longest that a transaction may be open without a statement.
    """

    statement: float = 300.0
    lock: float = 30.0
    idle_in_transaction: float = 300.0

    def as_options(self) -> str:
        """Return the limits as the client library's ``options``."""
        limits = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
        }
        return " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())


class Database:
    """A pool of connections to one PostgreSQL database.

    Args:
        url: SQLAlchemy URL, ``postgresql+psycopg://...``; ``postgresql://`` and ``postgres://`` are accepted.
        pool_size: Connections kept open.
        timeouts: The server's limits for statements, locks and idle transactions.
        role: Role that every session takes where it may (``prometheus.db.privileges``); None for the login's own.
    """

    def __init__(
        self, url: str, *, pool_size: int = 4, timeouts: Timeouts | None = None, role: str | None = None
    ) -> None:
        full = _psycopg_url(url)
        self._pool_size, self._role = pool_size, role
        self._timeouts = timeouts or Timeouts()
        defaults = {**_CONNECTION_DEFAULTS, "options": self._timeouts.as_options()}
        self._engine = create_engine(
            full,
            pool_size=pool_size,
            max_overflow=4,
            pool_timeout=_POOL_SECONDS,
            connect_args={name: value for name, value in defaults.items() if value and name not in full.query},
            json_serializer=jsonb_text,
        )
        event.listen(self._engine, "do_connect", _connect)
        # The options of a URL may set the server's limits, which we do not know then.
        self._patience = None if "options" in full.query else patience_for(self._timeouts.statement)
        event.listen(self._engine, "connect", self._be_patient)
        if role is not None:
            event.listen(self._engine, "connect", self._take_role)
        event.listen(self._engine, "checkin", _note_use)
        event.listen(self._engine, "checkout", self._ping_if_idle)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as an address; the other process opens a pool of its own."""
        made = partial(Database, pool_size=self._pool_size, timeouts=self._timeouts, role=self._role)
        return made, (self._full_url,)

    def _ping_if_idle(self, raw: Any, record: Any, proxy: Any) -> None:  # noqa: ARG002 -- the signature of a listener
        """Let the pool replace a connection that died while idle; one used just now is not checked.

        A server that ends a session sends a message, which is still unread in the socket.
        """
        idle = time.monotonic() - record.info.get(_LAST_USE, 0.0)
        if idle < _IDLE_SECONDS and not select.select([raw], [], [], 0)[0]:
            return
        try:
            alive = self._engine.dialect.do_ping(raw)
        except self._engine.dialect.loaded_dbapi.Error:
            alive = False
        if not alive and _LAST_USE not in record.info:
            # The pool takes a second DisconnectionError for an error in its use.
            raise DatabaseUnavailableError("The server ended a connection as soon as it was made. Try again.")
        if not alive:
            raise DisconnectionError

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the block, or rolls back on an exception.

        Raises:
            DatabaseUnavailableError: The server cannot be reached or went away. During COMMIT the outcome is unknown:
                read the row again before anything else.
            DatabaseError: The server refuses: read-only, no permission, its disk is full, a timeout.
        """
        with translated_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """Open a connection on which every statement is its own transaction; for reads and for VACUUM."""
        with translated_errors(), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def after_fork(self) -> "Database":
        """Return a pool of this process's own, in a forked process; the parent keeps its connections."""
        self._engine.dispose(close=False)
        return self._like(pool_size=2)

    def sibling(self) -> "Database":
        """Open another pool, of one connection, to the same database; for a heartbeat, which must not wait.

        Its statements may take half a minute at most, whatever the limit of others.
        """
        limits = self._timeouts
        if not 0 < limits.statement <= _SIBLING_SECONDS:
            limits = replace(limits, statement=_SIBLING_SECONDS)
        return self._like(pool_size=1, timeouts=limits)

    def _like(self, *, pool_size: int, timeouts: Timeouts | None = None) -> "Database":
        return Database(self._full_url, pool_size=pool_size, timeouts=timeouts or self._timeouts, role=self._role)

    def forget_connections(self) -> None:
        """Close every pooled connection; the next transaction opens a new one, with the role's present rights."""
        self._engine.dispose()

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()

    @property
    def _full_url(self) -> str:
        return self._engine.url.render_as_string(hide_password=False)

    def _be_patient(self, connection: PatientConnection, record: object) -> None:  # noqa: ARG002 -- SQLAlchemy's
        connection.patience = self._patience

    def _take_role(self, connection: "psycopg.Connection[Any]", record: object) -> None:  # noqa: ARG002 -- SQLAlchemy's
        with connection.cursor() as cursor:
            cursor.execute(take_role_sql(), [self._role])
        connection.commit()

    @property
    def url(self) -> str:
        """Return the URL with the password hidden."""
        return self._engine.url.difference_update_query(_SECRET_OPTIONS).render_as_string(hide_password=True)


def _connect(dialect: object, record: object, arguments: Any, options: Any) -> PatientConnection:  # noqa: ARG001 -- SQLAlchemy's
    return PatientConnection.connect(*arguments, **options)


def _note_use(raw: Any, record: Any) -> None:  # noqa: ARG001 -- the signature of a listener
    record.info[_LAST_USE] = time.monotonic()


def driver_connection(connection: Connection) -> "psycopg.Connection[Any]":
    """Return the psycopg connection under a SQLAlchemy one, for COPY inside the same transaction."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


def limit_lock_waits(connection: Connection, seconds: float) -> None:
    """Limit how long later statements of this transaction wait for a lock."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")


@contextmanager
def lift_limits(connection: Connection) -> Iterator[None]:
    """Remove the limits of this transaction's statements inside the block; for migrations."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    with unlimited(driver_connection(connection)):
        yield


def jsonb_text(value: Any) -> str:
    """Return the canonical JSON of ``value`` in a form that jsonb returns as the same value.

    jsonb keeps numbers as decimals and prints them without an exponent, so 1e+16 would come back as an integer, with
    another canonical text and another hash. A fraction of zero keeps it a float.

    Raises:
        TypeError: A value with no canonical form.
    """
    text = canonical_json(value)
    # Far cheaper than checking every number: an exponent in the text of a string is harmless and rare.
    return _without_exponents(to_jsonable(value)) if "e+" in text else text


def _without_exponents(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{json.dumps(key, ensure_ascii=False)}:{_without_exponents(value[key])}" for key in sorted(value))
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_without_exponents, value))}]"
    if isinstance(value, float) and "e+" in repr(value):
        return f"{Decimal(repr(value)):f}.0"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _psycopg_url(url: str) -> sqlalchemy.URL:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ConfigurationError(
            "PROMETHEUS_DATABASE_URL must look like postgresql://user@host/database; PostgreSQL is the only database."
        )
    authority, slash, path = rest.partition("?")[0].partition("/")
    try:
        if authority.count("@") > 1 or (slash and "@" in path):
            raise ValueError("a password with an '@' or '/' of its own")  # noqa: TRY301 -- one sentence for all of them
        full = sqlalchemy.make_url(f"postgresql+psycopg://{rest}")
        # The errors of the parser and of libpq may quote the password, so they are not repeated.
        psycopg.conninfo.make_conninfo(**{name: str(value) for name, value in full.query.items()})
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "PROMETHEUS_DATABASE_URL cannot be read as a URL. It looks like postgresql://user@host:5432/database; "
            "special characters in a password are written as %XX."
        ) from error
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"PROMETHEUS_DATABASE_URL has an unknown option: {first_line(error)}.") from error
    return full
