"""Replays of whole periods, in this process or in several, run by run as they finish."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import get_context
from typing import Final

from prometheus.audit.recorded_run import RunKey, load_recorded_run
from prometheus.audit.replay import Replayed, replay_run
from prometheus.db.database import Database
from prometheus.db.repositories.runs import runs_between
from prometheus.foundation.errors import PrometheusError, RequestError
from prometheus.pipeline.shared_inputs import SharedInputs

#: Runs handed to a worker at a time: enough to share matrices of a day, few enough to finish together.
_CHUNK: Final = 8


@dataclass(slots=True)
class ReplaySummary:
    """What a replay of many runs came to; ``mismatches`` keeps those that do not agree.

    ``other_code`` counts runs by the code that decided them where it is not the code that replayed.
    """

    replayed: int = 0
    agreed: int = 0
    largest_weight_difference: float = 0.0
    seconds: float = 0.0
    mismatches: list[Replayed] = field(default_factory=list)
    other_code: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Replayed) -> None:
        """Count one run."""
        self.replayed += 1
        self.seconds += outcome.seconds
        if outcome.code and not outcome.same_code:
            self.other_code[outcome.code] += 1
        if outcome.agrees:
            self.agreed += 1
            self.largest_weight_difference = max(self.largest_weight_difference, outcome.weight_difference)
        else:
            self.mismatches.append(outcome)


def runs_of_period(
    database: Database, *, first: date | None = None, last: date | None = None, account_id: str | None = None
) -> tuple[RunKey, ...]:
    """Return the runs of a period, archived ones left out, day by day.

    Raises:
        RequestError: There is none (NO_RUNS).
    """
    with database.transaction() as connection:
        runs = runs_between(connection, first=first, last=last, account_id=account_id)
    if not runs:
        raise RequestError("There is no run in this period to look at. See 'prometheus runs list'.", code="NO_RUNS")
    # Runs of one day share their matrices.
    return tuple(sorted((RunKey(*row) for row in runs), key=lambda key: (key.as_of, key.account_id)))


def replay_many(
    database: Database, keys: Sequence[RunKey], *, solver: str | None = None, workers: int = 1
) -> Iterator[Replayed]:
    """Replay runs and yield each outcome; with several workers in the order in which they finish in turn.

    Args:
        database: Where the records are.
        keys: Which runs.
        solver: Back-end in place of the recorded ones.
        workers: Processes; 1 for this one alone.
    """
    if workers <= 1:
        replay = _Replayer(database, solver)
        yield from map(replay, keys)
        return
    # spawn: a forked child would share the parent's connections.
    with ProcessPoolExecutor(
        max_workers=workers, mp_context=get_context("spawn"), initializer=_open, initargs=(database, solver)
    ) as pool:
        yield from pool.map(_replay, keys, chunksize=_CHUNK)


class _Replayer:
    """One process's replays; matrices are kept by content address, so a day's are read once."""

    def __init__(self, database: Database, solver: str | None) -> None:
        self._database, self._solver = database, solver
        self._arrays = SharedInputs(database)

    def __call__(self, key: RunKey) -> Replayed:
        try:
            run = load_recorded_run(self._database, key.account_id, key.run_seq)
            return replay_run(run, self._arrays, solver=self._solver)
        except PrometheusError as error:
            # A record that cannot be read is found by name, and the others are looked at all the same.
            return unreadable(key, error)


def unreadable(key: RunKey, error: PrometheusError) -> Replayed:
    """Return the outcome of a run whose record cannot be read."""
    nothing = float("nan")
    differences = (f"{error.code}: {error.message}",)
    return Replayed(key, False, True, "", "", "", nothing, 0, None, None, 0.0, differences)


_worker: Callable[[RunKey], Replayed] | None = None


def _open(database: Database, solver: str | None) -> None:
    global _worker  # noqa: PLW0603 -- what a pool's initializer leaves for its tasks
    _worker = _Replayer(database, solver)


def _replay(key: RunKey) -> Replayed:
    assert _worker is not None
    return _worker(key)
