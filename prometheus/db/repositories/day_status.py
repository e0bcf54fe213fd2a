"""Phase of each account's run of a day, and what an operator's next step depends on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, text

from prometheus.domain.engine_run import RunError
from prometheus.domain.phases import Phase, RunStatus

_ACCOUNTS: Final = text("""
    SELECT accounts.account_id, accounts.region, accounts.paused, accounts.pause_reason, run.phase, run.error,
           runs.status, runs.run_seq, runs.recorded_at,
           (SELECT count(*) FROM run_trades WHERE run_trades.run_id = runs.run_id) AS trades,
           (SELECT event.details->'error'->>'code' FROM engine_run_events AS event
            WHERE event.run_id = run.run_id AND event.kind = 'RESET' AND run.phase = 'FAILED'
            ORDER BY event.event_id DESC LIMIT 1) AS reset_from,
           coalesce(accounts.books_as_of > :as_of, false) AS overtaken
    FROM accounts
    LEFT JOIN engine_runs AS run ON run.account_id = accounts.account_id AND run.as_of_date = :as_of
    LEFT JOIN runs ON runs.run_id = run.run_id
    WHERE accounts.region = :region
    ORDER BY accounts.account_id
""")

_CHANGED: Final = text("""
    SELECT account_id,
           greatest((SELECT max(loaded_at) FROM ingest_files), (SELECT max(built_at) FROM risk_models),
                    (SELECT max(created_at) FROM strategies),
                    (SELECT max(recorded_at) FROM ledger_events AS event WHERE event.account_id = wanted.account_id)
           ) AS changed
    FROM unnest(CAST(:accounts AS text[])) AS wanted(account_id)
""")

_REGIONS: Final = text("SELECT region, count(*) AS accounts FROM accounts GROUP BY region ORDER BY region")
_NEWEST_DAYS: Final = text("""
    SELECT (SELECT max(price_date) FROM prices) AS prices, (SELECT max(as_of_date) FROM engine_runs) AS runs,
           engine_now() AS now
""")


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """An account and its run of a day.

    Attributes:
        account_id: The account.
        paused: Reason of its pause, None where it is not paused.
        phase: Of its run; None where it has none.
        error: Of its run; None where nothing failed.
        status: How its solve ended, where the run is PERSISTED.
        run_seq: Number of its decision within the account, where the run is PERSISTED.
        trades: Lines of its trade list.
        reset_from: Code of the failure that its run was reset from the last time, where it has failed since.
        overtaken: Its books are past the day, which can no longer be traded.
    """

    account_id: str
    paused: str | None
    phase: Phase | None
    error: RunError | None
    status: RunStatus | None
    run_seq: int | None
    trades: int
    reset_from: str | None
    overtaken: bool


@dataclass(frozen=True, slots=True)
class NewestDays:
    """Newest day with prices and newest day with a run, and the database's clock."""

    prices: date | None
    runs: date | None
    now: datetime


def account_statuses(connection: Connection, *, as_of: date, region: str) -> tuple[AccountStatus, ...]:
    """Return the status of every account of a region on a day, by account."""
    return tuple(
        AccountStatus(
            account_id=row.account_id,
            paused=(row.pause_reason or "no reason given") if row.paused else None,
            phase=None if row.phase is None else Phase(row.phase),
            error=None if row.error is None else RunError.from_json(row.error),
            status=None if row.status is None else RunStatus(row.status),
            run_seq=row.run_seq,
            trades=row.trades,
            reset_from=row.reset_from,
            overtaken=row.overtaken,
        )
        for row in connection.execute(_ACCOUNTS, {"as_of": as_of, "region": region})
    )


def inputs_changed_at(connection: Connection, account_ids: Sequence[str]) -> Mapping[str, datetime | None]:
    """Return when a file, a risk model, a strategy or a row of the account's journal was stored last, by account."""
    rows = connection.execute(_CHANGED, {"accounts": list(dict.fromkeys(account_ids))})
    return {row.account_id: row.changed for row in rows}


def accounts_by_region(connection: Connection) -> Mapping[str, int]:
    """Return how many accounts each region has."""
    return {row.region: row.accounts for row in connection.execute(_REGIONS)}


def newest_days(connection: Connection) -> NewestDays:
    """Return the newest days of prices and runs, and the database's clock."""
    row = connection.execute(_NEWEST_DAYS).one()
    return NewestDays(row.prices, row.runs, row.now)
