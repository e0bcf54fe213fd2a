"""The engine's configuration from the settings."""

import os
import shlex
from collections.abc import Callable, Mapping

from prometheus.bootstrap.health import age_limits, health_limits
from prometheus.bootstrap.settings import Settings
from prometheus.db.database import Database
from prometheus.domain.engine_run import Lease, Outcome
from prometheus.foundation.ids import owner_instance
from prometheus.orchestration.advance_all import AdvanceSummary, advance_all
from prometheus.orchestration.outbox.command_receiver import CommandReceiver
from prometheus.orchestration.outbox.delivery import OutboxConfig
from prometheus.orchestration.outbox.file_receivers import DirectoryReceiver, FileReceiver
from prometheus.orchestration.outbox.receivers import LogReceiver, Receiver
from prometheus.pipeline.engine_config import EngineConfig


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


def outbox_config(settings: Settings) -> OutboxConfig:
    """Return the receivers of the outbox: every one that a setting names, else the log."""
    seconds = settings.alert_timeout_seconds
    receivers: list[Receiver] = []
    if settings.alert_file is not None:
        receivers.append(FileReceiver(settings.alert_file))
    if settings.alert_directory is not None:
        receivers.append(DirectoryReceiver(settings.alert_directory))
    if settings.alert_command is not None:
        command = tuple(shlex.split(settings.alert_command))
        receivers.append(CommandReceiver(command, _without_secrets(os.environ), seconds))
    if settings.alert_url is not None:
        from prometheus.orchestration.outbox.http_receiver import (  # noqa: PLC0415 -- TLS, for those who use it
            HttpReceiver,
        )

        receivers.append(HttpReceiver(settings.alert_url, seconds))
    return OutboxConfig(
        receivers=tuple(receivers) or (LogReceiver(),),
        timeout_seconds=seconds,
        retry_base_seconds=settings.retry_base_seconds,
        max_attempts=settings.outbox_max_attempts,
    )


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    # Addresses and libpq's own variables may hold a password, which the command must not see.
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PG") and not (name.startswith("PROMETHEUS_") and name.endswith("_URL"))
    }


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
    """Run one tick of the engine on an open database."""
    return advance_all(
        database,
        engine_config(settings),
        database.sibling,
        workers=workers,
        time_budget_seconds=time_budget_seconds,
        on_outcome=on_outcome,
        must_stop=must_stop,
        limits=health_limits(settings),
        outbox=outbox_config(settings),
    )
