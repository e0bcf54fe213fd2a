"""A day's solve and its failure ladder: try, try tighter, keep what was; solvers that fail, lie or are not there."""

import json
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from prometheus.decision.day_result import FailedAttempt
from prometheus.decision.solve import shares_text, solve
from prometheus.decision.stored_result import stored_result
from prometheus.domain.phases import RunStatus
from prometheus.foundation.canonical import canonical_json
from prometheus.foundation.errors import BackendUnavailableError, SolverFailedError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends import base, clarabel
from prometheus.optimizer.backends.base import QuadraticSolution
from tests.unit.decision.small_day import PARAMS, problem_of

BROKEN = replace(PARAMS, solver="BROKEN", solver_tolerance=1e-8)


@pytest.fixture
def register(monkeypatch):
    """Registers a solve function as a back-end of some name, for this test only."""

    def add(name, answer):
        class Backend:
            def version(self):
                return "0"

            def solve(self, program, tolerance):
                return answer(program, tolerance)

        backend = Backend()
        backend.name = name
        module = ModuleType(f"backend_{name.lower()}")
        module.BACKEND = backend
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(base._MODULES, name, module.__name__)

    return add


def fails(details=None):
    """Return a solver that always gives up."""

    def answer(program, tolerance):
        raise SolverFailedError("stopped at its iteration limit", details=details)

    return answer


def test_second_try_answers_and_the_failure_is_recorded(register):
    """After a failed first solver CLARABEL answers at a hundredth of the tolerance; the run is OPTIMAL and says so."""
    register("BROKEN", fails({"status": "MaxIterations"}))
    solution = solve(problem_of(params=BROKEN), BROKEN, None)
    assert solution.status is RunStatus.OPTIMAL
    assert solution.result.failures == (
        FailedAttempt("BROKEN", 1e-8, "SOLVER_FAILED", "stopped at its iteration limit", {"status": "MaxIterations"}),
    )
    assert solution.result.solver.backend == "CLARABEL"
    assert solution.answer is not None


def test_second_answer_is_what_clarabel_finds_alone(register):
    """The failed first try leaves no trace in the trades."""
    register("BROKEN", fails())
    alone = replace(BROKEN, solver="CLARABEL", solver_tolerance=1e-10)
    assert (
        solve(problem_of(params=BROKEN), BROKEN, None).result.shares
        == solve(problem_of(params=alone), alone, None).result.shares
        != {}
    )


def test_tolerance_of_the_second_try_has_a_floor(register):
    """However tight the strategy's tolerance, the second try asks for no less than 1e-12."""
    asked = []

    def answer(program, tolerance):
        asked.append(tolerance)
        raise SolverFailedError("no")

    register("CLARABEL", answer)
    params = replace(PARAMS, solver_tolerance=1e-11)
    solve(problem_of(params=params), params, None)
    # Each try asks for the screened program and, when that fails, for the whole one.
    assert list(dict.fromkeys(asked)) == [1e-11, 1e-12]
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize("previous", [{"AAA": 0.6, "BBB": 0.4}, {}])
def test_when_both_fail_the_previous_targets_stay(register, previous):
    """Two failures make the day NON_OPTIMAL: previous targets, no shares, no certificate, cash untouched."""
    register("BROKEN", fails())
    register("CLARABEL", fails({"violation": float("inf"), "residual": float("nan"), "iterations": 7}))
    solution = solve(problem_of(params=BROKEN), BROKEN, previous)
    result = solution.result
    assert solution.status is RunStatus.NON_OPTIMAL
    assert solution.answer is None
    assert result.target_weights == previous
    assert (result.shares, result.certificate, result.terms) == ({}, None, None)
    assert (result.turnover, result.cash_after) == (0.0, 0.2)
    assert result.tracking_error_before == result.tracking_error_after > 0
    assert [failure.solver for failure in result.failures] == ["BROKEN", "CLARABEL"]
    assert result.solver.backend == "CLARABEL"
    assert result.solver.status == "SOLVER_FAILED"


def test_failure_can_be_written_down_whatever_its_numbers(register):
    """Infinity and NaN in a failure's details become words, so that the record is JSON that a database takes."""
    register("CLARABEL", fails({"violation": float("inf"), "residual": float("nan"), "iterations": 7}))
    result = solve(problem_of(), PARAMS, None).result
    assert json.loads(canonical_json(stored_result(result)))["failures"][0]["details"] == {
        "violation": "inf",
        "residual": "nan",
        "iterations": 7,
    }


@pytest.mark.parametrize("lie", ["zeros", "nan", "short"])
def test_answer_that_breaks_the_rules_is_no_answer(register, lie):
    """A solver that calls a wrong point optimal is found out from the problem data, and CLARABEL answers instead."""

    def answer(program, tolerance):
        honest = clarabel.BACKEND.solve(program, tolerance)
        x = {"zeros": np.full_like(honest.x, 7.0), "nan": np.full_like(honest.x, np.nan), "short": honest.x[:-1]}[lie]
        return QuadraticSolution(x=x, z=honest.z, status="Solved", iterations=1, seconds=0.0)

    register("BROKEN", answer)
    solution = solve(problem_of(params=BROKEN), BROKEN, None)
    assert solution.status is RunStatus.OPTIMAL
    assert [failure.solver for failure in solution.result.failures] == ["BROKEN"]
    assert solution.result.solver.backend == "CLARABEL"


def test_day_without_room_is_tried_once(register):
    """A problem with no answer is not tried again at a tighter tolerance; its record names the rule in conflict."""
    params = replace(PARAMS, cash_min=0.9, cash_max=0.95, no_sell=("AAA", "BBB", "CCC"))
    solution = solve(problem_of(params=params), params, None)
    assert solution.status is RunStatus.NON_OPTIMAL
    assert [failure.code for failure in solution.result.failures] == ["INFEASIBLE"]
    assert solution.result.target_weights == pytest.approx({"AAA": 0.2, "BBB": 0.3, "CCC": 0.3})
    assert solution.result.turnover == 0
    assert solution.result.tracking_error_before == solution.result.tracking_error_after > 0


def test_optimal_result_adds_up():
    """Weights and cash add to one less costs, the objective is the sum of its parts, and shares are whole."""
    problem = problem_of()
    result = solve(problem, PARAMS, None).result
    terms = result.terms
    assert terms["total"] == pytest.approx(
        terms["active_risk"] + terms["trading_cost"] + terms["tax"] + terms["tilt"], abs=1e-15
    )
    cost = sum(abs(float(shares)) * problem.prices[problem.tickers.index(t)] for t, shares in result.shares.items())
    assert sum(result.target_weights.values()) + result.cash_after == pytest.approx(
        1 - cost * 5e-4 / problem.nav, abs=1e-12
    )
    assert result.shares
    assert all(float(shares).is_integer() for shares in result.shares.values())


def test_certified_answer_is_optimal():
    """An answer within the accepted gap is stored with its proof and no failures."""
    solution = solve(problem_of(), PARAMS, None)
    assert solution.status is RunStatus.OPTIMAL
    assert solution.result.failures == ()
    assert solution.result.certificate.gap_bps <= PARAMS.max_gap_bps
    assert solution.result.solver.tolerance == PARAMS.solver_tolerance


def test_gap_beyond_the_limit_is_rejected_twice(monkeypatch):
    """An answer whose proof is too weak is not traded, however optimal its solver calls it."""

    def weaker(attempt, backend):
        result = rebalance(attempt, backend=backend)
        return replace(result, certificate=replace(result.certificate, gap_bps=9.0))

    monkeypatch.setattr("prometheus.decision.solve.rebalance", weaker)
    solution = solve(problem_of(), PARAMS, {"AAA": 0.5, "BBB": 0.4})
    assert solution.status is RunStatus.NON_OPTIMAL
    assert [failure.code for failure in solution.result.failures] == ["GAP_TOO_WIDE"] * 2
    assert solution.result.target_weights == {"AAA": 0.5, "BBB": 0.4}
    assert solution.result.shares == {}
    assert solution.result.certificate is None


def test_missing_solver_is_no_failed_solve():
    """A back-end that is not there is an error of the installation, not a non-optimal day."""
    params = replace(PARAMS, solver="NO_SUCH")
    with pytest.raises(BackendUnavailableError):
        solve(problem_of(), params, None)


@pytest.mark.parametrize(
    ("shares", "step", "said"),
    [
        (-12.0, 1.0, "-12"),
        (0.0001, 0.0001, "0.0001"),
        (1500000.0, 1.0, "1500000"),
        (0.12340000000000001, 0.0001, "0.1234"),
        # a position sold to the last share
        (-10.50000003, 1.0, "-10.50000003"),
        (-12.34567, 0.0001, "-12.34567"),
        # above 18 million shares the fourth decimal is no longer what a float's text says
        (100000000.0007, 0.0001, "100000000.0007"),
        (-987654321.1234, 0.0001, "-987654321.1234"),
        (73_000_000_000.0003, 0.0001, "73000000000.0003"),
    ],
)
def test_shares_are_said_exactly(shares, step, said):
    """Shares become decimal text without noise and without an exponent, however many they are."""
    assert shares_text(shares, step) == said
