"""Limits of monitoring, from the settings; not in ``engine``, whose imports take longer than the check."""

from prometheus.bootstrap.settings import Settings
from prometheus.orchestration.health import HealthLimits
from prometheus.pipeline.engine_config import AgeLimits


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
