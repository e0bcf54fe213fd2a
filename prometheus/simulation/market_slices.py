"""Files of a market cut by day, so that a simulation reads each day's data only on that day."""

import shutil
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from prometheus.foundation.errors import RequestError

#: Kinds with dates; kinds without (securities) are known from the start.
_DATED: Final = ("prices", "corporate_actions", "benchmark")
_ENDINGS: Final = (".csv", ".csv.gz")


class MarketSlices:
    """Dated files of a market folder, cut by day.

    Args:
        folder: Holds securities, prices, corporate_actions and benchmark as CSV, packed or not, with a column ``date``.
        since: Earlier prices and actions are left out; the benchmark in force on that day stays.

    Raises:
        RequestError: A file is missing.
    """

    def __init__(self, folder: Path, *, since: date) -> None:
        self._securities = _only(folder, "securities")
        self._tables: Mapping[str, pl.DataFrame] = {
            kind: pl.read_csv(_only(folder, kind), infer_schema=False).filter(pl.col("date") >= since.isoformat())
            for kind in _DATED
        }

    def write_through(self, last: date, folder: Path) -> None:
        """Write everything known at the end of a day: the first files of a simulation."""
        shutil.copy(self._securities, folder / self._securities.name)
        self._write(folder, date.min, last)

    def write_between(self, after: date, through: date, folder: Path) -> bool:
        """Write the data dated after one day through another; return False where there are none."""
        return self._write(folder, after + timedelta(days=1), through)

    def _write(self, folder: Path, first: date, last: date) -> bool:
        written = False
        for kind, table in self._tables.items():
            rows = table.filter(pl.col("date").is_between(pl.lit(first.isoformat()), pl.lit(last.isoformat())))
            if rows.height:
                rows.write_csv(folder / f"{kind}.csv")
                written = True
        return written


def _only(folder: Path, kind: str) -> Path:
    paths = [folder / f"{kind}{ending}" for ending in _ENDINGS if (folder / f"{kind}{ending}").exists()]
    if not paths:
        raise RequestError(f"'{folder}' has no {kind}.csv; it is needed for a market.", code="NO_MARKET")
    return paths[0]
