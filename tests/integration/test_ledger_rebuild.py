from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text

from prometheus.bookkeeping.journal import prove_tables, write_tables
from prometheus.db.repositories.accounts import load_books, save_books
from prometheus.domain.books import Books, Transaction, TransactionType
from prometheus.domain.lots import TaxLot
from prometheus.ingestion.ingest import IngestOptions, ingest_directory

FILES = {
    "securities.csv": "ticker,name,sector,sub_industry\nAAA,Alpha,Energy,\nBBB,Beta,Energy,\n",
    "prices.csv": "date,ticker,close,volume\n2018-05-31,AAA,10,1\n2018-05-31,BBB,20,1\n",
    "benchmark.csv": "date,ticker,weight\n2018-05-31,AAA,0.5\n2018-05-31,BBB,0.5\n",
    "accounts.csv": (
        "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
        "fractional_shares,tags\n"
        "ACC-1,One,US,USD,US,HIFO,SP500,0.37,0.2,0.038,1000.10,true,\n"
        "ACC-2,Two,US,USD,US,FIFO,SP500,0.37,0.2,0,250,false,\n"
        "ACC-3,Three,US,USD,US,FIFO,SP500,0.37,0.2,0,0,false,\n"
    ),
    "lots.csv": (
        "account_id,lot_id,ticker,acquired_on,quantity,cost_basis\n"
        "ACC-1,L1,AAA,2017-01-03,10,95.50\nACC-1,L2,BBB,2018-05-30,1.5,33\nACC-2,L1,AAA,2016-03-01,7,70\n"
    ),
}


@pytest.fixture
def folder(tmp_path):
    """A small fleet as files."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.fixture
def load(database, folder):
    """Loads the folder into the database."""

    def run():
        reports = ingest_directory(database, folder, options=IngestOptions(today=date(2018, 6, 1)))
        assert all(report.loaded for report in reports), [report.findings for report in reports]

    run()
    return run


def proofs(database, accounts=None):
    """Return the proofs by account."""
    with database.transaction() as connection:
        return {proof.account_id: proof for proof in prove_tables(connection, accounts)}


def execute(database, statement):
    """Run one statement of SQL and return its rows."""
    with database.transaction() as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def test_a_loaded_fleet_equals_its_journal(database, load):
    """Opening lots and opening cash are journal rows: replayed they give the tables, for an empty account too."""
    found = proofs(database)
    assert {account: (proof.rows, proof.lots) for account, proof in found.items()} == {
        "ACC-1": (3, 2), "ACC-2": (2, 1), "ACC-3": (1, 0),
    }  # fmt: skip
    assert not any(proof.differences for proof in found.values())
    cash = "SELECT account_id, amount, external_id FROM transactions WHERE lot_id IS NULL ORDER BY 1"
    assert execute(database, cash) == [
        ("ACC-1", Decimal("1000.10"), "opening:cash"),
        ("ACC-2", Decimal(250), "opening:cash"),
        ("ACC-3", Decimal(0), "opening:cash"),
    ]


def test_loading_again_adds_no_row(database, load):
    """The opening cash is written once, however often the file comes."""
    before = execute(database, "SELECT count(*) FROM transactions")
    load()
    assert execute(database, "SELECT count(*) FROM transactions") == before


def test_corrected_opening_cash_adds_the_difference(database, load, folder):
    """Before the first day a corrected opening cash appends a row with the difference; no row is rewritten."""
    accounts = folder / "accounts.csv"
    accounts.write_text(accounts.read_text().replace("1000.10", "900"))
    load()
    rows = "SELECT amount, external_id FROM transactions WHERE lot_id IS NULL AND account_id = 'ACC-1' ORDER BY txn_id"
    assert execute(database, rows) == [
        (Decimal("1000.10"), "opening:cash"), (Decimal("-100.10"), "opening:cash:2"),
    ]  # fmt: skip
    assert not any(proof.differences for proof in proofs(database).values())


def test_odd_names_come_through(database, load):
    """A lot called with a tab, a line break, a backslash, a quote or letters of any script is proved like another."""
    for name in ("a\tb", "a\nb", "a\\b", "\\N", "~W1", 'a"b', "é中"):
        row = Transaction(
            TransactionType.BUY,
            date(2018, 6, 4),
            "AAA",
            name,
            quantity=Decimal(1),
            basis=Decimal(5),
            details={"acquired_on": "2018-06-04", "holding_period_start": "2018-06-04"},
        )
        lot = TaxLot(name, "AAA", date(2018, 6, 4), Decimal(1), Decimal(5), Decimal(5), date(2018, 6, 4))
        with database.transaction() as connection:
            before = load_books(connection, "ACC-2")
            after = Books((*before.lots, lot), before.cash)
            save_books(
                connection, "ACC-2", before=before, after=after, transactions=[row], books_as_of=date(2018, 6, 4)
            )
    found = proofs(database, ["ACC-2"])["ACC-2"]
    assert (found.lots, found.differences) == (8, ())


def test_rebuild_writes_nothing_where_all_is_well(database, load):
    """An account that agrees with its journal is left alone."""
    with database.transaction() as connection:
        assert not any(proof.differences for proof in write_tables(connection))


def test_a_journal_that_cannot_be_replayed_is_named(database, load):
    """A row that takes more than its lot holds stops the proof with account and row."""
    from prometheus.foundation.errors import AccountingError

    row = Transaction(TransactionType.SELL, date(2018, 6, 4), "AAA", "L1", quantity=Decimal(-8))
    with database.transaction() as connection:
        save_books(connection, "ACC-2", before=Books(), after=Books(), transactions=[row], books_as_of=date(2018, 6, 4))
    with pytest.raises(AccountingError, match=r"journal of ACC-2 cannot be replayed; its row 3 of lot L1 takes 8"):
        proofs(database, ["ACC-2"])
