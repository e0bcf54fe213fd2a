"""What monitoring judges by, from the settings; apart from the engine, whose imports take longer than the question."""

from prometheus.bootstrap.settings import Settings
from prometheus.pipeline.health import HealthLimits


def health_limits(settings: Settings) -> HealthLimits:
    """Return what monitoring judges by."""
    return HealthLimits(
        phase_minutes=settings.health_phase_minutes,
        waiting_minutes=settings.health_waiting_minutes,
        failure_rate=settings.health_failure_rate,
        silent_minutes=settings.health_silent_minutes,
        risk_model_hours=settings.risk_model_max_age_hours,
        undelivered_minutes=settings.health_undelivered_minutes,
    )
