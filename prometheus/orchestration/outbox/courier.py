"""The courier: a forked process that hands messages over, so that whatever hangs can be ended.

A write to a disk that is gone, a name that nobody resolves, a receiver that sends one byte a minute: none of it heeds a
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

from prometheus.orchestration.outbox.receivers import DeliveryError, Letter, Receiver

_FORK: Final = multiprocessing.get_context("fork")
#: A receiver that keeps its own time limit is given a moment to say so itself.
_GRACE_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1


class Courier:
    """Hands messages to one receiver; the process is forked with the first of them, and anew after it was killed.

    Args:
        receiver: To whom.
        seconds: Longest that one message may take.
        must_stop: True once this process was told to end.
    """

    def __init__(self, receiver: Receiver, seconds: float, must_stop: Callable[[], bool]) -> None:
        self.receiver = receiver
        self._seconds = seconds
        self._must_stop = must_stop
        self._process: ForkProcess | None = None
        self._pipe: Pipe | None = None

    def take(self, letter: Letter) -> None:
        """Hand a message over and return once the receiver has it.

        Raises:
            DeliveryError: It was not taken, or nobody knows (TIMEOUT: the limit is over; STOPPED: told to end).
        """
        if not self.receiver.may_hang:
            try:
                self.receiver.take(letter)
            except DeliveryError:
                raise
            except Exception as error:
                raise DeliveryError(_unexpected(error)) from error
            return
        try:
            pipe = self._pipe or self._fork()
            pipe.send(letter)
            refusal = self._answer(pipe)
        except (EOFError, OSError) as error:
            self.close()
            if self._must_stop():
                raise DeliveryError("The process was told to end.", code="STOPPED") from error
            raise DeliveryError("The process that was to deliver it died, or could not be started.") from error
        if refusal is not None:
            code, message = refusal
            raise DeliveryError(message, code=code)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None and self._pipe is not None:
            self._pipe.close()
            # Asked first: it takes along the command it may have started. What stands still in the kernel is killed.
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
    # If the parent dies the kernel ends this one, too; what was not marked is delivered again by somebody else.
    other_end.close()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return
    try:
        _hand_over(receiver, pipe)
    finally:
        # On its way out nothing may raise: the exception would leave the fork and go on with the parent's own work.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _hand_over(receiver: Receiver, pipe: Pipe) -> None:
    while True:
        try:
            letter = pipe.recv()
        except EOFError:
            return
        try:
            receiver.take(letter)
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
