"""The tax-free special case through skfolio: no tax, no cost, no lots, one mean-risk problem.

    minimise  g (w - b)' Sigma (w - b)   =   maximise  (2 g Sigma b)' w - g w' Sigma w

over the same bounds and the same range of cash. skfolio takes the covariance as a dense matrix, and is charged for
stating and solving its problem.
"""

import time

import numpy as np
from skfolio import RiskMeasure
from skfolio.optimization import MeanRisk, ObjectiveFunction
from skfolio.prior import BasePrior, ReturnDistribution


class _Given(BasePrior):
    """A distribution that is known."""

    def __init__(self, mu=None, covariance=None):
        self.mu, self.covariance = mu, covariance

    def fit(self, X, y=None, **_):  # noqa: ARG002 - the interface of its base class
        self.return_distribution_ = ReturnDistribution(
            mu=self.mu, covariance=self.covariance, returns=np.asarray(X), sample_weight=None
        )
        return self


def tax_free(problem):
    """Return skfolio's weights and the seconds it took."""
    began = time.perf_counter()
    covariance = problem.loadings @ problem.factor_covariance @ problem.loadings.T + np.diag(problem.specific_variance)
    held = problem.holdings()
    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_measure=RiskMeasure.VARIANCE,
        risk_aversion=problem.risk_aversion,
        prior_estimator=_Given(2 * problem.risk_aversion * covariance @ problem.benchmark_weights, covariance),
        min_weights=np.where(problem.can_sell, problem.lower, np.maximum(problem.lower, held)),
        max_weights=np.where(problem.can_buy, problem.upper, np.minimum(problem.upper, held)),
        budget=None,
        min_budget=1 - problem.cash_max,
        max_budget=1 - problem.cash_min,
        solver="CLARABEL",
        solver_params={"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9},
    )
    model.fit(np.zeros((2, problem.size)))
    return model.weights_, time.perf_counter() - began
