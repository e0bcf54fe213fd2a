"""The solve of one account's day with its failure ladder. Pure: problem in, stored solution out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Final

import numpy as np

from prometheus.decision.day_result import DayResult, FailedAttempt
from prometheus.decision.partial_day import DayProblem
from prometheus.decision.risk_split import split_tracking_error
from prometheus.domain.money import plain_text
from prometheus.domain.phases import RunStatus
from prometheus.domain.rebalancing import Scope
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import (
    CertificateRejectedError,
    InfeasibleProblemError,
    OptimizerError,
    SolverFailedError,
)
from prometheus.optimizer import rebalance
from prometheus.optimizer.problem.active_risk import tracking_error
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem
from prometheus.optimizer.result import RebalanceResult, SolverFacts
from prometheus.optimizer.standstill import stand_still

#: The second try asks for this much less residual, and always of the direct solver.
_TIGHTER: Final = 0.01
_TIGHTEST: Final = 1e-12
#: A gap after rounding above this, bps of NAV, has its reason in the result; less where less is accepted.
_WIDE_GAP: Final = 5.0
#: Shares by which a whole number of steps may differ from itself as a float, and the same relative to many shares.
_RESIDUE: Final = 4e-9
_LAST_BITS: Final = 4e-16
#: Decimals of a stored target weight, fraction of NAV: the ten-thousandth part of what a replay may differ by.
_WEIGHT_DECIMALS: Final = 12
_SECOND_SOLVER: Final = "CLARABEL"


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer of a day, certified or not.

    ``answer`` is the optimizer's own, with the weights before rounding, which are not stored; None where
    nothing is traded.
    """

    status: RunStatus
    result: DayResult
    answer: RebalanceResult | None = None


def solve_day(day: DayProblem, params: StrategyParams, previous_targets: Mapping[str, float] | None) -> Solution:
    """Solve what a day asks; ``result.rebalancing`` says what could trade and why.

    A day without a reason to trade needs no solver. Where the names of a partial day's reasons cannot meet the rules by
    themselves every asset may trade.

    Args:
        day: The day's problem.
        params: Merged strategy parameters.
        previous_targets: Target weights of the account's last run by ticker; None on its first day.
    """
    scope = day.scope
    if scope is Scope.NOTHING:
        still = stand_still(day.problem)
        solution = Solution(RunStatus.OPTIMAL, _optimal(day.problem, params, still, []), still)
    else:
        solution = solve(day.problem, params, previous_targets)
    if scope is Scope.REASONS and _is_infeasible(solution):
        scope, failed = Scope.ALL, solution.result.failures
        solution = solve(day.whole, params, previous_targets)
        solution = replace(solution, result=replace(solution.result, failures=(*failed, *solution.result.failures)))
    told = day.record(scope, certified=solution.status is RunStatus.OPTIMAL)
    return replace(solution, result=replace(solution.result, rebalancing=told))


def _is_infeasible(solution: Solution) -> bool:
    failures = solution.result.failures
    return solution.status is RunStatus.NON_OPTIMAL and failures[-1].code == InfeasibleProblemError.default_code


def solve(problem: RebalanceProblem, params: StrategyParams, previous_targets: Mapping[str, float] | None) -> Solution:
    """Solve, and where no certified answer can be had keep the previous day's targets and trade nothing.

    Args:
        problem: The day's problem.
        params: Merged strategy parameters: solver, tolerance, largest accepted gap.
        previous_targets: Target weights of the account's last run by ticker; None on its first day.
    """
    failures: list[FailedAttempt] = []
    ladder = (
        (params.solver, problem),
        (_SECOND_SOLVER, replace(problem, tolerance=max(problem.tolerance * _TIGHTER, _TIGHTEST))),
    )
    for backend, attempt in ladder:
        try:
            result = rebalance(attempt, backend=backend)
            _require_tight(result, params)
        except (SolverFailedError, CertificateRejectedError, InfeasibleProblemError) as error:
            failures.append(_failure(backend, attempt.tolerance, error))
            if isinstance(error, InfeasibleProblemError):
                # A tighter tolerance cannot make a set feasible that is empty.
                break
        else:
            return Solution(RunStatus.OPTIMAL, _optimal(problem, params, result, failures), result)
    return Solution(RunStatus.NON_OPTIMAL, _unchanged(problem, params, previous_targets, failures))


def _require_tight(result: RebalanceResult, params: StrategyParams) -> None:
    gap = result.certificate.gap_bps
    if not gap <= params.max_gap_bps:
        raise CertificateRejectedError(
            f"The certified gap of {gap:.4f} bps exceeds the limit of {params.max_gap_bps} bps.", code="GAP_TOO_WIDE"
        )
    rounded, allowance = result.certificate.rounded_gap_bps, result.certificate.rounding_allowance_bps
    if not rounded <= params.max_gap_bps + allowance:
        raise CertificateRejectedError(
            f"The gap after rounding to shares, {rounded:.4f} bps, exceeds the limit of {params.max_gap_bps} bps and "
            f"the {allowance:.4f} bps that whole shares may cost this account.",
            code="GAP_TOO_WIDE",
        )


def _failure(solver: str, tolerance: float, error: OptimizerError) -> FailedAttempt:
    # JSON has no infinity, and a failure that cannot be written down would fail the run instead of its solve.
    details = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in error.details.items()
    }
    return FailedAttempt(solver, tolerance, error.code, error.message, details)


def _rounding_reason(result: RebalanceResult, params: StrategyParams) -> str | None:
    """Return why the gap after rounding is wide; None where it is not."""
    proof = result.certificate
    if proof.rounded_gap_bps <= min(_WIDE_GAP, params.max_gap_bps):
        return None
    shares = ", ".join(f"{weight:.3%} of NAV for {ticker}" for ticker, weight in result.coarse_names)
    return (
        f"Single steps of shares are large against this account ({shares or 'none alone'}): of the gap of "
        f"{proof.rounded_gap_bps:.2f} bps after rounding {proof.gap_bps:.2f} bps were there before, and whole steps "
        f"may cost up to {proof.rounding_allowance_bps:.2f} bps."
    )


def _optimal(
    problem: RebalanceProblem, params: StrategyParams, result: RebalanceResult, failures: Sequence[FailedAttempt]
) -> DayResult:
    traded = np.flatnonzero(result.shares)
    weights = result.rounded_weights
    return DayResult(
        target_weights={
            problem.tickers[i]: round(float(weights[i]), _WEIGHT_DECIMALS) for i in np.flatnonzero(weights)
        },
        shares={problem.tickers[i]: shares_text(float(result.shares[i]), float(problem.share_step[i])) for i in traded},
        terms=_terms(problem, result),
        certificate=result.certificate,
        tracking_error_before=result.tracking_error_before,
        tracking_error_after=result.tracking_error_after,
        tracking_error_split=split_tracking_error(problem, weights),
        turnover=result.turnover,
        cash_after=result.cash_after,
        solver=result.facts,
        failures=tuple(failures),
        explanations=result.explanations,
        rounding_reason=_rounding_reason(result, params),
    )


def _terms(problem: RebalanceProblem, result: RebalanceResult) -> dict[str, float]:
    terms: dict[str, float] = {**asdict(result.terms), "total": result.terms.total}
    if not problem.order_cost:
        # runs without a cost of orders are recorded as they were before there was one
        del terms["orders"]
    return terms


def shares_text(shares: float, step: float) -> str:
    """Return a signed number of shares as exact decimal text; the other place where floats become ledger values.

    Whole steps are counted and said exactly, however many they are. What is no whole number of steps is a position sold
    to the last share; lots have eight decimals.

    Args:
        shares: Shares, positive buys.
        step: Trading step in shares.
    """
    steps = round(shares / step)
    if abs(steps * step - shares) <= max(_RESIDUE, _LAST_BITS * abs(shares)):
        return plain_text(steps * Decimal(repr(step)))
    return f"{shares:.8f}".rstrip("0").rstrip(".")


def _unchanged(
    problem: RebalanceProblem,
    params: StrategyParams,
    previous_targets: Mapping[str, float] | None,
    failures: Sequence[FailedAttempt],
) -> DayResult:
    held = problem.holdings()
    error = tracking_error(problem, held)
    kept = (
        dict(previous_targets)
        if previous_targets is not None
        else {problem.tickers[i]: float(held[i]) for i in np.flatnonzero(held)}
    )
    return DayResult(
        target_weights=kept,
        shares={},
        terms=None,
        certificate=None,
        tracking_error_before=error,
        tracking_error_after=error,
        tracking_error_split=split_tracking_error(problem, held),
        turnover=0.0,
        cash_after=problem.cash,
        solver=SolverFacts(
            backend=failures[-1].solver,
            status=failures[-1].code,
            iterations=0,
            tolerance=params.solver_tolerance,
            version="",
            solve_seconds=0.0,
            total_seconds=0.0,
        ),
        failures=tuple(failures),
        explanations=(),
    )
