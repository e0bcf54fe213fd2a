"""How much longer a checked load of prices takes than PostgreSQL's own COPY of the same rows.

    python bench/ingest_vs_copy.py [--prices prices.csv.gz --securities securities.csv --actions actions.csv.gz]

Runs on an embedded server of its own with its normal, durable settings, in a temporary home that is removed. Without
files a synthetic market of the same size as ten years of large caps is used. Each round loads into empty tables:

- COPY into a table with the columns of ``prices`` and no index (the plainest load there is),
- COPY into a table with the indexes and checks of ``prices``,
- the whole of ``ingest_file``: reading, every check, staging, comparison, rows,
- the same file again, which changes nothing.
"""

import argparse
import shutil
import statistics
import tempfile
import time
import uuid
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from prometheus.bootstrap.wiring import upgrade_database
from prometheus.db.database import Database, driver_connection
from prometheus.db.embedded.server import EmbeddedServer, release
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.ingestion.ingest import ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.ingestion.reports import IngestOptions

TODAY = date(2026, 1, 1)


def main():
    """Parse, run, print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prices", type=Path)
    parser.add_argument("--securities", type=Path)
    parser.add_argument("--actions", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    home = Path(tempfile.gettempdir()) / f"prometheus-bench-{uuid.uuid4().hex[:12]}"
    files = Path(tempfile.mkdtemp())
    try:
        if chosen.prices is None:
            chosen.securities, chosen.prices = synthetic_market(files)
        database = Database(EmbeddedServer(home, linger_seconds=0).ensure_running())
        upgrade_database(database)
        run(database, chosen)
        database.close()
    finally:
        shutil.rmtree(files)
        release(home)
        for _ in range(100):
            if not (home / "data" / "postmaster.pid").exists():
                break
            time.sleep(0.1)
        shutil.rmtree(home, ignore_errors=True)


def synthetic_market(folder):
    """Write 500 assets over 2,220 sessions (1.11 million rows) and return the two files."""
    names = [f"N{number:03d}" for number in range(500)]
    days = TradingCalendar.for_region("US").sessions_between(date(2012, 1, 3), date(2021, 1, 29))[:2220]
    rng = np.random.default_rng(20120103)
    closes = np.round(50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (len(days), len(names))), axis=0)), 2)
    frame = pl.DataFrame(
        {
            "date": np.tile(np.array(days, dtype="datetime64[D]"), len(names)),
            "ticker": np.repeat(names, len(days)),
            "close": closes.T.ravel(),
            "adj_close": closes.T.ravel(),
            "volume": rng.integers(1_000, 10_000_000, closes.size),
        }
    )
    prices, securities = folder / "prices.csv.gz", folder / "securities.csv"
    frame.write_csv(prices, compression="gzip")
    pl.DataFrame({"ticker": names, "name": names, "sector": ["Energy"] * len(names)}).write_csv(securities)
    return securities, prices


def run(database: Database, chosen):
    """Measure every round and print the medians."""
    options = IngestOptions(today=TODAY)
    report = ingest_file(database, chosen.securities, FileKind.SECURITIES, options=options)
    assert report.loaded, report.findings[:5]
    if chosen.actions:
        report = ingest_file(database, chosen.actions, FileKind.ACTIONS, options=options)
        assert report.loaded, report.findings[:5]
    with database.transaction() as connection:
        raw = driver_connection(connection)
        raw.execute("CREATE TABLE bare_copy AS SELECT * FROM prices WITH NO DATA")
        raw.execute("CREATE TABLE indexed_copy (LIKE prices INCLUDING ALL)")
        ids = dict(raw.execute("SELECT ticker, security_id::text FROM securities").fetchall())
    rows = pl.read_csv(chosen.prices, infer_schema=False).select(
        pl.col("ticker").replace_strict(ids), "date", "close", "adj_close", "volume"
    )
    payload = rows.write_csv(include_header=False).encode()
    print(f"{rows.height:,} rows, {len(payload) / 1e6:.0f} MB of CSV, {chosen.rounds} rounds; seconds, wall clock")
    timings = {"COPY, no index": [], "COPY, indexed": [], "ingest": [], "ingest again": []}
    for number in range(chosen.rounds):
        with database.transaction() as connection:
            driver_connection(connection).execute("TRUNCATE prices, bare_copy, indexed_copy")
        timings["COPY, no index"].append(timed(lambda: plain_copy(database, "bare_copy", payload)))
        timings["COPY, indexed"].append(timed(lambda: plain_copy(database, "indexed_copy", payload)))
        for name, attribute in (("ingest", "inserted"), ("ingest again", "unchanged")):
            started = time.perf_counter()
            report = ingest_file(database, chosen.prices, FileKind.PRICES, options=options)
            timings[name].append(time.perf_counter() - started)
            assert getattr(report, attribute) == rows.height, report.to_json()
        print(f"round {number + 1}: " + ", ".join(f"{name} {values[-1]:.2f}" for name, values in timings.items()))
    median = {name: statistics.median(values) for name, values in timings.items()}
    print("median:  " + ", ".join(f"{name} {value:.2f}" for name, value in median.items()))
    print(f"ingest beyond COPY without index: {median['ingest'] - median['COPY, no index']:.2f} s")
    print(f"ingest beyond COPY with indexes:  {median['ingest'] - median['COPY, indexed']:.2f} s")


def plain_copy(database: Database, table: str, payload: bytes):
    """COPY everything into an empty table, in a transaction of its own."""
    with database.transaction() as connection:
        cursor = driver_connection(connection).cursor()
        with cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy:
            copy.write(payload)


def timed(action):
    """Return how many seconds the action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
