"""Structured logging to standard error: one line an event, for people or for machines."""

import contextlib
import logging
import shutil
import sys
import textwrap
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO, cast

import structlog

#: What a terminal does not show of a line: keys by which programs put records together.
_FOR_MACHINES: Final = frozenset({"alert_id", "attempt", "idempotency_key", "lease_token", "raised_at", "run_id"})


def configure_logging(level: str, style: Literal["text", "json"]) -> None:
    """Set up structlog for this process.

    Standard output belongs to the command's answer; logs go to standard error.

    Args:
        level: Name of the least level that is shown, such as ``INFO``.
        style: ``text`` for a person, ``json`` for a log collector.
    """
    renderer: structlog.typing.Processor
    if style == "json":
        renderer = structlog.processors.JSONRenderer()
    elif StandardError().isatty():
        renderer = _for_a_terminal
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json" or StandardError().isatty():
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", StandardError())),
        cache_logger_on_first_use=False,
    )


def default_level() -> str:
    """Return the least level shown where nobody chose one: a person at a terminal has progress instead of news."""
    return "WARNING" if StandardError().isatty() else "INFO"


def _for_a_terminal(logger: object, name: str, event: MutableMapping[str, Any]) -> str:  # noqa: ARG001 -- structlog's
    """Return a line of the log as lines that fit a terminal: what it is about, its sentence, the rest."""
    told = dict(event)
    instant, level = str(told.pop("timestamp", ""))[11:19], told.pop("level", "")
    trace = told.pop("exception", None)
    about = [str(told.pop(key)) for key in ("code", "account", "as_of") if told.get(key)]
    sentence = [str(told.pop(key)) for key in ("message", "reason") if told.get(key)]
    head = " ".join((f"{instant}Z", str(level), str(told.pop("event", "")), *about))
    rest = [f"{key}={value}" for key, value in told.items() if key not in _FOR_MACHINES]
    text = ": ".join([head, *sentence]) + (f" ({', '.join(rest)})" if rest else "")
    width = max(shutil.get_terminal_size((80, 24)).columns, 40)
    lines = textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines, trace] if trace else lines)


class StandardError:
    """Standard error for logs and progress: a reader that went away, or a terminal that was hung up, is no failure.

    Both are written in the middle of everything; an error of theirs must not decide what becomes of a run.

    Args:
        stream: What to write to; None for whatever ``sys.stderr`` is at the time.
    """

    encoding = "utf-8"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    @property
    def _now(self) -> TextIO | None:
        # Looked up each time: it may be replaced, and is None where the process was started without one.
        return self._stream or sys.stderr

    def write(self, text: str) -> int:
        """Write what can be written; return the length of the text."""
        if self._now is not None:
            with contextlib.suppress(OSError, ValueError):
                self._now.write(text)
        return len(text)

    def flush(self) -> None:
        """Send what was written."""
        if self._now is not None:
            with contextlib.suppress(OSError, ValueError):
                self._now.flush()

    def isatty(self) -> bool:
        """Return True where a person is looking at a terminal."""
        return self._now is not None and self._now.isatty()
