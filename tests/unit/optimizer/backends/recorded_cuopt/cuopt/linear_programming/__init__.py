"""The recorded names, strict about types and sizes, with Clarabel behind Solve.

The environment variable RECORDED_CUOPT says how the solver misbehaves; unset, it answers honestly and gives the row
prices of a quadratic program at half their size and with the opposite sign, as an open report says of the original.
"""

import json
import os
import sys
import time
from pathlib import Path

import clarabel
import numpy as np
from scipy.sparse import csc_array, csr_array, eye_array, triu, vstack

INTERFACE = json.loads((Path(__file__).parents[2] / "interface.json").read_text(encoding="utf-8"))
_FIELDS = {
    "set_csr_constraint_matrix": ("values", "indices", "offsets"),
    "set_constraint_bounds": ("bounds",),
    "set_row_types": ("types",),
    "set_constraint_lower_bounds": ("row_lower",),
    "set_constraint_upper_bounds": ("row_upper",),
    "set_objective_coefficients": ("linear",),
    "set_quadratic_objective_matrix": ("q_values", "q_indices", "q_offsets"),
    "set_variable_lower_bounds": ("lower",),
    "set_variable_upper_bounds": ("upper",),
}
_GETTERS = {
    "get_constraint_matrix_values": "values",
    "get_constraint_matrix_indices": "indices",
    "get_constraint_matrix_offsets": "offsets",
    "get_constraint_bounds": "bounds",
    "get_row_types": "types",
    "get_constraint_lower_bounds": "row_lower",
    "get_constraint_upper_bounds": "row_upper",
    "get_objective_coefficients": "linear",
    "get_quadratic_objective_values": "q_values",
    "get_quadratic_objective_indices": "q_indices",
    "get_quadratic_objective_offsets": "q_offsets",
    "get_variable_lower_bounds": "lower",
    "get_variable_upper_bounds": "upper",
}


class InputValidationError(Exception):
    """What the original raises for a problem it cannot place."""


class DataModel:
    """Setters and getters by their recorded names."""

    def __init__(self) -> None:
        self.given = {name: np.array([]) for names in _FIELDS.values() for name in names}

    def __getattr__(self, method) -> object:
        if method in _GETTERS:
            return lambda: self.given[_GETTERS[method]]
        if method not in _FIELDS or method not in INTERFACE["data_model"]:
            raise AttributeError(method)

        def set_fields(*values: np.ndarray) -> None:
            if len(values) != len(INTERFACE["data_model"][method]):
                raise TypeError(method)
            for name, value in zip(_FIELDS[method], values, strict=True):
                wanted = "U" if name == "types" else "i" if name.endswith(("indices", "offsets")) else "f"
                size = {"U": 4, "i": 4, "f": 8}[wanted]
                if value.dtype.kind != wanted or value.dtype.itemsize != size:
                    raise TypeError(f"{method}: {name} is {value.dtype}")
                self.given[name] = value

        return set_fields


class SolverSettings:
    """Parameters by name: an unknown one is refused at once, a bad value only by Solve."""

    def __init__(self) -> None:
        self.values = {}

    def set_parameter(self, name, value):
        """Remember a value."""
        if name not in INTERFACE["parameters"]:
            raise ValueError("Invalid parameter. Please check documentation")
        self.values[name] = value

    def get_parameter(self, name):
        """Return a value."""
        return self.values[name]


class Solution:
    """The recorded getters."""

    def __init__(self, primal, dual, status, *, error="Success", message="", iterations=0) -> None:
        self._facts = (primal, dual, status, INTERFACE["errors"][error], message, iterations)

    def get_primal_solution(self):
        """Return the point."""
        return self._facts[0]

    def get_dual_solution(self):
        """Return the row prices."""
        return self._facts[1]

    def get_termination_reason(self):
        """Return the status in words."""
        assert self._facts[2] in INTERFACE["termination"]
        return self._facts[2]

    def get_termination_status(self):
        """Return the status as a number."""
        return INTERFACE["termination"][self._facts[2]]

    def get_error_status(self):
        """Return zero or the kind of error."""
        return self._facts[3]

    def get_error_message(self):
        """Return the error's text."""
        return self._facts[4]

    def get_solve_time(self):
        """Return seconds."""
        return 0.25

    def get_lp_stats(self):
        """Return statistics, which nobody should trust."""
        return {"primal_residual": 0.0, "dual_residual": 0.0, "gap": 0.0, "nb_iterations": self._facts[5]}


def Solve(data_model, solver_settings=None):  # noqa: N802 - the recorded name
    """Solve by Clarabel, then misbehave as told."""
    sys.stdout.write("Solving on a device that is not there\n")
    _check(solver_settings.values)
    told = os.environ.get("RECORDED_CUOPT", "")
    nothing = np.array([])
    if told == "no device":
        raise InputValidationError(
            "A CPU-memory problem requires remote execution. Set CUOPT_REMOTE_HOST and CUOPT_REMOTE_PORT to solve on a "
            "remote GPU server."
        )
    if told == "unreachable":
        raise RuntimeError("Failed to connect to gRPC server: Connection refused")
    if told == "raise":
        raise RuntimeError("cudssExecute failed")
    if told == "abort":
        sys.stderr.write("OMP: Error #13: Assertion failure at kmp_alloc.cpp(2725).\n")
        sys.stderr.flush()
        os._exit(134)
    if told == "hang":
        time.sleep(3000)
    if told == "out of memory":
        return Solution(nothing, nothing, "NoTermination", error="OutOfMemoryError", message="out of memory")
    if told == "time limit":
        return Solution(nothing, nothing, "TimeLimit", iterations=12)
    primal, prices, status, iterations = _by_clarabel(data_model.given)
    if status != "Solved":
        return Solution(nothing, nothing, "PrimalInfeasible", iterations=iterations)
    changes = {
        "empty": (nothing, nothing),
        "none": (None, None),
        "cut": (primal[:-1], prices),
        "nan": (np.where(np.arange(len(primal)) == 1, np.nan, primal), prices),
        "bad residuals": (primal + 1e-3, prices),
        "nan prices": (primal, np.full(len(prices), np.nan)),
        "full prices": (primal, 2 * prices),
        "our prices": (primal, -2 * prices),
        "absurd prices": (primal, np.full(len(prices), 1e6)),
    }
    primal, prices = changes.get(told, (primal, prices))
    return Solution(primal, prices, "Optimal", iterations=iterations)


def _check(values):
    for name, value in values.items():
        kind = INTERFACE["parameters"][name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if kind in {"switch", "whole number"} and not whole:
            raise ValueError(f"Parameter {name} value {value} is not an integer")
        if kind == "number" and not isinstance(value, float):
            raise ValueError(f"Parameter {name} value {value} is not a number")
        if name.endswith("_tolerance") and not 0 <= value <= 0.1:
            raise ValueError(f"Parameter {name} value {value} out of range")


def _by_clarabel(given):
    rows, n = len(given["offsets"]) - 1, len(given["linear"])
    sizes = {len(given[name]) for name in ("bounds", "types", "row_lower", "row_upper")}
    if rows < 1 or sizes != {rows} or {len(given["lower"]), len(given["upper"])} != {n}:
        # an original without rows crashes, and one without row types reads past the end of an array
        os._exit(139)
    A = csr_array((given["values"], given["indices"], given["offsets"]), shape=(rows, n))
    quadratic = csr_array((n, n))
    if len(given["q_offsets"]):
        quadratic = csr_array((given["q_values"], given["q_indices"], given["q_offsets"]), shape=(n, n))
    equal = given["row_lower"] == given["row_upper"]
    assert (np.where(equal, "E", "L") == given["types"]).all()
    unit = eye_array(n, format="csr")
    low, high = np.isfinite(given["lower"]), np.isfinite(given["upper"])
    stacked = vstack([A[equal], A[~equal], -unit[low], unit[high]])
    sides = [given["bounds"][equal], given["bounds"][~equal], -given["lower"][low], given["upper"][high]]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-11
    cones = [clarabel.ZeroConeT(int(equal.sum())), clarabel.NonnegativeConeT(sum(map(len, sides[1:])))]
    # x'Qx is x'(Q + Q')x / 2
    doubled = csc_array(triu(quadratic + quadratic.T))
    solver = clarabel.DefaultSolver(
        doubled, given["linear"], csc_array(stacked), np.concatenate(sides), cones, settings
    )
    answer = solver.solve()
    z, prices = np.array(answer.z), np.zeros(rows)
    prices[np.concatenate([np.flatnonzero(equal), np.flatnonzero(~equal)])] = z[:rows]
    return np.array(answer.x), -prices / 2, str(answer.status), int(answer.iterations)
