"""Unfinished runs and why each of them waits, by the database's clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, text


class Wait(StrEnum):
    """Why an unfinished run waits.

    DATA: not marked ready. PAUSED: its account is. WORKED_ON: a worker has it. RETRY: it failed and is tried again
    later. BEHIND: an earlier day of its account comes first. HELD: a phase was held, and is tried again by the next
    tick. DUE: the next tick takes it.
    """

    DATA = "DATA"
    PAUSED = "PAUSED"
    WORKED_ON = "WORKED_ON"
    RETRY = "RETRY"
    BEHIND = "BEHIND"
    HELD = "HELD"
    DUE = "DUE"


_IN_WORK: Final = "('DATA_READY', 'SNAPSHOT_BUILT', 'SOLVED')"
# A hold that ends by itself is no reason to report; what an operator did to the account is not news of the run.
_RUNS: Final = f"""
    SELECT run.run_id, run.account_id, run.region, run.as_of_date, run.phase, run.next_attempt_at, run.error,
           run.owner_instance, run.phase_entered_at, accounts.pause_reason, last.code, last.message, last.recorded_at,
           (SELECT min(earlier.as_of_date) FROM engine_runs AS earlier
            WHERE earlier.account_id = run.account_id AND earlier.as_of_date < run.as_of_date
              AND earlier.phase IN {_IN_WORK}) AS behind,
           CASE WHEN run.owner_instance IS NOT NULL AND run.lease_expires_at > engine_now() THEN 'WORKED_ON'
                WHEN accounts.paused THEN 'PAUSED'
                WHEN run.phase = 'WAITING_FOR_DATA' THEN 'DATA'
                WHEN EXISTS (SELECT 1 FROM engine_runs AS earlier
                             WHERE earlier.account_id = run.account_id AND earlier.as_of_date < run.as_of_date
                               AND earlier.phase IN {_IN_WORK}) THEN 'BEHIND'
                WHEN run.next_attempt_at > engine_now() AND run.updated_at <= engine_now() THEN 'RETRY'
                WHEN last.kind = 'HOLD' AND last.code NOT IN ('BOOKS_MOVED', 'ORDER', 'COLLISION') THEN 'HELD'
                ELSE 'DUE' END AS wait
    FROM engine_runs AS run
    JOIN accounts USING (account_id)
    LEFT JOIN LATERAL (
        SELECT event.kind, event.details->>'code' AS code, event.details->>'message' AS message, event.recorded_at
        FROM engine_run_events AS event
        WHERE event.run_id = run.run_id AND run.phase IN {_IN_WORK}
          AND event.kind NOT IN ('PAUSED', 'RESUMED', 'KILL_SWITCH', 'CANCEL_REQUESTED')
        ORDER BY event.event_id DESC LIMIT 1
    ) AS last ON true
    WHERE run.phase NOT IN ('PERSISTED', 'FAILED')
"""
_ROWS: Final = text(f"{_RUNS} AND run.as_of_date <= :through ORDER BY run.as_of_date, run.account_id")
_COUNTS: Final = text(f"""
    SELECT wait, count(*) AS runs, count(DISTINCT account_id) AS accounts, min(account_id) AS first,
           min(pause_reason) AS reason, min(next_attempt_at) AS next_attempt_at, min(behind) AS behind,
           array_agg(DISTINCT code) FILTER (WHERE code IS NOT NULL AND wait = 'HELD') AS codes
    FROM ({_RUNS}) AS unfinished GROUP BY wait
""")


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """An unfinished run.

    Attributes:
        run_id: The engine run.
        account_id: Its account.
        region: The account's region.
        as_of_date: Its day.
        phase: Its phase.
        wait: Why it waits.
        code: Of a hold or of the failure that is tried again, else None.
        message: The sentence of it, or the reason of a pause.
        since: When it was held, else when it entered its phase.
        next_attempt_at: When it is due.
        owner: Worker that has it, else None.
        behind: Earlier day of the account that comes first, else None.
    """

    run_id: int
    account_id: str
    region: str
    as_of_date: date
    phase: str
    wait: Wait
    code: str | None
    message: str | None
    since: datetime
    next_attempt_at: datetime
    owner: str | None
    behind: date | None


@dataclass(frozen=True, slots=True)
class UnfinishedCount:
    """Number of unfinished runs that wait for one reason, with the values of the reason's sentence."""

    wait: Wait
    runs: int
    accounts: int
    first: str
    pause_reason: str | None
    next_attempt_at: datetime
    behind: date | None
    codes: tuple[str, ...]


def unfinished_runs(connection: Connection, *, through: date) -> tuple[UnfinishedRun, ...]:
    """Return the unfinished runs of days through one, by day and account."""
    return tuple(_unfinished_run(row) for row in connection.execute(_ROWS, {"through": through}).mappings())


def unfinished_counts(connection: Connection) -> Mapping[Wait, UnfinishedCount]:
    """Return how many unfinished runs of all days wait for which reason."""
    return {
        Wait(row.wait): UnfinishedCount(
            wait=Wait(row.wait),
            runs=row.runs,
            accounts=row.accounts,
            first=row.first,
            pause_reason=row.reason,
            next_attempt_at=row.next_attempt_at,
            behind=row.behind,
            codes=tuple(sorted(row.codes or ())),
        )
        for row in connection.execute(_COUNTS)
    }


def _unfinished_run(row: Mapping[Any, Any]) -> UnfinishedRun:
    wait = Wait(row["wait"])
    code, message, since = None, None, row["phase_entered_at"]
    if wait is Wait.HELD:
        code, message, since = row["code"], row["message"], row["recorded_at"]
    elif wait is Wait.PAUSED:
        message = row["pause_reason"] or "no reason given"
    elif wait is Wait.RETRY and row["error"]:
        code, message = row["error"].get("code"), row["error"].get("message")
    return UnfinishedRun(
        run_id=row["run_id"],
        account_id=row["account_id"],
        region=row["region"],
        as_of_date=row["as_of_date"],
        phase=row["phase"],
        wait=wait,
        code=code,
        message=message,
        since=since,
        next_attempt_at=row["next_attempt_at"],
        owner=row["owner_instance"],
        behind=row["behind"],
    )
