"""Whoever alters the record with every right and no trigger in the way is found, and what was altered is named."""

import json

import psycopg
import pytest

from prometheus.db.database import Database
from tests.conftest import clone_of
from tests.integration.audited_fleet import DAYS, RUNS, as_superuser
from tests.integration.commands_fleet import call, copy_of

SECOND = "WHERE account_id = 'ACC-1' AND run_seq = 2"
ITS_TRADE = "WHERE run_id = (SELECT run_id FROM runs WHERE account_id = 'ACC-1' AND run_seq = 2)"
FIRST_TRADE = f"{ITS_TRADE} AND trade_no = 1"
COLUMNS = "run_id, ticker, side, quantity, price, amount, cost"
LAST = "WHERE account_id = 'ACC-1' AND run_seq = 3"

#: The snapshot's prices, the first of them with one more digit in front.
DEARER = "to_jsonb('1' || (snapshot #>> '{universe,price}'))"


@pytest.fixture(scope="module")
def original(server, audited_template):
    """URL of the untouched fleet, with an anchor of its second day."""
    with clone_of(server, audited_template) as url:
        assert call(url, "audit", "anchor", "--as-of", DAYS[1]).exit_code == 0
        yield url


@pytest.fixture
def fleet(server, original):
    """URL of a copy of the fleet to tamper with."""
    with copy_of(server, original) as url:
        yield url


def findings(url, *arguments: str):
    """Return what verify-audit finds as (kind, account, run, message), after checking its exit code."""
    done = call(url, "verify-audit", "--format", "json", *arguments)
    found = [tuple(one.values()) for one in json.loads(done.stdout)["findings"]]
    assert done.exit_code == (1 if found else 0)
    return found


def test_untouched_record_passes(original):
    """Nothing is found in what nobody altered, and the command says how much it looked at."""
    done = call(original, "verify-audit")
    assert done.exit_code == 0
    assert done.stdout == f"4 chains, {RUNS} runs, 4 matrices, 1 anchors: nothing altered\n"


@pytest.mark.parametrize(
    ("statements", "kind", "run", "message"),
    [
        ((f"UPDATE run_trades SET amount = amount + 0.01 {ITS_TRADE} AND trade_no = 2",), "ALTERED", 2, "trade 2 ("),
        ((f"DELETE FROM run_trades {ITS_TRADE} AND trade_no = 1",), "ALTERED", 2, "a trade is missing"),
        (
            (f"INSERT INTO run_trades ({COLUMNS}, trade_no) SELECT {COLUMNS}, 99 FROM run_trades {FIRST_TRADE}",),
            "ALTERED",
            2,
            "a trade is added",
        ),
        (
            (
                f"UPDATE run_trades SET trade_no = 98 {ITS_TRADE} AND trade_no = 1",
                f"UPDATE run_trades SET trade_no = 1 {ITS_TRADE} AND trade_no = 2",
                f"UPDATE run_trades SET trade_no = 2 {ITS_TRADE} AND trade_no = 98",
            ),
            "ALTERED",
            2,
            "the trades are in another order from trade 1 on",
        ),
        (
            (f"UPDATE runs SET snapshot = jsonb_set(snapshot, '{{cash}}', '\"1.23\"') {SECOND}",),
            "ALTERED",
            2,
            "snapshot.cash was altered",
        ),
        (
            (f"UPDATE runs SET snapshot = jsonb_set(snapshot, '{{universe,price}}', {DEARER}) {SECOND}",),
            "ALTERED",
            2,
            "snapshot.universe was altered",
        ),
        (
            (f"UPDATE runs SET params_snapshot = params_snapshot || '{{\"tax_weight\": 2}}' {SECOND}",),
            "ALTERED",
            2,
            "params_snapshot.tax_weight was altered",
        ),
        (
            (f"UPDATE runs SET result = result - 'nav' {SECOND}",),
            "ALTERED",
            2,
            "fields, ",
        ),
        ((f"UPDATE runs SET objective = objective + 1e-12 {SECOND}",), "ALTERED", 2, "column objective was altered"),
        ((f"UPDATE runs SET run_hash = sha256(run_hash) {SECOND}",), "ALTERED", 2, "run_hash was altered"),
        ((f"UPDATE runs SET prev_hash = sha256(prev_hash) {SECOND}",), "ALTERED", 2, "prev_hash was altered"),
        (
            (f"UPDATE runs SET digests = jsonb_set(digests, '{{trades,sha256}}', '\"00\"') {SECOND}",),
            "ALTERED",
            2,
            "the stored digests were altered",
        ),
        ((f"UPDATE runs SET digests = '{{}}' {SECOND}",), "ALTERED", 2, "the stored digests cannot be read"),
        ((f"DELETE FROM runs {SECOND}",), "MISSING", 2, "is missing"),
        ((f"DELETE FROM runs {LAST}",), "MISSING", 3, "the last ones are gone"),
        (
            (f"DELETE FROM runs {LAST}", "UPDATE accounts SET last_run_seq = 2 WHERE account_id = 'ACC-1'"),
            "MISSING",
            None,
            f"has no record of {DAYS[2]}, which the engine persisted",
        ),
        (
            ("UPDATE accounts SET last_run_seq = 2 WHERE account_id = 'ACC-1'",),
            "ALTERED",
            None,
            "the count was altered",
        ),
        (
            (
                f"UPDATE runs SET run_seq = 99 {SECOND}",
                f"UPDATE runs SET run_seq = 2 {LAST}",
                "UPDATE runs SET run_seq = 3 WHERE account_id = 'ACC-1' AND run_seq = 99",
            ),
            "REORDERED",
            2,
            f"was recorded as RUN-003, on {DAYS[2]}",
        ),
        ((f"UPDATE runs SET run_seq = 7 {SECOND}",), "MISSING", 2, "is missing"),
        (
            (f"DELETE FROM runs {SECOND}", f"UPDATE runs SET run_seq = 2 {LAST}"),
            "REORDERED",
            2,
            "was recorded as RUN-003",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else None,
)
def test_altered_chain_is_named(server, fleet, statements, kind, run, message):
    """The first altered, missing or reordered record of a chain is named, and no other account is accused."""
    as_superuser(fleet, server, *statements)
    found = [one for one in findings(fleet) if one[0] != "ANCHOR"]
    assert [(one[0], one[1], one[2]) for one in found] == [(kind, "ACC-1", run)]
    assert message in found[0][3]
    assert findings(fleet, "--account", "ACC-2") == []


def test_one_byte_of_a_matrix_is_found(server, fleet):
    """A matrix with one other byte is found, with the first run that was decided on it."""
    flipped = "set_byte(data, length(data) - 1, get_byte(data, length(data) - 1) # 1)"
    address = f"(SELECT loadings_sha256 FROM runs {SECOND})"
    as_superuser(fleet, server, f"UPDATE blobs SET data = {flipped} WHERE sha256 = {address}")
    (found,) = findings(fleet)
    assert found[:3] == ("BLOB", "ACC-1", 1)
    assert "does not match its address" in found[3]
    done = call(fleet, "replay", "ACC-1", "2")
    assert done.exit_code == 1
    assert "BLOB_CORRUPT" in done.stderr


def test_missing_matrix_is_found(server, fleet):
    """A benchmark's weights that are gone are found although no column points to them."""
    address = f"(SELECT decode(snapshot -> 'benchmark' ->> 'weights_sha256', 'hex') FROM runs {SECOND})"
    as_superuser(fleet, server, f"DELETE FROM blobs WHERE sha256 = {address}")
    (found,) = findings(fleet)
    assert found[:3] == ("BLOB", "ACC-1", 1)
    assert "is missing" in found[3]


def test_anchor_knows_a_run_that_every_other_trace_was_removed_of(server, fleet):
    """A last run removed with its count, its engine run and its events is still known to the anchor."""
    assert call(fleet, "audit", "anchor", "--as-of", DAYS[2]).exit_code == 0
    gone = "(SELECT run_id FROM engine_runs WHERE account_id = 'ACC-1' AND as_of_date = '2024-07-02')"
    as_superuser(
        fleet,
        server,
        f"DELETE FROM runs {LAST}",
        "UPDATE accounts SET last_run_seq = 2 WHERE account_id = 'ACC-1'",
        f"DELETE FROM engine_run_events WHERE run_id = {gone}",
        "DELETE FROM engine_runs WHERE account_id = 'ACC-1' AND as_of_date = '2024-07-02'",
    )
    (found,) = findings(fleet)
    assert found[:3] == ("ANCHOR", "ACC-1", 3)
    assert found[3] == f"is missing; the anchor of {DAYS[2]} knows it as the last run"


def test_digest_kept_outside_finds_what_the_database_cannot(server, fleet):
    """A chain forged together with every anchor inside fails against the digest that was printed before."""
    day = DAYS[2]
    printed = call(fleet, "audit", "anchor", "--as-of", day)
    assert printed.exit_code == 0
    published = printed.stdout.strip()
    assert published.startswith(f"{day}=")
    assert findings(fleet, "--anchor", published) == []
    as_superuser(
        fleet,
        server,
        "DELETE FROM audit_anchors",
        "DELETE FROM runs WHERE account_id = 'ACC-3'",
        "DELETE FROM run_trades WHERE run_id NOT IN (SELECT run_id FROM runs)",
        "UPDATE accounts SET last_run_seq = 0 WHERE account_id = 'ACC-3'",
        "DELETE FROM engine_run_events WHERE run_id NOT IN (SELECT run_id FROM runs)",
        "DELETE FROM engine_runs WHERE run_id NOT IN (SELECT run_id FROM runs)",
    )
    assert findings(fleet) == []
    (found,) = findings(fleet, "--anchor", published)
    assert found[0] == "ANCHOR"
    assert "the published one is" in found[3]


def test_altered_anchor_is_found(server, fleet):
    """Heads that do not have the anchor's digest, and a hash that is no head's, are found."""
    as_superuser(fleet, server, "UPDATE audit_anchors SET heads = heads - 'ACC-2'")
    (found,) = findings(fleet)
    assert found == ("ANCHOR", None, None, f"the anchor of {DAYS[1]} was altered")


def test_same_anchor_is_stored_once_and_outlives_later_runs(fleet):
    """An anchor asked for again is the same one, and later runs do not break it."""
    first = call(fleet, "audit", "anchor", "--as-of", DAYS[1])
    assert "stored before" in first.stderr
    assert findings(fleet, "--anchor", first.stdout.strip()) == []
    assert call(fleet, "audit", "anchor", "--as-of", "2020-01-02").exit_code == 2


def test_misuse_is_refused(original):
    """An unknown account, a digest that is none and a day that is none end with exit code 2."""
    assert call(original, "verify-audit", "--account", "ACC-9").exit_code == 2
    assert call(original, "verify-audit", "--anchor", "2024-06-28=12").exit_code == 2
    assert call(original, "verify-audit", "--anchor", "yesterday=" + "0" * 64).exit_code == 2


@pytest.mark.parametrize(
    "table", ["runs", "run_trades", "blobs", "risk_models", "audit_anchors", "ledger_events", "archives"]
)
def test_engine_role_may_not_change_history(server, original, table):
    """As the role the engine works as, UPDATE, DELETE, TRUNCATE and switching triggers off fail in the database."""
    name = original.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(
        host=str(server.socket_dir), user="prometheus", dbname=name, options="-c role=prometheus_engine"
    ) as connection:
        column = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attidentity = ''"
            " ORDER BY attnum LIMIT 1",
            [table],
        ).fetchone()[0]
        for statement in (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
            f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("SET session_replication_role = replica")


def test_commands_work_as_the_engine_role(original):
    """Every session of a command takes the role that owns nothing; the login itself stays what it is."""
    from prometheus.bootstrap.settings import Settings
    from prometheus.bootstrap.wiring import open_database
    from prometheus.db.privileges import current_role

    settings = Settings(PROMETHEUS_DATABASE_URL=original)
    with open_database(settings) as database, database.transaction() as connection:
        assert current_role(connection) == "prometheus_engine"
        sibling = database.sibling()
        with sibling.transaction() as other:
            assert current_role(other) == "prometheus_engine"
        sibling.close()
    with open_database(settings, as_owner=True) as database, database.transaction() as connection:
        assert current_role(connection) == "prometheus"


def test_role_is_not_taken_before_it_has_rights(server):
    """In a database where the role was granted nothing yet, a session stays what its login is."""
    from prometheus.db.privileges import ENGINE_ROLE, current_role

    database = Database(server.url("postgres"), role=ENGINE_ROLE)
    with database.transaction() as connection:
        assert current_role(connection) == "prometheus"
    database.close()
