"""Files of accounts' own transactions: booked once, corrected once, refused by row, and proved by the journal."""

import json
from datetime import date
from decimal import Decimal

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from prometheus.bookkeeping.ledger import ex_date_processing, open_books
from prometheus.bookkeeping.ledger_checks import rebuild_check
from prometheus.bookkeeping.ledger_view import books_of, read_books
from prometheus.db.repositories.ledger_postings import postings_after
from prometheus.ingestion.ingest import IngestOptions, ingest_directory, ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.ledger.files.mapping import read_mapping
from prometheus.scripts.main import main

FIRST, LAST = date(2018, 6, 1), date(2018, 6, 8)
HEADER = "entry_id,date,account,ticker,action,quantity,amount,lot_id,acquired_on,reverses\n"
FLEET = {
    "securities.csv": "ticker,name,sector\nAAA,Alpha,Energy\nBBB,Beta,Energy\nCCC,Gamma,Energy\n",
    "corporate_actions.csv": "date,ticker,type,value\n2018-06-06,BBB,split,2\n2018-06-06,CCC,dividend,0.5\n",
    "prices.csv": "date,ticker,close\n2018-06-01,AAA,20\n2018-06-06,BBB,10\n2018-06-06,CCC,10\n",
    "benchmark.csv": "date,ticker,weight\n2018-05-31,AAA,1\n",
    "accounts.csv": (
        "account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
        "fractional_shares,tags\n"
        "US-1,One,US,USD,US,HIFO,SP500,0.37,0.2,0,10000,true,\n"
        "CA-1,Two,CA,CAD,CA,ACB,SP500,0.25,0.25,0,10000,true,\n"
        "NEW-1,Three,US,USD,US,FIFO,SP500,0.37,0.2,0,10000,true,\n"
        "NEW-2,Four,US,USD,US,FIFO,SP500,0.37,0.2,0,10000,true,\n"
    ),
    "lots.csv": (
        "account_id,lot_id,ticker,acquired_on,quantity,cost_basis\n"
        "US-1,L1,AAA,2017-01-03,100,2000\nUS-1,L2,AAA,2017-02-03,100,3000\nCA-1,L1,AAA,2017-01-03,100,2000\n"
        "NEW-2,L1,AAA,2017-01-03,100,2000\n"
    ),
}


@pytest.fixture
def fleet(database, tmp_path):
    """Three accounts, two of them with books from the first day through the last."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    for name, content in FLEET.items():
        (folder / name).write_text(content)
    reports = ingest_directory(database, folder, options=IngestOptions(today=LAST))
    assert all(report.loaded for report in reports), [list(report.findings) for report in reports]
    with database.transaction() as connection:
        open_books(connection, ["US-1", "CA-1"], FIRST)
    with database.transaction() as connection:
        open_books(connection, ["US-1", "CA-1"], FIRST)
        for account in ("US-1", "CA-1"):
            ex_date_processing(connection, account, LAST)
        set_through(connection, LAST)
    return database


def set_through(connection, day):
    """Let two accounts be decided through a day, as the engine's days do."""
    accounts = "UPDATE accounts SET books_as_of = :day WHERE account_id IN ('US-1', 'CA-1')"
    connection.execute(text(accounts), {"day": day})


@pytest.fixture
def load(fleet, tmp_path):
    """Load rows; what is stored must be what the events give afterwards, whatever became of the file."""

    def run(*rows: str, skip_bad_rows=True, header=HEADER, mappings=(), file_account=""):
        path = tmp_path / "transactions.csv"
        path.write_text(header + "".join(row + "\n" for row in rows))
        chosen = IngestOptions(today=LAST, skip_bad_rows=skip_bad_rows, mappings=mappings, file_account=file_account)
        report = ingest_file(fleet, path, FileKind.TRANSACTIONS, options=chosen)
        with fleet.transaction() as connection:
            for account in ("US-1", "CA-1", "NEW-1"):
                assert rebuild_check(connection, account).differences == ()
            cash = connection.execute(text("SELECT account_id, cash FROM accounts")).all()
            for account, stored in cash:
                found = read_books(connection, account)
                assert found.through is None or found.state.cash[account] == stored
        return report

    return run


def books(database, account="US-1"):
    """Return cash, and shares and adjusted basis by lot."""
    with database.transaction() as connection:
        found = books_of(read_books(connection, account).state, account)
    return found.cash, {lot.lot_id: (lot.quantity, lot.adjusted_basis) for lot in found.lots}


def types(database, account="US-1"):
    """Return what the postings since the opening record, reversals and what they reverse left out."""
    with database.transaction() as connection:
        rows = postings_after(connection, [account], None)
    reversed_rows = {row.posting.reverses for row in rows}
    return [
        row.posting.kind
        for row in rows
        if row.posting.kind != "OPENING" and row.posting.reverses is None and row.number not in reversed_rows
    ]


def codes(report):
    """Return line and code of each finding."""
    return [(finding.line, finding.code) for finding in report.findings]


OPENING = {"L1": (100, 2000), "L2": (100, 3000)}


def test_trades_transfers_and_dividends_are_booked(fleet, load):
    """One row of each action, in any order, reaches lots and cash; a sale out of two lots adds up to its amount."""
    report = load(
        "d1,2018-06-05,US-1,AAA,DIVIDEND,,12.34,,,",
        "s1,2018-06-05,US-1,AAA,SELL,130,1000.01,,,",
        "b1,2018-06-04,US-1,BBB,BUY,3,100,NB,,",
        "r1,2018-06-07,US-1,CCC,REINVEST,0.5,5,,,",
        "i1,2018-06-07,US-1,AAA,TRANSFER_IN,10,150,IN,2016-05-02,",
        "o1,2018-06-07,US-1,AAA,TRANSFER_OUT,20,,L1,,",
        "c1,2018-06-07,US-1,,TRANSFER_IN,,500,,,",
        "c2,2018-06-08,US-1,,TRANSFER_OUT,,200,,,",
    )
    assert (report.inserted, codes(report)) == (8, [])
    cash, lots = books(fleet)
    # the purchase of the 4th has seen the split of the 6th; HIFO takes L2 whole and 30 of L1
    assert lots == {"L1": (50, 1000), "NB": (6, 100), "r1": (Decimal("0.5"), 5), "IN": (10, 150)}
    assert cash == 10_000 + Decimal("12.34") + Decimal("1000.01") - 100 - 5 + 500 - 200
    with fleet.transaction() as connection:
        held = books_of(read_books(connection, "US-1").state, "US-1").lots
    assert {lot.lot_id: lot.acquired_on for lot in held}["IN"] == date(2016, 5, 2)
    assert types(fleet).count("REINVESTMENT") == 1


def test_canada_books_into_its_pools(fleet, load):
    """Purchases, transfers and sales of a Canadian account change its pool, at average cost."""
    report = load(
        "b1,2018-06-04,CA-1,AAA,BUY,100,4000,,,",
        "s1,2018-06-05,CA-1,AAA,SELL,50,2000,,,",
        "i1,2018-06-06,CA-1,AAA,TRANSFER_IN,50,600,,2016-05-02,",
        "o1,2018-06-07,CA-1,AAA,TRANSFER_OUT,100,,,,",
    )
    assert (report.inserted, codes(report)) == (4, [])
    # 6,000 on 200; 50 leave at 30; 600 on 50 come: 5,100 on 200; half of it leaves
    assert books(fleet, "CA-1") == (8000, {"ACB-AAA": (100, 2550)})


def test_the_same_file_again_books_nothing(fleet, load):
    """Entries are booked once; a longer file adds what is new, and an entry that says something else is refused."""
    first = ("s1,2018-06-05,US-1,AAA,SELL,10,300,L2,,", "i1,2018-06-06,US-1,BBB,TRANSFER_IN,5,50,IN,,")
    assert load(*first).inserted == 2
    rows = types(fleet)
    again = load(*first, "s2,2018-06-06,US-1,AAA,SELL,10,300,L2,,")
    assert (again.inserted, again.unchanged, codes(again)) == (1, 2, [])
    assert len(types(fleet)) == len(rows) + 1
    other = load(first[0].replace(",300,", ",301,"))
    assert codes(other) == [(2, "ENTRY_DIFFERS")]
    assert load(first[0].replace(",300,", ",300.00,")).unchanged == 1, "the same amount, written otherwise"


def test_corrections_take_entries_back(fleet, load):
    """A sale, a transfer and a dividend are reversed in a later file, and the books are as if they had never been."""
    rows = (
        "s1,2018-06-05,US-1,AAA,SELL,150,3000,,,",
        "i1,2018-06-06,US-1,BBB,TRANSFER_IN,5,50,IN,,",
        "o1,2018-06-07,US-1,AAA,TRANSFER_OUT,10,,L1,,",
        "d1,2018-06-07,US-1,AAA,DIVIDEND,,7,,,",
        "c1,2018-06-07,US-1,,TRANSFER_IN,,500,,,",
    )
    assert load(*rows).inserted == 5
    corrections = [f"x{n},2018-06-08,US-1,,REVERSE,,,,,{row[:2]}" for n, row in enumerate(rows)]
    report = load(*corrections)
    assert (report.inserted, codes(report)) == (5, [])
    assert books(fleet) == (10_000, OPENING)
    assert load(*rows, *corrections).unchanged == 10, "what was taken back does not come back"
    assert codes(load("y1,2018-06-08,US-1,,REVERSE,,,,,s1")) == [(2, "REVERSED_TWICE")]


def test_a_correction_in_the_same_file_leaves_no_row(fleet, load):
    """An entry and its correction in one file are both remembered and neither reaches the journal."""
    rows = ("s1,2018-06-05,US-1,AAA,SELL,10,300,L2,,", "x1,2018-06-06,US-1,,REVERSE,,,,,s1")
    assert load(*rows).inserted == 2
    assert types(fleet) == []
    assert load(rows[0]).unchanged == 1


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("x,2018-06-05,US-1,AAA,SELL,201,1,,,", "OVERSOLD", "it holds 160"),
        ("x,2018-06-05,US-1,AAA,SELL,101,1,L1,,", "OVERSOLD", "it holds 100"),
        ("x,2018-06-05,US-1,BBB,SELL,1,1,,,", "OVERSOLD", "it holds 0"),
        ("x,2018-06-05,US-1,AAA,SELL,1,1,L9,,", "UNKNOWN_LOT", "no lot L9 of AAA"),
        ("x,2018-06-05,US-1,AAA,SELL,-1,1,,,", "NEGATIVE_QUANTITY", "is negative"),
        ("x,2018-06-05,US-1,AAA,BUY,1,-1,,,", "NEGATIVE_AMOUNT", "is negative"),
        ("x,2018-06-05,US-1,AAA,SPLIT,0,,,,", "ZERO_RATIO", "is no ratio"),
        ("x,2018-06-05,US-1,AAA,SPLIT,2,,,,", "NOT_OF_ONE_ACCOUNT", "--kind actions"),
        ("x,2018-06-05,US-1,AAA,OPEN,1,1,,,", "NOT_OF_ONE_ACCOUNT", "--kind lots"),
        ("x,2018-05-31,US-1,AAA,SELL,1,1,L1,,", "BEFORE_OPENING", "opens on 2018-06-01"),
        ("x,2018-06-05,NEW-2,AAA,BUY,1,1,,,", "BOOKS_NOT_OPEN", "has no books yet"),
        ("x,2018-06-05,XX-1,AAA,BUY,1,1,,,", "UNKNOWN_ACCOUNT", "accounts file"),
        ("x,2018-06-05,US-1,XXX,BUY,1,1,,,", "UNKNOWN_TICKER", "securities file"),
        ("x,2018-06-09,US-1,AAA,SELL,1,1,L1,,", "DATE_IN_FUTURE", "after 2018-06-08"),
        (",2018-06-05,US-1,AAA,SELL,1,1,L1,,", "NO_ENTRY_ID", "Fill in 'entry_id'"),
        ("good,2018-06-06,US-1,AAA,SELL,1,1,L1,,", "ENTRY_ID_TWICE", "row 2 already"),
        ("x,2018-06-05,US-1,AAA,SELL,1,0,L1,,", "NO_AMOUNT", "TRANSFER_OUT"),
        ("x,2018-06-05,US-1,BBB,BUY,1,20000,,,", "OVERDRAWN", "cash"),
        ("x,2018-06-07,US-1,BBB,BUY,1,20000,,,", "OVERDRAWN", "may not borrow"),
        ("x,2018-06-07,US-1,,TRANSFER_OUT,,20000,,,", "OVERDRAWN", "cannot leave it"),
        ("x,2018-06-07,US-1,BBB,BUY,1,20,L1,,", "LOT_EXISTS", "L1 already"),
        ("x,2018-06-07,US-1,BBB,TRANSFER_IN,1,20,L1,,", "LOT_EXISTS", "L1 already"),
        ("x,2018-06-05,US-1,BBB,TRANSFER_IN,1,20,,,", "LATE_TRANSFER", "BBB has a split on 2018-06-06"),
        ("x,2018-06-06,US-1,CCC,DIVIDEND,,5,,,", "DIVIDEND_FROM_MARKET", "Remove the row"),
        ("x,2018-06-06,US-1,,REVERSE,,,,,never", "UNKNOWN_ROW", "'never' names no event"),
        ("x,2018-06-04,US-1,,REVERSE,,,,,good", "CORRECTED_BEFORE", "cannot change an event of 2018-06-05"),
        ("x,2018-06-05,US-1,,REVERSE,,,,,", "NO_TARGET", "Name the row"),
        ("x,5.6.2018,US-1,AAA,SELL,1,1,L1,,", "BAD_DATE", "YYYY-MM-DD"),
    ],
)
def test_bad_rows_are_refused_and_the_rest_is_untouched(fleet, load, row, code, words):
    """Each bad row is a finding with its line, code and remedy; the good row of the file is booked all the same."""
    good = "good,2018-06-05,US-1,AAA,SELL,40,1200,L2,,"
    report = load(good, row)
    assert codes(report) == [(3, code)]
    assert words in report.findings[0].reason
    assert report.inserted == 1
    assert books(fleet) == (11_200, {"L1": (100, 2000), "L2": (60, 1800)})


def test_two_corrections_of_one_row(fleet, load):
    """The first of two corrections in a file counts, the second is refused with its line."""
    load("s1,2018-06-05,US-1,AAA,SELL,10,300,L2,,")
    report = load("x1,2018-06-06,US-1,,REVERSE,,,,,s1", "x2,2018-06-06,US-1,,REVERSE,,,,,s1")
    assert (report.inserted, len(report.findings)) == (1, 1)
    assert report.findings[0].code == "REVERSED_TWICE"
    assert books(fleet) == (10_000, OPENING)
    assert codes(load("x3,2018-06-07,US-1,,REVERSE,,,,,x1")) == [(2, "REVERSED_CORRECTION")]


def test_a_refused_file_books_nothing(fleet, load):
    """Without --skip-bad-rows one bad row refuses the file, and books and journal are as before."""
    rows = ("s1,2018-06-05,US-1,AAA,SELL,10,300,L2,,", "s2,2018-06-05,US-1,AAA,SELL,500,300,L2,,")
    report = load(*rows, skip_bad_rows=False)
    assert (report.loaded, report.inserted, codes(report)) == (False, 0, [(3, "OVERSOLD")])
    assert (books(fleet), types(fleet)) == ((10_000, OPENING), [])
    assert load(rows[0], skip_bad_rows=False).inserted == 1


def test_what_a_transfer_took_is_not_changed_under_it(fleet, load):
    """A late sale before a transfer is refused until the transfer is taken back; then both find their place."""
    load("o1,2018-06-07,US-1,AAA,TRANSFER_OUT,40,,L2,,")
    sale = "s1,2018-06-05,US-1,AAA,SELL,60,1800,L2,,"
    assert codes(load(sale)) == [(2, "TRANSFERRED_SINCE")]
    report = load("x1,2018-06-08,US-1,,REVERSE,,,,,o1", sale, "o2,2018-06-07,US-1,AAA,TRANSFER_OUT,40,,L2,,")
    assert (report.inserted, codes(report)) == (3, [])
    assert books(fleet) == (11_800, {"L1": (100, 2000)})
    late = load("o3,2018-06-04,US-1,AAA,TRANSFER_OUT,1,,L1,,")
    assert codes(late) == [(2, "LATE_TRANSFER")]
    assert "a SELL of AAA on 2018-06-05 is booked" in late.findings[0].reason


def test_a_sold_purchase_is_taken_back_newest_first(fleet, load):
    """Correcting a purchase alone is refused while a sale needs its shares; both corrections in one file are booked."""
    load("b1,2018-06-04,US-1,CCC,BUY,10,100,NC,,", "s1,2018-06-07,US-1,CCC,SELL,10,120,NC,,")
    assert codes(load("x1,2018-06-08,US-1,,REVERSE,,,,,b1")) == [(2, "LOTS_GONE")]
    report = load("x1,2018-06-08,US-1,,REVERSE,,,,,b1", "x2,2018-06-08,US-1,,REVERSE,,,,,s1")
    assert (report.inserted, codes(report)) == (2, [])
    assert books(fleet) == (10_000, OPENING)


def test_the_command_says_row_code_and_remedy(fleet, database_url, tmp_path, monkeypatch):
    """``prometheus ingest FILE --kind transactions`` ends with 2 and names the row; with --skip-bad-rows with 0."""
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", database_url)
    path = tmp_path / "transactions.csv"
    path.write_text(HEADER + "s1,2018-06-05,US-1,AAA,SELL,500,1,,,\ns2,2018-06-05,US-1,AAA,SELL,5,100,L2,,\n")
    refused = CliRunner().invoke(main, ["ingest", str(path), "--kind", "transactions"])
    assert refused.exit_code == 2
    assert "transactions.csv:2: US-1 gives up 500 shares of AAA; it holds 195 of what it may take." in refused.output
    assert "correct the quantity. OVERSOLD" in refused.output
    arguments = ["ingest", str(path), "--kind", "transactions", "--skip-bad-rows", "--format", "json"]
    loaded = CliRunner().invoke(main, arguments)
    assert loaded.exit_code == 0, loaded.output
    (report,) = json.loads(loaded.stdout)
    assert (report["inserted"], report["skipped"], report["findings"]) == (1, 1, {"OVERSOLD": 1})


def test_late_rows_go_through_spin_offs_and_new_symbols(fleet, load, tmp_path):
    """Sold before the morning of a spin-off and a new symbol, told after it: both children and names come out right."""
    with fleet.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO corporate_actions SELECT security_id, DATE '2018-06-11', 'symbol_change', 1, 'BBB', NULL "
                "FROM securities WHERE ticker = 'AAA' UNION ALL "
                "SELECT security_id, DATE '2018-06-12', 'spinoff', 0.5, 'CCC', 0.25 FROM securities "
                "WHERE ticker = 'BBB'"
            )
        )
    with fleet.transaction() as connection:
        ex_date_processing(connection, "US-1", date(2018, 6, 13))
        set_through(connection, date(2018, 6, 13))
    assert books(fleet)[1]["L1~S-CCC"] == (50, 500)
    sold = load("s1,2018-06-05,US-1,AAA,SELL,40,800,L1,,", "b1,2018-06-06,US-1,AAA,BUY,10,400,NB,,")
    assert codes(sold) == []
    parts = {"L1": (60, 900), "L1~S-CCC": (30, 300), "L2": (100, 2250), "L2~S-CCC": (50, 750)}
    assert books(fleet) == (10_400, parts | {"NB": (10, 300), "NB~S-CCC": (5, 100)})
    with fleet.transaction() as connection:
        held = books_of(read_books(connection, "US-1").state, "US-1").lots
    assert {lot.ticker for lot in held} == {"BBB", "CCC"}
    assert codes(load("x1,2018-06-08,US-1,,REVERSE,,,,,s1", "x2,2018-06-08,US-1,,REVERSE,,,,,b1")) == []
    assert books(fleet) == (
        10_000, {"L1": (100, 1500), "L1~S-CCC": (50, 500), "L2": (100, 2250), "L2~S-CCC": (50, 750)}
    )  # fmt: skip


def test_files_that_cannot_be_read_are_refused(fleet, load, tmp_path):
    """Parquet, other bytes than UTF-8 and a missing column refuse the file as a whole."""
    options = IngestOptions(today=LAST)
    for name, content, code in (
        ("t.parquet", b"PAR1", "UNREADABLE_FILE"),
        ("t.csv", HEADER.encode() + b"\xff\n", "NOT_UTF8"),
        ("t.csv", b"date,account\n", "MISSING_COLUMN"),
    ):
        (tmp_path / name).write_bytes(content)
        report = ingest_file(fleet, tmp_path / name, FileKind.TRANSACTIONS, options=options)
        assert (report.loaded, [finding.code for finding in report.findings]) == (False, [code])


def test_a_history_needs_no_engine_day(fleet, load):
    """Books without opening lots begin with the first row; a longer file adds to them, and gains are as told."""
    rows = (
        "b1,2018-03-01,NEW-1,AAA,BUY,100,2000,L1,,",
        "s1,2018-05-01,NEW-1,AAA,SELL,60,1100,,,",
    )
    assert (load(*rows).inserted, books(fleet, "NEW-1")) == (2, (9100, {"L1": (40, 800)}))
    report = load(*rows, "b2,2018-05-10,NEW-1,AAA,BUY,30,600,L2,,")  # half of the loss of 100 is washed
    assert (report.inserted, report.unchanged, codes(report)) == (1, 2, [])
    assert books(fleet, "NEW-1") == (8500, {"L1": (40, 800), "L2": (30, 650)})
    assert codes(load("x,2018-02-28,NEW-1,AAA,BUY,1,1,,,")) == [(2, "BEFORE_OPENING")]


def test_a_brokers_own_layout_is_loaded(fleet, load):
    """A Schwab history goes in as it is exported; the layout is said, rows have names of their own, and count once."""
    header = "Date,Action,Symbol,Description,Quantity,Price,Fees & Comm,Amount\n"
    rows = ('06/05/2018,Buy,AAA,ALPHA,10,$20.00,$1.00,"-$201.00"', "06/06/2018,Sell,AAA,ALPHA,60,$30.00,,$1800.00")
    report = load(*rows, header=header, file_account="US-1")
    assert (report.inserted, codes(report)) == (2, [(None, "LAYOUT")])
    assert "Schwab" in report.findings[0].reason
    assert load(*rows, header=header, file_account="US-1").unchanged == 2
    assert books(fleet)[0] == 10_000 - 201 + 1800


def test_a_layout_of_ones_own_is_loaded(fleet, load):
    """A mapping tells how a file is read that no shipped layout fits; without it the file is refused."""
    header, row = "Day;Who;What;Paper;Pieces;Money\n", "2018-06-05;US-1;bought;AAA;10;-200.00"
    refused = load(row, header=header)
    assert (refused.loaded, codes(refused)) == (False, [(None, "UNKNOWN_LAYOUT")])
    mapping = read_mapping(
        'name = "Mine"\nformat = "csv"\ndelimiter = ";"\nbase_currency = "USD"\n[dates]\nformats = ["%Y-%m-%d"]\n'
        '[[tables]]\nname = "t"\nneeds = ["Day", "Who", "What", "Paper", "Pieces", "Money"]\namount_sign = "cash"\n'
        '[tables.read]\ndate = "Day"\naccount = "Who"\nticker = "Paper"\nquantity = "Pieces"\namount = "Money"\n'
        '[[tables.rules]]\nwhen = { What = "bought" }\nevent = "BUY"\n',
        "mine.toml",
    )
    assert load(row, header=header, mappings=(mapping,)).inserted == 1
    assert books(fleet)[0] == 9800


def test_rows_that_only_together_are_possible(fleet, load):
    """A deposit and the purchase that it pays for are booked in one go, whatever their order in the file."""
    report = load("b1,2018-06-04,US-1,BBB,BUY,100,15000,NB,,", "c1,2018-06-05,US-1,,TRANSFER_IN,,6000,,,")
    assert (report.inserted, codes(report), books(fleet)[0]) == (2, [], 1000)


def test_the_command_takes_a_brokers_file(fleet, database_url, tmp_path, monkeypatch):
    """--file-account names the account of an export that does not; the layout is a remark, which stops nothing."""
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", database_url)
    path = tmp_path / "schwab.csv"
    path.write_text(
        "Date,Action,Symbol,Description,Quantity,Price,Fees & Comm,Amount\n"
        '06/05/2018,Buy,AAA,ALPHA,10,$20.00,$1.00,"-$201.00"\n'
    )
    arguments = ["ingest", str(path), "--kind", "transactions", "--file-account", "US-1"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, "Read as 'Schwab" in result.output) == (0, True), result.output
    assert books(fleet)[0] == 10_000 - 201
