"""Answers without a trade: where nothing may trade, and where trading nothing is legal and a search finds no better.

The first needs no solver and has an exact certificate; the second is bounded at the prices of no limit.
"""

import time

import numpy as np

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.backends.base import QuadraticSolution
from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem.active_risk import factor_risk
from prometheus.optimizer.problem.rebalance_problem import FloatArray, RebalanceProblem
from prometheus.optimizer.result import Certificate, ObjectiveTerms, RebalanceResult, SolverFacts
from prometheus.optimizer.rounding.limits import AllLimits
from prometheus.optimizer.search.branching import BestTrades, Leaf, settled_groups
from prometheus.optimizer.verification import reject, violations_of_weights

#: Recorded in place of a back-end's name.
NO_SOLVER = "NONE"
#: Weights below this are not held.
_HELD = 1e-9


def stand_still(problem: RebalanceProblem) -> RebalanceResult:
    """Return the answer that trades nothing, for a problem in which no asset may be bought or sold.

    There is no other trade list, so its objective is its own lower bound.

    Args:
        problem: ``can_buy`` and ``can_sell`` are False for every asset.

    Raises:
        InvalidProblemError: Some asset may be traded.
        CertificateRejectedError: Trading nothing breaks a rule of the problem.
    """
    began = time.perf_counter()
    if problem.can_buy.any() or problem.can_sell.any():
        raise InvalidProblemError("some assets may be traded, so that trading nothing is not the only answer.")
    still = np.zeros(problem.size)
    violation = reject(problem, violations_of_weights(problem, still), "holdings")
    held = problem.holdings()
    variance = factor_risk(problem).variance(problem.active(held))
    terms = ObjectiveTerms(
        active_risk=problem.risk_aversion * variance,
        trading_cost=0.0,
        tax=0.0,
        tilt=-float((problem.tilt * held).sum()),
        borrow=borrow_cost(problem, held),
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


def borrow_cost(problem: RebalanceProblem, weights: FloatArray) -> float:
    """Return what borrowing the short positions among (N,) weights costs in a year, fraction of NAV; longs are free."""
    short = np.flatnonzero(weights < 0) if problem.may_be_short else np.zeros(0, dtype=np.int64)
    return float((problem.borrow_rate[short] * -weights[short]).sum())


def no_trades(problem: RebalanceProblem, lagrangian: Lagrangian) -> BestTrades | None:
    """Return the answer without any trade, bounded at the prices of no limit; None where a rule asks for trades."""
    limits, trades = lagrangian.limits, np.zeros(problem.size)
    if (limits.low > 0).any() or (limits.high < 0).any():
        return None
    if problem.max_names is not None and int((problem.holdings() > _HELD).sum()) > problem.max_names:
        return None
    active = lagrangian.cost.active
    variance, use = lagrangian.risk.variance(active), np.zeros((len(lagrangian.rows.names), 1))
    if AllLimits(lagrangian.cash, lagrangian.rows).missed(np.zeros(1), use, np.array([variance]))[0] > 0:
        return None
    dual = DualPoint(lagrangian.risk.exposures(active), 0.0)
    bound = lagrangian.bound(dual, lagrangian.minima(dual))
    none = np.zeros(0)
    return BestTrades(
        trades=trades,
        limits=settled_groups(lagrangian, trades),
        objective=lagrangian.objective(trades),
        dual=dual,
        leaves=(Leaf(lagrangian, (dual,), bound),),
        solution=QuadraticSolution(none, none, "no trades: the search found none", 0, 0.0),
        nodes=0,
    )


def _frozen(values: FloatArray) -> FloatArray:
    values.flags.writeable = False
    return values
