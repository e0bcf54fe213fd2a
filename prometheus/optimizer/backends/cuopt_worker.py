"""The one process that talks to the GPU: ``python -m prometheus.optimizer.backends.cuopt_worker FD``.

cuOpt may abort the process when it is called from a thread that did not exist before, a process that has touched CUDA
must not be forked, and importing it takes seconds. So one process, started afresh rather than forked, imports it once,
solves on its main thread for as long as its parent lives, and discards what the solver prints.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from multiprocessing.connection import Connection, Pipe
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prometheus.foundation.canonical import JsonObject
from prometheus.foundation.errors import SolverFailedError
from prometheus.optimizer.backends.cuopt_translation import CuoptModel

#: What cuOpt says of its answer, or ``raised`` and ``message`` where it has none.
Facts = Mapping[str, str | int | float]
Message = tuple[Facts, dict[str, NDArray[Any]]]

#: Seconds for starting the process and importing cuOpt (seven were seen), on top of the solver's own limit.
_START: Final = 120.0
#: Seconds by which the solver may overrun its limit before its process is ended.
_GRACE: Final = 15.0
#: Seconds in which an idle process has to end after its parent has closed the connection.
_FAREWELL: Final = 5.0
#: Bytes of the process's last output that go into an error.
_LAST_WORDS: Final = 600


class CuoptWorker:
    """The parent's side: starts the process when it is first needed, and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._last_words: Any = None
        self._owner = os.getpid()
        # without the lock: exit must not wait for a thread that is still solving
        atexit.register(self._end)

    def solve(self, model: CuoptModel, parameters: Mapping[str, int | float], time_limit: float) -> Message:
        """Solve one model and return the facts and the arrays of cuOpt's answer.

        Args:
            model: The model.
            parameters: cuOpt's parameters by name.
            time_limit: Seconds that the solver is given; a process that overruns it by far is ended.

        Returns:
            Facts (``status``, ``error``, ``message``, ``iterations``, ``seconds``; or ``raised`` and ``message`` where
            cuOpt raised) and the arrays ``primal`` and ``dual``.

        Raises:
            SolverFailedError: The process died or did not answer in time; code ``SOLVER_CRASHED`` or ``TIME_LIMIT``.
        """
        with self._lock:
            fresh = self._start()
            assert self._connection is not None
            wait = time_limit + _GRACE + (_START if fresh else 0.0)
            try:
                self._connection.send_bytes(_packed({"parameters": dict(parameters)}, model.arrays()))
                if not self._connection.poll(wait):
                    self._end()
                    raise SolverFailedError(
                        f"CUOPT did not answer within {wait:g} seconds (its own limit was {time_limit:g}); its process "
                        "was ended.",
                        code="TIME_LIMIT",
                    )
                return _unpacked(self._connection.recv_bytes())
            except (EOFError, OSError) as error:
                words = self._end()
                raise SolverFailedError(
                    f"CUOPT's process died during a solve. Its last words: {words or 'none'}", code="SOLVER_CRASHED"
                ) from error

    def close(self) -> None:
        """Let the process end by itself, or end it; the next solve starts another."""
        with self._lock:
            if self._process is not None and self._connection is not None and os.getpid() == self._owner:
                self._connection.close()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_FAREWELL)
            self._end()

    def _start(self) -> bool:
        """Start the process where there is none, and say whether it was started now."""
        if os.getpid() != self._owner:
            # after a fork the process belongs to the parent: leave it alone
            self._process, self._connection, self._owner = None, None, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return False
        self._end()
        ours, theirs = Pipe()
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._last_words,
                pass_fds=(theirs.fileno(),),
                # the process imports from the same path as this one
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self._connection = ours
        return True

    def _end(self) -> str:
        """End the process and return its last output."""
        if self._process is None or os.getpid() != self._owner:
            return ""
        self._process.kill()
        self._process.wait()
        assert self._connection is not None
        self._connection.close()
        self._last_words.seek(0)
        words: str = self._last_words.read()[-_LAST_WORDS:].decode("utf-8", "replace").strip()
        self._last_words.close()
        self._process = self._connection = None
        return words


def serve(connection: Connection) -> None:
    """Answer models until the parent is gone."""
    while True:
        try:
            request, arrays = _unpacked(connection.recv_bytes())
        except (EOFError, OSError):
            return
        connection.send_bytes(_packed(*_answer(CuoptModel(**arrays), request["parameters"])))


def _answer(model: CuoptModel, parameters: Mapping[str, int | float]) -> Message:
    """Solve with cuOpt; whatever it raises becomes facts."""
    try:
        # CUDA is touched here and in no other process
        linear_programming = import_module("cuopt.linear_programming")
        data_model = linear_programming.DataModel()
        model.fill(data_model)
        chosen = linear_programming.SolverSettings()
        for name, value in parameters.items():
            chosen.set_parameter(name, value)
        solution = linear_programming.Solve(data_model, chosen)
        facts: Facts = {
            "status": str(solution.get_termination_reason()),
            "error": int(solution.get_error_status()),
            "message": str(solution.get_error_message()),
            "iterations": int(solution.get_lp_stats().get("nb_iterations", 0)),
            "seconds": float(solution.get_solve_time()),
        }
        primal, dual = solution.get_primal_solution(), solution.get_dual_solution()
    # every exception of the library has to reach the parent, which turns it into an error of ours
    except Exception as error:  # noqa: BLE001 - whatever the package raises is told to the parent
        return {"raised": type(error).__name__, "message": str(error)}, {}
    return facts, {
        name: np.array([] if values is None else values, dtype=np.float64)
        for name, values in (("primal", primal), ("dual", dual))
    }


def _packed(facts: JsonObject, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, __facts__=np.array(json.dumps(facts)), **arrays)
    return buffer.getvalue()


def _unpacked(message: bytes) -> tuple[Any, dict[str, NDArray[Any]]]:
    with np.load(BytesIO(message), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("__facts__"))), arrays


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
