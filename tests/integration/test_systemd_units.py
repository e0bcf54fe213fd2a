"""The units are valid, hardened, and the timer is dumb."""

import re
import shutil
import subprocess

import pytest

from prometheus.bootstrap.settings import Settings
from tests.conftest import REPOSITORY

UNITS = REPOSITORY / "deploy" / "systemd"
SERVICE = UNITS / "prometheus-engine.service"
TIMER = UNITS / "prometheus-engine.timer"
HEALTH = UNITS / "prometheus-engine-health.service"
HEALTH_TIMER = UNITS / "prometheus-engine-health.timer"
ALERT = UNITS / "prometheus-engine-alert@.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


def _directives(path):
    pairs = [line.split("=", 1) for line in path.read_text().splitlines() if re.match(r"[A-Z]\w*=", line)]
    directives = {}
    for name, value in pairs:
        directives.setdefault(name, []).append(value)
    return directives


@needs_systemd
def test_units_pass_systemd_verify():
    """Services, timers and the alert are accepted by systemd-analyze verify without a word."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, (SERVICE, TIMER, HEALTH, HEALTH_TIMER, ALERT))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("service", [SERVICE, HEALTH], ids=["heartbeat", "health"])
def test_service_exposure_is_low(service):
    """Each service's exposure level is at most 2.5."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(service)],
        capture_output=True,
        text=True,
        check=True,
    )
    level = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level is not None
    assert float(level.group(1)) <= 2.5


def test_service_only_calls_advance_all():
    """The one command of the service is run_engine_state --advance-all: no dates, no phases, no business logic."""
    assert _directives(SERVICE)["ExecStart"] == ["/usr/bin/env run_engine_state --advance-all"]
    assert _directives(SERVICE)["Type"] == ["oneshot"]


def test_services_need_no_file_of_settings_and_keep_compiled_loops():
    """engine.env may be missing, and the service user, who has no home, keeps the optimizer's loops in a cache."""
    for service in (SERVICE, HEALTH):
        assert _directives(service)["EnvironmentFile"] == ["-/etc/prometheus-engine/engine.env"]
    heartbeat = _directives(SERVICE)
    assert f"NUMBA_CACHE_DIR=/var/cache/{heartbeat['CacheDirectory'][0]}" in heartbeat["Environment"]


def test_failing_units_call_somebody():
    """Heartbeat and health check start the alert's unit where they fail; being told to end is no failure."""
    for service in (SERVICE, HEALTH):
        assert _directives(service)["OnFailure"] == ["prometheus-engine-alert@%n.service"]
    assert _directives(SERVICE)["SuccessExitStatus"] == ["143"]
    assert _directives(HEALTH)["ExecStart"] == ["/usr/bin/env engine_health"]
    assert _directives(HEALTH_TIMER)["Unit"] == [HEALTH.name]


def test_stopping_leaves_time_to_give_runs_back():
    """SIGTERM reaches the parent alone, and it has longer than the longest wait for a lock before it is killed."""
    directives = _directives(SERVICE)
    assert (directives["KillSignal"], directives["KillMode"]) == (["SIGTERM"], ["process"])
    assert int(directives["TimeoutStopSec"][0].removesuffix("s")) > Settings().lock_timeout_seconds


def test_timer_spreads_hosts_out():
    """The timer starts that service at fixed times with a random delay, so that hosts do not knock together."""
    directives = _directives(TIMER)
    assert directives["Unit"] == [SERVICE.name]
    assert directives["RandomizedDelaySec"] != ["0"]
    assert "OnCalendar" in directives
