"""Rebuild a journal of a million transactions over a thousand accounts, and book one account's day beside it.

python bench/ledger_rebuild.py [--rows 1000000] [--accounts 1000] [--profile]

Measured are: the replay in memory (one core), the whole of ``prometheus ledger rebuild --check`` against the embedded
PostgreSQL (rows streamed out of the database, replayed, held against the tables), and one account's day: its books
loaded, a few fills booked with their wash sales, the change written. The journal is synthetic and deterministic.
"""

import argparse
import cProfile
import io
import os
import pstats
import random
import shutil
import tempfile
import time
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from prometheus.accounting.journal import lot_change
from prometheus.accounting.replay import Replay
from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database, driver_connection
from prometheus.db.embedded import EmbeddedServer, release
from prometheus.db.repositories.fills import book_fills
from prometheus.db.repositories.journal import prove_tables
from prometheus.domain.books import Fill, LotPick, TransactionType
from prometheus.domain.lots import Side, TaxLot
from prometheus.foundation.canonical import canonical_json

START = date(2014, 1, 2)
TICKERS = [f"T{i:03d}" for i in range(200)]
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}


def account_journal(number, rows):
    """Yield the journal rows of one account: openings, then purchases, sales, splits and dividends of ten years."""
    draw = random.Random(number)
    lots, opened = {}, 0
    day = START

    def opening(kind):
        nonlocal opened
        opened += 1
        cost = Decimal(draw.randrange(1_000, 1_000_000)) / 100
        quantity = Decimal(draw.randrange(1, 500))
        lot = TaxLot(f"L{opened}", draw.choice(TICKERS), day, quantity, cost, cost, day)
        lots[lot.lot_id] = lot
        amount = Decimal(0) if kind is TransactionType.OPENING else -cost
        return lot_change(kind, day, None, lot, amount=amount, details={"execution_id": f"e{opened}", "price": "1"})

    for _ in range(min(100, rows)):
        yield opening(TransactionType.OPENING)
    for i in range(max(rows - 100, 0)):
        day = START + timedelta(days=i * 3650 // max(rows, 1))
        kind = draw.random()
        if kind < 0.45 or not lots:
            yield opening(TransactionType.BUY)
            continue
        lot = lots[draw.choice(tuple(lots))] if len(lots) < 40 else next(iter(lots.values()))
        if kind < 0.9:
            half = lot.quantity > 1 and draw.random() < 0.3
            left = None
            if half:
                cost = (lot.cost_basis / 2).quantize(Decimal("0.01"))
                left = TaxLot(lot.lot_id, lot.ticker, lot.acquired_on, lot.quantity - 1, cost, cost, lot.acquired_on)
            proceeds = Decimal(draw.randrange(1_000, 1_000_000)) / 100
            yield lot_change(
                TransactionType.SELL, day, lot, left, amount=proceeds, realized_gain=proceeds, details={"price": "1"}
            )
            if left is None:
                del lots[lot.lot_id]
            else:
                lots[lot.lot_id] = left
        else:
            after = TaxLot(
                lot.lot_id,
                lot.ticker,
                lot.acquired_on,
                lot.quantity * 2,
                lot.cost_basis,
                lot.cost_basis,
                lot.acquired_on,
            )
            lots[lot.lot_id] = after
            yield lot_change(TransactionType.SPLIT, day, lot, after, details={"new_shares": "2", "old_shares": "1"})


def in_memory(accounts, rows):
    """Return seconds to replay every journal, and the books of each."""
    seconds, books = 0.0, {}
    for number in range(accounts):
        journal = list(account_journal(number, rows))
        started = time.process_time()
        replayed = Replay()
        for row in journal:
            replayed.post_row(row)
        books[f"ACC-{number:04d}"] = replayed.books()
        seconds += time.process_time() - started
    return seconds, books


def load(database, accounts, rows, books):
    """Write accounts, journal and the lots that follow from it."""
    with database.transaction() as connection:
        raw = driver_connection(connection)
        with raw.cursor() as cursor:
            cursor.execute(
                "INSERT INTO securities (ticker, name, sector, sub_industry, group_id) "
                "SELECT t, '', 'X', '', t "
                "FROM (SELECT 'T' || lpad(i::text, 3, '0') AS t FROM generate_series(0, 199) i)"
            )
            ids = dict(cursor.execute("SELECT ticker, security_id FROM securities").fetchall())
            names = [f"ACC-{number:04d}" for number in range(accounts)]
            with cursor.copy(
                "COPY accounts (account_id, name, region, base_currency, tax_regime, lot_method, benchmark_id, "
                "st_rate, lt_rate, niit_rate, opening_cash, cash, fractional_shares, tags) FROM STDIN"
            ) as copy:
                for name in names:
                    row = (name, name, "US", "USD", "US", "FIFO", "B", 0, 0, 0, 0, 0, True, [])
                    copy.write_row(row)
            cursor.execute("ALTER TABLE accounts DROP CONSTRAINT ck_accounts_cash_not_negative")
            with cursor.copy(
                "COPY transactions (account_id, txn_type, trade_date, security_id, lot_id, quantity, amount, basis, "
                "realized_gain, term, details) FROM STDIN"
            ) as copy:
                for number, name in enumerate(names):
                    for row in account_journal(number, rows):
                        values = (row.quantity, row.amount, row.basis, row.realized_gain, row.term.value)
                        what = (name, row.txn_type.value, row.trade_date, ids[row.ticker], row.lot_id)
                        copy.write_row((*what, *values, canonical_json(row.details)))
            with cursor.copy(
                "COPY tax_lots (account_id, lot_id, security_id, acquired_on, holding_period_start, quantity, "
                "cost_basis, adjusted_basis) FROM STDIN"
            ) as copy:
                for name, held in books.items():
                    for lot in held.lots:
                        copy.write_row(
                            (name, lot.lot_id, ids[lot.ticker], lot.acquired_on, lot.holding_period_start, lot.quantity,
                             lot.cost_basis, lot.adjusted_basis)
                        )  # fmt: skip
            for name, held in books.items():
                cursor.execute("UPDATE accounts SET cash = %s WHERE account_id = %s", [held.cash + 10**9, name])
                cursor.execute(
                    "INSERT INTO transactions (account_id, txn_type, trade_date, quantity, amount, basis, "
                    "realized_gain, term, details) "
                    "VALUES (%s, 'OPENING', '0001-01-01', 0, 1000000000, 0, 0, 'NONE', '{}')",
                    [name],
                )
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


def one_day(database, books):
    """Return seconds to book a day of one account: two sales and two purchases."""
    held = next(iter(books.values()))
    day = START + timedelta(days=3651)
    first, second = held.lots[0], held.lots[-1]

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
    options = parser.parse_args()
    each = options.rows // options.accounts
    seconds, books = in_memory(options.accounts, each)
    total = each * options.accounts
    print(f"replay in memory: {total} transactions in {seconds:.2f} s of one core, {total / seconds:,.0f} a second")
    # Not a private directory: as root the server runs as another user, who has to get in.
    home = Path(tempfile.gettempdir()) / f"prometheus-bench-{os.getpid()}"
    try:
        server = EmbeddedServer(home, linger_seconds=1.0, settings=FAST)
        database = Database(server.ensure_running())
        upgrade_database(database)
        started = time.perf_counter()
        load(database, options.accounts, each, books)
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
        if options.profile:
            text = io.StringIO()
            pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(12)
            print(text.getvalue())
        print(f"one account's day, booked and written: {one_day(database, books) * 1000:.1f} ms")
        database.close()
    finally:
        release(home)
        time.sleep(3)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
