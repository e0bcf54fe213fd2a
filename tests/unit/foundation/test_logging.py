import json

import pytest
import structlog

from prometheus.foundation.logging import configure_logging


@pytest.fixture(autouse=True)
def own_configuration():
    """Whatever a test configures is forgotten afterwards."""
    yield
    structlog.reset_defaults()


def test_json_is_one_object_a_line_with_the_exception_inside(capsys):
    """For machines every event is one line of JSON on standard error, a traceback included."""
    configure_logging("INFO", "json")
    try:
        int("two\nlines")
    except ValueError:
        structlog.get_logger().exception("phase_failed", account="A\nB", value=object)
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    event = json.loads(line)
    assert event["event"] == "phase_failed"
    assert event["level"] == "error"
    assert event["account"] == "A\nB"
    assert "ValueError: invalid literal" in event["exception"]
    assert event["timestamp"].endswith("Z")


def test_levels_below_the_configured_one_are_not_shown(capsys):
    """The configured level is the least that appears."""
    configure_logging("WARNING", "text")
    log = structlog.get_logger()
    log.info("hidden")
    log.warning("shown", account="ACC-001")
    out, err = capsys.readouterr()
    assert out == ""
    assert "hidden" not in err
    assert "shown" in err
    assert "ACC-001" in err


def test_text_has_no_colours_away_from_a_terminal(capsys):
    """A log that goes to a file has no control characters in it."""
    configure_logging("DEBUG", "text")
    structlog.get_logger().debug("plain")
    assert "\x1b" not in capsys.readouterr().err


def test_context_of_the_task_is_part_of_every_event(capsys):
    """Values bound for the task appear in each event of it."""
    configure_logging("INFO", "json")
    with structlog.contextvars.bound_contextvars(run_id=7):
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert inside["run_id"] == 7
    assert "run_id" not in outside
