"""What a tick of the engine needs to know, from the settings: limits, and the receivers of the outbox."""

import os
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from prometheus.bootstrap.limits import engine_config, health_limits
from prometheus.bootstrap.settings import Settings
from prometheus.orchestration.health import HealthLimits
from prometheus.orchestration.outbox.command_receiver import CommandReceiver
from prometheus.orchestration.outbox.delivery import OutboxConfig
from prometheus.orchestration.outbox.file_receivers import DirectoryReceiver, FileReceiver
from prometheus.orchestration.outbox.receivers import LogReceiver, Receiver
from prometheus.pipeline.engine_config import EngineConfig


class Tick(NamedTuple):
    """What ``advance_all`` needs to know of the settings."""

    config: EngineConfig
    limits: HealthLimits
    outbox: OutboxConfig


def tick_of(settings: Settings) -> Tick:
    """Return the settings of a tick."""
    return Tick(engine_config(settings), health_limits(settings), outbox_config(settings))


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
