"""``prometheus ledger rebuild`` and ``refold``: stored books compared with the events, and late actions booked."""

from datetime import date

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from prometheus.bookkeeping.ledger import ex_date_processing, open_books
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.ingestion.ingest import IngestOptions, ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.scripts.main import main
from tests.integration.ledger_books import load_files
from tests.integration.test_ingest_transactions import FLEET

FIRST, LAST = date(2018, 6, 1), date(2018, 6, 8)


@pytest.fixture
def fleet(database, database_url, tmp_path, monkeypatch):
    """Two accounts whose books are through a Friday."""
    load_files(database, tmp_path, FLEET)
    with database.transaction() as connection:
        open_books(connection, ["US-1", "CA-1"], FIRST)
        for account in ("US-1", "CA-1"):
            ex_date_processing(connection, account, LAST)
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", database_url)
    return database


def ledger(*arguments: str):
    """Call the command."""
    return CliRunner().invoke(main, ["ledger", *arguments])


def act(fleet, tmp_path, *lines: str):
    """Load a file of actions as a vendor sends it."""
    path = tmp_path / "actions.csv"
    path.write_text("date,ticker,type,value,other_ticker,basis_fraction\n" + "\n".join(lines) + "\n")
    assert ingest_file(fleet, path, FileKind.ACTIONS, options=IngestOptions(today=LAST)).loaded


def shares(fleet, account="US-1"):
    """Return the shares of AAA that an account holds."""
    with fleet.transaction() as connection:
        held = books_of(read_books(connection, account).state, account).lots
    return sum(lot.quantity for lot in held if lot.ticker == "AAA")


def test_books_that_are_as_the_events_say(fleet):
    """The check counts what it folded and ends with 0; so does a rebuild, which writes nothing then."""
    checked = ledger("rebuild", "--check")
    assert checked.exit_code == 0
    assert "4 households, 5 events folded, 5 postings, 3 lots\n" in checked.output
    assert "Postings and states are those that the events give." in checked.output
    assert "No corporate action came or changed later" in checked.output
    assert ledger("rebuild").exit_code == 0
    one = ledger("rebuild", "--check", "--account", "US-1")
    assert "1 households, 3 events folded, 3 postings, 2 lots\n" in one.output


@pytest.mark.parametrize(
    ("table", "damage", "said"),
    [
        (
            "ledger_postings",
            "UPDATE ledger_postings SET quantity = 101 WHERE event_id = 'opening:L1' AND account_id = 'US-1'",
            "account US-1: the events do not give posting",
        ),
        (
            "ledger_states",
            "UPDATE ledger_states SET state = 'x' WHERE household = 'US-1'",
            "US-1: the state of 2018-06-01",
        ),
    ],
    ids=["a posting", "a state"],
)
def test_what_is_altered_is_named_and_made_anew(fleet, table, damage, said):
    """Whatever is altered, the check ends with 1 and names the first difference; a rebuild corrects it for good."""
    with fleet.transaction() as connection:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        connection.execute(text(damage))
        connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
    checked = ledger("rebuild", "--check")
    assert checked.exit_code == 1
    assert said in checked.output
    assert "'prometheus ledger rebuild' makes the books anew" in checked.stderr
    rebuilt = ledger("rebuild")
    assert (rebuilt.exit_code, "made anew from the events" in rebuilt.output) == (0, True)
    assert ledger("rebuild", "--check").exit_code == 0
    assert shares(fleet) == 200


def test_a_late_split_is_told_tried_and_booked(fleet, tmp_path):
    """A split that came after the books had passed it is told by check and dry run, and booked when asked for."""
    act(fleet, tmp_path, "2018-06-05,AAA,split,2,,")
    assert shares(fleet) == 200
    checked = ledger("rebuild", "--check", "--account", "US-1")
    assert checked.exit_code == 1
    assert "US-1: an action that came late would book: 200 shares of AAA are 400." in checked.output
    assert "'prometheus ledger refold' books what came late." in checked.stderr
    tried = ledger("refold", "--dry-run")
    assert tried.exit_code == 1
    assert "CA-1: 100 shares of AAA are 200" in tried.output
    assert "2 accounts would be booked again, 0 households refused." in tried.output
    assert shares(fleet) == 200
    done = ledger("refold", "--account", "US-1")
    assert (done.exit_code, "1 accounts were booked again" in done.output) == (0, True)
    assert (shares(fleet), shares(fleet, "CA-1")) == (400, 100)
    assert ledger("refold").exit_code == 0
    assert shares(fleet, "CA-1") == 200
    assert "The books have every corporate action." in ledger("refold").output
    assert ledger("rebuild", "--check").exit_code == 0


def test_a_late_dividend_changes_cash(fleet, tmp_path):
    """What changes cash alone is told in money, and the account's cash follows."""
    act(fleet, tmp_path, "2018-06-05,AAA,dividend,0.5,,")
    assert "US-1: cash changes by 100.00; 1 postings." in ledger("refold").output
    with fleet.transaction() as connection:
        assert connection.execute(text("SELECT cash FROM accounts WHERE account_id = 'US-1'")).scalar_one() == 10_100


def test_a_household_that_cannot_be_booked_is_left_alone(fleet, tmp_path):
    """An action that needs a close which is not there refuses its households, with the reason; the exit code is 1."""
    act(fleet, tmp_path, "2018-06-05,AAA,spinoff_value,2,,")
    refused = ledger("refold")
    assert refused.exit_code == 1
    assert "US-1: left as it is; the spinoff_value of AAA on 2018-06-05 needs the close of that day" in refused.stderr
    assert "0 accounts were booked again, 2 households refused." in refused.output
    assert shares(fleet) == 200


def test_cash_that_was_spent_since_is_not_booked_away(fleet, tmp_path):
    """Cash that a too large dividend brought has left since: the command says so, writes nothing, and ends with 1."""
    act(fleet, tmp_path, "2018-06-05,AAA,dividend,1,,")
    assert ledger("refold", "--account", "US-1").exit_code == 0
    path = tmp_path / "transactions.csv"
    path.write_text("entry_id,date,account,ticker,action,quantity,amount\nx,2018-06-07,US-1,,TRANSFER_OUT,,10150\n")
    assert ingest_file(fleet, path, FileKind.TRANSACTIONS, options=IngestOptions(today=LAST)).inserted == 1
    act(fleet, tmp_path, "2018-06-05,AAA,dividend,0.5,,")
    refused = ledger("refold", "--account", "US-1")
    assert refused.exit_code == 1
    assert "US-1: left as it is; US-1 would have cash of -50." in refused.stderr
    assert ledger("refold", "--account", "US-1", "--dry-run").exit_code == 1
    assert ledger("rebuild", "--check").exit_code == 1
