"""Structured logging to standard error: one line an event, for people or for machines."""

import logging
import sys
from typing import Literal

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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
