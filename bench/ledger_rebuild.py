"""Rebuild a journal of a million transactions over a thousand accounts, and book one account's day beside it.

python -m bench.ledger_rebuild [--rows 1000000] [--accounts 1000] [--profile]

Measured are: the replay in memory (one core), the whole of ``prometheus ledger rebuild --check`` against the embedded
PostgreSQL (rows streamed out of the database, replayed, held against the tables, wash sales derived anew), and one
account's day: its books loaded, a few fills booked with their wash sales, the change written. The journal is
deterministic and valid (``bench/ledger_journal.py``); a check that finds a difference in it ends the bench with 1.
"""

import argparse
import cProfile
import io
import os
import pstats
import shutil
import sys
import tempfile
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from bench.ledger_journal import TICKERS, template
from prometheus.accounting.derivation import DERIVED_TYPES
from prometheus.accounting.replay import Replay
from prometheus.bookkeeping.fills import book_fills
from prometheus.bookkeeping.journal import prove_tables
from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database, driver_connection
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.domain.books import Fill, LotPick, TransactionType
from prometheus.domain.lots import Side
from prometheus.foundation.canonical import canonical_json

FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}


def in_memory(templates, accounts):
    """Return seconds to replay every account's journal, and the number of rows."""
    seconds, rows = 0.0, 0
    for number in range(accounts):
        journal = templates[number % len(templates)]
        started = time.process_time()
        replayed = Replay()
        for row in journal.rows:
            replayed.post_row(row)
        books = replayed.books()
        seconds += time.process_time() - started
        rows += len(journal.rows)
        if books != journal.books:
            sys.exit(f"replayed account {number} is not what was booked")
    return seconds, rows


def load(database, templates, accounts):
    """Write accounts, journals and lots: every account is one of the templates under a name of its own."""
    with database.transaction() as connection:
        raw = driver_connection(connection)
        with raw.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO securities (ticker, name, sector, sub_industry, group_id) VALUES (%s, '', 'X', '', %s)",
                [(ticker, ticker) for ticker in TICKERS],
            )
            ids = dict(cursor.execute("SELECT ticker, security_id FROM securities").fetchall())
            accounts_of = [(f"ACC-{n:04d}", templates[n % len(templates)]) for n in range(accounts)]
            with cursor.copy(
                "COPY accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, "
                "st_rate, lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags) FROM STDIN"
            ) as copy:
                for name, known in accounts_of:
                    row = (name, name, "US", "USD", "US", "HIFO", "B", 0, 0, 0, 0, known.books.cash, True, [])
                    copy.write_row(row)
            with cursor.copy(
                "COPY transactions (account_id, txn_type, trade_date, security_id, lot_id, quantity, amount, basis, "
                "realized_gain, term, details) FROM STDIN"
            ) as copy:
                for name, known in accounts_of:
                    for row in known.rows:
                        values = (row.quantity, row.amount, row.basis, row.realized_gain, row.term.value)
                        what = (name, row.txn_type.value, row.trade_date, ids.get(row.ticker), row.lot_id)
                        copy.write_row((*what, *values, canonical_json(row.details)))
            with cursor.copy(
                "COPY tax_lots (account_id, lot_id, security_id, acquired_on, holding_period_start, quantity, "
                "cost_basis, adjusted_basis) FROM STDIN"
            ) as copy:
                for name, known in accounts_of:
                    for lot in known.books.lots:
                        copy.write_row(
                            (name, lot.lot_id, ids[lot.ticker], lot.acquired_on, lot.holding_period_start, lot.quantity,
                             lot.cost_basis, lot.adjusted_basis)
                        )  # fmt: skip
            cursor.execute("ANALYZE")


def cpu_seconds(pid):
    """Return the CPU time a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check(database):
    """Return seconds of the clock, CPU seconds of this process and of the server's, rows and differences."""
    started, worked = time.perf_counter(), time.process_time()
    with database.transaction() as connection:
        server = driver_connection(connection).info.backend_pid
        before = cpu_seconds(server)
        proofs = list(prove_tables(connection))
        served = cpu_seconds(server) - before
    return (
        time.perf_counter() - started,
        time.process_time() - worked,
        served,
        sum(p.rows for p in proofs),
        sum(len(p.differences) for p in proofs),
    )


def check_one(database):
    """Return seconds to prove one account of them all."""
    started = time.perf_counter()
    with database.transaction() as connection:
        list(prove_tables(connection, ["ACC-0000"]))
    return time.perf_counter() - started


def one_day(database, known):
    """Return seconds to book a day of the first account: two sales, one of them at a loss, and two purchases."""
    day = known.last_day + timedelta(days=1)
    first, second = known.books.lots[0], known.books.lots[-1]

    def sale(name, lot, price):
        picks = (LotPick(lot.lot_id, lot.quantity),)
        return Fill(name, lot.ticker, Side.SELL, day, lot.quantity, Decimal(price), lot_picks=picks)

    fills = [
        sale("d1", first, "0.01"),
        sale("d2", second, "1"),
        Fill("d3", first.ticker, Side.BUY, day, Decimal(5), Decimal(2), new_lot_id="D3"),
        Fill("d4", "T001", Side.BUY, day, Decimal(5), Decimal(2), new_lot_id="D4"),
    ]
    started = time.perf_counter()
    with database.transaction() as connection:
        book_fills(connection, "ACC-0000", fills, as_of=day, group_of={})
    return time.perf_counter() - started


def main():
    """Run the bench and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--profile", action="store_true", help="print where the check spends its time")
    parser.add_argument("--templates", type=int, default=50, help="accounts booked; the others are copies of them")
    options = parser.parse_args()
    templates = [template(seed, options.rows // options.accounts) for seed in range(options.templates)]
    booked = [row for known in templates for row in known.rows]
    derived = sum(row.txn_type in DERIVED_TYPES for row in booked) / len(booked)
    losses = [row for row in booked if row.txn_type is TransactionType.SELL and row.realized_gain < 0]
    named = {(row.details["loss_execution_id"], row.details["loss_lot_id"], row.ticker, row.trade_date.year)
             for row in booked if row.txn_type is TransactionType.WASH_SALE}  # fmt: skip
    print(f"journal: {derived:.1%} of rows are of wash sales; {len(named) / len(losses):.1%} of losses are washed")
    seconds, total = in_memory(templates, options.accounts)
    print(f"replay in memory: {total} transactions in {seconds:.2f} s of one core, {total / seconds:,.0f} a second")
    # Not a private directory: as root the server runs as another user, who has to get in.
    home = Path(tempfile.gettempdir()) / f"prometheus-bench-{os.getpid()}"
    try:
        server = EmbeddedServer(home, linger_seconds=1.0, settings=FAST)
        database = Database(server.ensure_running())
        upgrade_database(database)
        started = time.perf_counter()
        load(database, templates, options.accounts)
        print(f"(loaded in {time.perf_counter() - started:.1f} s)")
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        seconds, worked, served, rows, differences = check(database)
        if options.profile:
            profile.disable()
        print(f"rebuild --check: {rows} rows in {seconds:.2f} s of the clock, {rows / seconds:,.0f} a second")
        together = rows / (worked + served)
        print(f"  CPU: {worked:.2f} s here, {served:.2f} s in the server; {together:,.0f} a second of one core")
        print(f"  {differences} differences")
        if differences or rows != total:
            sys.exit("a journal that the ledger booked must be the one that its rules give")
        again = check_one(database)
        print(f"rebuild --check of one account: {again * 1000:.1f} ms")
        if options.profile:
            text = io.StringIO()
            pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(12)
            print(text.getvalue())
        print(f"one account's day, booked and written: {one_day(database, templates[0]) * 1000:.1f} ms")
        database.close()
    finally:
        release(home)
        time.sleep(3)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
