"""Loading files into a real database: what is inserted, revised, left alone, refused."""

import threading
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from psycopg.errors import IntegrityConstraintViolation

from prometheus.bookkeeping.ledger import book_executed, open_books
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.db.database import driver_connection
from prometheus.domain.books import Fill
from prometheus.domain.lots import Side
from prometheus.foundation.errors import RequestError
from prometheus.ingestion.ingest import ingest_directory, ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.ingestion.reports import FileStatus, IngestOptions

OPTIONS = IngestOptions(today=date(2024, 6, 28))
SKIPPING = IngestOptions(today=date(2024, 6, 28), skip_bad_rows=True)

FILES = {
    "securities.csv": """ticker,name,sector,sub_industry,first_date,last_date,missing_days
AAA,"Alpha, Inc.",Energy,,2020-01-02,2024-06-28,0
BBB,Beta,Utilities,Water,,,
CCC,Gamma "G",Energy,Oil,,,3
""",
    "corporate_actions.csv": """ticker,date,value,type
AAA,2024-06-27,2,split
BBB,2024-06-27,0.123456,dividend
""",
    "prices.csv": """date,ticker,close,adj_close,volume
2024-06-26,AAA,20.00,10.0000,1000
2024-06-27,AAA,10.10,10.1000,2000
2024-06-26,BBB,50,49.876544,
2024-06-27,BBB,50,50,10
""",
    "benchmark.csv": """date,ticker,weight,market_cap_musd,shares_source,shares_asof
2024-05-31,AAA,0.60000000,1,x,2024-01-01
2024-05-31,BBB,0.40000000,1,x,2024-01-01
2024-06-28,AAA,0.6,1,x,2024-01-01
2024-06-28,BBB,0.3,1,x,2024-01-01
2024-06-28,CCC,0.1,1,x,2024-01-01
""",
    "borrow.csv": """date,ticker,annual_rate
2024-06-27,AAA,0.0025
""",
    "accounts.csv": """account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,"""
    """st_rate,lt_rate,niit_rate,cash,fractional_shares,tags
ACC-1,One,US,USD,US,HIFO,SP500,0.37,0.2,0.038,1000.10,false,te:tight;esg:no-tobacco;te:tight
ACC-2,Two,CA,CAD,CA,ACB,SP500,0.2676,0.2676,0.0,5,true,
""",
    "lots.csv": """account_id,lot_id,ticker,acquired_on,quantity,cost_basis
ACC-1,L1,AAA,2023-01-03,100,1000.50
ACC-1,L2,BBB,2024-06-20,7,350
ACC-2,L1,AAA,2022-01-04,0.0002,0.01
""",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A directory with one small file of each kind."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def loaded(database, folder):
    """A database into which those files were loaded."""
    reports = ingest_directory(database, folder, options=OPTIONS)
    assert all(report.loaded for report in reports), [list(report.findings) for report in reports]
    return database


def rows(database, query, *values: object):
    """The rows of a query."""
    with database.transaction() as connection:
        return driver_connection(connection).execute(query, values).fetchall()


def execute(database, statement, *values: object):
    """Run a statement."""
    with database.transaction() as connection:
        driver_connection(connection).execute(statement, values)


def dump(database):
    """Every row of every table and the position of every sequence, as the database would write them to a file."""
    with database.transaction() as connection:
        raw = driver_connection(connection)
        tables = raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        content = {}
        for (table,) in tables:
            lines = raw.execute(f"SELECT t.ctid::text, t.xmin::text, t.* FROM {table} t ORDER BY t.ctid").fetchall()
            content[table] = [tuple(map(str, line)) for line in lines]
        sequences = raw.execute("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1").fetchall()
    return content, sequences


def replaced(folder: Path, name: str, old: str, new: str) -> Path:
    """The file with one thing changed."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def reload(database, path, kind, options=OPTIONS):
    """Load a file that must load."""
    report = ingest_file(database, path, FileKind(kind), options=options)
    assert report.loaded, list(report.findings)
    return report


def test_directory_loads_every_kind_in_dependency_order(database, folder):
    """Securities come before what refers to them, actions before prices, accounts before lots."""
    reports = ingest_directory(database, folder, options=OPTIONS)
    assert [report.kind.value for report in reports] == [
        "securities", "actions", "prices", "benchmark", "borrow", "accounts", "lots",
    ]  # fmt: skip
    assert [(report.rows_read, report.inserted) for report in reports] == [
        (3, 3), (2, 2), (4, 4), (5, 5), (1, 1), (2, 2), (3, 3),
    ]  # fmt: skip


def test_securities_are_stored_with_defaults(loaded):
    """An absent group is the ticker, an empty sub-industry the empty text, an empty date null; quotes are kept."""
    assert rows(loaded, "SELECT ticker, name, sub_industry, group_id, first_date FROM securities ORDER BY 1") == [
        ("AAA", "Alpha, Inc.", "", "AAA", date(2020, 1, 2)),
        ("BBB", "Beta", "Water", "BBB", None),
        ("CCC", 'Gamma "G"', "Oil", "CCC", None),
    ]


def test_prices_are_stored_exactly(loaded):
    """Text becomes NUMERIC without passing through a float; an empty volume is null."""
    stored = rows(
        loaded,
        "SELECT price_date::text, ticker, close::text, adj_close::text, volume "
        "FROM prices JOIN securities USING (security_id) ORDER BY 2, 1",
    )
    assert stored == [
        ("2024-06-26", "AAA", "20.00000000", "10.00000000", 1000),
        ("2024-06-27", "AAA", "10.10000000", "10.10000000", 2000),
        ("2024-06-26", "BBB", "50.00000000", "49.87654400", None),
        ("2024-06-27", "BBB", "50.00000000", "50.00000000", 10),
    ]


def test_nineteen_digits_survive(loaded, tmp_path):
    """A price with more digits than a float holds is stored digit by digit."""
    path = tmp_path / "p.csv"
    path.write_text("date,ticker,close\n2024-06-25,CCC,123456789.12345678\n2024-06-26,CCC,1.2345e-2\n")
    reload(loaded, path, "prices")
    assert rows(loaded, "SELECT close::text FROM prices WHERE price_date = '2024-06-25'") == [("123456789.12345678",)]
    assert rows(loaded, "SELECT close::text FROM prices WHERE price_date = '2024-06-26' AND close < 1") == [
        ("0.01234500",)
    ]


def test_accounts_are_stored(loaded):
    """Cash starts as opening cash, tags become a list without repetitions, the strategy has its default."""
    stored = rows(
        loaded, "SELECT account_id, opening_cash, cash, tags, strategy_id, fractional_shares FROM accounts ORDER BY 1"
    )
    assert stored == [
        ("ACC-1", Decimal("1000.10"), Decimal("1000.10"), ["te:tight", "esg:no-tobacco"], "tax-managed-index", False),
        ("ACC-2", Decimal("5.00"), Decimal("5.00"), [], "tax-managed-index", True),
    ]


def test_opening_lots_are_stored_as_they_were_handed_over(loaded):
    """Each row is a fact that nothing changes; it is booked when the account's books open."""
    lots = rows(
        loaded,
        "SELECT account_id, lot_id, ticker, acquired_on, quantity, cost_basis "
        "FROM opening_lots JOIN securities USING (security_id) ORDER BY 1, 2",
    )
    assert lots == [
        ("ACC-1", "L1", "AAA", date(2023, 1, 3), Decimal(100), Decimal("1000.50")),
        ("ACC-1", "L2", "BBB", date(2024, 6, 20), Decimal(7), Decimal("350.00")),
        ("ACC-2", "L1", "AAA", date(2022, 1, 4), Decimal("0.0002"), Decimal("0.01")),
    ]
    with pytest.raises(IntegrityConstraintViolation, match="append-only"):
        execute(loaded, "UPDATE opening_lots SET quantity = 1")
    assert rows(loaded, "SELECT count(*) FROM ledger_events") == [(0,)]


def test_loading_again_changes_no_row(loaded, folder):
    """The same files a second time touch not one row, write none and use up no sequence number."""
    before = dump(loaded)
    reports = ingest_directory(loaded, folder, options=OPTIONS)
    assert [(report.inserted, report.revised, report.unchanged) for report in reports] == [
        (0, 0, report.rows_read) for report in reports
    ]
    assert dump(loaded) == before


def test_equal_values_in_another_file_are_unchanged_but_recorded(loaded, folder):
    """A file with other bytes and equal values changes no data and leaves its row in ingest_files."""
    path = replaced(folder, "prices.csv", "20.00,", "20.0000,")
    assert reload(loaded, path, "prices").unchanged == 4
    assert rows(
        loaded, "SELECT rows_read, rows_unchanged FROM ingest_files WHERE kind = 'prices' ORDER BY file_id"
    ) == [
        (4, 0),
        (4, 4),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "old", "new", "key", "before", "after", "stored"),
    [
        ("prices", "prices.csv", "10.10,", "10.11,", {"ticker": "AAA", "price_date": "2024-06-27"},
         {"close": "10.1"}, {"close": "10.11"}, "SELECT close::text FROM prices WHERE close = 10.11"),
        ("prices", "prices.csv", "49.876544,", ",", {"ticker": "BBB", "price_date": "2024-06-26"},
         {"adj_close": "49.876544"}, {"adj_close": None}, "SELECT 1 FROM prices WHERE adj_close IS NULL"),
        ("prices", "prices.csv", ",2000", ",2001", {"ticker": "AAA", "price_date": "2024-06-27"},
         {"volume": 2000}, {"volume": 2001}, "SELECT 1 FROM prices WHERE volume = 2001"),
        ("actions", "corporate_actions.csv", ",2,split", ",3,split",
         {"ticker": "AAA", "ex_date": "2024-06-27", "action_type": "split", "other_ticker": ""},
         {"value": "2"}, {"value": "3"},
         "SELECT 1 FROM corporate_actions WHERE value = 3"),
        ("securities", "securities.csv", "Utilities,Water", "Energy,", {"ticker": "BBB"},
         {"sector": "Utilities", "sub_industry": "Water"}, {"sector": "Energy", "sub_industry": ""},
         "SELECT 1 FROM securities WHERE ticker = 'BBB' AND sector = 'Energy' AND sub_industry = ''"),
        ("borrow", "borrow.csv", "0.0025", "0.0125", {"ticker": "AAA", "rate_date": "2024-06-27"},
         {"annual_rate": "0.0025"}, {"annual_rate": "0.0125"}, "SELECT 1 FROM borrow_rates WHERE annual_rate = 0.0125"),
        ("accounts", "accounts.csv", ",false,te:tight;", ",true,te:loose;", {"account_id": "ACC-1"},
         {"fractional_shares": False, "tags": ["te:tight", "esg:no-tobacco"]},
         {"fractional_shares": True, "tags": ["te:loose", "esg:no-tobacco", "te:tight"]},
         "SELECT 1 FROM accounts WHERE fractional_shares AND 'te:loose' = ANY(tags)"),
        ("accounts", "accounts.csv", "0.37,", "0.35,", {"account_id": "ACC-1"},
         {"st_rate": "0.37"}, {"st_rate": "0.35"}, "SELECT 1 FROM accounts WHERE st_rate = 0.35"),
    ],
)  # fmt: skip
def test_correction_updates_the_row_and_keeps_the_old_value(
    loaded, folder, kind, name, old, new, key, before, after, stored
):
    """A corrected value replaces the stored one, and the revision names the key, the old and the new value."""
    path = replaced(folder, name, old, new)
    report = reload(loaded, path, kind)
    assert (report.inserted, report.revised) == (0, 1)
    assert report.unchanged == report.rows_read - 1
    revisions = rows(loaded, "SELECT kind, key, old_value, new_value, file_id FROM data_revisions")
    assert [revision[:4] for revision in revisions] == [(kind, key, before, after)]
    newest = rows(loaded, "SELECT max(file_id), max(rows_revised) FROM ingest_files WHERE kind = %s", kind)
    assert newest == [(revisions[0][4], 1)]
    assert len(rows(loaded, stored)) == 1


def test_column_that_a_file_does_not_have_is_left_alone(loaded, tmp_path):
    """A prices file without adj_close and volume corrects closes and keeps the rest."""
    path = tmp_path / "p.csv"
    path.write_text("date,ticker,close\n2024-06-27,AAA,10.2\n")
    assert reload(loaded, path, "prices").revised == 1
    assert rows(loaded, "SELECT adj_close, volume FROM prices WHERE close = 10.2") == [(Decimal("10.1"), 2000)]


def test_group_is_set_by_the_file_and_kept_by_files_without_it(loaded, folder, tmp_path):
    """A substantially identical group survives a later securities file that has no such column."""
    path = tmp_path / "groups.csv"
    path.write_text("ticker,name,sector,group\nAAA,A,Energy,TWINS\nBBB,B,Energy,TWINS\nCCC,C,Energy,\n")
    reload(loaded, path, "securities")
    assert rows(loaded, "SELECT group_id FROM securities ORDER BY ticker") == [("TWINS",), ("TWINS",), ("CCC",)]
    reload(loaded, folder / "securities.csv", "securities")
    assert rows(loaded, "SELECT group_id FROM securities ORDER BY ticker") == [("TWINS",), ("TWINS",), ("CCC",)]


def test_redelivered_benchmark_date_is_replaced_as_a_whole(loaded, tmp_path):
    """A member missing from a delivered date is deleted with a revision to null; other dates stay."""
    path = tmp_path / "b.csv"
    path.write_text("date,ticker,weight\n2024-06-28,AAA,0.7\n2024-06-28,BBB,0.3\n")
    report = reload(loaded, path, "benchmark")
    assert (report.inserted, report.revised, report.unchanged) == (0, 2, 1)
    revisions = rows(loaded, "SELECT key->>'ticker', old_value, new_value FROM data_revisions ORDER BY 1")
    assert revisions == [("AAA", {"weight": "0.6"}, {"weight": "0.7"}), ("CCC", {"weight": "0.1"}, None)]
    members = rows(
        loaded,
        "SELECT effective_date::text, ticker, weight FROM benchmark_constituents "
        "JOIN securities USING (security_id) ORDER BY 1, 2",
    )
    assert members == [
        ("2024-05-31", "AAA", Decimal("0.6")),
        ("2024-05-31", "BBB", Decimal("0.4")),
        ("2024-06-28", "AAA", Decimal("0.7")),
        ("2024-06-28", "BBB", Decimal("0.3")),
    ]


def test_benchmark_id_comes_from_the_column_or_the_option(loaded, tmp_path):
    """The option names the benchmark of rows that do not name their own."""
    path = tmp_path / "b.csv"
    path.write_text("date,ticker,weight,benchmark_id\n2024-06-28,AAA,1,ONE\n2024-06-28,BBB,1,\n")
    reload(loaded, path, "benchmark", IngestOptions(today=OPTIONS.today, benchmark_id="TWO"))
    query = "SELECT benchmark_id, ticker FROM benchmark_constituents JOIN securities USING (security_id)"
    members = rows(loaded, f"{query} WHERE weight = 1 ORDER BY 1")
    assert members == [("ONE", "AAA"), ("TWO", "BBB")]


def test_invalid_benchmark_option_is_a_request_error():
    """A benchmark id with a blank is refused before anything is read."""
    with pytest.raises(RequestError, match="is not a benchmark id"):
        IngestOptions(today=OPTIONS.today, benchmark_id="S P")


def test_changed_opening_cash_moves_cash_before_the_books_open(loaded, folder):
    """Before the first day a corrected opening cash is a revision, and cash follows it."""
    path = replaced(folder, "accounts.csv", "1000.10", "2000.20")
    assert reload(loaded, path, "accounts").revised == 1
    assert rows(loaded, "SELECT opening_cash, cash FROM accounts WHERE account_id = 'ACC-1'") == [
        (Decimal("2000.20"), Decimal("2000.20"))
    ]
    assert rows(loaded, "SELECT old_value, new_value FROM data_revisions") == [
        ({"opening_cash": "1000.1"}, {"opening_cash": "2000.2"})
    ]


def test_changed_opening_cash_is_refused_once_the_books_are_open(loaded, folder):
    """After the first day opening cash is history; other settings still change, and cash stays as booked."""
    execute(loaded, "UPDATE accounts SET books_as_of = '2024-06-27', cash = 77 WHERE account_id = 'ACC-1'")
    assert reload(loaded, folder / "accounts.csv", "accounts").unchanged == 2
    reload(loaded, replaced(folder, "accounts.csv", "0.37", "0.35"), "accounts")
    path = replaced(folder, "accounts.csv", "1000.10", "2000.20")
    report = ingest_file(loaded, path, FileKind.ACCOUNTS, options=OPTIONS)
    assert report.status is FileStatus.REFUSED
    assert [(finding.code, finding.line) for finding in report.findings] == [("OPENING_CASH_AFTER_OPENING", 2)]
    assert rows(loaded, "SELECT opening_cash, cash FROM accounts WHERE account_id = 'ACC-1'") == [
        (Decimal("1000.10"), Decimal("77.00"))
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("100,1000.50", "101,1000.50", "quantity 100"),
        ("100,1000.50", "100,1000.51", "cost basis 1000.50"),
        ("2023-01-03", "2023-01-04", "acquired 2023-01-03"),
        ("L1,AAA,2023", "L1,BBB,2023", "another security"),
    ],
)
def test_differing_opening_lot_is_refused(loaded, folder, old, new, said):
    """A lot that was handed over otherwise is refused with what was said then, and nothing changes."""
    before = dump(loaded)
    report = ingest_file(loaded, replaced(folder, "lots.csv", old, new), FileKind.LOTS, options=OPTIONS)
    assert report.status is FileStatus.REFUSED
    assert [(finding.code, finding.line) for finding in report.findings] == [("OPENING_LOT_DIFFERS", 2)]
    assert said in report.findings[0].reason
    assert dump(loaded) == before


def test_lots_are_compared_with_what_was_handed_over_not_with_todays_lots(loaded, folder):
    """A lot that was sold since is unchanged, and none of it comes back into the books."""
    sale = Fill("x1", "BBB", Side.SELL, date(2024, 6, 27), Decimal(7), Decimal(50))
    with loaded.transaction() as connection:
        assert not book_executed(connection, "ACC-1", [sale], through=date(2024, 6, 27)).refused
    assert reload(loaded, folder / "lots.csv", "lots").unchanged == 3
    with loaded.transaction() as connection:
        books = books_of(read_books(connection, "ACC-1").state, "ACC-1")
    assert ([lot.lot_id for lot in books.lots], books.cash) == (["L1"], Decimal("1350.10"))


def test_books_that_an_execution_opened_are_open(loaded, folder):
    """Without a first day yet, opening cash is history and no lot can be added once anything is booked."""
    with loaded.transaction() as connection:
        open_books(connection, ["ACC-1"], date(2024, 6, 27))
    cash = ingest_file(
        loaded, replaced(folder, "accounts.csv", "1000.10", "2000.20"), FileKind.ACCOUNTS, options=OPTIONS
    )
    assert [(finding.code, finding.line) for finding in cash.findings] == [("OPENING_CASH_AFTER_OPENING", 2)]
    path = folder / "lots.csv"
    path.write_text(path.read_text() + "ACC-1,L9,AAA,2023-01-03,1,1\n")
    lots = ingest_file(loaded, path, FileKind.LOTS, options=OPTIONS)
    assert [(finding.code, finding.line) for finding in lots.findings] == [("LOT_AFTER_OPENING", 5)]
    assert "books through 2024-06-27" in lots.findings[0].reason


def test_new_lot_of_an_account_with_books_is_refused(loaded, folder):
    """An opening lot that comes after the first day is refused; for an account without books it is added."""
    execute(loaded, "UPDATE accounts SET books_as_of = '2024-06-27' WHERE account_id = 'ACC-1'")
    path = folder / "lots.csv"
    path.write_text(path.read_text() + "ACC-1,L9,AAA,2023-01-03,1,1\nACC-2,L9,AAA,2023-01-03,1,1\n")
    report = ingest_file(loaded, path, FileKind.LOTS, options=OPTIONS)
    assert report.status is FileStatus.REFUSED
    assert [(finding.code, finding.line) for finding in report.findings] == [("LOT_AFTER_OPENING", 5)]
    report = reload(loaded, path, "lots", SKIPPING)
    assert (report.inserted, report.unchanged, report.skipped) == (1, 3, 1)
    assert rows(loaded, "SELECT account_id FROM opening_lots WHERE lot_id = 'L9'") == [("ACC-2",)]


def test_skipping_loads_the_good_rows_and_reports_the_bad(loaded, folder):
    """With bad rows skipped the rest loads, and the counts add up."""
    path = folder / "prices.csv"
    path.write_text(path.read_text() + "2024-06-25,AAA,-1,1,1\n2024-06-25,BBB,51,51,1\n2024-06-25,CCC,1\n")
    assert ingest_file(loaded, path, FileKind.PRICES, options=OPTIONS).status is FileStatus.REFUSED
    report = reload(loaded, path, "prices", SKIPPING)
    assert (report.rows_read, report.inserted, report.unchanged, report.skipped) == (7, 1, 4, 2)
    assert [(finding.line, finding.code) for finding in report.findings if finding.fatal] == [
        (6, "NEGATIVE_PRICE"),
        (8, "TOO_FEW_FIELDS"),
    ]
    assert rows(loaded, "SELECT rows_skipped FROM ingest_files ORDER BY file_id DESC LIMIT 1") == [(2,)]


def test_skipping_never_loads_half_a_benchmark(loaded, tmp_path):
    """A date with a bad member is skipped altogether, since the others no longer sum to one."""
    path = tmp_path / "b.csv"
    path.write_text(
        "date,ticker,weight\n2024-06-27,AAA,0.5\n2024-06-27,ZZZ,0.5\n2024-06-26,AAA,0.25\n2024-06-26,BBB,0.75\n"
    )
    report = reload(loaded, path, "benchmark", SKIPPING)
    assert (report.inserted, report.skipped) == (2, 2)
    assert {finding.code for finding in report.findings} == {
        "UNKNOWN_TICKER", "WEIGHTS_DO_NOT_SUM_TO_ONE", "TAKES_ALONG", "BENCHMARK_ID_TAKEN",
    }  # fmt: skip
    assert rows(loaded, "SELECT count(*) FROM benchmark_constituents WHERE effective_date = '2024-06-27'") == [(0,)]


def test_exact_duplicates_load_once_with_a_remark(loaded, tmp_path):
    """Of rows that say the same, with other zeros, the first is kept."""
    path = tmp_path / "p.csv"
    path.write_text("date,ticker,close\n2024-06-25,AAA,1.5\n2024-06-25,AAA,1.50\n2024-06-25,AAA,1.5\n")
    report = reload(loaded, path, "prices")
    assert (report.inserted, report.skipped) == (1, 2)
    assert [(finding.code, finding.line, finding.fatal) for finding in report.findings] == [
        ("DUPLICATE_ROW", 3, False),
        ("DUPLICATE_ROW", 4, False),
    ]


def test_contradicting_rows_are_all_refused(loaded, tmp_path):
    """Of rows with one key and different values none is believed, also not the two that agree."""
    path = tmp_path / "p.csv"
    path.write_text("date,ticker,close\n2024-06-25,AAA,1\n2024-06-25,AAA,2\n2024-06-25,AAA,1\n2024-06-25,BBB,1\n")
    report = reload(loaded, path, "prices", SKIPPING)
    assert (report.inserted, report.skipped) == (1, 3)
    conflicts = [finding for finding in report.findings if finding.code == "CONFLICTING_ROWS"]
    assert [finding.line for finding in conflicts] == [2, 3, 4]
    assert "lines 2, 3, 4" in conflicts[0].reason


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [
        ("prices", "date,ticker,close,note\n2024-06-25,AAA,1,hello\n", "EXTRA_COLUMNS"),
        ("prices", "date,ticker,close\n2024-06-25,AAA,1.1234567891\n", "ROUNDED"),
        ("prices", "date,ticker,close,adj_close\n2024-06-25,AAA,1,1\n", "NO_ACTIONS"),
        ("actions", "date,ticker,type,value\n2024-06-23,AAA,dividend,1\n", "NOT_A_SESSION"),
        ("lots", "account_id,lot_id,ticker,acquired_on,quantity,cost_basis\nACC-1,L8,AAA,2023-01-03,0.5,1\n",
         "FRACTION_IN_WHOLE_SHARE_ACCOUNT"),
        ("accounts", FILES["accounts.csv"].replace("0.37,0.2", "0.1,0.2"), "SHORT_TERM_RATE_LOWER"),
        ("accounts", FILES["accounts.csv"].replace(",SP500,0.37", ",OTHER,0.37"), "UNKNOWN_BENCHMARK"),
        ("accounts", FILES["accounts.csv"].replace("CA,CAD", "US,CAD"), "REGION_AND_REGIME_DIFFER"),
    ],
)  # fmt: skip
def test_remarks_do_not_stop_a_file(loaded, tmp_path, kind, content, code):
    """What is only unusual loads, with one remark."""
    path = tmp_path / "file.csv"
    path.write_text(content)
    report = reload(loaded, path, kind)
    assert [(finding.code, finding.fatal) for finding in report.findings] == [(code, False)]
    assert report.skipped == 0


def test_byte_order_mark_crlf_blank_lines_and_other_column_order_are_accepted(loaded, tmp_path):
    """What spreadsheets write loads without a finding."""
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbfTicker , close,date\r\nAAA, 1.5 ,2024-06-25\r\n\r\nBBB,2,2024-06-25\r\n\r\n")
    report = reload(loaded, path, "prices")
    assert (report.rows_read, report.inserted, len(report.findings)) == (2, 2, 0)


def test_parquet_loads_exact_types(loaded, tmp_path):
    """Dates, decimals and whole numbers of Parquet load as they are, floats as their shortest decimal with a remark."""
    path = tmp_path / "p.parquet"
    pl.DataFrame(
        {
            "date": [date(2024, 6, 25)],
            "ticker": pl.Series(["AAA"], dtype=pl.Categorical),
            "close": pl.Series([Decimal("123456789.12345678")], dtype=pl.Decimal(20, 8)),
            "adj_close": [36.48],
            "volume": pl.Series([5], dtype=pl.UInt32),
            "other": [[1]],
        }
    ).write_parquet(path)
    report = reload(loaded, path, "prices")
    assert {finding.code for finding in report.findings} == {"FLOAT_COLUMN", "EXTRA_COLUMNS", "NO_ACTIONS"}
    assert rows(loaded, "SELECT close::text, adj_close::text, volume FROM prices WHERE price_date = '2024-06-25'") == [
        ("123456789.12345678", "36.48000000", 5)
    ]


def test_parquet_loads_what_data_frames_write(loaded, tmp_path):
    """Instants at midnight are dates, a column of nothing is empty, booleans are booleans."""
    prices = pl.DataFrame({"date": [datetime(2024, 6, 25)], "ticker": ["AAA"], "close": [7], "volume": [None]})  # noqa: DTZ001 -- a day
    prices.write_parquet(tmp_path / "p.parquet")
    report = reload(loaded, tmp_path / "p.parquet", "prices")
    assert (report.inserted, len(report.findings)) == (1, 0)
    accounts = pl.read_csv(FILES["accounts.csv"].encode())
    assert accounts.schema["fractional_shares"] == pl.Boolean
    accounts.write_parquet(tmp_path / "a.parquet")
    report = reload(loaded, tmp_path / "a.parquet", "accounts")
    assert report.unchanged == 2
    assert set(report.findings.counts_by_code()) == {"FLOAT_COLUMN"}


def test_directory_with_a_refused_file_does_not_attempt_what_refers_to_it(database, folder):
    """Where the accounts are refused the lots are not attempted, and the market still loads."""
    replaced(folder, "accounts.csv", "HIFO", "LIFO")
    reports = {report.kind.value: report for report in ingest_directory(database, folder, options=OPTIONS)}
    assert reports["accounts"].status is FileStatus.REFUSED
    assert reports["lots"].status is FileStatus.NOT_ATTEMPTED
    assert "accounts" in reports["lots"].findings[0].reason
    assert reports["prices"].loaded
    assert rows(database, "SELECT count(*) FROM opening_lots") == [(0,)]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "holds nothing to load"),
        (["notes.txt", "index_membership.csv"], "holds nothing to load"),
        (["prices.csv", "prices.parquet"], "several files of kind prices"),
        (["prices.csv", "Prices.csv.gz"], "several files of kind prices"),
    ],
)
def test_directory_that_cannot_be_loaded_is_a_request_error(database, tmp_path, names, said):
    """An empty directory and one with two candidates for a kind are refused before anything loads."""
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(RequestError, match=said):
        ingest_directory(database, tmp_path, options=OPTIONS)


def test_fleet_is_kept_out_of_a_demo_database(database, folder):
    """In a demo database accounts and lots are refused before anything loads, unless the demo itself asks."""
    execute(database, "UPDATE engine_flags SET purpose = 'demo'")
    with pytest.raises(RequestError, match="PROMETHEUS_HOME"):
        ingest_directory(database, folder, options=OPTIONS)
    with pytest.raises(RequestError, match="PROMETHEUS_HOME"):
        ingest_file(database, folder / "lots.csv", FileKind.LOTS, options=OPTIONS)
    assert rows(database, "SELECT count(*) FROM securities") == [(0,)]
    for_demo = IngestOptions(today=OPTIONS.today, allow_demo=True)
    assert all(report.loaded for report in ingest_directory(database, folder, options=for_demo))


@pytest.mark.parametrize("again", [False, True], ids=["first load", "with stored rows"])
def test_interruption_leaves_nothing_half_loaded(database, folder, again):
    """An interrupt while rows are being copied rolls the file back; the next attempt loads it."""
    reload(database, folder / "securities.csv", "securities")
    path = folder / "prices.csv"
    if again:
        reload(database, path, "prices")
        replaced(folder, "prices.csv", "10.10,", "10.11,")
    before = dump(database)

    class Interrupting:
        def step(self, file, step, done, total):  # noqa: ARG002 -- the protocol's signature
            if step == "copying":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_file(database, path, FileKind.PRICES, options=OPTIONS, progress=Interrupting())
    assert dump(database) == before
    report = reload(database, path, "prices")
    assert report.inserted + report.revised == (1 if again else 4)


def test_two_loads_of_one_file_at_once_insert_it_once(loaded, tmp_path):
    """Loads take turns, so the second finds every row stored."""
    path = tmp_path / "p.csv"
    path.write_text("date,ticker,close\n2024-06-24,AAA,1\n2024-06-25,AAA,2\n")
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(reload(loaded, path, "prices"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((report.inserted, report.unchanged) for report in reports) == [(0, 2), (2, 0)]


def test_readers_are_not_blocked_and_see_the_old_rows(loaded, folder):
    """While a load is copying, others read at once what was there before."""
    seen = []

    class Reading:
        def step(self, file, step, done, total):  # noqa: ARG002 -- the protocol's signature
            if step == "copying":
                seen.append(rows(loaded, "SELECT close FROM prices WHERE close IN (10.10, 10.11)"))

    path = replaced(folder, "prices.csv", "10.10,", "10.11,")
    assert ingest_file(loaded, path, FileKind.PRICES, options=OPTIONS, progress=Reading()).revised == 1
    assert seen == [[(Decimal("10.10"),)]]


def test_progress_is_told_in_order(database, folder):
    """The listener hears reading, checking, copying, merging, and copying reaches the number of rows."""
    heard = []

    class Listening:
        def step(self, file, step, done, total):  # noqa: ARG002 -- the protocol's signature
            heard.append((step, done, total))

    ingest_file(database, folder / "securities.csv", FileKind.SECURITIES, options=OPTIONS, progress=Listening())
    steps = list(dict.fromkeys(step for step, _, _ in heard))
    assert steps == ["reading", "checking", "copying", "merging"]
    assert ("copying", 3, 3) in heard


def test_file_with_another_ending_is_a_request_error(database, tmp_path):
    """A spreadsheet file is refused with the endings that work."""
    with pytest.raises(RequestError, match=r"\.parquet"):
        ingest_file(database, tmp_path / "prices.xlsx", FileKind.PRICES, options=OPTIONS)


ACCOUNT_HEADER = (
    "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
    "fractional_shares,tags,household,account_type\n"
)


def member(account, household="H1", account_type="", regime="US", currency="USD"):
    """A line of the accounts file with household and type."""
    method = "FIFO" if regime == "US" else "ACB"
    return f"{account},N,{regime},{currency},{regime},{method},SP500,0.2,0.2,0,10,true,,{household},{account_type}\n"


def test_household_and_type_of_an_account_are_stored(loaded, tmp_path):
    """Both columns may be empty: such an account has no household and is taxed."""
    path = tmp_path / "members.csv"
    path.write_text(ACCOUNT_HEADER + member("M-1") + member("M-2", "H1", "IRA") + member("M-3", ""))
    reload(loaded, path, "accounts")
    query = "SELECT account_id, household, account_type FROM accounts WHERE left(account_id, 2) = 'M-' ORDER BY 1"
    assert rows(loaded, query) == [("M-1", "H1", "TAXABLE"), ("M-2", "H1", "IRA"), ("M-3", None, "TAXABLE")]


@pytest.mark.parametrize("other", [member("M-2", regime="CA"), member("M-2", currency="CAD")])
def test_a_household_under_two_regimes_is_refused(loaded, tmp_path, other):
    """One household has one regime and one currency, within a file and with what is stored."""
    path = tmp_path / "members.csv"
    path.write_text(ACCOUNT_HEADER + member("M-1") + other)
    report = ingest_file(loaded, path, FileKind.ACCOUNTS, options=OPTIONS)
    fatal = [(finding.code, finding.line) for finding in report.findings if finding.fatal]
    assert fatal == [("HOUSEHOLD_MIXED", 2), ("HOUSEHOLD_MIXED", 3)]
    path.write_text(ACCOUNT_HEADER + member("M-1"))
    reload(loaded, path, "accounts")
    path.write_text(ACCOUNT_HEADER + other)
    report = ingest_file(loaded, path, FileKind.ACCOUNTS, options=OPTIONS)
    assert [finding.code for finding in report.findings if finding.fatal] == ["HOUSEHOLD_MIXED"]


@pytest.mark.parametrize("now", [member("M-1", "H2"), member("M-1", ""), member("M-1", "H1", "ROTH")])
def test_membership_is_settled_once_the_books_are_open(loaded, tmp_path, now):
    """What was booked was booked under a household and a type; a file cannot change them afterwards."""
    path = tmp_path / "members.csv"
    path.write_text(ACCOUNT_HEADER + member("M-1"))
    reload(loaded, path, "accounts")
    execute(loaded, "UPDATE accounts SET books_as_of = '2024-06-27' WHERE account_id = 'M-1'")
    assert reload(loaded, path, "accounts").unchanged == 1
    path.write_text(ACCOUNT_HEADER + now)
    report = ingest_file(loaded, path, FileKind.ACCOUNTS, options=OPTIONS)
    assert [finding.code for finding in report.findings if finding.fatal] == ["MEMBERSHIP_AFTER_OPENING"]
