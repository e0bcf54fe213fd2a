"""Receivers on a disk: a file of JSON lines, and a directory with a file for each message."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus.orchestration.outbox.receivers import DeliveryError, OutgoingMessage

_MODE: Final = 0o640


@dataclass(frozen=True, slots=True)
class FileReceiver:
    """A file to which every message is appended as one line; it may be on a medium that can only be written once.

    Args:
        path: The file; made where it is missing, its directory is not.
    """

    path: Path
    name: str = "file"
    may_hang: bool = True

    def take(self, message: OutgoingMessage) -> None:
        """Append one line with one write, and return once it is on the disk."""
        line = f"{message.text}\n".encode()
        try:
            # Deliverers of several hosts lock the file in turn, so that each cuts off only its own incomplete line.
            file = self._locked()
            try:
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":
                    # Another writer was killed in the middle of a line; ours begins on a new one.
                    line = b"\n" + line
                written = os.write(file, line)
                if written != len(line):
                    os.ftruncate(file, size)
                    raise DeliveryError(f"{self.path}: only {written} of {len(line)} bytes could be written.")
                os.fsync(file)
            finally:
                os.close(file)
            if not size:
                _sync_directory(self.path.parent)
        except OSError as error:
            raise DeliveryError(f"{self.path} cannot be written: {error.strerror}.") from error

    def _locked(self) -> int:
        """Return the file open and locked; reopened where another file has the name after the wait."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(file), self.path.stat()):
                    return file
            except FileNotFoundError:
                pass
            except OSError:
                os.close(file)
                raise
            os.close(file)


@dataclass(frozen=True, slots=True)
class DirectoryReceiver:
    """A directory in which every message becomes a file named by its idempotency key, however often it is delivered.

    Args:
        path: The directory, which must exist.
    """

    path: Path
    name: str = "directory"
    may_hang: bool = True

    def take(self, message: OutgoingMessage) -> None:
        """Write the file under a temporary name, and rename it once it is on the disk."""
        aside = self.path / f".{message.key}.{os.getpid()}"
        try:
            file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
            with open(file, "wb") as stream:  # noqa: PTH123 -- an open file, not a path
                stream.write(f"{message.text}\n".encode())
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(self.path / f"{message.key}.json")
            _sync_directory(self.path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise DeliveryError(f"{self.path} cannot be written: {error.strerror}.") from error


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
