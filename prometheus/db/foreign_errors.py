"""Errors of the server, the client library and the pool, turned into ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import errors as sql_errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from prometheus.foundation.errors import CollisionError, ConfigurationError, DatabaseError, DatabaseUnavailableError

#: The server refuses the statement, and trying again cannot help: class of the error to our code and its sentence.
_REFUSALS: Final[tuple[tuple[type[psycopg.Error], str, str], ...]] = (
    (
        sql_errors.ReadOnlySqlTransaction,
        "READ_ONLY",
        "The database is read-only (a replica, or default_transaction_read_only); name the primary server instead",
    ),
    (sql_errors.InsufficientPrivilege, "PERMISSION", "The role of PROMETHEUS_DATABASE_URL lacks a permission"),
    (sql_errors.DiskFull, "DISK_FULL", "The database server's disk is full"),
    (sql_errors.QueryCanceled, "TIMEOUT", "A statement ran into the server's timeout"),
)
#: The server cannot read its own files. Some of these errors have no code, or come before there is a session.
_DAMAGES: Final = (sql_errors.DataCorrupted, sql_errors.IndexCorrupted, sql_errors.UndefinedFile, sql_errors.IoError)
_DAMAGE_WORDS: Final = re.compile(
    r"could not (open|read|access|stat|seek|find) .*(file|block|page|relation|directory|transaction)|invalid page in"
    r"|missing chunk|unexpected (chunk|zero page)|cache lookup failed|relation mapping|corrupt|checksum"
    r"|invalid memory alloc|could not find pg_|catalog is missing|is not a valid data directory"
)
_SHORT_OF: Final = ("No space left", "Too many open files", "Cannot allocate")
#: A pooler that gives a connection to another client after each transaction does not keep our sessions.
_POOLER_WORDS: Final = re.compile(
    r"unsupported startup parameter|prepared statement \"[^\"]*\" (already exists|does not exist)"
)
_POOLER: Final = (
    "PROMETHEUS_DATABASE_URL leads to a connection pooler (such as PgBouncer), which does not keep a session's "
    "settings and prepared statements. Name the PostgreSQL server itself, its own host and port"
)
#: Two transactions conflicted; this one wrote nothing.
_COLLISIONS: Final = (
    sql_errors.SerializationFailure,
    sql_errors.DeadlockDetected,
    sql_errors.LockNotAvailable,
    sql_errors.ObjectInUse,
)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Re-raise failures of the connection, and refusals that no caller can handle, as errors of ours in one sentence.

    Errors about the data (a constraint, a type) pass unchanged, because repositories match them.

    Raises:
        DatabaseUnavailableError: The server cannot be reached, went away, or asks to try again.
        DatabaseError: The server refuses: read-only, no permission, its disk is full, a timeout; or its files are
            damaged.
        ConfigurationError: The URL has an option that PostgreSQL's client does not know, or leads to a pooler.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("All database connections of this process are in use. Try again.") from error
    except DBAPIError as error:
        translated = _translated(error.orig, broken=error.connection_invalidated)
        if translated is None:
            raise
        raise translated from error
    except psycopg.Error as error:
        translated = _translated(error, broken=False)
        if translated is None:
            raise
        raise translated from error


def pooler_refused(why: str) -> ConfigurationError:
    """Return the error for an address of a pooler that shares the server's sessions."""
    return ConfigurationError(f"{_POOLER}: {why.rstrip('.')}.", code="POOLER")


@contextmanager
def last_words() -> Iterator[None]:
    """Turn an unhandled database error inside the block into one of ours; for whole commands.

    Raises:
        DatabaseError: The server refused a statement, and no caller handled it.
    """
    try:
        with translated_errors():
            yield
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        raise DatabaseError(
            f"The database refused a statement: {first_line(cause).rstrip('.')}"
            + (f" (SQLSTATE {state})." if state else ".")
            + " Nothing of the transaction was written."
        ) from error


def _translated(error: BaseException | None, *, broken: bool) -> DatabaseError | ConfigurationError | None:
    for kind, code, sentence in _REFUSALS:
        if isinstance(error, kind):
            return DatabaseError(f"{sentence}: {first_line(error)}", code=code)
    words = first_line(error)
    if isinstance(error, _DAMAGES) or _tells_of_damage(error):
        return DatabaseError(f"The database is damaged: {words.rstrip('.')}.", code="DATABASE_DAMAGED")
    if isinstance(error, psycopg.Error) and _POOLER_WORDS.search(str(error)):
        return pooler_refused(words)
    if isinstance(error, _COLLISIONS):
        return CollisionError(f"Another transaction was in the way: {first_line(error)}. Try again.")
    if broken:
        return DatabaseUnavailableError(f"The database connection broke: {first_line(error)}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseUnavailableError(f"The database cannot be reached: {first_line(error)}")
    # psycopg's own complaint about the connection's options; the server's complaints carry an SQLSTATE.
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None and "connect" in str(error):
        return ConfigurationError(f"PROMETHEUS_DATABASE_URL cannot be used: {first_line(error)}.")
    return None


def _tells_of_damage(error: BaseException | None) -> bool:
    words = str(error)
    # The client library's own errors (a certificate that cannot be read) do not come from the server.
    of_server = isinstance(error, sql_errors.InternalError_) or (
        isinstance(error, psycopg.OperationalError) and (error.sqlstate is not None or "FATAL:" in words)
    )
    return of_server and bool(_DAMAGE_WORDS.search(words)) and not any(lack in words for lack in _SHORT_OF)


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
