"""Limits of the engine and of monitoring, from the settings; ``engine`` adds the receivers, dearer to import."""

from prometheus.bootstrap.settings import Settings
from prometheus.foundation.ids import owner_instance
from prometheus.orchestration.health import HealthLimits
from prometheus.pipeline.engine_config import AgeLimits, EngineConfig


def age_limits(settings: Settings) -> AgeLimits:
    """Return the greatest ages of a day's data."""
    return AgeLimits(
        benchmark_days=settings.benchmark_max_age_days,
        unchanged_prices=settings.unchanged_prices_max_share,
        borrow_days=settings.borrow_max_age_days,
        actions_days=settings.actions_max_age_days,
    )


def health_limits(settings: Settings) -> HealthLimits:
    """Return the limits by which monitoring judges."""
    return HealthLimits(
        phase_minutes=settings.health_phase_minutes,
        waiting_minutes=settings.health_waiting_minutes,
        failure_rate=settings.health_failure_rate,
        silent_minutes=settings.health_silent_minutes,
        risk_model_hours=settings.risk_model_max_age_hours,
        undelivered_minutes=settings.health_undelivered_minutes,
        ages=age_limits(settings),
    )


def engine_config(settings: Settings) -> EngineConfig:
    """Return the configuration of this process as a worker."""
    return EngineConfig(
        owner=owner_instance(),
        lease_ttl=settings.run_heartbeat_stale_seconds,
        retry_base_seconds=settings.retry_base_seconds,
        risk_model_max_age_hours=settings.risk_model_max_age_hours,
        ages=age_limits(settings),
        phase_deadline_seconds=settings.phase_deadline_seconds,
        max_active_runs=settings.max_active_runs_per_account,
        frozen_by_environment=settings.runner_flag_frozen,
    )
