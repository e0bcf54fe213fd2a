"""Data of monitoring: numbers about the whole fleet, by the database's clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, text

from prometheus.db.repositories.data_dates import DataDates, data_dates, newest_day
from prometheus.domain.orders import OpenOrder
from prometheus.domain.securities import CorporateAction

_SEEN: Final = text("""
    INSERT INTO engine_hosts (host, owner_instance) VALUES (:host, :owner)
    ON CONFLICT (host) DO UPDATE SET owner_instance = excluded.owner_instance, last_seen_at = engine_now()
""")

_STUCK: Final = text("""
    SELECT account_id, as_of_date, phase, extract(epoch FROM engine_now() - phase_entered_at) / 60 AS minutes,
           count(*) OVER () AS total
    FROM engine_runs
    WHERE (phase = 'WAITING_FOR_DATA' AND phase_entered_at < engine_now() - make_interval(mins => :waiting_minutes))
       OR (phase IN ('DATA_READY', 'SNAPSHOT_BUILT', 'SOLVED')
           AND phase_entered_at < engine_now() - make_interval(mins => :phase_minutes))
    ORDER BY phase_entered_at, run_id LIMIT :limit
""")

# A cancelled or superseded run is not a failure.
_ENDED: Final = text("""
    SELECT count(*) AS ended,
           count(*) FILTER (WHERE phase = 'FAILED' AND error->>'code' NOT IN ('CANCELLED', 'SUPERSEDED')) AS failed
    FROM engine_runs
    WHERE phase IN ('PERSISTED', 'FAILED') AND phase_completed_at > engine_now() - make_interval(hours => :hours)
""")

_EXPIRED: Final = text("""
    SELECT account_id, as_of_date, owner_instance, count(*) OVER () AS total FROM engine_runs
    WHERE owner_instance IS NOT NULL AND phase NOT IN ('PERSISTED', 'FAILED') AND lease_expires_at <= engine_now()
    ORDER BY lease_expires_at, run_id LIMIT :limit
""")

# The waiting time of a message from the future is unknown: the clock stepped back after it was written.
_OUTBOX: Final = text("""
    SELECT count(*) FILTER (WHERE given_up_at IS NOT NULL) AS given_up,
           count(*) FILTER (WHERE given_up_at IS NULL
                            AND created_at NOT BETWEEN engine_now() - make_interval(mins => :minutes)
                                               AND engine_now() + make_interval(mins => :minutes)) AS late,
           greatest(coalesce(extract(epoch FROM engine_now() - min(created_at) FILTER (WHERE given_up_at IS NULL)) / 60,
                             0), 0) AS oldest_minutes,
           (array_agg(last_error ORDER BY message_id) FILTER (WHERE last_error IS NOT NULL))[1] AS error
    FROM outbox WHERE delivered_at IS NULL
""")

# The last hold of an account's run tells whether it waits for orders.
_WAITING: Final = text("""
    SELECT run.account_id, max(run.as_of_date) AS as_of_date
    FROM engine_runs AS run CROSS JOIN LATERAL (
        SELECT kind, details FROM engine_run_events AS event WHERE event.run_id = run.run_id
        ORDER BY event_id DESC LIMIT 1) AS last
    WHERE run.phase = 'DATA_READY' AND last.kind = 'HOLD' AND last.details ->> 'code' = 'UNSETTLED_ORDERS'
    GROUP BY run.account_id
""")

_PAUSED: Final = text("""
    SELECT account_id, pause_reason, count(*) OVER () AS total FROM accounts WHERE paused
    ORDER BY account_id LIMIT :limit
""")

# A day is over once all its runs have ended and one was persisted; before that 'prometheus today' says what is missing.
_WITHOUT_RUN: Final = text("""
    WITH newest AS (
        SELECT as_of_date FROM engine_runs WHERE phase = 'PERSISTED' ORDER BY as_of_date DESC LIMIT 1
    )
    SELECT account_id, region, newest.as_of_date FROM accounts CROSS JOIN newest
    WHERE NOT accounts.paused
      AND (accounts.books_as_of IS NULL OR accounts.books_as_of <= newest.as_of_date)
      AND NOT EXISTS (SELECT 1 FROM engine_runs AS run
                      WHERE run.as_of_date = newest.as_of_date AND run.account_id = accounts.account_id)
      AND NOT EXISTS (SELECT 1 FROM engine_runs AS run
                      WHERE run.as_of_date = newest.as_of_date AND run.phase NOT IN ('PERSISTED', 'FAILED'))
    ORDER BY account_id
""")

_FLEET: Final = text("""
    SELECT engine_now() AS now, flags.frozen, flags.reason, flags.changed_at,
           (SELECT extract(epoch FROM engine_now() - max(last_seen_at)) / 60 FROM engine_hosts) AS silent_minutes,
           (SELECT extract(epoch FROM engine_now() - max(built_at)) / 3600 FROM risk_models) AS risk_age_hours,
           EXISTS (SELECT 1 FROM accounts) AS has_accounts
    FROM engine_flags AS flags WHERE flag_id = 1
""")

_SIZES: Final = text("""
    SELECT pg_database_size(current_database()) AS total,
           pg_total_relation_size('runs') + pg_total_relation_size('run_trades') + pg_total_relation_size('blobs')
               AS record,
           (SELECT count(*) FROM runs) AS runs
""")


@dataclass(frozen=True, slots=True)
class StuckRun:
    """A run that has been in its phase for longer than it should; ``minutes`` since it entered."""

    account_id: str
    as_of_date: date
    phase: str
    minutes: float


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A claimed run whose owner no longer sends heartbeats."""

    account_id: str
    as_of_date: date
    owner: str


@dataclass(frozen=True, slots=True)
class WithoutRun:
    """An account that has no run of the newest day that the fleet has finished; it may be no session of its region."""

    account_id: str
    region: str
    as_of_date: date


@dataclass(frozen=True, slots=True)
class OutboxFacts:
    """Messages that no receiver has: given up, or waiting for longer than the limit, or from as far in the future.

    ``oldest_minutes`` is the age of the oldest that is still tried; ``error`` what the oldest with a failure says.
    """

    given_up: int
    late: int
    oldest_minutes: float
    error: str | None


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """The state of the fleet for monitoring.

    Attributes:
        now: The database's clock.
        frozen: Reason of the kill switch where it is on, else None.
        silent_minutes: Since any host began an advance_all; None where none ever did.
        risk_age_hours: Since the newest risk model was built; None where there is none.
        has_accounts: Whether there is a fleet at all.
        ended: Runs that ended in the window of the failure rate.
        failed: Those of them that failed, cancelled and superseded ones not counted.
        stuck: Runs past the age limit of their phase, oldest first, at most ``limit`` of ``stuck_total``.
        stuck_total: How many there are.
        expired: Claimed runs without a live lease, oldest first, at most ``limit`` of ``expired_total``.
        expired_total: How many there are.
        outbox: Messages that nobody outside has.
        late_actions: By account the corporate actions that came or changed after its books had passed their day and
            that nobody has booked or looked at since.
        day: The newest day that any account has a run of, None before the first.
        dates: Dates of the data for that day; None before the first.
        unsettled: Open orders of accounts of which a later day waits for them to be settled.
        paused: Paused accounts with the reason given, at most ``limit`` of ``paused_total``.
        paused_total: How many there are.
        without_run: Accounts that are not paused and have no run of the newest finished day.
    """

    now: datetime
    frozen: str | None
    silent_minutes: float | None
    risk_age_hours: float | None
    has_accounts: bool
    ended: int
    failed: int
    stuck: tuple[StuckRun, ...]
    stuck_total: int
    expired: tuple[ExpiredLease, ...]
    expired_total: int
    outbox: OutboxFacts
    late_actions: Mapping[str, tuple[CorporateAction, ...]] = field(default_factory=dict)
    day: date | None = None
    dates: DataDates | None = None
    unsettled: tuple[OpenOrder, ...] = ()
    paused: tuple[tuple[str, str], ...] = ()
    paused_total: int = 0
    without_run: tuple[WithoutRun, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseBytes:
    """Bytes of the whole database, of the record of runs (runs, trades, blobs), and how many runs there are."""

    total: int
    record: int
    runs: int


def record_host(connection: Connection, owner: str) -> None:
    """Record that a tick of this owner's host begins."""
    connection.execute(_SEEN, {"host": owner.partition(":")[0], "owner": owner})


def outbox_facts(connection: Connection, *, undelivered_minutes: int) -> OutboxFacts:
    """Return the messages that no receiver has."""
    row = connection.execute(_OUTBOX, {"minutes": undelivered_minutes}).one()
    return OutboxFacts(row.given_up, row.late, float(row.oldest_minutes), row.error)


def fleet_facts(
    connection: Connection,
    *,
    phase_minutes: int,
    waiting_minutes: int,
    rate_hours: int,
    undelivered_minutes: int,
    limit: int = 100,
) -> FleetFacts:
    """Return what is known about the fleet now, but for late actions and unsettled orders, which the ledger knows."""
    fleet = connection.execute(_FLEET).one()
    ended = connection.execute(_ENDED, {"hours": rate_hours}).one()
    stuck = connection.execute(
        _STUCK, {"phase_minutes": phase_minutes, "waiting_minutes": waiting_minutes, "limit": limit}
    ).all()
    expired = connection.execute(_EXPIRED, {"limit": limit}).all()
    day = newest_day(connection)
    paused = connection.execute(_PAUSED, {"limit": limit}).all()
    without_run = connection.execute(_WITHOUT_RUN).all()
    return FleetFacts(
        now=fleet.now,
        frozen=(fleet.reason or "no reason given") if fleet.frozen else None,
        silent_minutes=None if fleet.silent_minutes is None else float(fleet.silent_minutes),
        risk_age_hours=None if fleet.risk_age_hours is None else float(fleet.risk_age_hours),
        has_accounts=fleet.has_accounts,
        ended=ended.ended,
        failed=ended.failed,
        stuck=tuple(StuckRun(row.account_id, row.as_of_date, row.phase, float(row.minutes)) for row in stuck),
        stuck_total=stuck[0].total if stuck else 0,
        expired=tuple(ExpiredLease(row.account_id, row.as_of_date, row.owner_instance) for row in expired),
        expired_total=expired[0].total if expired else 0,
        outbox=outbox_facts(connection, undelivered_minutes=undelivered_minutes),
        day=day,
        dates=None if day is None else data_dates(connection, day),
        paused=tuple((row.account_id, row.pause_reason or "no reason given") for row in paused),
        paused_total=paused[0].total if paused else 0,
        without_run=tuple(WithoutRun(row.account_id, row.region, row.as_of_date) for row in without_run),
    )


def waiting_for_orders(connection: Connection) -> dict[str, date]:
    """Return by account the latest day that waits for orders of earlier days to be settled."""
    return {row.account_id: row.as_of_date for row in connection.execute(_WAITING)}


def database_bytes(connection: Connection) -> DatabaseBytes:
    """Return the size of the database, indexes and free space included."""
    row = connection.execute(_SIZES).one()
    return DatabaseBytes(int(row.total), int(row.record), int(row.runs))
