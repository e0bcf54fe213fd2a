"""The answer to a problem in which nothing may trade: no solver, and a certificate that is exact."""

import time

import numpy as np

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.active_risk import factor_risk
from prometheus.optimizer.problem import FloatArray, RebalanceProblem
from prometheus.optimizer.result import Certificate, ObjectiveTerms, RebalanceResult, SolverFacts
from prometheus.optimizer.verification import reject, violations_of_weights

#: Stands where a back-end says its name.
NO_SOLVER = "NONE"


def stand_still(problem: RebalanceProblem) -> RebalanceResult:
    """Return the answer that trades nothing, for a problem in which no name may be bought or sold.

    There is no other trade list, so its objective is its own lower bound.

    Args:
        problem: ``can_buy`` and ``can_sell`` are False for every name.

    Raises:
        InvalidProblemError: Some name may be traded.
        CertificateRejectedError: Trading nothing breaks a rule of the problem.
    """
    began = time.perf_counter()
    if problem.can_buy.any() or problem.can_sell.any():
        raise InvalidProblemError("some names may be traded, so that trading nothing is not the only answer.")
    still = np.zeros(problem.size)
    violation = reject(problem, violations_of_weights(problem, still), "holdings")
    held = problem.holdings()
    variance = factor_risk(problem).variance(problem.active(held))
    terms = ObjectiveTerms(
        active_risk=problem.risk_aversion * variance,
        trading_cost=0.0,
        tax=0.0,
        tilt=-float((problem.tilt * held).sum()),
    )
    return RebalanceResult(
        trades=_frozen(still),
        target_weights=_frozen(held),
        shares=_frozen(np.zeros(problem.size)),
        lot_shares_sold=_frozen(np.zeros(len(problem.lot_id))),
        rounded_weights=_frozen(held),
        terms=terms,
        certificate=Certificate(
            lower_bound=terms.total,
            objective=terms.total,
            gap_bps=0.0,
            rounded_objective=terms.total,
            rounded_gap_bps=0.0,
            rounded_lower_bound=terms.total,
            max_violation=violation,
        ),
        tracking_error_before=variance**0.5,
        tracking_error_after=variance**0.5,
        turnover=0.0,
        cash_after=problem.cash + problem.cash_flow,
        facts=SolverFacts(
            backend=NO_SOLVER,
            status="nothing may trade",
            iterations=0,
            tolerance=problem.tolerance,
            version="",
            solve_seconds=0.0,
            total_seconds=time.perf_counter() - began,
        ),
        explanations=(),
    )


def _frozen(values: FloatArray) -> FloatArray:
    values.flags.writeable = False
    return values
