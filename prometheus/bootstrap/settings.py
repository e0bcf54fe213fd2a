"""Settings: the only reader of the environment. Each one has a default that works on a fresh machine."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from prometheus.bootstrap.variables import Field, FromEnvironment


def default_home() -> Path:
    """Return the directory of the embedded database: under the user's home; for root a directory of its own.

    It is never in root's home: the server runs as another user, which must not have access there.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/prometheus-engine")
    try:
        return Path.home() / ".prometheus-engine"
    except RuntimeError:
        # A user id without an entry in the password database can still work with a server that a URL names; the
        # embedded one refuses it with a sentence.
        return Path("/nonexistent/.prometheus-engine")


def _absolute(value: Path) -> Path:
    try:
        return value.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("no such user, or no home directory known for it") from error


def _command(value: str) -> str:
    if not shlex.split(value):
        raise ValueError("there is no command in it")
    return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("an address such as https://host/path is needed, without user and password")
    return value


@dataclass(frozen=True, init=False)
class Settings(FromEnvironment):
    """Settings of an operator, by environment variable of the given name.

    Attributes:
        database_url: PROMETHEUS_DATABASE_URL; unset means the embedded server.
        home: PROMETHEUS_HOME; directory of the embedded server.
        embedded_linger_seconds: PROMETHEUS_EMBEDDED_LINGER_SECONDS; how long that server outlives its last user.
        log_level: PROMETHEUS_LOG_LEVEL.
        log_format: PROMETHEUS_LOG_FORMAT; ``text`` for people, ``json`` for machines.
        runner_flag_frozen: RUNNER_FLAG_FROZEN; true freezes every account of the processes that see it.
        run_heartbeat_stale_seconds: RUN_HEARTBEAT_STALE_SECONDS; lease of a claimed run, 0 or less disables take-over.
        max_active_runs_per_account: MAX_ACTIVE_RUNS_PER_ACCOUNT; unfinished runs an account may have.
        phase_deadline_seconds: PROMETHEUS_PHASE_DEADLINE_SECONDS; longest that one attempt at a phase may take.
        retry_base_seconds: PROMETHEUS_RETRY_BASE_SECONDS; first delay after a failed phase, doubled each time.
        risk_model_max_age_hours: PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS; an older model holds the phase.
        benchmark_max_age_days: PROMETHEUS_BENCHMARK_MAX_AGE_DAYS; older constituents hold the phase, 0 for no limit.
        unchanged_prices_max_share: PROMETHEUS_UNCHANGED_PRICES_MAX_SHARE; share of the closes that may be those of the
            day before, 1 for no limit.
        borrow_max_age_days: PROMETHEUS_BORROW_MAX_AGE_DAYS; older borrow rates hold what sells short, 0 for no limit.
        actions_max_age_days: PROMETHEUS_ACTIONS_MAX_AGE_DAYS; older corporate actions hold the phase, 0 for no limit.
        risk_estimator: PROMETHEUS_RISK_ESTIMATOR; how ``risk refresh`` estimates, unset for the default of the package.
        risk_bias_low: PROMETHEUS_RISK_BIAS_LOW; least bias of the last quarter's forecasts without an alert.
        risk_bias_high: PROMETHEUS_RISK_BIAS_HIGH; largest bias of the last quarter's forecasts without an alert.
        statement_timeout_seconds: PROMETHEUS_STATEMENT_TIMEOUT_SECONDS; longest SQL statement, 0 for no limit.
        lock_timeout_seconds: PROMETHEUS_LOCK_TIMEOUT_SECONDS; longest wait for a lock, 0 for no limit.
        idle_timeout_seconds: PROMETHEUS_IDLE_TIMEOUT_SECONDS; longest idle transaction, 0 for no limit.
        health_phase_minutes: PROMETHEUS_HEALTH_PHASE_MINUTES; age of a phase in work that is a finding.
        health_waiting_minutes: PROMETHEUS_HEALTH_WAITING_MINUTES; age of WAITING_FOR_DATA that is a finding.
        health_failure_rate: PROMETHEUS_HEALTH_FAILURE_RATE; share of a day's runs that may fail.
        health_silent_minutes: PROMETHEUS_HEALTH_SILENT_MINUTES; longest time without any host's tick.
        health_undelivered_minutes: PROMETHEUS_HEALTH_UNDELIVERED_MINUTES; age of an undelivered message that is a
            finding.
        alert_file: PROMETHEUS_ALERT_FILE; file to which each message is appended as a line of JSON.
        alert_directory: PROMETHEUS_ALERT_DIRECTORY; directory in which each message becomes a file.
        alert_command: PROMETHEUS_ALERT_COMMAND; command that gets each message on its standard input.
        alert_url: PROMETHEUS_ALERT_URL; where each message is sent by POST.
        alert_timeout_seconds: PROMETHEUS_ALERT_TIMEOUT_SECONDS; longest that a receiver may take for one message.
        outbox_max_attempts: PROMETHEUS_OUTBOX_MAX_ATTEMPTS; failures after which a message is given up.
    """

    database_url: str | None = Field(None, validation_alias="PROMETHEUS_DATABASE_URL", secret=True)
    home: Path = Field(default_factory=default_home, validation_alias="PROMETHEUS_HOME", check=_absolute)
    embedded_linger_seconds: float = Field(5.0, ge=0, le=86_400, validation_alias="PROMETHEUS_EMBEDDED_LINGER_SECONDS")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", validation_alias="PROMETHEUS_LOG_LEVEL")
    log_format: Literal["text", "json"] = Field("text", validation_alias="PROMETHEUS_LOG_FORMAT")
    runner_flag_frozen: bool = Field(False, validation_alias="RUNNER_FLAG_FROZEN")
    run_heartbeat_stale_seconds: int = Field(300, validation_alias="RUN_HEARTBEAT_STALE_SECONDS")
    max_active_runs_per_account: int = Field(5, ge=1, validation_alias="MAX_ACTIVE_RUNS_PER_ACCOUNT")
    phase_deadline_seconds: float = Field(3600.0, ge=0, validation_alias="PROMETHEUS_PHASE_DEADLINE_SECONDS")
    retry_base_seconds: float = Field(30.0, ge=0, validation_alias="PROMETHEUS_RETRY_BASE_SECONDS")
    risk_model_max_age_hours: float = Field(36.0, gt=0, validation_alias="PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS")
    benchmark_max_age_days: float = Field(45.0, ge=0, validation_alias="PROMETHEUS_BENCHMARK_MAX_AGE_DAYS")
    unchanged_prices_max_share: float = Field(
        0.25, ge=0, le=1, validation_alias="PROMETHEUS_UNCHANGED_PRICES_MAX_SHARE"
    )
    borrow_max_age_days: float = Field(7.0, ge=0, validation_alias="PROMETHEUS_BORROW_MAX_AGE_DAYS")
    actions_max_age_days: float = Field(7.0, ge=0, validation_alias="PROMETHEUS_ACTIONS_MAX_AGE_DAYS")
    risk_estimator: str | None = Field(None, validation_alias="PROMETHEUS_RISK_ESTIMATOR")
    risk_bias_low: float = Field(0.8, ge=0, validation_alias="PROMETHEUS_RISK_BIAS_LOW")
    risk_bias_high: float = Field(1.25, gt=0, validation_alias="PROMETHEUS_RISK_BIAS_HIGH")
    statement_timeout_seconds: float = Field(300.0, ge=0, validation_alias="PROMETHEUS_STATEMENT_TIMEOUT_SECONDS")
    lock_timeout_seconds: float = Field(30.0, ge=0, validation_alias="PROMETHEUS_LOCK_TIMEOUT_SECONDS")
    idle_timeout_seconds: float = Field(300.0, ge=0, validation_alias="PROMETHEUS_IDLE_TIMEOUT_SECONDS")
    health_phase_minutes: int = Field(120, ge=1, validation_alias="PROMETHEUS_HEALTH_PHASE_MINUTES")
    health_waiting_minutes: int = Field(1440, ge=1, validation_alias="PROMETHEUS_HEALTH_WAITING_MINUTES")
    health_failure_rate: float = Field(0.05, ge=0, le=1, validation_alias="PROMETHEUS_HEALTH_FAILURE_RATE")
    health_silent_minutes: float = Field(15.0, gt=0, validation_alias="PROMETHEUS_HEALTH_SILENT_MINUTES")

    health_undelivered_minutes: int = Field(15, ge=1, validation_alias="PROMETHEUS_HEALTH_UNDELIVERED_MINUTES")
    alert_file: Path | None = Field(None, validation_alias="PROMETHEUS_ALERT_FILE", check=_absolute)
    alert_directory: Path | None = Field(None, validation_alias="PROMETHEUS_ALERT_DIRECTORY", check=_absolute)
    alert_command: str | None = Field(None, validation_alias="PROMETHEUS_ALERT_COMMAND", check=_command, secret=True)
    alert_url: str | None = Field(None, validation_alias="PROMETHEUS_ALERT_URL", check=_web_address, secret=True)
    alert_timeout_seconds: float = Field(10.0, gt=0, le=300, validation_alias="PROMETHEUS_ALERT_TIMEOUT_SECONDS")
    outbox_max_attempts: int = Field(20, ge=1, validation_alias="PROMETHEUS_OUTBOX_MAX_ATTEMPTS")


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: A variable has a value that cannot be used; the message names it.
    """
    return Settings()
