"""The demo as a new user meets it: one command of the installed wheel on an empty home, then the same command again."""

import copy
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from prometheus.audit.recorded_run import readable_run
from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.db.database import Database
from prometheus.db.embedded.cluster import DATABASE
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.db.repositories.ledger_inputs import households_of
from prometheus.db.repositories.ledger_postings import postings_after
from prometheus.db.repositories.runs import load_run
from prometheus.simulation.corporate_events import DEMO_SESSIONS
from prometheus.simulation.demo_files import write_demo_files
from tests.acceptance.independent_check import check_run, read_fleet, read_market
from tests.installed import Installation

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo"), pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Demo:
    """The finished demo: what both calls printed, the tables after each, and the files it was made from."""

    home: Path
    first: subprocess.CompletedProcess
    second: subprocess.CompletedProcess
    after_first: dict
    after_second: dict
    files: Path
    database: Database
    server: EmbeddedServer
    installed: Installation


def prometheus(home: Path, installed: Installation, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command of the installed wheel in a home of its own."""
    return installed.run("prometheus", *arguments, PROMETHEUS_HOME=str(home), PROMETHEUS_EMBEDDED_LINGER_SECONDS="3")


def contents(server):
    """Return each table's number of rows and a digest of all of them."""
    digests = {}
    with psycopg.connect(host=str(server.socket_dir), user="postgres", dbname=DATABASE) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t")
            digests[table] = connection.execute(query.format(sql.Identifier(table))).fetchone()
    return digests


@pytest.fixture(scope="module")
def demo(tmp_path_factory, installed_wheel):
    """Run the demo twice in a fresh home outside private directories, which the server's own user could not enter."""
    home = Path(tempfile.mkdtemp(prefix="prometheus-demo-home-"))
    home.chmod(0o711)
    files = tmp_path_factory.mktemp("demo-files")
    write_demo_files(files)
    server = EmbeddedServer(home, linger_seconds=3.0)
    first = prometheus(home, installed_wheel, "demo")
    database = Database(server.ensure_running())
    after_first = contents(server)
    second = prometheus(home, installed_wheel, "demo")
    yield Demo(home, first, second, after_first, contents(server), files, database, server, installed_wheel)
    database.close()
    release(home)
    for _ in range(150):
        if not (home / "data" / "postmaster.pid").exists():
            break
        time.sleep(0.1)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def runs(demo):
    """Return every run of the demo by account, first to last, as ``prometheus runs show`` prints it."""
    by_account = {}
    with demo.database.transaction() as connection:
        for account_id in read_fleet(demo.files):
            for number in range(1, len(DEMO_SESSIONS) + 1):
                record, trades = load_run(connection, account_id, number)
                text = json.dumps(readable_run(record, trades))
                by_account.setdefault(account_id, []).append(json.loads(text, parse_float=Decimal))
    return by_account


def test_demo_persists_sixty_runs_and_prints_them(demo):
    """The first call ends well: 20 accounts PERSISTED on each of three sessions, and a table of all 60 decisions."""
    assert demo.first.returncode == 0, demo.first.stderr
    counts = [line.split() for line in demo.first.stdout.splitlines() if "PERSISTED" in line.split()]
    assert {day for day, *_ in counts} == {session.isoformat() for session in DEMO_SESSIONS}
    assert sum(int(number) for *_, number in counts) == 60
    decisions = [line for line in demo.first.stdout.splitlines() if " RUN-00" in line and "ACC-" in line]
    assert sum("OPTIMAL" in line.split() for line in decisions) == 60


def test_demo_leaves_nothing_where_it_was_called(demo):
    """The demo runs away from the checkout, with an empty home of the user, and writes into neither directory."""
    assert list(demo.installed.elsewhere.iterdir()) == []


def test_second_demo_changes_no_row(demo):
    """The second call ends well, says that there is nothing to do and leaves every table as it was."""
    assert demo.second.returncode == 0, demo.second.stderr
    assert "There is nothing to do." in demo.second.stdout
    assert demo.after_first["runs"][0] == 60
    assert demo.after_second == demo.after_first


def test_command_prints_what_is_checked(demo, runs):
    """The JSON of the command is the record that the audit below examines."""
    shown = prometheus(demo.home, demo.installed, "runs", "show", "ACC-007", "RUN-002", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout, parse_float=Decimal) == runs["ACC-007"][1]


@pytest.mark.parametrize("number", range(1, len(DEMO_SESSIONS) + 1))
def test_every_run_agrees_with_the_files(demo, runs, number):
    """Each session's twenty runs agree with the synthetic files and the runs before them, locks and splits included."""
    fleet = read_fleet(demo.files)
    market = read_market(demo.files, DEMO_SESSIONS[number - 1])
    differences = {
        account_id: deviations
        for account_id, mine in runs.items()
        if (deviations := check_run(mine[number - 1], market, fleet, mine[: number - 1]))
    }
    assert differences == {}
    assert len(runs) == 20
    if number > 1:
        assert all(mine[number - 1]["snapshot"]["buy_locks"] for mine in runs.values())


def test_a_purchase_after_a_loss_sale_is_found(demo, runs):
    """A purchase on the second session of a name sold at a loss on the first is reported."""
    fleet, market = read_fleet(demo.files), read_market(demo.files, DEMO_SESSIONS[1])
    first, second = runs["ACC-001"][0], copy.deepcopy(runs["ACC-001"][1])
    traded = {trade["ticker"] for trade in second["trades"]}
    ticker = next(
        trade["ticker"]
        for trade in first["trades"]
        if Decimal(trade["realized_gain"] or 0) < 0
        and trade["ticker"] not in traded
        and market.price_date[trade["ticker"]] == market.as_of
    )
    bought = next(trade for trade in second["trades"] if trade["side"] == "BUY")
    second["trades"].append({**bought, "ticker": ticker, "lot_id": "NEW"})
    differences = check_run(second, market, fleet, [first])
    assert f"ACC-001: {ticker} is bought within 30 days of a sale of its group at a loss" in differences


def test_books_are_those_of_the_events(demo):
    """After three days every household's postings and states are what folding all of its events gives."""
    fleet = read_fleet(demo.files)
    with demo.database.transaction() as connection:
        for household in set(households_of(connection, fleet).values()):
            proof = rebuild_check(connection, household)
            assert proof.differences == ()
            assert proof.events > 0
        for account_id, account in fleet.items():
            assert len(postings_after(connection, [account_id], None)) > len(account.lots)


def test_sums_of_the_postings_equal_the_lots(demo):
    """By SQL alone the shares and basis of every lot and the cash of every account are sums of postings."""
    with psycopg.connect(host=str(demo.server.socket_dir), user="postgres", dbname=DATABASE) as connection:
        sums = connection.execute("""
            SELECT account_id, lot_id, sum(quantity), sum(adjusted_basis) FROM ledger_postings
            WHERE lot_id IS NOT NULL GROUP BY account_id, lot_id HAVING sum(quantity) <> 0 OR sum(adjusted_basis) <> 0
        """).fetchall()
        moved = connection.execute("""
            SELECT account_id, accounts.cash, sum(posting.cash), sum(posting.cash) FILTER (WHERE kind = 'OPENING')
            FROM accounts JOIN ledger_postings AS posting USING (account_id) GROUP BY account_id, accounts.cash
        """).fetchall()
    fleet = read_fleet(demo.files)
    with demo.database.transaction() as connection:
        households = households_of(connection, fleet)
        held = {name: books_of(read_books(connection, households[name]).state, name) for name in fleet}
    lots = {(name, lot.lot_id): (lot.quantity, lot.adjusted_basis) for name in fleet for lot in held[name].lots}
    assert {(name, lot_id): (shares, basis) for name, lot_id, shares, basis in sums} == lots
    brought = {account_id: Decimal(account.row["cash"]) for account_id, account in fleet.items()}
    assert {account_id: opening for account_id, _, _, opening in moved} == brought
    assert all(cash == amount for _, cash, amount, _ in moved)


def test_every_trade_is_filled_once(demo):
    """By SQL alone: each trade line of a run has one posting of its quantity, money and gain, and none is left."""
    with psycopg.connect(host=str(demo.server.socket_dir), user="postgres", dbname=DATABASE) as connection:
        unequal, trades = connection.execute("""
            WITH planned AS (
                SELECT account_id, as_of_date AS day, ticker, side, CASE side WHEN 'SELL' THEN lot_id END AS lot_id,
                       CASE side WHEN 'SELL' THEN -run_trades.quantity ELSE run_trades.quantity END AS quantity,
                       CASE side WHEN 'SELL' THEN amount ELSE -amount END AS amount,
                       coalesce(realized_gain, 0) AS gain
                FROM runs JOIN run_trades USING (run_id)
            ), booked AS (
                SELECT account_id, day, ticker, kind AS side, CASE kind WHEN 'SELL' THEN lot_id END AS lot_id,
                       quantity, cash AS amount, realized_gain AS gain
                FROM ledger_postings WHERE kind IN ('BUY', 'SELL')
            )
            SELECT (SELECT count(*) FROM (
                       (TABLE planned EXCEPT ALL TABLE booked) UNION ALL (TABLE booked EXCEPT ALL TABLE planned)
                   ) differing), (SELECT count(*) FROM planned)
        """).fetchone()
    assert unequal == 0
    assert trades > 1000
