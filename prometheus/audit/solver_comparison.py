"""Two back-ends on every run of a period, side by side: status, objective, gap, weights, trades, time."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from prometheus.audit.recorded_run import RecordedRun, RunKey, load_recorded_run
from prometheus.audit.replay import decide
from prometheus.db.database import Database
from prometheus.decision.day_result import DayResult
from prometheus.foundation.errors import PrometheusError, RequestError
from prometheus.foundation.files import write_csv
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.result import Certificate
from prometheus.pipeline.shared_inputs import ArraySource, SharedInputs

_BPS: Final = 1e4
_CHUNK: Final = 4


@dataclass(frozen=True, slots=True)
class SolverRow:
    """One run under two back-ends, ``a`` and ``b``.

    Objectives are those of the trades in whole steps, gaps those certified before rounding, both in bps of NAV and None
    where there is no answer. ``error`` says what went wrong with either, if something did.
    """

    as_of: date
    account_id: str
    run_seq: int
    status_a: str
    status_b: str
    objective_a: float | None
    objective_b: float | None
    gap_a: float | None
    gap_b: float | None
    weight_difference: float | None
    trades_differing: int | None
    seconds_a: float
    seconds_b: float
    error: str = ""

    @property
    def objective_difference(self) -> float | None:
        """Return the second objective less the first, bps of NAV."""
        if self.objective_a is None or self.objective_b is None:
            return None
        return self.objective_b - self.objective_a


def require_solvers(*names: str) -> None:
    """Refuse a comparison that could not be made.

    Raises:
        RequestError: A back-end is not installed or has no device here.
    """
    for name in names:
        try:
            backend_named(name)
        except PrometheusError as error:
            raise RequestError(error.message, code=error.code) from error


def compare_run(run: RecordedRun, arrays: ArraySource, a: str, b: str) -> SolverRow:
    """Decide one run's day with each back-end from the record alone."""
    first, second = _answer(run, arrays, a), _answer(run, arrays, b)
    weights = trades = None
    if first.result is not None and second.result is not None:
        w, v = first.result.target_weights, second.result.target_weights
        weights = max((abs(w.get(name, 0.0) - v.get(name, 0.0)) for name in {*w, *v}), default=0.0)
        x, y = first.result.shares, second.result.shares
        trades = sum(x.get(name) != y.get(name) for name in {*x, *y})
    return SolverRow(
        as_of=run.key.as_of,
        account_id=run.key.account_id,
        run_seq=run.key.run_seq,
        status_a=first.status,
        status_b=second.status,
        objective_a=first.objective,
        objective_b=second.objective,
        gap_a=first.gap,
        gap_b=second.gap,
        weight_difference=weights,
        trades_differing=trades,
        seconds_a=first.seconds,
        seconds_b=second.seconds,
        error="; ".join(filter(None, (first.error, second.error))),
    )


def compare_solvers(
    database: Database, keys: Sequence[RunKey], a: str, b: str, *, workers: int = 1
) -> Iterator[SolverRow]:
    """Compare runs of the database one after the other, or in several processes; nothing is written."""
    if workers <= 1:
        arrays = SharedInputs(database)
        for key in keys:
            yield compare_run(load_recorded_run(database, key.account_id, key.run_seq), arrays, a, b)
        return
    # spawn: a forked child would share the parent's connections.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(_compare, database, a, b), keys, chunksize=_CHUNK)


def write_table_csv(rows: Sequence[SolverRow], path: Path) -> None:
    """Write the table as CSV; empty cells where there is no answer."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        columns = [field.name for field in fields(SolverRow)]
        write_csv(stream, columns, (dict(zip(columns, astuple(row), strict=True)) for row in rows))


def write_plot(rows: Sequence[SolverRow], a: str, b: str, path: Path) -> None:
    """Draw times, objectives and weights of two back-ends run by run; PNG or SVG by the file's ending."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 -- a second of import for a plot alone
    from matplotlib.figure import Figure  # noqa: PLC0415 - only those who plot pay for it

    figure = Figure(figsize=(9, 8), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    times, objectives, weights = figure.subplots(3, 1, sharex=True)
    at = range(1, len(rows) + 1)
    times.plot(at, [1000 * row.seconds_a for row in rows], ".", markersize=4, label=a)
    times.plot(at, [1000 * row.seconds_b for row in rows], ".", markersize=4, label=b)
    times.set(ylabel="time [ms]", yscale="log", title=f"{a} and {b} on {len(rows)} runs")
    times.legend()
    nothing = float("nan")
    differences = [nothing if row.objective_difference is None else row.objective_difference for row in rows]
    objectives.plot(at, differences, ".", markersize=4)
    objectives.axhline(0.0, linewidth=0.8, color="grey")
    objectives.set(ylabel=f"objective, {b} less {a} [bps]")
    weights.plot(
        at, [nothing if row.weight_difference is None else row.weight_difference for row in rows], ".", markersize=4
    )
    weights.set(ylabel="largest weight difference", xlabel="run, by day and account", yscale="symlog")
    weights.set_yscale("symlog", linthresh=1e-10)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    result: DayResult | None
    seconds: float
    error: str = ""

    @property
    def objective(self) -> float | None:
        """Return the objective of the rounded trades, bps of NAV."""
        return None if self.certificate is None else _BPS * self.certificate.rounded_objective

    @property
    def gap(self) -> float | None:
        """Return the certified gap, bps of NAV."""
        return None if self.certificate is None else self.certificate.gap_bps

    @property
    def certificate(self) -> Certificate | None:
        """Return the proof, where there is an answer."""
        return None if self.result is None else self.result.certificate


def _answer(run: RecordedRun, arrays: ArraySource, solver: str) -> _Answer:
    began = time.perf_counter()
    try:
        solution = decide(run, arrays, solver=solver).solution
    except PrometheusError as error:
        return _Answer("ERROR", None, time.perf_counter() - began, f"{solver}: {error.code}: {error.message}")
    seconds = time.perf_counter() - began
    facts = solution.result.solver
    used = solver if facts is None else facts.backend
    fallback = "" if used == solver else f"{solver} failed, {used} answered"
    return _Answer(solution.status.value, solution.result, seconds, fallback)


def _compare(database: Database, a: str, b: str, key: RunKey) -> SolverRow:
    return compare_run(load_recorded_run(database, key.account_id, key.run_seq), SharedInputs(database), a, b)
