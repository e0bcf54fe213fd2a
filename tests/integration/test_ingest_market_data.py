"""The real market and fleet: everything loads, nothing is fatal, and the known gap of the data shows."""

from datetime import date

import polars as pl
import pytest

from prometheus.db.database import driver_connection
from prometheus.ingestion.ingest import ingest_directory, ingest_file
from prometheus.ingestion.kinds import FileKind
from prometheus.ingestion.reports import IngestOptions

OPTIONS = IngestOptions(today=date(2026, 1, 1))

pytestmark = [pytest.mark.market_data, pytest.mark.slow]


@pytest.mark.long
def test_real_market_and_fleet_load_and_again_with_one_close_corrected(database, shared_data, tmp_path):
    """All rows load without a fatal finding, DD 2019-06-03 is remarked; a second load changes one corrected row."""
    market = {report.kind: report for report in ingest_directory(database, shared_data / "market", options=OPTIONS)}
    fleet = {report.kind: report for report in ingest_directory(database, shared_data / "fleet", options=OPTIONS)}
    reports = {**market, **fleet}
    assert {kind: (report.inserted, report.findings.fatal_count) for kind, report in reports.items()} == {
        FileKind.SECURITIES: (504, 0),
        FileKind.ACTIONS: (13_753, 0),
        FileKind.PRICES: (1_108_765, 0),
        FileKind.BENCHMARK: (43_744, 0),
        FileKind.ACCOUNTS: (20, 0),
        FileKind.LOTS: (14_594, 0),
    }
    remarks = reports[FileKind.PRICES].findings
    assert any("DD 2019-06-03" in finding.reason and "-16.89 %" in finding.reason for finding in remarks)
    assert len(remarks) < 20

    corrected = pl.read_csv(shared_data / "market" / "prices.csv.gz", infer_schema=False)
    pick = (pl.col("ticker") == "AAPL") & (pl.col("date") == "2018-06-01")
    corrected = corrected.with_columns(pl.when(pick).then(pl.lit("190.01")).otherwise("close").alias("close"))
    corrected.write_csv(tmp_path / "prices.csv")
    revised = ingest_file(database, tmp_path / "prices.csv", FileKind.PRICES, options=OPTIONS)
    assert (revised.inserted, revised.revised, revised.unchanged) == (0, 1, 1_108_764)
    # the changed close contradicts adj_close on its day and on the next one
    assert revised.findings.counts_by_code()["ADJ_CLOSE_DIFFERS"] == 2
    with database.transaction() as connection:
        revisions = (
            driver_connection(connection).execute("SELECT key, old_value, new_value FROM data_revisions").fetchall()
        )
    assert revisions == [
        ({"ticker": "AAPL", "price_date": "2018-06-01"}, {"close": "190.24"}, {"close": "190.01"}),
    ]
