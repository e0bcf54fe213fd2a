"""Answers that a broken or lying solver could give, sent through ``rebalance`` by a fake back-end of the tests."""

import sys
from types import ModuleType

import numpy as np
import pytest

from prometheus.foundation.errors import BackendUnavailableError, CertificateRejectedError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends import base
from prometheus.optimizer.backends.base import QuadraticSolution, backend_named
from tests.unit.optimizer.limits import KINDS, binding
from tests.unit.optimizer.problems import random_problem

PROBLEM = random_problem(5, names=40, group_share=0.0)
LIMITED = binding(PROBLEM, KINDS, 0.05)


class _Forger:
    """A back-end that solves honestly and then changes point and multipliers, with the word of an optimal answer."""

    name = "FORGER"

    def __init__(self, change) -> None:
        self._change = change

    def version(self):
        return "0"

    def solve(self, program, tolerance):
        honest = backend_named("CLARABEL").solve(program, tolerance)
        x, z = self._change(program, honest.x.copy(), honest.z.copy())
        return QuadraticSolution(x, z, "Optimal", 1, 0.0)


@pytest.fixture
def forger(monkeypatch):
    """Return a function that registers a forger for the length of one test."""

    def register(change):
        module = ModuleType("forger")
        module.BACKEND = _Forger(change)
        monkeypatch.setitem(sys.modules, "forger", module)
        monkeypatch.setitem(base._MODULES, "FORGER", "forger")

    return register


def _nan_at(values, at):
    values[at] = np.nan
    return values


def _moved(values, by):
    return values + by


FORGERIES = {
    "nothing at all": (lambda _, x, z: (x[:0], z[:0]), "ANSWER_EMPTY", "its point has nothing"),
    "no multipliers": (lambda _, x, z: (x, z[:0]), "ANSWER_EMPTY", "its list of multipliers has nothing"),
    "a cut point": (lambda _, x, z: (x[:-1], z), "ANSWER_WRONG_LENGTH", "its point has shape"),
    "a point too long": (lambda _, x, z: (np.append(x, 0.0), z), "ANSWER_WRONG_LENGTH", "its point has shape"),
    "a point with two axes": (lambda _, x, z: (x[:, None], z), "ANSWER_WRONG_LENGTH", "its point has shape"),
    "cut multipliers": (lambda _, x, z: (x, z[1:]), "ANSWER_WRONG_LENGTH", "its list of multipliers has shape"),
    "NaN in the point": (lambda _, x, z: (_nan_at(x, 3), z), "ANSWER_NOT_FINITE", "its point holds nan at 3"),
    "an infinite point": (lambda _, x, z: (x / 0.0, z), "ANSWER_NOT_FINITE", "its point holds"),
    "NaN in the multipliers": (
        lambda _, x, z: (x, z * np.nan),
        "ANSWER_NOT_FINITE",
        "its list of multipliers holds nan at 0",
    ),
    "a wrong point": (lambda _, x, z: (_moved(x, 0.01), z), "CERTIFICATE_REJECTED", "breaks the program's rows"),
    "optimal with bad residuals": (
        lambda _, x, z: (_moved(x, np.where(np.arange(len(x)) == 2, 3e-7, 0.0)), z),
        "CERTIFICATE_REJECTED",
        "breaks the program's rows",
    ),
    "the point zero": (lambda _, x, z: (0 * x, z), "CERTIFICATE_REJECTED", "breaks the program's rows"),
}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("problem", [PROBLEM, LIMITED], ids=["cash alone", "every limit"])
@pytest.mark.parametrize("kind", FORGERIES)
def test_forged_answers_are_rejected_with_their_code(forger, kind, problem):
    """Whatever the status says, a malformed or infeasible answer never becomes trades, also beside rows and a cone."""
    change, code, sentence = FORGERIES[kind]
    forger(change)
    with pytest.raises(CertificateRejectedError, match=sentence) as refused:
        rebalance(problem, backend="FORGER")
    assert refused.value.code == code
    assert "Optimal" in refused.value.message
    assert refused.value.details["status"] == "Optimal"


def test_the_honest_forger_is_believed(forger):
    """The fake back-end fails for what it forges, not for being a fake."""
    forger(lambda _, x, z: (x, z))
    assert rebalance(PROBLEM, backend="FORGER").shares.tobytes() == rebalance(PROBLEM).shares.tobytes()


@pytest.mark.parametrize("scale", [-2.0, 0.0, 2.0, 1e6])
def test_forged_multipliers_cannot_make_a_bound_false(forger, scale):
    """Multipliers of any size and sign change how tight the bound is, never whether it holds."""
    honest = rebalance(PROBLEM).certificate
    forger(lambda _, x, z: (x, scale * z))
    forged = rebalance(PROBLEM, backend="FORGER").certificate
    assert forged.lower_bound <= honest.objective + 1e-9
    assert forged.objective >= honest.lower_bound - 1e-9


def test_a_feasible_point_that_is_not_optimal_cannot_hide(forger):
    """A point inside every row but far from the optimum is corrected or leaves a gap that says how far it is."""
    honest = rebalance(PROBLEM).certificate

    def feasible(program, x, z):
        lazy = base.QuadraticProgram(program.P, 0 * program.q, program.A, program.b, program.equalities)
        return backend_named("CLARABEL").solve(lazy, 1e-10).x, 0 * z

    forger(feasible)
    forged = rebalance(PROBLEM, backend="FORGER").certificate
    assert forged.lower_bound <= honest.objective + 1e-9
    assert forged.gap_bps >= 1e4 * (forged.objective - honest.objective) - 1e-5


def test_a_back_end_may_say_that_it_cannot_run_here(monkeypatch):
    """A module that checks its own machine is asked before its back-end is handed out."""
    module = ModuleType("absent")

    def check_available():
        raise BackendUnavailableError("there is no device; plug one in.")

    module.check_available = check_available
    monkeypatch.setitem(sys.modules, "absent", module)
    monkeypatch.setitem(base._MODULES, "ABSENT", "absent")
    with pytest.raises(BackendUnavailableError, match="plug one in"):
        backend_named("ABSENT")
