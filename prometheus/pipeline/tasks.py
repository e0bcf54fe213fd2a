"""The phase tasks: each is load -> pure function -> record, the record in the fenced transaction of its phase."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final

from prometheus.accounting.corporate_actions import actions_concerning
from prometheus.db.database import Connection, Database
from prometheus.db.repositories import accounts as account_rows
from prometheus.db.repositories import households, market_data
from prometheus.db.repositories import runs as run_rows
from prometheus.db.repositories.action_changes import (
    action_words,
    actions_position,
    book_morning,
    unbooked_actions,
    unseen_actions,
)
from prometheus.db.repositories.engine_events import raise_alert
from prometheus.db.repositories.engine_runs import earlier_active_day
from prometheus.db.repositories.fills import close_windows
from prometheus.db.repositories.risk_models import StoredRiskModel
from prometheus.db.repositories.staging import (
    clear_staging,
    stage_snapshot,
    stage_solution,
    staged_snapshot,
    staged_solution,
)
from prometheus.db.repositories.strategies import latest_strategy
from prometheus.domain.accounts import TaxRegime
from prometheus.domain.engine_run import Lease
from prometheus.domain.phases import Phase, RunStatus
from prometheus.domain.securities import CorporateAction
from prometheus.domain.strategy import StrategyParams, merge_tag_overrides
from prometheus.foundation.canonical import CanonicalText, canonical_json, text_of_jsonable, to_jsonable
from prometheus.foundation.errors import (
    AccountingError,
    ConfigurationError,
    EngineError,
    EngineFrozenError,
    PhaseHeldError,
)
from prometheus.pipeline.build_snapshot import AccountInputs, build_snapshot, held_actions, morning_meets_purchases
from prometheus.pipeline.day_inputs import ArraySource, DayInputs, SharedInputs
from prometheus.pipeline.engine_config import EngineConfig
from prometheus.pipeline.problem import CorrelationBlock, Matrices, build_problem
from prometheus.pipeline.run_record import run_record, trade_row
from prometheus.pipeline.settle import settle
from prometheus.pipeline.snapshot import Flag, Snapshot
from prometheus.pipeline.solve import Solution, solve
from prometheus.risk.specific_correlation import unpacked_blocks

#: Both sides of the wash-sale window: what may still matter is at most this old.
_JOURNAL_AGE: Final = timedelta(days=61)
#: A model built today from data this old is stale all the same.
_MODEL_DATE_LAG: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class WorkingDay:
    """What one owner has frozen and solved under one lease: the same values that stand in the staging tables.

    As long as the token is the row's nobody else can have written there, so they need not be read back.
    """

    token: int
    snapshot: Snapshot
    snapshot_text: CanonicalText
    params: StrategyParams
    params_json: Mapping[str, Any]
    targets: Mapping[str, float] | None
    status: RunStatus | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task works with; ``days`` holds the working days of this process's leases by run."""

    database: Database
    config: EngineConfig
    shared: SharedInputs
    days: dict[int, WorkingDay] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhaseWork:
    """The result of a phase's computation: where the run goes, and what is written in the same transaction.

    ``record`` may be called again where its transaction was rolled back.
    """

    to_phase: Phase
    record: Callable[[Connection], None]


PhaseTask = Callable[[TaskContext, Lease], PhaseWork]


def snapshot_task(context: TaskContext, lease: Lease) -> PhaseWork:
    """Freeze the inputs: DATA_READY -> SNAPSHOT_BUILT.

    Corporate actions since the account's last day are booked in the same transaction.

    Raises:
        PhaseHeldError: Risk model stale or absent, prices missing, or the books moved meanwhile; nothing is written.
        EngineError: The account's books are past the day (SUPERSEDED).
    """
    as_of, account_id = lease.as_of_date, lease.account_id
    day = context.shared.day(as_of)
    model = _usable_model(day.risk_model, as_of, context.config)
    inputs, params, position, targets = _load_account(context, lease, day)
    if params.long_max > 1:
        raise PhaseHeldError(
            f"{account_id} has long_max {params.long_max:g}, but the ledger books no short positions. Set it to 1, or "
            "solve the day apart with 'prometheus optimize'.",
            code="SHORTS_NOT_BOOKED",
        )
    if inputs.account.tax_regime is TaxRegime.CA and _close_windows(context, lease, day):
        inputs, params, position, targets = _load_account(context, lease, day)
    if morning_meets_purchases(inputs, day):
        actions = held_actions(inputs)
        _book_morning(context, lease, day)
        inputs, params, position, targets = _load_account(context, lease, day)
        inputs = replace(inputs, booked_actions=actions)
    benchmark = context.shared.benchmark(inputs.account.benchmark_id, as_of)
    if benchmark is None:
        raise PhaseHeldError(
            f"Benchmark {inputs.account.benchmark_id} of {account_id} has no constituents on or before {as_of}. Load "
            "them with 'prometheus ingest FILE --kind benchmark'.",
            code="NO_BENCHMARK",
        )
    weights = context.shared.weights(benchmark)

    built = build_snapshot(inputs, day, benchmark, weights.address, model)

    stored = built.snapshot.to_json()
    text = CanonicalText(text_of_jsonable(stored))
    params_json = params.as_dict()
    context.days[lease.run_id] = WorkingDay(lease.token, Snapshot.from_json(stored), text, params, params_json, targets)
    alerts = {code: "; ".join(flag.message for flag in flags) for code, flags in _by_code(built.snapshot.flags).items()}

    def record(connection: Connection) -> None:
        if households.household_position(connection, account_id, inputs.members, lock=True) != position:
            raise PhaseHeldError(f"The books of {account_id} changed while its snapshot was built.", code="BOOKS_MOVED")
        earlier = earlier_active_day(connection, account_id, as_of)
        if earlier is not None:
            raise PhaseHeldError(f"{earlier} of {account_id} was marked ready meanwhile and comes first.", code="ORDER")
        context.shared.store(connection, weights)
        account_rows.save_books(
            connection,
            account_id,
            before=inputs.books,
            after=built.books,
            transactions=built.transactions,
            books_as_of=as_of,
            actions_seen=inputs.actions_seen,
        )
        stage_snapshot(connection, lease.run_id, snapshot=text, params=params_json, risk_model_id=model.risk_model_id)
        for code, message in alerts.items():
            _alert(connection, lease, code, message)

    return PhaseWork(Phase.SNAPSHOT_BUILT, record)


def solve_task(context: TaskContext, lease: Lease) -> PhaseWork:
    """Solve from the stored snapshot and the decoded blobs: SNAPSHOT_BUILT -> SOLVED."""
    if context.config.frozen_by_environment:
        raise EngineFrozenError("RUNNER_FLAG_FROZEN is set for this process.")
    day = _working_day(context, lease)

    solution = solve_snapshot(day.snapshot, day.params, context.shared, day.targets)

    result = to_jsonable(solution.result)
    text = CanonicalText(text_of_jsonable(result))
    context.days[lease.run_id] = replace(day, status=solution.status, result=result)

    def record(connection: Connection) -> None:
        stage_solution(connection, lease.run_id, status=solution.status.value, result=text)

    return PhaseWork(Phase.SOLVED, record)


def persist_task(context: TaskContext, lease: Lease) -> PhaseWork:
    """Book lots exactly and write the immutable run: SOLVED -> PERSISTED."""
    started = time.perf_counter()
    day = _working_day(context, lease)
    if day.result is None or day.status is None:
        with context.database.transaction() as connection:
            staged = staged_solution(connection, lease.run_id)
        day = replace(day, status=RunStatus(staged.status), result=staged.result)
    status, result = day.status, day.result
    assert status is not None and result is not None  # noqa: PT018 -- both were just read

    settlement = settle(day.snapshot, day.params, result["shares"])
    record = run_record(
        day.snapshot, day.snapshot_text, day.params_json, status, result, settlement, context.config.code_version
    )
    record["timings"] = {
        "solve_seconds": result["solver"]["total_seconds"],
        "settle_seconds": time.perf_counter() - started,
    }
    trades = [trade_row(line) for line in settlement.lines]

    def write(connection: Connection) -> None:
        # A run that stands already is never written again: the phase just catches up with it.
        if run_rows.existing_run_seq(connection, lease.account_id, lease.as_of_date) is None:
            run_rows.insert_run(connection, run_id=lease.run_id, record=record, trades=trades)
        if status is RunStatus.NON_OPTIMAL:
            last = result["failures"][-1]
            _alert(
                connection,
                lease,
                "NON_OPTIMAL",
                f"No certified answer ({last['code']}): {last['message']} Previous targets kept, nothing traded.",
            )
        clear_staging(connection, lease.run_id)

    return PhaseWork(Phase.PERSISTED, write)


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
    return solve(build_problem(snapshot, params, matrices(arrays, snapshot)), params, previous_targets)


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
        CanonicalText(canonical_json(staged.snapshot)),
        StrategyParams.from_dict(staged.params),
        staged.params,
        targets,
    )
    context.days[lease.run_id] = day
    return day


def _close_windows(context: TaskContext, lease: Lease, day: DayInputs) -> int:
    """Settle losses whose day 30 has passed: the books that a day begins with have them final."""
    groups = {ticker: security.group for ticker, security in day.securities.items()}
    with context.database.transaction() as connection:
        return close_windows(connection, lease.account_id, as_of=lease.as_of_date, group_of=groups)


def _book_morning(context: TaskContext, lease: Lease, day: DayInputs) -> int:
    """Book the morning's actions with what purchases already made take back of their losses, over the household."""
    groups = {ticker: security.group for ticker, security in day.securities.items()}
    with context.database.transaction() as connection:
        return book_morning(connection, lease.account_id, as_of=lease.as_of_date, group_of=groups)


def _unbooked_actions(connection: Connection, account_id: str, day: DayInputs) -> str | None:
    """Return in words what the books lack of actions that came or changed after they had passed them.

    Raises:
        PhaseHeldError: Shares would be others (ACTIONS_NOT_BOOKED): nothing may be traded upon them.
    """
    unseen = unseen_actions(connection, [account_id]).get(account_id, ())
    if not unseen:
        return None
    groups = {ticker: security.group for ticker, security in day.securities.items()}
    try:
        found = unbooked_actions(connection, account_id, groups, unseen)
    except AccountingError as error:
        raise PhaseHeldError(
            f"{account_id}: {action_words(unseen[0])} came or changed after the books had passed the day, and they "
            f"cannot be booked again: {error.message}",
            code="ACTIONS_NOT_BOOKED",
            details={"account_id": account_id},
        ) from error
    if found is not None and found.shares:
        raise PhaseHeldError(f"{account_id}: {found}.", code="ACTIONS_NOT_BOOKED", details={"account_id": account_id})
    return None if found is None else f"{found}."


def _load_account(
    context: TaskContext, lease: Lease, day: DayInputs
) -> tuple[AccountInputs, StrategyParams, int, Mapping[str, float] | None]:
    as_of = lease.as_of_date
    with context.database.transaction() as connection:
        market_data.read_one_state(connection)
        account = account_rows.accounts_of(connection, account_ids=[lease.account_id])[0]
        strategy = latest_strategy(connection, account.strategy_id)
        if strategy is None:
            raise ConfigurationError(
                f"Account {account.account_id} uses strategy '{account.strategy_id}', which is not in the database."
            )
        params, unmatched = merge_tag_overrides(
            StrategyParams.from_dict(strategy.params), strategy.tag_overrides, account.tags
        )
        if account.books_as_of is not None and account.books_as_of > as_of:
            raise EngineError(
                f"The books of {account.account_id} are those of {account.books_as_of}; {as_of} can no longer be "
                "traded.",
                code="SUPERSEDED",
            )
        seen = actions_position(connection)
        unbooked = _unbooked_actions(connection, account.account_id, day)
        household = households.household_of_account(connection, account)
        members = tuple(member.account_id for member in household.accounts.values())
        position = households.household_position(connection, account.account_id, members)
        books = account_rows.load_books(connection, account.account_id)
        held = {lot.ticker for lot in books.lots}
        # Opening lots are handed over as of the account's first day: nothing before it is applied to them.
        actions: tuple[CorporateAction, ...] = ()
        if account.books_as_of is not None:
            actions = market_data.corporate_actions(connection, after=account.books_as_of, through=as_of)
        # Spin-offs and new symbols bring securities that were not held when the books were written.
        concerned = actions_concerning(held, actions)
        held |= {action.other_ticker for action in concerned if action.other_ticker}
        inputs = AccountInputs(
            account=account,
            books=books,
            journal=account_rows.journal_since(connection, account.account_id, as_of - _JOURNAL_AGE),
            actions=actions,
            action_closes=market_data.closes_on(
                connection, [(ticker, action.ex_date) for action in concerned for ticker in action.securities]
            ),
            older_prices=market_data.last_prices_of(connection, as_of, sorted(held - day.prices.keys())),
            strategy_version=strategy.version,
            max_missing_price_share=params.max_missing_price_share,
            unmatched_tags=unmatched,
            year_rows=account_rows.journal_since(connection, account.account_id, date(as_of.year, 1, 1), gains=True),
            unfilled_run=run_rows.unfilled_run_before(connection, account.account_id, as_of),
            members=members,
            household=households.household_day(connection, household, account.account_id, as_of - _JOURNAL_AGE),
            actions_seen=seen if unbooked is None else None,
            unbooked_actions=unbooked,
        )
        # No earlier day of the account is in work any more, so this is what the solve will find, too.
        targets = run_rows.previous_targets(connection, account.account_id, as_of)
    return inputs, params, position, targets


def _usable_model(model: StoredRiskModel | None, as_of: date, config: EngineConfig) -> StoredRiskModel:
    remedy = f"Run 'prometheus risk refresh --as-of {as_of}'."
    if model is None:
        raise PhaseHeldError(f"There is no risk model for {as_of} or before. {remedy}", code="STALE_RISK")
    if model.age_hours > config.risk_model_max_age_hours:
        raise PhaseHeldError(
            f"The risk model was built {model.age_hours:.1f} hours ago, the limit is "
            f"{config.risk_model_max_age_hours:g}. {remedy}",
            code="STALE_RISK",
        )
    if as_of - model.as_of_date > _MODEL_DATE_LAG:
        raise PhaseHeldError(f"The newest risk model is of {model.as_of_date}. {remedy}", code="STALE_RISK")
    return model


def _alert(connection: Connection, lease: Lease, code: str, message: str) -> None:
    raise_alert(
        connection,
        run_id=lease.run_id,
        account_id=lease.account_id,
        as_of=lease.as_of_date,
        code=code,
        message=message,
    )


def _by_code(flags: tuple[Flag, ...]) -> dict[str, list[Flag]]:
    grouped: dict[str, list[Flag]] = {}
    for flag in flags:
        grouped.setdefault(flag.code, []).append(flag)
    return grouped
