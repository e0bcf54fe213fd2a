"""An engine run as workers and operators read it."""

from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum

from prometheus.domain.phases import Phase
from prometheus.foundation.canonical import JsonObject, JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run failed, or why its last attempt did.

    Attributes:
        code: The error's stable word.
        message: What happened, for a person.
        previous_phase: Phase in which it happened.
        attempt: Attempt at the phase, from 1; None where no attempt ended so, like the two that follow.
        traceback_sha256: Tells whether two failures are the same.
        details: Values that belong to the failure, JSON types.
    """

    code: str
    message: str
    previous_phase: str | None = None
    attempt: int | None = None
    traceback_sha256: str | None = None
    details: JsonValue = None

    def to_json(self) -> JsonObject:
        """Return the stored form, without what is None."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, stored: JsonObject) -> "RunError":
        """Return the error from its stored form; one written by hand may lack anything."""
        attempt = stored.get("attempt")
        return cls(
            code=str(stored.get("code", "UNKNOWN")),
            message=str(stored.get("message", "")),
            previous_phase=_word(stored.get("previous_phase")),
            attempt=attempt if isinstance(attempt, int) else None,
            traceback_sha256=_word(stored.get("traceback_sha256")),
            details=stored.get("details"),
        )


def _word(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One row of engine_runs.

    Instants are the database's. ``error`` is None where nothing failed.
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
    error: RunError | None
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
