"""The engine's configuration from the settings."""

import os
from collections.abc import Callable

from prometheus.bootstrap.health import health_limits
from prometheus.bootstrap.settings import Settings
from prometheus.db.database import Database
from prometheus.domain.engine_run import Lease
from prometheus.foundation.ids import owner_instance
from prometheus.orchestration.advance_all import AdvanceSummary, advance_all
from prometheus.pipeline.advance import Outcome
from prometheus.pipeline.engine_config import EngineConfig


def engine_config(settings: Settings) -> EngineConfig:
    """Return what this process is as a worker."""
    return EngineConfig(
        owner=owner_instance(),
        lease_ttl=settings.run_heartbeat_stale_seconds,
        retry_base_seconds=settings.retry_base_seconds,
        risk_model_max_age_hours=settings.risk_model_max_age_hours,
        phase_deadline_seconds=settings.phase_deadline_seconds,
        max_active_runs=settings.max_active_runs_per_account,
        frozen_by_environment=settings.runner_flag_frozen,
    )


def default_workers() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0))


def advance_everything(
    database: Database,
    settings: Settings,
    *,
    workers: int = 0,
    time_budget_seconds: float | None = None,
    on_outcome: Callable[[Lease, Outcome], None] | None = None,
    must_stop: Callable[[], bool] = lambda: False,
) -> AdvanceSummary:
    """Run one heartbeat of the engine on an open database."""
    return advance_all(
        database,
        engine_config(settings),
        database.sibling,
        workers=workers,
        time_budget_seconds=time_budget_seconds,
        on_outcome=on_outcome,
        must_stop=must_stop,
        limits=health_limits(settings),
    )
