"""Structured logging to standard error: one line for each event, for people or for machines.

structlog is loaded with the first line: loading takes a tenth of the time of an idle tick, which logs nothing.
"""

import contextlib
import shutil
import sys
import textwrap
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO, cast

#: Keys that a terminal does not show; programs use them to join records.
_FOR_MACHINES: Final = frozenset({"alert_id", "attempt", "idempotency_key", "lease_token", "raised_at", "run_id"})
#: Level and style that a command set before structlog was loaded.
_wanted: tuple[str, Literal["text", "json"]] | None = None


class Logger:
    """A structlog logger that is looked up when something is logged, or bound to it.

    Args:
        name: Name of the module that logs.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        """Return structlog's method of that name."""
        return getattr(_structlog().get_logger(self._name), method)


def configure_logging(level: str, style: Literal["text", "json"]) -> None:
    """Set up structlog for this process, at once or as soon as something is logged.

    Standard output belongs to the command's answer; logs go to standard error.

    Args:
        level: Name of the least level that is shown, such as ``INFO``.
        style: ``text`` for a person, ``json`` for a log collector.
    """
    global _wanted  # noqa: PLW0603 -- how a process logs is one thing for all of it
    _wanted = (level, style)
    if "structlog" in sys.modules:
        _structlog()


def tell(sentence: str, **facts: object) -> None:
    """Log news that is not a problem, where a command has set up logging; libraries log nothing."""
    if _wanted is None and not ("structlog" in sys.modules and _structlog().is_configured()):
        return
    if StandardError().isatty():
        # A terminal shows no news of the log (``default_level``), but a waiting person is told the reason.
        StandardError().write(f"{sentence}\n")
    else:
        Logger("prometheus").info(sentence, **facts)


def _structlog() -> Any:
    """Return structlog, set up as the command asked."""
    import structlog  # noqa: PLC0415 -- see above

    global _wanted
    if _wanted is not None:
        (level, style), _wanted = _wanted, None
        _configure(structlog, level, style)
    return structlog


def _configure(structlog: Any, level: str, style: Literal["text", "json"]) -> None:
    import logging  # noqa: PLC0415 -- loaded with structlog

    renderer: Any
    if style == "json":
        renderer = structlog.processors.JSONRenderer()
    elif StandardError().isatty():
        renderer = _for_a_terminal
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    processors: list[Any] = [
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
    """Return the least level shown by default: warnings at a terminal, which shows progress instead of news."""
    return "WARNING" if StandardError().isatty() else "INFO"


def _for_a_terminal(logger: object, name: str, event: MutableMapping[str, Any]) -> str:  # noqa: ARG001 -- structlog's
    """Return a line of the log as lines that fit a terminal: subject, sentence, the rest."""
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
    """Standard error for logs and progress; a closed pipe or terminal is not a failure.

    Logs and progress are written during the work; an error in writing them must not fail a run.

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
