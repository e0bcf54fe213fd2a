import shutil
import threading
import uuid
from itertools import product

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from prometheus.bootstrap import wiring
from prometheus.bootstrap.settings import Settings
from prometheus.db import migrations
from prometheus.db.database import Database
from prometheus.db.migrations import HEAD_REVISION, require_current_schema, schema_status, upgrade
from prometheus.db.models import Base
from prometheus.domain.phases import LEGAL_EDGES, Phase
from prometheus.foundation.errors import DatabaseError, SchemaError
from prometheus.scripts.main import main
from tests.conftest import administer

#: Everything that is history: its rows are never changed nor removed.
APPEND_ONLY = (
    "archives", "audit_anchors", "blobs", "data_revisions", "engine_run_events",
    "ledger_corrections", "ledger_events", "ledger_postings", "opening_lots", "order_executions",
    "order_settlements", "outbox_events", "risk_models", "run_trades", "runs", "strategies",
)  # fmt: skip

NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op
revision = "next"
down_revision = "{head}"
def upgrade():
    op.create_table("later", sa.Column("n", sa.Integer()))
    op.execute("{statement}")
"""


@pytest.fixture
def empty_url(server):
    """URL of a database without any table, dropped afterwards."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} OWNER prometheus STRATEGY file_copy")
        yield server.url(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database(empty_url):
    """An open database without any table."""
    opened = Database(empty_url)
    yield opened
    opened.close()


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """A function that makes this process a newer version, whose own migration ends with a given statement."""

    def become(statement="SELECT 1"):
        shutil.copytree(migrations.migrations_directory(), tmp_path / "migrations")
        later = NEXT_REVISION.format(statement=statement, head=HEAD_REVISION)
        (tmp_path / "migrations" / "versions" / "next_later.py").write_text(later)
        monkeypatch.setattr(migrations, "migrations_directory", lambda: tmp_path / "migrations")
        monkeypatch.setattr(migrations, "HEAD_REVISION", "next")

    return become


def tables(database):
    """Return the names of all tables."""
    with database.autocommit() as connection:
        return set(inspect(connection).get_table_names())


def db_command(monkeypatch, url, name):
    """Run ``prometheus db NAME`` on a URL."""
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", url)
    return CliRunner().invoke(main, ["db", name])


def test_the_head_in_the_code_is_the_head_of_the_scripts():
    """The revision that the code repeats is the one head of the migration scripts."""
    config = Config()
    config.set_main_option("script_location", str(migrations.migrations_directory()))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD_REVISION]


def test_models_are_what_the_migrations_make(database):
    """Comparing the migrated database with the models finds no difference in tables, columns, types or defaults."""
    with database.transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_check_constraints_are_the_same_in_models_and_migrations(database):
    """Every CHECK of a model is in the database under its name, and no other does."""
    with database.autocommit() as connection:
        inspector = inspect(connection)
        stored = {
            (table, check["name"])
            for table in inspector.get_table_names()
            for check in inspector.get_check_constraints(table)
        }
    wanted = {
        (table.name, str(check.name))
        for table in Base.metadata.tables.values()
        for check in table.constraints
        if type(check).__name__ == "CheckConstraint"
    }
    assert stored == wanted
    assert len(wanted) > 10


@pytest.fixture
def run_row(database):
    """A connection inside a transaction with one account, and a function that makes a run in a given phase."""
    with database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id,"
                " st_rate, lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags)"
                " VALUES ('A', 'A', 'US', 'USD', 'US', 'HIFO', 'B', 0, 0, 0, 0, 0, false, '{}')"
            )
        )

        def make(phase):
            return connection.execute(
                text(
                    "INSERT INTO engine_runs (as_of_date, account_id, region, phase, code_version, error)"
                    " VALUES (date '2020-01-01' + (SELECT count(*)::int FROM engine_runs), 'A', 'US', :phase, 'x',"
                    " CASE WHEN :phase = 'FAILED' THEN '{}'::jsonb END) RETURNING run_id"
                ),
                {"phase": phase},
            ).scalar_one()

        yield connection, make
        connection.rollback()


def edge_is_taken(connection, run_id, target, reset):
    """Try an edge in SQL alone and return whether the database took it; anything but the edge's refusal is raised."""
    with connection.begin_nested() as savepoint:
        connection.execute(text("SELECT set_config('prometheus.reset', :on, true)"), {"on": reset})
        try:
            connection.execute(
                text(
                    "UPDATE engine_runs SET phase = :phase, error = CASE WHEN :phase = 'FAILED' THEN '{}'::jsonb END"
                    " WHERE run_id = :run_id"
                ),
                {"phase": target, "run_id": run_id},
            )
        except IntegrityError as error:
            if error.orig.diag.constraint_name != "engine_runs_phase_edge":
                raise
            savepoint.rollback()
            return False
        savepoint.rollback()
        return True


def test_the_trigger_takes_exactly_the_legal_edges(run_row):
    """All 36 pairs of phases, with and without the reset's mark: the database takes what the table of edges allows."""
    connection, make = run_row
    runs = {phase: make(phase.value) for phase in Phase}
    taken = {
        reset: {
            (start, end)
            for start, end in product(Phase, Phase)
            if edge_is_taken(connection, runs[start], end.value, reset)
        }
        for reset in ("on", "off", "")
    }
    staying = {(phase, phase) for phase in Phase}
    assert taken["on"] == LEGAL_EDGES | staying
    ordinary = {edge for edge in LEGAL_EDGES if edge[0] is not Phase.FAILED} | staying
    assert taken["off"] == taken[""] == ordinary


@pytest.mark.parametrize(("phase", "error"), [("FAILED", "NULL"), ("PERSISTED", "'{}'"), ("RESTING", "NULL")])
def test_a_run_cannot_contradict_itself(run_row, phase, error):
    """A failed run has an error, a persisted one has none, and there is no phase beyond the six."""
    connection, _ = run_row
    with pytest.raises(IntegrityError), connection.begin_nested():
        connection.execute(
            text(
                "INSERT INTO engine_runs (as_of_date, account_id, region, phase, code_version, error)"
                f" VALUES (date '2020-01-01', 'A', 'US', '{phase}', 'x', {error})"
            )
        )


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_history_is_append_only(database, table):
    """UPDATE, DELETE and TRUNCATE of a table that holds history are refused even to its owner, rows or not."""
    column = next(column.name for column in Base.metadata.tables[table].columns if column.identity is None)
    for change in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(IntegrityError, match="append-only") as caught, database.transaction() as connection:
            connection.execute(text(change))
        assert caught.value.orig.diag.constraint_name == "append_only"


def test_truncating_what_history_hangs_on_is_refused(database):
    """History is not emptied through a table that it refers to."""
    with pytest.raises(IntegrityError, match="append-only"), database.transaction() as connection:
        connection.execute(text("TRUNCATE accounts, securities CASCADE"))


def test_every_table_with_the_trigger_is_in_the_list(database):
    """The list above is the whole list: a table that becomes append-only joins these tests."""
    with database.autocommit() as connection:
        tables = connection.execute(
            text("SELECT event_object_table FROM information_schema.triggers WHERE trigger_name LIKE '%append_only'")
        ).scalars()
        truncates = connection.execute(
            text("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%append_only' AND tgtype & 32 > 0")
        ).scalars()
        assert set(tables) == set(APPEND_ONLY) == set(truncates)


def test_the_engines_clock_runs_during_a_transaction(database):
    """engine_now() is the time of the call, not of the transaction's start."""
    with database.transaction() as connection:
        first, frozen = connection.execute(text("SELECT engine_now(), now()")).one()
        connection.execute(text("SELECT pg_sleep(0.02)"))
        second, still = connection.execute(text("SELECT engine_now(), now()")).one()
    assert second > first
    assert still == frozen


def test_upgrade_and_status_say_where_the_database_stands(empty_url, monkeypatch):
    """Status fails before the first upgrade and succeeds after it; the second upgrade finds nothing to do."""
    before = db_command(monkeypatch, empty_url, "status")
    assert (before.exit_code, before.output.count("\n")) == (1, 1)
    assert before.output.endswith(f": at no migration, this version needs {HEAD_REVISION}\n")
    first = db_command(monkeypatch, empty_url, "upgrade")
    assert (first.exit_code, first.output.count("\n")) == (0, 1)
    assert first.output.endswith(f": empty -> {HEAD_REVISION}\n")
    second = db_command(monkeypatch, empty_url, "upgrade")
    assert (second.exit_code, second.output.split(": ")[-1]) == (0, f"already at {HEAD_REVISION}\n")
    after = db_command(monkeypatch, empty_url, "status")
    assert (after.exit_code, after.output.split(": ")[-1]) == (
        0,
        f"at {HEAD_REVISION}, this version needs {HEAD_REVISION}\n",
    )


def test_a_database_that_is_not_migrated_is_refused_and_left_alone(empty_url, empty_database, monkeypatch):
    """A command on somebody's empty database ends with one sentence and exit code 1, and makes no table."""
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", empty_url)
    result = CliRunner().invoke(main, ["show-engine-runs"])
    assert result.exit_code == 1
    assert "is not migrated. Run 'prometheus db upgrade' first. [SCHEMA]" in result.output
    assert tables(empty_database) == set()


def test_upgrades_at_once_migrate_once(empty_url):
    """Of six upgrades that start together one migrates, the others find it done, and shipped rows are there once."""
    barrier = threading.Barrier(6)
    results = []

    def run():
        own = Database(empty_url)
        barrier.wait()
        results.append(wiring.upgrade_database(own))
        own.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [(HEAD_REVISION, HEAD_REVISION)] * 5 + [(None, HEAD_REVISION)]
    own = Database(empty_url)
    with own.autocommit() as connection:
        assert connection.execute(text("SELECT count(*) FROM strategies")).scalar_one() == len(
            wiring.shipped_strategies()
        )
    own.close()


def test_migration_and_shipped_rows_are_one_transaction(empty_database):
    """Where the rows a version brings along cannot be written, the schema is not there either."""

    def seed(connection):
        assert "accounts" in inspect(connection).get_table_names()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        upgrade(empty_database, seed)
    assert tables(empty_database) == set()


def test_an_older_database_is_refused_and_upgraded_on_request(database, next_version):
    """A newer version refuses the older schema with the remedy, and its upgrade moves on from where it stood."""
    next_version()
    with pytest.raises(
        SchemaError, match=rf"is at migration {HEAD_REVISION}, this version needs next\. Run 'prometheus db upgrade'"
    ):
        require_current_schema(database)
    assert upgrade(database) == (HEAD_REVISION, "next")
    assert schema_status(database).is_current
    assert "later" in tables(database)


def test_a_migration_that_fails_leaves_nothing_behind(database, next_version):
    """A migration that fails at its last statement is undone as a whole."""
    next_version("SELECT no_such_column FROM accounts")
    with pytest.raises(SchemaError, match="cannot be migrated, and nothing in it was changed"):
        upgrade(database)
    assert schema_status(database).current == HEAD_REVISION
    assert "later" not in tables(database)


def test_a_failure_that_is_the_migrations_own_is_not_explained_away(database, next_version):
    """A migration that violates a constraint raises that, and is undone as well."""
    next_version("INSERT INTO engine_flags (flag_id) VALUES (2)")
    with pytest.raises(IntegrityError):
        upgrade(database)
    assert schema_status(database).current == HEAD_REVISION


def test_a_newer_database_is_refused_by_every_command(database, database_url, monkeypatch):
    """A schema from a later version is neither used nor touched: status, upgrade and work all say so."""
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert db_command(monkeypatch, database_url, "status").exit_code == 1
    refused = db_command(monkeypatch, database_url, "upgrade")
    assert refused.exit_code == 1
    assert "at migration 9999, which this version does not know" in refused.output
    assert refused.output.count("\n") == 1
    with pytest.raises(SchemaError, match="Install the newer version; do not downgrade"):
        require_current_schema(database)
    assert schema_status(database).current == "9999"


def test_a_database_with_other_tables_is_not_taken_over(empty_database, empty_url, monkeypatch):
    """A database that holds somebody's table of the same name is refused, unchanged."""
    with empty_database.transaction() as connection:
        connection.execute(text("CREATE TABLE accounts (n int)"))
    refused = db_command(monkeypatch, empty_url, "upgrade")
    assert refused.exit_code == 1
    assert 'relation "accounts" already exists' in refused.output
    assert "use a database of its own" in refused.output
    assert tables(empty_database) == {"accounts"}


def test_a_read_only_server_is_one_sentence_and_nothing_is_done(empty_url, empty_database, monkeypatch):
    """Upgrading through a replica ends with a sentence that says what it is, and reading its status works."""
    replica = f"{empty_url}&options=-c%20default_transaction_read_only%3Don"
    refused = db_command(monkeypatch, replica, "upgrade")
    assert refused.exit_code == 1
    assert "The database is read-only" in refused.output
    assert "[READ_ONLY]" in refused.output
    assert refused.output.count("\n") == 1
    assert db_command(monkeypatch, replica, "status").output.endswith(f"this version needs {HEAD_REVISION}\n")
    assert tables(empty_database) == set()


def test_a_migrated_replica_can_be_read(database_url):
    """Commands that only read work on a replica; one that writes gets the sentence."""
    replica = Settings(PROMETHEUS_DATABASE_URL=f"{database_url}&options=-c%20default_transaction_read_only%3Don")
    with wiring.open_database(replica) as database:
        assert wiring.upgrade_database(database) == (HEAD_REVISION, HEAD_REVISION)
        with pytest.raises(DatabaseError, match="read-only") as caught, database.transaction() as connection:
            connection.execute(text("UPDATE engine_flags SET frozen = true"))
    assert caught.value.code == "READ_ONLY"


def test_a_server_that_is_too_old_is_refused(database, monkeypatch):
    """A server older than the oldest supported one is refused before anything is read from it."""
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 99)
    for refused in (require_current_schema, upgrade):
        with pytest.raises(SchemaError, match="The server is PostgreSQL 18; 99 is the oldest that works"):
            refused(database)


def test_a_database_in_another_encoding_is_refused(server):
    """A database that is not in UTF8, as a server set up without a locale makes it, is refused with the remedy."""
    with administer(server) as admin:
        admin.execute("CREATE DATABASE ascii_only TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C' OWNER prometheus")
    unfit = Database(server.url("ascii_only"))
    for refused in (require_current_schema, upgrade):
        with pytest.raises(SchemaError, match="is encoded in SQL_ASCII; it must be UTF8"):
            refused(unfit)
    unfit.close()
    with administer(server) as admin:
        admin.execute("DROP DATABASE ascii_only WITH (FORCE)")


def test_an_embedded_database_is_migrated_on_first_use(server_home, server):
    """What is ours is migrated without being asked."""
    ours = Settings(PROMETHEUS_HOME=str(server_home), PROMETHEUS_DATABASE_URL=None)
    with wiring.open_database(ours) as database:
        assert schema_status(database).is_current
        assert database.url == server.url()
