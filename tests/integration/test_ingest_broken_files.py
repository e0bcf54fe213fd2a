"""Every kind of broken file: refused with a code, a line and a sentence, and nothing of it loaded."""

import gzip
import io
import zlib
from datetime import date
from typing import NamedTuple

import polars as pl
import pytest

from prometheus.db.database import Database, driver_connection
from prometheus.ingestion.ingest import ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.ingestion.reports import FileStatus, IngestOptions

TODAY = date(2024, 6, 28)

PRICES = b"date,ticker,close,adj_close,volume\n2024-06-27,AAA,10.5,10.5,100\n"
ACTIONS = b"date,ticker,type,value\n2024-06-27,AAA,split,2\n"
BENCHMARK = b"date,ticker,weight\n2024-06-28,AAA,0.5\n2024-06-28,BBB,0.5\n"
SECURITIES = b"ticker,name,sector\nAAA,Alpha,Energy\n"
BORROW = b"date,ticker,annual_rate\n2024-06-27,AAA,0.02\n"
ACCOUNT_COLUMNS = (
    b"account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
    b"fractional_shares,tags\n"
)
ACCOUNT = b"X-1,One,US,USD,US,HIFO,SP500,0.37,0.20,0.038,1000.00,false,te:tight\n"
LOT_COLUMNS = b"account_id,lot_id,ticker,acquired_on,quantity,cost_basis\n"
LOT = b"ACC-1,L-1,AAA,2023-01-03,10,100.00\n"


def account(old: bytes, new: bytes) -> bytes:
    """An accounts file with one thing changed."""
    assert old in ACCOUNT
    return ACCOUNT_COLUMNS + ACCOUNT.replace(old, new, 1)


def lot(old: bytes, new: bytes) -> bytes:
    """A lots file with one thing changed."""
    assert old in LOT
    return LOT_COLUMNS + LOT.replace(old, new, 1)


def price(row: bytes) -> bytes:
    """A prices file with a second row."""
    return PRICES + row + b"\n"


def parquet(**columns: object) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


# Does not compress to almost nothing, so that most of its lines survive the loss of the end.
LONG = b"date,ticker,close\n" + b"".join(b"2024-06-27,AAA,%d\n" % (7919 * n % 10007) for n in range(1, 2001))
CUT = gzip.compress(LONG, mtime=0)[:-2000]
LINES_BEFORE_CUT = zlib.decompressobj(31).decompress(CUT).count(b"\n")
GZIPPED = gzip.compress(PRICES * 50, mtime=0)
DAMAGED = GZIPPED[:12] + bytes(byte ^ 0x5A for byte in GZIPPED[12:20]) + GZIPPED[20:]
GOOD_PARQUET = parquet(date=["2024-06-27"] * 40, ticker=["AAA"] * 40, close=["1.5"] * 40)
# Every second byte of the footer: lengths and offsets that point nowhere.
DAMAGED_PARQUET = GOOD_PARQUET[:-100] + bytes(byte ^ (0xFF * (at % 2)) for at, byte in enumerate(GOOD_PARQUET[-100:-8]))
DAMAGED_PARQUET += GOOD_PARQUET[-8:]


class Broken(NamedTuple):
    """A file, and what must be said about it. ``line`` None: the file as a whole."""

    name: str
    content: bytes
    code: str
    line: int | None
    kind: str = "prices"
    file: str = "file.csv"


# fmt: off
BROKEN_FILES = [
    # ------------------------------------------------------------ the file
    Broken("empty file", b"", "EMPTY_FILE", None),
    Broken("blank lines only", b"\n\n  \n", "EMPTY_FILE", None),
    Broken("header only", b"date,ticker,close\n", "NO_ROWS", 1),
    Broken("truncated gzip", CUT, "TRUNCATED_GZIP", LINES_BEFORE_CUT + 1, file="file.csv.gz"),
    Broken("damaged gzip", DAMAGED, "CORRUPT_GZIP", None, file="file.csv.gz"),
    Broken("not gzip", PRICES, "NOT_GZIP", None, file="file.csv.gz"),
    Broken("empty gzip", b"", "EMPTY_FILE", None, file="file.csv.gz"),
    Broken("gzip without the name", GZIPPED, "GZIP_WITHOUT_NAME", None),
    Broken("not UTF-8", price(b"2024-06-27,B\xff,1,1,1"), "NOT_UTF8", 3),
    Broken("UTF-16", PRICES.decode().encode("utf-16"), "NOT_UTF8", 1),
    Broken("NUL bytes", price(b"2024-06-27,BBB,1\x000,1,1"), "NUL_BYTE", 3),
    Broken("corrupt Parquet", b"PAR1 this is not PAR1", "CORRUPT_PARQUET", None, file="file.parquet"),
    Broken("damaged Parquet", DAMAGED_PARQUET, "CORRUPT_PARQUET", None, file="file.parquet"),
    Broken("truncated Parquet", GOOD_PARQUET[:-30], "CORRUPT_PARQUET", None, file="file.parquet"),
    Broken("empty Parquet", b"", "EMPTY_FILE", None, file="file.parquet"),
    Broken("Parquet without rows", parquet(date=[], ticker=[], close=[]), "NO_ROWS", None, file="file.parquet"),
    Broken("Parquet, dates as numbers", parquet(date=[20240627], ticker=["AAA"], close=["1"]), "WRONG_TYPE", None,
           file="file.parquet"),
    Broken("Parquet, prices as lists", parquet(date=["2024-06-27"], ticker=["AAA"], close=[[1.0]]), "WRONG_TYPE", None,
           file="file.parquet"),
    Broken("Parquet, ticker as number", parquet(date=["2024-06-27"], ticker=[1], close=["1"]), "WRONG_TYPE", None,
           file="file.parquet"),
    Broken("Parquet, NaN", parquet(date=["2024-06-27"], ticker=["AAA"], close=[float("nan")]), "NAN_OR_INFINITY", 2,
           file="file.parquet"),
    # ------------------------------------------------------------ header and fields
    Broken("missing column", b"date,ticker\n2024-06-27,AAA\n", "MISSING_COLUMN", 1),
    Broken("duplicated column", b"date,ticker,close,close\n2024-06-27,AAA,1,1\n", "DUPLICATED_COLUMN", 1),
    Broken("duplicated column, other case", b"date,ticker,close,Close \n2024-06-27,AAA,1,1\n", "DUPLICATED_COLUMN", 1),
    Broken("unnamed column", b"date,ticker,close,\n2024-06-27,AAA,1,1\n", "BAD_COLUMN_NAME", 1),
    Broken("unclosed quote in the header", b'date,"ticker,close\n2024-06-27,AAA,1\n', "BAD_HEADER", 1),
    Broken("wrong kind", LOT_COLUMNS + LOT, "WRONG_KIND", 1),
    Broken("semicolons instead of commas", PRICES.replace(b",", b";"), "MISSING_COLUMN", 1),
    Broken("too few fields", price(b"2024-06-27,BBB,1"), "TOO_FEW_FIELDS", 3),
    Broken("too many fields", price(b"2024-06-27,BBB,1,1,1,1"), "TOO_MANY_FIELDS", 3),
    Broken("as many too few as too many", price(b"2024-06-27,BBB,1,1,1,1\n2024-06-26,BBB,1,1"), "TOO_MANY_FIELDS", 3),
    Broken("unclosed quote", price(b'2024-06-27,"BBB,1,1,1\n2024-06-26,BBB,1,1,1'), "UNCLOSED_QUOTE", 3),
    Broken("quote closed lines later", price(b'2024-06-27,"BBB,1,1,1\n2024-06-26,BBB",1,1,1'), "UNCLOSED_QUOTE", 3),
    Broken("text after a quote", price(b'2024-06-27,"BBB"x,1,1,1'), "BAD_QUOTE", 3),
    # ------------------------------------------------------------ values
    Broken("unknown ticker", price(b"2024-06-27,ZZZ,1,1,1"), "UNKNOWN_TICKER", 3),
    Broken("unknown ticker, action", ACTIONS.replace(b"AAA", b"ZZZ"), "UNKNOWN_TICKER", 2, "actions"),
    Broken("unknown ticker, benchmark", BENCHMARK.replace(b"BBB", b"ZZZ"), "UNKNOWN_TICKER", 3, "benchmark"),
    Broken("unknown ticker, lot", lot(b"AAA", b"ZZZ"), "UNKNOWN_TICKER", 2, "lots"),
    Broken("empty ticker", price(b"2024-06-27,,1,1,1"), "EMPTY_FIELD", 3),
    Broken("control character", SECURITIES.replace(b"Alpha", b"Al\x07pha"), "BAD_TEXT", 2, "securities"),
    Broken("ticker with a space", SECURITIES.replace(b"AAA", b"A A"), "BAD_TEXT", 2, "securities"),
    Broken("overlong name", SECURITIES.replace(b"Alpha", b"A" * 201), "BAD_TEXT", 2, "securities"),
    Broken("rows that contradict", price(b"2024-06-27,AAA,11,10.5,100"), "CONFLICTING_ROWS", 3),
    Broken("accounts that contradict", ACCOUNT_COLUMNS + ACCOUNT + ACCOUNT.replace(b"1000", b"2000"),
           "CONFLICTING_ROWS", 2, "accounts"),
    Broken("negative price", price(b"2024-06-27,BBB,-1,1,1"), "NEGATIVE_PRICE", 3),
    Broken("zero price", price(b"2024-06-27,BBB,0,1,1"), "ZERO_PRICE", 3),
    Broken("price stored as zero", price(b"2024-06-27,BBB,0.000000004,1,1"), "ZERO_PRICE", 3),
    Broken("negative adjusted price", price(b"2024-06-27,BBB,1,-1,1"), "NEGATIVE_PRICE", 3),
    Broken("NaN", price(b"2024-06-27,BBB,NaN,1,1"), "NAN_OR_INFINITY", 3),
    Broken("infinity", price(b"2024-06-27,BBB,1,-inf,1"), "NAN_OR_INFINITY", 3),
    Broken("text in a number", price(b"2024-06-27,BBB,abc,1,1"), "NOT_A_NUMBER", 3),
    Broken("currency sign", price("2024-06-27,BBB,€5,1,1".encode()), "NOT_A_NUMBER", 3),
    Broken("hexadecimal", price(b"2024-06-27,BBB,0x1F,1,1"), "NOT_A_NUMBER", 3),
    Broken("thousands separators", price(b'2024-06-27,BBB,"1,234.50",1,1'), "THOUSANDS_SEPARATOR", 3),
    Broken("absurd price", price(b"2024-06-27,BBB,99999999999,1,1"), "OUT_OF_RANGE", 3),
    Broken("absurd exponent", price(b"2024-06-27,BBB,1e99,1,1"), "OUT_OF_RANGE", 3),
    Broken("endless digits", price(b"2024-06-27,BBB,1." + b"3" * 20_000 + b",1,1"), "OUT_OF_RANGE", 3),
    Broken("negative volume", price(b"2024-06-27,BBB,1,1,-5"), "NEGATIVE_VOLUME", 3),
    Broken("fractional volume", price(b"2024-06-27,BBB,1,1,5.5"), "NOT_A_WHOLE_NUMBER", 3),
    Broken("absurd volume", price(b"2024-06-27,BBB,1,1,9999999999999999"), "OUT_OF_RANGE", 3),
    Broken("bad date", price(b"2024-02-30,BBB,1,1,1"), "BAD_DATE", 3),
    Broken("American date", price(b"06/27/2024,BBB,1,1,1"), "BAD_DATE", 3),
    Broken("date without zeros", price(b"2024-6-27,BBB,1,1,1"), "BAD_DATE", 3),
    Broken("Parquet, date with a time", parquet(date=["2024-06-27T16:00:00"], ticker=["AAA"], close=["1"]), "BAD_DATE",
           2, file="file.parquet"),
    Broken("date in the future", price(b"2024-07-01,BBB,1,1,1"), "DATE_IN_FUTURE", 3),
    Broken("action announced for a far future", ACTIONS.replace(b"2024-", b"2034-"), "DATE_IN_FUTURE", 2, "actions"),
    Broken("date before 1900", price(b"1024-06-27,BBB,1,1,1"), "DATE_TOO_EARLY", 3),
    Broken("price on a Sunday", price(b"2024-06-23,BBB,1,1,1"), "NOT_A_SESSION", 3),
    # ------------------------------------------------------------ actions, benchmark, borrow
    Broken("split factor zero", ACTIONS.replace(b",2\n", b",0\n"), "NOT_POSITIVE", 2, "actions"),
    Broken("split factor negative", ACTIONS.replace(b",2\n", b",-2\n"), "NOT_POSITIVE", 2, "actions"),
    Broken("unknown action", ACTIONS.replace(b"split", b"merger"), "UNKNOWN_ACTION", 2, "actions"),
    Broken("weights short of one", BENCHMARK.replace(b"0.5", b"0.4", 1), "WEIGHTS_DO_NOT_SUM_TO_ONE", 2, "benchmark"),
    Broken("weights a little over one", BENCHMARK.replace(b"0.5", b"0.500002", 1), "WEIGHTS_DO_NOT_SUM_TO_ONE", 2,
           "benchmark"),
    Broken("negative weight", BENCHMARK.replace(b"0.5", b"-0.5", 1), "NEGATIVE_WEIGHT", 2, "benchmark"),
    Broken("weight in percent", BENCHMARK.replace(b"0.5", b"50", 1), "WEIGHT_OVER_ONE", 2, "benchmark"),
    Broken("borrow rate negative", BORROW.replace(b"0.02", b"-0.02"), "RATE_OUT_OF_RANGE", 2, "borrow"),
    Broken("borrow rate absurd", BORROW.replace(b"0.02", b"25"), "RATE_OUT_OF_RANGE", 2, "borrow"),
    # ------------------------------------------------------------ accounts
    Broken("unknown region", account(b",US,USD", b",MX,USD"), "UNKNOWN_REGION", 2, "accounts"),
    Broken("unknown tax regime", account(b"USD,US", b"USD,MX"), "UNKNOWN_TAX_REGIME", 2, "accounts"),
    Broken("unknown lot method", account(b"HIFO", b"LIFO"), "UNKNOWN_LOT_METHOD", 2, "accounts"),
    Broken("Canada without average cost", account(b"USD,US", b"USD,CA"), "LOT_METHOD_FOR_REGIME", 2, "accounts"),
    Broken("US with average cost", account(b"HIFO", b"ACB"), "LOT_METHOD_FOR_REGIME", 2, "accounts"),
    Broken("Canada with two rates", account(b"US,HIFO", b"CA,ACB"), "CANADIAN_RATES_DIFFER", 2, "accounts"),
    Broken("rate in percent", account(b"0.37", b"37"), "RATE_OUT_OF_RANGE", 2, "accounts"),
    Broken("negative rate", account(b"0.20", b"-0.20"), "RATE_OUT_OF_RANGE", 2, "accounts"),
    Broken("rates above the gain", account(b"0.37", b"0.99"), "RATE_OUT_OF_RANGE", 2, "accounts"),
    Broken("bad boolean", account(b"false", b"perhaps"), "BAD_BOOLEAN", 2, "accounts"),
    Broken("negative cash", account(b"1000.00", b"-0.01"), "NEGATIVE_CASH", 2, "accounts"),
    Broken("cash in mills", account(b"1000.00", b"1000.001"), "TOO_MANY_DECIMALS", 2, "accounts"),
    Broken("currency name", account(b"USD", b"dollar"), "BAD_TEXT", 2, "accounts"),
    Broken("tag with a quote", account(b"te:tight", b"te'tight"), "BAD_TEXT", 2, "accounts"),
    Broken("unknown strategy", (ACCOUNT_COLUMNS.strip() + b",strategy_id\n" + ACCOUNT.strip() + b",astrology\n"),
           "UNKNOWN_STRATEGY", 2, "accounts"),
    # ------------------------------------------------------------ lots
    Broken("lot of an unknown account", lot(b"ACC-1", b"ACC-9"), "UNKNOWN_ACCOUNT", 2, "lots"),
    Broken("lot of nothing", lot(b",10,", b",0,"), "QUANTITY_NOT_POSITIVE", 2, "lots"),
    Broken("short lot", lot(b",10,", b",-10,"), "QUANTITY_NOT_POSITIVE", 2, "lots"),
    Broken("nine decimals of a share", lot(b",10,", b",10.000000001,"), "TOO_MANY_DECIMALS", 2, "lots"),
    Broken("negative basis", lot(b"100.00", b"-100.00"), "NEGATIVE_BASIS", 2, "lots"),
    Broken("lot acquired in the future", lot(b"2023-01-03", b"2024-07-01"), "DATE_IN_FUTURE", 2, "lots"),
    Broken("lots that contradict", LOT_COLUMNS + LOT + LOT.replace(b"100.00", b"99.00"), "CONFLICTING_ROWS", 2, "lots"),
]
# fmt: on


@pytest.fixture(scope="module")
def stocked(cloned):
    """One database for the whole table, because a refused file leaves no trace: two securities and an account."""
    with cloned() as url:
        database = Database(url)
        with database.transaction() as connection:
            raw = driver_connection(connection)
            raw.execute(
                "INSERT INTO securities (ticker, name, sector, group_id) VALUES ('AAA', 'A', 'Energy', 'AAA'), "
                "('BBB', 'B', 'Energy', 'BBB')"
            )
            raw.execute(
                "INSERT INTO accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, "
                "st_rate, lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags) "
                "VALUES ('ACC-1', 'One', 'US', 'USD', 'US', 'HIFO', 'SP500', 0.3, 0.2, 0, 1, 1, true, '{}')"
            )
        yield database
        database.close()


@pytest.mark.parametrize("broken", BROKEN_FILES, ids=[broken.name for broken in BROKEN_FILES])
def test_broken_file_is_refused_with_line_and_reason(stocked, tmp_path, broken):
    """A broken file is refused with its code on its line, a sentence that helps, and nothing of it in the database."""
    path = tmp_path / broken.file
    path.write_bytes(broken.content)
    before = row_counts(stocked)
    report = ingest_file(stocked, path, FileKind(broken.kind), options=IngestOptions(today=TODAY))
    assert report.status is FileStatus.REFUSED
    fatal = [finding for finding in report.findings if finding.fatal]
    assert (broken.code, broken.line) in [(finding.code, finding.line) for finding in fatal], list(report.findings)
    for finding in fatal:
        assert finding.file == broken.file
        assert finding.reason.endswith(".")
        assert len(finding.reason) > 20
    assert (report.inserted, report.revised, report.unchanged) == (0, 0, 0)
    assert row_counts(stocked) == before


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("securities", SECURITIES), ("prices", PRICES), ("actions", ACTIONS), ("benchmark", BENCHMARK),
        ("borrow", BORROW), ("accounts", ACCOUNT_COLUMNS + ACCOUNT), ("lots", LOT_COLUMNS + LOT),
    ],
)  # fmt: skip
def test_the_file_that_was_not_broken_loads(stocked, database, tmp_path, kind, content):
    """Each file the broken ones were made from has no fatal finding, so the table tests the breakage."""
    with database.transaction() as target, stocked.transaction() as source:
        for table, columns in (
            ("securities", "ticker, name, sector, group_id"),
            (
                "accounts",
                (
                    "account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, st_rate, lt_rate, "
                    "niit_rate, opening_cash, cash, fractional_shares, tags"
                ),
            ),
        ):
            rows = driver_connection(source).execute(f"SELECT {columns} FROM {table}").fetchall()
            marks = ", ".join(["%s"] * len(rows[0]))
            driver_connection(target).cursor().executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    report = ingest_file(database, path, FileKind(kind), options=IngestOptions(today=TODAY))
    assert report.status is FileStatus.LOADED
    assert report.findings.fatal_count == 0
    assert report.inserted + report.revised + report.unchanged == report.rows_read


def test_an_unreadable_path_is_a_finding(stocked, tmp_path):
    """A path that cannot be opened as a file is refused with the system's reason."""
    path = tmp_path / "prices.csv"
    path.mkdir()
    report = ingest_file(stocked, path, FileKind.PRICES, options=IngestOptions(today=TODAY))
    assert report.status is FileStatus.REFUSED
    assert report.findings[0].code == "UNREADABLE_FILE"
    assert "directory" in report.findings[0].reason


def row_counts(database):
    """Rows of every table a load may write."""
    tables = (
        "securities", "prices", "corporate_actions", "benchmark_constituents", "borrow_rates", "accounts",
        "opening_lots", "ledger_events", "ingest_files", "data_revisions",
    )  # fmt: skip
    with database.transaction() as connection:
        raw = driver_connection(connection)
        return {table: raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
