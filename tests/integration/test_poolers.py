"""A connection pooler in between: refused with a sentence that names the remedy, in its own words of PgBouncer's."""

import socket
import struct
import threading

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url

from prometheus.scripts.main import main

#: Where a backend's key and process stand in what the server says after the login.
KEY_DATA = b"K\x00\x00\x00\x0c"


class Pooler:
    """A small stand-in for PgBouncer: it answers in its words, or passes on and shows a process id of its own."""

    def __init__(self, upstream: str | None = None, refuses: str | None = None) -> None:
        self._upstream, self._refuses = upstream, refuses
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        """Take no further client."""
        self._socket.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        start = client.recv(8)
        while start and struct.unpack("!i", start[4:])[0] in {80877103, 80877104}:  # SSL, GSS
            client.sendall(b"N")
            start = client.recv(8)
        if not start:
            return
        rest = client.recv(struct.unpack("!i", start[:4])[0] - 8)
        if self._refuses is not None:
            fields = b"SFATAL\0C08P01\0M" + self._refuses.encode() + b"\0\0"
            client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)
            client.close()
            return
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._upstream)
        server.sendall(start + rest)
        threading.Thread(target=pass_on, args=(client, server), daemon=True).start()
        pass_on(server, client, change=True)


def pass_on(source, target, *, change=False):
    """Copy bytes until the source ends; ``change`` replaces the process id that the server says at the login."""
    while data := source.recv(65536):
        at = data.find(KEY_DATA) if change else -1
        if at >= 0:
            data = data[: at + 5] + struct.pack("!i", 1) + data[at + 9 :]
            change = False
        target.sendall(data)
    target.close()


@pytest.fixture
def through():
    """A function that runs ``prometheus db status`` through a pooler; all of them are closed afterwards."""
    poolers = []

    def run(database="prometheus", **how: str):
        poolers.append(Pooler(**how))
        url = f"postgresql://prometheus@127.0.0.1:{poolers[-1].port}/{database}?gssencmode=disable&sslmode=disable"
        return CliRunner().invoke(main, ["db", "status"], env={"PROMETHEUS_DATABASE_URL": url})

    yield run
    for pooler in poolers:
        pooler.close()


@pytest.mark.parametrize("parameter", ["options", "extra_float_digits"])
def test_pgbouncers_refusal_names_the_remedy(through, parameter):
    """What PgBouncer answers to our start-up parameters becomes a sentence on poolers, exit code 2."""
    said = through(refuses=f"unsupported startup parameter: {parameter}")
    assert said.exit_code == 2
    assert "connection pooler (such as PgBouncer)" in said.output
    assert "Name the PostgreSQL server itself" in said.output
    assert said.output.rstrip().endswith("[POOLER]")
    assert said.output.count("\n") == 1


def test_a_pooler_that_accepts_the_parameters_is_known_by_the_process(server, database_url, through):
    """One that was told to ignore them is refused as well: the process that answers is not the one of the login."""
    said = through(make_url(database_url).database, upstream=str(server.socket_dir / ".s.PGSQL.5432"))
    assert (said.exit_code, said.output.rstrip().endswith("[POOLER]")) == (2, True), said.output


def test_a_prepared_statement_of_another_client_is_a_poolers():
    """DuplicatePreparedStatement and its opposite come from sessions that are shared out."""
    import psycopg

    from prometheus.db.foreign_errors import translated_errors
    from prometheus.foundation.errors import ConfigurationError

    for error in (
        psycopg.errors.DuplicatePreparedStatement('prepared statement "_pg3_0" already exists'),
        psycopg.errors.InvalidSqlStatementName('prepared statement "_pg3_1" does not exist'),
    ):
        with pytest.raises(ConfigurationError, match="connection pooler"), translated_errors():
            raise error
