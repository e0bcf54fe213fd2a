"""What operators and orchestrators may do to runs: ensure, list, mark ready, cancel, reset. Checked before written.

``ensure_run``, ``get_or_create_run``, ``list_active_runs`` and ``update_phase`` are for one run, as a task of an
orchestrator handles it (``advance.advance_run`` does the work itself); the rest is for the accounts of a whole day.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from prometheus.db.database import Connection, Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.engine_runs import (
    cancel_run,
    ensure_runs,
    get_run,
    list_runs,
    mark_data_ready,
    pause_account,
    reset_run,
)
from prometheus.db.repositories.market_data import has_prices
from prometheus.domain.accounts import Account
from prometheus.domain.engine_run import EngineRun
from prometheus.domain.phases import LEGAL_EDGES, Phase
from prometheus.foundation.errors import IllegalTransitionError, NoDataError, RequestError
from prometheus.foundation.ids import owner_instance
from prometheus.foundation.trading_calendar import TradingCalendar
from prometheus.pipeline.engine_config import EngineConfig


@dataclass(frozen=True, slots=True)
class Scope:
    """Which accounts of which day an operator means."""

    as_of: date
    accounts: tuple[Account, ...]

    @property
    def account_ids(self) -> tuple[str, ...]:
        """Return the accounts' ids, ascending."""
        return tuple(account.account_id for account in self.accounts)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What ensure and data-ready did: runs created, runs marked ready, accounts whose day was superseded."""

    created: int
    ready: int
    superseded: tuple[str, ...]


def ensure_run(database: Database, *, as_of: date, account_id: str, config: EngineConfig | None = None) -> bool:
    """Create an account's run of a day where it is missing; return True where it was created.

    Args:
        database: The database.
        as_of: The day.
        account_id: The account.
        config: Identity and limits of this process; None for the defaults.

    Raises:
        UnknownAccountError: No such account.
        NotASessionError: A weekend or holiday of the account's exchange.
        ActiveRunCapError: The account has too many unfinished runs.
    """
    scope = resolve_scope(database, as_of=as_of, region=None, account_id=account_id)
    with database.transaction() as connection:
        return bool(_ensure(connection, scope, config or _defaults()))


def get_or_create_run(
    database: Database, *, as_of: date, account_id: str, config: EngineConfig | None = None
) -> EngineRun:
    """Return an account's run of a day; a missing one is created in WAITING_FOR_DATA.

    Arguments and errors are those of ``ensure_run``.
    """
    ensure_run(database, as_of=as_of, account_id=account_id, config=config)
    with database.transaction() as connection:
        return list_runs(connection, as_of=as_of, account_id=account_id)[0]


def list_active_runs(
    database: Database, *, as_of: date | None = None, region: str | None = None, account_id: str | None = None
) -> tuple[EngineRun, ...]:
    """Return the runs that are neither PERSISTED nor FAILED, in the order of day, region and account."""
    with database.transaction() as connection:
        return list_runs(connection, as_of=as_of, region=region, account_id=account_id, active_only=True)


def update_phase(
    database: Database, run: EngineRun, to_phase: Phase, *, reason: str = "", config: EngineConfig | None = None
) -> EngineRun:
    """Move a run along an edge that belongs to no worker: mark it ready, cancel it or re-open it.

    A run that is in the phase already stays as it is. A run in work that goes to FAILED is asked to stop: its worker
    ends it, and what is returned still has its phase, with ``cancel_requested_at``. A day that can no longer be traded
    ends as FAILED (SUPERSEDED) instead of becoming ready.

    Args:
        database: The database.
        run: The run, as it was read at any time.
        to_phase: DATA_READY from WAITING_FOR_DATA, FAILED from any phase that is not final, or from FAILED the phase in
            which its work begins anew.
        reason: Why, for the run's history; a reset must have one.
        config: Limits of this process; None for the defaults.

    Returns:
        The run as it stands now.

    Raises:
        IllegalTransitionError: There is no such edge, or it is a worker's, or the run was moved meanwhile.
        NoDataError: DATA_READY for a day without a single price.
        RequestError: A reset without a reason, or of a day that can no longer be traded.
        ActiveRunCapError: A reset of an account that has too many unfinished runs.
    """
    to_phase = Phase(to_phase)
    with database.transaction() as connection:
        current = get_run(connection, run.run_id)
        if current.phase is to_phase:
            return current
        if (current.phase, to_phase) not in LEGAL_EDGES:
            raise IllegalTransitionError(f"{current.phase} -> {to_phase} is not an edge of the state machine.")
        if to_phase is Phase.FAILED:
            cancel_run(connection, run.run_id, reason=reason)
        elif current.phase is Phase.FAILED:
            _reopen(connection, current, to_phase, reason, config or _defaults())
        elif to_phase is Phase.DATA_READY:
            _require_prices(connection, current.as_of_date)
            mark_data_ready(connection, as_of=current.as_of_date, account_ids=[current.account_id])
        else:
            raise IllegalTransitionError(
                f"{current.phase} -> {to_phase} is made by the work of a phase alone. Call advance_run."
            )
        moved = get_run(connection, run.run_id)
        if moved.phase not in {to_phase, Phase.FAILED} and moved.cancel_requested_at is None:
            raise IllegalTransitionError(f"Run {run.run_id} was moved to {moved.phase} by somebody else meanwhile.")
        return moved


def resolve_scope(database: Database, *, as_of: date, region: str | None, account_id: str | None) -> Scope:
    """Return the accounts meant, after checking that the day is a session where they trade.

    Raises:
        UnknownAccountError: No such account, or a region without accounts.
        NotASessionError: A weekend or holiday of an account's exchange.
    """
    with database.transaction() as connection:
        accounts = accounts_of(connection, account_ids=None if account_id is None else [account_id], region=region)
    for where in sorted({account.region.value for account in accounts}):
        TradingCalendar.for_region(where).require_session(as_of)
    return Scope(as_of, accounts)


def prepare(database: Database, scope: Scope, config: EngineConfig, *, ensure: bool, data_ready: bool) -> Prepared:
    """Create the day's missing runs and mark them ready, both or neither; asked for twice it changes nothing.

    Raises:
        NoDataError: ``data_ready`` for a day without a single price.
        ActiveRunCapError: An account has too many unfinished runs.
        RequestError: ``data_ready`` for an account without a run for the day, and ``ensure`` was not asked for.
    """
    with database.transaction() as connection:
        if data_ready:
            _require_prices(connection, scope.as_of)
        created = _ensure(connection, scope, config) if ensure else ()
        ready: Sequence[int] = ()
        superseded: tuple[str, ...] = ()
        if data_ready:
            present = {run.account_id for run in list_runs(connection, as_of=scope.as_of)}
            absent = [account_id for account_id in scope.account_ids if account_id not in present]
            if absent:
                raise RequestError(
                    f"Account {absent[0]} has no run for {scope.as_of} ({len(absent)} have none). Add --ensure.",
                    code="NO_RUN",
                )
            ready, superseded = mark_data_ready(connection, as_of=scope.as_of, account_ids=scope.account_ids)
    return Prepared(len(created), len(ready), superseded)


def cancel(database: Database, scope: Scope, *, reason: str) -> Mapping[str, int]:
    """Cancel the day's runs; return how many ended in which way (CANCELLED, REQUESTED, or the phase they have)."""
    outcomes: Counter[str] = Counter()
    for run in _runs_in(database, scope):
        with database.transaction() as connection:
            outcomes[cancel_run(connection, run.run_id, reason=reason)] += 1
    return outcomes


def reset(database: Database, scope: Scope, config: EngineConfig, *, reason: str) -> Mapping[str, int]:
    """Re-open the day's FAILED runs.

    Returns:
        How many stand in which phase now; ``UNCHANGED`` for those not FAILED, ``SUPERSEDED`` for those of an account
        whose later day was already worked on.

    Raises:
        ActiveRunCapError: An account has too many unfinished runs; nothing is re-opened.
    """
    runs = _runs_in(database, scope)
    with database.transaction() as connection:
        return Counter(reset_run(connection, run, reason=reason, cap=config.max_active_runs) for run in runs)


def set_paused(database: Database, account_id: str, *, paused: bool, reason: str) -> bool:
    """Pause or resume an account; return True where that changed anything.

    A paused account's runs are not claimed. What its worker has begun is finished.

    Raises:
        UnknownAccountError: No such account.
    """
    with database.transaction() as connection:
        accounts_of(connection, account_ids=[account_id])
        return pause_account(connection, account_id, paused=paused, reason=reason)


def _defaults() -> EngineConfig:
    return EngineConfig(owner_instance())


def _require_prices(connection: Connection, as_of: date) -> None:
    if not has_prices(connection, as_of):
        raise NoDataError(f"There is not one price for {as_of}. Load the day's prices with 'prometheus ingest' first.")


def _ensure(connection: Connection, scope: Scope, config: EngineConfig) -> Sequence[int]:
    return ensure_runs(
        connection,
        as_of=scope.as_of,
        account_ids=scope.account_ids,
        code_version=config.code_version,
        cap=config.max_active_runs,
        config=config.as_recorded(),
    )


def _reopen(connection: Connection, run: EngineRun, to_phase: Phase, reason: str, config: EngineConfig) -> None:
    if not reason.strip():
        raise RequestError("A failed run is re-opened with a reason only. Say why.", code="NO_REASON")
    reached = reset_run(connection, run, reason=reason, cap=config.max_active_runs)
    if reached == "SUPERSEDED":
        raise RequestError(
            f"A later day of account {run.account_id} was already worked on; {run.as_of_date} can no longer be traded.",
            code="SUPERSEDED",
        )
    if reached not in {to_phase, "UNCHANGED"}:
        raise IllegalTransitionError(
            f"Run {run.run_id} begins anew at {reached}, not at {to_phase}. Ask for that phase."
        )


def _runs_in(database: Database, scope: Scope) -> tuple[EngineRun, ...]:
    wanted = set(scope.account_ids)
    with database.transaction() as connection:
        runs = tuple(run for run in list_runs(connection, as_of=scope.as_of) if run.account_id in wanted)
    if not runs:
        raise RequestError(f"There are no runs for {scope.as_of} in this scope.", code="NO_RUN")
    return runs
