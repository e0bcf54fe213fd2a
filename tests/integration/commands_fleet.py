"""A market of twelve names and a fleet of four accounts, small enough to run its days through the commands."""

import os
import subprocess
import sys
from datetime import date

import numpy as np
from click.testing import CliRunner

from prometheus.db.database import Database
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.ingestion.ingest import IngestOptions, ingest_directory
from prometheus.scripts.main import main
from tests.conftest import clone_of
from tests.integration.engine_fleet import change_strategy

AS_OF = date(2024, 6, 28)
NEXT_DAY = date(2024, 7, 2)
NAMES = tuple(f"N{number:02d}" for number in range(12))
#: Listed this many sessions before AS_OF, too few to be estimated.
YOUNG, YOUNG_SESSIONS = "N11", 20
#: No closes around the turn of the year.
GAPPY = "N10"
SESSIONS = 150

_ACCOUNTS = """account_id,name,region,base_currency,tax_regime,lot_method,benchmark_id,st_rate,lt_rate,niit_rate,cash,\
fractional_shares,tags
ACC-1,Taxable,US,USD,US,HIFO,BM,0.37,0.2,0.038,20000,false,
ACC-2,Fractional,US,USD,US,LEAST_TAX_FIRST,BM,0.37,0.2,0,5000.50,true,restrict:employer-N00
ACC-3,Canada,CA,USD,CA,ACB,BM,0.25,0.25,0,9000,false,
ACC-4,Cash,US,USD,US,FIFO,BM,0.37,0.2,0,50000,false,strange-tag
"""
_LOTS = """account_id,lot_id,ticker,acquired_on,quantity,cost_basis
ACC-1,L1,N00,2022-03-01,300,9000
ACC-1,L2,N00,2024-05-15,200,14000.10
ACC-1,L3,N01,2023-01-03,400,30000
ACC-1,L4,N02,2024-06-20,150,12000
ACC-1,L5,N02,2023-06-20,100,16000
ACC-2,L1,N00,2023-02-01,50.5,4000
ACC-2,L2,N03,2023-02-01,80.25,9000
ACC-3,P1,N04,2023-02-01,500,30000
ACC-3,P2,N05,2023-04-03,300,60000
"""


def write_fleet(folder):
    """Write the files of market and fleet; prices run through NEXT_DAY."""
    sessions = TradingCalendar.for_region("US").sessions_between(date(2023, 10, 2), NEXT_DAY)
    last = sessions.index(AS_OF)
    sessions = sessions[last - SESSIONS + 1 :]
    draws = np.random.default_rng(11).normal(0.0, 1.0, (len(sessions), len(NAMES) + 1))
    returns = 0.008 * draws[:, :1] * np.linspace(0.6, 1.4, len(NAMES)) + 0.01 * draws[:, 1:]
    closes = np.linspace(40, 120, len(NAMES)) * np.exp(np.cumsum(returns, axis=0))
    lines = ["date,ticker,close"]
    for row, session in enumerate(sessions):
        for column, name in enumerate(NAMES):
            young = name == YOUNG and row < SESSIONS - YOUNG_SESSIONS
            gap = name == GAPPY and date(2023, 12, 28) <= session <= date(2024, 1, 4)
            if not young and not gap:
                lines.append(f"{session},{name},{closes[row, column]:.4f}")
    sectors = ("Energy", "Utilities", "Financials")
    (folder / "prices.csv").write_text("\n".join(lines) + "\n")
    (folder / "securities.csv").write_text(
        "ticker,name,sector,sub_industry\n"
        + "".join(f"{name},{name} Inc,{sectors[i % 3]},Sub {i % 3}\n" for i, name in enumerate(NAMES))
    )
    # The constituents' weights are all that is known of the benchmark: they stand for the whole.
    (folder / "benchmark.csv").write_text(
        "date,ticker,weight,benchmark_id\n" + "".join(f"2024-06-03,{name},{1 / 12:.8f},BM\n" for name in NAMES)
    )
    (folder / "accounts.csv").write_text(_ACCOUNTS)
    (folder / "lots.csv").write_text(_LOTS)


def load_fleet(url, folder):
    """Ingest the files into a migrated database."""
    write_fleet(folder)
    database = Database(url)
    try:
        reports = ingest_directory(database, folder, options=IngestOptions(today=NEXT_DAY))
        # The commands' days follow each other without fills; what waits for them has tests of its own.
        with database.transaction() as connection:
            change_strategy(connection, unfilled_orders="trade")
    finally:
        database.close()
    assert all(report.loaded for report in reports), [report.findings for report in reports]


def call(url, *arguments: object, command=main, **environment: str | None):
    """Run a command inside this process on a database; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(
        command,
        [str(argument) for argument in arguments],
        env={"PROMETHEUS_DATABASE_URL": url, "COLUMNS": "80", **environment},
        catch_exceptions=False,
    )


def spawn(url, *arguments: object):
    """Run ``python -m`` with the arguments as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *(str(argument) for argument in arguments)],
        env={**os.environ, "PROMETHEUS_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def refresh_risk(url):
    """Add the day's risk model to a database with market and fleet."""
    done = call(url, "risk", "refresh", "--as-of", AS_OF)
    assert done.exit_code == 0, done.stderr


def copy_of(server, url):
    """Return a context manager that gives the URL of a copy of a database that nobody is connected to."""
    return clone_of(server, url.split("?")[0].rsplit("/", 1)[1])


def trade(url):
    """Take the whole fleet of a database with a risk model through AS_OF and NEXT_DAY."""
    for day in (AS_OF, NEXT_DAY):
        for region in ("US", "CA"):
            if region == "CA" and day == NEXT_DAY:
                continue  # the fleet's Canadian account trades one day only
            done = call(url, "run-engine-state", "--as-of", day, "--region", region, "--ensure", "--data-ready")
            assert done.exit_code == 0, done.stderr
        done = call(url, "run-engine-state", "--advance-all")
        assert done.exit_code == 0, done.stdout + done.stderr
