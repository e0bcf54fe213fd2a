"""NVIDIA cuOpt on a GPU of this machine or on a remote host, behind the interface of all solvers.

Importing this module imports neither cuOpt nor CUDA. A solve runs in one long-lived process of its own (see
``cuopt_worker``), the probe for a device in another. The solver's status is not trusted: point and rows are checked
against the program's data. Answers are repeatable to tolerance only, never bit by bit.
"""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import Final

import numpy as np

from prometheus.foundation.errors import BackendUnavailableError, CertificateRejectedError, SolverFailedError
from prometheus.optimizer.backends.base import QuadraticBackend, QuadraticProgram, QuadraticSolution, check_form
from prometheus.optimizer.backends.cuopt_translation import settings, translate
from prometheus.optimizer.backends.cuopt_worker import CuoptWorker, Facts
from prometheus.optimizer.problem.rebalance_problem import read_only

#: Quadratic programs left their trial stage in this release.
_OLDEST: Final = (26, 2)
_DISTRIBUTIONS: Final = ("cuopt-cu12", "cuopt-cu13", "cuopt")
#: Seconds given to one solve.
_TIME_LIMIT: Final = 60.0
#: Residual in the program's rows and cones that is accepted (fraction of NAV).
_RESIDUAL: Final = 1e-7
#: Seconds to wait for a remote host, and for the probe of a device.
_CONNECT, _PROBE = 5.0, 60.0
_HOST, _PORT = "CUOPT_REMOTE_HOST", "CUOPT_REMOTE_PORT"
_ELSE: Final = "or choose the solver CLARABEL, which needs no GPU."
#: Asks the driver, without any CUDA library, how many devices this process may use.
_DEVICE_PROBE: Final = """
import ctypes, sys
driver = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int()
sys.exit(0 if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0 else 1)
"""


def check_available() -> None:
    """Refuse with advice where cuOpt cannot run: package, version, then a remote host or else a device.

    Raises:
        BackendUnavailableError: What is missing and what to do.
    """
    if importlib.util.find_spec("cuopt") is None:
        raise BackendUnavailableError(
            "CUOPT needs the package cuopt, which is not installed: install the extra [gpu] (about 4 GB) on a host "
            f"with an NVIDIA GPU or one that reaches such a host, {_ELSE}"
        )
    version = _version()
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < _OLDEST:
        raise BackendUnavailableError(
            f"CUOPT needs cuopt {'.'.join(f'{part:02d}' for part in _OLDEST)} or later for quadratic programs, and "
            f"{version or 'no known version'} is installed: upgrade it, {_ELSE}"
        )
    host, port = os.environ.get(_HOST, ""), os.environ.get(_PORT, "")
    if host and port:
        _require_reachable(host, port)
    elif host or port:
        given, missing = (_HOST, _PORT) if host else (_PORT, _HOST)
        raise BackendUnavailableError(f"CUOPT has {given} but not {missing}: set both for a remote host, {_ELSE}")
    elif not _has_device():
        raise BackendUnavailableError(
            "CUOPT found no NVIDIA device on this machine and no remote host: run cuopt_grpc_server on a host with a "
            f"GPU and set {_HOST} and {_PORT}, {_ELSE}"
        )


class CuoptBackend:
    """cuOpt's barrier method for quadratic programs.

    Args:
        time_limit: Seconds given to one solve.
    """

    name = "CUOPT"

    def __init__(self, time_limit: float = _TIME_LIMIT) -> None:
        self._time_limit = time_limit
        self._worker = CuoptWorker()

    def version(self) -> str:
        """Return the version of the installed cuOpt package."""
        return _version()

    def solve(self, program: QuadraticProgram, tolerance: float) -> QuadraticSolution:
        """Solve ``program`` from scratch without its second-order cones, then check the answer against them.

        Raises:
            SolverFailedError: cuOpt stopped without an answer it calls optimal (code ``TIME_LIMIT`` for its limit),
                raised, or died (``SOLVER_CRASHED``); or the optimum without the cones lies outside them
                (``CONE_UNSUPPORTED``).
            CertificateRejectedError: It says optimal, and its point is empty (``ANSWER_EMPTY``), cut
                (``ANSWER_WRONG_LENGTH``), not finite (``ANSWER_NOT_FINITE``) or breaks the rows
                (``ANSWER_BREAKS_ROWS``).
            BackendUnavailableError: The device or the remote host is gone.
        """
        translation = translate(program)
        facts, arrays = self._worker.solve(translation.model, settings(tolerance, self._time_limit), self._time_limit)
        _require_optimal(facts, tolerance)
        point = QuadraticSolution(
            x=read_only(translation.point(arrays["primal"])),
            z=read_only(np.zeros(len(program.b))),
            status=str(facts["status"]),
            iterations=int(facts["iterations"]),
            seconds=float(facts["seconds"]),
        )
        check_form(program, point, self.name)
        _require_rows(program, point)
        return replace(point, z=read_only(translation.multipliers(point.x, arrays["dual"])))

    def close(self) -> None:
        """End the worker process; the next solve starts another."""
        self._worker.close()


def _require_optimal(facts: Facts, tolerance: float) -> None:
    message = str(facts["message"])
    if "raised" in facts:
        _refuse_raised(str(facts["raised"]), message)
    status = "Error" if facts["error"] else str(facts["status"])
    if status != "Optimal":
        code = "TIME_LIMIT" if status == "TimeLimit" else None
        raise SolverFailedError(
            f"CUOPT stopped with {status} after {facts['iterations']} iterations (tolerance {tolerance:g})"
            f"{': ' + message if message else ''}.",
            code=code,
            details={"status": status, "iterations": facts["iterations"], "tolerance": tolerance},
        )


def _refuse_raised(kind: str, message: str) -> None:
    """Raise the error for what cuOpt raised: BackendUnavailableError or SolverFailedError."""
    if "CUOPT_REMOTE_HOST" in message or "grpc" in message.lower():
        raise BackendUnavailableError(
            f"CUOPT reached neither a device nor its remote host ({message}): check the GPU, or {_HOST} and {_PORT} "
            f"and that cuopt_grpc_server runs there, {_ELSE}"
        )
    if kind in {"ImportError", "ModuleNotFoundError", "AttributeError"}:
        raise BackendUnavailableError(
            f"the installed cuopt {_version()} cannot be used ({message}): its CUDA libraries are missing or its "
            f"interface has changed; install cuopt-cu12 26.10, {_ELSE}"
        )
    raise SolverFailedError(f"CUOPT raised {kind}: {message}")


def _require_rows(program: QuadraticProgram, point: QuadraticSolution) -> None:
    """Check the point against the program's data: first the rows that cuOpt was given, then the cones it was not."""
    excess = (program.A.times(point.x) - program.b)[: program.first_cone]
    excess[: program.equalities] = np.abs(excess[: program.equalities])
    violation = float(excess.max(initial=0.0))
    if not violation <= _RESIDUAL:
        raise CertificateRejectedError(
            f"CUOPT answered {point.status}, but its point breaks the program's rows by {violation:.3g}; at most "
            f"{_RESIDUAL:g} is accepted.",
            code="ANSWER_BREAKS_ROWS",
            details={"status": point.status, "violation": violation},
        )
    outside = program.violation(point.x)
    if outside > _RESIDUAL:
        raise SolverFailedError(
            f"CUOPT is not trusted with second-order cones (beta), and the optimum without them is outside by "
            f"{outside:.3g}: use CLARABEL for this program.",
            code="CONE_UNSUPPORTED",
            details={"violation": outside},
        )


def _version() -> str:
    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _require_reachable(host: str, port: str) -> None:
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT).close()
    except (OSError, ValueError, OverflowError) as error:
        raise BackendUnavailableError(
            f"CUOPT cannot reach the remote host {host}:{port} ({error}): start cuopt_grpc_server --port {port} there "
            f"or correct {_HOST} and {_PORT}, {_ELSE}"
        ) from error


@cache
def _has_device() -> bool:
    """Ask the driver for a device in a process of its own, since a process that used CUDA must not fork."""
    try:
        probe = subprocess.run(
            [sys.executable, "-I", "-c", _DEVICE_PROBE], capture_output=True, timeout=_PROBE, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


BACKEND: Final[QuadraticBackend] = CuoptBackend()
