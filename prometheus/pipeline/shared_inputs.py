"""What all accounts of a day share, read once for each process and date."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prometheus.bookkeeping.ledger_market import MarketSpan, market_span
from prometheus.db.blobs import blob_address, get_array, put_array
from prometheus.db.database import Connection, Database
from prometheus.db.repositories import market_data
from prometheus.db.repositories.data_dates import DataDates, data_dates
from prometheus.db.repositories.risk_models import latest_risk_model
from prometheus.decision.build_snapshot import DayInputs
from prometheus.domain.securities import BenchmarkDay
from prometheus.foundation.errors import DatabaseUnavailableError
from prometheus.foundation.logging import Logger

_log = Logger(__name__)


class ArraySource(Protocol):
    """Where a snapshot's matrices come from by content address: the database, or a file that carries them."""

    def array(self, address: bytes) -> NDArray[Any]:
        """Return a matrix, read-only."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkWeights:
    """A benchmark's weights as float64 in the order of its tickers, and their content address."""

    array: NDArray[np.float64]
    address: bytes


class SharedInputs:
    """Inputs that many accounts read, kept while one call of advance_all lasts.

    Matrices are kept by content address, which can never go stale. A day's prices may be corrected and its risk model
    refreshed meanwhile: ``forget_if_changed`` looks, once for each batch of runs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._position: tuple[int, int] | None = None
        self._days: dict[date, DayInputs] = {}
        self._dates: dict[date, DataDates] = {}
        self._benchmarks: dict[tuple[str, date], BenchmarkDay | None] = {}
        self._arrays: dict[bytes, NDArray[Any]] = {}
        self._weights: dict[tuple[str, date], BenchmarkWeights] = {}
        self._actions: dict[tuple[date, date, int], MarketSpan] = {}

    def forget_if_changed(self) -> None:
        """Drop days and benchmarks if a file was loaded or a risk model stored since the last look."""
        with self._database.transaction() as connection:
            position = market_data.data_position(connection)
        if position != self._position:
            self._days.clear()
            self._dates.clear()
            self._benchmarks.clear()
            self._weights.clear()
            self._actions.clear()
            self._position = position

    def use(self, database: Database) -> None:
        """Read from this database from now on; what was read stays. For a process forked off with it in memory."""
        self._database = database

    def load(self, as_of: date, benchmarks: Iterable[str]) -> None:
        """Read all that a day's accounts share, before processes are forked that shall share it."""
        model = self.day(as_of).risk_model
        if model is not None:
            self.array(model.loadings_sha256)
            self.array(model.specific_variance_sha256)
            if model.specific_correlation_sha256 is not None:
                self.array(model.specific_correlation_sha256)
        for benchmark_id in benchmarks:
            benchmark = self.benchmark(benchmark_id, as_of)
            if benchmark is not None:
                self.weights(benchmark)

    def load_ahead(self, as_of: date, benchmarks: Iterable[str]) -> None:
        """``load``; a failure is logged, and recorded later with the runs that need the inputs. Other days go on.

        Raises:
            DatabaseUnavailableError: The database is gone.
        """
        try:
            self.forget_if_changed()
            self.load(as_of, benchmarks)
        except DatabaseUnavailableError:
            raise
        except Exception:  # noqa: BLE001 -- logged, and met again by each run that needs it
            _log.exception("a day's shared inputs cannot be read", as_of=as_of.isoformat())

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

    def dates(self, as_of: date) -> DataDates:
        """Return how far the data for a day reaches."""
        if as_of not in self._dates:
            with self._database.transaction() as connection:
                self._dates[as_of] = data_dates(connection, as_of)
        return self._dates[as_of]

    def benchmark(self, benchmark_id: str, as_of: date) -> BenchmarkDay | None:
        """Return a benchmark's constituents in force on a day."""
        key = (benchmark_id, as_of)
        if key not in self._benchmarks:
            with self._database.transaction() as connection:
                self._benchmarks[key] = market_data.benchmark_day(connection, benchmark_id, as_of)
        return self._benchmarks[key]

    def weights(self, benchmark: BenchmarkDay) -> BenchmarkWeights:
        """Return a benchmark's weights as they are stored and solved with."""
        key = (benchmark.benchmark_id, benchmark.effective_date)
        if key not in self._weights:
            array = np.array([float(weight) for weight in benchmark.weights])
            array.flags.writeable = False
            self._weights[key] = BenchmarkWeights(array, blob_address(array))
        return self._weights[key]

    def actions(self, *, after: date, through: date, seen: int) -> MarketSpan:
        """Return the corporate actions with ex-date in (after, through]; nearly all accounts ask for the same days.

        What is returned was read after ``seen``, the number of the latest change of an action, so that no account notes
        down to have looked at a change that it was not given.
        """
        key = (after, through, seen)
        if key not in self._actions:
            with self._database.transaction() as connection:
                self._actions[key] = market_span(connection, None, after=after, through=through)
        return self._actions[key]

    def store(self, connection: Connection, weights: BenchmarkWeights) -> None:
        """Store a benchmark's weights unless they were seen in the database before."""
        if weights.address not in self._arrays:
            put_array(connection, weights.array)

    def array(self, address: bytes) -> NDArray[Any]:
        """Return a stored matrix, read-only."""
        if address not in self._arrays:
            with self._database.transaction() as connection:
                self._arrays[address] = get_array(connection, address)
        return self._arrays[address]
