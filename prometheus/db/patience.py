"""Connections that wait for a silent server for a limited time, so that a dead network does not hang a process.

The server ends a statement that takes too long, and TCP notices a peer that is gone. Neither helps where something in
between keeps the connection open without answering; then the client's own clock ends the wait.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg

#: How much longer than the server's own limit an answer may take before the server counts as silent.
_LEAST_GRACE_SECONDS: Final = 5.0
_GRACE_SHARE: Final = 0.1
_Answer = TypeVar("_Answer")


def patience_for(statement_seconds: float) -> float | None:
    """Return how long to wait for a server that ends its statements after so many seconds; None: for ever.

    Args:
        statement_seconds: The server's limit; 0 or less where it has none.
    """
    if statement_seconds <= 0:
        return None
    return statement_seconds + max(_LEAST_GRACE_SECONDS, _GRACE_SHARE * statement_seconds)


class PatientConnection(psycopg.Connection[Any]):
    """A connection on which no wait for the server is longer than ``patience`` seconds; None: for ever."""

    patience: float | None = None

    def wait(self, gen: Generator[Any, Any, _Answer], *arguments: Any, **options: Any) -> _Answer:
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: None came; the connection is closed, and it is unknown whether the statement took
            effect.
        """
        if self.patience is None:
            return super().wait(gen, *arguments, **options)
        try:
            return super().wait(_watched(gen, self.patience), *arguments, **options)
        except _SilenceError as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the server has not answered for {self.patience:.0f} seconds, longer than it lets a statement take"
            ) from error


@contextmanager
def unlimited(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Wait without limit inside the block: for statements that the server does not limit either."""
    limited = connection if isinstance(connection, PatientConnection) else None
    before = None if limited is None else limited.patience
    if limited is not None:
        limited.patience = None
    try:
        yield
    finally:
        if limited is not None:
            limited.patience = before


class _SilenceError(Exception):
    """The server sent nothing for too long."""


def _watched(gen: Generator[Any, Any, _Answer], patience: float) -> Generator[Any, Any, _Answer]:
    """Run a generator of the driver, and add up the time of its waits without an answer."""
    silent_since: float | None = None
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                silent_since = None
            elif silent_since is None:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > patience:
                raise _SilenceError
            wanted = gen.send(ready)
    except StopIteration as end:
        answer: _Answer = end.value
        return answer
