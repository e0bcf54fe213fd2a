"""Damaged files of every kind: loaded or refused, never an exception, and the books of rows always add up."""

import random
from datetime import date

import pytest

from prometheus.bookkeeping.ledger import open_books
from prometheus.db.database import Database, driver_connection
from prometheus.ingestion.ingest import ingest_directory, ingest_file
from prometheus.ingestion.kinds import STEMS, FileKind
from prometheus.ingestion.reports import FileStatus, IngestOptions
from tests.long_form import short_form

TODAY = date(2024, 6, 28)
SEEDS = range(6)
DAMAGES_A_SEED = 12

GOOD = {
    FileKind.SECURITIES: (
        b'ticker,name,sector,group\nAAA,Alpha,Energy,\nBBB,"Beta, B",Energy,TWINS\n'
        b"CCC,G,Water,TWINS\n"
    ),
    FileKind.ACTIONS: b"date,ticker,type,value\n2024-06-27,AAA,split,2\n2024-06-27,BBB,dividend,0.125\n",
    FileKind.PRICES: b"date,ticker,close,adj_close,volume\n2024-06-26,AAA,20,10,5\n2024-06-27,AAA,10.1,10.1,\n",
    FileKind.BENCHMARK: b"date,ticker,weight\n2024-06-28,AAA,0.25\n2024-06-28,BBB,0.75\n",
    FileKind.BORROW: b"date,ticker,annual_rate\n2024-06-27,AAA,0.02\n2024-06-27,BBB,1e-3\n",
    FileKind.ACCOUNTS: (
        b"account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,"
        b"fractional_shares,tags,strategy_id\nACC-1,One,US,USD,US,HIFO,SP500,0.37,0.20,0.038,1000.00,false,a;b,\n"
        b"ACC-2,Two,CA,CAD,CA,ACB,SP500,0.25,0.25,0,5,true,,tax-managed-index\n"
        b"ACC-3,Three,US,USD,US,FIFO,SP500,0.37,0.20,0.038,1000.00,true,,\n"
    ),
    FileKind.LOTS: (
        b"account_id,lot_id,ticker,acquired_on,quantity,cost_basis\nACC-1,L-1,AAA,2023-01-03,10,100.00\n"
        b"ACC-2,L-1,BBB,2023-01-03,0.5,1\nACC-3,L-1,AAA,2023-01-03,10,100.00\n"
    ),
    FileKind.TRANSACTIONS: (
        b"entry_id,date,account,ticker,action,quantity,amount\nE-1,2024-06-28,ACC-3,AAA,dividend,,5.00\n"
        b"E-2,2024-06-28,ACC-3,AAA,sell,1,10.10\n"
    ),
}  # fmt: skip
#: There is no order that it could fill: what stays whole of it is refused, too.
EXECUTIONS = (
    b"account_id,client_order_id,execution_id,ticker,side,trade_date,executed_at,quantity,price,fee,lot_picks\n"
    b"ACC-3,ACC-3:RUN-001:1,X-1,AAA,SELL,2024-06-28,2024-06-28T15:30:00Z,1,10.10,0.35,L-1=1\n"
)
FRAGMENTS = (
    b",", b'"', b"\n", b"\r", b"-", b"0", b"9" * 30, b"1e400", b"1e-20", b"nan", b"\xff", b"\x00", b"\xef\xbb\xbf",
    b";", b"{", b"}", b"\\", b"\\N", b"'", b" ", b"\t", "\u0663\u2028é".encode(), b"2024-06-31", b"AAA", b"#line",
)  # fmt: skip


@pytest.fixture(scope="module")
def stocked(cloned, tmp_path_factory):
    """A database that holds the good files already, so that damaged ones meet stored rows."""
    folder = tmp_path_factory.mktemp("good")
    for kind, content in GOOD.items():
        (folder / f"{STEMS[kind]}.csv").write_bytes(content)
    transactions = folder / f"{STEMS[FileKind.TRANSACTIONS]}.csv"
    transactions.unlink()
    with cloned() as url:
        database = Database(url)
        reports = ingest_directory(database, folder, options=IngestOptions(today=TODAY))
        # An account's own transactions follow its first day: before it, opening lots and cash say everything.
        with database.transaction() as connection:
            open_books(connection, ["ACC-3"], date(2024, 6, 27))
            driver_connection(connection).execute(
                "UPDATE accounts SET books_as_of = '2024-06-28' WHERE account_id = 'ACC-3'"
            )
        transactions.write_bytes(GOOD[FileKind.TRANSACTIONS])
        reports += (ingest_file(database, transactions, FileKind.TRANSACTIONS, options=IngestOptions(today=TODAY)),)
        assert all(report.loaded and not report.skipped for report in reports)
        yield database
        database.close()


@pytest.mark.parametrize("kind", list(FileKind), ids=lambda kind: kind.value)
@pytest.mark.parametrize("seed", short_form(SEEDS, 2))
def test_damaged_file_loads_or_is_refused(stocked, tmp_path, kind, seed):
    """Whatever is cut, doubled, overwritten or put into a file, the load ends in a report whose counts add up."""
    source = random.Random(f"{kind}:{seed}")
    for number in range(DAMAGES_A_SEED):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(damaged(({**GOOD, FileKind.EXECUTIONS: EXECUTIONS}[kind]), source))
        options = IngestOptions(today=TODAY, skip_bad_rows=source.random() < 0.5)
        report = ingest_file(stocked, path, kind, options=options)
        if report.status is FileStatus.REFUSED:
            assert report.findings.fatal_count > 0, path.read_bytes()
            assert (report.inserted, report.revised, report.unchanged) == (0, 0, 0)
            continue
        vanished = report.inserted + report.revised + report.unchanged + report.skipped - report.rows_read
        assert vanished == 0 or (kind is FileKind.BENCHMARK and 0 < vanished <= report.revised), path.read_bytes()
    with stocked.transaction() as connection:
        sums = driver_connection(connection).execute(
            "SELECT sum(weight) FROM benchmark_constituents GROUP BY benchmark_id, effective_date"
        )
        assert all(abs(total - 1) < 2e-6 for (total,) in sums)
        late = driver_connection(connection).execute(
            "SELECT count(*) FROM ledger_events AS event JOIN opening_lots USING (account_id) "
            "WHERE event.event_id = 'opening:cash' AND opening_lots.recorded_at > event.recorded_at"
        )
        assert late.fetchone() == (0,)


def damaged(content, source):
    """The content with one to three damages."""
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(content) + 1)
        to = min(len(content), at + source.randint(1, 8))
        piece = source.choice(FRAGMENTS)
        content = source.choice(
            [
                content[:at] + piece + content[at:],
                content[:at] + piece + content[to:],
                content[:at] + content[to:],
                content[:at] + content[at:to] * 2 + content[to:],
                content + source.choice(content.splitlines(keepends=True) or [b"\n"]),
            ]
        )
    return content
