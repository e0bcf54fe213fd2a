"""The courier: a forked process that delivers messages, so that a receiver that hangs can be killed.

A write to a disk that is gone, a host that is not resolved, a receiver that sends one byte a minute: none of them has a
time limit of its own. The deliverer waits for its courier until the limit, and then kills it.
"""

import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import Final

from prometheus.orchestration.outbox.receivers import DeliveryError, OutgoingMessage, Receiver

_FORK: Final = multiprocessing.get_context("fork")
#: Additional time in which a receiver with its own time limit may report it.
_GRACE_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1


class Courier:
    """Delivers messages to one receiver; the process is forked with the first of them, and again after it was killed.

    Args:
        receiver: The receiver.
        seconds: Longest that one message may take.
        must_stop: True once this process was told to end.
    """

    def __init__(self, receiver: Receiver, seconds: float, must_stop: Callable[[], bool]) -> None:
        self.receiver = receiver
        self._seconds = seconds
        self._must_stop = must_stop
        self._process: ForkProcess | None = None
        self._pipe: Pipe | None = None

    def take(self, message: OutgoingMessage) -> None:
        """Deliver a message and return once the receiver has it.

        Raises:
            DeliveryError: It was not taken, or that is unknown (TIMEOUT: the limit is over; STOPPED: told to end).
        """
        if not self.receiver.may_hang:
            try:
                self.receiver.take(message)
            except DeliveryError:
                raise
            except Exception as error:
                raise DeliveryError(_unexpected(error)) from error
            return
        try:
            pipe = self._pipe or self._fork()
            pipe.send(message)
            refusal = self._answer(pipe)
        except (EOFError, OSError) as error:
            self.close()
            if self._must_stop():
                raise DeliveryError("The process was told to end.", code="STOPPED") from error
            raise DeliveryError("The process that was to deliver it died, or could not be started.") from error
        if refusal is not None:
            code, reason = refusal
            raise DeliveryError(reason, code=code)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None and self._pipe is not None:
            self._pipe.close()
            # SIGTERM first: the process then ends the command that it may have started. A process that hangs in the
            # kernel is killed.
            self._process.terminate()
            self._process.join(_GRACE_SECONDS)
            self._process.kill()
            self._process.join()
            self._process.close()
        self._process = self._pipe = None

    def _answer(self, pipe: Pipe) -> tuple[str, str] | None:
        deadline = time.monotonic() + self._seconds + _GRACE_SECONDS
        while not pipe.poll(_TICK_SECONDS):
            if self._must_stop():
                self.close()
                raise DeliveryError("The process was told to end.", code="STOPPED")
            if time.monotonic() >= deadline:
                self.close()
                raise DeliveryError(f"No answer after {self._seconds:g} seconds.", code="TIMEOUT")
        refusal: tuple[str, str] | None = pipe.recv()
        return refusal

    def _fork(self) -> Pipe:
        ours, theirs = _FORK.Pipe()
        process = _FORK.Process(target=_carry, args=(self.receiver, theirs, ours, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        return ours


def _carry(receiver: Receiver, pipe: Pipe, other_end: Pipe, parent: int) -> None:
    # If the parent dies the kernel ends this process, too; another deliverer repeats what was not marked.
    other_end.close()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return
    try:
        _hand_over(receiver, pipe)
    finally:
        # Nothing may raise from here on: the exception would continue the parent's work in this process.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _hand_over(receiver: Receiver, pipe: Pipe) -> None:
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        try:
            receiver.take(message)
        except DeliveryError as error:
            pipe.send((error.code, error.message))
        except Exception as error:  # noqa: BLE001 -- whatever a receiver does, the deliverer is told
            pipe.send((DeliveryError.default_code, _unexpected(error)))
        else:
            pipe.send(None)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- the signature of a handler
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


def _unexpected(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
