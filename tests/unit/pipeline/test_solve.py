"""The failure ladder of a day's solve: try, try tighter, then keep what was and trade nothing."""

from dataclasses import replace

import pytest

from prometheus.domain.phases import RunStatus
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import BackendUnavailableError, SolverFailedError
from prometheus.optimizer.backends import base
from prometheus.pipeline.problem import build_problem
from prometheus.pipeline.solve import shares_text, solve
from tests.unit.pipeline.snapshots import MATRICES, snapshot

PARAMS = StrategyParams(max_weight=1.0, max_active_weight=1.0)


class _Broken:
    """A solver that gives up."""

    name = "BROKEN"

    def __init__(self) -> None:
        self.tolerances = []

    def version(self):
        return "0"

    def solve(self, program, tolerance):  # noqa: ARG002 -- the boundary's signature
        self.tolerances.append(tolerance)
        raise SolverFailedError("The solver stopped at its iteration limit.")


@pytest.fixture
def broken(monkeypatch):
    """A back-end that never finds an answer, registered beside the real ones."""
    found = _Broken()
    real = base.backend_named

    def named(name):
        return found if name == "BROKEN" else real(name)

    monkeypatch.setattr("prometheus.optimizer.solve.backend_named", named)
    return found


def problem(params=PARAMS, **changes: object):
    """Return the problem of a varied snapshot."""
    return build_problem(snapshot(**changes), params, MATRICES)


def test_certified_answer_is_optimal():
    """An answer within the accepted gap is stored with its proof and no failures."""
    solution = solve(problem(), PARAMS, None)
    assert solution.status is RunStatus.OPTIMAL
    assert solution.result["failures"] == []
    assert solution.result["certificate"]["gap_bps"] <= PARAMS.max_gap_bps
    assert solution.result["solver"]["tolerance"] == PARAMS.solver_tolerance


def test_second_try_is_clarabel_at_a_tighter_tolerance(broken):
    """Where the chosen solver fails, the direct one answers, and the failure stays on record."""
    params = replace(PARAMS, solver="BROKEN")
    solution = solve(problem(params), params, None)
    assert solution.status is RunStatus.OPTIMAL
    assert broken.tolerances == [params.solver_tolerance]
    assert [failure["code"] for failure in solution.result["failures"]] == ["SOLVER_FAILED"]
    assert solution.result["solver"]["backend"] == "CLARABEL"
    assert solution.result["solver"]["tolerance"] == pytest.approx(params.solver_tolerance / 100)


def test_gap_beyond_the_limit_is_rejected_twice(monkeypatch):
    """An answer whose proof is too weak is not traded, however optimal its solver calls it."""
    from prometheus.optimizer import rebalance

    def weaker(attempt, backend):
        result = rebalance(attempt, backend=backend)
        return replace(result, certificate=replace(result.certificate, gap_bps=9.0))

    monkeypatch.setattr("prometheus.pipeline.solve.rebalance", weaker)
    solution = solve(problem(), PARAMS, {"A": 0.5, "B": 0.4})
    assert solution.status is RunStatus.NON_OPTIMAL
    assert [failure["code"] for failure in solution.result["failures"]] == ["GAP_TOO_WIDE"] * 2
    assert solution.result["target_weights"] == {"A": 0.5, "B": 0.4}
    assert solution.result["shares"] == {}
    assert solution.result["certificate"] is None


def test_first_day_without_an_answer_keeps_the_holdings():
    """With no previous targets the account's own weights are the targets."""
    params = replace(PARAMS, cash_min=0.9, cash_max=1.0, no_sell=("A", "B", "C", "D"))
    solution = solve(problem(params), params, None)
    assert solution.status is RunStatus.NON_OPTIMAL
    assert [failure["code"] for failure in solution.result["failures"]] == ["INFEASIBLE"]
    assert solution.result["target_weights"] == pytest.approx({"A": 1 / 3, "B": 0.5, "C": 4 / 30})
    assert solution.result["turnover"] == 0
    assert solution.result["tracking_error_before"] == solution.result["tracking_error_after"] > 0


def test_missing_solver_is_no_failed_solve():
    """A back-end that is not there is an error of the installation, not a non-optimal day."""
    params = replace(PARAMS, solver="NO_SUCH")
    with pytest.raises(BackendUnavailableError):
        solve(problem(), params, None)


@pytest.mark.parametrize(
    ("shares", "said"), [(-12.0, "-12"), (0.0001, "0.0001"), (1500000.0, "1500000"), (0.12340000000000001, "0.1234")]
)
def test_shares_are_said_exactly(shares, said):
    """Shares become decimal text without noise and without an exponent."""
    assert shares_text(shares) == said
