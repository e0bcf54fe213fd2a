"""The real cuOpt package, where it is installed: its interface and parameters without a GPU, solves with one."""

import importlib.util
import inspect
import json

import numpy as np
import pytest

from prometheus.foundation.errors import BackendUnavailableError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends import cuopt, cuopt_worker
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.backends.cuopt import CuoptBackend
from prometheus.optimizer.backends.cuopt_translation import settings, translate
from prometheus.optimizer.backends.stacking import solve_stacked, stack
from tests.conftest import REPOSITORY
from tests.unit.optimizer.backends.cuopt_getters import assert_round_trip
from tests.unit.optimizer.backends.programs import optimality_errors, program, random_program
from tests.unit.optimizer.problems import random_problem

RECORDED = REPOSITORY / "tests" / "unit" / "optimizer" / "backends" / "recorded_cuopt"
INTERFACE = json.loads((RECORDED / "interface.json").read_text(encoding="utf-8"))
INSTALLED = importlib.util.find_spec("cuopt") is not None
DEVICE = INSTALLED and cuopt._has_device()
pytestmark = pytest.mark.skipif(not INSTALLED, reason="the [gpu] extra is not installed")
on_a_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not DEVICE, reason="no NVIDIA device"),
    # one process holds the device: these tests stay on one worker of pytest
    pytest.mark.xdist_group("gpu"),
]


def _arguments(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


# ---------------------------------------------------------------- no device needed


def test_the_interface_is_the_recorded_one():
    """Assets and arguments that the translation relies on are those of the installed package."""
    from cuopt.linear_programming import DataModel, Solution, Solve
    from cuopt.linear_programming.solver import solver_wrapper

    for kind, recorded in ((DataModel, INTERFACE["data_model"]), (Solution, INTERFACE["solution"])):
        assert {name: _arguments(getattr(kind, name)) for name in recorded} == recorded
    assert _arguments(Solve) == INTERFACE["solve"]
    assert {status.name: int(status) for status in solver_wrapper.LPTerminationStatus} == INTERFACE["termination"]
    assert {error.name: int(error) for error in solver_wrapper.ErrorStatus} == INTERFACE["errors"]


@pytest.mark.parametrize("seed", range(4))
def test_everything_goes_through_the_real_getters_unchanged(seed):
    """What is handed over can be read back from the real data model, bit for bit and without a warning."""
    from cuopt.linear_programming import DataModel

    data_model, model = DataModel(), translate(random_program(seed, diagonal=bool(seed % 2))).model
    model.fill(data_model)
    assert_round_trip(data_model, model)


def test_every_parameter_is_known_and_reads_back():
    """The settings are accepted by name and return the value that was set."""
    from cuopt.linear_programming import SolverSettings

    chosen = SolverSettings()
    for name, value in settings(1e-9, 30.0).items():
        assert name in INTERFACE["parameters"]
        chosen.set_parameter(name, value)
        assert chosen.get_parameter(name) == value


@pytest.mark.skipif(DEVICE, reason="there is a device")
def test_without_a_device_the_real_package_leads_to_advice(monkeypatch):
    """Values pass the package's own check, the solve then finds no device, and that is said as ours."""
    for name in ("CUOPT_REMOTE_HOST", "CUOPT_REMOTE_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BackendUnavailableError, match="no NVIDIA device"):
        backend_named("CUOPT")
    solver = CuoptBackend()
    try:
        with pytest.raises(BackendUnavailableError, match="neither a device nor its remote host"):
            solver.solve(random_program(0), 1e-9)
    finally:
        solver.close()


@pytest.mark.skipif(DEVICE, reason="there is a device")
def test_a_value_that_is_not_allowed_fails_in_the_package(monkeypatch):
    """A tolerance out of range is refused by the package before it looks for a device: ours passed that check."""
    for name in ("CUOPT_REMOTE_HOST", "CUOPT_REMOTE_PORT"):
        monkeypatch.delenv(name, raising=False)
    model = translate(random_program(0)).model
    facts, _ = cuopt_worker._answer(model, {**settings(1e-9, 30.0), "relative_gap_tolerance": 0.5})
    assert (facts["raised"], "out of range" in facts["message"]) == ("ValueError", True)
    facts, _ = cuopt_worker._answer(model, settings(1e-9, 30.0))
    assert facts["raised"] == "InputValidationError"


# ---------------------------------------------------------------- with a device


class TestOnAGpu:
    """Solves on a device; ``make test-gpu`` runs these."""

    pytestmark = on_a_gpu

    @pytest.mark.parametrize("diagonal", [False, True])
    @pytest.mark.parametrize("seed", range(4))
    def test_programs_are_solved_to_every_condition_of_optimality(self, seed, diagonal):
        """Rows, stationarity, signs and complementarity hold to what the barrier method promises."""
        problem = random_program(seed, diagonal=diagonal)
        answer = backend_named("CUOPT").solve(problem, 1e-9)
        errors = optimality_errors(problem, answer.x, answer.z)
        assert max(errors.values()) < 1e-5, errors

    def test_bounds_alone_do_not_crash_it(self):
        """The additional row keeps a program without rows alive."""
        boxed = program(np.eye(2), [-3.0, 1.0], [[1.0, 0.0], [0.0, -1.0]], [1.0, 0.0])
        assert backend_named("CUOPT").solve(boxed, 1e-9).x == pytest.approx([1.0, 0.0], abs=1e-6)

    def test_an_account_has_the_default_solvers_objective(self):
        """An account of 500 assets gets the same objective within the certified gaps."""
        problem = random_problem(21, names=500, lots_a_name=4)
        on_gpu, direct = (rebalance(problem, backend=name).certificate for name in ("CUOPT", "CLARABEL"))
        assert on_gpu.objective >= direct.lower_bound - 1e-9
        assert direct.objective >= on_gpu.lower_bound - 1e-9

    def test_many_accounts_are_solved_as_one(self):
        """A stack of programs gets the answers of the single ones."""
        programs = [random_program(seed, diagonal=True) for seed in range(50)]
        together = solve_stacked(backend_named("CUOPT"), programs, 1e-9)
        assert stack(programs).program.violation(np.concatenate([answer.x for answer in together])) < 1e-6
        for single, answer in zip(programs, together, strict=True):
            assert answer.x == pytest.approx(backend_named("CLARABEL").solve(single, 1e-10).x, abs=1e-4)
