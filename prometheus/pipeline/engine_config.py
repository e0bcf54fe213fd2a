"""What the engine is told from outside: who it is, how long leases last, how old data may be."""

from dataclasses import dataclass, field

from prometheus.decision.code_version import code_version
from prometheus.foundation.canonical import JsonObject


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """Ages beyond which data is stale; 0 or less means no limit, except where it says otherwise.

    Attributes:
        benchmark_days: Calendar days from the day on which constituents took effect to the day they are used.
        unchanged_prices: Share of the names, 0 to 1, whose close may equal that of the day before; 1 for no limit.
        borrow_days: Calendar days from the newest borrow rate to the day, where a strategy sells short.
        actions_days: Calendar days from the newest corporate action, or the day on which a file of them was loaded, to
            the day; not judged where no file of actions was ever loaded.
    """

    benchmark_days: float = 45.0
    unchanged_prices: float = 0.25
    borrow_days: float = 7.0
    actions_days: float = 7.0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of the state machine for one process.

    Attributes:
        owner: Unique name of this process as an owner of leases.
        lease_ttl: Lease in seconds; 0 or less disables take-over.
        retry_base_seconds: First delay after a failed phase; doubled with every attempt.
        risk_model_max_age_hours: Age of a risk model (build time to the database's clock) that holds the phase.
        ages: How old other data may be before it holds the phase.
        max_active_runs: Unfinished runs an account may have.
        phase_deadline_seconds: Longest that one attempt at a phase may take before the reaper ends the run; 0 or less
            for no limit.
        frozen_by_environment: The process's own kill switch.
        batch: Most runs claimed at a time; a worker begins with fewer and takes more while they are quickly done.
        commit_within_seconds: Longest that a computed phase waits for others to be committed with.
        code_version: Which code this process decides by; recorded with every run.
    """

    owner: str
    lease_ttl: int = 300
    retry_base_seconds: float = 30.0
    risk_model_max_age_hours: float = 36.0
    ages: AgeLimits = field(default_factory=AgeLimits)
    max_active_runs: int = 5
    phase_deadline_seconds: float = 3600.0
    frozen_by_environment: bool = False
    batch: int = 64
    commit_within_seconds: float = 1.0
    code_version: str = field(default_factory=code_version)

    def as_recorded(self) -> JsonObject:
        """Return the settings that shape a run, as they are recorded with it."""
        return {
            "lease_ttl": self.lease_ttl,
            "retry_base_seconds": self.retry_base_seconds,
            "risk_model_max_age_hours": self.risk_model_max_age_hours,
            "phase_deadline_seconds": self.phase_deadline_seconds,
        }
