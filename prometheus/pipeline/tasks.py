"""The phase tasks: each is load -> pure function -> record, the record in the fenced transaction of its phase."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from prometheus.db.database import Database
from prometheus.db.repositories import runs as run_rows
from prometheus.db.repositories.data_dates import DataDates
from prometheus.db.repositories.runs import new_run
from prometheus.db.repositories.staging import NewSnapshot, NewSolution, staged_snapshot, staged_solution
from prometheus.decision.build_snapshot import DayInputs, build_snapshot
from prometheus.decision.day_result import DayResult
from prometheus.decision.partial_day import day_problem
from prometheus.decision.problem_from_snapshot import CorrelationBlock, Matrices
from prometheus.decision.run_record import run_record, trade_row
from prometheus.decision.settle import settle
from prometheus.decision.snapshot import Flag, Snapshot
from prometheus.decision.solve import Solution, solve_day
from prometheus.decision.stored_result import read_staged, stored_result
from prometheus.domain.engine_run import Lease
from prometheus.domain.phases import Phase, RunStatus
from prometheus.domain.securities import BenchmarkDay
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.canonical import CanonicalText, JsonObject, canonical_document
from prometheus.foundation.errors import EngineFrozenError, PhaseHeldError
from prometheus.pipeline.account_inputs import AccountDay, AccountReader
from prometheus.pipeline.data_ages import actions_age, benchmark_age, borrow_age, price_age, risk_age
from prometheus.pipeline.day_holds import USUAL, require_settled, require_usable
from prometheus.pipeline.effects import (
    Effects,
    RunEffects,
    SnapshotEffects,
    SolutionEffects,
)
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.shared_inputs import ArraySource, SharedInputs
from prometheus.risk.model import StoredRiskModel
from prometheus.risk.specific_correlation import unpacked_blocks


@dataclass(frozen=True, slots=True)
class WorkingDay:
    """What one owner has frozen and solved under one lease: the same values that stand in the staging tables.

    As long as the token is the row's nobody else can have written there, so they need not be read back.
    """

    token: int
    snapshot: Snapshot
    snapshot_text: CanonicalText
    params: StrategyParams
    params_json: JsonObject
    targets: Mapping[str, float] | None
    status: RunStatus | None = None
    result: DayResult | None = None
    result_text: CanonicalText | None = None


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task works with.

    ``days`` holds the working days of this process's leases by run, ``accounts`` reads what they begin with.
    """

    database: Database
    config: EngineConfig
    shared: SharedInputs
    days: dict[int, WorkingDay] = field(default_factory=dict)
    accounts: AccountReader = field(default_factory=AccountReader)


@dataclass(frozen=True, slots=True)
class PhaseWork:
    """The result of a phase's computation: where the run goes, and what is written in the same transaction."""

    to_phase: Phase
    effects: Effects | None = None


PhaseTask = Callable[[TaskContext, Lease], PhaseWork]


def snapshot_task(context: TaskContext, lease: Lease) -> PhaseWork:
    """Freeze the inputs: DATA_READY -> SNAPSHOT_BUILT.

    Corporate actions through the day are booked in the same transaction, for the account's household.

    Raises:
        PhaseHeldError: Orders of the run before are open, risk model or other data are stale or absent, prices are
            missing, or the books moved meanwhile; nothing is written.
        EngineError: The account's books are past the day (SUPERSEDED).
    """
    as_of = lease.as_of_date
    day = context.shared.day(as_of)
    model = _usable_model(day.risk_model, as_of, context.config)
    market = _usable_market(context, as_of)
    account = read_account(context, lease, day)
    if account.params.unfilled_orders == "hold":
        require_settled(account.open_orders)
    inputs = account.inputs
    if account.params.long_max > 1 or inputs.books.shorts:
        _require_shorts(account, as_of, market, context.config)
    benchmark = _usable_benchmark(context, inputs.account.benchmark_id, as_of)
    inputs = replace(inputs, old_data=_old_data(benchmark, market, as_of))
    weights = context.shared.weights(benchmark)

    snapshot = build_snapshot(inputs, day, benchmark, weights.address, model)

    params_json = account.params.as_dict()
    text = canonical_document(snapshot.to_json())
    context.days[lease.run_id] = WorkingDay(lease.token, snapshot, text, account.params, params_json, account.targets)
    return PhaseWork(
        Phase.SNAPSHOT_BUILT,
        SnapshotEffects(
            lease=lease,
            staged=NewSnapshot(lease.run_id, text, params_json, model.risk_model_id),
            household=account.household,
            work=account.household.work(context.shared),
            weights=weights,
            shared=context.shared,
            alerts={
                code: "; ".join(flag.message for flag in flags) for code, flags in _by_code(snapshot.flags).items()
            },
        ),
    )


def solve_task(context: TaskContext, lease: Lease) -> PhaseWork:
    """Solve from the stored snapshot and the decoded blobs: SNAPSHOT_BUILT -> SOLVED."""
    if context.config.frozen_by_environment:
        raise EngineFrozenError("RUNNER_FLAG_FROZEN is set for this process.")
    day = _working_day(context, lease)

    solution = solve_snapshot(day.snapshot, day.params, context.shared, day.targets)

    text = canonical_document(stored_result(solution.result))
    context.days[lease.run_id] = replace(day, status=solution.status, result=solution.result, result_text=text)
    return PhaseWork(Phase.SOLVED, SolutionEffects(lease, NewSolution(lease.run_id, solution.status.value, text)))


def persist_task(context: TaskContext, lease: Lease) -> PhaseWork:
    """Book lots exactly and write the immutable run: SOLVED -> PERSISTED."""
    started = time.perf_counter()
    day = _working_day(context, lease)
    if day.result is None:
        with context.database.transaction() as connection:
            staged = staged_solution(connection, lease.run_id)
        day = replace(
            day,
            status=RunStatus(staged.status),
            result=read_staged(staged.result),
            result_text=canonical_document(staged.result),
        )
    status, result, stored = day.status, day.result, day.result_text
    assert status is not None and result is not None and stored is not None  # noqa: PT018 -- set together
    solver = result.solver
    assert solver is not None  # what is staged has it

    settlement = settle(day.snapshot, day.params, result.shares)
    record = run_record(
        day.snapshot,
        day.snapshot_text,
        day.params_json,
        status,
        result,
        stored.members or {},
        settlement,
        code_version=context.config.code_version,
        timings={"solve_seconds": solver.total_seconds, "settle_seconds": time.perf_counter() - started},
    )
    trades = [trade_row(line) for line in settlement.lines]

    alerts = {}
    if status is RunStatus.NON_OPTIMAL:
        last = result.failures[-1]
        alerts["NON_OPTIMAL"] = (
            f"No certified answer ({last.code}): {last.message} Previous targets kept, nothing traded."
        )
    return PhaseWork(Phase.PERSISTED, RunEffects(lease, new_run(lease.run_id, record, trades), alerts))


#: The task of each phase that has one.
TASKS: Final[Mapping[Phase, PhaseTask]] = {
    Phase.DATA_READY: snapshot_task,
    Phase.SNAPSHOT_BUILT: solve_task,
    Phase.SOLVED: persist_task,
}


def solve_snapshot(
    snapshot: Snapshot, params: StrategyParams, arrays: ArraySource, previous_targets: Mapping[str, float] | None
) -> Solution:
    """Solve a day from its frozen inputs and the decoded blobs; the one way for the engine and for every replay."""
    return solve_day(day_problem(snapshot, params, matrices(arrays, snapshot)), params, previous_targets)


def matrices(shared: ArraySource, snapshot: Snapshot) -> Matrices:
    """Return the decoded blobs that a snapshot names."""
    linked: tuple[CorrelationBlock, ...] = ()
    if snapshot.specific_correlation_sha256 is not None:
        packed = shared.array(bytes.fromhex(snapshot.specific_correlation_sha256))
        linked = tuple(CorrelationBlock(block.names, block.correlation) for block in unpacked_blocks(packed))
    return Matrices(
        loadings=shared.array(bytes.fromhex(snapshot.loadings_sha256)),
        specific_variance=shared.array(bytes.fromhex(snapshot.specific_variance_sha256)),
        benchmark_weights=shared.array(bytes.fromhex(snapshot.benchmark_weights_sha256)),
        specific_correlation=linked,
    )


def _working_day(context: TaskContext, lease: Lease) -> WorkingDay:
    """Return the run's frozen inputs: from memory where this lease froze them, else from the staging table."""
    known = context.days.get(lease.run_id)
    if known is not None and known.token == lease.token:
        return known
    with context.database.transaction() as connection:
        staged = staged_snapshot(connection, lease.run_id)
        targets = run_rows.previous_targets(connection, lease.account_id, lease.as_of_date)
    day = WorkingDay(
        lease.token,
        Snapshot.from_json(staged.snapshot),
        canonical_document(staged.snapshot),
        StrategyParams.from_dict(staged.params),
        staged.params,
        targets,
    )
    context.days[lease.run_id] = day
    return day


def read_account(context: TaskContext, lease: Lease, day: DayInputs) -> AccountDay:
    """Return what a run's account is made of, read together with those of its batch."""
    return context.accounts.take(context.database, context.shared, lease, day)


def _usable_model(model: StoredRiskModel | None, as_of: date, config: EngineConfig) -> StoredRiskModel:
    newest, hours = (None, None) if model is None else (model.as_of_date, model.age_hours)
    require_usable(risk_age(newest, hours, as_of, config.risk_model_max_age_hours))
    assert model is not None  # else it is not usable
    return model


def _usable_market(context: TaskContext, as_of: date) -> DataDates:
    """Return how far a day's data reaches, where its closes and corporate actions can be traded upon."""
    dates, limits = context.shared.dates(as_of), context.config.ages
    prices = price_age(dates.prices, as_of, limits)
    # Which names lack a close decides for each account whether the day can be traded.
    if prices.code == "STALE_PRICES":
        require_usable(prices)
    require_usable(actions_age(dates, as_of, limits))
    return dates


def _require_shorts(account: AccountDay, as_of: date, market: DataDates, config: EngineConfig) -> None:
    """Refuse a day that may sell short or cover where that is not settled, or borrow rates are old or absent.

    Raises:
        PhaseHeldError: SHORTS_IN_REGIME, STALE_BORROW.
    """
    regime = account.inputs.account.tax_regime
    if not regime.settles_shorts:
        raise PhaseHeldError(
            f"{account.inputs.account.account_id} has long_max {account.params.long_max:g} and "
            f"{len(account.inputs.books.shorts)} short positions, which are not settled under the rules of {regime}. "
            "Set it to 1 and close them, or solve the day apart with 'prometheus optimize'.",
            code="SHORTS_IN_REGIME",
        )
    if account.params.long_max > 1:
        require_usable(borrow_age(market.borrow, as_of, config.ages, needed=True))


def _usable_benchmark(context: TaskContext, benchmark_id: str, as_of: date) -> BenchmarkDay:
    benchmark = context.shared.benchmark(benchmark_id, as_of)
    newest = None if benchmark is None else benchmark.effective_date
    require_usable(benchmark_age(benchmark_id, newest, as_of, context.config.ages))
    assert benchmark is not None  # else it is not usable
    return benchmark


def _old_data(benchmark: BenchmarkDay, dates: DataDates, as_of: date) -> tuple[Flag, ...]:
    """Return flags of what is used although it is older than usual, because a setting allows it."""
    ages = [
        benchmark_age(benchmark.benchmark_id, benchmark.effective_date, as_of, USUAL),
        actions_age(dates, as_of, USUAL),
        price_age(dates.prices, as_of, USUAL),
    ]
    return tuple(Flag(age.code, age.reason) for age in ages if not age.usable and age.code != "NO_DATA")


def _by_code(flags: tuple[Flag, ...]) -> dict[str, list[Flag]]:
    grouped: dict[str, list[Flag]] = {}
    for flag in flags:
        grouped.setdefault(flag.code, []).append(flag)
    return grouped
