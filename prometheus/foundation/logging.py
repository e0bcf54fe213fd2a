"""Structured logging to standard error: one line an event, for people or for machines."""

import contextlib
import logging
import sys
from typing import Literal, TextIO, cast

import structlog


def configure_logging(level: str, style: Literal["text", "json"]) -> None:
    """Set up structlog for this process.

    Standard output belongs to the command's answer; logs go to standard error.

    Args:
        level: Name of the least level that is shown, such as ``INFO``.
        style: ``text`` for a person, ``json`` for a log collector.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json":
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", StandardError())),
        cache_logger_on_first_use=False,
    )


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
