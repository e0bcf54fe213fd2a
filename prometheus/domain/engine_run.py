"""An engine run as workers and operators read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from prometheus.domain.phases import Phase


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One row of engine_runs.

    Instants are the database's. ``error`` is null or {code, message, previous_phase, ...}. ``has_live_lease`` was true
    when the row was read.
    """

    run_id: int
    as_of_date: date
    account_id: str
    region: str
    phase: Phase
    phase_entered_at: datetime
    phase_started_at: datetime | None
    phase_completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    error: Mapping[str, Any] | None
    attempt: int
    max_attempts: int
    next_attempt_at: datetime
    lease_token: int
    owner_instance: str | None
    lease_expires_at: datetime | None
    heartbeat_at: datetime | None
    cancel_requested_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one run: valid while token and owner are those of the row."""

    run_id: int
    as_of_date: date
    account_id: str
    phase: Phase
    token: int
    owner: str
    attempt: int
    max_attempts: int
    taken_over: bool


class Outcome(StrEnum):
    """How an advance of a run ended."""

    PERSISTED = "PERSISTED"
    HELD = "HELD"
    DEFERRED = "DEFERRED"
    FROZEN = "FROZEN"
    CANCELLED = "CANCELLED"
    RELEASED = "RELEASED"
    LOST = "LOST"
    RETRY = "RETRY"
    FAILED = "FAILED"
