"""A receiver that is a command: the message on its standard input, exit code 0 for taken."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, Final

from prometheus.orchestration.outbox.receivers import DeliveryError, OutgoingMessage

#: Name of the variable in which the command gets the idempotency key.
KEY_VARIABLE: Final = "PROMETHEUS_IDEMPOTENCY_KEY"
#: Characters of a failed command's output that go into the message.
_TOLD: Final = 400


@dataclass(frozen=True, slots=True)
class CommandReceiver:
    """A command that is started for each message, in a process group of its own.

    Args:
        arguments: Program and arguments; no shell reads them.
        environment: Environment of the command, besides the key.
        seconds: Its time limit; then its whole group is killed.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    seconds: float
    name: str = "command"
    may_hang: bool = True

    def take(self, message: OutgoingMessage) -> None:
        """Run the command to its end."""
        # A file, not a pipe: a process that the command leaves behind with its standard error open delays nothing.
        with tempfile.TemporaryFile() as complaint:
            # Told to end while the command is being started, this process would not know yet whom to kill.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                command = subprocess.Popen(
                    self.arguments,
                    env={**self.environment, KEY_VARIABLE: message.key},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=complaint,
                    start_new_session=True,
                    preexec_fn=partial(signal.pthread_sigmask, signal.SIG_SETMASK, mask),  # noqa: PLW1509 -- one thread
                )
            except OSError as error:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                raise DeliveryError(f"The command {self.arguments[0]} cannot be started: {error.strerror}.") from error
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                command.communicate(f"{message.text}\n".encode(), timeout=self.seconds)
            except subprocess.TimeoutExpired as error:
                raise DeliveryError(
                    f"The command {self.arguments[0]} was not done after {self.seconds:g} seconds.", code="TIMEOUT"
                ) from error
            finally:
                if command.poll() is None:
                    os.killpg(command.pid, signal.SIGKILL)
                    command.wait()
            if command.returncode:
                raise DeliveryError(_failure(self.arguments[0], command.returncode, complaint))


def _failure(program: str, code: int, complaint: IO[bytes]) -> str:
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    complaint.seek(max(complaint.seek(0, os.SEEK_END) - _TOLD, 0))
    said = " ".join(complaint.read(_TOLD).decode(errors="replace").split())
    return f"The command {program} {ended}{f': {said}' if said else ''}."
