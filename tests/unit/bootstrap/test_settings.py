import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from prometheus.bootstrap.engine import outbox_config
from prometheus.bootstrap.settings import Settings, default_home, load_settings
from prometheus.foundation.errors import ConfigurationError
from prometheus.scripts.main import main

NAMES = sorted(str(field.validation_alias) for field in Settings.model_fields.values())


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """An environment without any of our variables."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_every_setting_has_a_default_that_works():
    """Nothing has to be set: no URL, a home that is absolute, the engine not frozen."""
    settings = load_settings()
    assert settings.database_url is None
    assert settings.home == default_home()
    assert settings.home.is_absolute()
    assert not settings.runner_flag_frozen
    assert settings.run_heartbeat_stale_seconds == 300


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("PROMETHEUS_DATABASE_URL", "postgresql://h/x", "database_url", "postgresql://h/x"),
        ("PROMETHEUS_HOME", "/srv/prom", "home", Path("/srv/prom")),
        ("PROMETHEUS_EMBEDDED_LINGER_SECONDS", "0", "embedded_linger_seconds", 0.0),
        ("PROMETHEUS_LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
        ("PROMETHEUS_LOG_FORMAT", "json", "log_format", "json"),
        ("RUNNER_FLAG_FROZEN", "true", "runner_flag_frozen", True),
        ("RUN_HEARTBEAT_STALE_SECONDS", "-1", "run_heartbeat_stale_seconds", -1),
        ("MAX_ACTIVE_RUNS_PER_ACCOUNT", "7", "max_active_runs_per_account", 7),
        ("PROMETHEUS_PHASE_DEADLINE_SECONDS", "90", "phase_deadline_seconds", 90.0),
        ("PROMETHEUS_RETRY_BASE_SECONDS", "0.5", "retry_base_seconds", 0.5),
        ("PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS", "12", "risk_model_max_age_hours", 12.0),
        ("PROMETHEUS_BENCHMARK_MAX_AGE_DAYS", "100", "benchmark_max_age_days", 100.0),
        ("PROMETHEUS_UNCHANGED_PRICES_MAX_SHARE", "0.5", "unchanged_prices_max_share", 0.5),
        ("PROMETHEUS_BORROW_MAX_AGE_DAYS", "0", "borrow_max_age_days", 0.0),
        ("PROMETHEUS_ACTIONS_MAX_AGE_DAYS", "30", "actions_max_age_days", 30.0),
        ("PROMETHEUS_RISK_ESTIMATOR", "linked", "risk_estimator", "linked"),
        ("PROMETHEUS_RISK_BIAS_LOW", "0.7", "risk_bias_low", 0.7),
        ("PROMETHEUS_RISK_BIAS_HIGH", "1.4", "risk_bias_high", 1.4),
        ("PROMETHEUS_STATEMENT_TIMEOUT_SECONDS", "0", "statement_timeout_seconds", 0.0),
        ("PROMETHEUS_LOCK_TIMEOUT_SECONDS", "5", "lock_timeout_seconds", 5.0),
        ("PROMETHEUS_IDLE_TIMEOUT_SECONDS", "60", "idle_timeout_seconds", 60.0),
        ("PROMETHEUS_HEALTH_PHASE_MINUTES", "30", "health_phase_minutes", 30),
        ("PROMETHEUS_HEALTH_WAITING_MINUTES", "600", "health_waiting_minutes", 600),
        ("PROMETHEUS_HEALTH_FAILURE_RATE", "0.5", "health_failure_rate", 0.5),
        ("PROMETHEUS_HEALTH_SILENT_MINUTES", "30", "health_silent_minutes", 30.0),
        ("PROMETHEUS_HEALTH_UNDELIVERED_MINUTES", "5", "health_undelivered_minutes", 5),
        ("PROMETHEUS_ALERT_FILE", "/srv/told.jsonl", "alert_file", Path("/srv/told.jsonl")),
        ("PROMETHEUS_ALERT_DIRECTORY", "/srv/told", "alert_directory", Path("/srv/told")),
        ("PROMETHEUS_ALERT_COMMAND", "page --to 'the desk'", "alert_command", "page --to 'the desk'"),
        ("PROMETHEUS_ALERT_URL", "https://host/x?token=1", "alert_url", "https://host/x?token=1"),
        ("PROMETHEUS_ALERT_TIMEOUT_SECONDS", "2.5", "alert_timeout_seconds", 2.5),
        ("PROMETHEUS_OUTBOX_MAX_ATTEMPTS", "3", "outbox_max_attempts", 3),
    ],
)
def test_each_variable_reaches_its_setting(monkeypatch, name, value, field, expected):
    """Each documented variable is read under exactly its name, and an empty one counts as not set."""
    default = getattr(load_settings(), field)
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), field) == expected
    monkeypatch.setenv(name, "")
    assert getattr(load_settings(), field) == default
    monkeypatch.delenv(name)
    monkeypatch.setenv(name.lower(), value)
    assert getattr(load_settings(), field) == default


def test_all_variables_are_documented_and_tested():
    """The class's own documentation names every variable it reads."""
    assert all(name in (Settings.__doc__ or "") for name in NAMES)
    assert len(NAMES) == 32


@pytest.mark.parametrize("name", ["HOME", "home", "DATABASE_URL", "LOG_LEVEL", "LOG_FORMAT"])
def test_variables_of_others_are_not_ours(monkeypatch, name):
    """HOME and other programs' variables are never taken for a setting of the same word."""
    before = load_settings()
    if name == "HOME":
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        before = load_settings()
    monkeypatch.setenv(name, "/somewhere/else")
    assert load_settings() == before


def test_a_normal_users_home_is_under_its_home_directory(monkeypatch):
    """The default lies under HOME for a normal user and under /var/lib for root."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load_settings().home == Path("/home/somebody/.prometheus-engine")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load_settings().home == Path("/var/lib/prometheus-engine")


def test_a_user_without_a_home_directory_can_still_use_a_url(monkeypatch):
    """Where no home directory is known the settings still load: a URL needs none."""

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setenv("PROMETHEUS_DATABASE_URL", "postgresql://h/x")
    assert load_settings().database_url == "postgresql://h/x"


def test_a_home_may_be_written_with_a_tilde_or_relative(monkeypatch, tmp_path):
    """A home is made absolute once, when it is read."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("PROMETHEUS_HOME", "~/prom")
    assert load_settings().home == Path("/home/somebody/prom")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMETHEUS_HOME", "prom")
    assert load_settings().home == tmp_path / "prom"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMETHEUS_HOME", "~nobody-has-this-name/x"),
        ("PROMETHEUS_EMBEDDED_LINGER_SECONDS", "soon"),
        ("PROMETHEUS_EMBEDDED_LINGER_SECONDS", "-1"),
        ("PROMETHEUS_EMBEDDED_LINGER_SECONDS", "nan"),
        ("PROMETHEUS_LOG_LEVEL", "LOUD"),
        ("PROMETHEUS_LOG_FORMAT", "xml"),
        ("RUNNER_FLAG_FROZEN", "perhaps"),
        ("RUN_HEARTBEAT_STALE_SECONDS", "300s"),
        ("MAX_ACTIVE_RUNS_PER_ACCOUNT", "0"),
        ("MAX_ACTIVE_RUNS_PER_ACCOUNT", "1.5"),
        ("PROMETHEUS_RETRY_BASE_SECONDS", "-0.1"),
        ("PROMETHEUS_RETRY_BASE_SECONDS", "inf"),
        ("PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS", "0"),
        ("PROMETHEUS_RISK_MODEL_MAX_AGE_HOURS", "inf"),
        ("PROMETHEUS_ALERT_TIMEOUT_SECONDS", "0"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(monkeypatch, name, value):
    """A bad value ends every command with exit code 2 and one sentence that names variable and value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}={value!r}: "):
        load_settings()
    result = CliRunner().invoke(main, ["db", "status"])
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {name}={value!r}: ")
    assert result.output.endswith(" [CONFIGURATION]\n")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMETHEUS_ALERT_URL", "ftp://h/x"),
        ("PROMETHEUS_ALERT_URL", "https:///x"),
        ("PROMETHEUS_ALERT_URL", "https://me:secret@h/x"),
        ("PROMETHEUS_ALERT_URL", "/x"),
        ("PROMETHEUS_ALERT_COMMAND", "page --token=secret 'the desk"),
        ("PROMETHEUS_ALERT_COMMAND", "  "),
    ],
)
def test_a_receiver_that_cannot_be_used_is_not_repeated(monkeypatch, name, value):
    """A receiver's URL or command may hold a secret: a bad one is refused by its variable's name alone."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as caught:
        load_settings()
    assert value not in caught.value.message


def test_the_alert_command_finds_no_secret_in_its_environment(monkeypatch):
    """The command of alerts gets the environment without libpq's variables and without any address of ours."""
    secret = ("PGPASSWORD", "PGSERVICE", "PROMETHEUS_DATABASE_URL", "PROMETHEUS_ALERT_URL")
    kept = ("PROMETHEUS_LOG_LEVEL", "PAGER_TOKEN")
    for name in (*secret, *kept):
        monkeypatch.setenv(name, "https://h/x")
    monkeypatch.setenv("PROMETHEUS_ALERT_COMMAND", "page --to 'the desk'")
    monkeypatch.setenv("PROMETHEUS_LOG_LEVEL", "INFO")
    (receiver, _) = outbox_config(load_settings()).receivers
    assert receiver.arguments == ("page", "--to", "the desk")
    assert set(kept) < set(receiver.environment)
    assert not set(secret) & set(receiver.environment)


def test_a_bad_value_is_one_sentence_of_the_real_command():
    """The installed entry point itself ends with exit code 2, an empty standard output and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "prometheus.scripts.main", "db", "status"],
        env={**os.environ, "RUNNER_FLAG_FROZEN": "perhaps"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: RUNNER_FLAG_FROZEN='perhaps': ")
    assert done.stderr.count("\n") == 1
