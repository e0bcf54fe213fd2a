"""Progress on a terminal; nothing in a pipe.

One line on standard error. While it is shown, other output of the process on the terminal first clears the line; the
progress is drawn again with its next step.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO, cast

from prometheus.foundation.logging import StandardError
from prometheus.scripts.tables import width_of

#: Return to the first column and clear the line.
_CLEAR: Final = "\r\x1b[2K"
#: Least seconds between two drawings.
_STEP_SECONDS: Final = 0.1
#: How often the clock moves where nothing is counted.
_IDLE_SECONDS: Final = 1.0


@contextmanager
def counting(what: str, total: int | None = None, *, threads: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a step, its count and its time on a terminal's standard error; nothing where that is not a terminal.

    Args:
        what: What is being done.
        total: How many there are, None where that is unknown.
        threads: False where the process forks meanwhile: then the line moves only when something is counted.

    Yields:
        A function to call with how many more are done.
    """
    with progress_line(threads=threads) as line:
        done = 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            line.show(_counted(what, done, total), at_once=total is not None and done >= total)

        line.show(_counted(what, 0, total))
        yield count


@contextmanager
def progress_line(*, threads: bool = True) -> "Iterator[ProgressLine]":
    """Give a line on a terminal's standard error; one that shows nothing where that is not a terminal.

    Meanwhile standard output and standard error are replaced, so that a message never shares the line.
    """
    width = width_of(cast("TextIO", StandardError(sys.stderr)))
    if width is None:
        yield ProgressLine(None, 0)
        return
    outputs = sys.stdout, sys.stderr
    line = ProgressLine(cast("TextIO", StandardError(sys.stderr)), width)
    sys.stdout, sys.stderr = (stream if stream is None else cast("TextIO", _Beside(stream, line)) for stream in outputs)
    stop = threading.Event()
    clock = threading.Thread(target=_tick, args=(line, stop), daemon=True) if threads else None
    try:
        if clock is not None:
            clock.start()
        yield line
    finally:
        stop.set()
        if clock is not None:
            clock.join()
        sys.stdout, sys.stderr = outputs
        line.clear()


class ProgressLine:
    """The line that shows the progress of a step.

    Args:
        stream: The terminal; None shows nothing.
        width: Characters in its lines.
    """

    def __init__(self, stream: TextIO | None, width: int) -> None:
        self.lock = threading.RLock()
        self._stream = stream
        self._width = width
        self._began = time.monotonic()
        self._text = ""
        self._drawn: float | None = None

    def show(self, text: str, *, at_once: bool = False) -> None:
        """Show a text with the time that has passed, at once where asked for or the line is empty, else in a moment."""
        with self.lock:
            self._text = text
            if at_once or self._drawn is None or time.monotonic() - self._drawn >= _STEP_SECONDS:
                self.draw()

    def draw(self) -> None:
        """Draw the line as it is now."""
        if self._stream is None or not self._text:
            return
        with self.lock:
            minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
            line = f"{self._text}  {minutes}:{seconds:02d}"
            # Never the last column, after which a terminal wraps to the next line.
            self._stream.write(_CLEAR + line[: self._width - 1])
            self._stream.flush()
            self._drawn = time.monotonic()

    def clear(self) -> None:
        """Clear the line."""
        with self.lock:
            if self._stream is not None and self._drawn is not None:
                self._stream.write(_CLEAR)
                self._stream.flush()
                self._drawn = None


class _Beside:
    """A standard stream while progress is shown: clears the line before it writes.

    Args:
        stream: The stream itself.
        line: The progress.
    """

    def __init__(self, stream: TextIO, line: ProgressLine) -> None:
        self._stream = stream
        self._line = line

    def write(self, text: str) -> int:
        """Write a text on a line of its own."""
        with self._line.lock:
            if self._stream.isatty():
                self._line.clear()
            return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _tick(line: ProgressLine, stop: threading.Event) -> None:
    while not stop.wait(_IDLE_SECONDS):
        with contextlib.suppress(ValueError):
            line.draw()


def _counted(what: str, done: int, total: int | None) -> str:
    return f"{what}  {done:,}" + ("" if total is None else f"/{total:,}")
