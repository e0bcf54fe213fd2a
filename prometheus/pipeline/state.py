"""What operators may do to runs: ensure, mark ready, cancel, reset. All is checked before anything is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from prometheus.db.database import Database
from prometheus.db.repositories.accounts import accounts_of
from prometheus.db.repositories.engine_runs import (
    cancel_run,
    ensure_runs,
    list_runs,
    mark_data_ready,
    pause_account,
    reset_run,
)
from prometheus.db.repositories.market_data import has_prices
from prometheus.domain.accounts import Account
from prometheus.domain.engine_run import EngineRun
from prometheus.foundation.errors import NoDataError, RequestError
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
        if data_ready and not has_prices(connection, scope.as_of):
            raise NoDataError(
                f"There is not one price for {scope.as_of}. Load the day's prices with 'prometheus ingest' first."
            )
        created: Sequence[int] = ()
        if ensure:
            created = ensure_runs(
                connection,
                as_of=scope.as_of,
                account_ids=scope.account_ids,
                code_version=config.code_version,
                cap=config.max_active_runs,
                config=config.as_recorded(),
            )
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


def _runs_in(database: Database, scope: Scope) -> tuple[EngineRun, ...]:
    wanted = set(scope.account_ids)
    with database.transaction() as connection:
        runs = tuple(run for run in list_runs(connection, as_of=scope.as_of) if run.account_id in wanted)
    if not runs:
        raise RequestError(f"There are no runs for {scope.as_of} in this scope.", code="NO_RUN")
    return runs
