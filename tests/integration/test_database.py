import json
import socket
import threading
import time

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError, ProgrammingError

from prometheus.db.database import _CONNECTION_DEFAULTS, Database, driver_connection, jsonb_text
from prometheus.db.foreign_errors import translated_errors
from prometheus.foundation.canonical import canonical_json, sha256_of
from prometheus.foundation.errors import ConfigurationError, DatabaseError, DatabaseUnavailableError
from prometheus.scripts.main import main

SECRET = "s3kr3t"


def status(monkeypatch, url):
    """Run ``prometheus db status`` on a URL."""
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", url)
    return CliRunner().invoke(main, ["db", "status"])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:{}@h/x", "must look like postgresql://"),
        ("host=localhost password={}", "must look like postgresql://"),
        ("postgresql://u:{}@h:port/x", "cannot be read as a URL"),
        ("postgresql://u:{}@[::1/x", "cannot be read as a URL"),
        ("postgresql://u:a@{}@h/x", "cannot be read as a URL"),
        ("postgresql://u:1/{}@h/x", "cannot be read as a URL"),
        ("postgresql://u:{}@h/x?flavour=mild", 'has an unknown option: invalid connection option "flavour"'),
        ("postgresql://u:{}@127.0.0.1:1/x?connect_timeout=soon", "bad value for connect_timeout"),
    ],
)
def test_a_bad_url_is_one_sentence_with_its_variable_and_without_its_password(monkeypatch, url, says):
    """A URL that cannot be used ends with exit code 2 and one sentence that names the variable, never the password."""
    result = status(monkeypatch, url.format(SECRET))
    assert result.exit_code == 2
    assert result.output.startswith("error: PROMETHEUS_DATABASE_URL")
    assert says in result.output
    assert result.output.count("\n") == 1
    assert SECRET not in result.output


def test_a_server_that_is_not_there_is_one_sentence(monkeypatch):
    """A refused connection ends at once with exit code 1 and one sentence without the password."""
    result = status(monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:1/x")
    assert result.exit_code == 1
    assert "The database cannot be reached" in result.output
    assert "[DATABASE_UNAVAILABLE]" in result.output
    assert result.output.count("\n") == 1
    assert SECRET not in result.output


def test_a_server_that_never_answers_is_given_up_after_the_connect_timeout(monkeypatch):
    """A connection that is accepted and then silent costs the URL's own connect_timeout, not ours nor forever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        # Ours is put so far away that a machine would have to be very slow for the two to be confused.
        monkeypatch.setitem(_CONNECTION_DEFAULTS, "connect_timeout", 600)
        began = time.monotonic()
        result = status(monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:{port}/x?connect_timeout=2")
    assert 1.5 < time.monotonic() - began < 400
    assert result.exit_code == 1
    assert "The database cannot be reached" in result.output
    assert SECRET not in result.output


def test_a_wrong_role_or_database_is_one_sentence(server, monkeypatch):
    """What the server says about the login is passed on in one sentence."""
    for url in (server.url("nosuch"), server.url(role="nobody-knows")):
        result = status(monkeypatch, url)
        assert result.exit_code == 1
        assert result.output.count("\n") == 1
        assert "The database cannot be reached" in result.output


def test_the_printed_url_hides_passwords_wherever_they_stand():
    """Neither the password field nor a password among the options is shown."""
    shown = Database(f"postgres://u:{SECRET}@h/x?password={SECRET}&sslpassword={SECRET}&connect_timeout=3").url
    assert shown == "postgresql+psycopg://u:***@h/x?connect_timeout=3"


def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_error(database):
    """Everything of a block is written, or nothing."""
    with database.transaction() as connection:
        connection.execute(text("CREATE TABLE t (n int)"))
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:  # noqa: PT012 -- two statements
        connection.execute(text("INSERT INTO t VALUES (1)"))
        raise ZeroDivisionError
    with database.autocommit() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
        connection.execute(text("INSERT INTO t VALUES (2)"))
    with database.transaction() as connection:
        assert connection.execute(text("SELECT n FROM t")).scalar_one() == 2


def test_writers_do_not_block_readers_nor_readers_writers(database, database_url):
    """A long writer's rows are invisible and cost a reader no wait; a long reader costs a writer none."""
    other = Database(f"{database_url}&options=-c%20lock_timeout%3D500")
    with database.transaction() as setup:
        setup.execute(text("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)"))
    with database.transaction() as writer:
        writer.execute(text("UPDATE t SET n = -n"))
        with other.transaction() as reader:
            assert reader.execute(text("SELECT min(n) FROM t")).scalar_one() == 1
    with database.transaction() as reader:
        reader.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        assert reader.execute(text("SELECT max(n) FROM t")).scalar_one() == -1
        with other.transaction() as writer:
            writer.execute(text("DELETE FROM t"))
        assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 1000
    other.close()


def test_a_broken_connection_is_retryable_and_the_next_one_works(database):
    """A connection ended by the server is reported as unavailable, and the pool recovers by itself."""
    with (
        pytest.raises(DatabaseUnavailableError) as caught,
        database.transaction() as connection,
    ):
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert caught.value.retryable
    with database.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_pooled_connection_that_died_is_replaced_unseen(database, server):
    """A connection that died while it lay in the pool is not handed out."""
    with database.transaction() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with database.transaction() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid


def test_a_server_that_ends_each_new_connection_is_a_sentence(database, server):
    """Connections that are ended as soon as they are made are an unavailable server, not a misuse of the pool."""
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True) as admin:

        def end(raw, _record):
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])

        event.listen(database._engine, "connect", end)
        with pytest.raises(DatabaseUnavailableError, match="as soon as it was made"), database.transaction():
            pass
        event.remove(database._engine, "connect", end)
    with database.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SET TRANSACTION READ ONLY; CREATE TABLE t (n int)", "READ_ONLY"),
        ("SELECT pg_read_file('/etc/hostname')", "PERMISSION"),
        ("SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(5)", "TIMEOUT"),
    ],
)
def test_refusals_of_the_server_are_sentences_with_a_code(database, statement, code):
    """A refusal that trying again cannot cure is a database error with a code of its own, through either driver."""
    with pytest.raises(DatabaseError) as caught, database.transaction() as connection:
        connection.execute(text(statement))
    assert caught.value.code == code
    assert not caught.value.retryable
    with pytest.raises(DatabaseError) as caught, database.transaction() as connection:
        driver_connection(connection).execute(statement)
    assert caught.value.code == code


def test_a_lock_that_is_not_granted_is_a_collision_to_be_tried_again(database, database_url):
    """Two transactions in each other's way are told so, and it is not taken for a lost server."""
    other = Database(database_url)
    with database.transaction() as holder:
        holder.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseUnavailableError, match="Another transaction was in the way") as caught:  # noqa: SIM117 - the inner block is what raises
            with other.transaction() as waiting:
                waiting.execute(text("SET LOCAL lock_timeout = '50ms'; SELECT * FROM alembic_version"))
    assert caught.value.code == "COLLISION"
    other.close()


def test_what_tells_of_the_data_passes_as_it_is(database):
    """Violated constraints and wrong statements reach the caller, who knows what they mean."""
    with pytest.raises(IntegrityError), database.transaction() as connection:
        connection.execute(text("INSERT INTO engine_flags (flag_id) VALUES (2)"))
    with pytest.raises(ProgrammingError), database.transaction() as connection:
        connection.execute(text("SELECT no_such_column"))
    with pytest.raises(psycopg.errors.UniqueViolation), translated_errors():
        raise psycopg.errors.UniqueViolation


def test_an_exhausted_pool_is_a_sentence(database_url, monkeypatch):
    """More work at once than the pool has connections is told after the pool's patience, not a traceback."""
    monkeypatch.setattr("prometheus.db.database._POOL_SECONDS", 0.1)
    small = Database(database_url, pool_size=1)
    held = [small.transaction() for _ in range(5)]
    for each in held:
        each.__enter__()
    with pytest.raises(DatabaseUnavailableError, match="connections of this process are in use"), small.transaction():
        pass
    for each in held:
        each.__exit__(None, None, None)
    small.close()


def test_a_sibling_has_a_connection_of_its_own(database):
    """A sibling reaches the same database while every connection of the first is in use."""
    sibling = database.sibling()
    with database.transaction() as ours, sibling.transaction() as theirs:
        query = text("SELECT current_database(), pg_backend_pid()")
        (name, pid), (other_name, other_pid) = ours.execute(query).one(), theirs.execute(query).one()
    assert name == other_name
    assert pid != other_pid
    sibling.close()


def test_threads_share_a_database(database):
    """Transactions of several threads at once do not mix."""
    with database.transaction() as setup:
        setup.execute(text("CREATE TABLE t (n int)"))

    def insert(number):
        with database.transaction() as connection:
            connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": number})

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction() as connection:
        assert connection.execute(text("SELECT count(DISTINCT n) FROM t")).scalar_one() == 16


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def through_jsonb(server):
    """A function that sends a value through jsonb and returns what comes back."""
    database = Database(server.url())
    statement = text("SELECT :value").bindparams(bindparam("value", type_=JSONB)).columns(value=JSONB)
    with database.autocommit() as connection:
        yield lambda value: connection.execute(statement, {"value": value}).scalar_one()
    database.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values)
@example({"tolerance": 1e-9, "zero": -0.0, "one": 1.0, "big": 1e16, "bigger": -1.7976931348623157e308})
@example([5e-324, 0.1 + 0.2, 10**30, 1e22, -1e16, 123456789012345680.0, "e+", {"e+5": 1e25}])
def test_hashes_survive_jsonb(through_jsonb, value):
    """What is stored as jsonb comes back with the same canonical text and hash, of the same types."""
    back = through_jsonb(value)
    assert canonical_json(back) == canonical_json(value)
    assert sha256_of(back) == sha256_of(value)
    assert json.loads(jsonb_text(value)) == back


def test_values_without_a_canonical_form_never_reach_the_database(through_jsonb):
    """Not-a-number and infinity are refused when they are stored, not found years later."""
    for value in (float("nan"), float("inf"), {"x": [float("-inf")]}):
        with pytest.raises(Exception, match="no canonical JSON form"):
            through_jsonb(value)


def test_the_url_of_an_unknown_option_is_refused_when_the_database_is_made():
    """A wrong URL is found where it is given, not at the first query."""
    with pytest.raises(ConfigurationError):
        Database("postgresql://h/x?no_such_option=1")
