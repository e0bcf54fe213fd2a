"""What all accounts of a day share, read once for each process and date."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from numpy.typing import NDArray

from prometheus.db.blobs import get_array
from prometheus.db.database import Database
from prometheus.db.repositories import market_data
from prometheus.db.repositories.market_data import BenchmarkDay, LastPrice
from prometheus.db.repositories.risk_models import StoredRiskModel, latest_risk_model
from prometheus.domain.securities import Security


@dataclass(frozen=True, slots=True)
class DayInputs:
    """Market data and risk model of one day.

    ``risk_model`` is None where there is none for the day or before; ``splits`` has ex-date and factor of every split
    through the day by ticker, oldest first.
    """

    as_of: date
    securities: Mapping[str, Security]
    prices: Mapping[str, LastPrice]
    risk_model: StoredRiskModel | None
    borrow_rates: Mapping[str, Decimal]
    splits: Mapping[str, tuple[tuple[date, Decimal], ...]]


class ArraySource(Protocol):
    """Where a snapshot's matrices come from by content address: the database, or a file that carries them."""

    def array(self, address: bytes) -> NDArray[Any]:
        """Return a matrix, read-only."""
        ...


class SharedInputs:
    """Inputs that many accounts read, kept while one call of advance_all lasts.

    Matrices are kept by content address, which can never go stale. A day's prices may be corrected and its risk model
    refreshed meanwhile: ``forget_if_changed`` looks, once for each batch of runs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._position: tuple[int, int] | None = None
        self._days: dict[date, DayInputs] = {}
        self._benchmarks: dict[tuple[str, date], BenchmarkDay | None] = {}
        self._arrays: dict[bytes, NDArray[Any]] = {}

    def forget_if_changed(self) -> None:
        """Drop days and benchmarks if a file was loaded or a risk model stored since the last look."""
        with self._database.transaction() as connection:
            position = market_data.data_position(connection)
        if position != self._position:
            self._days.clear()
            self._benchmarks.clear()
            self._position = position

    def day(self, as_of: date) -> DayInputs:
        """Return the day's market data and the risk model in force."""
        if as_of not in self._days:
            with self._database.transaction() as connection:
                market_data.read_one_state(connection)
                self._days[as_of] = DayInputs(
                    as_of=as_of,
                    securities=market_data.securities(connection),
                    prices=market_data.last_prices(connection, as_of),
                    risk_model=latest_risk_model(connection, as_of),
                    borrow_rates=market_data.borrow_rates(connection, as_of),
                    splits=market_data.splits(connection, as_of),
                )
        return self._days[as_of]

    def benchmark(self, benchmark_id: str, as_of: date) -> BenchmarkDay | None:
        """Return a benchmark's constituents in force on a day."""
        key = (benchmark_id, as_of)
        if key not in self._benchmarks:
            with self._database.transaction() as connection:
                self._benchmarks[key] = market_data.benchmark_day(connection, benchmark_id, as_of)
        return self._benchmarks[key]

    def array(self, address: bytes) -> NDArray[Any]:
        """Return a stored matrix, read-only."""
        if address not in self._arrays:
            with self._database.transaction() as connection:
                self._arrays[address] = get_array(connection, address)
        return self._arrays[address]
